//! `dw_ustack`: a process's frames by unwind tables.
//!
//! [`crate::unwind`] says how the tables lie. From the registers with which the process was interrupted, a function that
//! is called once a frame goes to the caller's registers:
//!
//! ```text
//! mapping = the last that starts at or below the instruction       both found by halving
//! row     = the file's last at or below the instruction's place
//! rule    = the row's: caller's stack pointer (CFA), frame pointer, return address
//! ```
//!
//! The kernel verifier walks that function once, on its own, and sees nothing of what it does to the registers, so a stack
//! of 127 frames costs it little. Only the stack and the frame pointer are followed: in code that compilers make, frames
//! are found from nothing else.
//!
//! The instruction that a return address names is the one after the call, which may be another function's: it is looked up
//! one byte before. What a signal interrupted, and the innermost frame, are looked up where they are.

use crate::arch;
use crate::attach::ProgramKind;
use crate::helpers;
use crate::ir::{
    BinaryOp as IrOp, Block, Cond, Function, MapDef, MapKind, MapRef, Type as IrType, UnaryOp, Value, Width,
};
use crate::lower::Lowering;
use crate::lower::builder::Builder;
use crate::lower::probe::ProgramLowering;
use crate::lower::trampoline::ReturnInstances;
use crate::plan::Loss;
use crate::unwind::{self, flags, kind, offsets, saved};

/// Where the registers and what is known of the process are, in the memory that the function gets.
mod state {
    /// The address in the code.
    pub const INSTRUCTION: i32 = 0;
    pub const STACK_POINTER: i32 = 8;
    pub const FRAME_POINTER: i32 = 16;
    /// 1 if the address in the code is where a call returns to, else 0.
    pub const RETURNS: i32 = 24;
    pub const FIRST_MAPPING: i32 = 32;
    pub const MAPPINGS: i32 = 36;
    /// The address that return probes put in place of return addresses; 0 if there is none.
    pub const TRAMPOLINE: i32 = 40;
    pub const BYTES: u32 = 48;
}

/// What the function gives: it went to the caller.
const WENT: i64 = 0;
/// There is no caller.
const OUTERMOST: i64 = 1;
/// The tables do not tell.
const UNKNOWN: i64 = 2;
/// The stack could not be read.
const UNREADABLE: i64 = 3;

/// `BPF_F_MMAPABLE` (include/uapi/linux/bpf.h)
const BPF_F_MMAPABLE: u32 = 1 << 10;

/// The maps that hold the tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    processes: MapRef,
    mappings: MapRef,
    rows: MapRef,
    rules: MapRef,
}

impl Lowering<'_> {
    /// The maps that hold the tables; the runtime says how large they are.
    fn unwind_tables(&mut self) -> Tables {
        if let Some(tables) = self.unwind_tables {
            return tables;
        }
        let mut map = |name: &str, kind, value_size| {
            let flags = if kind == MapKind::Array { BPF_F_MMAPABLE } else { 0 };
            let def = MapDef { name: name.into(), kind, key_size: 4, value_size, max_entries: 1, flags };
            self.module.maps.push(def)
        };
        let tables = Tables {
            processes: map(unwind::PROCESSES, MapKind::Hash, unwind::PROCESS_BYTES),
            mappings: map(unwind::MAPPINGS, MapKind::Array, unwind::MAPPING_BYTES),
            rows: map(unwind::ROWS, MapKind::Array, unwind::ROW_BYTES),
            rules: map(unwind::RULES, MapKind::Array, unwind::RULE_BYTES),
        };
        self.plan.unwinds = true;
        self.unwind_tables = Some(tables);
        tables
    }
}

impl ProgramLowering<'_, '_> {
    /// Takes at most `limit` frames; gives their number, or goes to `failed`.
    pub fn unwind(&mut self, frames: Value, limit: u32, failed: Block) -> Value {
        if !self.can_unwind() {
            self.b.jump_away(failed);
            return self.b.int(0);
        }
        let tables = self.lowering.unwind_tables();
        let slot = self.b.slot(state::BYTES, 8, Some("registers of a frame"));
        let registers = self.b.slot_addr(slot);
        self.find_process(tables, registers, failed);
        let instruction = self.interrupted_at(registers);
        self.b.mem_zero(frames, 0, limit * 8);
        self.b.store(Width::W64, frames, 0, instruction);

        let (head, count) = self.b.block_with(IrType::I64);
        let (done, n) = self.b.block_with(IrType::I64);
        let [step, go_on, stop, full] = [(); 4].map(|()| self.b.block());
        let one = self.b.int(1);
        self.b.jump(head, &[one]);
        self.b.switch_to(head);
        self.b.branch_int(Cond::Ult, count, i64::from(limit), step, full);
        self.b.switch_to(step);
        let function = self.unwind_step(tables);
        let (function, bytes) = (self.b.fn_addr(function), self.b.int(i64::from(state::BYTES)));
        let outcome = self.b.call(helpers::CALL_PROCEDURE, &[function, registers, bytes]);
        self.b.branch_int(Cond::Eq, outcome, WENT, go_on, stop);

        self.b.switch_to(go_on);
        let instruction = self.b.load(Width::W64, false, registers, state::INSTRUCTION);
        let offset = self.b.binary_int(IrOp::Shl, count, 3);
        let at = self.b.offset(frames, offset);
        self.b.store(Width::W64, at, 0, instruction);
        let next = self.b.binary_int(IrOp::Add, count, 1);
        self.b.jump(head, &[next]);

        self.b.switch_to(full);
        self.b.jump(done, &[count]);
        self.b.switch_to(stop);
        let unknown = self.loss_counter(Loss::StackUnknown);
        self.b.when(Cond::Eq, outcome, UNKNOWN, |b| super::health::count_loss(b, unknown));
        let unread = self.loss_counter(Loss::StackUnread);
        self.b.when(Cond::Eq, outcome, UNREADABLE, |b| super::health::count_loss(b, unread));
        self.b.jump(done, &[count]);

        self.b.switch_to(done);
        // The kernel verifier would walk what follows once for each number of frames.
        self.b.unary(UnaryOp::Hide, n)
    }

    /// Whether this kernel has what it takes; says so if not.
    fn can_unwind(&mut self) -> bool {
        let features = self.lowering.features();
        let (what, span) = ("`dw_ustack`", self.b.span);
        let instead = "use `ustack`, which follows frame pointers";
        if !self.has_functions() {
            self.lowering.unsupported(span, what, "functions that get addresses", (5, 12), instead);
            return false;
        }
        let from_task = features.task_pt_regs && features.current_task_btf;
        if !self.registers_are_context() && !from_task {
            let what = "`dw_ustack` outside of uprobes and static probes";
            self.lowering.unsupported(span, what, "bpf_task_pt_regs", (5, 15), instead);
            return false;
        }
        true
    }

    /// Whether the context is the process's registers.
    fn registers_are_context(&self) -> bool {
        matches!(self.kind, ProgramKind::Uprobe | ProgramKind::Uretprobe | ProgramKind::Usdt)
    }

    /// Stores which mappings the current process has.
    fn find_process(&mut self, tables: Tables, registers: Value, failed: Block) {
        let slot = self.b.slot(4, 4, Some("process"));
        let key = self.b.slot_addr(slot);
        let tgid = self.tgid();
        self.b.store(Width::W32, key, 0, tgid);
        let process = self.lookup(tables.processes, key);
        let (found, missing) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Ne, process, 0, found, missing);
        self.b.switch_to(missing);
        self.lose(Loss::StackWithoutTables);
        self.b.jump(failed, &[]);
        self.b.switch_to(found);
        let first = self.b.load(Width::W32, false, process, 0);
        let mappings = self.b.load(Width::W32, false, process, 4);
        self.b.store(Width::W32, registers, state::FIRST_MAPPING, first);
        self.b.store(Width::W32, registers, state::MAPPINGS, mappings);
    }

    /// Stores the registers with which the process was interrupted; gives the address of the instruction.
    fn interrupted_at(&mut self, registers: Value) -> Value {
        let from = match self.registers_are_context() {
            true => self.ctx(),
            false => {
                let task = self.b.call(helpers::GET_CURRENT_TASK_BTF, &[]);
                self.b.call(helpers::TASK_PT_REGS, &[task])
            }
        };
        let names = arch::registers(self.lowering.features().arch);
        let places = [
            (state::INSTRUCTION, names.instruction_pointer),
            (state::STACK_POINTER, names.stack_pointer),
            (state::FRAME_POINTER, names.frame_pointer),
        ];
        let [instruction, ..] = places.map(|(to, offset)| {
            let value = self.b.load(Width::W64, false, from, offset as i32);
            self.b.store(Width::W64, registers, to, value);
            value
        });
        let zero = self.b.int(0);
        self.b.store(Width::W64, registers, state::RETURNS, zero);
        let trampoline = match self.lowering.config.return_instances {
            Some(instances) => {
                let word = self.b.slot(8, 8, Some("pointer"));
                instances.trampoline(&mut self.b, word)
            }
            None => zero,
        };
        self.b.store(Width::W64, registers, state::TRAMPOLINE, trampoline);
        instruction
    }

    /// The function that goes from a frame to its caller's.
    fn unwind_step(&mut self, tables: Tables) -> crate::ir::FuncRef {
        if let Some(function) = self.unwind_step {
            return function;
        }
        let function =
            self.functions.push(step_function(tables, self.lowering.config.return_instances, self.b.span));
        self.unwind_step = Some(function);
        function
    }
}

/// Goes from a frame to its caller's.
fn step_function(
    tables: Tables,
    instances: Option<ReturnInstances>,
    span: memql_grammar::ast::Span,
) -> Function {
    let mut b = Builder::new(&[IrType::Map], span);
    let [unknown, unreadable, outermost] =
        [UNKNOWN, UNREADABLE, OUTERMOST].map(|outcome| b.block_returning(outcome));
    let registers = b.param(0);
    // The kernel verifier takes it that the address may be null.
    let there = b.block();
    b.branch_int(Cond::Ne, registers, 0, there, unknown);
    b.switch_to(there);
    let key = b.slot(4, 4, Some("index"));
    let word = b.slot(8, 8, Some("word of the stack"));
    let mut step = Step { b, registers, instances, key, word, unknown, unreadable, outermost };
    let address = step.address();
    let (first, rows, place) = step.mapping(tables.mappings, address);
    let rule = step.rule(tables, first, rows, place);
    step.go(rule, address);
    step.b.finish()
}

struct Step {
    b: Builder,
    /// The address of what [`state`] describes.
    registers: Value,
    instances: Option<ReturnInstances>,
    /// Four bytes for the index of a lookup.
    key: crate::ir::Slot,
    /// Eight bytes for what is read from the process.
    word: crate::ir::Slot,
    /// These return what they are called.
    unknown: Block,
    unreadable: Block,
    outermost: Block,
}

impl Step {
    /// The address in the code that is looked up.
    fn address(&mut self) -> Value {
        let instruction = self.register(state::INSTRUCTION);
        let returns = self.register(state::RETURNS);
        self.b.binary(IrOp::Sub, instruction, returns)
    }

    fn register(&mut self, offset: i32) -> Value {
        self.b.load(Width::W64, false, self.registers, offset)
    }

    /// The first row, the number of rows, and the place in the file's table, of an address.
    fn mapping(&mut self, mappings: MapRef, address: Value) -> (Value, Value, Value) {
        let first = self.b.load(Width::W32, false, self.registers, state::FIRST_MAPPING);
        let count = self.b.load(Width::W32, false, self.registers, state::MAPPINGS);
        let index = self.search(mappings, (first, count), unwind::MOST_MAPPINGS, |b, element| {
            let start = b.load(Width::W64, false, element, offsets::START as i32);
            (start, address)
        });
        let mapping = self.element(mappings, index);
        let start = self.b.load(Width::W64, false, mapping, offsets::START as i32);
        self.go_on_if(Cond::Uge, address, start);
        let end = self.b.load(Width::W64, false, mapping, offsets::END as i32);
        self.go_on_if(Cond::Ult, address, end);
        let bias = self.b.load(Width::W64, false, mapping, offsets::BIAS as i32);
        let first = self.b.load(Width::W32, false, mapping, offsets::FIRST_ROW as i32);
        let rows = self.b.load(Width::W32, false, mapping, offsets::MAPPING_ROWS as i32);
        (first, rows, self.b.binary(IrOp::Sub, address, bias))
    }

    /// The address of a place's rule.
    fn rule(&mut self, tables: Tables, first: Value, rows: Value, place: Value) -> Value {
        let index = self.search(tables.rows, (first, rows), unwind::MOST_ROWS, |b, element| {
            let start = b.load(Width::W32, false, element, 0);
            (start, place)
        });
        let row = self.element(tables.rows, index);
        let start = self.b.load(Width::W32, false, row, 0);
        self.go_on_if(Cond::Uge, place, start);
        let rule = self.b.load(Width::W32, false, row, 4);
        self.element(tables.rules, rule)
    }

    /// The index of the last of `count` elements from `first` on whose number, the first of what `numbers` gives, is not
    /// above the second; `first` if there is none. Elements are sorted by that number; `most` is a power of two.
    fn search(
        &mut self,
        map: MapRef,
        (first, count): (Value, Value),
        most: u32,
        numbers: impl FnOnce(&mut Builder, Value) -> (Value, Value),
    ) -> Value {
        let end = self.b.binary(IrOp::Add, first, count);
        let (head, stride) = self.b.block_with(IrType::I64);
        let index = self.b.function.add_param(head, IrType::I64);
        let (next, found) = self.b.block_with(IrType::I64);
        let [body, look, compare, take, keep, after] = [(); 6].map(|()| self.b.block());
        let half = self.b.int(i64::from(most / 2));
        self.b.jump(head, &[half, first]);
        self.b.switch_to(head);
        self.b.branch_int(Cond::Ne, stride, 0, body, after);
        self.b.switch_to(body);
        let ahead = self.b.binary(IrOp::Add, index, stride);
        self.b.branch(Cond::Ult, ahead, end, look, keep);
        self.b.switch_to(look);
        let element = self.look_up(map, ahead);
        self.b.branch_int(Cond::Ne, element, 0, compare, keep);
        self.b.switch_to(compare);
        let (number, wanted) = numbers(&mut self.b, element);
        self.b.branch(Cond::Ule, number, wanted, take, keep);
        self.b.switch_to(take);
        self.b.jump(next, &[ahead]);
        self.b.switch_to(keep);
        self.b.jump(next, &[index]);
        self.b.switch_to(next);
        // Whichever way was taken, the kernel verifier is to see the same: it would follow each of 2^n.
        let hidden = self.b.unary(UnaryOp::Hide, found);
        let halved = self.b.binary_int(IrOp::Lshr, stride, 1);
        self.b.jump(head, &[halved, hidden]);
        self.b.switch_to(after);
        index
    }

    /// The address of an element, 0 if there is none.
    fn look_up(&mut self, map: MapRef, index: Value) -> Value {
        let key = self.b.slot_addr(self.key);
        self.b.store(Width::W32, key, 0, index);
        let map = self.b.map_object(map);
        self.b.call(helpers::MAP_LOOKUP_ELEM, &[map, key])
    }

    /// The address of an element; what has none is unknown.
    fn element(&mut self, map: MapRef, index: Value) -> Value {
        let element = self.look_up(map, index);
        let there = self.b.block();
        self.b.branch_int(Cond::Ne, element, 0, there, self.unknown);
        self.b.switch_to(there);
        element
    }

    /// What does not compare so is unknown.
    fn go_on_if(&mut self, cond: Cond, left: Value, right: Value) {
        let on = self.b.block();
        self.b.branch(cond, left, right, on, self.unknown);
        self.b.switch_to(on);
    }

    /// Stores the caller's registers.
    fn go(&mut self, rule: Value, address: Value) {
        let stack_pointer = self.register(state::STACK_POINTER);
        let cfa = self.cfa(rule, stack_pointer, address);
        let flags = self.byte(rule, offsets::FLAGS);
        let from_stack_pointer = self.b.binary_int(IrOp::And, flags, i64::from(flags::FROM_STACK_POINTER));
        let base = self.b.select(from_stack_pointer, stack_pointer, cfa);
        let return_address = self.read(base, rule, offsets::RETURN_ADDRESS_OFFSET);
        let there = self.b.block();
        self.b.branch_int(Cond::Ne, return_address, 0, there, self.outermost);
        self.b.switch_to(there);
        let return_address = self.before_return_probes(return_address, base, rule);
        let frame_pointer = self.frame_pointer(rule, stack_pointer, cfa);
        let signal = self.b.binary_int(IrOp::And, flags, i64::from(flags::SIGNAL));
        let zero = self.b.int(0);
        let returns = self.b.icmp(Cond::Eq, signal, zero);
        for (offset, value) in [
            (state::INSTRUCTION, return_address),
            (state::STACK_POINTER, cfa),
            (state::FRAME_POINTER, frame_pointer),
            (state::RETURNS, returns),
        ] {
            self.b.store(Width::W64, self.registers, offset, value);
        }
        self.b.ret(WENT);
    }

    /// The canonical frame address, as [`unwind::Cfa`] says.
    fn cfa(&mut self, rule: Value, stack_pointer: Value, address: Value) -> Value {
        let (have, cfa) = self.b.block_with(IrType::I64);
        let [known, inner, computed, memory, linkage] = [(); 5].map(|()| self.b.block());
        let kind = self.byte(rule, offsets::KIND);
        self.b.branch_int(Cond::Ne, kind, i64::from(kind::UNKNOWN), known, self.unknown);
        self.b.switch_to(known);
        self.b.branch_int(Cond::Ne, kind, i64::from(kind::OUTERMOST), inner, self.outermost);
        self.b.switch_to(inner);
        let frame_pointer = self.register(state::FRAME_POINTER);
        let by_frame_pointer = self.byte(rule, offsets::BASE);
        let base = self.b.select(by_frame_pointer, frame_pointer, stack_pointer);
        let offset = self.b.load(Width::W32, true, rule, offsets::CFA_OFFSET as i32);
        let sum = self.b.binary(IrOp::Add, base, offset);
        let addend = self.b.load(Width::W32, true, rule, offsets::CFA_ADDEND as i32);
        let register = self.b.block();
        self.b.branch_int(Cond::Eq, kind, i64::from(kind::REGISTER), register, computed);
        self.b.switch_to(register);
        self.b.jump(have, &[sum]);

        self.b.switch_to(computed);
        self.b.branch_int(Cond::Eq, kind, i64::from(kind::MEMORY), memory, linkage);
        self.b.switch_to(memory);
        let value = self.read(base, rule, offsets::CFA_OFFSET);
        let value = self.b.binary(IrOp::Add, value, addend);
        self.b.jump(have, &[value]);

        self.b.switch_to(linkage);
        let in_entry = self.b.binary_int(IrOp::And, address, 15);
        let pushed = self.b.icmp(Cond::Uge, in_entry, addend);
        let pushed = self.b.binary_int(IrOp::Shl, pushed, 3);
        let value = self.b.binary(IrOp::Add, sum, pushed);
        self.b.jump(have, &[value]);

        self.b.switch_to(have);
        cfa
    }

    /// The caller's frame pointer, as [`unwind::Saved`] says; 0 if that cannot be told, where nothing can be read.
    fn frame_pointer(&mut self, rule: Value, stack_pointer: Value, cfa: Value) -> Value {
        let (have, value) = self.b.block_with(IrType::I64);
        let [same, changed, lost, saved] = [(); 4].map(|()| self.b.block());
        let how = self.byte(rule, offsets::FRAME_POINTER);
        self.b.branch_int(Cond::Eq, how, i64::from(saved::SAME), same, changed);
        self.b.switch_to(same);
        let here = self.register(state::FRAME_POINTER);
        self.b.jump(have, &[here]);
        self.b.switch_to(changed);
        self.b.branch_int(Cond::Eq, how, i64::from(saved::LOST), lost, saved);
        self.b.switch_to(lost);
        let zero = self.b.int(0);
        self.b.jump(have, &[zero]);
        self.b.switch_to(saved);
        let from = self.b.int(i64::from(saved::FROM_STACK_POINTER));
        let from_stack_pointer = self.b.icmp(Cond::Eq, how, from);
        let base = self.b.select(from_stack_pointer, stack_pointer, cfa);
        let read = self.read(base, rule, offsets::FRAME_POINTER_OFFSET);
        self.b.jump(have, &[read]);
        self.b.switch_to(have);
        value
    }

    /// The return address, if a return probe has replaced it the one that was there.
    fn before_return_probes(&mut self, return_address: Value, base: Value, rule: Value) -> Value {
        let Some(instances) = self.instances else { return return_address };
        let (have, value) = self.b.block_with(IrType::I64);
        let [replaced, as_it_is] = [(); 2].map(|()| self.b.block());
        let trampoline = self.register(state::TRAMPOLINE);
        self.b.branch(Cond::Eq, return_address, trampoline, replaced, as_it_is);
        self.b.switch_to(as_it_is);
        self.b.jump(have, &[return_address]);
        self.b.switch_to(replaced);
        let offset = self.b.load(Width::W32, true, rule, offsets::RETURN_ADDRESS_OFFSET as i32);
        let place = self.b.binary(IrOp::Add, base, offset);
        let original = instances.original(&mut self.b, self.word, trampoline, place, self.unknown);
        self.b.jump(have, &[original]);
        self.b.switch_to(have);
        value
    }

    fn byte(&mut self, rule: Value, offset: u32) -> Value {
        self.b.load(Width::W8, false, rule, offset as i32)
    }

    /// Eight bytes of the process at an address plus a number of the rule.
    fn read(&mut self, base: Value, rule: Value, offset: u32) -> Value {
        let offset = self.b.load(Width::W32, true, rule, offset as i32);
        let address = self.b.binary(IrOp::Add, base, offset);
        let address = self.b.cast(address, IrType::User);
        let (to, size) = (self.b.slot_addr(self.word), self.b.int(8));
        let status = self.b.call(helpers::PROBE_READ_USER, &[to, size, address]);
        let there = self.b.block();
        self.b.branch_int(Cond::Eq, status, 0, there, self.unreadable);
        self.b.switch_to(there);
        self.b.load(Width::W64, false, to, 0)
    }
}
