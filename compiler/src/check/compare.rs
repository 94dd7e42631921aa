//! Comparisons, of integers, pointers, strings, and values as a whole.

use memql_grammar::ast::{self, BinaryOp, Span};

use super::arithmetic::is_integer;
use super::diagnostics::types;
use super::shape::{Shape, int_bits};
use super::{Checker, constant};
use crate::hir::{Builtin, Expr, ExprKind};
use crate::types::{PointText, Type};

impl Checker<'_> {
    /// `a == b`, `a < b`...
    pub(crate) fn comparison(
        &mut self,
        op: BinaryOp,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
    ) -> Option<Expr> {
        let (a, b) = (self.stored_value(left), self.stored_value(right));
        let (a, b) = (self.point_text(a?), self.point_text(b?));
        if let (Some(x), Some(y)) = (constant::text_of(&a), constant::text_of(&b)) {
            return Some(constant::boolean(constant::compare(op, x, y)?, span));
        }
        if let (Some(x), Some(y)) = (constant::value_of(&a), constant::value_of(&b)) {
            return Some(constant::boolean(constant::compare(op, x, y)?, span));
        }
        let equality = matches!(op, BinaryOp::Eq | BinaryOp::Ne);
        match (&a.ty, &b.ty) {
            (x, y) if is_integer(x) && is_integer(y) => self.compare_integers(op, a, b, span),
            (Type::Ptr { .. }, Type::Ptr { .. }) => self.compare_as(op, a, b, Type::U64, span),
            (Type::Ptr { .. }, y) if is_integer(y) => self.compare_as(op, a, b, Type::U64, span),
            (x, Type::Ptr { .. }) if is_integer(x) => self.compare_as(op, a, b, Type::U64, span),
            (Type::Str { .. }, Type::Str { .. }) if equality => Some(equal(op, a, b, span)),
            (Type::Ksym, Type::Ksym) if equality => self.compare_as(op, a, b, Type::Ksym, span),
            _ if equality => self.compare_whole(op, a, b, span),
            _ => self.fail(|| types::compare_mismatch(op, &a, &b)),
        }
    }

    fn compare_integers(&mut self, op: BinaryOp, a: Expr, b: Expr, span: Span) -> Option<Expr> {
        let ty = match (adapted(&a, &b), adapted(&b, &a)) {
            (Some(ty), _) | (None, Some(ty)) => ty,
            (None, None) => Shape::of(&a).join(&Shape::of(&b))?.ty(),
        };
        // A truth value stays one; everything narrower than a register is compared extended.
        let ty = if ty == Type::Bool || int_bits(&ty) == 64 {
            ty
        } else {
            Type::Int { bits: 64, signed: ty.is_signed() }
        };
        let left = Box::new(self.implicit(a, &ty)?);
        let right = Box::new(self.implicit(b, &ty)?);
        Some(Expr { kind: ExprKind::Compare { op, left, right }, ty: Type::Bool, span })
    }

    fn compare_as(&mut self, op: BinaryOp, a: Expr, b: Expr, ty: Type, span: Span) -> Option<Expr> {
        let left = Box::new(self.convert(a, &ty)?);
        let right = Box::new(self.convert(b, &ty)?);
        Some(Expr { kind: ExprKind::Compare { op, left, right }, ty: Type::Bool, span })
    }

    /// Tuples, arrays and buffers: equal in all their bytes.
    fn compare_whole(&mut self, op: BinaryOp, a: Expr, b: Expr, span: Span) -> Option<Expr> {
        let whole = |ty: &Type| matches!(ty, Type::Tuple(_) | Type::Array { .. } | Type::Buf { .. });
        let joined = if whole(&a.ty) && whole(&b.ty) { Shape::of(&a).join(&Shape::of(&b)) } else { None };
        let Some(joined) = joined else {
            return self.fail(|| types::compare_mismatch(op, &a, &b));
        };
        let ty = joined.ty();
        let (a, b) = (self.implicit(a, &ty)?, self.implicit(b, &ty)?);
        Some(equal(op, a, b, span))
    }

    /// `probe` and `func` as text, where the probe has one point and so one text.
    pub(crate) fn point_text(&self, expr: Expr) -> Expr {
        let ExprKind::Builtin(Builtin::Point(which)) = expr.kind else { return expr };
        match self.probe.points.as_slice() {
            [point] => {
                let shown = match which {
                    PointText::Probe => point.to_string(),
                    PointText::Func => point.function().unwrap_or_default().to_owned(),
                };
                constant::text(shown.as_bytes(), expr.span)
            }
            _ => expr,
        }
    }
}

/// The type to compare a constant with another value in: the other's, if the constant fits it.
fn adapted(value: &Expr, other: &Expr) -> Option<Type> {
    let v = constant::value_of(value)?;
    let wide = Type::Int { bits: 64, signed: other.ty.is_signed() };
    (other.ty != Type::Bool && constant::in_type(v, &wide) == v).then_some(wide)
}

/// Equality of values in memory.
pub(crate) fn equal(op: BinaryOp, a: Expr, b: Expr, span: Span) -> Expr {
    let kind =
        ExprKind::Equal { left: Box::new(a), right: Box::new(b), len: None, negate: op == BinaryOp::Ne };
    Expr { kind, ty: Type::Bool, span }
}
