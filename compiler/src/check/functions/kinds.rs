//! Types and addresses: what the compiler knows of them, and which memory they are in.

use memql_grammar::ast::{Expr as AstExpr, ExprKind as Ast, Name};

use super::{Call, Checks, Entry};
use crate::check::diagnostics::{functions as errors, types};
use crate::check::{Checker, constant};
use crate::hir::{Expr, ExprKind};
use crate::types::{AddrSpace, Type};

pub(super) const ENTRIES: &[Entry] = &[
    Entry::new("sizeof", "uint64 sizeof(type or expression)", "size in bytes", Checks::Value(sizeof))
        .takes(1, 1),
    Entry::new(
        "offsetof",
        "uint64 offsetof(struct type, field)",
        "offset of a field in bytes",
        Checks::Value(offsetof),
    )
    .takes(2, 2),
    Entry::new(
        "kptr",
        "T *kptr(T *)",
        "the address is of kernel memory",
        Checks::Value(|k, c| in_space(k, c, AddrSpace::Kernel)),
    )
    .takes(1, 1),
    Entry::new(
        "uptr",
        "T *uptr(T *)",
        "the address is of the process's memory",
        Checks::Value(|k, c| in_space(k, c, AddrSpace::User)),
    )
    .takes(1, 1),
    Entry::new("bswap", "uintN bswap(uintN)", "the bytes in reverse order", Checks::Value(bswap)).takes(1, 1),
];

fn sizeof(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let size = match &call.args.first()?.kind {
        Ast::Type(ty) => match checker.enumerator_as_type(ty) {
            Some(ty) => ty.size(),
            None => checker.type_of(ty)?.size(),
        },
        _ => checker.unevaluated(&call.args[0])?.ty.size(),
    };
    Some(constant::constant(i128::from(size), Type::U64, call.span))
}

pub(super) fn offsetof(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let base = match &call.args.first()?.kind {
        Ast::Type(ty) => checker.type_of(ty)?,
        _ => checker.unevaluated(&call.args[0])?.ty,
    };
    let base = match base {
        Type::Ptr { to, .. } => *to,
        other => other,
    };
    let mut path = Vec::new();
    if field_path(call.args.get(1)?, &mut path).is_none() {
        return checker.fail(|| errors::not_a_field(call.args[1].span));
    }
    let (mut ty, mut bits) = (base, 0u64);
    for name in path {
        let Type::Struct(of) = &ty else {
            return checker.fail(|| errors::offset_of_no_struct(&ty, name));
        };
        let of = of.clone();
        let field = checker.struct_field(&of, name)?;
        bits += u64::from(field.bit_offset);
        ty = checker.btf(name.span, "`offsetof`")?.lang_type(field.type_id, AddrSpace::Kernel);
    }
    Some(constant::constant(i128::from(bits / 8), Type::U64, call.span))
}

/// The names in `a.b.c`, outermost first; `None` for anything else.
fn field_path<'e>(expr: &'e AstExpr, path: &mut Vec<&'e Name>) -> Option<()> {
    match &expr.kind {
        Ast::Ident(name) => path.push(name),
        Ast::Field { base, name, .. } => {
            field_path(base, path)?;
            path.push(name);
        }
        _ => return None,
    }
    Some(())
}

fn in_space(checker: &mut Checker<'_>, call: &Call<'_>, space: AddrSpace) -> Option<Expr> {
    let value = checker.stored_value(call.args.first()?)?;
    let to = match &value.ty {
        Type::Ptr { to, .. } => to.clone(),
        Type::Int { bits: 64, .. } => Box::new(Type::Void),
        _ => return checker.fail(|| errors::not_an_address(call.name, &value)),
    };
    Some(Expr { kind: ExprKind::Cast(Box::new(value)), ty: Type::Ptr { to, space }, span: call.span })
}

fn bswap(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let value = checker.stored_value(call.args.first()?)?;
    let Type::Int { bits, .. } = value.ty else {
        return checker.fail(|| types::expected_integer(&value));
    };
    let ty = Type::Int { bits, signed: false };
    let value = checker.convert(value, &ty)?;
    if bits == 8 {
        return Some(value);
    }
    if let Some(v) = constant::value_of(&value) {
        let swapped = (v as u64).swap_bytes() >> (64 - u32::from(bits));
        return Some(constant::constant(i128::from(swapped), ty, call.span));
    }
    Some(Expr { kind: ExprKind::Bswap(Box::new(value)), ty, span: call.span })
}
