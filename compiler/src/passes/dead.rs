//! What nobody looks at.
//!
//! ```text
//! before                                     after
//!     v1: ptr.stack = slot_addr ss0              v1: ptr.stack = slot_addr ss0
//!     mem_zero v1, 16                            store.64 v1, v2
//!     v2 = call get_current_pid_tgid()           store.64 v1+8, v2
//!     v3 = add v2, v2                            v4: ptr.map = call map_lookup_elem(v5, v1)
//!     store.64 v1, v2                            jump block1
//!     store.64 v1+8, v2                      block1:
//!     v4: ptr.map = call map_lookup_elem(v5, v1)
//!     jump block1(v3)
//! block1(v6: i64):
//! ```
//!
//! Drops instructions without effects whose results are not used, block parameters that are not used,
//! stores to slots that are never read, and stores to slots that are overwritten in the same block, or
//! whose function returns, before they are read. An atomic that fetches a value nobody uses does not
//! fetch. Preserves everything with effects. What it leaves: stores that only other blocks overwrite.

use std::collections::HashMap;
use std::ops::Range;

use cranelift_entity::{EntitySet, SecondaryMap};

use super::Facts;
use super::byte_set::ByteSet;
use crate::ir::effects::{self, Arg};
use crate::ir::memory::{SlotUse, SlotUses};
use crate::ir::{Block, DefinedBy, Function, Inst, InstId, Slot, Terminator, Value};

pub(super) fn run(facts: &Facts, function: &mut Function) -> bool {
    let mut changed = drop_stores(facts, function);
    changed |= drop_values(function);
    changed
}

/// Drops what no instruction with effects and no terminator needs.
fn drop_values(function: &mut Function) -> bool {
    let live = live_values(function);
    let mut changed = false;
    let blocks: Vec<Block> = function.blocks.keys().collect();
    for &block in &blocks {
        let Function { blocks, insts, results, .. } = &mut *function;
        let before = blocks[block].insts.len();
        blocks[block].insts.retain(|&inst| match results[inst] {
            Some(result) => live.contains(result) || !insts[inst].is_pure(),
            None => !insts[inst].is_pure(),
        });
        changed |= blocks[block].insts.len() != before;
        for &inst in &blocks[block].insts {
            if let (Some(result), &Inst::AtomicFetchAdd { width, ptr, off, value }) =
                (results[inst], &insts[inst])
                && !live.contains(result)
            {
                insts[inst] = Inst::AtomicAdd { width, ptr, off, value };
                results[inst] = None;
                changed = true;
            }
        }
    }
    drop_params(function, &live) || changed
}

fn live_values(function: &Function) -> EntitySet<Value> {
    let mut live = EntitySet::with_capacity(function.values.len());
    let mut work = Vec::new();
    for data in function.blocks.values() {
        for &inst in data.insts.iter().filter(|&&inst| !function.insts[inst].is_pure()) {
            function.insts[inst].for_each_arg(&function.pool, |arg| work.push(arg));
        }
        match &data.terminator {
            Some(Terminator::Branch { left, right, .. }) => work.extend([*left, *right]),
            Some(Terminator::Return(value)) => work.push(*value),
            Some(Terminator::Jump(_)) | None => {}
        }
    }
    let incoming = incoming_targets(function);
    while let Some(value) = work.pop() {
        if !live.insert(value) {
            continue;
        }
        match function.values[value].by {
            DefinedBy::Inst(inst) => function.insts[inst].for_each_arg(&function.pool, |arg| work.push(arg)),
            DefinedBy::Param(block, index) => {
                work.extend(incoming[block].iter().filter_map(|args| args.get(index as usize)));
            }
        }
    }
    live
}

/// The arguments that each block is given, per edge.
fn incoming_targets(function: &Function) -> SecondaryMap<Block, Vec<&[Value]>> {
    let mut incoming: SecondaryMap<Block, Vec<&[Value]>> = SecondaryMap::new();
    for target in
        function.blocks.values().filter_map(|data| data.terminator.as_ref()).flat_map(Terminator::targets)
    {
        incoming[target.block].push(&target.args);
    }
    incoming
}

fn drop_params(function: &mut Function, live: &EntitySet<Value>) -> bool {
    let mut keep: SecondaryMap<Block, Vec<bool>> = SecondaryMap::new();
    let entry = function.entry();
    let mut changed = false;
    for (block, data) in function.blocks.iter_mut().filter(|(block, _)| *block != entry) {
        keep[block] = data.params.iter().map(|&param| live.contains(param)).collect();
        changed |= keep[block].contains(&false);
        retain(&mut data.params, &keep[block]);
    }
    for target in
        function.blocks.values_mut().flat_map(|data| &mut data.terminator).flat_map(Terminator::targets_mut)
    {
        retain(&mut target.args, &keep[target.block]);
    }
    changed
}

fn retain(values: &mut Vec<Value>, keep: &[bool]) {
    let mut keep = keep.iter();
    values.retain(|_| keep.next().copied().unwrap_or(true));
}

/// Drops stores to slots that nobody reads any more.
fn drop_stores(facts: &Facts, function: &mut Function) -> bool {
    let uses = SlotUses::new(function);
    let blocks: Vec<Block> = function.blocks.keys().collect();
    let mut changed = false;
    for block in blocks {
        let returns = matches!(function.blocks[block].terminator, Some(Terminator::Return(_)));
        let mut scan =
            Scan { facts, function, uses: &uses, returns, overwritten: HashMap::new(), changed: false };
        changed |= scan.run(block);
    }
    changed
}

/// A walk through a block from its end.
struct Scan<'a> {
    facts: &'a Facts<'a>,
    function: &'a mut Function,
    uses: &'a SlotUses,
    /// The block's end is the function's, and with it the slots'.
    returns: bool,
    /// Bytes that are written, or out of reach, before they are read again.
    overwritten: HashMap<Slot, ByteSet>,
    changed: bool,
}

impl Scan<'_> {
    fn run(&mut self, block: Block) -> bool {
        let mut insts = std::mem::take(&mut self.function.blocks[block].insts);
        insts.reverse();
        insts.retain(|&inst| self.visit(inst));
        insts.reverse();
        self.function.blocks[block].insts = insts;
        self.changed
    }

    /// Says whether the instruction stays.
    fn visit(&mut self, inst: InstId) -> bool {
        match self.function.insts[inst].clone() {
            Inst::Load { width, ptr, off, .. } => self.read(ptr, off, width.bytes()),
            Inst::Store { width, ptr, off, .. } => return self.write(inst, ptr, off, width.bytes()),
            Inst::MemZero { ptr, off, len } => return self.write(inst, ptr, off, len),
            Inst::MemCopy { dst, dst_off, src, src_off, len, .. } => {
                let stays = self.write(inst, dst, dst_off, len);
                if stays {
                    self.read(src, src_off, len);
                }
                return stays;
            }
            Inst::Call { helper, args } => {
                let args = args.as_slice(&self.function.pool).to_vec();
                for (index, kind) in effects::args(helper).unwrap_or_default().iter().enumerate() {
                    let Some(&arg) = args.get(index) else { continue };
                    if let Arg::Key | Arg::MapValue | Arg::Reads | Arg::Updates = kind {
                        let len = effects::bytes_at(self.function, self.facts.maps, helper, &args, index);
                        self.read(arg, 0, len.unwrap_or(u32::MAX));
                    }
                }
            }
            // Nothing else has the address of a slot that is not exposed.
            _ => {}
        }
        true
    }

    fn range(&self, ptr: Value, off: i32, len: u32) -> Option<(Slot, Range<i64>)> {
        match self.function.def(ptr) {
            Some(Inst::SlotAddr { slot, off: at }) if self.uses.of(*slot) != SlotUse::Exposed => {
                let start = i64::from(*at) + i64::from(off);
                Some((*slot, start..start + i64::from(len)))
            }
            _ => None,
        }
    }

    /// The bytes of a slot that are overwritten from here on; at first all of it, if nothing follows.
    fn overwritten(&mut self, slot: Slot) -> &mut ByteSet {
        let (returns, size) = (self.returns, self.function.slots[slot].size);
        self.overwritten.entry(slot).or_insert_with(|| {
            let mut bytes = ByteSet::default();
            if returns {
                bytes.insert(0..i64::from(size));
            }
            bytes
        })
    }

    fn read(&mut self, ptr: Value, off: i32, len: u32) {
        if let Some((slot, range)) = self.range(ptr, off, len) {
            self.overwritten(slot).remove(range);
        }
    }

    fn write(&mut self, inst: InstId, ptr: Value, off: i32, len: u32) -> bool {
        let Some((slot, range)) = self.range(ptr, off, len) else { return true };
        if !self.uses.is_read(slot) || self.overwritten(slot).contains(&range) {
            self.changed = true;
            return false;
        }
        let rest = self.overwritten(slot).trim(range.clone());
        if let Inst::MemZero { off, len, .. } = &mut self.function.insts[inst] {
            // Whole words only: clearing five bytes takes more than clearing eight.
            let start = range.start.max(rest.start & !7);
            let end = range.end.min((rest.end + 7) & !7);
            if (start, end) != (range.start, range.end) {
                *off += (start - range.start) as i32;
                *len = (end - start) as u32;
                self.changed = true;
            }
        }
        self.overwritten(slot).insert(range);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retaining_keeps_what_has_no_verdict() {
        let mut values = vec![Value::from_u32(1), Value::from_u32(2), Value::from_u32(3)];
        retain(&mut values, &[true, false]);
        assert_eq!(values, vec![Value::from_u32(1), Value::from_u32(3)]);
    }
}
