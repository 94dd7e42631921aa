//! `kstack`, `ustack` and `dw_ustack`: take the frames, name them by a hash, keep each stack once.
//!
//! The value is 16 bytes: `u64 id, u32 tgid, u32 frames`; the frames are in the map `stacks` under
//! the id. The id is a 64-bit hash of all frames: two stacks do not share one, as they may with
//! `BPF_MAP_TYPE_STACK_TRACE`, whose buckets refuse or overwrite on collision.

use crate::attach::AttachPoint;
use crate::helpers;
use crate::hir::{self, Builtin, ExprKind};
use crate::ir::{BinaryOp as IrOp, Block, Cond, MapKind, Type as IrType, Value, Width};
use crate::lower::memory::Place;
use crate::lower::probe::ProgramLowering;
use crate::plan::Loss;
use crate::types::{StackType, Type};

/// How many distinct stacks are kept; they take memory as they come.
pub(super) const MAX_STACKS: u32 = 1 << 17;

/// `BPF_F_USER_STACK` (include/uapi/linux/bpf.h)
const BPF_F_USER_STACK: i64 = 1 << 8;

/// Multiplier of the hash: 2^64 divided by the golden ratio, made odd, as in Fibonacci hashing.
const HASH_MULTIPLIER: i64 = 0x9e37_79b9_7f4a_7c15_u64 as i64;

/// The deepest stack that a script asks for, in frames.
pub(super) fn deepest(script: &hir::Script) -> u32 {
    let mut depth = 0;
    let mut look = |e: &hir::Expr| {
        if let (ExprKind::Builtin(Builtin::Stack | Builtin::UnwoundStack), Type::Stack(stack)) =
            (&e.kind, &e.ty)
        {
            depth = depth.max(stack.limit);
        }
    };
    for probe in &script.probes {
        probe.predicate.iter().for_each(|p| p.for_each(&mut look));
        probe.body.iter().for_each(|s| s.for_each_expr(&mut look));
    }
    depth
}

impl ProgramLowering<'_, '_> {
    /// Takes a stack, by unwind tables if `unwound`, and writes its value.
    pub fn stack(&mut self, ty: &Type, to: Place, unwound: bool) {
        let Type::Stack(stack) = *ty else { unreachable!("internal error: a stack of type {ty}") };
        let (map, depth) = self.lowering.stacks();
        if self.kind == crate::attach::ProgramKind::PerfEvent && !self.lowering.features().lookup_percpu_elem
        {
            // Kernels of that age refuse entries without preallocation in perf event programs
            // (5.10 does, 6.1 does not); memory then bounds how many stacks can be kept.
            let def = &mut self.lowering.module.maps[map];
            debug_assert!(def.kind == MapKind::Hash);
            def.flags = 0;
            def.max_entries = 4096;
        }
        let buffer = self.b.slot(depth * 8, 8, Some("stack frames"));
        let frames = self.b.slot_addr(buffer);
        if stack.limit < depth {
            self.b.mem_zero(frames, (stack.limit * 8) as i32, (depth - stack.limit) * 8);
        }
        let id_slot = self.b.slot(8, 8, Some("stack id"));
        let id_at = self.b.slot_addr(id_slot);

        let (after, id, count) = {
            let (after, id) = self.b.block_with(IrType::I64);
            let count = self.b.function.add_param(after, IrType::I64);
            (after, id, count)
        };
        let failed = self.b.block();
        let n = match unwound {
            true => self.unwind(frames, stack.limit, failed),
            false => self.walk(frames, stack, failed),
        };
        if stack.user {
            self.undo_skip(frames);
        }
        if stack.limit >= self.lowering.features().max_stack {
            let cut = self.lowering.features().max_stack;
            let counter = self.loss_counter(Loss::StackCut);
            self.b.when(Cond::Uge, n, i64::from(cut), |b| super::health::count_loss(b, counter));
        }
        let hash = self.hash_frames(frames, n, stack.limit);
        self.b.store(Width::W64, id_at, 0, hash);
        let known = self.lookup(map, id_at);
        let (new, kept) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Eq, known, 0, new, kept);
        self.b.switch_to(new);
        let (object, no_flags) = (self.b.map_object(map), self.b.int(0));
        let status = self.b.call(helpers::MAP_UPDATE_ELEM, &[object, id_at, frames, no_flags]);
        let refused = self.b.block();
        self.b.branch_int(Cond::Ne, status, 0, refused, kept);
        self.b.switch_to(refused);
        self.lose(Loss::StackMapFull);
        self.b.jump(kept, &[]);
        self.b.switch_to(kept);
        self.b.jump(after, &[hash, n]);

        self.b.switch_to(failed);
        let zero = self.b.int(0);
        self.b.jump(after, &[zero, zero]);

        self.b.switch_to(after);
        self.b.store(Width::W64, to.ptr, to.off, id);
        let tgid = if stack.user { self.tgid() } else { self.b.int(0) };
        self.b.store(Width::W32, to.ptr, to.off + 8, tgid);
        self.b.store(Width::W32, to.ptr, to.off + 12, count);
    }

    /// Has the kernel take the frames, by frame pointers in a process; gives their number, or goes to `failed`.
    fn walk(&mut self, frames: Value, stack: StackType, failed: Block) -> Value {
        let ctx = self.ctx();
        let size = self.b.int(i64::from(stack.limit) * 8);
        let flags = self.b.int(if stack.user { BPF_F_USER_STACK } else { 0 });
        let bytes = self.b.call(helpers::GET_STACK, &[ctx, frames, size, flags]);
        let (none, taken) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Sle, bytes, 0, none, taken);
        self.b.switch_to(none);
        self.lose(Loss::StackFailed);
        self.b.jump(failed, &[]);
        self.b.switch_to(taken);
        self.b.binary_int(IrOp::Lshr, bytes, 3)
    }

    /// Puts the address that the script asked to probe in place of the breakpoint's.
    fn undo_skip(&mut self, frames: Value) {
        let skip = self.points.first().map_or(0, AttachPoint::skip);
        debug_assert!(self.points.iter().all(|point| point.skip() == skip));
        if skip > 0 {
            let address = self.b.load(Width::W64, false, frames, 0);
            let entry = self.b.binary_int(IrOp::Sub, address, i64::from(skip));
            self.b.store(Width::W64, frames, 0, entry);
        }
    }

    fn hash_frames(&mut self, frames: Value, n: Value, limit: u32) -> Value {
        let (head, index) = self.b.block_with(IrType::I64);
        let hash = self.b.function.add_param(head, IrType::I64);
        let (more, body, done) = (self.b.block(), self.b.block(), self.b.block());
        let zero = self.b.int(0);
        self.b.jump(head, &[zero, n]);
        self.b.switch_to(head);
        // The constant bound is for the kernel verifier, which must see the loop end.
        self.b.branch_int(Cond::Ult, index, i64::from(limit), more, done);
        self.b.switch_to(more);
        self.b.branch(Cond::Ult, index, n, body, done);
        self.b.switch_to(body);
        let offset = self.b.binary_int(IrOp::Shl, index, 3);
        let address = self.b.offset(frames, offset);
        let frame = self.b.load(Width::W64, false, address, 0);
        let mixed = self.b.binary(IrOp::Xor, hash, frame);
        let mixed = self.b.binary_int(IrOp::Mul, mixed, HASH_MULTIPLIER);
        let high = self.b.binary_int(IrOp::Lshr, mixed, 32);
        let mixed = self.b.binary(IrOp::Xor, mixed, high);
        let next = self.b.binary_int(IrOp::Add, index, 1);
        self.b.jump(head, &[next, mixed]);
        self.b.switch_to(done);
        hash
    }
}
