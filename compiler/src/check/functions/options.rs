//! `getopt`: named parameters as bpftrace has them. memql's own way is an `option` declaration.

use super::{Call, Checks, Entry};
use crate::check::diagnostics::{functions as errors, options};
use crate::check::options::{parse_bool, parse_integer};
use crate::check::{Checker, constant};
use crate::hir::Expr;
use crate::types::Type;

pub(super) const ENTRIES: &[Entry] = &[Entry::new(
    "getopt",
    "T getopt(const string name [, T default [, const string description]])",
    "a named parameter of the command line",
    Checks::Value(getopt),
)
.takes(1, 3)];

fn getopt(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let name = checker.constant_text(call, 0, "the parameter's name")?;
    let span = call.span;
    checker.named_read.entry(name.clone()).or_insert(span);
    let given = checker.run.named.get(&name).cloned();
    let default = match call.args.get(1) {
        None => constant::boolean(false, span),
        Some(arg) => checker.stored_value(arg)?,
    };
    if default.ty == Type::Bool {
        let Some(own) = constant::truth_of(&default) else {
            return checker.fail(|| errors::not_a_constant(call.name, "the default", span));
        };
        return match given.as_deref() {
            None => Some(constant::boolean(own, span)),
            Some("") => Some(constant::boolean(true, span)),
            Some(text) => match parse_bool(text) {
                Some(value) => Some(constant::boolean(value, span)),
                None => checker.fail(|| options::bad_named(&name, text, "true or false", span)),
            },
        };
    }
    if let Some(own) = constant::text_of(&default) {
        let text = given.map_or_else(|| own.to_vec(), String::into_bytes);
        return Some(constant::text(&text, span));
    }
    match (constant::value_of(&default), given) {
        (None, _) => checker.fail(|| errors::not_a_constant(call.name, "the default", span)),
        (Some(own), None) => Some(constant::constant(own, Type::I64, span)),
        (Some(_), Some(text)) => match parse_integer(&text) {
            Some(value) if i64::try_from(value).is_ok() => Some(constant::constant(value, Type::I64, span)),
            Some(value) if u64::try_from(value).is_ok() => Some(constant::constant(value, Type::U64, span)),
            Some(_) | None => checker.fail(|| options::bad_named(&name, &text, "a number", span)),
        },
    }
}
