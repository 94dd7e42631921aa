//! What memory is known to hold.
//!
//! ```text
//! before                                     after
//!     store.32 v1, v2                            store.32 v1, v2
//!     v3 = load.u32 v1                           v3 = zext.32 v2
//!     store.64 v4, v5                            store.64 v4, v5
//!     v6: ptr.map = call map_lookup_elem(v7, v4) v6: ptr.map = call map_lookup_elem(v7, v4)
//!     store.64 v8, v5                            store.64 v8, v5
//!     v9: ptr.map = call map_lookup_elem(v7, v8) v10 = load.u64 v6
//!     v10 = load.u64 v9
//! ```
//!
//! Along blocks with one predecessor each:
//! - A load from memory that was stored or loaded before gives that value.
//! - A store to a slot or record of what it holds already goes.
//! - A lookup in a map where an equal key was looked up before finds the same element.
//!
//! What is known of shared memory (maps, globals, records) and of lookups holds only until the next helper
//! call with effects: then another CPU has had its chance anyway. Between two lookups another CPU could delete
//! the element; its memory stays readable while the program runs, and the program would have read it had
//! it been a little faster.
//!
//! Preserves all stores and calls with effects. What it leaves: the context (`common` reads it once),
//! kernel memory (it changes by itself), values read in parts.

use std::collections::HashMap;

use super::Facts;
use super::replace::Replacements;
use crate::helpers;
use crate::ir::cfg::Cfg;
use crate::ir::effects::{self, Arg, Changes};
use crate::ir::eval::zext;
use crate::ir::memory::{Base, Place, SlotUse, SlotUses, may_overlap, place};
use crate::ir::{Block, Function, Helper, Inst, InstId, MapRef, Type, UnaryOp, Value, Width};

/// Facts kept at a time; the oldest are forgotten. Straight code uses what it stored soon.
const MAX_KNOWN: usize = 64;

/// Lookups kept at a time.
const MAX_LOOKUPS: usize = 16;

pub(super) fn run(facts: &Facts, function: &mut Function) -> bool {
    let cfg = Cfg::new(function);
    let uses = SlotUses::new(function);
    let mut pass = Pass {
        facts,
        function,
        uses,
        replaced: Replacements::default(),
        state: State::default(),
        changed: false,
    };
    let mut after: HashMap<Block, State> = HashMap::new();
    for block in cfg.reverse_postorder() {
        // The predecessor of a block with only one comes before it in this order.
        let before = cfg.single_pred(block).and_then(|pred| after.get(&pred));
        pass.state = before.cloned().unwrap_or_default();
        pass.visit_block(block);
        after.insert(block, std::mem::take(&mut pass.state));
    }
    let Pass { function, replaced, changed, .. } = pass;
    replaced.apply(function) || changed
}

/// What some bytes hold.
#[derive(Clone, Copy, Debug)]
struct Known {
    base: Base,
    start: i64,
    end: i64,
    content: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// The low bits of this value.
    Value(Value),
    Zero,
}

/// A part of a key: from, to, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum KeyPart {
    Zero(i64, i64),
    Const(i64, i64, i64),
    Value(i64, i64, Value),
}

#[derive(Clone, Debug)]
struct Lookup {
    map: MapRef,
    key: Vec<KeyPart>,
    element: Value,
}

#[derive(Clone, Debug, Default)]
struct State {
    known: Vec<Known>,
    lookups: Vec<Lookup>,
}

struct Pass<'a> {
    facts: &'a Facts<'a>,
    function: &'a mut Function,
    uses: SlotUses,
    replaced: Replacements,
    state: State,
    changed: bool,
}

impl Pass<'_> {
    fn visit_block(&mut self, block: Block) {
        let mut kept = Vec::new();
        for inst in std::mem::take(&mut self.function.blocks[block].insts) {
            let Function { insts, pool, .. } = &mut *self.function;
            insts[inst].map_args(pool, |arg| self.replaced.get(arg));
            if self.visit(inst) {
                kept.push(inst);
            }
        }
        self.function.blocks[block].insts = kept;
    }

    /// Says whether the instruction stays (perhaps as another).
    fn visit(&mut self, inst: InstId) -> bool {
        match self.function.insts[inst].clone() {
            Inst::Load { width, signed, ptr, off } => return self.load(inst, width, signed, ptr, off),
            Inst::Store { width, ptr, off, value } => {
                if self.is_there(width, ptr, off, value) {
                    self.changed = true;
                    return false;
                }
                self.write(ptr, off, Some(width.bytes()));
                self.learn(ptr, off, width.bytes(), Content::Value(value));
            }
            Inst::MemZero { ptr, off, len } => {
                self.write(ptr, off, Some(len));
                self.learn(ptr, off, len, Content::Zero);
            }
            Inst::MemCopy { dst, dst_off, len, .. } => self.write(dst, dst_off, Some(len)),
            Inst::AtomicAdd { width, ptr, off, .. }
            | Inst::AtomicFetchAdd { width, ptr, off, .. }
            | Inst::AtomicXchg { width, ptr, off, .. }
            | Inst::AtomicCmpXchg { width, ptr, off, .. } => self.write(ptr, off, Some(width.bytes())),
            Inst::Call { helper, args } => {
                let args = args.as_slice(&self.function.pool).to_vec();
                return self.call(inst, helper, &args);
            }
            Inst::Const(_)
            | Inst::Unary { .. }
            | Inst::Binary { .. }
            | Inst::Icmp { .. }
            | Inst::Select { .. }
            | Inst::SlotAddr { .. }
            | Inst::GlobalAddr { .. }
            | Inst::MapObject(_)
            | Inst::FnAddr(_)
            | Inst::Cast(_)
            | Inst::Address(_) => {}
        }
        true
    }

    /// Whether a store changes nothing, in memory that no other CPU sees.
    fn is_there(&self, width: Width, ptr: Value, off: i32, value: Value) -> bool {
        let Some((base, start)) = self.place(ptr, off) else { return false };
        let private = match base {
            Base::Slot(_) => true,
            Base::Other(value) => self.function.type_of(value) == Type::Ring,
            Base::Global(_) | Base::Element(_) => false,
        };
        let end = start + i64::from(width.bytes());
        let low_bits = |value| self.function.as_const(value).map(|imm| zext(width, imm));
        private
            && self.state.known.iter().filter(|known| known.base == base).any(|known| match known.content {
                Content::Value(there) if (known.start, known.end) == (start, end) => {
                    there == value || low_bits(there).is_some_and(|bits| low_bits(value) == Some(bits))
                }
                Content::Value(_) => false,
                Content::Zero => known.start <= start && end <= known.end && low_bits(value) == Some(0),
            })
    }

    fn load(&mut self, inst: InstId, width: Width, signed: bool, ptr: Value, off: i32) -> bool {
        let Some(result) = self.function.results[inst] else { return true };
        let Some((base, start)) = self.place(ptr, off) else { return true };
        let end = start + i64::from(width.bytes());
        let found = self.state.known.iter().find(|known| {
            known.base == base
                && match known.content {
                    Content::Value(_) => known.start == start && known.end == end,
                    Content::Zero => known.start <= start && end <= known.end,
                }
        });
        let Some(known) = found else {
            self.learn(ptr, off, width.bytes(), Content::Value(result));
            return true;
        };
        let (found_type, ty) = match known.content {
            Content::Value(value) => (self.function.type_of(value), self.function.type_of(result)),
            Content::Zero => (self.function.type_of(result), self.function.type_of(result)),
        };
        self.function.insts[inst] = match known.content {
            Content::Zero if ty.is_number() => Inst::Const(0),
            Content::Zero => return true,
            Content::Value(value) if width == Width::W64 => {
                if found_type == ty {
                    self.replaced.set(result, value);
                    self.changed = true;
                    return false;
                }
                if !found_type.is_number() || !ty.is_number() {
                    return true;
                }
                Inst::Cast(value)
            }
            Content::Value(value) if found_type == Type::I64 => {
                let op = if signed { UnaryOp::Sext(width) } else { UnaryOp::Zext(width) };
                Inst::Unary { op, arg: value }
            }
            Content::Value(_) => return true,
        };
        self.changed = true;
        true
    }

    fn call(&mut self, inst: InstId, helper: Helper, args: &[Value]) -> bool {
        if helper == helpers::MAP_LOOKUP_ELEM {
            return self.lookup(inst, args);
        }
        for (index, kind) in effects::args(helper).unwrap_or_default().iter().enumerate() {
            if let (Arg::Writes | Arg::Updates, Some(&arg)) = (kind, args.get(index)) {
                let bytes = effects::bytes_at(self.function, self.facts.maps, helper, args, index);
                self.write(arg, 0, bytes);
            }
        }
        let anything = effects::changes(helper) == Changes::Anything;
        if anything || !helpers::signature(helper).is_some_and(|signature| signature.pure) {
            let uses = &self.uses;
            self.state.lookups.clear();
            self.state.known.retain(|known| match known.base {
                Base::Slot(slot) => !anything || uses.of(slot) != SlotUse::Exposed,
                Base::Global(_) | Base::Element(_) | Base::Other(_) => false,
            });
        }
        true
    }

    fn lookup(&mut self, inst: InstId, args: &[Value]) -> bool {
        let Some(element) = self.function.results[inst] else { return true };
        let &[map, key] = args else { return true };
        let Some(&Inst::MapObject(map)) = self.function.def(map) else { return true };
        let Some(key) = self.key(key, self.facts.maps[map].key_size) else { return true };
        if let Some(earlier) = self.state.lookups.iter().find(|lookup| lookup.map == map && lookup.key == key)
        {
            self.replaced.set(element, earlier.element);
            self.changed = true;
            return false;
        }
        if self.state.lookups.len() == MAX_LOOKUPS {
            self.state.lookups.remove(0);
        }
        self.state.lookups.push(Lookup { map, key, element });
        true
    }

    /// What a key holds, if all of it is known.
    fn key(&self, ptr: Value, size: u32) -> Option<Vec<KeyPart>> {
        let (base, start) = self.place(ptr, 0)?;
        let end = start + i64::from(size);
        let mut parts: Vec<&Known> =
            self.state.known.iter().filter(|k| k.base == base && k.start < end && start < k.end).collect();
        parts.sort_by_key(|known| known.start);
        let mut key = Vec::new();
        let mut at = start;
        for part in parts {
            // Parts neither overlap nor, but for cleared ranges, reach beyond the key.
            let (from, to) = (part.start.max(start), part.end.min(end));
            if from != at {
                return None;
            }
            at = to;
            let (from, to) = (from - start, to - start);
            key.push(match part.content {
                Content::Value(_) if (part.start, part.end) != (from + start, to + start) => return None,
                Content::Zero => KeyPart::Zero(from, to),
                Content::Value(value) => match self.function.as_const(value) {
                    Some(0) => KeyPart::Zero(from, to),
                    Some(imm) => KeyPart::Const(from, to, imm),
                    None => KeyPart::Value(from, to, value),
                },
            });
        }
        (at == end).then(|| join_zeros(key))
    }

    /// The place of an access, if what is there changes only by the program's own doing (and, for
    /// shared memory, other CPUs').
    fn place(&self, ptr: Value, off: i32) -> Option<(Base, i64)> {
        if !matches!(self.function.type_of(ptr), Type::Stack | Type::Map | Type::Ring) {
            return None;
        }
        let Place { base, off: at } = place(self.function, ptr);
        Some((base, at? + i64::from(off)))
    }

    /// Forgets what a write changes; all of the base if it is not known how much.
    fn write(&mut self, ptr: Value, off: i32, bytes: Option<u32>) {
        let Place { base, off: at } = place(self.function, ptr);
        let range = at.zip(bytes).map(|(at, bytes)| {
            let start = at + i64::from(off);
            start..start + i64::from(bytes)
        });
        let (function, uses) = (&*self.function, &self.uses);
        let exposed = |slot| uses.of(slot) == SlotUse::Exposed;
        let mut left = Vec::with_capacity(self.state.known.len());
        for known in self.state.known.drain(..) {
            match &range {
                Some(range) if known.base == base => {
                    let untouched = known.end <= range.start || range.end <= known.start;
                    match known.content {
                        _ if untouched => left.push(known),
                        Content::Value(_) => {}
                        Content::Zero => {
                            let sides = [(known.start, range.start), (range.end, known.end)];
                            let sides = sides.into_iter().filter(|(start, end)| start < end);
                            left.extend(sides.map(|(start, end)| Known { start, end, ..known }));
                        }
                    }
                }
                _ if may_overlap(function, exposed, known.base, base) => {}
                _ => left.push(known),
            }
        }
        self.state.known = left;
    }

    fn learn(&mut self, ptr: Value, off: i32, bytes: u32, content: Content) {
        if let Some((base, start)) = self.place(ptr, off) {
            if self.state.known.len() >= MAX_KNOWN {
                self.state.known.remove(0);
            }
            self.state.known.push(Known { base, start, end: start + i64::from(bytes), content });
        }
    }
}

/// Adjacent cleared parts as one, so that keys cleared in other steps are equal.
fn join_zeros(parts: Vec<KeyPart>) -> Vec<KeyPart> {
    let mut joined: Vec<KeyPart> = Vec::with_capacity(parts.len());
    for part in parts {
        match (joined.last_mut(), &part) {
            (Some(KeyPart::Zero(_, end)), KeyPart::Zero(_, to)) => *end = *to,
            _ => joined.push(part),
        }
    }
    joined
}
