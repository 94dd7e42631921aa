//! Return addresses that a return probe has replaced.
//!
//! A return probe puts the address of a trampoline in place of the return address of the call that it waits for, and the
//! kernel keeps a list of what was there:
//!
//! ```text
//! task_struct.utask -> uprobe_task.return_instances -> return_instance { stack, orig_ret_vaddr, next }, innermost first
//! task_struct.mm    -> mm_struct.uprobes_state.xol_area -> xol_area.vaddr: the trampoline
//! ```
//!
//! `stack` is where the return address is. Where several probes wait for one call, all but one of them found the trampoline
//! there. The kernel's own unwinder does the same from Linux 6.11 on.

use crate::btf::Btf;
use crate::helpers;
use crate::ir::{BinaryOp as IrOp, Block, Cond, Slot, Type as IrType, UnaryOp, Value, Width};
use crate::lower::builder::Builder;

/// So many calls that return probes wait for are looked through.
const MOST_CALLS: i64 = 64;

/// Byte offsets of what is read of the kernel's structs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReturnInstances {
    mm: u32,
    area: u32,
    trampoline: u32,
    task: u32,
    instances: u32,
    stack: u32,
    original: u32,
    next: u32,
}

impl ReturnInstances {
    /// As this kernel has them; `None` if it knows no such structs.
    pub fn of(btf: &Btf) -> Option<ReturnInstances> {
        let field = |of: &str, name: &str| btf.field(btf.struct_named(of)?, name);
        let offset = |of: &str, name: &str| Some(field(of, name)?.bit_offset / 8);
        let state = field("mm_struct", "uprobes_state")?;
        Some(ReturnInstances {
            mm: offset("task_struct", "mm")?,
            area: (state.bit_offset + btf.field(state.type_id, "xol_area")?.bit_offset) / 8,
            trampoline: offset("xol_area", "vaddr")?,
            task: offset("task_struct", "utask")?,
            instances: offset("uprobe_task", "return_instances")?,
            stack: offset("return_instance", "stack")?,
            original: offset("return_instance", "orig_ret_vaddr")?,
            next: offset("return_instance", "next")?,
        })
    }

    /// The current process's trampoline; 0 if it has none.
    pub(super) fn trampoline(&self, b: &mut Builder, word: Slot) -> Value {
        let (done, trampoline) = b.block_with(IrType::I64);
        let none = b.block();
        let task = current_task(b);
        let mut at = task;
        for offset in [self.mm, self.area] {
            at = follow(b, word, at, offset, none);
        }
        let address = read(b, word, at, self.trampoline);
        b.jump(done, &[address]);
        b.switch_to(none);
        let zero = b.int(0);
        b.jump(done, &[zero]);
        b.switch_to(done);
        trampoline
    }

    /// The return address that the trampoline has replaced in this place of the stack; goes to `missing` without one.
    pub(super) fn original(
        &self,
        b: &mut Builder,
        word: Slot,
        trampoline: Value,
        place: Value,
        missing: Block,
    ) -> Value {
        let task = current_task(b);
        let task = follow(b, word, task, self.task, missing);
        let first = follow(b, word, task, self.instances, missing);
        let (head, count) = b.block_with(IrType::I64);
        let instance = b.function.add_param(head, IrType::I64);
        let (found, original) = b.block_with(IrType::I64);
        let [body, here, next] = [(); 3].map(|()| b.block());
        let zero = b.int(0);
        b.jump(head, &[zero, first]);
        b.switch_to(head);
        b.branch_int(Cond::Ult, count, MOST_CALLS, body, missing);
        b.switch_to(body);
        let stack = read(b, word, instance, self.stack);
        b.branch(Cond::Eq, stack, place, here, next);
        b.switch_to(here);
        let address = read(b, word, instance, self.original);
        let is_it = b.block();
        b.branch(Cond::Ne, address, trampoline, is_it, next);
        b.switch_to(is_it);
        b.jump(found, &[address]);
        b.switch_to(next);
        let following = follow(b, word, instance, self.next, missing);
        let following = b.unary(UnaryOp::Hide, following);
        let more = b.binary_int(IrOp::Add, count, 1);
        b.jump(head, &[more, following]);
        b.switch_to(found);
        original
    }
}

fn current_task(b: &mut Builder) -> Value {
    let task = b.call(helpers::GET_CURRENT_TASK, &[]);
    b.cast(task, IrType::I64)
}

/// Eight bytes of a struct of the kernel; 0 if they cannot be read.
fn read(b: &mut Builder, word: Slot, base: Value, offset: u32) -> Value {
    let address = b.binary_int(IrOp::Add, base, i64::from(offset));
    let address = b.cast(address, IrType::Kernel);
    let (to, size) = (b.slot_addr(word), b.int(8));
    b.call(helpers::PROBE_READ_KERNEL, &[to, size, address]);
    b.load(Width::W64, false, to, 0)
}

/// A pointer in a struct of the kernel; goes to `missing` if it is null.
fn follow(b: &mut Builder, word: Slot, base: Value, offset: u32, missing: Block) -> Value {
    let pointer = read(b, word, base, offset);
    let there = b.block();
    b.branch_int(Cond::Ne, pointer, 0, there, missing);
    b.switch_to(there);
    pointer
}
