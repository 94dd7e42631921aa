//! What is known of a variable's or map's type while it is being inferred.
//!
//! Every assignment contributes a [`Shape`]; a slot's type is the join of all of them. A shape is a
//! type, except that a positive integer literal has not chosen its sign yet: `$a = 1; $a = pid` is a
//! `uint32`, while `$a = -1; $a = pid` is an `int64`.
//!
//! Joining follows bpftrace: the wider integer wins; of mixed signs, the smallest signed type that
//! holds both, and `int64` when there is none; the larger string capacity; tuples elementwise.

use crate::hir::{Expr, ExprKind};
use crate::types::{AddrSpace, Agg, PointText, Series, TupleField, Type};

/// What is known of a type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// A type.
    Known(Type),
    /// A positive integer literal, the largest seen.
    Literal(u64),
    /// A tuple or record of shapes.
    Tuple(Vec<(Option<String>, Shape)>),
}

impl Shape {
    /// The shape that an expression contributes.
    pub(crate) fn of(expr: &Expr) -> Shape {
        match (&expr.kind, &expr.ty) {
            (ExprKind::Int(v), Type::Int { signed: true, .. }) if *v >= 0 => Shape::Literal(*v as u64),
            (ExprKind::Tuple(items), Type::Tuple(fields)) => Shape::Tuple(
                items.iter().zip(fields).map(|(item, f)| (f.name.clone(), Shape::of(item))).collect(),
            ),
            (_, ty) => Shape::Known(ty.clone()),
        }
    }

    /// The type it stands for if nothing more is learned.
    pub(crate) fn ty(&self) -> Type {
        match self {
            Shape::Known(ty) => ty.clone(),
            Shape::Literal(v) => literal_type(i128::from(*v)).unwrap_or(Type::U64),
            Shape::Tuple(fields) => Type::Tuple(
                fields.iter().map(|(name, s)| TupleField { name: name.clone(), ty: s.ty() }).collect(),
            ),
        }
    }

    /// The shape that holds values of both, if there is one.
    pub(crate) fn join(&self, other: &Shape) -> Option<Shape> {
        match (self, other) {
            (Shape::Known(a), Shape::Known(b)) => join_types(a, b).map(Shape::Known),
            (Shape::Literal(a), Shape::Literal(b)) => Some(Shape::Literal(*a.max(b))),
            (Shape::Literal(v), Shape::Known(ty)) | (Shape::Known(ty), Shape::Literal(v)) => {
                join_literal(*v, ty)
            }
            (Shape::Tuple(a), Shape::Tuple(b)) => join_fields(a, b),
            (Shape::Tuple(a), Shape::Known(Type::Tuple(b))) => join_fields(a, &known_fields(b)),
            (Shape::Known(Type::Tuple(a)), Shape::Tuple(b)) => join_fields(&known_fields(a), b),
            (Shape::Tuple(_), _) | (_, Shape::Tuple(_)) => None,
        }
    }
}

fn known_fields(fields: &[TupleField]) -> Vec<(Option<String>, Shape)> {
    fields.iter().map(|f| (f.name.clone(), Shape::Known(f.ty.clone()))).collect()
}

/// Joins fields by position, or by name where they have names.
fn join_fields(a: &[(Option<String>, Shape)], b: &[(Option<String>, Shape)]) -> Option<Shape> {
    if a.len() != b.len() {
        return None;
    }
    let mut joined = Vec::with_capacity(a.len());
    for (i, (name, shape)) in a.iter().enumerate() {
        let other = match name {
            Some(_) => b.iter().find(|(n, _)| n == name),
            None => b.get(i).filter(|(n, _)| n.is_none()),
        };
        joined.push((name.clone(), shape.join(&other?.1)?));
    }
    Some(Shape::Tuple(joined))
}

fn join_literal(v: u64, ty: &Type) -> Option<Shape> {
    match ty {
        Type::Int { bits, signed: true } => {
            let own = literal_type(i128::from(v)).unwrap_or(Type::I64);
            Some(Shape::Known(Type::Int { bits: (*bits).max(int_bits(&own)), signed: true }))
        }
        Type::Int { bits, signed: false } => {
            Some(Shape::Known(Type::Int { bits: (*bits).max(unsigned_bits(v)), signed: false }))
        }
        Type::Enum { bits, signed, .. } => join_literal(v, &Type::Int { bits: *bits, signed: *signed }),
        Type::Bool => Some(Shape::Literal(v.max(1))),
        Type::Ptr { .. } if v == 0 => Some(Shape::Known(ty.clone())),
        _ => None,
    }
}

/// The type that holds values of both types, if there is one.
pub(crate) fn join_types(a: &Type, b: &Type) -> Option<Type> {
    if a == b {
        return Some(a.clone());
    }
    match (a, b) {
        (Type::Int { .. } | Type::Enum { .. }, Type::Int { .. } | Type::Enum { .. }) => {
            Some(join_ints(int_bits(a), a.is_signed(), int_bits(b), b.is_signed()))
        }
        (Type::Bool, Type::Int { .. }) => Some(b.clone()),
        (Type::Int { .. }, Type::Bool) => Some(a.clone()),
        (Type::Str { cap: x }, Type::Str { cap: y }) => Some(Type::Str { cap: *x.max(y) }),
        (Type::Buf { cap: x }, Type::Buf { cap: y }) => Some(Type::Buf { cap: *x.max(y) }),
        (Type::Ptr { to: x, space: s }, Type::Ptr { to: y, space: t }) => {
            let to = if x == y || **y == Type::Void {
                x.clone()
            } else if **x == Type::Void {
                y.clone()
            } else {
                return None;
            };
            Some(Type::Ptr { to, space: if s == t { *s } else { AddrSpace::Unknown } })
        }
        (Type::Stack(x), Type::Stack(y)) if x.user == y.user && x.mode == y.mode => {
            Some(Type::Stack(crate::types::StackType { limit: x.limit.max(y.limit), ..*x }))
        }
        // `func` can be kept where symbols are: it is the symbol at the instruction pointer.
        (Type::Point(PointText::Func), Type::Ksym | Type::Usym) => Some(b.clone()),
        (Type::Ksym | Type::Usym, Type::Point(PointText::Func)) => Some(a.clone()),
        (Type::Agg(x), Type::Agg(y)) => join_aggregations(*x, *y).map(Type::Agg),
        (Type::Tuple(x), Type::Tuple(y)) => join_fields(&known_fields(x), &known_fields(y)).map(|s| s.ty()),
        _ => None,
    }
}

fn join_ints(a: u8, a_signed: bool, b: u8, b_signed: bool) -> Type {
    if a_signed == b_signed {
        return Type::Int { bits: a.max(b), signed: a_signed };
    }
    let (signed, unsigned) = if a_signed { (a, b) } else { (b, a) };
    let bits = if signed > unsigned { signed } else { unsigned.saturating_mul(2).min(64) };
    Type::Int { bits, signed: true }
}

fn join_aggregations(a: Agg, b: Agg) -> Option<Agg> {
    Some(match (a, b) {
        (Agg::Sum { signed: x }, Agg::Sum { signed: y }) => Agg::Sum { signed: x || y },
        (Agg::Min { signed: x }, Agg::Min { signed: y }) => Agg::Min { signed: x || y },
        (Agg::Max { signed: x }, Agg::Max { signed: y }) => Agg::Max { signed: x || y },
        (Agg::Avg { signed: x }, Agg::Avg { signed: y }) => Agg::Avg { signed: x || y },
        (Agg::Tseries(x), Agg::Tseries(y)) if Series { signed: y.signed, ..x } == y => {
            Agg::Tseries(Series { signed: x.signed || y.signed, ..x })
        }
        (Agg::Stats { signed: x }, Agg::Stats { signed: y }) => Agg::Stats { signed: x || y },
        _ => return None,
    })
}

/// Width in bits of an integer-like type; 0 of others.
pub(crate) fn int_bits(ty: &Type) -> u8 {
    match ty {
        Type::Int { bits, .. } | Type::Enum { bits, .. } => *bits,
        Type::Bool => 8,
        Type::Ptr { .. } => 64,
        _ => 0,
    }
}

/// The smallest type of an integer literal: signed if it fits `int64`, else `uint64`; `None` beyond.
pub(crate) fn literal_type(value: i128) -> Option<Type> {
    for bits in [8u8, 16, 32, 64] {
        let half = 1i128 << (bits - 1);
        if (-half..half).contains(&value) {
            return Some(Type::Int { bits, signed: true });
        }
    }
    (0..1i128 << 64).contains(&value).then_some(Type::U64)
}

fn unsigned_bits(v: u64) -> u8 {
    match v {
        0..=0xff => 8,
        0x100..=0xffff => 16,
        0x1_0000..=0xffff_ffff => 32,
        _ => 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(bits: u8, signed: bool) -> Shape {
        Shape::Known(Type::Int { bits, signed })
    }

    #[test]
    fn literals_take_the_sign_of_what_they_meet() {
        assert_eq!(Shape::Literal(1).join(&int(32, false)), Some(int(32, false)));
        assert_eq!(Shape::Literal(200).join(&int(8, false)), Some(int(8, false)));
        assert_eq!(Shape::Literal(200).join(&int(8, true)), Some(int(16, true)));
        assert_eq!(Shape::Literal(1).ty(), Type::Int { bits: 8, signed: true });
    }

    #[test]
    fn mixed_signs_widen_until_both_fit_and_end_at_int64() {
        assert_eq!(int(32, false).join(&int(8, true)), Some(int(64, true)));
        assert_eq!(int(8, false).join(&int(8, true)), Some(int(16, true)));
        assert_eq!(int(64, false).join(&int(64, true)), Some(int(64, true)));
        assert_eq!(int(16, false).join(&int(32, true)), Some(int(32, true)));
    }

    #[test]
    fn strings_take_the_larger_capacity_and_never_meet_integers() {
        let (a, b) = (Shape::Known(Type::Str { cap: 4 }), Shape::Known(Type::Str { cap: 16 }));
        assert_eq!(a.join(&b), Some(b.clone()));
        assert_eq!(a.join(&Shape::Literal(0)), None);
    }

    #[test]
    fn tuples_join_elementwise_and_only_of_one_length() {
        let pair = |s: Shape| Shape::Tuple(vec![(None, s), (None, Shape::Literal(1))]);
        let joined = pair(Shape::Literal(1)).join(&pair(int(32, false)));
        assert_eq!(joined, Some(pair(int(32, false))));
        assert_eq!(pair(Shape::Literal(1)).join(&Shape::Tuple(vec![])), None);
    }
}
