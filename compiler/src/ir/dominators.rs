//! Which blocks every path to a block passes.
//!
//! The iterative algorithm of Cooper, Harvey and Kennedy ("A Simple, Fast Dominance Algorithm");
//! the tree is numbered so that `dominates` takes constant time.

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;

use super::cfg::Cfg;
use super::{Block, Function};

/// The dominator tree of the blocks that can be reached.
#[derive(Clone, Debug)]
pub struct Dominators {
    idom: SecondaryMap<Block, PackedOption<Block>>,
    children: SecondaryMap<Block, Vec<Block>>,
    preorder: Vec<Block>,
    /// First and last position in `preorder` of a block's subtree, from 1; (0, 0) if unreachable.
    subtree: SecondaryMap<Block, (u32, u32)>,
}

impl Dominators {
    /// Computes the tree.
    pub fn new(function: &Function, cfg: &Cfg) -> Dominators {
        let mut dominators = Dominators {
            idom: immediate(function, cfg),
            children: SecondaryMap::new(),
            preorder: Vec::new(),
            subtree: SecondaryMap::new(),
        };
        for block in cfg.reverse_postorder() {
            if let Some(parent) = dominators.idom[block].expand() {
                dominators.children[parent].push(block);
            }
        }
        dominators.number(function);
        dominators
    }

    fn number(&mut self, function: &Function) {
        if function.blocks.is_empty() {
            return;
        }
        let mut stack = vec![(function.entry(), 0)];
        while let Some((block, next_child)) = stack.last_mut() {
            let block = *block;
            if *next_child == 0 {
                self.preorder.push(block);
                self.subtree[block].0 = self.preorder.len() as u32;
            }
            match self.children[block].get(*next_child) {
                Some(&child) => {
                    *next_child += 1;
                    stack.push((child, 0));
                }
                None => {
                    self.subtree[block].1 = self.preorder.len() as u32;
                    stack.pop();
                }
            }
        }
    }

    /// The closest block, other than itself, that every path to this one passes. `None` for the entry
    /// and for blocks that cannot be reached.
    pub fn idom(&self, block: Block) -> Option<Block> {
        self.idom[block].expand()
    }

    /// The blocks whose immediate dominator this is.
    pub fn children(&self, block: Block) -> &[Block] {
        &self.children[block]
    }

    /// The tree's blocks, each before those it dominates.
    pub fn preorder(&self) -> &[Block] {
        &self.preorder
    }

    /// Whether every path from the entry to `b` passes `a`; a block dominates itself. Unreachable
    /// blocks dominate nothing and are dominated by nothing.
    pub fn dominates(&self, a: Block, b: Block) -> bool {
        let ((first, last), (at, _)) = (self.subtree[a], self.subtree[b]);
        at != 0 && first != 0 && first <= at && at <= last
    }

    /// The dominance frontier of each block: where its dominance ends, that is blocks it does not
    /// strictly dominate with a predecessor it dominates.
    pub fn frontiers(&self, cfg: &Cfg) -> SecondaryMap<Block, Vec<Block>> {
        let mut frontiers: SecondaryMap<Block, Vec<Block>> = SecondaryMap::new();
        for &block in cfg.postorder() {
            // An entry that is its own predecessor would be in its own frontier; it has none.
            if cfg.preds(block).len() < 2 {
                continue;
            }
            for &pred in cfg.preds(block) {
                let mut runner = Some(pred);
                while let Some(at) = runner.filter(|&at| Some(at) != self.idom(block)) {
                    if frontiers[at].last() != Some(&block) {
                        frontiers[at].push(block);
                    }
                    runner = self.idom(at);
                }
            }
        }
        frontiers
    }
}

fn immediate(function: &Function, cfg: &Cfg) -> SecondaryMap<Block, PackedOption<Block>> {
    let mut idom: SecondaryMap<Block, PackedOption<Block>> = SecondaryMap::new();
    if function.blocks.is_empty() {
        return idom;
    }
    let entry = function.entry();
    idom[entry] = entry.into();
    let mut changed = true;
    while changed {
        changed = false;
        for block in cfg.reverse_postorder().filter(|&b| b != entry) {
            let known = cfg.preds(block).iter().copied().filter(|&p| idom[p].is_some());
            let new = known.reduce(|a, b| meet(&idom, cfg, a, b));
            if new != idom[block].expand() {
                idom[block] = new.into();
                changed = true;
            }
        }
    }
    idom[entry] = None.into();
    idom
}

/// The closest common dominator of two blocks that have one already.
fn meet(idom: &SecondaryMap<Block, PackedOption<Block>>, cfg: &Cfg, mut a: Block, mut b: Block) -> Block {
    while a != b {
        let lower = if cfg.postorder_number(a) < cfg.postorder_number(b) { &mut a } else { &mut b };
        match idom[*lower].expand() {
            Some(up) => *lower = up,
            None => return *lower,
        }
    }
    a
}

#[cfg(test)]
mod tests {
    use super::super::text::parse_module;
    use super::*;

    fn block(n: u32) -> Block {
        Block::from_u32(n)
    }

    const LOOP: &str = "program %p on test_run {
fn0(ptr.ctx):
block0(v0: ptr.ctx):
    v1 = const 0
    jump block1(v1)
block1(v2: i64):
    brif eq v2, v1, block2, block3
block2:
    jump block1(v1)
block3:
    return v1
}";

    #[test]
    fn a_loop_head_dominates_body_and_exit_and_is_its_own_frontier() {
        let module = parse_module(LOOP).expect("the test's IR parses");
        let function = &module.programs[0].functions[super::super::FuncRef::from_u32(0)];
        let cfg = Cfg::new(function);
        let dominators = Dominators::new(function, &cfg);
        assert_eq!(dominators.idom(block(2)), Some(block(1)));
        assert_eq!(dominators.idom(block(0)), None);
        assert!(dominators.dominates(block(1), block(3)));
        assert!(!dominators.dominates(block(2), block(3)));
        let frontiers = dominators.frontiers(&cfg);
        assert_eq!(frontiers[block(1)], vec![block(1)]);
        assert_eq!(frontiers[block(2)], vec![block(1)]);
        assert!(frontiers[block(3)].is_empty());
    }
}
