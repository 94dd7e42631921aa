//! Literals become bytes.

use memql_grammar::ast::{BinaryOp, Expr, ExprKind, NamedValue, TupleField, UnaryOp};

use super::diagnostics::{self, Finding};
use super::shape::{Records, Shape};

/// Puts text somewhere and gives its address.
pub(super) type PutText<'p> = dyn FnMut(&[u8]) -> u64 + 'p;

/// The number that a literal is; operators on literals are computed.
pub(super) fn number(expr: &Expr) -> Option<i128> {
    match &expr.kind {
        ExprKind::Int(value) => Some(i128::from(*value)),
        ExprKind::Bool(value) => Some(i128::from(*value)),
        ExprKind::Unary { op, operand } => {
            let value = number(operand)?;
            match op {
                UnaryOp::Neg => Some(-value),
                UnaryOp::BitNot => Some(!value),
                _ => None,
            }
        }
        ExprKind::Binary { op, left, right } => {
            let (left, right) = (number(left)?, number(right)?);
            match op {
                BinaryOp::Add => left.checked_add(right),
                BinaryOp::Sub => left.checked_sub(right),
                BinaryOp::Mul => left.checked_mul(right),
                BinaryOp::BitOr => Some(left | right),
                BinaryOp::Shl => u32::try_from(right).ok().filter(|by| *by < 64).map(|by| left << by),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The number that a literal is, as 64 bits.
pub(super) fn word(expr: &Expr) -> Result<u64, Finding> {
    let value = number(expr).filter(|v| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(v));
    value.map(|v| v as u64).ok_or_else(|| diagnostics::wrong_value(expr.span, "a number of at most 64 bits"))
}

/// The text that a literal is.
pub(super) fn text(expr: &Expr) -> Result<&[u8], Finding> {
    match &expr.kind {
        ExprKind::Str(text) => Ok(&text.bytes),
        _ => Err(diagnostics::wrong_value(expr.span, "text in double quotes")),
    }
}

/// Several literals, or one.
pub(super) fn list(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        ExprKind::Tuple(fields) if fields.iter().all(|f| f.name.is_none()) => {
            fields.iter().map(|f| &f.value).collect()
        }
        _ => vec![expr],
    }
}

/// The names and values of a record.
pub(super) fn record(expr: &Expr) -> Result<Vec<NamedValue>, Finding> {
    let named = |field: &TupleField| {
        let TupleField { name, value } = field;
        name.as_ref().map(|name| NamedValue { name: name.clone(), value: value.clone() })
    };
    match &expr.kind {
        ExprKind::Tuple(fields) => {
            let fields: Option<Vec<NamedValue>> = fields.iter().map(named).collect();
            fields.ok_or_else(|| diagnostics::wrong_value(expr.span, "a record `(name = value)`"))
        }
        _ => Err(diagnostics::wrong_value(expr.span, "a record `(name = value)`")),
    }
}

/// A literal's bytes as a value of a shape; text for a pointer is put somewhere.
pub(super) fn encode(
    records: &Records<'_>,
    shape: &Shape,
    expr: &Expr,
    put: &mut PutText<'_>,
) -> Result<Vec<u8>, Finding> {
    let (size, _) = records.size(shape, expr.span)?;
    let mut bytes = match shape {
        Shape::Int { bytes, signed, name } => integer(expr, *bytes, *signed, name)?,
        Shape::Enum(name) => integer(expr, 4, false, &format!("enum {name}"))?,
        Shape::Bool => match number(expr) {
            Some(value @ (0 | 1)) => vec![value as u8],
            _ => return Err(diagnostics::wrong_value(expr.span, "`true` or `false`")),
        },
        Shape::Text | Shape::Pointer(_) => match &expr.kind {
            ExprKind::Str(text) => put(&text.bytes).to_le_bytes().to_vec(),
            _ => word(expr)?.to_le_bytes().to_vec(),
        },
        Shape::Chars(len) => {
            let text = text(expr)?.to_vec();
            if text.len() > *len as usize {
                return Err(diagnostics::wrong_value(expr.span, &format!("text of at most {len} bytes")));
            }
            text
        }
        Shape::Array(elem, len) => {
            let values = list(expr);
            if values.len() > *len as usize {
                return Err(diagnostics::wrong_value(expr.span, &format!("at most {len} values")));
            }
            let mut bytes = Vec::new();
            for value in values {
                bytes.extend(encode(records, elem, value, put)?);
            }
            bytes
        }
        Shape::Record(of) => {
            let members = records.members(of, expr.span)?;
            let mut bytes = vec![0; size as usize];
            for NamedValue { name, value } in record(expr)? {
                let Some(member) = members.iter().find(|m| m.name == name.text) else {
                    let known: Vec<String> = members.iter().map(|m| m.name.clone()).collect();
                    return Err(diagnostics::unknown_value(&name, &format!("`{}`", of.tag), &known));
                };
                let encoded = encode(records, &member.shape, &value, put)?;
                bytes[member.offset as usize..][..encoded.len()].copy_from_slice(&encoded);
            }
            bytes
        }
    };
    bytes.resize(size as usize, 0);
    Ok(bytes)
}

/// An integer's bytes; what does not fit is an error, but for a type of either sign all bits may be set.
fn integer(expr: &Expr, bytes: u32, signed: bool, name: &str) -> Result<Vec<u8>, Finding> {
    let bits = 8 * bytes;
    let low = if signed { -(1i128 << (bits - 1)) } else { 0 };
    match number(expr) {
        Some(value) if (low..1i128 << bits).contains(&value) => {
            Ok(value.to_le_bytes()[..bytes as usize].to_vec())
        }
        _ => Err(diagnostics::wrong_value(expr.span, &format!("a number that fits `{name}`"))),
    }
}
