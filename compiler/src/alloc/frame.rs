//! The layout of a function's stack frame.
//!
//! Spill slots lie nearest to the frame pointer, slots below, largest alignment first. A slot of eight
//! bytes or more is aligned to eight whatever it asks, so that copying and clearing it takes few
//! instructions (the kernel verifier wants stack accesses aligned on every architecture).

use cranelift_entity::SecondaryMap;

use super::SpillSlot;
use crate::ir::{Function, Slot, SlotDef};

/// Where slots and spill slots lie.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    slots: SecondaryMap<Slot, i32>,
    /// Bytes in use.
    pub size: u32,
}

/// The alignment that a slot gets: at least what it asks, and its size's if that is smaller than 8.
pub fn slot_align(slot: &SlotDef) -> u32 {
    let natural = match slot.size {
        8.. => 8,
        4.. => 4,
        2.. => 2,
        _ => 1,
    };
    slot.align.max(natural)
}

impl Frame {
    /// Lays a frame out for the slots that are `used` and so many spill slots.
    pub fn new(function: &Function, used: impl Fn(Slot) -> bool, spill_slots: u32) -> Frame {
        let mut by_align: Vec<(Slot, &SlotDef)> =
            function.slots.iter().filter(|(slot, _)| used(*slot)).collect();
        by_align.sort_by_key(|(_, def)| std::cmp::Reverse(slot_align(def)));
        let mut frame = Frame { slots: SecondaryMap::new(), size: spill_slots * 8 };
        for (slot, def) in by_align {
            frame.size = (frame.size + def.size).next_multiple_of(slot_align(def));
            frame.slots[slot] = -(frame.size as i32);
        }
        frame
    }

    /// A slot's offset from the frame pointer, in bytes.
    pub fn slot(&self, slot: Slot) -> i32 {
        self.slots[slot]
    }

    /// A spill slot's offset from the frame pointer, in bytes.
    pub fn spill(slot: SpillSlot) -> i32 {
        -8 * (slot.as_u32() as i32 + 1)
    }
}
