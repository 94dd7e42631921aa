//! Numbers that print as the names they stand for.

use memql_grammar::ast::ExprKind as Ast;

use super::{Call, Checks, Entry};
use crate::check::Checker;
use crate::check::diagnostics::functions as errors;
use crate::check::{constant, diagnostics::points};
use crate::hir::{Builtin, Expr, ExprKind};
use crate::types::{Naming, Type};

pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "strerror",
        "name strerror(integer error)",
        "what an error number means; looked up when printed",
        Checks::Value(|k, c| named(k, c, Naming::Error)),
    )
    .takes(1, 1),
    Entry::new(
        "signal_name",
        "name signal_name(integer signal)",
        "a signal's name; looked up when printed",
        Checks::Value(|k, c| named(k, c, Naming::Signal)),
    )
    .takes(1, 1),
    Entry::new(
        "syscall_name",
        "name syscall_name(integer number)",
        "a system call's name; looked up when printed",
        Checks::Value(|k, c| named(k, c, Naming::Syscall)),
    )
    .takes(1, 1),
    Entry::new(
        "username",
        "username_t username",
        "name of the current user; looked up when printed",
        Checks::Value(username),
    )
    .bare(),
    Entry::new(
        "cgroup_path",
        "cgroup_path_t cgroup_path(uint64 id [, const string pattern])",
        "paths of a cgroup in the hierarchies whose name fits; looked up when printed",
        Checks::Value(cgroup_path),
    )
    .takes(1, 2),
    Entry::new(
        "cgroupid",
        "uint64 cgroupid(const string path)",
        "id of the cgroup at a path",
        Checks::Value(cgroupid),
    )
    .takes(1, 1),
];

/// An integer as the number of a name.
pub(super) fn name_of(number: Expr, naming: Naming, call: &Call<'_>) -> Expr {
    Expr { kind: ExprKind::Cast(Box::new(number)), ty: Type::Named(naming), span: call.span }
}

pub(super) fn named(checker: &mut Checker<'_>, call: &Call<'_>, naming: Naming) -> Option<Expr> {
    let arg = call.args.first()?;
    let value = checker.stored_value(arg)?;
    if !matches!(value.ty, Type::Int { .. } | Type::Bool | Type::Enum { .. }) {
        return checker.fail(|| crate::check::diagnostics::types::expected_integer(&value));
    }
    // These are numbers of 32 bits, whatever the register that they come in.
    let value = match &value.ty {
        Type::Int { bits: 64, .. } | Type::Enum { bits: 64, .. } => {
            Expr { kind: ExprKind::Cast(Box::new(value)), ty: Type::I32, span: arg.span }
        }
        _ => value,
    };
    Some(name_of(value, naming, call))
}

fn username(_: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let uid = Expr { kind: ExprKind::Builtin(Builtin::Uid), ty: Type::U32, span: call.span };
    Some(name_of(uid, Naming::User, call))
}

fn cgroup_path(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let id = checker.integer_argument(call.args.first()?, &Type::U64);
    let pattern = match call.args.get(1) {
        Some(_) => checker.constant_text(call, 1, "the pattern")?,
        None => String::new(),
    };
    let filter = super::intern(&mut checker.cgroup_filters, pattern);
    Some(name_of(id?, Naming::Cgroup { filter }, call))
}

fn cgroupid(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let path = checker.constant_text(call, 0, "the path")?;
    match checker.target.cgroup_id(&path) {
        Ok(id) => Some(constant::constant(i128::from(id), Type::U64, call.span)),
        Err(error) => checker.fail(|| points::fact(call.args[0].span, &error)),
    }
}

/// `comm(pid)`
pub(super) fn process_name(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    if let Ast::Str(_) = call.args.first()?.kind {
        return checker.fail(|| errors::not_a_process_id(call.args[0].span));
    }
    named(checker, call, Naming::Process)
}
