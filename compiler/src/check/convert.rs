//! Conversions: the implicit ones of assignments and operators, and casts.

use memql_grammar::ast::{self, Span, TypeExpr};

use super::diagnostics::types;
use super::shape::int_bits;
use super::{Checker, constant};
use crate::arch;
use crate::attach::{AttachPoint, ProgramKind};
use crate::hir::{Expr, ExprKind};
use crate::types::{AddrSpace, PointText, TupleField, Type};

impl Checker<'_> {
    /// Converts a value to the type that is wanted where it stands; warns where the value may change.
    /// `None` if there is no such conversion: the caller says so in its own words.
    pub(crate) fn implicit(&mut self, value: Expr, to: &Type) -> Option<Expr> {
        if may_change(&value, to) {
            self.warn(|| types::value_may_change(&value, to));
        }
        self.convert(value, to)
    }

    /// Converts a value to a type of its kind, without a word.
    pub(crate) fn convert(&mut self, value: Expr, to: &Type) -> Option<Expr> {
        if value.ty == *to {
            return Some(value);
        }
        let span = value.span;
        match (&value.ty, to) {
            (Type::Agg(_), _) => {
                let plain = self.plain(value)?;
                if matches!(plain.ty, Type::Agg(_)) { None } else { self.convert(plain, to) }
            }
            (Type::Int { .. } | Type::Bool | Type::Enum { .. }, Type::Int { .. } | Type::Enum { .. }) => {
                Some(scalar(value, to))
            }
            (Type::Ptr { .. }, Type::Int { bits: 64, .. } | Type::Ptr { .. }) => Some(scalar(value, to)),
            (Type::Int { .. } | Type::Bool, Type::Ptr { .. }) => Some(scalar(value, to)),
            (Type::Int { .. }, Type::Bool) if constant::value_of(&value).is_some() => {
                constant::truth_of(&value).map(|t| constant::boolean(t, span))
            }
            (Type::Str { .. }, Type::Str { .. }) => match &value.kind {
                ExprKind::Text(bytes) if to.size() as usize > bytes.len() => {
                    Some(Expr { ty: to.clone(), ..value })
                }
                _ => Some(cast_to(value, to)),
            },
            (Type::Tuple(from), Type::Tuple(fields)) => {
                let from = from.clone();
                self.convert_tuple(value, &from, fields, to)
            }
            (Type::Stack(a), Type::Stack(b)) if a.user == b.user && a.mode == b.mode => {
                Some(match value.kind {
                    // A stack can simply be taken with the limit that the slot wants.
                    ExprKind::Builtin(_) => Expr { ty: to.clone(), ..value },
                    _ => cast_to(value, to),
                })
            }
            (Type::Point(PointText::Func), Type::Ksym | Type::Usym) => self.function_symbol(span, to),
            (Type::Buf { .. }, Type::Buf { .. }) => Some(cast_to(value, to)),
            _ => None,
        }
    }

    /// `func` as a symbol: that of the instruction pointer, in probes on a function's entry.
    fn function_symbol(&self, span: Span, to: &Type) -> Option<Expr> {
        match (self.probe.kind()?, to) {
            (ProgramKind::Kprobe, Type::Ksym) | (ProgramKind::Uprobe, Type::Usym) => {
                let offset = arch::registers(self.target.features().arch).instruction_pointer;
                let kind = ExprKind::CtxLoad { offset, bytes: 8, signed: false };
                let address = Expr { kind, ty: Type::U64, span };
                Some(cast_to(self.entry_address(address), to))
            }
            _ => None,
        }
    }

    /// The address that the script asked to probe, from that of the breakpoint.
    fn entry_address(&self, breakpoint: Expr) -> Expr {
        match self.probe.points.first().map_or(0, AttachPoint::skip) {
            0 => breakpoint,
            skip => {
                let (ty, span) = (breakpoint.ty.clone(), breakpoint.span);
                let skip = Expr { kind: ExprKind::Int(skip.into()), ty: ty.clone(), span };
                let kind = ExprKind::Binary {
                    op: ast::BinaryOp::Sub,
                    left: Box::new(breakpoint),
                    right: Box::new(skip),
                };
                Expr { kind, ty, span }
            }
        }
    }

    /// Field by field where the tuple is written out, in the order of the type's names for a record.
    fn convert_tuple(
        &mut self,
        value: Expr,
        from: &[TupleField],
        fields: &[TupleField],
        to: &Type,
    ) -> Option<Expr> {
        if from.len() != fields.len() {
            return None;
        }
        let same_order = from.iter().zip(fields).all(|(a, b)| a.name == b.name);
        match value.kind {
            ExprKind::Tuple(items) if same_order => {
                let items: Option<Vec<Expr>> =
                    items.into_iter().zip(fields).map(|(item, f)| self.implicit(item, &f.ty)).collect();
                Some(Expr { kind: ExprKind::Tuple(items?), ty: to.clone(), span: value.span })
            }
            ExprKind::Tuple(items) => {
                // What is written first happens first, in whatever order the record keeps it.
                let (mut kept, mut named) = (Vec::new(), Vec::with_capacity(items.len()));
                for item in items {
                    if super::arithmetic::without_effect(&item) {
                        named.push(Some(item));
                    } else {
                        let (stmt, held) = self.hold(item);
                        kept.push(stmt);
                        named.push(Some(held));
                    }
                }
                let mut ordered = Vec::with_capacity(fields.len());
                for field in fields {
                    let at = from.iter().position(|f| f.name.is_some() && f.name == field.name)?;
                    let item = named.get_mut(at)?.take()?;
                    ordered.push(self.implicit(item, &field.ty)?);
                }
                let record = Expr { kind: ExprKind::Tuple(ordered), ty: to.clone(), span: value.span };
                if kept.is_empty() {
                    return Some(record);
                }
                let (ty, span) = (to.clone(), value.span);
                Some(Expr { kind: ExprKind::Block(kept, Box::new(record)), ty, span })
            }
            _ if same_order => Some(cast_to(value, to)),
            _ => None,
        }
    }

    /// `(type)x`
    pub(crate) fn cast(&mut self, ty: &TypeExpr, operand: &ast::Expr, span: Span) -> Option<Expr> {
        let value = self.stored_value(operand);
        let to = self.sized_type(ty, value.as_ref());
        let (value, to) = (value?, to?);
        self.cast_value(value, to, span)
    }

    fn cast_value(&mut self, value: Expr, to: Type, span: Span) -> Option<Expr> {
        if value.ty == to {
            // The cast chose the type: a literal no longer adapts.
            return Some(match constant::value_of(&value) {
                Some(v) if constant::is_literal(&value) => constant::constant(v, to, span),
                _ => Expr { span, ..value },
            });
        }
        let from_scalar = matches!(
            value.ty,
            Type::Int { .. }
                | Type::Bool
                | Type::Enum { .. }
                | Type::Ptr { .. }
                | Type::Ksym
                | Type::Timestamp { .. }
        );
        match &to {
            Type::Int { .. } | Type::Enum { .. } if from_scalar => {
                if let Some(v) = constant::value_of(&value) {
                    return Some(constant::constant(constant::in_type(v, &to), to, span));
                }
                Some(Expr { span, ..cast_to(value, &to) })
            }
            Type::Bool if from_scalar => match constant::truth_of(&value) {
                Some(truth) => Some(constant::boolean(truth, span)),
                None => self.truth_value(value, span),
            },
            Type::Ptr { to: pointee, space } if from_scalar => {
                // The memory an address is in does not change by calling what is there something else.
                let space = match &value.ty {
                    Type::Ptr { space: known, .. } if *space == AddrSpace::Unknown => *known,
                    _ => *space,
                };
                let ty = Type::Ptr { to: pointee.clone(), space };
                // An address has no sign: a narrow negative number is the address of its bits.
                let value = match value.ty {
                    Type::Int { bits, signed: true } if bits < 64 => {
                        self.convert(value, &Type::Int { bits, signed: false })?
                    }
                    _ => value,
                };
                Some(Expr { kind: ExprKind::Cast(Box::new(value)), ty, span })
            }
            Type::Int { .. } if matches!(value.ty, Type::Array { .. }) && value.ty.size() == to.size() => {
                Some(Expr { span, ..cast_to(value, &to) })
            }
            Type::Array { elem, .. } if from_scalar && value.ty.size() == to.size() && int_bits(elem) > 0 => {
                Some(Expr { span, ..cast_to(value, &to) })
            }
            // A literal is as wide as the array wants it.
            Type::Array { elem, .. }
                if constant::is_literal(&value) && int_bits(elem) > 0 && to.size() <= 8 =>
            {
                match to.size() {
                    bytes @ (1 | 2 | 4 | 8) => {
                        let signed = value.ty.is_signed();
                        let value = self.convert(value, &Type::Int { bits: bytes as u8 * 8, signed })?;
                        Some(Expr { span, ..cast_to(value, &to) })
                    }
                    // Of six bytes, say: those of the number, lowest first.
                    bytes => {
                        let number = constant::value_of(&value).unwrap_or_default() as i64;
                        let mut text = number.to_le_bytes()[..value.ty.size() as usize].to_vec();
                        text.truncate(bytes as usize);
                        Some(Expr { kind: ExprKind::Text(text), ty: to, span })
                    }
                }
            }
            // The text with its NULs, byte by byte.
            Type::Array { elem, .. } if matches!(value.ty, Type::Str { .. }) && int_bits(elem) == 8 => {
                if value.ty.size() != to.size() {
                    return self.fail(|| types::cast_size(&value, &to, span));
                }
                Some(Expr { span, ..cast_to(value, &to) })
            }
            Type::Array { .. } if from_scalar => self.fail(|| types::cast_size(&value, &to, span)),
            Type::Str { .. } if matches!(value.ty, Type::Str { .. }) => self.convert(value, &to),
            Type::Struct(_) => self.fail(|| types::cast_to_struct(&to, span)),
            _ => self.fail(|| types::bad_cast(&value, &to, span)),
        }
    }

    /// A value as an integer operand of a function: exactly this type.
    pub(crate) fn integer_argument(&mut self, expr: &ast::Expr, to: &Type) -> Option<Expr> {
        let value = self.stored_value(expr)?;
        if matches!(value.ty, Type::Int { .. } | Type::Bool | Type::Enum { .. } | Type::Ptr { .. }) {
            return self.convert(value, to);
        }
        self.fail(|| types::expected_integer(&value))
    }
}

/// A scalar in another scalar type; constants stay constants.
fn scalar(value: Expr, to: &Type) -> Expr {
    match (constant::value_of(&value), &value.kind) {
        (Some(v), ExprKind::Int(_)) => Expr::int(constant::in_type(v, to) as i64, to.clone(), value.span),
        (Some(v), _) => constant::constant(constant::in_type(v, to), to.clone(), value.span),
        _ => cast_to(value, to),
    }
}

fn cast_to(value: Expr, to: &Type) -> Expr {
    let span = value.span;
    Expr { kind: ExprKind::Cast(Box::new(value)), ty: to.clone(), span }
}

/// Whether a conversion can lose bits or turn large unsigned values into negative ones.
fn may_change(value: &Expr, to: &Type) -> bool {
    let (Type::Int { bits, signed }, Type::Int { bits: to_bits, signed: to_signed }) = (&value.ty, to) else {
        return false;
    };
    match constant::value_of(value) {
        Some(v) => constant::in_type(v, to) != v,
        None => to_bits < bits || (signed != to_signed && (*signed || to_bits == bits)),
    }
}
