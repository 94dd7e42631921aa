//! Slots become values.
//!
//! A script's variables live in slots, since lowering need not know who assigns them where. A piece of a
//! slot (an offset and a width) that is only loaded, stored and cleared as a whole becomes an SSA value;
//! where assignments meet, a block parameter.
//!
//! ```text
//! before                                     after
//!     v1: ptr.stack = slot_addr ss0              brif eq v4, v5, block1(v2), block1(v3)
//!     store.64 v1, v2                        block1(v6: i64):
//!     brif eq v4, v5, block2, block1             return v6
//! block2:
//!     store.64 v1, v3
//!     jump block1
//! block1:
//!     v6 = load.u64 v1
//!     return v6
//! ```
//!
//! Relies on every block being reachable. Preserves the order of everything else. A load before any store
//! gives 0 (lowering defines its variables, so none should be left). What it leaves:
//! - slots whose address is an operand of anything but a load, a store or a `mem_zero`;
//! - pieces that overlap others (a field written whole and read in parts);
//! - pieces that hold an address of memory and also something else, or nothing, on some path: the kernel
//!   verifier would have to know which.

use std::collections::{BTreeMap, HashMap, HashSet};

use cranelift_entity::SecondaryMap;

use super::Facts;
use super::replace::Replacements;
use crate::ir::cfg::Cfg;
use crate::ir::dominators::Dominators;
use crate::ir::memory::{SlotUse, SlotUses};
use crate::ir::{Block, Function, Inst, InstId, Slot, Type, UnaryOp, Value, Width};

/// A piece of a slot that becomes a value.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Its values' type; I64 if it holds several kinds of numbers.
    ty: Type,
}

/// Index into the list of pieces.
type PieceIndex = usize;

pub(super) fn run(_facts: &Facts, function: &mut Function) -> bool {
    let uses = SlotUses::new(function);
    let mut pieces = Pieces::find(function, &uses);
    if pieces.list.is_empty() {
        return false;
    }
    let cfg = Cfg::new(function);
    let dominators = Dominators::new(function, &cfg);
    let params = pieces.place_params(function, &cfg, &dominators);
    if pieces.by_place.is_empty() {
        return false;
    }
    Renamer::new(&pieces, params).rename(function, &dominators);
    true
}

/// What an instruction does to promotable slots.
enum Access {
    Load { at: (Slot, i64), width: Width },
    Store { at: (Slot, i64), width: Width, value: Value },
    Zero { slot: Slot, start: i64, end: i64 },
}

fn access(function: &Function, inst: InstId) -> Option<Access> {
    let slot_of = |ptr: Value, more: i32| match function.def(ptr) {
        Some(Inst::SlotAddr { slot, off }) => Some((*slot, i64::from(*off) + i64::from(more))),
        _ => None,
    };
    match &function.insts[inst] {
        Inst::Load { width, ptr, off, .. } => Some(Access::Load { at: slot_of(*ptr, *off)?, width: *width }),
        Inst::Store { width, ptr, off, value } => {
            Some(Access::Store { at: slot_of(*ptr, *off)?, width: *width, value: *value })
        }
        Inst::MemZero { ptr, off, len } => {
            let (slot, start) = slot_of(*ptr, *off)?;
            Some(Access::Zero { slot, start, end: start + i64::from(*len) })
        }
        _ => None,
    }
}

/// The pieces that become values.
struct Pieces {
    list: Vec<Piece>,
    by_place: BTreeMap<(Slot, i64), PieceIndex>,
    /// Slots with scalar accesses that stay in memory.
    kept: HashSet<Slot>,
}

/// What is known of one piece while looking for pieces.
#[derive(Default)]
struct Candidate {
    widths: HashSet<Width>,
    types: Vec<Type>,
    zeroed: bool,
    refused: bool,
}

impl Pieces {
    fn find(function: &Function, uses: &SlotUses) -> Pieces {
        let mut candidates: BTreeMap<(Slot, i64), Candidate> = BTreeMap::new();
        let mut zeroed: Vec<(Slot, i64, i64)> = Vec::new();
        for &inst in function.blocks.values().flat_map(|data| &data.insts) {
            let (at, width, ty) = match access(function, inst) {
                Some(Access::Load { at, width }) => {
                    (at, width, function.results[inst].map(|value| function.type_of(value)))
                }
                Some(Access::Store { at, width, value }) => (at, width, Some(function.type_of(value))),
                Some(Access::Zero { slot, start, end }) => {
                    zeroed.push((slot, start, end));
                    continue;
                }
                None => continue,
            };
            if uses.of(at.0) != SlotUse::Local {
                continue;
            }
            let candidate = candidates.entry(at).or_default();
            candidate.widths.insert(width);
            candidate.types.extend(ty.filter(|ty| !candidate.types.contains(ty)));
        }
        refuse_overlaps(&mut candidates);
        for (slot, start, end) in zeroed {
            mark_zeroed(&mut candidates, slot, start, end);
        }
        let mut pieces = Pieces { list: Vec::new(), by_place: BTreeMap::new(), kept: HashSet::new() };
        for (at, candidate) in candidates {
            match candidate.piece() {
                Some(piece) => {
                    pieces.by_place.insert(at, pieces.list.len());
                    pieces.list.push(piece);
                }
                None => {
                    pieces.kept.insert(at.0);
                }
            }
        }
        pieces
    }

    fn at(&self, place: (Slot, i64)) -> Option<PieceIndex> {
        self.by_place.get(&place).copied()
    }

    /// The pieces inside a range of a slot. None is partly inside.
    fn inside(&self, slot: Slot, start: i64, end: i64) -> impl Iterator<Item = PieceIndex> + '_ {
        self.by_place.range((slot, start)..(slot, end.max(start))).map(|(_, &piece)| piece)
    }

    /// Decides which block needs a parameter for which piece: where different assignments meet and the
    /// piece is still read. Drops pieces that would need a value where they have none.
    fn place_params(
        &mut self,
        function: &Function,
        cfg: &Cfg,
        dominators: &Dominators,
    ) -> SecondaryMap<Block, Vec<PieceIndex>> {
        let frontiers = dominators.frontiers(cfg);
        let (assigned, exposed) = self.assignments(function);
        let mut params: SecondaryMap<Block, Vec<PieceIndex>> = SecondaryMap::new();
        let mut unfit = HashSet::new();
        for piece in 0..self.list.len() {
            let live = live_in(cfg, &assigned[piece], &exposed[piece]);
            if self.list[piece].ty.is_memory() && live.contains(&function.entry()) {
                unfit.insert(piece);
                continue;
            }
            let mut placed = HashSet::new();
            let mut work: Vec<Block> = assigned[piece].iter().copied().collect();
            while let Some(block) = work.pop() {
                for &join in &frontiers[block] {
                    if live.contains(&join) && placed.insert(join) {
                        params[join].push(piece);
                        work.push(join);
                    }
                }
            }
        }
        self.kept.extend(
            self.by_place.iter().filter(|(_, piece)| unfit.contains(piece)).map(|((slot, _), _)| *slot),
        );
        self.by_place.retain(|_, piece| !unfit.contains(piece));
        params
    }

    /// Per piece, the blocks that assign it, and those that read it before they assign it.
    fn assignments(&self, function: &Function) -> (Vec<HashSet<Block>>, Vec<HashSet<Block>>) {
        let mut assigned = vec![HashSet::new(); self.list.len()];
        let mut exposed = vec![HashSet::new(); self.list.len()];
        for (block, data) in &function.blocks {
            for &inst in &data.insts {
                match access(function, inst) {
                    Some(Access::Load { at, .. }) => {
                        if let Some(piece) = self.at(at).filter(|&piece| !assigned[piece].contains(&block)) {
                            exposed[piece].insert(block);
                        }
                    }
                    Some(Access::Store { at, .. }) => {
                        if let Some(piece) = self.at(at) {
                            assigned[piece].insert(block);
                        }
                    }
                    Some(Access::Zero { slot, start, end }) => {
                        self.inside(slot, start, end).for_each(|piece| {
                            assigned[piece].insert(block);
                        });
                    }
                    None => {}
                }
            }
        }
        (assigned, exposed)
    }
}

impl Candidate {
    fn piece(&self) -> Option<Piece> {
        let mut widths = self.widths.iter();
        let (Some(&width), None) = (widths.next(), widths.next()) else { return None };
        if self.refused {
            return None;
        }
        let ty = match self.types.as_slice() {
            _ if width != Width::W64 => Type::I64,
            [ty] => *ty,
            types if types.iter().all(|ty| ty.is_number()) => Type::I64,
            _ => return None,
        };
        // A cleared address of memory is none.
        if ty.is_memory() && self.zeroed {
            return None;
        }
        Some(Piece { ty })
    }

    fn bytes(&self) -> i64 {
        self.widths.iter().map(|width| i64::from(width.bytes())).max().unwrap_or(0)
    }
}

/// Refuses candidates that share bytes with others.
fn refuse_overlaps(candidates: &mut BTreeMap<(Slot, i64), Candidate>) {
    let places: Vec<(Slot, i64)> = candidates.keys().copied().collect();
    let mut reach: Option<((Slot, i64), i64)> = None;
    for place in places {
        let end = place.1 + candidates[&place].bytes();
        match reach {
            Some((first, until)) if first.0 == place.0 && place.1 < until => {
                for shared in [first, place] {
                    candidates.entry(shared).and_modify(|candidate| candidate.refused = true);
                }
                reach = Some(if end > until { (place, end) } else { (first, until) });
            }
            _ => reach = Some((place, end)),
        }
    }
}

/// Notes that a range is cleared; refuses candidates that are only partly in it.
fn mark_zeroed(candidates: &mut BTreeMap<(Slot, i64), Candidate>, slot: Slot, start: i64, end: i64) {
    // A candidate that begins up to 7 bytes before the range may reach into it.
    for (place, candidate) in candidates.range_mut((slot, start - 7)..(slot, end.max(start - 7))) {
        let piece_end = place.1 + candidate.bytes();
        if place.1 >= start && piece_end <= end {
            candidate.zeroed = true;
        } else if piece_end > start {
            candidate.refused = true;
        }
    }
}

/// The blocks at whose start the piece's value may still be read.
fn live_in(cfg: &Cfg, assigned: &HashSet<Block>, exposed: &HashSet<Block>) -> HashSet<Block> {
    let mut live = exposed.clone();
    let mut work: Vec<Block> = exposed.iter().copied().collect();
    while let Some(block) = work.pop() {
        for &pred in cfg.preds(block) {
            if !assigned.contains(&pred) && live.insert(pred) {
                work.push(pred);
            }
        }
    }
    live
}

/// Replaces loads by the values that reach them, walking down the dominator tree.
struct Renamer<'a> {
    pieces: &'a Pieces,
    /// Pieces that are parameters of a block, in the order in which they are added.
    params: SecondaryMap<Block, Vec<PieceIndex>>,
    /// The value each piece has here.
    current: Vec<Option<Value>>,
    /// What `current` was, to be put back when a block's subtree is done.
    undo: Vec<(PieceIndex, Option<Value>)>,
    replaced: Replacements,
    zeros: HashMap<Type, Value>,
    zero_insts: Vec<InstId>,
}

impl<'a> Renamer<'a> {
    fn new(pieces: &'a Pieces, params: SecondaryMap<Block, Vec<PieceIndex>>) -> Renamer<'a> {
        Renamer {
            pieces,
            params,
            current: vec![None; pieces.list.len()],
            undo: Vec::new(),
            replaced: Replacements::default(),
            zeros: HashMap::new(),
            zero_insts: Vec::new(),
        }
    }

    fn rename(mut self, function: &mut Function, dominators: &Dominators) {
        let mut values: SecondaryMap<Block, Vec<Value>> = SecondaryMap::new();
        let blocks: Vec<Block> = function.blocks.keys().collect();
        for block in blocks {
            values[block] = self.params[block]
                .iter()
                .map(|&piece| function.add_param(block, self.pieces.list[piece].ty))
                .collect();
        }
        enum Step {
            Enter(Block),
            Leave(usize),
        }
        let mut work = vec![Step::Enter(function.entry())];
        while let Some(step) = work.pop() {
            match step {
                Step::Enter(block) => {
                    work.push(Step::Leave(self.undo.len()));
                    for index in 0..values[block].len() {
                        self.assign(self.params[block][index], values[block][index]);
                    }
                    self.rename_block(function, block);
                    work.extend(dominators.children(block).iter().map(|&child| Step::Enter(child)));
                }
                Step::Leave(mark) => {
                    while self.undo.len() > mark {
                        let Some((piece, value)) = self.undo.pop() else { break };
                        self.current[piece] = value;
                    }
                }
            }
        }
        let entry = function.entry();
        function.blocks[entry].insts.splice(0..0, self.zero_insts);
        self.replaced.apply(function);
    }

    fn assign(&mut self, piece: PieceIndex, value: Value) {
        self.undo.push((piece, self.current[piece]));
        self.current[piece] = Some(value);
    }

    fn rename_block(&mut self, function: &mut Function, block: Block) {
        let insts = std::mem::take(&mut function.blocks[block].insts);
        let mut kept = Vec::with_capacity(insts.len());
        for inst in insts {
            if self.rename_inst(function, inst, &mut kept) {
                kept.push(inst);
            }
        }
        function.blocks[block].insts = kept;
        let Some(mut terminator) = function.blocks[block].terminator.take() else { return };
        for target in terminator.targets_mut() {
            for index in 0..self.params[target.block].len() {
                let value = self.value_of(function, self.params[target.block][index]);
                target.args.push(value);
            }
        }
        function.blocks[block].terminator = Some(terminator);
    }

    /// Says whether the instruction stays (perhaps as another).
    fn rename_inst(&mut self, function: &mut Function, inst: InstId, kept: &mut Vec<InstId>) -> bool {
        match access(function, inst) {
            Some(Access::Load { at, .. }) => {
                let (Some(piece), Some(result)) = (self.pieces.at(at), function.results[inst]) else {
                    return true;
                };
                let value = self.value_of(function, piece);
                self.rename_load(function, inst, result, value)
            }
            Some(Access::Store { at, value, .. }) => {
                let Some(piece) = self.pieces.at(at) else { return true };
                let (value, ty) = (self.replaced.get(value), self.pieces.list[piece].ty);
                if function.type_of(value) == ty {
                    self.assign(piece, value);
                } else {
                    let span = function.spans[inst];
                    let (cast, result) = function.make_inst(Inst::Cast(value), Some(ty), span);
                    kept.push(cast);
                    self.assign(piece, result.expect("an instruction made with a type defines a value"));
                }
                false
            }
            Some(Access::Zero { slot, start, end }) => {
                let inside: Vec<PieceIndex> = self.pieces.inside(slot, start, end).collect();
                for &piece in &inside {
                    let zero = self.zero(function, self.pieces.list[piece].ty);
                    self.assign(piece, zero);
                }
                inside.is_empty() || self.pieces.kept.contains(&slot)
            }
            None => true,
        }
    }

    /// Turns a load into what remains to be done: nothing, a cast, or an extension of the low bits.
    fn rename_load(&mut self, function: &mut Function, inst: InstId, result: Value, value: Value) -> bool {
        let Inst::Load { width, signed, .. } = function.insts[inst] else { return true };
        function.insts[inst] = if width != Width::W64 {
            let op = if signed { UnaryOp::Sext(width) } else { UnaryOp::Zext(width) };
            Inst::Unary { op, arg: value }
        } else if function.type_of(value) != function.type_of(result) {
            Inst::Cast(value)
        } else {
            self.replaced.set(result, value);
            return false;
        };
        true
    }

    fn value_of(&mut self, function: &mut Function, piece: PieceIndex) -> Value {
        match self.current[piece] {
            Some(value) => value,
            None => self.zero(function, self.pieces.list[piece].ty),
        }
    }

    /// The constant 0 of a type, defined at the function's start.
    fn zero(&mut self, function: &mut Function, ty: Type) -> Value {
        if let Some(&zero) = self.zeros.get(&ty) {
            return zero;
        }
        let (inst, result) = function.make_inst(Inst::Const(0), Some(ty), Default::default());
        let zero = result.expect("an instruction made with a type defines a value");
        self.zero_insts.push(inst);
        self.zeros.insert(ty, zero);
        zero
    }
}
