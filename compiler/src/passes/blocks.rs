//! Branches, jumps, and blocks.
//!
//! ```text
//! before                                     after
//!     brif ne v1, v3, block1, block2(v3)         brif ne v1, v3, block1, block3
//! block1:                                    block1:
//!     v5 = icmp.slt v2, v4                       v5 = icmp.slt v2, v4
//!     jump block2(v5)                            brif ne v5, v3, block2, block3
//! block2(v6: i64):                           block2:
//!     brif ne v6, v3, block3, block4             ...
//! block3:                                    block3:
//!     ...
//! ```
//!
//! - A branch to one block with the same arguments is a jump.
//! - A jump or branch to an empty block (of constants at most) goes where that block goes, if that is
//!   clear from the arguments: this is what `&&` and `||` need.
//! - A jump to an empty block that returns, or that branches on a comparison it is given, does so itself.
//! - A parameter that gets the same from everywhere is that value.
//! - A block that only one jump leads to is part of that jump's block.
//!
//! Relies on every block being reachable. Preserves all instructions but moves them to other blocks. What
//! it leaves: empty blocks whose parameters are used further down, copies of longer blocks.

use std::collections::HashMap;

use cranelift_entity::{EntitySet, SecondaryMap};

use super::Facts;
use super::replace::Replacements;
use crate::ir::cfg::Cfg;
use crate::ir::eval::compare;
use crate::ir::{Block, Cond, DefinedBy, Function, Inst, InstId, Target, Terminator, Type, Value};
use memql_grammar::ast::Span;

/// Sweeps over a function. One does nearly everything; each can open a little for the next.
const MAX_SWEEPS: usize = 6;

/// Empty blocks that one jump is led through.
const MAX_HOPS: usize = 32;

pub(super) fn run(_facts: &Facts, function: &mut Function) -> bool {
    let mut changed = false;
    for _ in 0..MAX_SWEEPS {
        let mut swept = thread(function);
        swept |= merge(function);
        swept |= drop_equal_params(function);
        if !swept {
            break;
        }
        crate::ir::compact::compact(function);
        changed = true;
    }
    changed
}

/// Leads jumps and branches through empty blocks.
fn thread(function: &mut Function) -> bool {
    let bypassable = bypassable_blocks(function);
    let blocks: Vec<Block> = function.blocks.keys().collect();
    let mut changed = false;
    for block in blocks {
        let Some(old) = function.blocks[block].terminator.clone() else { continue };
        let mut new = old.clone();
        for target in new.targets_mut() {
            for _ in 0..MAX_HOPS {
                match beyond(function, &bypassable, block, target) {
                    Some(next) => *target = next,
                    None => break,
                }
            }
        }
        if let Terminator::Branch { then, otherwise, .. } = &new
            && then == otherwise
        {
            new = Terminator::Jump(then.clone());
        }
        let mut span = function.blocks[block].terminator_span;
        if let Some((taken, taken_span)) = taken_over(function, &bypassable, block, &new) {
            (new, span) = (taken, taken_span);
        }
        if new != old {
            changed = true;
            let data = &mut function.blocks[block];
            (data.terminator, data.terminator_span) = (Some(new), span);
        }
    }
    changed
}

/// Blocks that do nothing but end, and that no other block needs to have been passed: they hold constants
/// at most, and what they define is used by themselves only.
fn bypassable_blocks(function: &Function) -> EntitySet<Block> {
    let is_const = |inst: &InstId| matches!(function.insts[*inst], Inst::Const(_));
    let empty = function.blocks.iter().filter(|(_, data)| data.insts.iter().all(is_const));
    let mut bypassable: EntitySet<Block> = EntitySet::new();
    bypassable.extend(empty.map(|(block, _)| block));
    let mut owner: SecondaryMap<Value, Option<Block>> = SecondaryMap::new();
    for (block, data) in &function.blocks {
        let results = data.insts.iter().filter_map(|&inst| function.results[inst]);
        data.params.iter().copied().chain(results).for_each(|value| owner[value] = Some(block));
    }
    for (block, data) in &function.blocks {
        let mut used = |value: Value| {
            if let Some(owner) = owner[value].filter(|&owner| owner != block) {
                bypassable.remove(owner);
            }
        };
        for &inst in &data.insts {
            function.insts[inst].for_each_arg(&function.pool, &mut used);
        }
        data.terminator.iter().for_each(|t| t.for_each_arg(&mut used));
    }
    bypassable
}

/// Where a block that is entered like this from `from` leads, if that is clear.
fn beyond(
    function: &mut Function,
    bypassable: &EntitySet<Block>,
    from: Block,
    target: &Target,
) -> Option<Target> {
    if !bypassable.contains(target.block) {
        return None;
    }
    let next = match function.blocks[target.block].terminator.as_ref()? {
        Terminator::Jump(next) => next,
        Terminator::Branch { cond, left, right, then, otherwise } => {
            let (left, right) = (given(function, target, *left), given(function, target, *right));
            let holds = match (function.as_const(left), function.as_const(right)) {
                (Some(left), Some(right)) => compare(*cond, left, right),
                _ if left == right => compare(*cond, 0, 0),
                _ => return None,
            };
            if holds { then } else { otherwise }
        }
        Terminator::Return(_) => return None,
    };
    if next.block == target.block {
        return None;
    }
    let next = next.clone();
    Some(given_target(function, from, target, &next))
}

/// The value that a block sees as `value` when it is entered this way.
fn given(function: &Function, target: &Target, value: Value) -> Value {
    match function.values[value].by {
        DefinedBy::Param(block, index) if block == target.block => target.args[index as usize],
        _ => value,
    }
}

/// The same, for use in `from`: constants of the block are made there.
fn given_in(function: &mut Function, from: Block, target: &Target, value: Value) -> Value {
    let value = given(function, target, value);
    match function.values[value].by {
        DefinedBy::Inst(id) if function.blocks[target.block].insts.contains(&id) => {
            let (inst, ty, span) = (function.insts[id].clone(), function.type_of(value), function.spans[id]);
            function
                .append(from, inst, Some(ty), span)
                .expect("an instruction made with a type defines a value")
        }
        _ => value,
    }
}

fn given_target(function: &mut Function, from: Block, target: &Target, next: &Target) -> Target {
    Target {
        block: next.block,
        args: next.args.iter().map(|&arg| given_in(function, from, target, arg)).collect(),
    }
}

/// The terminator that a jump can be replaced by: the empty block's that it leads to, if that returns, or
/// tests a comparison made here.
fn taken_over(
    function: &mut Function,
    bypassable: &EntitySet<Block>,
    from: Block,
    jump: &Terminator,
) -> Option<(Terminator, Span)> {
    let Terminator::Jump(target) = jump else { return None };
    if !bypassable.contains(target.block) {
        return None;
    }
    let span = function.blocks[target.block].terminator_span;
    let taken = match function.blocks[target.block].terminator.clone()? {
        Terminator::Return(value) => Terminator::Return(given_in(function, from, target, value)),
        Terminator::Branch { cond: cond @ (Cond::Eq | Cond::Ne), left, right, then, otherwise } => {
            let tested = given(function, target, left);
            let is_comparison = matches!(function.def(tested), Some(Inst::Icmp { .. }));
            if tested == left || !is_comparison || function.as_const(right).is_none() {
                return None;
            }
            let right = given_in(function, from, target, right);
            let then = given_target(function, from, target, &then);
            let otherwise = given_target(function, from, target, &otherwise);
            Terminator::Branch { cond, left: tested, right, then, otherwise }
        }
        Terminator::Branch { .. } | Terminator::Jump(_) => return None,
    };
    Some((taken, span))
}

/// Appends blocks to the only block that jumps to them.
fn merge(function: &mut Function) -> bool {
    let cfg = Cfg::new(function);
    let mut replaced = Replacements::default();
    let mut gone: EntitySet<Block> = EntitySet::new();
    let mut changed = false;
    for block in cfg.reverse_postorder() {
        if gone.contains(block) {
            continue;
        }
        while let Some(Terminator::Jump(target)) = &function.blocks[block].terminator {
            let next = target.block;
            if next == block || cfg.preds(next).len() != 1 {
                break;
            }
            let args = target.args.clone();
            let data = std::mem::take(&mut function.blocks[next]);
            for (param, arg) in data.params.into_iter().zip(args) {
                replaced.set(param, arg);
            }
            let into = &mut function.blocks[block];
            into.insts.extend(data.insts);
            (into.terminator, into.terminator_span) = (data.terminator, data.terminator_span);
            gone.insert(next);
            changed = true;
        }
    }
    replaced.apply(function);
    changed
}

/// What all edges give for a parameter.
#[derive(Clone, Copy, PartialEq)]
enum Given {
    Value(Value),
    Const(i64),
    Different,
}

/// Replaces parameters that get the same from every edge.
fn drop_equal_params(function: &mut Function) -> bool {
    let mut given: HashMap<(Block, usize), Given> = HashMap::new();
    for target in
        function.blocks.values().filter_map(|data| data.terminator.as_ref()).flat_map(Terminator::targets)
    {
        for (index, (&arg, &param)) in
            target.args.iter().zip(&function.blocks[target.block].params).enumerate()
        {
            if arg == param {
                continue;
            }
            let new = match function.as_const(arg) {
                Some(imm) => Given::Const(imm),
                None => Given::Value(arg),
            };
            let entry = given.entry((target.block, index)).or_insert(new);
            if *entry != new {
                *entry = Given::Different;
            }
        }
    }
    let mut replaced = Replacements::default();
    let mut dropped: SecondaryMap<Block, Vec<usize>> = SecondaryMap::new();
    let mut same: Vec<((Block, usize), Given)> =
        given.into_iter().filter(|(_, g)| *g != Given::Different).collect();
    same.sort_by_key(|(place, _)| *place);
    for ((block, index), given) in same {
        let param = function.blocks[block].params[index];
        let value = match given {
            Given::Value(value) => value,
            Given::Const(imm) => const_at_start(function, block, imm, function.type_of(param)),
            Given::Different => continue,
        };
        // Two parameters may be each other's only source in a loop that nothing else enters.
        if replaced.get(value) != param {
            replaced.set(param, value);
            dropped[block].push(index);
        }
    }
    let changed = replaced.apply(function);
    if changed {
        remove_params(function, &dropped);
    }
    changed
}

fn const_at_start(function: &mut Function, block: Block, imm: i64, ty: Type) -> Value {
    let (inst, value) = function.make_inst(Inst::Const(imm), Some(ty), Span::default());
    function.blocks[block].insts.insert(0, inst);
    value.expect("an instruction made with a type defines a value")
}

fn remove_params(function: &mut Function, dropped: &SecondaryMap<Block, Vec<usize>>) {
    let remove = |values: &mut Vec<Value>, dropped: &[usize]| {
        let mut index = 0..;
        values.retain(|_| index.next().is_some_and(|index: usize| !dropped.contains(&index)));
    };
    for (block, data) in function.blocks.iter_mut() {
        remove(&mut data.params, &dropped[block]);
        data.terminator
            .iter_mut()
            .flat_map(Terminator::targets_mut)
            .for_each(|t| remove(&mut t.args, &dropped[t.block]));
    }
}
