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

use super::intervals::{Position, first_common};
use super::layout::layout;
use super::memory::origin;
use crate::ir::{BinaryOp, Block, Function, Inst, Slot, SlotDef, Value};

/// When each slot of a function is in use.
#[derive(Clone, Debug, Default)]
pub struct SlotRanges {
    ranges: SecondaryMap<Slot, Vec<(Position, Position)>>,
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
        let mut out = SlotRanges::default();
        for slot in function.slots.keys() {
            out.ranges[slot] = uses.ranges(slot, &order);
        }
        out
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
        let mut placed: Vec<Slot> = Vec::new();
        for slot in slots {
            let def = &function.slots[slot];
            let mut taken: Vec<(u32, u32)> = Vec::new();
            for other in placed.iter().filter(|other| self.meet(slot, **other)) {
                taken.push((offsets[*other], offsets[*other] + slot_bytes(&function.slots[*other])));
            }
            taken.sort_unstable();
            let mut offset = 0u32;
            for (from, to) in taken {
                if offset + slot_bytes(def) > from {
                    offset = offset.max(to).next_multiple_of(slot_align(def));
                }
            }
            offsets[slot] = offset;
            size = size.max(offset + slot_bytes(def));
            placed.push(slot);
        }
        (offsets, size)
    }

    fn meet(&self, a: Slot, b: Slot) -> bool {
        first_common(&self.ranges[a], &self.ranges[b]).is_some()
    }
}

/// Where slots are accessed, block by block.
struct Uses {
    /// First and last access to each slot in each block.
    accesses: SecondaryMap<Block, Vec<(Slot, Position, Position)>>,
    /// First position of each block and the one after its last.
    blocks: SecondaryMap<Block, (Position, Position)>,
    /// The slots that may have been accessed before a block.
    before: SecondaryMap<Block, EntitySet<Slot>>,
    /// The slots that may be accessed after a block.
    after: SecondaryMap<Block, EntitySet<Slot>>,
    /// The slots whose address goes where it cannot be followed.
    lost: EntitySet<Slot>,
}

impl Uses {
    fn new(function: &Function, order: &[Block]) -> Uses {
        let mut uses = Uses {
            accesses: SecondaryMap::new(),
            blocks: SecondaryMap::new(),
            before: SecondaryMap::new(),
            after: SecondaryMap::new(),
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
            Inst::Store { value, .. } => self.lose(function, *value),
            // These only compute; what is done with the result counts.
            Inst::Binary { .. } | Inst::Cast(_) | Inst::SlotAddr { .. } => return,
            _ => {}
        }
        inst.for_each_arg(&function.pool, |value| {
            if let Some(slot) = slot_of(function, value) {
                let accesses = &mut self.accesses[block];
                match accesses.iter_mut().find(|(s, ..)| *s == slot) {
                    Some((_, _, last)) => *last = at,
                    None => accesses.push((slot, at, at)),
                }
            }
        });
    }

    /// Carries accesses forwards and backwards over the edges.
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
                let forwards: Vec<Slot> = self.known(&self.before[from], from);
                let backwards: Vec<Slot> = self.known(&self.after[to], to);
                for slot in forwards {
                    changed |= self.before[to].insert(slot);
                }
                for slot in backwards {
                    changed |= self.after[from].insert(slot);
                }
            }
        }
    }

    fn known(&self, set: &EntitySet<Slot>, block: Block) -> Vec<Slot> {
        set.iter().chain(self.accesses[block].iter().map(|(slot, ..)| *slot)).collect()
    }

    fn ranges(&self, slot: Slot, order: &[Block]) -> Vec<(Position, Position)> {
        if self.lost.contains(slot) {
            return vec![(0, Position::MAX)];
        }
        let range = |block: &Block| {
            let (start, end) = self.blocks[*block];
            let access = self.accesses[*block].iter().find(|(s, ..)| *s == slot);
            let before = self.before[*block].contains(slot);
            let after = self.after[*block].contains(slot);
            match (access, before, after) {
                (_, true, true) => Some((start, end)),
                (Some((_, _, last)), true, false) => Some((start, last + 1)),
                (Some((_, first, _)), false, true) => Some((*first, end)),
                (Some((_, first, last)), false, false) => Some((*first, last + 1)),
                (None, _, _) => None,
            }
        };
        order.iter().filter_map(range).collect()
    }
}
