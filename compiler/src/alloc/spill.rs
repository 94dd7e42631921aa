//! Spill slots: values that are never live at the same time share one.

use cranelift_entity::SecondaryMap;

use super::SpillSlot;
use super::intervals::{Hint, Home, IntervalId, Intervals, Position, first_common};
use crate::ir::Value;

/// The spill slots of a function.
#[derive(Clone, Debug, Default)]
pub struct SpillSlots {
    of_value: SecondaryMap<Value, Option<SpillSlot>>,
    /// When each slot is in use.
    in_use: Vec<Vec<(Position, Position)>>,
}

impl SpillSlots {
    /// Gives a slot to each value with a part in memory. `values` come in the order of their numbers.
    pub fn new(intervals: &Intervals, values: impl Iterator<Item = (Value, Vec<IntervalId>)>) -> SpillSlots {
        let mut slots = SpillSlots::default();
        for (value, parts) in values {
            if parts.iter().any(|id| intervals.all[*id].home == Home::Memory) {
                let mut ranges: Vec<_> =
                    parts.iter().flat_map(|id| intervals.all[*id].ranges.clone()).collect();
                ranges.sort_unstable();
                slots.give(value, &ranges, &intervals.hints[value]);
            }
        }
        slots
    }

    fn give(&mut self, value: Value, ranges: &[(Position, Position)], hints: &[Hint]) {
        let liked = hints.iter().filter_map(|hint| match hint {
            Hint::Like(other) => self.of_value[*other].map(|slot| slot.as_u32() as usize),
            Hint::Reg(_) => None,
        });
        let fits = |n: &usize| first_common(ranges, &self.in_use[*n]).is_none();
        let slot = liked.chain(0..self.in_use.len()).find(fits).unwrap_or(self.in_use.len());
        if slot == self.in_use.len() {
            self.in_use.push(Vec::new());
        }
        self.in_use[slot].extend(ranges);
        self.in_use[slot].sort_unstable();
        self.of_value[value] = Some(SpillSlot::from_u32(slot as u32));
    }

    /// A value's slot, if it is ever in memory.
    pub fn of(&self, value: Value) -> Option<SpillSlot> {
        self.of_value[value]
    }

    /// A slot that no value has.
    pub fn extra(&mut self) -> SpillSlot {
        self.in_use.push(vec![(0, Position::MAX)]);
        SpillSlot::from_u32(self.in_use.len() as u32 - 1)
    }

    /// How many slots there are.
    pub fn count(&self) -> u32 {
        self.in_use.len() as u32
    }
}
