//! Linear scan: gives each interval a register or memory, splitting it where that changes.
//!
//! Intervals are met in the order of their starts. Each gets a register that is free as long as it lives, one
//! that saves a move if there is such; else one that is free for a while, and the rest is met again;
//! else the register whose holder is used furthest in the future loses it, or the interval itself goes to
//! memory until its next use. What is in memory comes back to a register right where it is used.
//!
//! The method is that of Wimmer and Mössenböck ("Optimized Interval Splitting in a Linear Scan Register
//! Allocator", VEE 2005). A value that is ever in memory is stored once, where it is defined, so moving to
//! memory costs nothing later.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use cranelift_entity::SecondaryMap;

use super::intervals::{Hint, Home, Interval, IntervalId, Intervals, Owner, Position, first_common};
use super::register::Reg;
use crate::ir::Value;

/// Order in which registers are tried that save no move: those that arguments want come late, those that
/// survive calls last.
const PREFERENCE: [u8; Reg::ALLOCATABLE] = [0, 5, 4, 3, 2, 1, 6, 7, 8, 9];

/// Gives each interval a home. Intervals are split in place; all parts of a value are in the result.
pub fn scan(intervals: &mut Intervals) -> SecondaryMap<Value, Vec<IntervalId>> {
    let mut scan =
        Scan { queue: BinaryHeap::new(), holders: Default::default(), parts: SecondaryMap::new(), intervals };
    for (id, interval) in &scan.intervals.all {
        if let Owner::Value(value) | Owner::Piece(value) = interval.owner {
            scan.parts[value].push(id);
        }
        if !interval.ranges.is_empty() {
            scan.queue.push(Reverse((interval.start(), id)));
        }
    }
    while let Some(Reverse((_, id))) = scan.queue.pop() {
        scan.place(id);
    }
    scan.leave_registers_early();
    scan.parts
}

struct Scan<'a> {
    intervals: &'a mut Intervals,
    /// Intervals without a home, first start first.
    queue: BinaryHeap<Reverse<(Position, IntervalId)>>,
    /// The intervals that each register was given to and that may not have ended.
    holders: [Vec<IntervalId>; Reg::ALLOCATABLE],
    /// The parts of each value.
    parts: SecondaryMap<Value, Vec<IntervalId>>,
}

impl Scan<'_> {
    fn interval(&self, id: IntervalId) -> &Interval {
        &self.intervals.all[id]
    }

    fn place(&mut self, id: IntervalId) {
        let start = self.interval(id).start();
        for holders in &mut self.holders {
            holders.retain(|h| self.intervals.all[*h].end() > start);
        }
        if !self.give_free_register(id) {
            self.give_taken_register(id);
        }
    }

    /// When a register is next wanted by another interval or an instruction, while this one lives.
    fn free_until(&self, reg: Reg, id: IntervalId) -> Position {
        let ranges = &self.interval(id).ranges;
        let holders =
            self.holders[reg.index()].iter().filter_map(|h| first_common(ranges, &self.interval(*h).ranges));
        let taken = first_common(ranges, &self.intervals.taken[reg.index()]);
        holders.chain(taken).min().unwrap_or(Position::MAX)
    }

    fn give_free_register(&mut self, id: IntervalId) -> bool {
        let (start, end) = (self.interval(id).start(), self.interval(id).end());
        let free: Vec<(Reg, Position)> = Reg::all()
            .map(|reg| (reg, self.free_until(reg, id)))
            .filter(|(_, until)| *until > start)
            .collect();
        let whole = |reg: &Reg| free.iter().any(|(r, until)| r == reg && *until >= end);
        let preferred = PREFERENCE.iter().copied().filter_map(Reg::from_number).filter(whole);
        let hinted = self.hinted(id).into_iter().find(whole);
        if let Some(reg) = hinted.or_else(|| self.best_for_followers(id, preferred)) {
            self.give(id, reg);
            return true;
        }
        // The rest can begin at a gap only.
        let longest = free.iter().map(|(_, until)| until & !1).max().unwrap_or(0);
        if longest <= start || self.takes_register_over(id, longest) {
            return false;
        }
        let lasts = |reg: &Reg| free.iter().any(|(r, until)| r == reg && until & !1 == longest);
        let preferred = PREFERENCE.iter().copied().filter_map(Reg::from_number);
        let Some(reg) = self.hinted(id).into_iter().chain(preferred).find(lasts) else { return false };
        self.split(id, longest);
        self.give(id, reg);
        true
    }

    /// Whether an interval that is not used in the time a register is free would then take one from a
    /// holder that is used later than itself. It does so at once, which saves the move.
    fn takes_register_over(&self, id: IntervalId, free_until: Position) -> bool {
        let interval = self.interval(id);
        let Some(next) = interval.next_use(interval.start() + 1) else { return false };
        let reads = interval.reads.iter().any(|r| *r <= free_until);
        next >= free_until && !reads && self.victim(id).is_some_and(|(_, used, taken)| next < used.min(taken))
    }

    /// The registers that would save a move, best first.
    fn hinted(&self, id: IntervalId) -> Vec<Reg> {
        let interval = self.interval(id);
        let Owner::Value(value) = interval.owner else { return Vec::new() };
        let hints = self.intervals.hints[value].iter();
        hints
            .filter_map(|hint| match hint {
                Hint::Reg(reg) => Some(*reg),
                Hint::Like(other) => self.register_of(*other, interval.start()),
            })
            .collect()
    }

    /// The first of these registers that is also free as long as the values live that would like to take
    /// this one's register over; without such, the first.
    fn best_for_followers(
        &self,
        id: IntervalId,
        mut registers: impl Iterator<Item = Reg> + Clone,
    ) -> Option<Reg> {
        let Owner::Value(value) = self.interval(id).owner else { return registers.next() };
        let unplaced = |hint: &Hint| match hint {
            Hint::Like(other) => {
                self.parts[*other].first().copied().filter(|part| self.interval(*part).home == Home::Unknown)
            }
            Hint::Reg(_) => None,
        };
        let followers: Vec<IntervalId> = self.intervals.hints[value].iter().filter_map(unplaced).collect();
        let suits =
            |reg: &Reg| followers.iter().all(|f| self.free_until(*reg, *f) >= self.interval(*f).end());
        let wanted: Vec<Reg> = followers.iter().flat_map(|f| self.hinted(*f)).collect();
        let liked = registers.clone().find(|reg| wanted.contains(reg) && suits(reg));
        liked.or_else(|| registers.clone().find(suits)).or_else(|| registers.next())
    }

    /// The register of a value just before a position, or else any that it has.
    fn register_of(&self, value: Value, before: Position) -> Option<Reg> {
        let homes = |id: &IntervalId| match self.interval(*id).home {
            Home::Reg(reg) => Some(reg),
            Home::Unknown | Home::Memory => None,
        };
        let parts = &self.parts[value];
        let near = parts.iter().find(|id| before > 0 && self.interval(**id).covers(before - 1));
        near.and_then(homes).or_else(|| parts.iter().find_map(homes))
    }

    fn give(&mut self, id: IntervalId, reg: Reg) {
        self.intervals.all[id].home = Home::Reg(reg);
        self.holders[reg.index()].push(id);
    }

    /// Cuts an interval and lets the part from `at` be met later.
    fn split(&mut self, id: IntervalId, at: Position) {
        let tail = self.cut(id, at);
        if !self.interval(tail).ranges.is_empty() {
            self.queue.push(Reverse((self.interval(tail).start(), tail)));
        }
    }

    fn cut(&mut self, id: IntervalId, at: Position) -> IntervalId {
        let mut tail = self.intervals.all[id].split_off(at);
        let owner = tail.owner;
        if let Owner::Piece(_) = owner {
            tail.start_at_first_use();
        }
        let tail = self.intervals.all.push(tail);
        if let Owner::Value(value) | Owner::Piece(value) = owner {
            self.parts[value].push(tail);
        }
        tail
    }

    /// No register is free: somebody goes to memory.
    fn give_taken_register(&mut self, id: IntervalId) {
        let start = self.interval(id).start();
        let first_use = self.interval(id).next_use(start);
        match (self.victim(id), first_use) {
            (Some((reg, used, taken)), Some(first_use))
                if first_use < used.min(taken) || first_use == start =>
            {
                self.evict(reg, id);
                if taken < self.interval(id).end() {
                    self.split(id, taken);
                }
                self.give(id, reg);
            }
            _ => self.leave_in_memory(id),
        }
    }

    /// The register whose holders are used last, when that is, and when an instruction takes it.
    fn victim(&self, id: IntervalId) -> Option<(Reg, Position, Position)> {
        let interval = self.interval(id);
        let candidates = Reg::all().map(|reg| {
            let taken = first_common(&interval.ranges, &self.intervals.taken[reg.index()]);
            (reg, self.next_use_of_holders(reg, id), taken.unwrap_or(Position::MAX))
        });
        let free = candidates.filter(|(_, _, taken)| *taken > interval.start());
        free.max_by_key(|(_, used, taken)| (*used).min(*taken))
    }

    /// The next use of any holder of a register that lives at the same time.
    fn next_use_of_holders(&self, reg: Reg, id: IntervalId) -> Position {
        let interval = self.interval(id);
        let holders = self.holders[reg.index()].iter().map(|h| self.interval(*h));
        holders
            .filter(|h| first_common(&interval.ranges, &h.ranges).is_some())
            .map(|h| h.next_use(interval.start()).unwrap_or(Position::MAX))
            .min()
            .unwrap_or(Position::MAX)
    }

    /// Takes a register from all holders that live at the same time as `id`.
    fn evict(&mut self, reg: Reg, id: IntervalId) {
        let start = self.interval(id).start();
        for holder in self.holders[reg.index()].clone() {
            if first_common(&self.interval(id).ranges, &self.interval(holder).ranges).is_none() {
                continue;
            }
            let tail = if self.interval(holder).start() < start {
                self.cut(holder, start)
            } else {
                self.holders[reg.index()].retain(|h| *h != holder);
                holder
            };
            if self.interval(tail).ranges.is_empty() {
                continue;
            }
            if self.interval(tail).start() > start {
                self.intervals.all[tail].home = Home::Unknown;
                self.queue.push(Reverse((self.interval(tail).start(), tail)));
            } else {
                self.leave_in_memory(tail);
            }
        }
    }

    /// Leaves an interval in memory until its next use.
    fn leave_in_memory(&mut self, id: IntervalId) {
        let start = self.interval(id).start();
        if let Some(next) = self.interval(id).next_use(start) {
            debug_assert!(next > start, "a use in memory");
            self.split(id, next);
        }
        self.intervals.all[id].home = Home::Memory;
    }

    /// A value that is in memory anyway leaves its register after the last use there, so that no edge
    /// brings it back to the register in vain. In a loop it stays until the loop's end.
    fn leave_registers_early(&mut self) {
        let values: Vec<Value> = self.parts.keys().collect();
        for value in values {
            let parts = self.parts[value].clone();
            if !parts.iter().any(|id| self.interval(*id).home == Home::Memory) {
                continue;
            }
            for id in parts {
                let Some(cut) = self.last_needed(id) else { continue };
                let end = self.interval(id).end();
                let goes_on = |other: &IntervalId| {
                    let other = self.interval(*other);
                    other.start() == end && matches!(other.home, Home::Reg(_))
                };
                if cut < end && !self.parts[value].iter().any(goes_on) {
                    let tail = self.cut(id, cut);
                    self.intervals.all[tail].home = Home::Memory;
                }
            }
        }
    }

    /// The gap after the last position at which a value's part must be in its register.
    fn last_needed(&self, id: IntervalId) -> Option<Position> {
        let interval = self.interval(id);
        let (Owner::Value(_), Home::Reg(_)) = (interval.owner, interval.home) else { return None };
        let last = interval.uses.last().max(interval.reads.last()).copied().unwrap_or(interval.start());
        let mut cut = (last + 1).next_multiple_of(2);
        // A loop that ends later may bring its uses again.
        let longer = |cut: Position| {
            let in_loop =
                |(from, to): &&(Position, Position)| *from < cut && cut < *to && interval.covers(*from);
            self.intervals.loops.iter().find(in_loop).map(|(_, to)| *to)
        };
        while let Some(to) = longer(cut) {
            cut = to;
        }
        Some(cut)
    }
}
