//! Which values are live at the ends of blocks: backward data flow to a fixed point.

use std::collections::BTreeSet;

use cranelift_entity::SecondaryMap;

use super::memory::origin;
use super::select::{Selection, Use, is_remat};
use crate::ir::{Block, Function, Value};

/// The values that live in a place (constants and addresses do not) at the ends of each block.
#[derive(Clone, Debug, Default)]
pub struct Liveness {
    /// At the start of a block; its own parameters are not among them.
    pub at_start: SecondaryMap<Block, BTreeSet<Value>>,
    /// At the end of a block, with what its edges pass on.
    pub at_end: SecondaryMap<Block, BTreeSet<Value>>,
}

impl Liveness {
    /// Computes liveness of selected code.
    pub fn new(function: &Function, selection: &Selection) -> Liveness {
        let mut live = Liveness::default();
        let mut changed = true;
        while changed {
            changed = false;
            for &block in selection.order.iter().rev() {
                let end = live.end_of(function, block);
                let start = live.start_of(function, selection, block, &end);
                changed |= start.len() != live.at_start[block].len();
                live.at_end[block] = end;
                live.at_start[block] = start;
            }
        }
        live
    }

    fn end_of(&self, function: &Function, block: Block) -> BTreeSet<Value> {
        let mut end = BTreeSet::new();
        for target in function.blocks[block].terminator.iter().flat_map(|t| t.targets()) {
            end.extend(&self.at_start[target.block]);
            for &arg in &target.args {
                let arg = origin(function, arg);
                if !is_remat(function, arg) {
                    end.insert(arg);
                }
            }
        }
        end
    }

    fn start_of(
        &self,
        function: &Function,
        selection: &Selection,
        block: Block,
        end: &BTreeSet<Value>,
    ) -> BTreeSet<Value> {
        let mut live = end.clone();
        let data = &function.blocks[block];
        let read = |live: &mut BTreeSet<Value>, uses: &[Use]| {
            for u in uses.iter().filter(|u| !is_remat(function, u.value)) {
                live.insert(u.value);
            }
        };
        if let Some(end) = &selection.terminators[block] {
            read(&mut live, &end.uses);
        }
        for &inst in data.insts.iter().rev() {
            if let Some(selected) = &selection.insts[inst] {
                if let Some(def) = selected.result {
                    live.remove(&def.value);
                }
                read(&mut live, &selected.uses);
            }
        }
        for &param in &data.params {
            live.remove(&param);
        }
        live
    }
}
