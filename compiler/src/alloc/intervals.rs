//! Live intervals: at which positions a value needs a place, and where it must be in a register.
//!
//! ```text
//! index   1: block start    2: v3 = add v1, v2    3: call f(v3)    4: terminator
//! position   2, 3           4 early, 5 late       6, 7             8, 9
//!
//! gap     before position 2n, for n not a block's start: moves happen here
//! use     any register:        live until late, in a register at early
//!         result's register:   read in the gap, so live until early
//!         fixed register:      the same
//! result  from late; from early if it is written before operands are read
//! call    r0 - r5 are taken at early
//! ```
//! Constants and addresses have no interval of their own but *pieces*: from the first use to the last in a
//! block, cut at calls, since making one anew costs no more than keeping it.

use std::collections::{BTreeSet, HashMap};

use cranelift_entity::{PrimaryMap, SecondaryMap, entity_impl};

use super::layout::back_edges;
use super::liveness::Liveness;
use super::memory::origin;
use super::register::Reg;
use super::select::{DefAt, Selected, Selection, Use, UseAt, is_remat};
use crate::ir::{Block, Function, InstId, Value};

/// A live interval.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IntervalId(u32);
entity_impl!(IntervalId, "interval");

/// A moment in the code.
pub type Position = u32;

/// What an interval is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A value.
    Value(Value),
    /// A value that is made again at the interval's start.
    Piece(Value),
    /// The n-th temporary register of an instruction.
    Temp(InstId, u8),
}

/// Where an interval's owner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// Not known yet.
    Unknown,
    /// In a register.
    Reg(Reg),
    /// In the owner's spill slot; for a piece: nowhere.
    Memory,
}

/// A live interval.
#[derive(Clone, Debug)]
pub struct Interval {
    /// What it is for.
    pub owner: Owner,
    /// When the owner is live: half-open, ascending, not touching.
    pub ranges: Vec<(Position, Position)>,
    /// When it must be in a register, ascending.
    pub uses: Vec<Position>,
    /// When a gap reads it, wherever it is, ascending.
    pub reads: Vec<Position>,
    /// The answer.
    pub home: Home,
}

impl Interval {
    /// Its first position.
    pub fn start(&self) -> Position {
        self.ranges.first().map_or(0, |r| r.0)
    }

    /// The position after its last.
    pub fn end(&self) -> Position {
        self.ranges.last().map_or(0, |r| r.1)
    }

    /// Whether it is live at a position.
    pub fn covers(&self, at: Position) -> bool {
        let next = self.ranges.partition_point(|(_, to)| *to <= at);
        self.ranges.get(next).is_some_and(|(from, _)| *from <= at)
    }

    /// The first use at or after a position.
    pub fn next_use(&self, at: Position) -> Option<Position> {
        self.uses.iter().copied().find(|u| *u >= at)
    }

    /// Cuts off what lies at or after a position.
    pub fn split_off(&mut self, at: Position) -> Interval {
        let mut tail = Vec::new();
        for (from, to) in &self.ranges {
            if *to > at {
                tail.push(((*from).max(at), *to));
            }
        }
        self.ranges.retain_mut(|(from, to)| {
            *to = (*to).min(at);
            from < to
        });
        let uses = self.uses.split_off(self.uses.partition_point(|u| *u < at));
        // A gap reads what was there before it.
        let reads = self.reads.split_off(self.reads.partition_point(|r| *r <= at));
        Interval { owner: self.owner, ranges: tail, uses, reads, home: Home::Unknown }
    }
}

impl Interval {
    /// Drops what lies before the first use: a piece is made where it is used.
    pub fn start_at_first_use(&mut self) {
        match self.uses.first() {
            Some(first) => {
                self.ranges.retain(|(_, to)| to > first);
                if let Some(range) = self.ranges.first_mut() {
                    range.0 = range.0.max(*first);
                }
            }
            None => self.ranges.clear(),
        }
    }
}

/// The pairs of things that have a position in common, each of which is in some ascending ranges. Takes time for
/// each range and each pair found.
pub fn meetings<T: Copy + Ord>(
    things: impl Iterator<Item = (T, Position, Position)>,
    mut meet: impl FnMut(T, T),
) {
    let mut ranges: Vec<(Position, Position, T)> =
        things.map(|(thing, from, to)| (from, to, thing)).collect();
    ranges.sort_unstable();
    // Those that have begun and not ended, by where they end.
    let mut open: BTreeSet<(Position, T)> = BTreeSet::new();
    for (from, to, thing) in ranges {
        while open.first().is_some_and(|(end, _)| *end <= from) {
            open.pop_first();
        }
        open.iter().for_each(|(_, other)| meet(thing, *other));
        open.insert((to, thing));
    }
}

/// The first position that is in both of two ascending lists of ranges.
pub fn first_common(a: &[(Position, Position)], b: &[(Position, Position)]) -> Option<Position> {
    let start = a.first()?.0;
    let (mut i, mut j) = (0, b.partition_point(|(_, to)| *to <= start));
    while let (Some((a_from, a_to)), Some((b_from, b_to))) = (a.get(i), b.get(j)) {
        let from = (*a_from).max(*b_from);
        if from < (*a_to).min(*b_to) {
            return Some(from);
        }
        if a_to <= b_to {
            i += 1;
        } else {
            j += 1;
        }
    }
    None
}

/// The positions of instructions and blocks.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    /// Early position of each instruction with code.
    pub inst: SecondaryMap<InstId, Position>,
    /// First position of each block.
    pub start: SecondaryMap<Block, Position>,
    /// Early position of each terminator.
    pub terminator: SecondaryMap<Block, Position>,
}

impl Positions {
    fn new(function: &Function, selection: &Selection) -> Positions {
        let mut positions = Positions::default();
        let mut at = 0;
        for &block in &selection.order {
            positions.start[block] = at;
            for &inst in &function.blocks[block].insts {
                if selection.insts[inst].is_some() {
                    at += 2;
                    positions.inst[inst] = at;
                }
            }
            at += 2;
            positions.terminator[block] = at;
            at += 2;
        }
        positions
    }

    /// The position after a block's last.
    pub fn end(&self, block: Block) -> Position {
        self.terminator[block] + 2
    }
}

/// A register that would save a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// This one.
    Reg(Reg),
    /// The one that this value has.
    Like(Value),
}

/// Everything that allocation needs to know about a function.
#[derive(Clone, Debug)]
pub struct Intervals {
    /// The positions.
    pub positions: Positions,
    /// The intervals.
    pub all: PrimaryMap<IntervalId, Interval>,
    /// When each register is taken by an instruction, as ranges.
    pub taken: [Vec<(Position, Position)>; Reg::ALLOCATABLE],
    /// Registers that would save a move, best first.
    pub hints: SecondaryMap<Value, Vec<Hint>>,
    /// Where values are live; places are needed at these ends of blocks.
    pub liveness: Liveness,
    /// The loops: first position, and the position after the last of the block that goes back.
    pub loops: Vec<(Position, Position)>,
}

/// Finds the intervals of a function.
pub fn build(function: &Function, selection: &Selection) -> Intervals {
    let liveness = Liveness::new(function, selection);
    let mut builder = Builder {
        function,
        selection,
        out: Intervals {
            positions: Positions::new(function, selection),
            all: PrimaryMap::new(),
            taken: Default::default(),
            hints: SecondaryMap::new(),
            liveness: Liveness::default(),
            loops: Vec::new(),
        },
        of_value: SecondaryMap::new(),
        pieces: HashMap::new(),
    };
    for &block in selection.order.iter().rev() {
        builder.block(block, &liveness);
    }
    for interval in builder.out.all.values_mut() {
        interval.ranges.reverse();
        interval.uses.reverse();
        interval.reads.reverse();
    }
    for taken in &mut builder.out.taken {
        taken.reverse();
    }
    builder.out.liveness = liveness;
    let positions = &builder.out.positions;
    builder.out.loops = back_edges(function)
        .into_iter()
        .map(|(from, to)| (positions.start[to], positions.end(from)))
        .collect();
    builder.out.loops.sort_unstable();
    builder.out
}

/// Goes backwards over the code; ranges and uses are collected last first.
struct Builder<'a> {
    function: &'a Function,
    selection: &'a Selection,
    out: Intervals,
    of_value: SecondaryMap<Value, Option<IntervalId>>,
    /// The piece of each constant or address that a use before it can join.
    pieces: HashMap<Value, IntervalId>,
}

impl Builder<'_> {
    fn block(&mut self, block: Block, liveness: &Liveness) {
        let (start, end) = (self.out.positions.start[block], self.out.positions.end(block));
        let terminator = self.out.positions.terminator[block];
        self.pieces.clear();
        for &value in &liveness.at_end[block] {
            self.live(value, start, end);
        }
        self.hint_block_args(block);
        if let Some(selected) = &self.selection.terminators[block] {
            self.uses(&selected.uses, None, start, terminator);
        }
        for &inst in self.function.blocks[block].insts.iter().rev() {
            if let Some(selected) = &self.selection.insts[inst] {
                self.inst(inst, selected, start);
            }
        }
        for (n, &param) in self.function.blocks[block].params.iter().enumerate() {
            if block == self.function.entry() {
                self.out.hints[param].push(Hint::Reg(Reg::argument(n)));
            }
        }
    }

    /// What is passed on wants to be where the parameter is, and the other way round.
    fn hint_block_args(&mut self, block: Block) {
        for target in self.function.blocks[block].terminator.iter().flat_map(|t| t.targets()) {
            for (&arg, &param) in target.args.iter().zip(&self.function.blocks[target.block].params) {
                let arg = origin(self.function, arg);
                if !is_remat(self.function, arg) {
                    self.out.hints[arg].push(Hint::Like(param));
                    self.out.hints[param].push(Hint::Like(arg));
                }
            }
        }
    }

    fn inst(&mut self, inst: InstId, selected: &Selected, start: Position) {
        let at = self.out.positions.inst[inst];
        if let Some(def) = selected.result {
            self.define(def.value, if def.at == DefAt::Early { at } else { at + 1 });
            if let DefAt::Fixed(reg) = def.at {
                self.out.hints[def.value].insert(0, Hint::Reg(reg));
            }
        }
        for reg in selected.clobbers.iter() {
            self.out.taken[reg.index()].push((at, at + 1));
        }
        if !selected.clobbers.is_empty() {
            self.pieces.clear();
        }
        for n in 0..selected.temps {
            self.new_interval(Owner::Temp(inst, n), at, at + 1, at);
        }
        self.uses(&selected.uses, selected.result.map(|d| d.value), start, at);
    }

    fn uses(&mut self, uses: &[Use], result: Option<Value>, start: Position, at: Position) {
        for u in uses {
            let remat = is_remat(self.function, u.value);
            match (u.at, remat) {
                (UseAt::Any, true) => self.use_piece(u.value, at),
                (UseAt::Any, false) => {
                    self.live(u.value, start, at + 1);
                    self.use_register(u.value, at);
                }
                (UseAt::Result | UseAt::Fixed(_), true) => {}
                (UseAt::Result, false) => {
                    self.live(u.value, start, at);
                    self.interval(u.value).reads.push(at);
                    if let Some(result) = result {
                        self.out.hints[u.value].push(Hint::Like(result));
                        self.out.hints[result].insert(0, Hint::Like(u.value));
                    }
                }
                (UseAt::Fixed(reg), false) => {
                    self.live(u.value, start, at);
                    self.interval(u.value).reads.push(at);
                    self.out.hints[u.value].insert(0, Hint::Reg(reg));
                }
            }
        }
    }

    fn new_interval(&mut self, owner: Owner, from: Position, to: Position, used: Position) -> IntervalId {
        let (ranges, uses) = (vec![(from, to)], vec![used]);
        self.out.all.push(Interval { owner, ranges, uses, reads: Vec::new(), home: Home::Unknown })
    }

    fn interval(&mut self, value: Value) -> &mut Interval {
        let all = &mut self.out.all;
        let new = || Interval {
            owner: Owner::Value(value),
            ranges: Vec::new(),
            uses: Vec::new(),
            reads: Vec::new(),
            home: Home::Unknown,
        };
        let id = *self.of_value[value].get_or_insert_with(|| all.push(new()));
        &mut all[id]
    }

    /// A value is live in `from..to`, which begins where its block does.
    fn live(&mut self, value: Value, from: Position, to: Position) {
        let ranges = &mut self.interval(value).ranges;
        match ranges.last_mut() {
            // The same block, or the one that follows in layout order.
            Some(last) if last.0 <= to => {
                last.0 = last.0.min(from);
                last.1 = last.1.max(to);
            }
            _ => ranges.push((from, to)),
        }
    }

    fn use_register(&mut self, value: Value, at: Position) {
        let uses = &mut self.interval(value).uses;
        if uses.last() != Some(&at) {
            uses.push(at);
        }
    }

    /// A value becomes live: its range in this block begins here, not at the block's start.
    fn define(&mut self, value: Value, at: Position) {
        let interval = self.interval(value);
        match interval.ranges.last_mut() {
            Some(last) if last.0 <= at && at < last.1 => last.0 = at,
            _ => interval.ranges.push((at, at + 1)),
        }
        self.use_register(value, at);
    }

    fn use_piece(&mut self, value: Value, at: Position) {
        if let Some(id) = self.pieces.get(&value) {
            let piece = &mut self.out.all[*id];
            piece.ranges[0].0 = at;
            if piece.uses.last() != Some(&at) {
                piece.uses.push(at);
            }
        } else {
            let id = self.new_interval(Owner::Piece(value), at, at + 1, at);
            self.pieces.insert(value, id);
        }
    }
}
