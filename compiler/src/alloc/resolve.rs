//! From homes to an [`Allocation`]: which register each operand has, and the moves in the gaps.
//!
//! ```text
//! gap before an instruction    values whose home changes here; copies into fixed and result registers;
//!                              the store of a value just defined that is in memory later
//! gap on an edge               values whose home differs at its two ends; parameters
//! gap at a block's start       parameters that are in memory later; in the entry, arguments
//! ```
//! All moves of a gap read what was there before it.

use std::collections::HashMap;

use cranelift_entity::SecondaryMap;

use super::frame::Frame;
use super::intervals::{Home, IntervalId, Intervals, Owner, Position};
use super::memory::origin;
use super::moves::{ParallelMoves, Spare};
use super::register::{Reg, RegSet};
use super::select::{DefAt, Selection, Use, UseAt, is_remat};
use super::slots::SlotRanges;
use super::spill::SpillSlots;
use super::{Allocation, Move, Place, Registers, Source, intervals, scan};
use crate::ir::{Block, Function, InstId, Slot, Value};

/// Allocates a function for which operations are selected.
pub fn allocate(function: &Function, selection: Selection) -> Allocation {
    let mut intervals = intervals::build(function, &selection);
    let mut parts = scan::scan(&mut intervals);
    let values =
        function.values.keys().map(|v| (v, parts[v].clone())).filter(|(v, _)| !is_remat(function, *v));
    let slots = SpillSlots::new(&intervals, values);
    // The parts of a value follow each other: none begins before another has ended.
    for value in function.values.keys() {
        parts[value].retain(|part| !intervals.all[*part].ranges.is_empty());
        parts[value].sort_by_key(|part| intervals.all[*part].start());
    }
    let temps = intervals.all.iter().filter_map(|(id, interval)| match interval.owner {
        Owner::Temp(inst, n) => Some(((inst, n), id)),
        Owner::Value(_) | Owner::Piece(_) => None,
    });
    let temps = temps.collect();
    let mut resolver = Resolver {
        function,
        selection: &selection,
        intervals: &intervals,
        parts,
        slots,
        temps,
        gaps: HashMap::new(),
    };
    let mut insts = SecondaryMap::new();
    let mut terminators = SecondaryMap::new();
    let mut at_start = SecondaryMap::new();
    let mut edges = SecondaryMap::new();
    resolver.changes_of_home();
    for &block in &selection.order {
        at_start[block] = resolver.block_start(block);
        for &inst in &function.blocks[block].insts {
            if selection.insts[inst].is_some() {
                insts[inst] = resolver.inst(inst);
            }
        }
        terminators[block] = resolver.terminator(block);
        edges[block] = resolver.edges(block);
    }
    let (mut before, mut before_terminator) = (SecondaryMap::new(), SecondaryMap::new());
    for &block in &selection.order {
        for &inst in &function.blocks[block].insts {
            if selection.insts[inst].is_some() {
                before[inst] = resolver.gap(intervals.positions.inst[inst]);
            }
        }
        before_terminator[block] = resolver.gap(intervals.positions.terminator[block]);
    }
    let spill_slots = resolver.slots.count();
    let used: Vec<Slot> = selection.slots.iter().collect();
    let frame = Frame::new(function, &SlotRanges::new(function), &used, spill_slots);
    Allocation {
        insts,
        terminators,
        before,
        before_terminator,
        at_start,
        edges,
        spill_slots,
        frame,
        selection,
    }
}

struct Resolver<'a> {
    function: &'a Function,
    selection: &'a Selection,
    intervals: &'a Intervals,
    /// The parts of each value, in order.
    parts: SecondaryMap<Value, Vec<IntervalId>>,
    slots: SpillSlots,
    temps: HashMap<(InstId, u8), IntervalId>,
    /// The moves of the gap before each position.
    gaps: HashMap<Position, ParallelMoves>,
}

impl Resolver<'_> {
    /// Where a value is at a position at which it is live.
    fn place(&self, value: Value, at: Position) -> Place {
        let part = self.part(value, at).expect("a value has a place where it is live");
        self.home(part, value)
    }

    /// The part of a value that a position lies in.
    fn part(&self, value: Value, at: Position) -> Option<IntervalId> {
        let parts = &self.parts[value];
        let next = parts.partition_point(|part| self.intervals.all[*part].start() <= at);
        let part = parts[..next].last().copied()?;
        self.intervals.all[part].covers(at).then_some(part)
    }

    fn home(&self, part: IntervalId, value: Value) -> Place {
        match self.intervals.all[part].home {
            Home::Reg(reg) => Place::Reg(reg),
            Home::Memory | Home::Unknown => {
                Place::Spill(self.slots.of(value).expect("a value in memory has a slot"))
            }
        }
    }

    fn register(&self, value: Value, at: Position) -> Reg {
        self.place(value, at).reg().expect("an operand is in a register")
    }

    /// Where a gap's moves find a value: where it is just before, or nowhere.
    fn source(&self, value: Value, gap: Position) -> Source {
        let value = origin(self.function, value);
        if is_remat(self.function, value) {
            Source::Remat(value)
        } else {
            Source::Place(self.place(value, gap - 1))
        }
    }

    fn add(&mut self, gap: Position, from: Source, to: Place) {
        self.gaps.entry(gap).or_default().add(from, to);
    }

    /// Moves into a register where a part of a value begins in the middle of a block.
    fn changes_of_home(&mut self) {
        let starts: std::collections::HashSet<Position> =
            self.selection.order.iter().map(|b| self.intervals.positions.start[*b]).collect();
        for interval in self.intervals.all.values() {
            let (start, Home::Reg(reg)) = (interval.start(), interval.home) else { continue };
            if interval.ranges.is_empty() {
                continue;
            }
            match interval.owner {
                Owner::Piece(value) => self.add(start, Source::Remat(value), Place::Reg(reg)),
                // The first part begins at the definition; one at a block's start is the edges' business.
                Owner::Value(value) if start % 2 == 0 && !starts.contains(&start) => {
                    if let Some(part) = self.part(value, start - 1) {
                        let from = Source::Place(self.home(part, value));
                        self.add(start, from, Place::Reg(reg));
                    }
                }
                Owner::Value(_) | Owner::Temp(..) => {}
            }
        }
    }

    fn inst(&mut self, inst: InstId) -> Registers {
        let selected = self.selection.insts[inst].as_ref().expect("asked for instructions with code");
        let at = self.intervals.positions.inst[inst];
        let mut registers = Registers::default();
        if let Some(def) = selected.result {
            let defined_at = if def.at == DefAt::Early { at } else { at + 1 };
            let reg = self.register(def.value, defined_at);
            registers.result = Some(reg);
            if let Some(slot) = self.slots.of(def.value) {
                self.add(at + 2, Source::Place(Place::Reg(reg)), Place::Spill(slot));
            }
        }
        for u in &selected.uses {
            let reg = self.operand(*u, at, registers.result);
            registers.uses.push(reg);
        }
        for n in 0..selected.temps {
            if let Home::Reg(reg) = self.intervals.all[self.temps[&(inst, n)]].home {
                registers.temps.push(reg);
            }
        }
        registers
    }

    fn terminator(&mut self, block: Block) -> Vec<Reg> {
        let at = self.intervals.positions.terminator[block];
        let uses = self.selection.terminators[block].iter().flat_map(|t| &t.uses);
        uses.map(|u| self.operand(*u, at, None)).collect()
    }

    /// The register of an operand, with the move that brings it there if it is tied or fixed.
    fn operand(&mut self, u: Use, at: Position, result: Option<Reg>) -> Reg {
        let reg = match u.at {
            UseAt::Any => return self.register(u.value, at),
            UseAt::Result => result.expect("a tied operand has a result"),
            UseAt::Fixed(reg) => reg,
        };
        let from = self.source(u.value, at);
        self.add(at, from, Place::Reg(reg));
        reg
    }

    fn block_start(&mut self, block: Block) -> Vec<Move> {
        let mut moves = ParallelMoves::default();
        let start = self.intervals.positions.start[block];
        for (n, &param) in self.function.blocks[block].params.iter().enumerate() {
            if self.parts[param].is_empty() {
                continue;
            }
            let place = self.place(param, start);
            let mut from = Source::Place(place);
            if block == self.function.entry() {
                from = Source::Place(Place::Reg(Reg::argument(n)));
                moves.add(from, place);
            }
            if let (Place::Reg(_), Some(slot)) = (place, self.slots.of(param)) {
                moves.add(from, Place::Spill(slot));
            }
        }
        self.order(moves, &[start])
    }

    fn edges(&mut self, block: Block) -> Vec<Vec<Move>> {
        let end = self.intervals.positions.end(block);
        let targets = self.function.blocks[block].terminator.iter().flat_map(|t| t.targets());
        let mut edges = Vec::new();
        for target in targets {
            let mut moves = ParallelMoves::default();
            let start = self.intervals.positions.start[target.block];
            for &value in &self.intervals.liveness.at_start[target.block] {
                if let to @ Place::Reg(_) = self.place(value, start) {
                    moves.add(Source::Place(self.place(value, end - 1)), to);
                }
            }
            for (&arg, &param) in target.args.iter().zip(&self.function.blocks[target.block].params) {
                if !self.parts[param].is_empty() {
                    moves.add(self.source(arg, end), self.place(param, start));
                }
            }
            edges.push(self.order(moves, &[end - 1, start]));
        }
        edges
    }

    fn gap(&mut self, at: Position) -> Vec<Move> {
        match self.gaps.remove(&at) {
            Some(moves) => self.order(moves, &[at - 1, at]),
            None => Vec::new(),
        }
    }

    /// Orders moves that happen where the values at these positions must be kept.
    fn order(&mut self, moves: ParallelMoves, kept: &[Position]) -> Vec<Move> {
        let Resolver { function, intervals, slots, .. } = self;
        let free = || {
            let holds = |reg: &Reg| {
                intervals
                    .all
                    .values()
                    .any(|i| i.home == Home::Reg(*reg) && kept.iter().any(|at| i.covers(*at)))
            };
            Reg::all().filter(|reg| !holds(reg)).collect::<RegSet>()
        };
        let storable = |from: Source| match from {
            Source::Remat(value) => function.as_const(value).is_some_and(|c| i32::try_from(c).is_ok()),
            Source::Place(place) => place.reg().is_some(),
        };
        moves.order(Spare { free: &free, spill: &mut || slots.extra(), storable: &storable })
    }
}
