//! The control-flow graph of a function: who may come before a block, and an order to visit them in.
//!
//! A snapshot: it is computed from a function and knows nothing of later changes. Every block that a
//! terminator names must exist (the IR verifier checks this before it asks for a graph).

use cranelift_entity::SecondaryMap;

use super::{Block, Function};

/// Predecessors of each block, and the blocks that can be reached, in postorder.
#[derive(Clone, Debug)]
pub struct Cfg {
    preds: SecondaryMap<Block, Vec<Block>>,
    postorder: Vec<Block>,
    /// Position in `postorder`, from 1; 0 for a block that cannot be reached.
    number: SecondaryMap<Block, u32>,
}

impl Cfg {
    /// Computes the graph of a function.
    pub fn new(function: &Function) -> Cfg {
        let mut cfg = Cfg { preds: SecondaryMap::new(), postorder: Vec::new(), number: SecondaryMap::new() };
        if function.blocks.is_empty() {
            return cfg;
        }
        cfg.visit(function);
        for &block in &cfg.postorder {
            for successor in successors(function, block) {
                cfg.preds[successor].push(block);
            }
        }
        cfg
    }

    /// Depth-first, without recursion: scripts may have thousands of blocks in a row.
    fn visit(&mut self, function: &Function) {
        let mut seen: SecondaryMap<Block, bool> = SecondaryMap::new();
        let entry = function.entry();
        seen[entry] = true;
        let mut stack = vec![(entry, successors(function, entry))];
        while let Some((block, pending)) = stack.last_mut() {
            match pending.next_back() {
                Some(next) if !seen[next] => {
                    seen[next] = true;
                    stack.push((next, successors(function, next)));
                }
                Some(_) => {}
                None => {
                    self.postorder.push(*block);
                    self.number[*block] = self.postorder.len() as u32;
                    stack.pop();
                }
            }
        }
    }

    /// Blocks that end in a jump or branch to this one: one entry per edge, so a branch with both
    /// targets here counts twice. Only blocks that can be reached are listed.
    pub fn preds(&self, block: Block) -> &[Block] {
        &self.preds[block]
    }

    /// The only edge into this block comes from here, if there is exactly one.
    pub fn single_pred(&self, block: Block) -> Option<Block> {
        match self.preds(block) {
            [pred] => Some(*pred),
            _ => None,
        }
    }

    /// Whether some path from the entry leads here.
    pub fn is_reachable(&self, block: Block) -> bool {
        self.number[block] != 0
    }

    /// The blocks that can be reached: each after all its successors, back edges aside.
    pub fn postorder(&self) -> &[Block] {
        &self.postorder
    }

    /// The blocks that can be reached: each before all its successors, back edges aside.
    pub fn reverse_postorder(&self) -> impl DoubleEndedIterator<Item = Block> + '_ {
        self.postorder.iter().rev().copied()
    }

    /// Position of a block in the postorder, from 1; 0 if it cannot be reached.
    pub(super) fn postorder_number(&self, block: Block) -> u32 {
        self.number[block]
    }
}

/// The blocks a block may go to, one per edge, in the order of its terminator.
pub fn successors(function: &Function, block: Block) -> std::vec::IntoIter<Block> {
    let terminator = function.blocks[block].terminator.as_ref();
    let blocks: Vec<Block> = terminator.map(|t| t.targets().map(|t| t.block).collect()).unwrap_or_default();
    blocks.into_iter()
}
