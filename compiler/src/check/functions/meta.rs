//! What is decided while compiling: kinds of expressions, assertions, the kernel's functions.

use memql_grammar::ast::{self, Expr as AstExpr, ExprKind as Ast, Name, Span, UnaryOp};

use super::{Call, Checks, Entry};
use crate::check::diagnostics::functions as errors;
use crate::check::{Checker, constant};
use crate::hir::{Expr, ExprKind, StmtKind};
use crate::plan::{Format, FormatPiece, Verb};
use crate::types::{TupleField, Type};

pub(super) const ENTRIES: &[Entry] = &[
    Entry::new("is_array", "bool is_array(expression)", "whether it is an array", Checks::Value(is_array))
        .takes(1, 1),
    Entry::new(
        "is_integer",
        "bool is_integer(expression)",
        "whether it is an integer",
        Checks::Value(is_integer),
    )
    .takes(1, 1),
    Entry::new(
        "is_unsigned_integer",
        "bool is_unsigned_integer(expression)",
        "whether it is an integer without a sign",
        Checks::Value(is_unsigned_integer),
    )
    .takes(1, 1),
    Entry::new("is_ptr", "bool is_ptr(expression)", "whether it is a pointer", Checks::Value(is_ptr))
        .takes(1, 1),
    Entry::new("is_str", "bool is_str(expression)", "whether it is a string", Checks::Value(is_str))
        .takes(1, 1),
    Entry::new(
        "is_literal",
        "bool is_literal(expression)",
        "whether it is written as a literal",
        Checks::Value(is_literal),
    )
    .takes(1, 1),
    Entry::new(
        "is_err",
        "bool is_err(pointer)",
        "whether a kernel pointer is an error number in disguise",
        Checks::Value(is_err),
    )
    .takes(1, 1),
    Entry::new(
        "exists",
        "bool exists(expression)",
        "whether this kernel has the fields, types and symbols that it uses; a constant",
        Checks::Value(exists),
    )
    .takes(1, 1),
    Entry::new(
        "assert",
        "void assert(bool condition, string message)",
        "ends the run with an error unless the condition holds",
        Checks::Effect(assert),
    )
    .takes(2, 2),
    Entry::new(
        "static_assert",
        "void static_assert(const bool condition, const string message)",
        "stops the compilation unless the condition holds",
        Checks::Effect(static_assert),
    )
    .takes(2, 2),
    Entry::new(
        "fail",
        "void fail(const string format, ...)",
        "stops the compilation if it could be reached; all arguments are constants",
        Checks::Effect(fail),
    )
    .takes_at_least(1),
    Entry::new(
        "assert_str",
        "void assert_str(expression)",
        "stops the compilation unless it is a string, or points to one",
        Checks::Effect(assert_str),
    )
    .takes(1, 1),
    Entry::new(
        "default_str_length",
        "uint64 default_str_length",
        "the capacity of strings whose length nothing else says",
        Checks::Value(default_str_length),
    )
    .bare(),
    Entry::new("config", "record config", "the settings, as fields", Checks::Value(config)).bare(),
    Entry::new(
        "kfunc_exist",
        "bool kfunc_exist(const string name)",
        "whether the kernel has this function for eBPF programs",
        Checks::Value(kfunc_exist),
    )
    .takes(1, 1),
    Entry::new(
        "kfunc_allowed",
        "bool kfunc_allowed(const string name)",
        "whether memql can call this function of the kernel here; it calls none",
        Checks::Value(kfunc_allowed),
    )
    .takes(1, 1),
    Entry::new(
        "container_of",
        "T *container_of(pointer, type T, member)",
        "the struct around a member",
        Checks::Value(container_of),
    )
    .takes(3, 3),
];

/// The type of an argument, which may also be a type as such.
fn argument_type(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Type> {
    match &call.args.first()?.kind {
        Ast::Type(ty) => checker.type_of(ty),
        _ => checker.expr(&call.args[0]).map(|e| e.ty),
    }
}

fn kind_is(checker: &mut Checker<'_>, call: &Call<'_>, is: fn(&Type) -> bool) -> Option<Expr> {
    let ty = argument_type(checker, call)?;
    Some(constant::boolean(is(&ty), call.span))
}

/// What this kernel lacks is an answer here, and any other mistake remains one.
fn exists(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let value = checker.unless_dead(true, |checker| checker.unevaluated(&call.args[0]));
    Some(constant::boolean(value.is_some(), call.span))
}

fn is_array(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    kind_is(checker, call, |ty| matches!(ty, Type::Array { .. }))
}

fn is_integer(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    kind_is(checker, call, |ty| matches!(ty, Type::Int { .. }))
}

fn is_unsigned_integer(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    kind_is(checker, call, |ty| matches!(ty, Type::Int { signed: false, .. }))
}

fn is_ptr(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    kind_is(checker, call, |ty| matches!(ty, Type::Ptr { .. }))
}

fn is_str(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    kind_is(checker, call, |ty| matches!(ty, Type::Str { .. } | Type::Point(_)))
}

fn is_literal(_: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let literal = match &call.args.first()?.kind {
        Ast::Int(_) | Ast::Bool(_) | Ast::Str(_) | Ast::Positional(_) | Ast::PositionalCount => true,
        Ast::Unary { op: UnaryOp::Neg, operand } => matches!(operand.kind, Ast::Int(_)),
        _ => false,
    };
    Some(constant::boolean(literal, call.span))
}

/// The largest error number that a kernel pointer can be (`MAX_ERRNO`, include/linux/err.h).
const MAX_ERRNO: i128 = 4095;

fn is_err(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let span = call.span;
    let value = checker.integer_argument(call.args.first()?, &Type::U64)?;
    let least = constant::constant(i128::from(u64::MAX) - MAX_ERRNO + 1, Type::U64, span);
    let kind = ExprKind::Compare { op: ast::BinaryOp::Ge, left: Box::new(value), right: Box::new(least) };
    Some(Expr { kind, ty: Type::Bool, span })
}

/// `if (!condition) { errorf("assert failed: %s", message); exit(1); }`
fn assert(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<StmtKind> {
    let span = call.span;
    let name = |text: &str| Name { text: text.to_owned(), span };
    let expr = |kind| AstExpr { kind, span };
    let call_of = |function: &str, args: Vec<AstExpr>| ast::Stmt {
        kind: ast::StmtKind::Expr(expr(Ast::Call { name: name(function), args })),
        span,
    };
    let literal = ast::StrLit { bytes: b"assert failed: %s".to_vec(), span };
    let told = call_of("errorf", vec![expr(Ast::Str(literal)), call.args[1].clone()]);
    let ended = call_of("exit", vec![expr(Ast::Int(1))]);
    let operand = Box::new(call.args[0].clone());
    let block = ast::Stmt {
        kind: ast::StmtKind::If {
            cond: expr(Ast::Unary { op: UnaryOp::Not, operand }),
            then: ast::Block { stmts: vec![told, ended], value: None, span, expanded_from: None },
            otherwise: None,
        },
        span,
    };
    Some(StmtKind::Block(checker.stmts(&[block])))
}

fn nothing() -> Option<StmtKind> {
    Some(StmtKind::Block(Vec::new()))
}

fn static_assert(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<StmtKind> {
    let cond = checker.condition(call.args.first()?);
    let message = checker.constant_text(call, 1, "the message");
    let (cond, message) = (cond?, message?);
    match constant::truth_of(&cond) {
        Some(true) => nothing(),
        Some(false) => stop(checker, &message, call.span),
        None => checker.fail(|| errors::not_a_constant(call.name, "the condition", call.args[0].span)),
    }
}

/// Ends the compilation, where the place can be reached.
fn stop(checker: &mut Checker<'_>, message: &str, span: Span) -> Option<StmtKind> {
    if checker.dead > 0 || !checker.is_final() {
        return nothing();
    }
    checker.fail(|| errors::script_says_no(message, span))
}

fn fail(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<StmtKind> {
    let (format, args) = super::output::formatted(checker, call)?;
    if checker.dead > 0 || !checker.is_final() {
        return nothing();
    }
    for arg in &args {
        if constant::value_of(arg).is_none() && constant::text_of(arg).is_none() {
            return checker.fail(|| errors::not_a_constant(call.name, "an argument", arg.span));
        }
    }
    let message = constant_format(&format, &args);
    stop(checker, &message, call.span)
}

/// A format executed on constants. Widths and flags are for columns, of which a message has none.
fn constant_format(format: &Format, args: &[Expr]) -> String {
    let mut text = String::new();
    let mut args = args.iter();
    for piece in &format.pieces {
        match piece {
            FormatPiece::Text(bytes) => text.push_str(&String::from_utf8_lossy(bytes)),
            FormatPiece::Conversion(conversion) => {
                let Some(arg) = args.next() else { continue };
                match (constant::text_of(arg), constant::value_of(arg), conversion.verb) {
                    (Some(bytes), _, _) => text.push_str(&String::from_utf8_lossy(bytes)),
                    (None, Some(v), Verb::Hex | Verb::Pointer) => text.push_str(&format!("{:x}", v as u64)),
                    (None, Some(v), _) if arg.ty == Type::Bool => text.push_str(&(v != 0).to_string()),
                    (None, Some(v), _) => text.push_str(&v.to_string()),
                    (None, None, _) => {}
                }
            }
        }
    }
    text
}

fn assert_str(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<StmtKind> {
    let char_like = |ty: &Type| matches!(ty, Type::Int { bits: 8, .. });
    match argument_type(checker, call)? {
        Type::Str { .. } | Type::Point(_) => nothing(),
        Type::Array { elem, .. } if char_like(&elem) => nothing(),
        Type::Ptr { to, .. } if char_like(&to) => nothing(),
        other => {
            let message = format!("expected a string, or an array or pointer of characters, found `{other}`");
            stop(checker, &message, call.span)
        }
    }
}

fn default_str_length(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    Some(constant::constant(i128::from(checker.settings.max_strlen), Type::U64, call.span))
}

fn config(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let span = call.span;
    let (mut fields, mut values) = (Vec::new(), Vec::new());
    for (name, shown) in checker.settings.shown() {
        let value = match shown {
            crate::check::settings::Shown::Number(n) => constant::constant(i128::from(n), Type::U64, span),
            crate::check::settings::Shown::Truth(truth) => constant::boolean(truth, span),
            crate::check::settings::Shown::Text(text) => constant::text(text.as_bytes(), span),
        };
        fields.push(TupleField { name: Some(name.to_owned()), ty: value.ty.clone() });
        values.push(value);
    }
    Some(Expr { kind: ExprKind::Tuple(values), ty: Type::Tuple(fields), span })
}

fn kfunc_exist(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let name = checker.constant_text(call, 0, "the function's name")?;
    let exists = checker.btf(call.span, "`kfunc_exist`")?.function(&name).is_some();
    Some(constant::boolean(exists, call.span))
}

fn kfunc_allowed(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    checker.constant_text(call, 0, "the function's name")?;
    Some(constant::boolean(false, call.span))
}

/// `(T *)((uint64)pointer - offsetof(T, member))`
fn container_of(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let span = call.span;
    let value = checker.stored_value(call.args.first()?);
    let to = match &call.args[1].kind {
        Ast::Type(ty) => checker.type_of(ty)?,
        _ => checker.expr(&call.args[1])?.ty,
    };
    let inner = Call { name: call.name, args: &call.args[1..], span };
    let offset = super::kinds::offsetof(checker, &inner)?;
    let value = value?;
    let Type::Ptr { space, .. } = value.ty else {
        return checker.fail(|| errors::not_an_address(call.name, &value));
    };
    let ty = Type::Ptr { to: Box::new(to), space };
    let base = Expr { kind: ExprKind::Cast(Box::new(value)), ty: ty.clone(), span };
    let right = Box::new(checker.convert(offset, &Type::I64)?);
    Some(Expr { kind: ExprKind::Binary { op: ast::BinaryOp::Sub, left: Box::new(base), right }, ty, span })
}
