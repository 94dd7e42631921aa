//! Where addresses point, and what is done with the addresses of slots.

use cranelift_entity::SecondaryMap;

use super::effects::{self, Arg};
use super::{BinaryOp, Function, Global, Inst, InstId, Slot, Type, Value};
use crate::helpers;

/// The memory that an address is derived from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// A slot of this function.
    Slot(Slot),
    /// A global.
    Global(Global),
    /// The map value that this lookup found.
    Element(Value),
    /// Something else: the context, a record, a parameter, an address read from memory.
    Other(Value),
}

/// A base and a distance from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Where the address comes from.
    pub base: Base,
    /// Bytes from there, if that is known.
    pub off: Option<i64>,
}

/// Additions that [`place`] looks through; more than scripts have once constants are folded.
const MAX_ADDITIONS: u32 = 16;

/// Where an address points.
pub fn place(function: &Function, address: Value) -> Place {
    let (mut at, mut off) = (address, Some(0i64));
    let plus = |off: Option<i64>, more: Option<i64>| off?.checked_add(more?);
    for _ in 0..MAX_ADDITIONS {
        match function.def(at) {
            Some(Inst::SlotAddr { slot, off: at }) => {
                return Place { base: Base::Slot(*slot), off: plus(off, Some(i64::from(*at))) };
            }
            Some(Inst::GlobalAddr { global, off: at }) => {
                return Place { base: Base::Global(*global), off: plus(off, Some(i64::from(*at))) };
            }
            Some(Inst::Binary { op: BinaryOp::Add, left, right }) if function.type_of(at).is_memory() => {
                off = plus(off, function.as_const(*right));
                at = *left;
            }
            Some(Inst::Call { helper, .. })
                if matches!(*helper, helpers::MAP_LOOKUP_ELEM | helpers::MAP_LOOKUP_PERCPU_ELEM) =>
            {
                return Place { base: Base::Element(at), off };
            }
            _ => break,
        }
    }
    Place { base: Base::Other(at), off }
}

/// Whether two bases may be the same memory. `exposed` says of a slot whether addresses of it may come
/// from elsewhere ([`SlotUse::Exposed`]).
pub fn may_overlap(function: &Function, exposed: impl Fn(Slot) -> bool, a: Base, b: Base) -> bool {
    match (a, b) {
        (Base::Slot(a), Base::Slot(b)) => a == b,
        (Base::Global(a), Base::Global(b)) => a == b,
        (Base::Slot(slot), Base::Other(value)) | (Base::Other(value), Base::Slot(slot)) => {
            exposed(slot) && function.type_of(value) == Type::Stack
        }
        (Base::Global(_) | Base::Element(_), Base::Other(value))
        | (Base::Other(value), Base::Global(_) | Base::Element(_)) => function.type_of(value) == Type::Map,
        // Two lookups may have found the same element.
        (Base::Element(_), Base::Element(_)) => true,
        (Base::Other(a), Base::Other(b)) => function.type_of(a) == function.type_of(b),
        (Base::Slot(_), Base::Global(_) | Base::Element(_))
        | (Base::Global(_) | Base::Element(_), Base::Slot(_)) => false,
        (Base::Global(_), Base::Element(_)) | (Base::Element(_), Base::Global(_)) => false,
    }
}

/// What is done with the addresses of a slot; each includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SlotUse {
    /// Loads, stores and clearing.
    #[default]
    Local,
    /// Copies and helper calls, which name it as an operand.
    Operand,
    /// Anything else: addresses may be computed, kept, or passed on to a callback.
    Exposed,
}

/// What is done with the slots of a function.
#[derive(Clone, Debug)]
pub struct SlotUses {
    uses: SecondaryMap<Slot, SlotUse>,
    read: SecondaryMap<Slot, bool>,
}

impl SlotUses {
    /// Looks at every instruction in a block.
    pub fn new(function: &Function) -> SlotUses {
        let mut uses = SlotUses { uses: SecondaryMap::new(), read: SecondaryMap::new() };
        for data in function.blocks.values() {
            for &inst in &data.insts {
                uses.add_inst(function, inst);
            }
            data.terminator
                .iter()
                .for_each(|t| t.for_each_arg(|arg| uses.add(function, arg, SlotUse::Exposed, true)));
        }
        uses
    }

    /// The most that is done with a slot.
    pub fn of(&self, slot: Slot) -> SlotUse {
        self.uses[slot]
    }

    /// Whether anything may read the slot.
    pub fn is_read(&self, slot: Slot) -> bool {
        self.read[slot]
    }

    fn add(&mut self, function: &Function, address: Value, how: SlotUse, reads: bool) {
        if let Some(Inst::SlotAddr { slot, .. }) = function.def(address) {
            self.uses[*slot] = self.uses[*slot].max(how);
            self.read[*slot] |= reads;
        }
    }

    fn add_inst(&mut self, function: &Function, id: InstId) {
        match &function.insts[id] {
            Inst::Load { ptr, .. } => self.add(function, *ptr, SlotUse::Local, true),
            Inst::Store { ptr, value, .. } => {
                self.add(function, *ptr, SlotUse::Local, false);
                self.add(function, *value, SlotUse::Exposed, true);
            }
            Inst::MemZero { ptr, .. } => self.add(function, *ptr, SlotUse::Local, false),
            Inst::MemCopy { dst, src, .. } => {
                self.add(function, *dst, SlotUse::Operand, false);
                self.add(function, *src, SlotUse::Operand, true);
            }
            Inst::Call { helper, args } => {
                let kinds = effects::args(*helper).unwrap_or_default();
                for (index, &arg) in args.as_slice(&function.pool).iter().enumerate() {
                    match kinds.get(index) {
                        Some(Arg::Key | Arg::MapValue | Arg::Reads | Arg::Updates) => {
                            self.add(function, arg, SlotUse::Operand, true)
                        }
                        Some(Arg::Writes) => self.add(function, arg, SlotUse::Operand, false),
                        Some(_) | None => self.add(function, arg, SlotUse::Exposed, true),
                    }
                }
            }
            other => {
                other.for_each_arg(&function.pool, |arg| self.add(function, arg, SlotUse::Exposed, true))
            }
        }
    }
}
