//! Hides from the kernel verifier what the rounds of a loop hand on.
//!
//! A callback's rounds share a frame on the entry's stack. The kernel verifier follows the numbers kept there, and it
//! must not: what it has seen of one round it takes for all. Before commits ab5cfac139ab ("bpf: verify callbacks as if they are
//! called unknown number of times", Linux 6.7) it walked a callback once; on 6.18 it compares rounds before it has noted
//! which numbers the earlier one relied upon. A branch that no round it walked has taken is
//! removed from the program, and a script's answer is wrong without a word:
//!
//! ```text
//! $v = -8;
//! for ($i : 0..100) { if ($v < 0) { $v = 1; } else { @x++; } }      @x stays 0
//! ```
//!
//! So no number is stored in such a frame of which it knows anything:
//!
//! ```text
//! store.64 v1+24, v3              v9 = hide v3; store.64 v1+24, v9
//! mem_zero v1, 16                 v9 = hide 0; store.64 v1, v9; store.64 v1+8, v9
//! mem_copy v1+16, v2, 8           v8 = load.64 v2; v9 = hide v8; store.64 v1+16, v9
//! ```
//!
//! `hide` costs three instructions that do not touch memory. That all rounds look the same also saves the kernel
//! verifier from walking them until they do.
//!
//! Runs after [`super::legalise()`]: large copies and clearings, which are calls there, tell it nothing anyway. Copies from maps
//! and records stay as they are for the same reason.

use cranelift_entity::EntitySet;
use memql_grammar::ast::Span;

use crate::alloc::memory::{origin, pieces};
use crate::alloc::slots::slot_of;
use crate::helpers;
use crate::ir::{Block, DefinedBy, Function, Inst, InstId, Module, Slot, Type, UnaryOp, Value};

/// Hides the numbers that callbacks and their callers share.
pub fn hide(module: &mut Module) {
    for program in module.programs.iter_mut().filter(|p| p.functions.len() > 1) {
        for function in program.functions.values_mut() {
            let shared = shared_slots(function);
            let mut hider = Hider { function, shared, insts: Vec::new(), span: Span::default() };
            for block in hider.function.blocks.keys().collect::<Vec<_>>() {
                hider.block(block);
            }
        }
    }
}

/// The slots whose address a callback gets.
fn shared_slots(function: &Function) -> EntitySet<Slot> {
    let mut shared = EntitySet::new();
    for inst in function.insts.values() {
        if let Inst::Call { helper, args } = inst
            && let Some(n) = helpers::callback_context(*helper)
            && let Some(arg) = args.as_slice(&function.pool).get(n)
            && let Some(slot) = slot_of(function, *arg)
        {
            shared.insert(slot);
        }
    }
    shared
}

struct Hider<'a> {
    function: &'a mut Function,
    shared: EntitySet<Slot>,
    /// The current block's instructions so far.
    insts: Vec<InstId>,
    span: Span,
}

impl Hider<'_> {
    fn block(&mut self, block: Block) {
        for id in std::mem::take(&mut self.function.blocks[block].insts) {
            self.span = self.function.spans[id];
            match self.function.insts[id].clone() {
                Inst::Store { width, ptr, off, value }
                    if self.is_shared(ptr) && self.function.type_of(value).is_number() =>
                {
                    let value = self.hidden(value);
                    self.function.insts[id] = Inst::Store { width, ptr, off, value };
                    self.insts.push(id);
                }
                Inst::MemZero { ptr, off, len } if self.is_shared(ptr) => {
                    let zero = self.value(Inst::Const(0));
                    let zero = self.hidden(zero);
                    for (at, width) in pieces(len, self.alignment(ptr, off)) {
                        self.add(Inst::Store { width, ptr, off: off + at as i32, value: zero }, None);
                    }
                }
                Inst::MemCopy { dst, dst_off, src, src_off, len, align }
                    if self.is_shared(dst) && self.function.type_of(src) == Type::Stack =>
                {
                    for (at, width) in pieces(len, align) {
                        let off = src_off + at as i32;
                        let value = self.value(Inst::Load { width, signed: false, ptr: src, off });
                        let value = self.hidden(value);
                        self.add(Inst::Store { width, ptr: dst, off: dst_off + at as i32, value }, None);
                    }
                }
                _ => self.insts.push(id),
            }
        }
        self.function.blocks[block].insts = std::mem::take(&mut self.insts);
    }

    /// Whether an address is in a slot that a callback gets, or comes from a caller.
    fn is_shared(&self, ptr: Value) -> bool {
        self.function.type_of(ptr) == Type::Stack
            && slot_of(self.function, ptr).is_none_or(|slot| self.shared.contains(slot))
    }

    /// To how many bytes `ptr + off` is aligned. A callback's parameter is the address of a slot aligned to 8.
    fn alignment(&self, ptr: Value, off: i32) -> u32 {
        let ptr = origin(self.function, ptr);
        let (align, off) = match (self.function.def(ptr), self.function.values[ptr].by) {
            (Some(Inst::SlotAddr { slot, off: inner }), _) => {
                (self.function.slots[*slot].align, i64::from(*inner) + i64::from(off))
            }
            (None, DefinedBy::Param(block, _)) if block == self.function.entry() => (8, i64::from(off)),
            _ => return 1,
        };
        align.min(1 << off.trailing_zeros().min(3))
    }

    fn hidden(&mut self, value: Value) -> Value {
        let value = match self.function.type_of(value) {
            Type::I64 => value,
            _ => self.value(Inst::Cast(value)),
        };
        self.value(Inst::Unary { op: UnaryOp::Hide, arg: value })
    }

    fn value(&mut self, inst: Inst) -> Value {
        self.add(inst, Some(Type::I64)).expect("made with a type")
    }

    fn add(&mut self, inst: Inst, ty: Option<Type>) -> Option<Value> {
        let (id, value) = self.function.make_inst(inst, ty, self.span);
        self.insts.push(id);
        value
    }
}
