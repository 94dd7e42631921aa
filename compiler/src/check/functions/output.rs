//! What is printed, and what else is asked of memql itself: `cat`, `system`, `exit`.

use memql_grammar::ast::{Expr as AstExpr, ExprKind as Ast};

use super::{Call, Checks, Entry};
use crate::check::diagnostics::{formats, functions as errors};
use crate::check::{Checker, constant};
use crate::format::parse_format;
use crate::helpers;
use crate::hir::{Expr, ExprKind, StmtKind};
use crate::plan::{Conversion, Format, FormatPiece, Severity, Verb};
use crate::types::Type;

pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "printf",
        "void printf(const string format, ...)",
        "prints formatted text",
        Checks::Effect(printf),
    )
    .takes_at_least(1),
    Entry::new(
        "print",
        "void print(value), print(map [, top [, div]])",
        "prints a value or a map",
        Checks::Effect(print),
    )
    .takes(1, 3),
    Entry::new(
        "errorf",
        "void errorf(const string format, ...)",
        "prints an error with the place in the script, on stderr",
        Checks::Effect(|k, c| tell(k, c, Severity::Error)),
    )
    .takes_at_least(1),
    Entry::new(
        "warnf",
        "void warnf(const string format, ...)",
        "prints a warning with the place in the script, on stderr",
        Checks::Effect(|k, c| tell(k, c, Severity::Warning)),
    )
    .takes_at_least(1),
    Entry::new(
        "debugf",
        "void debugf(const string format, ...)",
        "writes to the kernel's trace_pipe, up to three arguments",
        Checks::Effect(debugf),
    )
    .takes(1, 4),
    Entry::new("cat", "void cat(const string format, ...)", "prints a file", Checks::Effect(cat))
        .takes_at_least(1),
    Entry::new("system", "void system(const string format, ...)", "runs a command", Checks::Effect(system))
        .takes_at_least(1)
        .needs_unsafe(),
    Entry::new("exit", "void exit([code])", "ends the run", Checks::Effect(exit)).bare().takes(0, 1),
];

fn printf(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<StmtKind> {
    formatted(checker, call).map(|(format, args)| StmtKind::Printf { format, args })
}

fn tell(checker: &mut Checker<'_>, call: &Call<'_>, severity: Severity) -> Option<StmtKind> {
    formatted(checker, call).map(|(format, args)| StmtKind::Tell { severity, format, args })
}

/// The kernel formats the text itself, with no more arguments than its helper takes.
fn debugf(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<StmtKind> {
    let span = call.span;
    let literal = checker.literal_argument(call, 0, "the format")?;
    let (_, values) = formatted(checker, call)?;
    let format = constant::text(&literal.bytes, literal.span);
    let size = Expr::int(i64::from(format.ty.size()), Type::U64, span);
    let mut args = vec![format, size];
    args.extend(values);
    args.resize(5, Expr::int(0, Type::U64, span));
    let kind = ExprKind::Helper { helper: helpers::TRACE_PRINTK, context: false, args };
    Some(StmtKind::Expr(Expr { kind, ty: Type::I64, span }))
}

fn cat(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<StmtKind> {
    formatted(checker, call).map(|(format, args)| StmtKind::Cat { format, args })
}

fn system(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<StmtKind> {
    formatted(checker, call).map(|(format, args)| StmtKind::System { format, args })
}

/// A format and its arguments, checked against each other.
pub(super) fn formatted(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<(Format, Vec<Expr>)> {
    let literal = checker.literal_argument(call, 0, "the format");
    let rest = call.args.get(1..).unwrap_or_default();
    let args: Vec<Option<Expr>> = rest.iter().map(|a| checker.stored_value(a)).collect();
    let literal = literal?;
    let mut format = match parse_format(literal) {
        Ok(format) => format,
        Err(error) => return checker.fail(|| formats::bad_conversion(&error, literal.span)),
    };
    let wanted = format.pieces.iter().filter(|p| matches!(p, FormatPiece::Conversion(_))).count();
    if wanted != rest.len() {
        return checker.fail(|| formats::count(call.name, wanted, rest.len(), literal.span, call.span));
    }
    let conversions = format.pieces.iter().filter_map(|p| match p {
        FormatPiece::Conversion(c) => Some(c),
        FormatPiece::Text(_) => None,
    });
    let mut checked = Some(Vec::with_capacity(args.len()));
    for (arg, conversion) in args.into_iter().zip(conversions) {
        let arg = arg.and_then(|arg| fits(checker, arg, conversion, literal));
        checked = checked.zip(arg).map(|(mut all, arg)| {
            all.push(arg);
            all
        });
    }
    let checked = checked?;
    let conversions = format.pieces.iter_mut().filter_map(|p| match p {
        FormatPiece::Conversion(c) => Some(c),
        FormatPiece::Text(_) => None,
    });
    conversions.zip(&checked).for_each(|(conversion, arg)| conversion.of(&arg.ty));
    Some((format, checked))
}

/// Whether a value can be printed by a conversion.
pub(crate) fn fits(
    checker: &mut Checker<'_>,
    value: Expr,
    conversion: &Conversion,
    literal: &memql_grammar::ast::StrLit,
) -> Option<Expr> {
    let number = matches!(value.ty, Type::Int { .. } | Type::Bool | Type::Enum { .. } | Type::Ptr { .. });
    let fits = match conversion.verb {
        Verb::Signed
        | Verb::Unsigned
        | Verb::Hex
        | Verb::HexUpper
        | Verb::Octal
        | Verb::Pointer
        | Verb::Char => number,
        Verb::GfpFlags => number,
        Verb::Text => !matches!(value.ty, Type::Void | Type::Agg(_)),
        Verb::EscapedHex | Verb::SpacedHex => matches!(value.ty, Type::Buf { .. }),
    };
    if !fits {
        return checker.fail(|| formats::does_not_fit(&value, conversion, literal.span));
    }
    checker.keepable(&value)?;
    if let (Verb::Text, Type::Ptr { to, .. }) = (conversion.verb, &value.ty)
        && matches!(**to, Type::Int { bits: 8, .. })
    {
        checker.warn(|| formats::pointer_as_text(&value));
    }
    Some(value)
}

fn print(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<StmtKind> {
    let arg = call.args.first()?;
    match &arg.kind {
        Ast::Map { name: _, key: None } => {
            let map = super::maps::whole_map(checker, call);
            let top = amount(checker, call.args.get(1));
            let div = amount(checker, call.args.get(2));
            Some(StmtKind::PrintMap { map: map?, top: top?, div: div? })
        }
        Ast::Map { name, key: Some(_) } if call.args.len() > 1 => {
            checker.fail(|| errors::print_limits_of_element(name, call.span))
        }
        _ if call.args.len() > 1 => checker.fail(|| errors::print_limits_of_value(call.span)),
        Ast::Map { .. } => {
            let value = checker.expr(arg)?;
            match (value.kind, &value.ty) {
                (ExprKind::Map { map, key: Some(key) }, Type::Agg(_)) => {
                    Some(StmtKind::PrintMapElem { map, key: *key })
                }
                (kind, _) => printed(checker, Expr { kind, ..value }),
            }
        }
        _ => {
            let value = checker.stored_value(arg)?;
            printed(checker, value)
        }
    }
}

fn printed(checker: &mut Checker<'_>, value: Expr) -> Option<StmtKind> {
    if value.ty == Type::Void {
        return checker.fail(|| errors::not_printable(&value));
    }
    checker.keepable(&value)?;
    Some(StmtKind::Print(value))
}

/// An optional `uint64`: no argument is no amount.
fn amount(checker: &mut Checker<'_>, arg: Option<&AstExpr>) -> Option<Option<Expr>> {
    let Some(arg) = arg else { return Some(None) };
    let value = checker.stored_value(arg)?;
    if constant::value_of(&value).is_some_and(|v| v < 0) {
        return checker.fail(|| errors::negative_amount(arg.span));
    }
    checker.integer_argument(arg, &Type::U64).map(Some)
}

fn exit(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<StmtKind> {
    let code = match call.args.first() {
        None => None,
        Some(arg) => Some(checker.integer_argument(arg, &Type::I64)?),
    };
    Some(StmtKind::Exit(code))
}
