//! Turning moves that happen at once into steps that happen one after the other.
//!
//! ```text
//! r1 <- r2, r2 <- r1, r3 <- 5        r0 = r1; r1 = r2; r2 = r0; r3 = 5
//! ```
//! A cycle goes through a free register; so does a move from stack to stack and an address that is
//! made in a spill slot. Where no register is free, one that takes no part is saved for the moment.

use super::register::{Reg, RegSet};
use super::{Move, Place, Source, SpillSlot};

/// Moves that happen at once. Each place is written at most once.
#[derive(Clone, Debug, Default)]
pub struct ParallelMoves {
    moves: Vec<Move>,
}

/// What ordering moves may use.
pub struct Spare<'a> {
    /// Registers that hold nothing at this moment, the sources of the moves aside.
    pub free: &'a dyn Fn() -> RegSet,
    /// Gives a spill slot that holds nothing at this moment.
    pub spill: &'a mut dyn FnMut() -> SpillSlot,
    /// Whether a value can be made right in a spill slot: a constant of 32 signed bits.
    pub storable: &'a dyn Fn(Source) -> bool,
}

impl ParallelMoves {
    /// Adds a move, unless it changes nothing.
    pub fn add(&mut self, from: Source, to: Place) {
        if from != Source::Place(to) {
            debug_assert!(self.moves.iter().all(|m| m.to != to), "a place is written once");
            self.moves.push(Move { from, to });
        }
    }

    /// Whether there is nothing to move.
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }

    /// Orders the moves.
    pub fn order(mut self, spare: Spare<'_>) -> Vec<Move> {
        let mut steps =
            Steps { out: Vec::new(), spare, unwritten: self.moves.iter().map(|m| m.to).collect() };
        // Values made anew read no place: they come last and block nobody.
        let (remat, mut pending): (Vec<Move>, Vec<Move>) =
            self.moves.drain(..).partition(|m| matches!(m.from, Source::Remat(_)));
        while !pending.is_empty() {
            let ready = pending.iter().position(|m| pending.iter().all(|o| o.place_read() != Some(m.to)));
            match ready {
                Some(at) => {
                    let step = pending.swap_remove(at);
                    steps.step(step, &pending);
                }
                None => steps.open_cycle(&mut pending),
            }
        }
        for step in remat {
            steps.step(step, &[]);
        }
        steps.out
    }
}

impl Place {
    /// The register, if it is one.
    pub fn reg(self) -> Option<Reg> {
        match self {
            Place::Reg(reg) => Some(reg),
            Place::Spill(_) => None,
        }
    }
}

impl Move {
    /// The place that is read, if one is.
    pub fn place_read(&self) -> Option<Place> {
        match self.from {
            Source::Place(place) => Some(place),
            Source::Remat(_) => None,
        }
    }
}

struct Steps<'a> {
    out: Vec<Move>,
    spare: Spare<'a>,
    /// Destinations that have not been written: those of moves to come.
    unwritten: Vec<Place>,
}

impl Steps<'_> {
    /// Makes one move; `pending` are those still to come.
    fn step(&mut self, step: Move, pending: &[Move]) {
        let direct = match (step.from, step.to) {
            (_, Place::Reg(_)) | (Source::Place(Place::Reg(_)), _) => true,
            (from, Place::Spill(_)) => (self.spare.storable)(from),
        };
        self.unwritten.retain(|to| *to != step.to);
        if direct {
            self.out.push(step);
            return;
        }
        self.with_register(pending, |out, reg| {
            out.push(Move { from: step.from, to: Place::Reg(reg) });
            out.push(Move { from: Source::Place(Place::Reg(reg)), to: step.to });
        });
    }

    /// Moves what one move of a cycle reads out of the way, and makes the others that read it read
    /// the copy, so that this place is free to be written.
    fn open_cycle(&mut self, pending: &mut [Move]) {
        let Some(place) = pending.first().and_then(Move::place_read) else { return };
        let copy = match self.free_register(pending) {
            Some(reg) => Place::Reg(reg),
            None => Place::Spill((self.spare.spill)()),
        };
        self.step(Move { from: Source::Place(place), to: copy }, pending);
        for m in pending.iter_mut().filter(|m| m.place_read() == Some(place)) {
            m.from = Source::Place(copy);
        }
    }

    /// A register that holds nothing that is still needed: a free one that no step has written, or a
    /// destination whose turn has not come.
    fn free_register(&self, pending: &[Move]) -> Option<Reg> {
        let free = (self.spare.free)();
        let written = |reg: Reg| self.out.iter().any(|m| m.to == Place::Reg(reg));
        let unwritten = |reg: Reg| self.unwritten.contains(&Place::Reg(reg));
        let read = |reg: Reg| pending.iter().any(|m| m.place_read() == Some(Place::Reg(reg)));
        Reg::all().find(|reg| !read(*reg) && (unwritten(*reg) || (free.contains(*reg) && !written(*reg))))
    }

    fn with_register(&mut self, pending: &[Move], f: impl FnOnce(&mut Vec<Move>, Reg)) {
        if let Some(reg) = self.free_register(pending) {
            return f(&mut self.out, reg);
        }
        // All registers hold something, and this one will again before the next step.
        let reg = Reg::R0;
        let saved = Place::Spill((self.spare.spill)());
        self.out.push(Move { from: Source::Place(Place::Reg(reg)), to: saved });
        f(&mut self.out, reg);
        self.out.push(Move { from: Source::Place(saved), to: Place::Reg(reg) });
    }
}
