//! Invariants of accesses to slots and globals.

use super::super::effects::{self, Arg};
use super::super::{Block, Helper, Inst, InstId, Value};
use super::{At, Checker};

/// A slot or global that an address is in, and where.
struct Place {
    name: String,
    size: u32,
    /// The slot's alignment; `None` for globals, where any alignment works.
    align: Option<u32>,
    offset: i64,
}

impl Checker<'_> {
    pub(super) fn check_memory(&mut self, block: Block) {
        let function = self.function;
        for &inst in &function.blocks[block].insts {
            self.check_accesses(At::Inst(block, inst), inst);
        }
    }

    fn check_accesses(&mut self, at: At, id: InstId) {
        let function = self.function;
        match &function.insts[id] {
            Inst::Load { width, ptr, off, .. }
            | Inst::Store { width, ptr, off, .. }
            | Inst::AtomicAdd { width, ptr, off, .. }
            | Inst::AtomicFetchAdd { width, ptr, off, .. }
            | Inst::AtomicXchg { width, ptr, off, .. }
            | Inst::AtomicCmpXchg { width, ptr, off, .. } => {
                self.check_access(at, *ptr, *off, width.bytes(), width.bytes());
            }
            Inst::SlotAddr { .. } | Inst::GlobalAddr { .. } => {
                if let Some(value) = function.results[id] {
                    self.check_access(at, value, 0, 0, 1);
                }
            }
            Inst::MemZero { ptr, off, len } => self.check_access(at, *ptr, *off, *len, 1),
            Inst::MemCopy { dst, dst_off, src, src_off, len, align } => {
                self.check_access(at, *dst, *dst_off, *len, *align);
                self.check_access(at, *src, *src_off, *len, *align);
            }
            Inst::Call { helper, args } => self.check_call_memory(at, *helper, args.as_slice(&function.pool)),
            Inst::Const(_)
            | Inst::Unary { .. }
            | Inst::Binary { .. }
            | Inst::Icmp { .. }
            | Inst::Select { .. }
            | Inst::MapObject(_)
            | Inst::FnAddr(_)
            | Inst::Cast(_)
            | Inst::Address(_) => {}
        }
    }

    fn check_call_memory(&mut self, at: At, helper: Helper, args: &[Value]) {
        let Some(kinds) = effects::args(helper).filter(|kinds| kinds.len() == args.len()) else { return };
        let map = args.first().and_then(|&map| match self.function.def(map) {
            Some(Inst::MapObject(map)) => Some(&self.module.maps[*map]),
            _ => None,
        });
        for (index, (&arg, kind)) in args.iter().zip(kinds).enumerate() {
            let bytes = match kind {
                Arg::Key => map.map(|map| i64::from(map.key_size)),
                Arg::MapValue => map.map(|map| i64::from(map.value_size)),
                Arg::Reads | Arg::Writes | Arg::Updates => {
                    args.get(index + 1).and_then(|&size| self.function.as_const(size))
                }
                _ => None,
            };
            match bytes.map(u32::try_from) {
                Some(Ok(bytes)) => self.check_access(at, arg, 0, bytes, 1),
                Some(Err(_)) => self.report(at, "a negative or huge size"),
                None => {}
            }
        }
    }

    fn place(&self, base: Value) -> Option<Place> {
        match self.function.def(base)? {
            Inst::SlotAddr { slot, off } => {
                let def = &self.function.slots[*slot];
                Some(Place {
                    name: slot.to_string(),
                    size: def.size,
                    align: Some(def.align),
                    offset: i64::from(*off),
                })
            }
            Inst::GlobalAddr { global, off } => {
                let def = &self.module.globals[*global];
                Some(Place { name: global.to_string(), size: def.size, align: None, offset: i64::from(*off) })
            }
            _ => None,
        }
    }

    fn check_access(&mut self, at: At, base: Value, off: i32, bytes: u32, align: u32) {
        let Some(Place { name, size, align: slot_align, offset }) = self.place(base) else { return };
        let start = offset + i64::from(off);
        let end = start + i64::from(bytes);
        if start < 0 || end > i64::from(size) {
            return self.report(at, format!("bytes {start}..{end} of {name}, which has {size}"));
        }
        let Some(slot_align) = slot_align else { return };
        if !matches!(align, 1 | 2 | 4 | 8) {
            return; // reported with the types
        }
        if start % i64::from(align) != 0 || slot_align % align != 0 {
            self.report(
                at,
                format!(
                    "an access aligned to {align} at byte {start} of {name}, which is aligned to {slot_align}"
                ),
            );
        }
    }
}
