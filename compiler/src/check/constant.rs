//! Constants: making them, recognising them, and computing with them exactly.
//!
//! A bare [`ExprKind::Int`] is a literal whose type can still adapt; a constant whose type was chosen
//! (a cast, an option, `sizeof`) is a cast of one, so that `(int64)1 + pid` stays signed.

use memql_grammar::ast::{BinaryOp, Span};

use super::shape::literal_type;
use crate::hir::{Expr, ExprKind};
use crate::types::Type;

/// A literal, if it fits 64 bits.
pub(crate) fn literal(value: i128, span: Span) -> Option<Expr> {
    // A literal above the largest int64 keeps its bits; the type says that they are unsigned.
    literal_type(value).map(|ty| Expr::int(value as i64, ty, span))
}

/// A constant of a chosen type.
pub(crate) fn constant(value: i128, ty: Type, span: Span) -> Expr {
    let inner = Expr::int(value as i64, if value < 0 { Type::I64 } else { Type::U64 }, span);
    Expr { kind: ExprKind::Cast(Box::new(inner)), ty, span }
}

/// A constant truth value.
pub(crate) fn boolean(value: bool, span: Span) -> Expr {
    Expr::int(i64::from(value), Type::Bool, span)
}

/// Constant text.
pub(crate) fn text(bytes: &[u8], span: Span) -> Expr {
    Expr { kind: ExprKind::Text(bytes.to_vec()), ty: Type::Str { cap: bytes.len() as u32 + 1 }, span }
}

/// The value of a constant of a scalar type, as its type reads it.
pub(crate) fn value_of(expr: &Expr) -> Option<i128> {
    match (&expr.kind, &expr.ty) {
        (ExprKind::Int(v), ty) => Some(in_type(i128::from(*v), ty)),
        (ExprKind::Cast(inner), ty) if ty.is_scalar() => value_of(inner).map(|v| in_type(v, ty)),
        _ => None,
    }
}

/// Whether a scalar or text is a constant that is true or false.
pub(crate) fn truth_of(expr: &Expr) -> Option<bool> {
    match &expr.kind {
        ExprKind::Text(bytes) => Some(!bytes.is_empty()),
        _ => value_of(expr).map(|v| v != 0),
    }
}

/// The text of a constant string.
pub(crate) fn text_of(expr: &Expr) -> Option<&[u8]> {
    match &expr.kind {
        ExprKind::Text(bytes) if matches!(expr.ty, Type::Str { .. }) => Some(bytes),
        ExprKind::Cast(inner) if matches!(expr.ty, Type::Str { .. }) => text_of(inner),
        _ => None,
    }
}

/// Whether it is a literal that can still take another type.
pub(crate) fn is_literal(expr: &Expr) -> bool {
    matches!((&expr.kind, &expr.ty), (ExprKind::Int(_), Type::Int { .. }))
}

/// A value truncated to a type's width and read with its sign.
pub(crate) fn in_type(value: i128, ty: &Type) -> i128 {
    let (bits, signed) = match ty {
        Type::Int { bits, signed } | Type::Enum { bits, signed, .. } => (u32::from(*bits), *signed),
        Type::Bool => return i128::from(value != 0),
        _ => (64, false),
    };
    let low = value & ((1i128 << bits) - 1);
    if signed && low >> (bits - 1) & 1 == 1 { low - (1i128 << bits) } else { low }
}

/// What an operation on constants gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folded {
    /// The exact result.
    Value(i128),
    /// The divisor is zero.
    ZeroDivisor,
    /// The shift count is negative or 64 and more.
    BadShift,
    /// The result does not even fit 128 bits.
    Overflow,
}

/// Computes with exact values; `None` for what is no arithmetic.
pub(crate) fn fold(op: BinaryOp, a: i128, b: i128) -> Option<Folded> {
    let value = match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => match a.checked_mul(b) {
            Some(product) => product,
            None => return Some(Folded::Overflow),
        },
        BinaryOp::Div | BinaryOp::Mod if b == 0 => return Some(Folded::ZeroDivisor),
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::BitAnd => a & b,
        BinaryOp::BitOr => a | b,
        BinaryOp::BitXor => a ^ b,
        BinaryOp::Shl | BinaryOp::Shr if !(0..64).contains(&b) => return Some(Folded::BadShift),
        // At most 64 bits shifted by at most 63: fits 128.
        BinaryOp::Shl => a << b,
        BinaryOp::Shr => a >> b,
        BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge
        | BinaryOp::And
        | BinaryOp::Or => return None,
    };
    Some(Folded::Value(value))
}

/// Compares exact values; `None` for what is no comparison.
pub(crate) fn compare<T: PartialOrd>(op: BinaryOp, a: T, b: T) -> Option<bool> {
    Some(match op {
        BinaryOp::Eq => a == b,
        BinaryOp::Ne => a != b,
        BinaryOp::Lt => a < b,
        BinaryOp::Le => a <= b,
        BinaryOp::Gt => a > b,
        BinaryOp::Ge => a >= b,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_wrap_to_their_type() {
        assert_eq!(in_type(300, &Type::Int { bits: 8, signed: false }), 44);
        assert_eq!(in_type(255, &Type::Int { bits: 8, signed: true }), -1);
        assert_eq!(in_type(-1, &Type::U64), i128::from(u64::MAX));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let max = i128::from(u64::MAX);
        assert_eq!(fold(BinaryOp::Mul, max, max), Some(Folded::Overflow));
        assert_eq!(fold(BinaryOp::Shl, max, 63), Some(Folded::Value(max << 63)));
        assert_eq!(fold(BinaryOp::Div, i128::from(i64::MIN), -1), Some(Folded::Value(1 << 63)));
        assert_eq!(fold(BinaryOp::Div, 1, 0), Some(Folded::ZeroDivisor));
    }
}
