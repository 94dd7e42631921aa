//! Clocks and dates.

use memql_grammar::ast::ExprKind as Ast;

use super::{Call, Checks, Entry, intern};
use crate::check::diagnostics::{functions as errors, unsupported};
use crate::check::{Checker, constant};
use crate::helpers;
use crate::hir::{Builtin, Expr, ExprKind, StmtKind};
use crate::types::{Clock, Type};

pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "nsecs",
        "uint64 nsecs, nsecs(boot | monotonic | tai | sw_tai)",
        "nanoseconds of a clock, of boot time without a name",
        Checks::Value(nsecs),
    )
    .bare()
    .takes(0, 1),
    Entry::new("elapsed", "uint64 elapsed", "nanoseconds since the begin probes ran", Checks::Value(elapsed))
        .bare(),
    Entry::new("jiffies", "uint64 jiffies", "the kernel's timer ticks", Checks::Value(jiffies)).bare(),
    Entry::new(
        "time",
        "void time([const string format])",
        "prints the wall-clock time",
        Checks::Effect(time),
    )
    .bare()
    .takes(0, 1),
    Entry::new(
        "strftime",
        "timestamp strftime(const string format, uint64 ns)",
        "a time as a date, for printing",
        Checks::Value(strftime),
    )
    .takes(2, 2),
];

fn nsecs(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let clock = match call.args.first() {
        None => Clock::Boot,
        Some(arg) => match &arg.kind {
            Ast::Ident(mode) if mode.text == "boot" => Clock::Boot,
            Ast::Ident(mode) if mode.text == "monotonic" => Clock::Monotonic,
            Ast::Ident(mode) if mode.text == "tai" && checker.target.features().ktime_tai => Clock::Tai,
            Ast::Ident(mode) if mode.text == "tai" => {
                return checker.fail(|| unsupported::tai_clock(arg.span));
            }
            Ast::Ident(mode) if mode.text == "sw_tai" => Clock::SoftwareTai,
            _ => {
                return checker.fail(|| {
                    errors::unknown_mode(call.name, arg.span, &["boot", "monotonic", "tai", "sw_tai"])
                });
            }
        },
    };
    Some(Expr { kind: ExprKind::Builtin(Builtin::Nsecs(clock)), ty: Type::U64, span: call.span })
}

fn elapsed(_: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    Some(Expr { kind: ExprKind::Builtin(Builtin::Elapsed), ty: Type::U64, span: call.span })
}

fn jiffies(_: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let kind = ExprKind::Helper { helper: helpers::JIFFIES64, context: false, args: Vec::new() };
    Some(Expr { kind, ty: Type::U64, span: call.span })
}

fn time(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<StmtKind> {
    let format = match call.args.first() {
        Some(_) => checker.constant_text(call, 0, "the format")?,
        None => "%H:%M:%S\n".to_owned(),
    };
    Some(StmtKind::Time(format))
}

fn strftime(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let format = checker.constant_text(call, 0, "the format");
    let arg = call.args.get(1)?;
    let value = checker.integer_argument(arg, &Type::U64)?;
    let format = format?;
    if let Ast::Unary { .. } = &arg.kind
        && constant::value_of(&value).is_some_and(|v| v > i128::from(i64::MAX))
    {
        return checker.fail(|| errors::negative_time(arg.span));
    }
    let clock = match value.kind {
        ExprKind::Builtin(Builtin::Nsecs(clock)) => clock,
        _ => Clock::Boot,
    };
    let format = intern(&mut checker.time_formats, format);
    Some(Expr {
        kind: ExprKind::Cast(Box::new(value)),
        ty: Type::Timestamp { format, clock },
        span: call.span,
    })
}
