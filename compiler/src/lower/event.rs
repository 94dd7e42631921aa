//! Events: what a probe sends to the runtime through the ring buffer.
//!
//! An event is reserved with its exact size, filled in place and submitted. Arguments whose
//! evaluation changes something are evaluated before the reservation, so that a full ring buffer
//! loses the event but never an effect.

use crate::helpers;
use crate::hir::{Expr, ExprKind, StmtKind};
use crate::ir::{Cond, Value, Width};
use crate::lower::expr::width;
use crate::lower::memory::{Place, Whole};
use crate::lower::probe::ProgramLowering;
use crate::plan::{
    Arg, EVENT_HEADER_BYTES, EventPlan, Loss, Place as ScriptPlace, ReportExpr, ReportExprKind, ReportPlan,
    ReportValue,
};
use crate::types::{AddrSpace, Type};

/// How many strings `join()` prints at most, and how long each may be.
const JOIN_STRINGS: u32 = 16;
const JOIN_BYTES: u32 = 1024;

/// An argument that was evaluated before the reservation.
enum Ready {
    Value(Value),
    At(Place),
    Later,
}

/// Whether an argument must be evaluated before the event is reserved.
fn before(e: &Expr) -> bool {
    let mut found = e.has_effects();
    e.for_each(&mut |e| found |= matches!(e.kind, ExprKind::MapLen(_)));
    found
}

/// Where an event's arguments lie, and its size in bytes.
fn layout(types: impl Iterator<Item = Type>) -> (Vec<Arg>, u32) {
    let mut size = EVENT_HEADER_BYTES;
    let args = types
        .map(|ty| {
            // At least what memory copies like: strings on word boundaries.
            let align = if ty.is_scalar() { ty.align() } else { 8 };
            let offset = size.next_multiple_of(align);
            size = offset + ty.size();
            Arg { ty, offset }
        })
        .collect();
    (args, size.next_multiple_of(8))
}

impl ProgramLowering<'_, '_> {
    /// Sends an event with these arguments.
    fn send(&mut self, args: &[Expr], plan: impl FnOnce(Vec<Arg>) -> EventPlan) {
        let (placed, size) = layout(args.iter().map(|a| a.ty.clone()));
        // What stands in front of such an argument is evaluated before it.
        let early = args.iter().rposition(before).map_or(0, |last| last + 1);
        let ready: Vec<Ready> = args
            .iter()
            .enumerate()
            .map(|(n, arg)| match (n < early, arg.ty.is_scalar()) {
                _ if matches!(arg.kind, ExprKind::Int(_) | ExprKind::Text(_)) => Ready::Later,
                (false, _) => Ready::Later,
                (true, true) => Ready::Value(self.scalar(arg)),
                (true, false) => {
                    let place = self.temporary(&arg.ty, None);
                    self.write(arg, place);
                    Ready::At(place)
                }
            })
            .collect();
        let id = self.lowering.event(plan(placed.clone()));
        let after = self.b.block();
        let record = self.reserve(id, size, after);
        for ((arg, place), ready) in args.iter().zip(&placed).zip(ready) {
            let to = Place {
                unpadded: matches!(arg.ty, Type::Str { .. }),
                ..Place::at(record, place.offset as i32)
            };
            match ready {
                Ready::Value(value) => self.b.store(width(&arg.ty), to.ptr, to.off, value),
                Ready::At(from) => self.copy(to, from, arg.ty.size()),
                Ready::Later => self.write(arg, to),
            }
        }
        self.submit(record, after);
    }

    /// Reserves an event and writes its id; goes to `full` if there is no room.
    fn reserve(&mut self, id: u64, size: u32, full: crate::ir::Block) -> Value {
        let ring = self.lowering.ring();
        let (object, bytes, flags) = (self.b.map_object(ring), self.b.int(i64::from(size)), self.b.int(0));
        let record = self.b.call(helpers::RINGBUF_RESERVE, &[object, bytes, flags]);
        let (have, none) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Ne, record, 0, have, none);
        self.b.switch_to(none);
        self.lose(Loss::Event);
        self.b.jump(full, &[]);
        self.b.switch_to(have);
        let id = self.b.int(id as i64);
        self.b.store(Width::W64, record, 0, id);
        record
    }

    fn submit(&mut self, record: Value, after: crate::ir::Block) {
        let flags = self.b.int(0);
        self.b.call(helpers::RINGBUF_SUBMIT, &[record, flags]);
        self.b.jump(after, &[]);
        self.b.switch_to(after);
    }

    /// Lowers a statement that is an event.
    pub fn event(&mut self, kind: &StmtKind) {
        match kind {
            StmtKind::Printf { format, args } => {
                let format = format.clone();
                self.send(args, |args| EventPlan::Printf { format, args });
            }
            StmtKind::Tell { severity, format, args } => {
                let (severity, format, place) = (*severity, format.clone(), ScriptPlace::of(self.b.span));
                self.send(args, |args| EventPlan::Tell { severity, place, format, args });
            }
            StmtKind::Cat { format, args } => {
                let format = format.clone();
                self.send(args, |args| EventPlan::Cat { format, args });
            }
            StmtKind::System { format, args } => {
                let format = format.clone();
                self.send(args, |args| EventPlan::System { format, args });
            }
            StmtKind::Print(value) => self.send(std::slice::from_ref(value), |mut args| {
                EventPlan::Print(args.pop().expect("one argument was given"))
            }),
            StmtKind::PrintMap { map, top, div } => {
                let map = self.lowering.plan_index[*map];
                let args: Vec<Expr> = top.iter().chain(div).cloned().collect();
                let (has_top, has_div) = (top.is_some(), div.is_some());
                self.send(&args, |args| {
                    let mut args = args.into_iter();
                    let top = if has_top { args.next() } else { None };
                    let div = if has_div { args.next() } else { None };
                    EventPlan::PrintMap { map, top, div }
                });
            }
            StmtKind::PrintMapElem { map, key } => {
                let map = self.lowering.plan_index[*map];
                self.send(std::slice::from_ref(key), |mut args| EventPlan::PrintMapElem {
                    map,
                    key: args.pop().expect("one argument was given"),
                });
            }
            StmtKind::Clear(map) => {
                let map = self.lowering.plan_index[*map];
                self.send(&[], |_| EventPlan::Clear { map });
            }
            StmtKind::Zero(map) => {
                let map = self.lowering.plan_index[*map];
                self.send(&[], |_| EventPlan::Zero { map });
            }
            StmtKind::Time(format) => {
                let format = format.clone();
                self.send(&[], |_| EventPlan::Time { format });
            }
            StmtKind::Exit(code) => {
                self.send(code.as_slice(), |mut args| EventPlan::Exit { code: args.pop() })
            }
            StmtKind::Join { argv, delimiter } => self.join(argv, delimiter),
            StmtKind::Report(report) => self.report(report),
            other => unreachable!("internal error: {other:?} is no event"),
        }
    }

    /// `join(argv, delimiter)`: strings until the null pointer that ends an argv.
    fn join(&mut self, argv: &Expr, delimiter: &str) {
        let address = self.scalar(argv);
        let space = self.reader(argv.space());
        let (parts, size) = layout((0..JOIN_STRINGS).map(|_| Type::Str { cap: JOIN_BYTES }));
        let id =
            self.lowering.event(EventPlan::Join { parts: parts.clone(), delimiter: delimiter.to_owned() });
        let after = self.b.block();
        let record = self.reserve(id, size, after);
        for part in &parts {
            let empty = self.b.int(0);
            self.b.store(Width::W8, record, part.offset as i32, empty);
        }
        let done = self.b.block();
        for (n, part) in parts.iter().enumerate() {
            let at = self.b.offset_int(address, n as i64 * 8);
            let string = self.load_pointer(at, space);
            let next = self.b.block();
            self.b.branch_int(Cond::Eq, string, 0, done, next);
            self.b.switch_to(next);
            let to = Place { unpadded: true, ..Place::at(record, part.offset as i32) };
            // The strings of an argv are the process's own, wherever the array of them is.
            let length = self.b.int(i64::from(JOIN_BYTES));
            self.read_string_at(string, AddrSpace::User, length, JOIN_BYTES, Whole::UpToCapacity, to);
        }
        self.b.jump(done, &[]);
        self.b.switch_to(done);
        self.submit(record, after);
    }

    fn report(&mut self, report: &crate::hir::Report) {
        let indices: Vec<usize> =
            self.lowering.script.maps.keys().map(|m| self.lowering.plan_index[m]).collect();
        let map = self.lowering.plan_index[report.map];
        let report = report.clone();
        self.send(&report.captured.clone(), |captured| {
            let place = |mut e: ReportExpr| {
                resolve(&mut e, &captured, &indices);
                e
            };
            let columns = report
                .columns
                .into_iter()
                .map(|mut column| {
                    column.value = match column.value {
                        ReportValue::Group(e) => ReportValue::Group(place(e)),
                        ReportValue::Count => ReportValue::Count,
                        ReportValue::Sum(e) => ReportValue::Sum(place(e)),
                        ReportValue::Min(e) => ReportValue::Min(place(e)),
                        ReportValue::Max(e) => ReportValue::Max(place(e)),
                        ReportValue::Avg(e) => ReportValue::Avg(place(e)),
                    };
                    column
                })
                .collect();
            EventPlan::Report(Box::new(ReportPlan {
                map,
                filter: report.filter.map(place),
                columns,
                order: report.order,
                limit: report.limit.map(place),
                format: report.format,
            }))
        });
    }
}

/// Replaces indices of captured values by their place in the event, and maps of the script by maps
/// of the plan.
fn resolve(e: &mut ReportExpr, captured: &[Arg], maps: &[usize]) {
    match &mut e.kind {
        ReportExprKind::Captured(arg) => *arg = captured[arg.offset as usize].clone(),
        ReportExprKind::Lookup { map, key } => {
            *map = maps[*map];
            resolve(key, captured, maps);
        }
        ReportExprKind::Unary(_, a) => resolve(a, captured, maps),
        ReportExprKind::Binary(_, a, b) => {
            resolve(a, captured, maps);
            resolve(b, captured, maps);
        }
        ReportExprKind::Ternary(a, b, c) => {
            for e in [a, b, c] {
                resolve(e, captured, maps);
            }
        }
        ReportExprKind::Int(_) | ReportExprKind::Key { .. } | ReportExprKind::Value { .. } => {}
    }
}
