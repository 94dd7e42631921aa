//! The order in which blocks are laid out.
//!
//! A block comes after all that lead to it but for edges that close loops, so that code runs downwards and
//! loops are closed by jumps upwards. Where there is a choice, a loop is finished before what follows
//! it, the code goes on where it just was, and paths that only leave the function come last: those are
//! mostly failures.
//!
//! ```text
//! block0: brif .. block1, block2      block0
//! block1: brif .. block3, block4      block1
//! block2: return                      block3
//! block3: jump block4                 block4
//! block4: return                      block2
//! ```

use std::collections::HashSet;

use cranelift_entity::{EntitySet, SecondaryMap};

use crate::ir::{BinaryOp, Block, Cond, Function, Inst, Terminator};

/// The blocks that can be reached from the entry, in layout order.
pub fn layout(function: &Function) -> Vec<Block> {
    let reached = reached(function);
    let back_edges = back_edges(function);
    let depth = loop_depths(function);
    // How many edges into each block come from blocks that have no place yet.
    let mut waits: SecondaryMap<Block, u32> = SecondaryMap::new();
    for &block in &reached {
        for to in targets(function, block).filter(|to| !back_edges.contains(&(block, *to))) {
            waits[to] += 1;
        }
    }
    let (mut order, mut ready) = (Vec::with_capacity(reached.len()), vec![function.entry()]);
    while let Some(at) = (0..ready.len()).max_by_key(|n| (depth[ready[*n]], *n)) {
        let block = ready.remove(at);
        order.push(block);
        let mut next: Vec<Block> = Vec::new();
        for to in targets(function, block).filter(|to| !back_edges.contains(&(block, *to))) {
            waits[to] -= 1;
            if waits[to] == 0 {
                next.push(to);
            }
        }
        // The last of equals is taken first: the branch's first target, but rather one that goes on.
        if !jumps_on_bits(function, block) {
            next.reverse();
        }
        next.sort_by_key(|to| !leaves(function, *to));
        ready.extend(next);
    }
    order
}

/// Whether a block ends with a jump to its first target if some bits are set. That jump has no opposite, so
/// the other target should follow.
fn jumps_on_bits(function: &Function, block: Block) -> bool {
    let Some(Terminator::Branch { cond: Cond::Ne, left, right, .. }) = &function.blocks[block].terminator
    else {
        return false;
    };
    let is_and = matches!(function.def(*left), Some(Inst::Binary { op: BinaryOp::And, .. }));
    is_and && function.as_const(*right) == Some(0)
}

/// Whether a block ends the function.
fn leaves(function: &Function, block: Block) -> bool {
    matches!(function.blocks[block].terminator, Some(Terminator::Return(_)))
}

fn targets(function: &Function, block: Block) -> impl Iterator<Item = Block> {
    function.blocks[block].terminator.iter().flat_map(|t| t.targets()).map(|t| t.block)
}

fn reached(function: &Function) -> Vec<Block> {
    let mut seen: EntitySet<Block> = EntitySet::new();
    let mut open = vec![function.entry()];
    while let Some(block) = open.pop() {
        if seen.insert(block) {
            open.extend(targets(function, block));
        }
    }
    seen.iter().collect()
}

/// The edges that close loops: depth first, those to a block whose exploration has not ended. Without
/// them the blocks have an order.
pub fn back_edges(function: &Function) -> HashSet<(Block, Block)> {
    let targets = |block: Block| targets(function, block).collect::<Vec<_>>();
    let mut edges = HashSet::new();
    let (mut seen, mut on_path) = (EntitySet::new(), EntitySet::new());
    let mut path = vec![(function.entry(), targets(function.entry()))];
    seen.insert(function.entry());
    on_path.insert(function.entry());
    while let Some((block, open)) = path.last_mut() {
        let from = *block;
        match open.pop() {
            Some(to) if on_path.contains(to) => {
                edges.insert((from, to));
            }
            Some(to) if seen.insert(to) => {
                on_path.insert(to);
                path.push((to, targets(to)));
            }
            Some(_) => {}
            None => {
                on_path.remove(from);
                path.pop();
            }
        }
    }
    edges
}

/// In how many loops each block is.
pub fn loop_depths(function: &Function) -> SecondaryMap<Block, u32> {
    let (reached, back_edges) = (reached(function), back_edges(function));
    let mut depth: SecondaryMap<Block, u32> = SecondaryMap::new();
    let mut sources: SecondaryMap<Block, Vec<Block>> = SecondaryMap::new();
    for &block in &reached {
        targets(function, block).for_each(|to| sources[to].push(block));
    }
    let heads: HashSet<Block> = back_edges.iter().map(|(_, head)| *head).collect();
    for head in heads {
        // A loop is what leads to its closing edges without passing its head.
        let mut inside: EntitySet<Block> = EntitySet::new();
        inside.insert(head);
        let mut open: Vec<Block> =
            back_edges.iter().filter(|(_, to)| *to == head).map(|(from, _)| *from).collect();
        while let Some(block) = open.pop() {
            if inside.insert(block) {
                open.extend(&sources[block]);
            }
        }
        inside.iter().for_each(|block| depth[block] += 1);
    }
    depth
}
