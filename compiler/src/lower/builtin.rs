//! Builtins without arguments: what each is made of.

use crate::helpers;
use crate::hir::Builtin;
use crate::ir::{BinaryOp as IrOp, Type as IrType, Value, Width};
use crate::lower::health::{Counted, count_loss};
use crate::lower::probe::ProgramLowering;
use crate::plan::Loss;
use crate::types::{Clock, Type};

impl ProgramLowering<'_, '_> {
    /// Evaluates a builtin that is a scalar.
    pub fn builtin(&mut self, builtin: Builtin, ty: &Type) -> Value {
        match builtin {
            Builtin::Pid => self.tgid(),
            Builtin::Tid => {
                let both = self.pid_tgid();
                self.low_half(both)
            }
            Builtin::InitPid => {
                let both = self.b.call(helpers::GET_CURRENT_PID_TGID, &[]);
                self.b.binary_int(IrOp::Lshr, both, 32)
            }
            Builtin::InitTid => {
                let both = self.b.call(helpers::GET_CURRENT_PID_TGID, &[]);
                self.low_half(both)
            }
            Builtin::Uid => {
                let both = self.b.call(helpers::GET_CURRENT_UID_GID, &[]);
                self.low_half(both)
            }
            Builtin::Gid => {
                let both = self.b.call(helpers::GET_CURRENT_UID_GID, &[]);
                self.b.binary_int(IrOp::Lshr, both, 32)
            }
            Builtin::Curtask => {
                let task = self.b.call(helpers::GET_CURRENT_TASK, &[]);
                self.b.cast(task, IrType::I64)
            }
            Builtin::Cpu => self.b.call(helpers::GET_SMP_PROCESSOR_ID, &[]),
            Builtin::NumaNode => self.b.call(helpers::GET_NUMA_NODE_ID, &[]),
            Builtin::Nsecs(clock) => self.nsecs(clock),
            Builtin::Elapsed => {
                let now = self.b.call(helpers::KTIME_GET_BOOT_NS, &[]);
                let start = self.lowering.start_time();
                let address = self.b.global_addr(start);
                let start = self.b.load(Width::W64, false, address, 0);
                self.b.binary(IrOp::Sub, now, start)
            }
            Builtin::Cgroup => self.b.call(helpers::GET_CURRENT_CGROUP_ID, &[]),
            Builtin::Rand => self.b.call(helpers::GET_PRANDOM_U32, &[]),
            Builtin::Point(_) => self.point(),
            Builtin::Comm | Builtin::Stack | Builtin::UnwoundStack => {
                unreachable!("internal error: `{ty}` is not a scalar")
            }
        }
    }

    fn low_half(&mut self, value: Value) -> Value {
        self.b.binary_int(IrOp::And, value, 0xffff_ffff)
    }

    /// Thread id in the low half, process id in the high half, as memql's PID namespace numbers them.
    fn pid_tgid(&mut self) -> Value {
        let Some((dev, ino)) = self.lowering.features().pid_ns else {
            return self.b.call(helpers::GET_CURRENT_PID_TGID, &[]);
        };
        // struct bpf_pidns_info { __u32 pid; __u32 tgid; } is the same word in little endian.
        let slot = self.b.slot(8, 8, Some("pid and tgid"));
        let to = self.b.slot_addr(slot);
        self.b.mem_zero(to, 0, 8);
        let args = [self.b.int(dev as i64), self.b.int(ino as i64), to, self.b.int(8)];
        self.b.call(helpers::GET_NS_CURRENT_PID_TGID, &args);
        self.b.load(Width::W64, false, to, 0)
    }

    /// The process id.
    pub fn tgid(&mut self) -> Value {
        let both = self.pid_tgid();
        self.b.binary_int(IrOp::Lshr, both, 32)
    }

    /// What a traced eBPF program has returned. Where it lies in the context depends on whether the kernel trusts the
    /// program's BTF, of whose own signature it makes five arguments otherwise; the helper knows.
    pub fn program_result(&mut self, ty: &Type) -> Value {
        // The helper came with Linux 5.17, as bpf_loop did.
        if !self.lowering.features().bpf_loop {
            let span = self.b.span;
            let what = "`retval` of an eBPF program";
            self.lowering.unsupported(span, what, "bpf_get_func_ret", (5, 17), "leave it out");
            return self.b.int(0);
        }
        let slot = self.b.slot(8, 8, Some("result"));
        let to = self.b.slot_addr(slot);
        self.b.mem_zero(to, 0, 8);
        let ctx = self.ctx();
        self.b.call(helpers::GET_FUNC_RET, &[ctx, to]);
        let width = Width::of_bytes(ty.size()).expect("programs return scalars");
        self.b.load(width, ty.is_signed(), to, 0)
    }

    fn nsecs(&mut self, clock: Clock) -> Value {
        match clock {
            Clock::Boot => self.b.call(helpers::KTIME_GET_BOOT_NS, &[]),
            Clock::Monotonic => self.b.call(helpers::KTIME_GET_NS, &[]),
            Clock::Tai if self.lowering.features().ktime_tai => self.b.call(helpers::KTIME_GET_TAI_NS, &[]),
            Clock::Tai => {
                let span = self.b.span;
                self.lowering.unsupported(
                    span,
                    "`nsecs(tai)`",
                    "bpf_ktime_get_tai_ns",
                    (6, 1),
                    "use `nsecs(boot)`",
                );
                self.b.int(0)
            }
            Clock::SoftwareTai => {
                let now = self.b.call(helpers::KTIME_GET_BOOT_NS, &[]);
                let offset = self.lowering.features().boot_to_tai_ns;
                self.b.binary_int(IrOp::Add, now, offset)
            }
            Clock::Realtime => {
                let now = self.b.call(helpers::KTIME_GET_BOOT_NS, &[]);
                let offset = self.lowering.features().boot_to_realtime_ns;
                self.b.binary_int(IrOp::Add, now, offset)
            }
        }
    }

    /// Index of the attach point that fired.
    fn point(&mut self) -> Value {
        if let [only] = self.points {
            let index = self.lowering.point_index(only);
            return self.b.int(index as i64);
        }
        let ctx = self.ctx();
        self.b.call(helpers::GET_ATTACH_COOKIE, &[ctx])
    }

    /// The counters of a loss at this place.
    pub fn loss_counter(&mut self, loss: Loss) -> Counted {
        self.lowering.health.counter(&mut self.lowering.module, loss, self.b.span)
    }

    /// Counts one loss.
    pub fn lose(&mut self, loss: Loss) {
        let counter = self.loss_counter(loss);
        count_loss(&mut self.b, counter);
    }
}
