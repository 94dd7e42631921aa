//! Expressions of reports, evaluated over one element of a map.
//!
//! Arithmetic is 64-bit and wraps; division by zero gives 0 and modulo by zero the dividend, as in
//! eBPF. Operands compare and divide as unsigned if either is an unsigned 64-bit number or an
//! address, as in C.

use std::borrow::Cow;
use std::collections::HashMap;

use memql_compiler::plan::{BinaryOp, MapPlan, Plan, ReportExpr, ReportExprKind, UnaryOp};
use memql_compiler::types::Type;

use super::OutputError;
use super::aggregate;
use super::decode::{c_string, integer, padded_key};
use crate::maps::{Copies, Entries, MapAccess};

/// One element of the report's map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    /// The map.
    pub map: &'a MapPlan,
    /// The element's key.
    pub key: &'a [u8],
    /// Its value.
    pub value: Copies<'a>,
}

/// What an expression gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    /// A number: sign-extended if its type is signed.
    Number(i64),
    /// The bytes of a value that is none.
    Bytes(Cow<'a, [u8]>),
}

impl Cell<'_> {
    /// As a number; 0 for what is none.
    pub fn number(&self) -> i64 {
        match self {
            Cell::Number(n) => *n,
            Cell::Bytes(_) => 0,
        }
    }

    /// As a number of this type.
    pub fn typed_number(&self, ty: &Type) -> i128 {
        if is_unsigned_64(ty) { i128::from(self.number() as u64) } else { i128::from(self.number()) }
    }
}

/// Evaluates the expressions of one report.
pub(super) struct Evaluator<'a> {
    plan: &'a Plan,
    maps: &'a dyn MapAccess,
    event: &'a [u8],
    /// Other maps that elements are looked up in: read once, found by key.
    others: HashMap<usize, Other>,
}

struct Other {
    entries: Entries,
    index: HashMap<Box<[u8]>, usize>,
}

impl<'a> Evaluator<'a> {
    /// `event` is the event that asked for the report.
    pub fn new(plan: &'a Plan, maps: &'a dyn MapAccess, event: &'a [u8]) -> Evaluator<'a> {
        Evaluator { plan, maps, event, others: HashMap::new() }
    }

    /// Evaluates an expression; `row` is `None` where there is no element (a limit).
    ///
    /// # Errors
    /// If the plan does not agree with the bytes, or another map cannot be read.
    pub fn eval<'r>(&mut self, expr: &ReportExpr, row: Option<Row<'r>>) -> Result<Cell<'r>, OutputError> {
        let element = || {
            row.ok_or_else(|| OutputError::Internal("an element's value where there is no element".into()))
        };
        Ok(match &expr.kind {
            ReportExprKind::Int(n) => Cell::Number(*n),
            ReportExprKind::Captured(arg) => owned(load(&arg.ty, self.event, arg.offset)?),
            ReportExprKind::Key { offset } => load(&expr.ty, element()?.key, *offset)?,
            ReportExprKind::Value { offset } => {
                let row = element()?;
                map_value(row.map, &expr.ty, row.value, *offset)?
            }
            ReportExprKind::Lookup { map, key } => {
                let key = self.eval(key, row)?;
                self.look_up(*map, key, &expr.ty)?
            }
            ReportExprKind::Unary(op, a) => {
                let n = self.eval(a, row)?.number();
                Cell::Number(match op {
                    UnaryOp::Comptime => n,
                    UnaryOp::Neg => n.wrapping_neg(),
                    UnaryOp::Not => i64::from(n == 0),
                    UnaryOp::BitNot => !n,
                    UnaryOp::Deref | UnaryOp::AddressOf => {
                        return Err(OutputError::Internal("a report follows a pointer".into()));
                    }
                })
            }
            ReportExprKind::Binary(BinaryOp::And, a, b) => {
                Cell::Number(i64::from(self.eval(a, row)?.number() != 0 && self.eval(b, row)?.number() != 0))
            }
            ReportExprKind::Binary(BinaryOp::Or, a, b) => {
                Cell::Number(i64::from(self.eval(a, row)?.number() != 0 || self.eval(b, row)?.number() != 0))
            }
            ReportExprKind::Binary(op, a, b) => {
                let (x, y) = (self.eval(a, row)?, self.eval(b, row)?);
                Cell::Number(binary(*op, &x, &a.ty, &y, &b.ty)?)
            }
            ReportExprKind::Ternary(condition, a, b) => {
                if self.eval(condition, row)?.number() != 0 {
                    self.eval(a, row)?
                } else {
                    self.eval(b, row)?
                }
            }
        })
    }

    fn look_up<'r>(&mut self, map: usize, key: Cell<'_>, ty: &Type) -> Result<Cell<'r>, OutputError> {
        let plan =
            self.plan.maps.get(map).ok_or_else(|| {
                OutputError::Internal(format!("a report looks into a map with index {map}"))
            })?;
        let key_size = plan.key.as_ref().map_or(0, |k| k.size() as usize);
        let key: Cow<'_, [u8]> = match key {
            Cell::Number(n) => Cow::Owned(n.to_ne_bytes()[..key_size.min(8)].to_vec()),
            Cell::Bytes(bytes) => bytes,
        };
        if !self.others.contains_key(&map) {
            let entries = self.maps.entries(map)?;
            let index = (0..entries.len()).map(|i| (entries.key(i).into(), i)).collect();
            self.others.insert(map, Other { entries, index });
        }
        let other = &self.others[&map];
        let key = match &plan.key {
            Some(ty) => padded_key(ty, &key),
            None => Cow::Borrowed(&*key),
        };
        match other.index.get(&*key) {
            Some(i) => Ok(owned(map_value(plan, ty, other.entries.value(*i), 0)?)),
            None if is_number(ty) => Ok(Cell::Number(0)),
            None => Ok(Cell::Bytes(Cow::Owned(vec![0; ty.size() as usize]))),
        }
    }
}

/// A map's value: an aggregation's result, or the stored bytes from an offset on.
fn map_value<'r>(map: &MapPlan, ty: &Type, value: Copies<'r>, offset: u32) -> Result<Cell<'r>, OutputError> {
    match &map.value {
        // Cut to 64 bits, which all expressions have.
        Type::Agg(agg) => Ok(Cell::Number(aggregate::scalar(*agg, value) as i64)),
        Type::Int { signed, .. } if value.count() > 1 => {
            let size = map.value.size() as usize;
            let total: i128 = value.iter().map(|copy| integer(&copy[..size.min(copy.len())], *signed)).sum();
            Ok(Cell::Number(total as i64))
        }
        _ => load(ty, value.first(), offset),
    }
}

fn load<'r>(ty: &Type, bytes: &'r [u8], offset: u32) -> Result<Cell<'r>, OutputError> {
    let start = offset as usize;
    let bytes = start
        .checked_add(ty.size() as usize)
        .and_then(|end| bytes.get(start..end))
        .ok_or_else(|| OutputError::Internal(format!("a `{ty}` at byte {offset} of {}", bytes.len())))?;
    Ok(if is_number(ty) {
        Cell::Number(integer(bytes, ty.is_signed()) as i64)
    } else {
        Cell::Bytes(Cow::Borrowed(bytes))
    })
}

fn owned<'r>(cell: Cell<'_>) -> Cell<'r> {
    match cell {
        Cell::Number(n) => Cell::Number(n),
        Cell::Bytes(bytes) => Cell::Bytes(Cow::Owned(bytes.into_owned())),
    }
}

fn binary(op: BinaryOp, a: &Cell<'_>, a_ty: &Type, b: &Cell<'_>, b_ty: &Type) -> Result<i64, OutputError> {
    if let (Cell::Bytes(a), Cell::Bytes(b)) = (a, b) {
        let text = matches!(a_ty, Type::Str { .. }) && matches!(b_ty, Type::Str { .. });
        let equal = if text { c_string(a) == c_string(b) } else { a == b };
        return match op {
            BinaryOp::Eq => Ok(i64::from(equal)),
            BinaryOp::Ne => Ok(i64::from(!equal)),
            _ => Err(OutputError::Internal(format!("a report computes with a `{a_ty}`"))),
        };
    }
    let (x, y) = (a.number(), b.number());
    let (ux, uy) = (x as u64, y as u64);
    let unsigned = is_unsigned_64(a_ty) || is_unsigned_64(b_ty);
    let shift = (uy % 64) as u32;
    let truth = |signed: bool, of_unsigned: bool| i64::from(if unsigned { of_unsigned } else { signed });
    Ok(match op {
        BinaryOp::Add => x.wrapping_add(y),
        BinaryOp::Sub => x.wrapping_sub(y),
        BinaryOp::Mul => x.wrapping_mul(y),
        BinaryOp::Div if unsigned => ux.checked_div(uy).unwrap_or(0) as i64,
        BinaryOp::Div => {
            if y == 0 {
                0
            } else {
                x.wrapping_div(y)
            }
        }
        BinaryOp::Mod if unsigned => ux.checked_rem(uy).unwrap_or(ux) as i64,
        BinaryOp::Mod => {
            if y == 0 {
                x
            } else {
                x.wrapping_rem(y)
            }
        }
        BinaryOp::BitAnd => x & y,
        BinaryOp::BitOr => x | y,
        BinaryOp::BitXor => x ^ y,
        BinaryOp::Shl => x.wrapping_shl(shift),
        BinaryOp::Shr if is_unsigned_64(a_ty) => (ux >> shift) as i64,
        BinaryOp::Shr => x >> shift,
        BinaryOp::Eq => i64::from(x == y),
        BinaryOp::Ne => i64::from(x != y),
        BinaryOp::Lt => truth(x < y, ux < uy),
        BinaryOp::Le => truth(x <= y, ux <= uy),
        BinaryOp::Gt => truth(x > y, ux > uy),
        BinaryOp::Ge => truth(x >= y, ux >= uy),
        BinaryOp::And => i64::from(x != 0 && y != 0),
        BinaryOp::Or => i64::from(x != 0 || y != 0),
    })
}

/// Whether a value of it is a number here, an aggregation's result included.
fn is_number(ty: &Type) -> bool {
    ty.is_scalar() || matches!(ty, Type::Agg(_))
}

fn is_unsigned_64(ty: &Type) -> bool {
    match ty {
        Type::Int { bits, signed } | Type::Enum { bits, signed, .. } => *bits == 64 && !signed,
        Type::Ptr { .. } | Type::Ksym | Type::Timestamp { .. } | Type::Point(_) => true,
        Type::Agg(_) => !ty.is_signed(),
        Type::Void
        | Type::Bool
        | Type::Str { .. }
        | Type::Buf { .. }
        | Type::Tuple(_)
        | Type::Struct(_)
        | Type::Array { .. }
        | Type::Stack(_)
        | Type::Named(_)
        | Type::Inet
        | Type::MacAddr
        | Type::Usym => false,
    }
}
