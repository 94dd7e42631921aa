//! Text and bytes.

use memql_grammar::ast::{Expr as AstExpr, ExprKind as Ast};

use super::{Call, Checks, Entry};
use crate::check::diagnostics::functions as errors;
use crate::check::type_expr::MAX_VALUE_BYTES;
use crate::check::{Checker, compare, constant};
use crate::hir::{Expr, ExprKind, StmtKind};
use crate::types::{AddrSpace, Type};
use memql_grammar::ast::BinaryOp;

pub(super) const ENTRIES: &[Entry] = &[
    Entry::new("str", "string str(address [, uint64 length])", "the text at an address", Checks::Value(str))
        .takes(1, 2),
    Entry::new(
        "buf",
        "buffer buf(address or array [, uint64 length])",
        "the bytes at an address",
        Checks::Value(buf),
    )
    .takes(1, 2),
    Entry::new("strlen", "uint64 strlen(string)", "how many bytes of text", Checks::Value(strlen))
        .takes(1, 1),
    Entry::new(
        "strncmp",
        "int64 strncmp(string, string, const n)",
        "0 if the first n bytes are equal",
        Checks::Value(strncmp),
    )
    .takes(3, 3),
    Entry::new(
        "strcontains",
        "bool strcontains(string, string)",
        "whether the second text is part of the first",
        Checks::Value(strcontains),
    )
    .takes(2, 2),
    Entry::new(
        "strstr",
        "int64 strstr(string, string)",
        "where the second text first is in the first; -1 if nowhere",
        Checks::Value(strstr),
    )
    .takes(2, 2),
    Entry::new(
        "str_concat",
        "string str_concat(string, string)",
        "one text after the other",
        Checks::Value(str_concat),
    )
    .takes(2, 2),
    Entry::new(
        "strcap",
        "int64 strcap(string)",
        "how many bytes a text can have, its NUL included",
        Checks::Value(strcap),
    )
    .takes(1, 1),
    Entry::new(
        "memcmp",
        "int32 memcmp(bytes, bytes, uint64 count)",
        "0 if the first bytes are equal, else the difference of the first two that differ",
        Checks::Value(memcmp),
    )
    .takes(3, 3),
    Entry::new(
        "join",
        "void join(char **argv [, const string delimiter])",
        "prints an array of strings",
        Checks::Effect(join),
    )
    .takes(1, 2),
];

/// The text that a parameter `$1` is, and what an address or string holds.
fn str(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let arg = call.args.first()?;
    let limit = match call.args.get(1) {
        Some(len) => Some(length(checker, len, 0)?),
        None => None,
    };
    let value = match parameter_text(checker, arg) {
        Some(text) => constant::text(&text, call.span),
        None => checker.stored_value(arg)?,
    };
    if let Some(text) = constant::text_of(&value) {
        match limit {
            // Constant text has its size already: `max_strlen` is for what is read.
            None => return Some(Expr { span: call.span, ..value }),
            Some(Length::Constant(n)) => {
                let kept = text.len().min(n as usize);
                return Some(constant::text(&text[..kept], call.span));
            }
            Some(Length::Runtime(_)) => {}
        }
    }
    if let Some(Length::Constant(0)) = limit {
        let (evaluated, _) = checker.keep(value);
        let nothing = constant::text(b"", call.span);
        let ty = nothing.ty.clone();
        return Some(Expr { kind: ExprKind::Block(vec![evaluated], Box::new(nothing)), ty, span: call.span });
    }
    let (cap, len) = match limit {
        None => (checker.settings.max_strlen, None),
        // A length that was asked for is no loss when it is reached: it goes along.
        Some(Length::Constant(n)) => (n, Some(Box::new(Expr::int(i64::from(n), Type::U64, call.span)))),
        Some(Length::Runtime(len)) => (checker.settings.max_strlen, Some(Box::new(len))),
    };
    match (&value.ty, &len) {
        (Type::Str { cap: own }, Some(len)) if constant::value_of(len).is_none() => {
            let cap = *own;
            return Some(str_of_variable(checker, value, cap, len.clone()));
        }
        (Type::Str { cap: own }, _) if *own <= cap => return Some(value),
        (Type::Str { .. }, _) => return checker.convert(value, &Type::Str { cap }),
        _ => {}
    }
    let addr = Box::new(address(checker, call, value)?);
    Some(Expr { kind: ExprKind::Str { addr, len }, ty: Type::Str { cap }, span: call.span })
}

/// A string cut to a length that is known when it runs: read from where it is kept.
fn str_of_variable(checker: &mut Checker<'_>, value: Expr, cap: u32, len: Box<Expr>) -> Expr {
    let span = value.span;
    let (kept, var) = checker.keep(value);
    let to = Box::new(Type::Int { bits: 8, signed: true });
    let ty = Type::Ptr { to, space: AddrSpace::Kernel };
    let addr = Box::new(Expr { kind: ExprKind::VarAddr(var), ty, span });
    let cut = Expr { kind: ExprKind::Str { addr, len: Some(len) }, ty: Type::Str { cap }, span };
    Expr { kind: ExprKind::Block(vec![kept], Box::new(cut)), ty: Type::Str { cap }, span }
}

/// The text of `$1`, or what is left of it after `$1 + n`.
fn parameter_text(checker: &Checker<'_>, arg: &AstExpr) -> Option<Vec<u8>> {
    match &arg.kind {
        Ast::Positional(n) => {
            let given = (*n as usize).checked_sub(1).and_then(|i| checker.run.positional.get(i));
            Some(given.map_or_else(Vec::new, |text| text.as_bytes().to_vec()))
        }
        Ast::Binary { op: BinaryOp::Add, left, right } => match (&left.kind, &right.kind) {
            (Ast::Positional(_), Ast::Int(n)) => {
                let text = parameter_text(checker, left)?;
                let skipped = usize::try_from(*n).unwrap_or(usize::MAX).min(text.len());
                Some(text[skipped..].to_vec())
            }
            _ => None,
        },
        _ => None,
    }
}

/// A length argument.
enum Length {
    /// Within what values may take.
    Constant(u32),
    /// A `uint64`.
    Runtime(Expr),
}

fn length(checker: &mut Checker<'_>, arg: &AstExpr, least: u32) -> Option<Length> {
    let value = checker.integer_argument(arg, &Type::U64)?;
    match constant::value_of(&value) {
        Some(n) if n >= i128::from(least) && n <= i128::from(MAX_VALUE_BYTES) => {
            Some(Length::Constant(n as u32))
        }
        Some(n) => checker.fail(|| errors::bad_length(n, arg.span)),
        None => Some(Length::Runtime(value)),
    }
}

/// An operand as an address: a pointer, or an integer that is one.
fn address(checker: &mut Checker<'_>, call: &Call<'_>, value: Expr) -> Option<Expr> {
    match &value.ty {
        Type::Ptr { .. } => Some(value),
        // A literal is an address if somebody says so: `str(0)` is what is there, which is nothing.
        Type::Int { bits, .. } if *bits == 64 || constant::value_of(&value).is_some() => {
            let ty =
                Type::Ptr { to: Box::new(Type::Int { bits: 8, signed: true }), space: AddrSpace::Unknown };
            checker.convert(value, &ty)
        }
        _ => checker.fail(|| errors::not_an_address(call.name, &value)),
    }
}

fn buf(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let arg = call.args.first()?;
    let value = checker.any_size_value(arg)?;
    let limit = match call.args.get(1) {
        Some(len) => Some(length(checker, len, 1)?),
        None => None,
    };
    let span = call.span;
    let (addr, size) = match value.kind {
        // An array in memory: from its own address, at most its own size.
        ExprKind::Load { addr, offset, bits: None }
            if matches!(value.ty, Type::Array { .. } | Type::Str { .. } | Type::Struct(_)) =>
        {
            let size = value.ty.size();
            let ty = addr.ty.clone();
            let right = Box::new(Expr::int(offset, Type::I64, span));
            (Expr { kind: ExprKind::Binary { op: BinaryOp::Add, left: addr, right }, ty, span }, Some(size))
        }
        // A value at hand.
        _ if matches!(value.ty, Type::Str { .. } | Type::Array { .. }) => {
            let size = value.ty.size();
            (value, Some(size))
        }
        _ => (address(checker, call, value)?, None),
    };
    let full = |n: u32| Expr::int(i64::from(n), Type::U64, span);
    let (cap, len) = match (limit, size) {
        (Some(Length::Constant(n)), size) => {
            let n = size.map_or(n, |s| n.min(s.max(1)));
            (n, full(n))
        }
        (Some(Length::Runtime(len)), size) => (size.unwrap_or(checker.settings.max_strlen), len),
        (None, Some(size)) if size > 0 => (size, full(size)),
        (None, _) => return checker.fail(|| errors::buffer_length_missing(span)),
    };
    Some(Expr {
        kind: ExprKind::Buf { addr: Box::new(addr), len: Box::new(len) },
        ty: Type::Buf { cap },
        span,
    })
}

/// An operand as text: strings, and pointers to it.
fn text(checker: &mut Checker<'_>, call: &Call<'_>, at: usize) -> Option<Expr> {
    let value = checker.stored_value(call.args.get(at)?)?;
    let value = checker.point_text(value);
    match &value.ty {
        Type::Str { .. } => Some(value),
        Type::Ptr { to, .. } if to.size() == 1 => {
            let (span, cap) = (value.span, checker.settings.max_strlen);
            Some(Expr {
                kind: ExprKind::Str { addr: Box::new(value), len: None },
                ty: Type::Str { cap },
                span,
            })
        }
        _ => checker.fail(|| errors::not_text(call.name, &value)),
    }
}

fn strlen(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let value = text(checker, call, 0)?;
    if let Some(bytes) = constant::text_of(&value) {
        return Some(constant::constant(before_nul(bytes).len() as i128, Type::U64, call.span));
    }
    Some(Expr { kind: ExprKind::StrLen(Box::new(value)), ty: Type::U64, span: call.span })
}

fn strncmp(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let (a, b) = (text(checker, call, 0), text(checker, call, 1));
    let n = checker.constant_integer(call, 2, "how many bytes to compare");
    let (a, b, n) = (a?, b?, n?);
    let span = call.span;
    let Ok(n) = u32::try_from(n) else {
        return checker.fail(|| errors::bad_length(n, call.args[2].span));
    };
    if let (Some(x), Some(y)) = (constant::text_of(&a), constant::text_of(&b)) {
        let cut = |t: &[u8]| t.iter().copied().take(n as usize).collect::<Vec<u8>>();
        return Some(constant::constant(i128::from(cut(x) != cut(y)), Type::I64, span));
    }
    let mut differs = compare::equal(BinaryOp::Ne, a, b, span);
    if let ExprKind::Equal { len, .. } = &mut differs.kind {
        *len = Some(n);
    }
    checker.convert(differs, &Type::I64)
}

fn strcontains(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let found = strstr(checker, call)?;
    let zero = Box::new(Expr::int(0, Type::I64, call.span));
    if let Some(v) = constant::value_of(&found) {
        return Some(constant::boolean(v >= 0, call.span));
    }
    let kind = ExprKind::Compare { op: BinaryOp::Ge, left: Box::new(found), right: zero };
    Some(Expr { kind, ty: Type::Bool, span: call.span })
}

/// The bytes of text before its first NUL.
fn before_nul(text: &[u8]) -> &[u8] {
    text.split(|b| *b == 0).next().unwrap_or_default()
}

/// How many pairs of bytes a search may compare at most: each is looked at by the kernel verifier.
const MOST_COMPARED: u64 = 1 << 14;

fn strstr(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let (haystack, needle) = (text(checker, call, 0), text(checker, call, 1));
    let (haystack, mut needle) = (haystack?, needle?);
    let span = call.span;
    if let Some(bytes) = constant::text_of(&needle) {
        let wanted = before_nul(bytes).to_vec();
        if let Some(bytes) = constant::text_of(&haystack) {
            let bytes = before_nul(bytes);
            let at = if wanted.is_empty() {
                Some(0)
            } else {
                bytes.windows(wanted.len()).position(|w| w == wanted)
            };
            return Some(constant::constant(at.map_or(-1, |at| at as i128), Type::I64, span));
        }
        needle = constant::text(&wanted, needle.span);
    } else if u64::from(haystack.ty.size()) * u64::from(needle.ty.size()) > MOST_COMPARED {
        return checker.fail(|| errors::search_too_large(&haystack, &needle, MOST_COMPARED));
    }
    let kind = ExprKind::StrIndex { haystack: Box::new(haystack), needle: Box::new(needle) };
    Some(Expr { kind, ty: Type::I64, span })
}

fn str_concat(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let (a, b) = (text(checker, call, 0), text(checker, call, 1));
    let (a, b) = (a?, b?);
    let span = call.span;
    if let (Some(x), Some(y)) = (constant::text_of(&a), constant::text_of(&b)) {
        return Some(constant::text(&[before_nul(x), before_nul(y)].concat(), span));
    }
    // Either may be cut and so have no NUL.
    let cap = a.ty.size() + b.ty.size();
    let both = Expr { kind: ExprKind::StrConcat(Box::new(a), Box::new(b)), ty: Type::Str { cap }, span };
    checker.keepable(&both)?;
    Some(both)
}

fn strcap(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let value = checker.stored_value(call.args.first()?)?;
    let value = checker.point_text(value);
    match &value.ty {
        Type::Str { cap } => Some(constant::constant(i128::from(*cap), Type::I64, call.span)),
        Type::Array { elem, len } if matches!(**elem, Type::Int { bits: 8, .. }) => {
            Some(constant::constant(i128::from(*len), Type::I64, call.span))
        }
        Type::Ptr { .. } => {
            let length = strlen(checker, call)?;
            checker.convert(length, &Type::I64)
        }
        _ => checker.fail(|| errors::not_text(call.name, &value)),
    }
}

fn memcmp(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let (a, b) = (checker.stored_value(call.args.first()?), checker.stored_value(call.args.get(1)?));
    let count = checker.integer_argument(call.args.get(2)?, &Type::U64);
    let (a, b, count) = (a?, b?, count?);
    for value in [&a, &b] {
        let bytes =
            matches!(value.ty, Type::Str { .. } | Type::Buf { .. } | Type::Array { .. } | Type::Tuple(_));
        if !bytes {
            return checker.fail(|| errors::not_bytes(call.name, value));
        }
    }
    let size = |ty: &Type| if let Type::Buf { cap } = ty { *cap } else { ty.size() };
    let most = size(&a.ty).min(size(&b.ty));
    if let Some(n) = constant::value_of(&count).filter(|n| *n > i128::from(most)) {
        return checker.fail(|| errors::compares_too_much(n, most, call.args[2].span));
    }
    let kind = ExprKind::MemCompare { left: Box::new(a), right: Box::new(b), count: Box::new(count) };
    Some(Expr { kind, ty: Type::I32, span: call.span })
}

fn join(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<StmtKind> {
    let value = checker.stored_value(call.args.first()?)?;
    let delimiter = match call.args.get(1) {
        Some(_) => checker.constant_text(call, 1, "the delimiter")?,
        None => " ".to_owned(),
    };
    let argv = address(checker, call, value)?;
    Some(StmtKind::Join { argv, delimiter })
}
