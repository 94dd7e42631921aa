//! Where the probe is, and what it is handed: `probe`, `func`, `retval`, `ctx`.

use super::{Call, Checks, Entry};
use crate::attach::AttachPoint;
use crate::check::diagnostics::points;
use crate::check::{Checker, constant};
use crate::hir::{Builtin, Expr, ExprKind};
use crate::types::{PointText, Type};

pub(super) const ENTRIES: &[Entry] = &[
    Entry::new("probe", "string probe", "the attach point that fired, in full", Checks::Value(probe)).bare(),
    Entry::new(
        "probetype",
        "string probetype",
        "the type of the probe, like `tracepoint`; `special` for begin and end",
        Checks::Value(probetype),
    )
    .bare(),
    Entry::new("func", "string func", "the function that the probe is on", Checks::Value(func)).bare(),
    Entry::new(
        "retval",
        "uint64 retval",
        "what the function returned; typed by BTF in `fexit`",
        Checks::Value(retval),
    )
    .bare(),
    Entry::new(
        "ctx",
        "struct ... *ctx",
        "what the kernel hands to the program: the object in `iter`, registers in `kprobe`, `uprobe` and perf events",
        Checks::Value(ctx),
    )
    .bare(),
];

fn point(which: PointText, call: &Call<'_>) -> Option<Expr> {
    Some(Expr { kind: ExprKind::Builtin(Builtin::Point(which)), ty: Type::Point(which), span: call.span })
}

fn probe(_: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    point(PointText::Probe, call)
}

fn probetype(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let mut types = checker.probe.points.iter().map(|point| match point {
        AttachPoint::Begin | AttachPoint::End => "special".to_owned(),
        other => other.to_string().split(':').next().unwrap_or_default().to_owned(),
    });
    let first = types.next()?;
    match types.find(|other| *other != first) {
        None => Some(constant::text(first.as_bytes(), call.span)),
        Some(other) => {
            let at = checker.probe.span;
            checker.fail(|| points::several_types(&first, &other, call.span, at))
        }
    }
}

fn func(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    match checker.probe.points.iter().find(|p| p.function().is_none()) {
        Some(other) => {
            let (kind, at) = (other.kind(), checker.probe.span);
            checker.fail(|| points::no_function(kind, call.span, at))
        }
        None => point(PointText::Func, call),
    }
}

fn ctx(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    checker.context(call.span)
}

fn retval(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    checker.return_value(call.span)
}
