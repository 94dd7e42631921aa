//! Constants, algebra, and comparisons.
//!
//! ```text
//! before                                     after
//!     v1 = const 1024                            v1 = const 10
//!     v2 = load.u32 v0+8                         v2 = load.u32 v0+8
//!     v3 = zext.32 v2                            v3 = lshr v2, v1
//!     v4 = udiv v3, v1                           v4 = const 4
//!     v5 = const 4                               brif ult v3, v4, block1, block2
//!     v6 = icmp.ult v4, v5
//!     v7 = const 0
//!     brif ne v6, v7, block1, block2
//! ```
//!
//! What is computed is what eBPF computes ([`crate::ir::eval`]). Canonical afterwards: constants are right
//! operands; subtracting a constant is adding; chains with constants are one operation; a comparison that
//! is branched on is the branch's own; constant distances are part of slot and global addresses, and of
//! loads' and stores' offsets.
//!
//! Relies on nothing. Preserves every instruction with effects. It drops a comparison only if it follows
//! from bits that the kernel verifier tracks as well (see `bits`). What it leaves: operands that are no
//! longer used (`dead`), equal constants (`common`), blocks that are no longer reached (`compact`).

use super::Facts;
use super::replace::Replacements;
use crate::ir::{Block, Function, Inst, InstId, Terminator, Type, Value};
use memql_grammar::ast::Span;

mod addresses;
mod arithmetic;
mod bits;
mod compare;

/// Rules applied to one instruction, one after the other, at most so many times. Each makes it simpler,
/// so this only bounds the work.
const MAX_STEPS: u32 = 16;

pub(super) fn run(facts: &Facts, function: &mut Function) -> bool {
    let order: Vec<Block> = crate::ir::cfg::Cfg::new(function).reverse_postorder().collect();
    let mut folder = Folder {
        facts,
        function,
        replaced: Replacements::default(),
        kept: Vec::new(),
        span: Span::default(),
        changed: false,
    };
    for block in order {
        folder.fold_block(block);
    }
    let Folder { function, replaced, changed, .. } = folder;
    replaced.apply(function) || changed
}

/// What a rule makes of an instruction.
enum Folded {
    /// It is this value.
    Value(Value),
    /// It is this constant, of the result's type.
    Const(i64),
    /// It is this instruction.
    Inst(Inst),
}

/// What a rule makes of a comparison.
enum Comparison {
    /// It always or never holds.
    Known(bool),
    /// It is this comparison.
    Of(crate::ir::Cond, Value, Value),
}

struct Folder<'a> {
    facts: &'a Facts<'a>,
    function: &'a mut Function,
    replaced: Replacements,
    /// The instructions of the current block so far.
    kept: Vec<InstId>,
    /// The source of the instruction being folded.
    span: Span,
    changed: bool,
}

impl Folder<'_> {
    fn fold_block(&mut self, block: Block) {
        for inst in std::mem::take(&mut self.function.blocks[block].insts) {
            let Function { insts, pool, .. } = &mut *self.function;
            insts[inst].map_args(pool, |arg| self.replaced.get(arg));
            self.span = self.function.spans[inst];
            if self.fold_inst(inst) {
                self.kept.push(inst);
            }
        }
        self.span = self.function.blocks[block].terminator_span;
        if let Some(mut terminator) = self.function.blocks[block].terminator.take() {
            terminator.map_args(|arg| self.replaced.get(arg));
            self.function.blocks[block].terminator = Some(self.fold_terminator(terminator));
        }
        self.function.blocks[block].insts = std::mem::take(&mut self.kept);
    }

    /// Says whether the instruction stays (perhaps as another).
    fn fold_inst(&mut self, id: InstId) -> bool {
        for _ in 0..MAX_STEPS {
            match self.step(id) {
                None => return true,
                Some(Folded::Inst(inst)) => self.function.insts[id] = inst,
                Some(Folded::Const(imm)) => self.function.insts[id] = Inst::Const(imm),
                Some(Folded::Value(value)) => {
                    self.changed = true;
                    if let Some(result) = self.function.results[id] {
                        self.replaced.set(result, value);
                    }
                    return false;
                }
            }
            self.changed = true;
        }
        true
    }

    /// Applies the first rule that fits.
    fn step(&mut self, id: InstId) -> Option<Folded> {
        let inst = self.function.insts[id].clone();
        match inst {
            Inst::Unary { op, arg } => self.fold_unary(op, arg),
            Inst::Binary { op, left, right } => {
                let ty = self.function.type_of(self.function.results[id]?);
                self.fold_binary(op, left, right, ty)
            }
            Inst::Icmp { cond, left, right } => Some(match self.fold_comparison(cond, left, right)? {
                Comparison::Known(holds) => Folded::Const(i64::from(holds)),
                Comparison::Of(cond, left, right) => Folded::Inst(Inst::Icmp { cond, left, right }),
            }),
            Inst::Select { cond, then, otherwise } => self.fold_select(cond, then, otherwise),
            Inst::Cast(value) => {
                let ty = self.function.type_of(self.function.results[id]?);
                self.fold_cast(value, ty)
            }
            Inst::Load { .. }
            | Inst::Store { .. }
            | Inst::AtomicAdd { .. }
            | Inst::AtomicFetchAdd { .. }
            | Inst::AtomicXchg { .. }
            | Inst::AtomicCmpXchg { .. }
            | Inst::MemZero { .. }
            | Inst::MemCopy { .. } => self.fold_access(inst).map(Folded::Inst),
            Inst::Const(_)
            | Inst::SlotAddr { .. }
            | Inst::GlobalAddr { .. }
            | Inst::MapObject(_)
            | Inst::FnAddr(_)
            | Inst::Address(_)
            | Inst::Call { .. } => None,
        }
    }

    fn fold_terminator(&mut self, terminator: Terminator) -> Terminator {
        let Terminator::Branch { mut cond, mut left, mut right, then, otherwise } = terminator else {
            return terminator;
        };
        for _ in 0..MAX_STEPS {
            match self.fold_comparison(cond, left, right) {
                None => break,
                Some(Comparison::Known(holds)) => {
                    self.changed = true;
                    return Terminator::Jump(if holds { then } else { otherwise });
                }
                Some(Comparison::Of(new_cond, new_left, new_right)) => {
                    self.changed = true;
                    (cond, left, right) = (new_cond, new_left, new_right);
                }
            }
        }
        Terminator::Branch { cond, left, right, then, otherwise }
    }

    fn fold_cast(&mut self, value: Value, ty: Type) -> Option<Folded> {
        if self.function.type_of(value) == ty {
            return Some(Folded::Value(value));
        }
        match self.function.def(value)? {
            Inst::Const(imm) => Some(Folded::Const(*imm)),
            Inst::Cast(inner) => Some(Folded::Inst(Inst::Cast(*inner))),
            _ => None,
        }
    }

    /// Adds an instruction before the one being folded.
    fn emit(&mut self, inst: Inst, ty: Type) -> Value {
        let (id, value) = self.function.make_inst(inst, Some(ty), self.span);
        self.kept.push(id);
        value.expect("an instruction made with a type defines a value")
    }

    fn constant(&mut self, imm: i64) -> Value {
        self.emit(Inst::Const(imm), Type::I64)
    }
}
