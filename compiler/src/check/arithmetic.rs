//! Arithmetic: operators on integers and pointers, and `++` and `--`.
//!
//! As in bpftrace, arithmetic is done in 64 bits. The result is unsigned if both operands are (a
//! positive literal goes along with an unsigned operand), and signed otherwise and for subtraction.

use memql_grammar::ast::{self, BinaryOp, ExprKind as Ast, Span, UnaryOp};

use super::Checker;
use super::constant::{self, Folded};
use super::diagnostics::types;
use super::shape::{Shape, int_bits};
use crate::hir::{Expr, ExprKind};
use crate::types::Type;

impl Checker<'_> {
    /// `a op b`
    pub(crate) fn binary(
        &mut self,
        op: BinaryOp,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
    ) -> Option<Expr> {
        match op {
            BinaryOp::And | BinaryOp::Or => self.logical(op, left, right, span),
            BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
                self.comparison(op, left, right, span)
            }
            _ => {
                let (a, b) = (self.stored_value(left), self.stored_value(right));
                self.arithmetic(op, a?, b?, span)
            }
        }
    }

    /// `&&` and `||`; a constant side decides without the other being known.
    fn logical(&mut self, op: BinaryOp, left: &ast::Expr, right: &ast::Expr, span: Span) -> Option<Expr> {
        let decisive = op == BinaryOp::Or;
        let truth = |e: &Option<Expr>| e.as_ref().and_then(constant::truth_of);
        let a = self.condition(left);
        let b = self.unless_dead(truth(&a) == Some(decisive), |checker| checker.condition(right));
        match (truth(&a), truth(&b)) {
            (Some(x), _) if x == decisive => return Some(constant::boolean(decisive, span)),
            // What the left side does (a `delete`) must still happen, unless it does nothing.
            (_, Some(y)) if y == decisive && a.as_ref().is_none_or(without_effect) => {
                return Some(constant::boolean(decisive, span));
            }
            (Some(_), Some(_)) => return Some(constant::boolean(!decisive, span)),
            (Some(_), None) => return self.truth_value(b?, span),
            (None, Some(y)) if y != decisive => return self.truth_value(a?, span),
            _ => {}
        }
        let (a, b) = (Box::new(a?), Box::new(b?));
        let kind = if op == BinaryOp::And { ExprKind::And(a, b) } else { ExprKind::Or(a, b) };
        Some(Expr { kind, ty: Type::Bool, span })
    }

    /// A scalar as a truth value.
    pub(crate) fn truth_value(&mut self, value: Expr, span: Span) -> Option<Expr> {
        if value.ty == Type::Bool {
            return Some(Expr { span, ..value });
        }
        let zero = Expr::int(0, value.ty.clone(), span);
        let kind = ExprKind::Compare { op: BinaryOp::Ne, left: Box::new(value), right: Box::new(zero) };
        Some(Expr { kind, ty: Type::Bool, span })
    }

    /// Arithmetic on checked operands.
    pub(crate) fn arithmetic(&mut self, op: BinaryOp, a: Expr, b: Expr, span: Span) -> Option<Expr> {
        if let (Type::Ptr { .. }, _) | (_, Type::Ptr { .. }) = (&a.ty, &b.ty) {
            return self.pointer_arithmetic(op, a, b, span);
        }
        if let (BinaryOp::Add, Some(x), Some(y)) = (op, constant::text_of(&a), constant::text_of(&b)) {
            return Some(constant::text(&[x, y].concat(), span));
        }
        if !is_integer(&a.ty) || !is_integer(&b.ty) {
            return self.fail(|| types::not_integers(op, &a, &b));
        }
        let ty = result_type(op, &a, &b);
        if let (Some(x), Some(y)) = (constant::value_of(&a), constant::value_of(&b)) {
            let spans = (b.span, span);
            return self.fold(op, (x, constant::is_literal(&a)), (y, constant::is_literal(&b)), ty, spans);
        }
        if matches!(op, BinaryOp::Div | BinaryOp::Mod) && constant::value_of(&b) == Some(0) {
            return self.fail(|| types::division_by_zero(b.span));
        }
        let shift = matches!(op, BinaryOp::Shl | BinaryOp::Shr);
        if shift && constant::value_of(&b).is_some_and(|n| !(0..64).contains(&n)) {
            return self.fail(|| types::bad_shift(b.span));
        }
        // Subtraction is signed by definition, which is no surprise worth a warning.
        let quiet = op == BinaryOp::Sub;
        let left = Box::new(self.widen(a, &ty, quiet)?);
        let right =
            Box::new(if shift { self.widen(b, &Type::U64, true)? } else { self.widen(b, &ty, quiet)? });
        Some(Expr { kind: ExprKind::Binary { op, left, right }, ty, span })
    }

    fn widen(&mut self, value: Expr, ty: &Type, quiet: bool) -> Option<Expr> {
        if quiet { self.convert(value, ty) } else { self.implicit(value, ty) }
    }

    /// Constants: exact for literals, wrapping where a type was chosen.
    fn fold(
        &mut self,
        op: BinaryOp,
        a: (i128, bool),
        b: (i128, bool),
        ty: Type,
        (right, span): (Span, Span),
    ) -> Option<Expr> {
        let literal = a.1 && b.1;
        match constant::fold(op, a.0, b.0)? {
            Folded::ZeroDivisor => self.fail(|| types::division_by_zero(right)),
            Folded::BadShift => self.fail(|| types::bad_shift(right)),
            Folded::Overflow => self.fail(|| types::constant_overflow(span)),
            Folded::Value(v) if literal => match constant::literal(v, span) {
                Some(value) => Some(value),
                None => self.fail(|| types::constant_overflow(span)),
            },
            Folded::Value(v) => Some(constant::constant(constant::in_type(v, &ty), ty, span)),
        }
    }

    /// `p + n`, `p - n`: in units of what is pointed to.
    fn pointer_arithmetic(&mut self, op: BinaryOp, a: Expr, b: Expr, span: Span) -> Option<Expr> {
        let (pointer, count) = match (&a.ty, &b.ty, op) {
            (Type::Ptr { .. }, n, BinaryOp::Add | BinaryOp::Sub) if is_integer(n) => (a, b),
            (n, Type::Ptr { .. }, BinaryOp::Add) if is_integer(n) => (b, a),
            _ => return self.fail(|| types::pointer_operator(op, &a, &b, span)),
        };
        let Type::Ptr { to, .. } = &pointer.ty else { return None };
        let size = i128::from(to.size().max(1));
        let ty = pointer.ty.clone();
        let bytes = self.scaled(count, size, span)?;
        let kind = ExprKind::Binary { op, left: Box::new(pointer), right: Box::new(bytes) };
        Some(Expr { kind, ty, span })
    }

    /// An integer times a constant, as an `int64` of bytes.
    pub(crate) fn scaled(&mut self, count: Expr, size: i128, span: Span) -> Option<Expr> {
        if let Some(n) = constant::value_of(&count) {
            return match n.checked_mul(size).and_then(|bytes| i64::try_from(bytes).ok()) {
                Some(bytes) => Some(Expr::int(bytes, Type::I64, span)),
                None => self.fail(|| types::constant_overflow(span)),
            };
        }
        let count = self.convert(count, &Type::I64)?;
        if size == 1 {
            return Some(count);
        }
        let right = Box::new(Expr::int(size as i64, Type::I64, span));
        Some(Expr {
            kind: ExprKind::Binary { op: BinaryOp::Mul, left: Box::new(count), right },
            ty: Type::I64,
            span,
        })
    }

    /// `-x`, `!x`, `~x`, `&x`
    pub(crate) fn unary(&mut self, op: UnaryOp, operand: &ast::Expr, span: Span) -> Option<Expr> {
        match op {
            UnaryOp::Not => {
                let value = self.condition(operand)?;
                if let Some(truth) = constant::truth_of(&value) {
                    return Some(constant::boolean(!truth, span));
                }
                Some(Expr { kind: ExprKind::Not(Box::new(value)), ty: Type::Bool, span })
            }
            UnaryOp::Neg | UnaryOp::BitNot => self.negate(op, operand, span),
            UnaryOp::AddressOf => self.address_of(operand, span),
            UnaryOp::Deref => self.deref(operand, span),
            UnaryOp::Comptime => self.comptime(operand, span),
        }
    }

    fn negate(&mut self, op: UnaryOp, operand: &ast::Expr, span: Span) -> Option<Expr> {
        let value = self.stored_value(operand)?;
        if !is_integer(&value.ty) {
            return self.fail(|| types::unary_operand(op, &value, span));
        }
        if let (Some(v), true) = (constant::value_of(&value), constant::is_literal(&value)) {
            // The complement of a literal is a mask: unsigned, so that `nsecs & ~0xfff` stays so.
            let exact = if op == UnaryOp::Neg { -v } else { constant::in_type(!v, &Type::U64) };
            return match constant::literal(exact, span) {
                Some(value) => Some(value),
                None => self.fail(|| types::constant_overflow(span)),
            };
        }
        let signed = op == UnaryOp::Neg || value.ty.is_signed();
        let ty = Type::Int { bits: 64, signed };
        let operand = self.convert(value, &ty)?;
        if let Some(v) = constant::value_of(&operand) {
            let exact = if op == UnaryOp::Neg { -v } else { !v };
            return Some(constant::constant(constant::in_type(exact, &ty), ty, span));
        }
        let kind = if op == UnaryOp::Neg {
            ExprKind::Neg(Box::new(operand))
        } else {
            ExprKind::BitNot(Box::new(operand))
        };
        Some(Expr { kind, ty, span })
    }

    /// `x++` and the like: of a variable or a map.
    pub(crate) fn inc_dec(
        &mut self,
        place: &ast::Expr,
        increment: bool,
        postfix: bool,
        span: Span,
    ) -> Option<Expr> {
        let step = if increment { 1 } else { -1 };
        match &place.kind {
            Ast::Var(name) => {
                let Some(binding) = self.probe.scopes.find(&name.text).cloned() else {
                    return self.unknown_var(name);
                };
                if binding.constant {
                    return self.fail(|| types::assign_loop_variable(name, binding.site.1));
                }
                self.mark_assigned(name);
                self.start_from_zero(name, span);
                let current = self.read_var(name)?;
                let (ty, delta) = match self.stepped(&current.ty, increment) {
                    Some((ty, scale)) => (ty, step * scale),
                    None => return self.fail(|| types::not_countable(&current, span)),
                };
                if binding.declared.is_none() {
                    self.now.learn_var(binding.site, Shape::Known(ty), span);
                }
                let ty = self.slot_of(&binding)?;
                Some(Expr { kind: ExprKind::IncDecVar { var: binding.id, delta, postfix }, ty, span })
            }
            Ast::Map { name, key } => {
                let (map, key) = self.map_key(name, key.as_deref(), place.span)?;
                let current = self.map_facts(&name.text).value.map(|l| l.shape.ty());
                let (ty, delta) = match self.stepped(current.as_ref().unwrap_or(&Type::I64), increment) {
                    Some((ty, scale)) => (ty, step * scale),
                    None => {
                        self.learn_map(name, None, span);
                        let current = current.unwrap_or(Type::I64);
                        let first = self.map_facts(&name.text).value.map(|l| l.span);
                        return self
                            .fail(|| super::diagnostics::maps::not_countable(name, &current, span, first));
                    }
                };
                self.learn_map(name, Some(Shape::Known(ty)), span);
                let ty = self.map_facts(&name.text).value?.shape.ty();
                Some(Expr {
                    kind: ExprKind::IncDecMap { map, key: key.map(Box::new), delta, postfix },
                    ty,
                    span,
                })
            }
            _ => self.fail(|| types::not_a_place(place.span)),
        }
    }

    /// The type that counting up or down gives, and the step in its units.
    fn stepped(&self, ty: &Type, increment: bool) -> Option<(Type, i64)> {
        match ty {
            Type::Int { .. } | Type::Enum { .. } => {
                Some((Type::Int { bits: 64, signed: !increment || ty.is_signed() }, 1))
            }
            Type::Ptr { to, .. } => Some((ty.clone(), i64::from(to.size().max(1)))),
            _ => None,
        }
    }
}

/// Whether arithmetic takes it.
pub(crate) fn is_integer(ty: &Type) -> bool {
    matches!(ty, Type::Int { .. } | Type::Bool | Type::Enum { .. })
}

/// The type of `a op b`.
pub(crate) fn result_type(op: BinaryOp, a: &Expr, b: &Expr) -> Type {
    let positive_literal =
        |e: &Expr| constant::is_literal(e) && constant::value_of(e).is_some_and(|v| v >= 0);
    let unsigned = |e: &Expr| int_bits(&e.ty) > 0 && !e.ty.is_signed();
    let shift = matches!(op, BinaryOp::Shl | BinaryOp::Shr);
    let is_unsigned = match op {
        BinaryOp::Sub => false,
        _ if shift => unsigned(a) || (positive_literal(a) && unsigned(b)),
        _ => (unsigned(a) && (unsigned(b) || positive_literal(b))) || (positive_literal(a) && unsigned(b)),
    };
    Type::Int { bits: 64, signed: !is_unsigned }
}

/// Whether leaving an expression out changes nothing.
pub(crate) fn without_effect(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Int(_)
        | ExprKind::Text(_)
        | ExprKind::Var(_)
        | ExprKind::Builtin(_)
        | ExprKind::CtxLoad { .. }
        | ExprKind::ProgramResult => true,
        ExprKind::Compare { left, right, .. }
        | ExprKind::Binary { left, right, .. }
        | ExprKind::Equal { left, right, .. } => without_effect(left) && without_effect(right),
        ExprKind::And(a, b) | ExprKind::Or(a, b) => without_effect(a) && without_effect(b),
        ExprKind::Not(a) | ExprKind::Cast(a) => without_effect(a),
        _ => false,
    }
}
