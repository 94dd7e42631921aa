//! What only the kernel can do, by its helpers: sockets, paths, changing what it traces.

use memql_grammar::ast::BinaryOp;

use super::{Call, Checks, Entry};
use crate::attach::ProgramKind;
use crate::check::diagnostics::{functions as errors, types};
use crate::check::{Checker, constant};
use crate::helpers;
use crate::hir::{Expr, ExprKind, StmtKind};
use crate::types::Type;

pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "socket_cookie",
        "uint64 socket_cookie(struct sock *)",
        "a number that the socket keeps for its life (fentry, fexit, rawtracepoint)",
        Checks::Value(socket_cookie),
    )
    .takes(1, 1),
    Entry::new(
        "path",
        "string path(struct path or its address [, const size])",
        "the full path (iter, and fentry and fexit of the functions that the kernel allows)",
        Checks::Value(path),
    )
    .takes(1, 2),
    Entry::new(
        "override",
        "void override(uint64 result)",
        "the probed function does not run and returns this (kprobe)",
        Checks::Effect(override_return),
    )
    .takes(1, 1)
    .needs_unsafe(),
    Entry::new(
        "write_user",
        "bool write_user(address, bytes, const length)",
        "writes into the memory of the current process; whether it could",
        Checks::Value(write_user),
    )
    .takes(3, 3)
    .needs_unsafe()
    .with_effect(),
];

/// The probe's kind, if it is one of those.
fn only_in(checker: &mut Checker<'_>, call: &Call<'_>, kinds: &[ProgramKind], names: &str) -> Option<()> {
    let kind = checker.probe.kind()?;
    if kinds.contains(&kind) {
        return Some(());
    }
    let at = checker.probe.span;
    checker.fail(|| errors::only_in(call.name, names, kind, call.span, at))
}

fn socket_cookie(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let kinds = [ProgramKind::Fentry, ProgramKind::Fexit, ProgramKind::RawTracepoint];
    only_in(checker, call, &kinds, "`fentry`, `fexit` and `rawtracepoint`")?;
    let value = checker.stored_value(call.args.first()?)?;
    if !matches!(value.ty, Type::Ptr { .. }) {
        return checker.fail(|| errors::not_an_address(call.name, &value));
    }
    let kind = ExprKind::Helper { helper: helpers::GET_SOCKET_COOKIE, context: false, args: vec![value] };
    Some(Expr { kind, ty: Type::U64, span: call.span })
}

fn path(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let kinds = [ProgramKind::Fentry, ProgramKind::Fexit, ProgramKind::Iter];
    only_in(checker, call, &kinds, "`fentry`, `fexit` and `iter`")?;
    let span = call.span;
    let value = checker.any_size_value(call.args.first()?)?;
    let cap = match call.args.get(1) {
        None => checker.settings.max_strlen,
        Some(arg) => match checker.constant_integer(call, 1, "the size")? {
            n if n >= 1 && n <= i128::from(checker.settings.max_strlen) => n as u32,
            n => return checker.fail(|| errors::bad_length(n, arg.span)),
        },
    };
    let address = match value.kind {
        ExprKind::Load { addr, offset, bits: None } if matches!(value.ty, Type::Struct(_)) => {
            let ty = addr.ty.clone();
            let right = Box::new(Expr::int(offset, Type::I64, span));
            Expr { kind: ExprKind::Binary { op: BinaryOp::Add, left: addr, right }, ty, span }
        }
        _ if matches!(value.ty, Type::Ptr { .. }) => value,
        _ => return checker.fail(|| errors::not_an_address(call.name, &value)),
    };
    Some(Expr { kind: ExprKind::Path(Box::new(address)), ty: Type::Str { cap }, span })
}

fn override_return(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<StmtKind> {
    only_in(checker, call, &[ProgramKind::Kprobe], "`kprobe`")?;
    let value = checker.integer_argument(call.args.first()?, &Type::U64)?;
    let kind = ExprKind::Helper { helper: helpers::OVERRIDE_RETURN, context: true, args: vec![value] };
    Some(StmtKind::Expr(Expr { kind, ty: Type::I64, span: call.span }))
}

fn write_user(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let (to, from) = (checker.stored_value(call.args.first()?), checker.stored_value(call.args.get(1)?));
    let length = checker.constant_integer(call, 2, "the length");
    let (to, from, length) = (to?, from?, length?);
    let span = call.span;
    if !matches!(to.ty, Type::Ptr { .. } | Type::Int { bits: 64, .. }) {
        return checker.fail(|| errors::not_an_address(call.name, &to));
    }
    if !matches!(from.ty, Type::Str { .. } | Type::Array { .. } | Type::Tuple(_)) {
        return checker.fail(|| errors::not_bytes(call.name, &from));
    }
    let size = from.ty.size();
    if length < 1 || length > i128::from(size) {
        return checker.fail(|| types::write_length(length, size, call.args[2].span));
    }
    let args = vec![to, from, constant::constant(length, Type::U64, span)];
    let kind = ExprKind::Helper { helper: helpers::PROBE_WRITE_USER, context: false, args };
    let status = Expr { kind, ty: Type::I64, span };
    let zero = Box::new(Expr::int(0, Type::I64, span));
    let kind = ExprKind::Compare { op: BinaryOp::Eq, left: Box::new(status), right: zero };
    Some(Expr { kind, ty: Type::Bool, span })
}
