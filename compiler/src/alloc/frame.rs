//! The layout of a function's stack frame: spill slots next to the frame pointer, slots below.
//!
//! All of it is aligned to eight bytes, since the kernel verifier wants stack accesses aligned on every
//! architecture. Slots share memory where they can ([`super::slots`]).

use cranelift_entity::SecondaryMap;

use super::SpillSlot;
use super::slots::{SlotRanges, slot_bytes};
use crate::ir::{Function, Slot};

/// Where slots and spill slots lie.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    slots: SecondaryMap<Slot, i32>,
    /// Bytes in use.
    pub size: u32,
}

impl Frame {
    /// Lays a frame out for these slots and so many spill slots.
    pub fn new(function: &Function, ranges: &SlotRanges, slots: &[Slot], spill_slots: u32) -> Frame {
        let (offsets, size) = ranges.pack(function, slots.iter().copied());
        let spills = spill_slots * 8;
        let mut frame = Frame { slots: SecondaryMap::new(), size: spills + size };
        for &slot in slots {
            let lowest = spills + offsets[slot] + slot_bytes(&function.slots[slot]);
            frame.slots[slot] = -(lowest as i32);
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
