//! The same computation once.
//!
//! ```text
//! before                                     after
//!     v1 = call get_current_pid_tgid()           v1 = call get_current_pid_tgid()
//!     v2 = zext.32 v1                            v2 = zext.32 v1
//!     brif eq v2, v3, block1, block2             brif eq v2, v3, block1, block2
//! block1:                                    block1:
//!     v4 = call get_current_pid_tgid()           v5 = lshr v1, v6
//!     v5 = lshr v4, v6                           jump block2
//!     brif eq v2, v3, block2, block3
//! ```
//!
//! An instruction whose result only depends on its operands is replaced by an equal one that dominates
//! it. These are all but loads and calls; of those, loads from the context (which nobody changes while the
//! program runs) and calls of helpers that are `stable` ([`crate::helpers`]). A comparison that a
//! dominating branch has decided is decided.
//!
//! Relies on nothing. Preserves the order of everything with effects. What it leaves: equal computations
//! in two branches, of which neither dominates the other; comparisons that follow from others without
//! being them.

use std::collections::HashMap;
use std::hash::Hash;

use super::Facts;
use super::replace::Replacements;
use crate::helpers;
use crate::ir::cfg::Cfg;
use crate::ir::dominators::Dominators;
use crate::ir::eval::{is_commutative, swapped};
use crate::ir::{
    BinaryOp, Block, Cond, FuncRef, Function, Global, Helper, Inst, InstId, MapRef, Slot, Terminator, Type,
    UnaryOp, Value, Width,
};

/// What makes two computations equal, beside the result's type.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Const(i64),
    Unary(UnaryOp, Value),
    Binary(BinaryOp, Value, Value),
    Icmp(Cond, Value, Value),
    Select(Value, Value, Value),
    ContextLoad(Width, bool, Value, i32),
    SlotAddr(Slot, i32),
    GlobalAddr(Global, i32),
    MapObject(MapRef),
    FnAddr(FuncRef),
    Call(Helper, Vec<Value>),
    Cast(Value),
    Address(Value),
}

pub(super) fn run(_facts: &Facts, function: &mut Function) -> bool {
    let cfg = Cfg::new(function);
    let dominators = Dominators::new(function, &cfg);
    let mut walk = Walk {
        function,
        known: Scoped::default(),
        decided: Scoped::default(),
        replaced: Replacements::default(),
        changed: false,
    };
    walk.run(&cfg, &dominators);
    let Walk { function, replaced, changed, .. } = walk;
    replaced.apply(function) || changed
}

/// What is known in a block and in those that it dominates.
struct Walk<'a> {
    function: &'a mut Function,
    known: Scoped<(Key, Type), Value>,
    decided: Scoped<(Cond, Value, Value), bool>,
    replaced: Replacements,
    changed: bool,
}

impl Walk<'_> {
    fn run(&mut self, cfg: &Cfg, dominators: &Dominators) {
        enum Step {
            Enter(Block),
            Leave(usize, usize),
        }
        let mut work = vec![Step::Enter(self.function.entry())];
        while let Some(step) = work.pop() {
            match step {
                Step::Enter(block) => {
                    work.push(Step::Leave(self.known.mark(), self.decided.mark()));
                    self.learn_from_branch(cfg, block);
                    self.visit(block);
                    work.extend(dominators.children(block).iter().map(|&child| Step::Enter(child)));
                }
                Step::Leave(known, decided) => {
                    self.known.undo_to(known);
                    self.decided.undo_to(decided);
                }
            }
        }
    }

    /// The only way into this block is one side of a branch: its comparison is decided.
    fn learn_from_branch(&mut self, cfg: &Cfg, block: Block) {
        let Some(pred) = cfg.single_pred(block) else { return };
        let Some(Terminator::Branch { cond, left, right, then, .. }) = &self.function.blocks[pred].terminator
        else {
            return;
        };
        let (cond, left, right, holds) = (*cond, *left, *right, then.block == block);
        for (cond, holds) in [(cond, holds), (cond.negated(), !holds)] {
            self.decided.insert((cond, left, right), holds);
            self.decided.insert((swapped(cond), right, left), holds);
        }
    }

    fn visit(&mut self, block: Block) {
        let mut kept = Vec::new();
        for inst in std::mem::take(&mut self.function.blocks[block].insts) {
            let Function { insts, pool, .. } = &mut *self.function;
            insts[inst].map_args(pool, |arg| self.replaced.get(arg));
            if self.visit_inst(inst) {
                kept.push(inst);
            }
        }
        self.function.blocks[block].insts = kept;
        let Some(mut terminator) = self.function.blocks[block].terminator.take() else { return };
        terminator.map_args(|arg| self.replaced.get(arg));
        if let Terminator::Branch { cond, left, right, then, otherwise } = &terminator
            && let Some(&holds) = self.decided.get(&(*cond, *left, *right))
        {
            self.changed = true;
            terminator = Terminator::Jump(if holds { then.clone() } else { otherwise.clone() });
        }
        self.function.blocks[block].terminator = Some(terminator);
    }

    /// Says whether the instruction stays.
    fn visit_inst(&mut self, inst: InstId) -> bool {
        let Some(result) = self.function.results[inst] else { return true };
        if let Inst::Icmp { cond, left, right } = self.function.insts[inst]
            && let Some(&holds) = self.decided.get(&(cond, left, right))
        {
            self.function.insts[inst] = Inst::Const(i64::from(holds));
            self.changed = true;
        }
        let Some(key) = self.key(inst) else { return true };
        let key = (key, self.function.type_of(result));
        match self.known.get(&key) {
            Some(&earlier) => {
                self.replaced.set(result, earlier);
                false
            }
            None => {
                self.known.insert(key, result);
                true
            }
        }
    }

    fn key(&self, inst: InstId) -> Option<Key> {
        let function = &*self.function;
        Some(match &function.insts[inst] {
            Inst::Const(imm) => Key::Const(*imm),
            Inst::Unary { op, arg } => Key::Unary(*op, *arg),
            Inst::Binary { op, left, right } if is_commutative(*op) && left > right => {
                Key::Binary(*op, *right, *left)
            }
            Inst::Binary { op, left, right } => Key::Binary(*op, *left, *right),
            Inst::Icmp { cond, left, right } if left > right => Key::Icmp(swapped(*cond), *right, *left),
            Inst::Icmp { cond, left, right } => Key::Icmp(*cond, *left, *right),
            Inst::Select { cond, then, otherwise } => Key::Select(*cond, *then, *otherwise),
            Inst::Load { width, signed, ptr, off } if function.type_of(*ptr) == Type::Ctx => {
                Key::ContextLoad(*width, *signed, *ptr, *off)
            }
            Inst::SlotAddr { slot, off } => Key::SlotAddr(*slot, *off),
            Inst::GlobalAddr { global, off } => Key::GlobalAddr(*global, *off),
            Inst::MapObject(map) => Key::MapObject(*map),
            Inst::FnAddr(func) => Key::FnAddr(*func),
            Inst::Call { helper, args } if helpers::signature(*helper).is_some_and(|s| s.stable) => {
                Key::Call(*helper, args.as_slice(&function.pool).to_vec())
            }
            Inst::Cast(value) => Key::Cast(*value),
            Inst::Address(value) => Key::Address(*value),
            Inst::Load { .. }
            | Inst::Call { .. }
            | Inst::Store { .. }
            | Inst::AtomicAdd { .. }
            | Inst::AtomicFetchAdd { .. }
            | Inst::AtomicXchg { .. }
            | Inst::AtomicCmpXchg { .. }
            | Inst::MemZero { .. }
            | Inst::MemCopy { .. } => return None,
        })
    }
}

/// A map whose latest insertions can be taken back.
struct Scoped<K, V> {
    map: HashMap<K, V>,
    /// What each insertion covered.
    log: Vec<(K, Option<V>)>,
}

impl<K, V> Default for Scoped<K, V> {
    fn default() -> Self {
        Scoped { map: HashMap::new(), log: Vec::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Scoped<K, V> {
    fn get(&self, key: &K) -> Option<&V> {
        self.map.get(key)
    }

    fn insert(&mut self, key: K, value: V) {
        let covered = self.map.insert(key.clone(), value);
        self.log.push((key, covered));
    }

    fn mark(&self) -> usize {
        self.log.len()
    }

    fn undo_to(&mut self, mark: usize) {
        for (key, covered) in self.log.drain(mark..).rev() {
            match covered {
                Some(value) => self.map.insert(key, value),
                None => self.map.remove(&key),
            };
        }
    }
}
