//! Rebuilding a function without what is no longer part of it.
//!
//! Passes take instructions out of blocks and cut blocks off; this drops the blocks that cannot be
//! reached, the instructions in no block, and the slots that no instruction names, and numbers the rest
//! in the order of the text form. Blocks come in reverse postorder, a branch's first target before its
//! second: so each stands after its dominators, a loop's body is in one piece before what follows the
//! loop, and most jumps lead to the block that comes next. Spans and names stay with what they belong to.

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;

use super::cfg::Cfg;
use super::{Block, BlockData, DefinedBy, Function, Inst, Slot, Value, ValueDef, ValueList};

/// Drops what is no longer part of the function and renumbers the rest.
///
/// # Panics
/// If an instruction uses a value that no block defines, which the IR verifier forbids.
pub fn compact(function: &mut Function) {
    let old = std::mem::take(function);
    let mut compactor = Compactor {
        new: Function { params: old.params.clone(), ..Function::default() },
        blocks: SecondaryMap::new(),
        slots: SecondaryMap::new(),
        values: SecondaryMap::new(),
    };
    let cfg = Cfg::new(&old);
    let kept: Vec<Block> = cfg.reverse_postorder().collect();
    compactor.number(&old, &kept);
    for &block in &kept {
        compactor.fill(&old, block);
    }
    *function = compactor.new;
}

struct Compactor {
    new: Function,
    blocks: SecondaryMap<Block, PackedOption<Block>>,
    slots: SecondaryMap<Slot, PackedOption<Slot>>,
    values: SecondaryMap<Value, PackedOption<Value>>,
}

impl Compactor {
    /// Gives blocks, slots and values their new numbers.
    fn number(&mut self, old: &Function, kept: &[Block]) {
        let mut used: SecondaryMap<Slot, bool> = SecondaryMap::new();
        let mut insts = 0;
        for &block in kept {
            let new_block = self.new.blocks.push(BlockData::default());
            self.blocks[block] = new_block.into();
            let data = &old.blocks[block];
            for &param in &data.params {
                let value = self.new.add_param(new_block, old.values[param].ty);
                self.values[param] = value.into();
            }
            for &inst in &data.insts {
                if let Inst::SlotAddr { slot, .. } = old.insts[inst] {
                    used[slot] = true;
                }
                if let Some(result) = old.results[inst] {
                    let by = DefinedBy::Inst(super::InstId::from_u32(insts));
                    self.values[result] =
                        self.new.values.push(ValueDef { ty: old.values[result].ty, by }).into();
                }
                insts += 1;
            }
        }
        for (slot, def) in old.slots.iter().filter(|(slot, _)| used[*slot]) {
            self.slots[slot] = self.new.slots.push(def.clone()).into();
        }
    }

    fn value(&self, value: Value) -> Value {
        self.values[value].expect("a value that is used is defined in a block that can be reached")
    }

    fn block(&self, block: Block) -> Block {
        self.blocks[block].expect("the target of a block that can be reached can be reached")
    }

    fn fill(&mut self, old: &Function, block: Block) {
        let (data, new_block) = (&old.blocks[block], self.block(block));
        for &id in &data.insts {
            let inst = match &old.insts[id] {
                Inst::Call { helper, args } => {
                    let args: Vec<Value> =
                        args.as_slice(&old.pool).iter().map(|&arg| self.value(arg)).collect();
                    Inst::Call { helper: *helper, args: ValueList::from_slice(&args, &mut self.new.pool) }
                }
                Inst::SlotAddr { slot, off } => {
                    let slot = self.slots[*slot].expect("the slots of all kept instructions are kept");
                    Inst::SlotAddr { slot, off: *off }
                }
                other => {
                    let mut inst = other.clone();
                    inst.map_args(&mut self.new.pool, |arg| {
                        self.values[arg]
                            .expect("a value that is used is defined in a block that can be reached")
                    });
                    inst
                }
            };
            let new_id = self.new.insts.push(inst);
            self.new.spans[new_id] = old.spans[id];
            self.new.results[new_id] = old.results[id].map(|result| self.value(result));
            self.new.blocks[new_block].insts.push(new_id);
        }
        let terminator = data.terminator.clone().map(|mut terminator| {
            terminator.map_args(|arg| self.value(arg));
            terminator.targets_mut().for_each(|target| target.block = self.block(target.block));
            terminator
        });
        self.new.blocks[new_block].terminator = terminator;
        self.new.blocks[new_block].terminator_span = data.terminator_span;
    }
}
