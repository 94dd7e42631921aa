//! Aggregations: `count()`, `sum()`, `min()`, `max()`, `avg()`, `stats()`, `hist()`, `lhist()`.
//!
//! Each CPU has values of its own, laid out as [`Agg`] says, so that CPUs do not wait for each other.
//! On one CPU a program can still be interrupted by another that updates the same value. Additions
//! are therefore atomic, except where that cannot happen: tracepoint, kprobe and perf event programs
//! keep each other out on a CPU (`bpf_prog_active`, kernel/trace/bpf_trace.c), so a map that only
//! they update is added to without a lock prefix.

use crate::attach::ProgramKind;
use crate::helpers;
use crate::hir::{Builtin, Expr, MapId, Stmt, StmtKind};
use crate::ir::{BinaryOp as IrOp, Block, Cond, Type as IrType, Value, Width};
use crate::lower::map::MapHome;
use crate::lower::memory::Place;
use crate::lower::probe::ProgramLowering;
use crate::types::{Agg, Clock, Series, SeriesValue, Type, hist_buckets};

/// Whether programs of this kind keep each other out on a CPU.
fn exclusive(kind: ProgramKind) -> bool {
    match kind {
        ProgramKind::Tracepoint | ProgramKind::Kprobe | ProgramKind::Kretprobe | ProgramKind::PerfEvent => {
            true
        }
        ProgramKind::TestRun
        | ProgramKind::RawTracepoint
        | ProgramKind::Fentry
        | ProgramKind::Fexit
        | ProgramKind::Uprobe
        | ProgramKind::Uretprobe
        | ProgramKind::Usdt
        | ProgramKind::Iter
        | ProgramKind::Bench => false,
    }
}

fn aggregates(stmts: &[Stmt], map: MapId) -> bool {
    stmts.iter().any(|s| {
        matches!(s.kind, StmtKind::Aggregate { map: m, .. } if m == map)
            || s.children().into_iter().any(|c| aggregates(std::slice::from_ref(c), map))
    })
}

impl ProgramLowering<'_, '_> {
    /// `@map[key] = count()` and the like.
    pub fn aggregate(&mut self, id: MapId, key: Option<&Expr>, value: Option<&Expr>) {
        let Type::Agg(agg) = self.lowering.script.maps[id].value else {
            unreachable!("internal error: aggregating into a plain map")
        };
        let value = value.map(|v| self.scalar(v));
        let after = self.b.block();
        let ptr = match (self.home(id), key) {
            (MapHome::Keyed { map }, Some(key)) => {
                let key = self.key(key);
                self.entry(id, map, key, after)
            }
            (MapHome::Global { global, copies, stride, flag }, None) => {
                let base = self.b.global_addr(global);
                if let Some(flag) = flag {
                    // Written once only: a line that all CPUs write to is what this layout avoids.
                    let set = self.b.load(Width::W64, false, base, flag as i32);
                    self.b.when(Cond::Eq, set, 0, |b| {
                        let one = b.int(1);
                        b.store(Width::W64, base, flag as i32, one);
                    });
                }
                let cpu = self.b.call(helpers::GET_SMP_PROCESSOR_ID, &[]);
                let cpu = self.b.binary_int(IrOp::And, cpu, i64::from(copies - 1));
                let offset = self.b.binary_int(IrOp::Mul, cpu, i64::from(stride));
                self.b.offset(base, offset)
            }
            (home, _) => unreachable!("internal error: a key where {home:?} has none, or none where it has"),
        };
        let atomic = self.must_be_atomic(id);
        self.aggregate_at(agg, ptr, value, atomic);
        self.b.jump(after, &[]);
        self.b.switch_to(after);
    }

    fn must_be_atomic(&self, id: MapId) -> bool {
        !self
            .lowering
            .script
            .probes
            .iter()
            .filter(|p| aggregates(&p.body, id))
            .all(|p| exclusive(p.points[0].kind()))
    }

    fn aggregate_at(&mut self, agg: Agg, ptr: Value, value: Option<Value>, atomic: bool) {
        let one = self.b.int(1);
        let operand = value.unwrap_or(one);
        match agg {
            Agg::Count => self.add_word(ptr, 0, one, atomic),
            Agg::Sum { .. } => self.add_word(ptr, 0, operand, atomic),
            Agg::Avg { .. } | Agg::Stats { .. } => {
                self.add_word(ptr, 0, one, atomic);
                self.add_word(ptr, 8, operand, atomic);
            }
            Agg::Min { signed } => self.keep(ptr, operand, if signed { Cond::Slt } else { Cond::Ult }),
            Agg::Max { signed } => self.keep(ptr, operand, if signed { Cond::Sgt } else { Cond::Ugt }),
            Agg::Hist { bits } => {
                let bucket = self.log2_bucket(operand, bits);
                self.add_bucket(ptr, bucket, hist_buckets(bits), atomic);
            }
            Agg::Lhist { min, max, step } => {
                let bucket = self.linear_bucket(operand, min, max, step);
                self.add_bucket(ptr, bucket, agg.words(), atomic);
            }
            Agg::Tseries(series) => self.add_to_series(ptr, operand, series, atomic),
        }
    }

    fn add_word(&mut self, ptr: Value, off: i32, amount: Value, atomic: bool) {
        if atomic {
            self.b.atomic_add(Width::W64, ptr, off, amount);
        } else {
            let old = self.b.load(Width::W64, false, ptr, off);
            let new = self.b.binary(IrOp::Add, old, amount);
            self.b.store(Width::W64, ptr, off, new);
        }
    }

    fn add_bucket(&mut self, ptr: Value, bucket: Value, buckets: u32, atomic: bool) {
        // The bucket is in range by construction; the kernel verifier wants to see it.
        let (inside, after) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Ult, bucket, i64::from(buckets), inside, after);
        self.b.switch_to(inside);
        let offset = self.b.binary_int(IrOp::Shl, bucket, 3);
        let address = self.b.offset(ptr, offset);
        let one = self.b.int(1);
        self.add_word(address, 0, one, atomic);
        self.b.jump(after, &[]);
        self.b.switch_to(after);
    }

    /// Stores the value if there is none yet or it beats the one there.
    fn keep(&mut self, ptr: Value, value: Value, beats: Cond) {
        let (compare, store, after) = (self.b.block(), self.b.block(), self.b.block());
        let set = self.b.load(Width::W64, false, ptr, 8);
        self.b.branch_int(Cond::Eq, set, 0, store, compare);
        self.b.switch_to(compare);
        let old = self.b.load(Width::W64, false, ptr, 0);
        self.b.branch(beats, value, old, store, after);
        self.b.switch_to(store);
        self.b.store(Width::W64, ptr, 0, value);
        let one = self.b.int(1);
        self.b.store(Width::W64, ptr, 8, one);
        self.b.jump(after, &[]);
        self.b.switch_to(after);
    }

    /// The bucket of `hist(value, bits)`; see [`hist_buckets`].
    fn log2_bucket(&mut self, value: Value, bits: u8) -> Value {
        let b = i64::from(bits);
        let (after, result) = self.b.block_with(IrType::I64);
        let (not_negative, negative) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Sge, value, 0, not_negative, negative);
        self.b.switch_to(negative);
        let zero = self.b.int(0);
        self.b.jump(after, &[zero]);
        self.b.switch_to(not_negative);
        let (small, large) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Ult, value, 1 << b, small, large);
        self.b.switch_to(small);
        let own = self.b.binary_int(IrOp::Add, value, 1);
        self.b.jump(after, &[own]);
        self.b.switch_to(large);
        let log = self.log2(value);
        // 1 + 2^b * (log - b + 1) + ((value >> (log - b)) & (2^b - 1))
        let power = self.b.binary_int(IrOp::Sub, log, b);
        let base = self.b.binary_int(IrOp::Add, power, 1);
        let base = self.b.binary_int(IrOp::Shl, base, b);
        let top = self.b.binary(IrOp::Lshr, value, power);
        let top = self.b.binary_int(IrOp::And, top, (1 << b) - 1);
        let sum = self.b.binary(IrOp::Add, base, top);
        let sum = self.b.binary_int(IrOp::Add, sum, 1);
        self.b.jump(after, &[sum]);
        self.b.switch_to(after);
        result
    }

    /// Index of the highest set bit of a value that is not zero and has no sign: six halving steps. None
    /// compares: a branch in each would have the kernel verifier walk 64 paths.
    fn log2(&mut self, value: Value) -> Value {
        let mut rest = value;
        let mut log: Option<Value> = None;
        for shift in [32i64, 16, 8, 4, 2, 1] {
            // All bits are set if there is one at `shift` or above, for then the difference is negative.
            let largest = self.b.int((1i64 << shift) - 1);
            let difference = self.b.binary(IrOp::Sub, largest, rest);
            let above = self.b.binary_int(IrOp::Ashr, difference, 63);
            let by = self.b.binary_int(IrOp::And, above, shift);
            rest = self.b.binary(IrOp::Lshr, rest, by);
            log = Some(match log {
                None => by,
                Some(log) => self.b.binary(IrOp::Or, log, by),
            });
        }
        log.expect("there are six steps")
    }

    /// The bucket of `lhist(value, min, max, step)`: 0 below, then the steps, the last at or above.
    fn linear_bucket(&mut self, value: Value, min: i64, max: i64, step: i64) -> Value {
        let (after, result) = self.b.block_with(IrType::I64);
        let (not_below, below) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Sge, value, min, not_below, below);
        self.b.switch_to(below);
        let zero = self.b.int(0);
        self.b.jump(after, &[zero]);
        self.b.switch_to(not_below);
        let (inside, above) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Slt, value, max, inside, above);
        self.b.switch_to(above);
        let last = self.b.int((max - min) / step + 1);
        self.b.jump(after, &[last]);
        self.b.switch_to(inside);
        let from_min = self.b.binary_int(IrOp::Sub, value, min);
        let n = self.b.binary_int(IrOp::Udiv, from_min, step);
        let n = self.b.binary_int(IrOp::Add, n, 1);
        self.b.jump(after, &[n]);
        self.b.switch_to(after);
        result
    }

    /// Keeps a value of the interval that is now; the interval that was in its place before goes.
    fn add_to_series(&mut self, ptr: Value, value: Value, series: Series, atomic: bool) {
        let now = match self.lowering.script.series_clock {
            Some(map) => self.map_scalar(map, None, &Type::U64),
            None => self.builtin(Builtin::Nsecs(Clock::Realtime), &Type::U64),
        };
        let number = self.b.binary_int(IrOp::Udiv, now, series.interval_ns as i64);
        let stamp = self.b.binary_int(IrOp::Add, number, 1);
        let place = self.b.binary_int(IrOp::Umod, number, i64::from(series.intervals));
        let (inside, fresh, same, after) = (self.b.block(), self.b.block(), self.b.block(), self.b.block());
        // In range by construction; the kernel verifier wants to see it.
        self.b.branch_int(Cond::Ult, place, i64::from(series.intervals), inside, after);
        self.b.switch_to(inside);
        let offset = self.b.binary_int(IrOp::Mul, place, i64::from(Series::WORDS * 8));
        let at = self.b.offset(ptr, offset);
        let there = self.b.load(Width::W64, false, at, 0);
        self.b.branch(Cond::Eq, there, stamp, same, fresh);
        self.b.switch_to(fresh);
        let zero = self.b.int(0);
        self.b.store(Width::W64, at, 8, zero);
        self.b.store(Width::W64, at, 16, zero);
        self.b.store(Width::W64, at, 0, stamp);
        self.b.jump(same, &[]);
        self.b.switch_to(same);
        let signed = series.signed;
        match series.keeps {
            SeriesValue::Last => {
                self.b.store(Width::W64, at, 8, value);
                self.b.store(Width::W64, at, 16, now);
            }
            SeriesValue::Avg => {
                let one = self.b.int(1);
                self.add_word(at, 8, value, atomic);
                self.add_word(at, 16, one, atomic);
            }
            SeriesValue::Sum => self.add_word(at, 8, value, atomic),
            SeriesValue::Max | SeriesValue::Min => {
                let beats = match (series.keeps, signed) {
                    (SeriesValue::Max, true) => Cond::Sgt,
                    (SeriesValue::Max, false) => Cond::Ugt,
                    (_, true) => Cond::Slt,
                    (_, false) => Cond::Ult,
                };
                let value_at = self.b.offset_int(at, 8);
                self.keep(value_at, value, beats);
            }
        }
        self.b.jump(after, &[]);
        self.b.switch_to(after);
    }

    /// An aggregation's result as an integer: count, sum, min, max or avg over all CPUs.
    pub fn aggregate_result(&mut self, id: MapId, agg: Agg, key: Option<&Expr>) -> Value {
        match (self.home(id), key) {
            (MapHome::Global { global, copies, stride, .. }, None) => {
                let base = self.b.global_addr(global);
                let acc = self.accumulator();
                self.for_each_cpu(copies, |p, cpu, _| {
                    let offset = p.b.binary_int(IrOp::Mul, cpu, i64::from(stride));
                    let ptr = p.b.offset(base, offset);
                    p.combine(agg, acc, ptr);
                });
                self.combined(agg, acc)
            }
            (MapHome::Keyed { .. }, Some(key)) => {
                let key = self.key(key);
                self.aggregate_by_key(id, agg, key)
            }
            (home, _) => unreachable!("internal error: an aggregation kept in {home:?}"),
        }
    }

    /// The same for a map with a key, by the key's address.
    pub fn aggregate_by_key(&mut self, id: MapId, agg: Agg, key: Value) -> Value {
        let MapHome::Keyed { map } = self.home(id) else {
            unreachable!("internal error: an aggregation without a key has no key")
        };
        if !self.lowering.features().lookup_percpu_elem {
            let span = self.span();
            self.lowering.unsupported(
                span,
                "reading an aggregation with a key inside a probe",
                "bpf_map_lookup_percpu_elem",
                (5, 19),
                "keep the number in a plain map: `@x[key] += n`",
            );
            return self.b.int(0);
        }
        let acc = self.accumulator();
        let cpus = self.lowering.features().cpus;
        self.for_each_cpu(cpus, |p, cpu, next| {
            let object = p.b.map_object(map);
            let ptr = p.b.call(helpers::MAP_LOOKUP_PERCPU_ELEM, &[object, key, cpu]);
            let have = p.b.block();
            p.b.branch_int(Cond::Ne, ptr, 0, have, next);
            p.b.switch_to(have);
            p.combine(agg, acc, ptr);
        });
        self.combined(agg, acc)
    }

    /// Two words that results are combined in, zero at first.
    fn accumulator(&mut self) -> Place {
        let slot = self.b.slot(16, 8, Some("result of an aggregation"));
        let acc = Place::at(self.b.slot_addr(slot), 0);
        self.b.mem_zero(acc.ptr, 0, 16);
        acc
    }

    /// The result in an accumulator.
    fn combined(&mut self, agg: Agg, acc: Place) -> Value {
        let first = self.b.load(Width::W64, false, acc.ptr, acc.off);
        match agg {
            Agg::Count | Agg::Sum { .. } | Agg::Min { .. } | Agg::Max { .. } => first,
            Agg::Avg { signed } | Agg::Stats { signed } => {
                let total = self.b.load(Width::W64, false, acc.ptr, acc.off + 8);
                self.b.binary(if signed { IrOp::Sdiv } else { IrOp::Udiv }, total, first)
            }
            Agg::Hist { .. } | Agg::Lhist { .. } | Agg::Tseries(_) => {
                unreachable!("internal error: a histogram is no integer")
            }
        }
    }

    /// A loop over the CPUs `0..count`; the body may go to the block it is given to skip one.
    fn for_each_cpu(&mut self, count: u32, body: impl FnOnce(&mut Self, Value, Block)) {
        let (head, cpu) = self.b.block_with(IrType::I64);
        let (inside, next, after) = (self.b.block(), self.b.block(), self.b.block());
        let zero = self.b.int(0);
        self.b.jump(head, &[zero]);
        self.b.switch_to(head);
        self.b.branch_int(Cond::Ult, cpu, i64::from(count), inside, after);
        self.b.switch_to(inside);
        body(self, cpu, next);
        self.b.jump(next, &[]);
        self.b.switch_to(next);
        let more = self.b.binary_int(IrOp::Add, cpu, 1);
        self.b.jump(head, &[more]);
        self.b.switch_to(after);
    }

    /// Combines one CPU's value into the accumulator.
    fn combine(&mut self, agg: Agg, acc: Place, ptr: Value) {
        let words = match agg {
            Agg::Min { signed } | Agg::Max { signed } => {
                let beats = match (agg, signed) {
                    (Agg::Min { .. }, true) => Cond::Slt,
                    (Agg::Min { .. }, false) => Cond::Ult,
                    (_, true) => Cond::Sgt,
                    (_, false) => Cond::Ugt,
                };
                let set = self.b.load(Width::W64, false, ptr, 8);
                let (is_set, after) = (self.b.block(), self.b.block());
                self.b.branch_int(Cond::Ne, set, 0, is_set, after);
                self.b.switch_to(is_set);
                let value = self.b.load(Width::W64, false, ptr, 0);
                self.keep(acc.ptr, value, beats);
                self.b.jump(after, &[]);
                self.b.switch_to(after);
                return;
            }
            Agg::Count | Agg::Sum { .. } => 1,
            Agg::Avg { .. } | Agg::Stats { .. } => 2,
            Agg::Hist { .. } | Agg::Lhist { .. } | Agg::Tseries(_) => {
                unreachable!("internal error: a histogram is no integer")
            }
        };
        for word in 0..words {
            let more = self.b.load(Width::W64, false, ptr, word * 8);
            self.add_word(acc.ptr, acc.off + word * 8, more, false);
        }
    }
}
