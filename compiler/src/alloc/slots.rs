//! Which slots can share memory: those that are never in use at the same time.
//!
//! ```text
//! store ss0        ss0
//! call f(ss0)       |
//! store ss1              ss1     no access to ss0 can follow: ss1 may lie where ss0 was
//! call g(ss1)             |
//! ```
//! A slot is in use at a point if an access to it may have come before and another may still come. Its
//! memory means nothing before the first access, so sharing changes nothing that a program may rely on. A
//! slot whose address goes where it cannot be followed (into memory, a block parameter, a `select`, a
//! return) is in use everywhere. What a callback does with an address it is given happens within the call.

use cranelift_entity::{EntitySet, SecondaryMap};

use super::intervals::{Position, meetings};
use super::layout::layout;
use super::memory::origin;
use crate::ir::{BinaryOp, Block, Function, Inst, Slot, SlotDef, Value};

/// Which slots of a function are in use at the same time.
#[derive(Clone, Debug, Default)]
pub struct SlotRanges {
    /// The others that each meets somewhere. Of thousands of temporaries hardly any two do.
    meet: SecondaryMap<Slot, Vec<Slot>>,
    /// The slots that are in use everywhere.
    everywhere: EntitySet<Slot>,
}

/// The alignment that a slot gets: at least what it asks, and its size's if that is smaller than 8, so that
/// copying and clearing it takes few instructions.
pub fn slot_align(slot: &SlotDef) -> u32 {
    let natural = match slot.size {
        8.. => 8,
        4.. => 4,
        2.. => 2,
        _ => 1,
    };
    slot.align.max(natural)
}

/// The bytes that a slot takes: its size, rounded up to its alignment.
pub fn slot_bytes(slot: &SlotDef) -> u32 {
    slot.size.next_multiple_of(slot_align(slot))
}

/// The slot that a value is an address in.
pub fn slot_of(function: &Function, value: Value) -> Option<Slot> {
    if function.type_of(value).is_number() {
        return None;
    }
    match function.def(origin(function, value))? {
        Inst::SlotAddr { slot, .. } => Some(*slot),
        Inst::Binary { op: BinaryOp::Add, left, right } => {
            slot_of(function, *left).or_else(|| slot_of(function, *right))
        }
        Inst::Binary { op: BinaryOp::Sub, left, .. } => slot_of(function, *left),
        _ => None,
    }
}

impl SlotRanges {
    /// Finds out when the slots of a function are in use.
    pub fn new(function: &Function) -> SlotRanges {
        let order = layout(function);
        let mut uses = Uses::new(function, &order);
        uses.spread(function, &order);
        let mut meet: SecondaryMap<Slot, Vec<Slot>> = SecondaryMap::new();
        meetings(uses.ranges(&order), |a, b| {
            meet[a].push(b);
            meet[b].push(a);
        });
        for slot in function.slots.keys() {
            meet[slot].sort_unstable();
            meet[slot].dedup();
        }
        SlotRanges { meet, everywhere: uses.lost }
    }

    /// Lays slots out, each at the first place that no slot has which is in use at the same time. Gives
    /// the offset of each and how many bytes they take together.
    pub fn pack(
        &self,
        function: &Function,
        slots: impl Iterator<Item = Slot>,
    ) -> (SecondaryMap<Slot, u32>, u32) {
        let mut slots: Vec<Slot> = slots.collect();
        // Large ones first; small ones fit into what is left.
        slots.sort_by_key(|slot| std::cmp::Reverse(slot_bytes(&function.slots[*slot])));
        let (mut offsets, mut size) = (SecondaryMap::new(), 0);
        let mut placed: EntitySet<Slot> = EntitySet::new();
        let mut placed_everywhere: Vec<Slot> = Vec::new();
        let mut all_placed: Vec<Slot> = Vec::new();
        for slot in slots {
            let def = &function.slots[slot];
            let is_everywhere = self.everywhere.contains(slot);
            let met = if is_everywhere { &all_placed } else { &self.meet[slot] };
            let met = met.iter().filter(|other| placed.contains(**other));
            let mut taken: Vec<(u32, u32)> = met
                .chain(placed_everywhere.iter().filter(|_| !is_everywhere))
                .map(|other| (offsets[*other], offsets[*other] + slot_bytes(&function.slots[*other])))
                .collect();
            taken.sort_unstable();
            let mut offset = 0u32;
            for (from, to) in taken {
                if offset + slot_bytes(def) > from {
                    offset = offset.max(to).next_multiple_of(slot_align(def));
                }
            }
            offsets[slot] = offset;
            size = size.max(offset + slot_bytes(def));
            placed.insert(slot);
            all_placed.push(slot);
            if is_everywhere {
                placed_everywhere.push(slot);
            }
        }
        (offsets, size)
    }
}

/// Where slots are accessed, block by block.
struct Uses {
    /// First and last access to each slot in each block.
    accesses: SecondaryMap<Block, Vec<(Slot, Position, Position)>>,
    /// Where among these a slot's are, in the block that accessed it last.
    latest: SecondaryMap<Slot, usize>,
    /// First position of each block and the one after its last.
    blocks: SecondaryMap<Block, (Position, Position)>,
    /// The slots that are accessed in a block.
    here: SlotSets,
    /// The slots that may have been accessed before a block.
    before: SlotSets,
    /// The slots that may be accessed after a block.
    after: SlotSets,
    /// The slots whose address goes where it cannot be followed.
    lost: EntitySet<Slot>,
}

impl Uses {
    fn new(function: &Function, order: &[Block]) -> Uses {
        let mut uses = Uses {
            accesses: SecondaryMap::new(),
            latest: SecondaryMap::new(),
            blocks: SecondaryMap::new(),
            here: SlotSets::new(function),
            before: SlotSets::new(function),
            after: SlotSets::new(function),
            lost: EntitySet::new(),
        };
        let mut at = 0;
        for &block in order {
            let start = at;
            for &id in &function.blocks[block].insts {
                at += 1;
                uses.inst(function, block, &function.insts[id], at);
            }
            at += 1;
            uses.blocks[block] = (start, at);
            if let Some(terminator) = &function.blocks[block].terminator {
                terminator.for_each_arg(|value| uses.lose(function, value));
            }
        }
        uses
    }

    fn lose(&mut self, function: &Function, value: Value) {
        if let Some(slot) = slot_of(function, value) {
            self.lost.insert(slot);
        }
    }

    fn inst(&mut self, function: &Function, block: Block, inst: &Inst, at: Position) {
        match inst {
            Inst::Select { then, otherwise, .. } => {
                self.lose(function, *then);
                self.lose(function, *otherwise);
            }
            Inst::Store { value, .. } | Inst::Address(value) => self.lose(function, *value),
            // These only compute; what is done with the result counts.
            Inst::Binary { .. } | Inst::Cast(_) | Inst::SlotAddr { .. } => return,
            _ => {}
        }
        inst.for_each_arg(&function.pool, |value| {
            if let Some(slot) = slot_of(function, value) {
                let accesses = &mut self.accesses[block];
                if self.here.contains(block, slot) {
                    accesses[self.latest[slot]].2 = at;
                } else {
                    self.latest[slot] = accesses.len();
                    accesses.push((slot, at, at));
                    self.here.insert(block, slot);
                }
            }
        });
    }

    /// Carries accesses forwards and backwards over the edges, each in the order in which it gets far.
    fn spread(&mut self, function: &Function, order: &[Block]) {
        let edges: Vec<(Block, Block)> = order
            .iter()
            .flat_map(|from| {
                function.blocks[*from].terminator.iter().flat_map(|t| t.targets()).map(|t| (*from, t.block))
            })
            .collect();
        let mut changed = true;
        while changed {
            changed = false;
            for &(from, to) in &edges {
                changed |= self.before.add(to, &self.here, from);
                changed |= self.before.add_own(to, from);
            }
        }
        changed = true;
        while changed {
            changed = false;
            for &(from, to) in edges.iter().rev() {
                changed |= self.after.add(from, &self.here, to);
                changed |= self.after.add_own(from, to);
            }
        }
    }

    /// When each slot is in use that is not so everywhere; what touches is one range.
    fn ranges(&self, order: &[Block]) -> impl Iterator<Item = (Slot, Position, Position)> {
        let mut ranges: SecondaryMap<Slot, Vec<(Position, Position)>> = SecondaryMap::new();
        let mut add = |slot: Slot, from: Position, to: Position| match ranges[slot].last_mut() {
            Some((_, end)) if *end == from => *end = to,
            _ if self.lost.contains(slot) => {}
            _ => ranges[slot].push((from, to)),
        };
        for &block in order {
            let (start, end) = self.blocks[block];
            for &(slot, first, last) in &self.accesses[block] {
                let from = if self.before.contains(block, slot) { start } else { first };
                let to = if self.after.contains(block, slot) { end } else { last + 1 };
                add(slot, from, to);
            }
            for slot in self.before.in_both(&self.after, block) {
                if !self.here.contains(block, slot) {
                    add(slot, start, end);
                }
            }
        }
        let all: Vec<_> = ranges
            .iter()
            .flat_map(|(slot, ranges)| ranges.iter().map(move |(from, to)| (slot, *from, *to)))
            .collect();
        all.into_iter()
    }
}

/// A set of slots for each block, as bits.
struct SlotSets {
    /// Words of a set.
    words: usize,
    bits: Vec<u64>,
}

impl SlotSets {
    fn new(function: &Function) -> SlotSets {
        let words = function.slots.len().div_ceil(64);
        SlotSets { words, bits: vec![0; words * function.blocks.len()] }
    }

    fn start(&self, block: Block) -> usize {
        block.as_u32() as usize * self.words
    }

    fn insert(&mut self, block: Block, slot: Slot) {
        let (start, slot) = (self.start(block), slot.as_u32() as usize);
        self.bits[start + slot / 64] |= 1 << (slot % 64);
    }

    fn contains(&self, block: Block, slot: Slot) -> bool {
        let slot = slot.as_u32() as usize;
        self.bits[self.start(block) + slot / 64] & 1 << (slot % 64) != 0
    }

    /// Adds another's set of a block; says whether that changed anything.
    fn add(&mut self, to: Block, other: &SlotSets, from: Block) -> bool {
        let (to, from) = (self.start(to), other.start(from));
        let mut changed = false;
        for n in 0..self.words {
            let new = self.bits[to + n] | other.bits[from + n];
            changed |= new != self.bits[to + n];
            self.bits[to + n] = new;
        }
        changed
    }

    /// The same with its own set of a block.
    fn add_own(&mut self, to: Block, from: Block) -> bool {
        let (to, from) = (self.start(to), self.start(from));
        let mut changed = false;
        for n in 0..self.words {
            let new = self.bits[to + n] | self.bits[from + n];
            changed |= new != self.bits[to + n];
            self.bits[to + n] = new;
        }
        changed
    }

    /// The slots that are in two sets of a block.
    fn in_both<'a>(&'a self, other: &'a SlotSets, block: Block) -> impl Iterator<Item = Slot> + 'a {
        let start = self.start(block);
        (0..self.words).flat_map(move |n| {
            let mut word = self.bits[start + n] & other.bits[start + n];
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros())?;
                word &= word - 1;
                Some(Slot::from_u32(n as u32 * 64 + bit))
            })
        })
    }
}
