//! Slots that do not fit the stack move to per-CPU scratch memory.
//!
//! ```text
//! before                         after
//! ss0 = stack 1024               ss1 = stack 4                ; the key
//! block0(v0: ptr.ctx):           block0(v0: ptr.ctx):
//!     brif .. block1, block2         brif .. block1, block2   ; the script's filter
//! block1:                        block1:
//!     v1 = slot_addr ss0             store.32 ss1, 0
//!     store.64 v1+8, v2              v9: ptr.map = call map_lookup_elem(scratch, ss1)
//!     ...                            brif eq v9, 0, block4, block3
//!                                block3:
//!                                    store.64 v9+8, v2
//!                                    ...
//!                                block4:
//!                                    return 0
//! ```
//!
//! One map serves the module: an entry for each function that needs it, as large as the largest need.
//! The largest slots go first, until every chain of callbacks fits 512 bytes with room for spills.
//! A slot stays on the stack if a pointer is kept in it, if a callback gets its address, or if its
//! address and another one meet in a block parameter or `select`. The entry is looked up where it is first
//! needed.
//!
//! **Two runs on one CPU.** Programs on uprobes run in tasks that can be preempted, by tasks that hit the same
//! probe; raw tracepoint, fentry and fexit programs can be interrupted by themselves on older kernels. Their
//! functions have [`COPIES`] entries each, and the first word of an entry counts who wants it:
//! whoever makes it 1 owns the entry until it takes its 1 back where the code that needs it ends; whoever finds it taken takes
//! its 1 back at once and tries the next. That excludes others with plain additions, which every kernel
//! has. Where none is free, a counter says so and the function returns 0: nothing is overwritten, and the loss
//! is reported. All other programs are kept from nesting by the kernel (`bpf_prog_active`, kernel/trace/
//! bpf_trace.c).

use cranelift_entity::{EntitySet, PrimaryMap, SecondaryMap};
use memql_grammar::ast::Span;

use crate::alloc::layout::loop_depths;
use crate::alloc::memory::origin;
use crate::alloc::slots::{SlotRanges, slot_of};
use crate::attach::ProgramKind;
use crate::emit::{EmitError, STACK_BYTES, chain_bytes, largest_variables};
use crate::helpers;
use crate::ir::cfg::{Cfg, successors};
use crate::ir::dominators::Dominators;
use crate::ir::{
    BinaryOp, Block, BlockData, Cond, FuncRef, Function, Global, Inst, InstId, MapDef, MapKind, MapRef,
    Module, Program, Slot, SlotDef, Target, Terminator, Type, Value, ValueList, Width,
};
use crate::target::Features;

/// Entries of a function that may run several times at once on one CPU.
pub const COPIES: u32 = 4;

/// The largest value of a per-CPU map in bytes (`PCPU_MIN_UNIT_SIZE`, include/linux/percpu.h).
pub const MAX_SCRATCH_BYTES: u32 = 32 << 10;

/// The scratch map's name in the object.
pub const MAP_NAME: &str = "scratch";

/// Room for spills that is usually enough, in bytes of each function's frame.
pub const SPILL_BYTES: u32 = 64;

/// Moves what does not fit; `spill_bytes` of each frame are kept free. `busy_counter` is a `u64` that
/// counts runs which found all their scratch memory in use.
///
/// # Errors
/// If what must stay on the stack is too much, or what moved is more than a map's value may hold.
pub fn move_to_scratch(
    module: &mut Module,
    features: &Features,
    busy_counter: Global,
    spill_bytes: u32,
) -> Result<(), EmitError> {
    let mut plans = Vec::new();
    let mut entries = 0;
    for (n, program) in module.programs.iter().enumerate() {
        for (function, slots) in choose(program, spill_bytes)? {
            let plan = Plan::new(program, n, function, slots, entries)?;
            entries += plan.copies();
            plans.push(plan);
        }
    }
    let Some(value_size) = plans.iter().map(|p| p.bytes).max() else { return Ok(()) };
    let map = module.maps.push(MapDef {
        name: MAP_NAME.to_owned(),
        kind: MapKind::PerCpuArray,
        key_size: 4,
        value_size,
        max_entries: entries,
        flags: 0,
    });
    for plan in &plans {
        let function = &mut module.programs[plan.program].functions[plan.function];
        Rewriter { function, plan, map, busy_counter, features, span: Span::default() }.rewrite();
    }
    Ok(())
}

/// What moves in one function.
struct Plan {
    /// Index of the program.
    program: usize,
    function: FuncRef,
    /// Offset of each moved slot in its entry.
    offsets: SecondaryMap<Slot, Option<u32>>,
    /// Bytes of an entry.
    bytes: u32,
    /// The first key.
    key: u32,
    /// Whether runs exclude each other.
    guarded: bool,
}

impl Plan {
    fn new(
        program: &Program,
        index: usize,
        function: FuncRef,
        slots: Vec<Slot>,
        key: u32,
    ) -> Result<Plan, EmitError> {
        let guarded = may_nest(program.kind);
        let mut plan =
            Plan { program: index, function, offsets: SecondaryMap::new(), bytes: 0, key, guarded };
        let head = if guarded { 8 } else { 0 };
        let of = &program.functions[function];
        let (offsets, size) = SlotRanges::new(of).pack(of, slots.iter().copied());
        for slot in slots {
            plan.offsets[slot] = Some(head + offsets[slot]);
        }
        plan.bytes = (head + size).next_multiple_of(8);
        if plan.bytes > MAX_SCRATCH_BYTES {
            let (program, variables) = (program.name.clone(), largest_variables(program));
            return Err(EmitError::Scratch { program, bytes: plan.bytes, variables });
        }
        Ok(plan)
    }

    fn copies(&self) -> u32 {
        if self.guarded { COPIES } else { 1 }
    }
}

/// Whether a program can begin on a CPU while a run of it has not ended there.
fn may_nest(kind: ProgramKind) -> bool {
    match kind {
        ProgramKind::Uprobe
        | ProgramKind::Uretprobe
        | ProgramKind::Usdt
        | ProgramKind::RawTracepoint
        | ProgramKind::Fentry
        | ProgramKind::Fexit
        | ProgramKind::Iter => true,
        ProgramKind::TestRun
        | ProgramKind::Bench
        | ProgramKind::PerfEvent
        | ProgramKind::Tracepoint
        | ProgramKind::Kprobe
        | ProgramKind::Kretprobe => false,
    }
}

/// The slots that must move, by function; a function's largest first.
fn choose(program: &Program, spill_bytes: u32) -> Result<Vec<(FuncRef, Vec<Slot>)>, EmitError> {
    let mut movable: Vec<(FuncRef, Slot, u32)> = Vec::new();
    for (id, function) in &program.functions {
        let pinned = pinned(function);
        let slots = function.slots.iter().filter(|(slot, _)| !pinned.contains(*slot));
        movable.extend(slots.map(|(slot, def)| (id, slot, def.size)));
    }
    // Largest last, to be taken from the end; the entry's before those of callbacks, which would have to
    // look their entry up at every call.
    movable.sort_by_key(|(id, slot, size)| (*size, std::cmp::Reverse(*id), std::cmp::Reverse(*slot)));
    let ranges: PrimaryMap<FuncRef, SlotRanges> = program.functions.values().map(SlotRanges::new).collect();
    // Bytes of the deepest chain when so many of them have moved, and these.
    let with = |count: usize| {
        let mut moved: PrimaryMap<FuncRef, Vec<Slot>> =
            program.functions.values().map(|_| Vec::new()).collect();
        movable.iter().rev().take(count).for_each(|(id, slot, _)| moved[*id].push(*slot));
        let frames =
            program.functions.iter().map(|(id, f)| frame_bytes(f, &ranges[id], &moved[id]) + spill_bytes);
        let frames: Vec<u32> = frames.collect();
        (chain_bytes(program, &frames, FuncRef::from_u32(0), program.functions.len()), moved)
    };
    // The fewest that do, found by halving: laying a frame out takes long where there are thousands of slots.
    let mut best = with(0);
    if best.0 > STACK_BYTES {
        let (mut few, mut enough) = (0, movable.len());
        best = with(enough);
        if best.0 > STACK_BYTES {
            let (program, variables) = (program.name.clone(), largest_variables(program));
            return Err(EmitError::Stack { program, bytes: best.0, variables });
        }
        while enough - few > 1 {
            let middle = few + (enough - few) / 2;
            let tried = with(middle);
            if tried.0 <= STACK_BYTES {
                (enough, best) = (middle, tried);
            } else {
                few = middle;
            }
        }
    }
    Ok(best.1.into_iter().filter(|(_, slots)| !slots.is_empty()).collect())
}

/// Bytes of a frame without the slots that moved, with the key's slot if there are any.
fn frame_bytes(function: &Function, ranges: &SlotRanges, moved: &[Slot]) -> u32 {
    let key_bytes = if moved.is_empty() { 0 } else { 8 };
    let mut gone: EntitySet<Slot> = EntitySet::new();
    moved.iter().for_each(|slot| {
        gone.insert(*slot);
    });
    let stay: Vec<Slot> = function.slots.keys().filter(|slot| !gone.contains(*slot)).collect();
    ranges.pack(function, stay.into_iter()).1.saturating_add(key_bytes)
}

/// The slots that cannot move.
fn pinned(function: &Function) -> EntitySet<Slot> {
    let mut pinned = EntitySet::new();
    let mut pin = |value: Value| {
        if let Some(slot) = slot_of(function, value) {
            pinned.insert(slot);
        }
    };
    for block in function.blocks.values() {
        for &id in &block.insts {
            match &function.insts[id] {
                Inst::Store { ptr, value, .. } => {
                    if !function.type_of(*value).is_number() {
                        pin(*ptr);
                    }
                    pin(*value);
                }
                Inst::Load { ptr, .. }
                    if function.results[id].is_some_and(|v| !function.type_of(v).is_number()) =>
                {
                    pin(*ptr);
                }
                Inst::Select { then, otherwise, .. } => {
                    pin(*then);
                    pin(*otherwise);
                }
                Inst::Call { helper, args } => {
                    if let (Some(n), args) =
                        (helpers::callback_context(*helper), args.as_slice(&function.pool))
                        && let Some(arg) = args.get(n)
                    {
                        pin(*arg);
                    }
                }
                _ => {}
            }
        }
        for target in block.terminator.iter().flat_map(|t| t.targets()) {
            target.args.iter().copied().for_each(&mut pin);
        }
    }
    pinned
}

/// An end of the code that owns an entry.
struct End {
    block: Block,
    /// The number of the target to which it goes; `None` where it returns.
    target: Option<usize>,
}

struct Rewriter<'a> {
    function: &'a mut Function,
    plan: &'a Plan,
    map: MapRef,
    busy_counter: Global,
    features: &'a Features,
    span: Span,
}

impl Rewriter<'_> {
    fn rewrite(mut self) {
        let cfg = Cfg::new(self.function);
        let dominators = Dominators::new(self.function, &cfg);
        let Some((block, index)) = self.first_need(&cfg, &dominators) else { return };
        let ends = self.ends(block, &dominators);
        let body = self.split(block, index);
        let base =
            if self.plan.guarded { self.take_entry(block, body) } else { self.look_up_entry(block, body) };
        self.replace_addresses(base);
        if self.plan.guarded {
            for end in ends {
                self.release(if end.block == block { body } else { end.block }, end.target, base);
            }
        }
    }

    /// Where what runs behind `from` only ends: its returns, and the edges to what also runs without it.
    fn ends(&self, from: Block, dominators: &Dominators) -> Vec<End> {
        let mut ends = Vec::new();
        for block in self.function.blocks.keys().filter(|b| dominators.dominates(from, *b)) {
            if self.returns(block) {
                ends.push(End { block, target: None });
            }
            for (n, target) in successors(self.function, block).enumerate() {
                if !dominators.dominates(from, target) {
                    ends.push(End { block, target: Some(n) });
                }
            }
        }
        ends
    }

    fn returns(&self, block: Block) -> bool {
        matches!(self.function.blocks[block].terminator, Some(Terminator::Return(_)))
    }

    /// Where the entry is looked up: before the first instruction that needs it, on every path to one, but
    /// not in a loop. Events that a filter turns away do not get there.
    fn first_need(&self, cfg: &Cfg, dominators: &Dominators) -> Option<(Block, usize)> {
        let needs = |inst: &InstId| self.needs(*inst);
        let users =
            dominators.preorder().iter().filter(|b| self.function.blocks[**b].insts.iter().any(needs));
        let mut users = users.copied();
        let first = users.next()?;
        let rest: Vec<Block> = users.collect();
        let depth = loop_depths(self.function);
        let mut block = first;
        while depth[block] > 0 || !rest.iter().all(|user| dominators.dominates(block, *user)) {
            block = dominators.idom(block)?;
        }
        debug_assert!(cfg.is_reachable(block));
        let insts = &self.function.blocks[block].insts;
        Some((block, insts.iter().position(needs).unwrap_or(insts.len())))
    }

    /// Whether an instruction reads an address in a moved slot, other than to pass it on unchanged. An event's
    /// reservation counts as well: between it and its end a program must not leave, as it does without scratch memory.
    fn needs(&self, inst: InstId) -> bool {
        let inst = &self.function.insts[inst];
        let mut needs = matches!(inst, Inst::Call { helper, .. } if *helper == helpers::RINGBUF_RESERVE);
        if !matches!(inst, Inst::Cast(_)) {
            inst.for_each_arg(&self.function.pool, |value| needs |= self.place(value).is_some());
        }
        needs
    }

    /// The place in the entry that a value is the address of.
    fn place(&self, value: Value) -> Option<i32> {
        match self.function.def(origin(self.function, value))? {
            Inst::SlotAddr { slot, off } => Some((self.plan.offsets[*slot]? as i32).wrapping_add(*off)),
            _ => None,
        }
    }

    /// Moves what comes after `index` in a block to a new one. The block has no end then.
    fn split(&mut self, block: Block, index: usize) -> Block {
        let body = self.function.add_block();
        let data = &mut self.function.blocks[block];
        let (insts, terminator) = (data.insts.split_off(index), data.terminator.take());
        let span = data.terminator_span;
        let first = insts.first().map(|inst| self.function.spans[*inst]);
        self.span = first.unwrap_or(span);
        self.function.blocks[body] =
            BlockData { params: Vec::new(), insts, terminator, terminator_span: span };
        body
    }

    /// The only entry's address, looked up at the end of `block`.
    fn look_up_entry(&mut self, block: Block, body: Block) -> Value {
        let (failed, key) = (self.failed(), self.key_slot());
        let number = self.constant(block, self.plan.key.into());
        self.look_up(block, key, number, failed, body)
    }

    /// The address of an entry that is ours. They are tried in a loop, which the first turn mostly leaves.
    fn take_entry(&mut self, block: Block, body: Block) -> Value {
        let (failed, key) = (self.failed(), self.key_slot());
        let [look, ask, undo, busy] = [(); 4].map(|()| self.function.add_block());
        let first = self.constant(block, self.plan.key.into());
        self.end(block, Terminator::Jump(Target { block: look, args: vec![first] }));

        let number = self.function.add_param(look, Type::I64);
        let entry = self.look_up(look, key, number, failed, ask);

        let (left, right) = self.take(ask, entry);
        self.branch(ask, (Cond::Eq, left, right), to(body), to(undo));

        self.add_to(undo, entry, -1);
        let (one, end) = (self.constant(undo, 1), self.constant(undo, (self.plan.key + COPIES).into()));
        let next = self.value(undo, Inst::Binary { op: BinaryOp::Add, left: number, right: one }, Type::I64);
        let again = Target { block: look, args: vec![next] };
        self.branch(undo, (Cond::Ne, next, end), again, to(busy));

        let counter = self.value(busy, Inst::GlobalAddr { global: self.busy_counter, off: 0 }, Type::Map);
        self.add_to(busy, counter, 1);
        self.end(busy, Terminator::Jump(to(failed)));
        entry
    }

    /// A block that returns 0.
    fn failed(&mut self) -> Block {
        let block = self.function.add_block();
        let zero = self.constant(block, 0);
        self.end(block, Terminator::Return(zero));
        block
    }

    fn key_slot(&mut self) -> Slot {
        self.function.add_slot(SlotDef { size: 4, align: 4, name: None })
    }

    /// Looks an entry up at the end of `block`, which goes on to `found` or `failed`.
    fn look_up(&mut self, block: Block, key: Slot, number: Value, failed: Block, found: Block) -> Value {
        let address = self.value(block, Inst::SlotAddr { slot: key, off: 0 }, Type::Stack);
        self.inst(block, Inst::Store { width: Width::W32, ptr: address, off: 0, value: number });
        let map = self.value(block, Inst::MapObject(self.map), Type::MapObject);
        let args = ValueList::from_slice(&[map, address], &mut self.function.pool);
        let entry = self.value(block, Inst::Call { helper: helpers::MAP_LOOKUP_ELEM, args }, Type::Map);
        let zero = self.constant(block, 0);
        self.branch(block, (Cond::Eq, entry, zero), to(failed), to(found));
        entry
    }

    /// Adds 1 to an entry's first word; the two values that are equal if the entry is ours now.
    fn take(&mut self, block: Block, entry: Value) -> (Value, Value) {
        let one = self.constant(block, 1);
        if self.features.atomic_fetch {
            let add = Inst::AtomicFetchAdd { width: Width::W64, ptr: entry, off: 0, value: one };
            (self.value(block, add, Type::I64), self.constant(block, 0))
        } else {
            self.inst(block, Inst::AtomicAdd { width: Width::W64, ptr: entry, off: 0, value: one });
            let load = Inst::Load { width: Width::W64, signed: false, ptr: entry, off: 0 };
            (self.value(block, load, Type::I64), one)
        }
    }

    /// Gives the entry back before a block returns, or on the edge to one of its targets.
    fn release(&mut self, block: Block, target: Option<usize>, base: Value) {
        self.span = self.function.blocks[block].terminator_span;
        let Some(target) = target else { return self.add_to(block, base, -1) };
        let edge = self.function.add_block();
        self.add_to(edge, base, -1);
        let terminator = self.function.blocks[block].terminator.as_mut();
        if let Some(target) = terminator.and_then(|t| t.targets_mut().nth(target)) {
            let old = std::mem::replace(target, to(edge));
            self.end(edge, Terminator::Jump(old));
        }
    }

    fn add_to(&mut self, block: Block, ptr: Value, addend: i64) {
        let value = self.constant(block, addend);
        self.inst(block, Inst::AtomicAdd { width: Width::W64, ptr, off: 0, value });
    }

    /// Makes each address in a moved slot one in the entry. The old addresses stay behind, unused.
    fn replace_addresses(&mut self, base: Value) {
        let insts: Vec<InstId> =
            self.function.blocks.values().flat_map(|b| b.insts.iter().copied()).collect();
        // Computed addresses become addresses in a map, too.
        for id in insts {
            if let (Inst::Binary { .. }, Some(value)) = (&self.function.insts[id], self.function.results[id])
                && slot_of(self.function, value).is_some_and(|slot| self.plan.offsets[slot].is_some())
            {
                self.function.values[value].ty = Type::Map;
            }
        }
        for block in self.function.blocks.keys().collect::<Vec<_>>() {
            let old = std::mem::take(&mut self.function.blocks[block].insts);
            let mut new = Vec::with_capacity(old.len());
            for id in old {
                if self.needs(id) {
                    self.span = self.function.spans[id];
                    self.replace_bases(id, base);
                    self.replace_others(id, base, &mut new);
                }
                new.push(id);
            }
            self.function.blocks[block].insts = new;
        }
    }

    /// Accesses through an address in a moved slot go through the entry's.
    fn replace_bases(&mut self, id: InstId, base: Value) {
        let mut inst = self.function.insts[id].clone();
        let replace = |ptr: &mut Value, off: &mut i32| {
            if let Some(at) = self.place(*ptr) {
                (*ptr, *off) = (base, at.wrapping_add(*off));
            }
        };
        match &mut inst {
            Inst::Load { ptr, off, .. }
            | Inst::Store { ptr, off, .. }
            | Inst::AtomicAdd { ptr, off, .. }
            | Inst::AtomicFetchAdd { ptr, off, .. }
            | Inst::AtomicXchg { ptr, off, .. }
            | Inst::AtomicCmpXchg { ptr, off, .. }
            | Inst::MemZero { ptr, off, .. } => replace(ptr, off),
            Inst::MemCopy { dst, dst_off, src, src_off, .. } => {
                replace(dst, dst_off);
                replace(src, src_off);
            }
            Inst::Const(_)
            | Inst::Unary { .. }
            | Inst::Binary { .. }
            | Inst::Icmp { .. }
            | Inst::Select { .. }
            | Inst::SlotAddr { .. }
            | Inst::GlobalAddr { .. }
            | Inst::MapObject(_)
            | Inst::FnAddr(_)
            | Inst::Call { .. }
            | Inst::Cast(_)
            | Inst::Address(_) => {}
        }
        self.function.insts[id] = inst;
    }

    /// Other operands get the address computed for them.
    fn replace_others(&mut self, id: InstId, base: Value, out: &mut Vec<InstId>) {
        let mut args = Vec::new();
        self.function.insts[id].for_each_arg(&self.function.pool, |value| args.push(value));
        for old in args {
            let Some(at) = self.place(old) else { continue };
            let (constant, right) =
                self.function.make_inst(Inst::Const(at.into()), Some(Type::I64), self.span);
            let sum = Inst::Binary { op: BinaryOp::Add, left: base, right: right.expect("made with a type") };
            let (sum, new) = self.function.make_inst(sum, Some(Type::Map), self.span);
            out.extend([constant, sum]);
            let Function { insts, pool, .. } = &mut *self.function;
            insts[id].map_args(pool, |value| if value == old { new.unwrap_or(value) } else { value });
        }
    }

    fn inst(&mut self, block: Block, inst: Inst) {
        self.function.append(block, inst, None, self.span);
    }

    fn value(&mut self, block: Block, inst: Inst, ty: Type) -> Value {
        self.function.append(block, inst, Some(ty), self.span).expect("made with a type")
    }

    fn constant(&mut self, block: Block, imm: i64) -> Value {
        self.value(block, Inst::Const(imm), Type::I64)
    }

    fn branch(
        &mut self,
        block: Block,
        (cond, left, right): (Cond, Value, Value),
        then: Target,
        otherwise: Target,
    ) {
        self.end(block, Terminator::Branch { cond, left, right, then, otherwise });
    }

    fn end(&mut self, block: Block, terminator: Terminator) {
        let data = &mut self.function.blocks[block];
        data.terminator = Some(terminator);
        data.terminator_span = self.span;
    }
}

/// A target without arguments.
fn to(block: Block) -> Target {
    Target { block, args: Vec::new() }
}
