//! Bytes become values: the layouts of [`memql_compiler::types`], read back.
//!
//! Every length is checked: bytes that are too short for their type are memql's own mistake and come
//! back as [`OutputError::Internal`], never as a panic.

use std::borrow::Cow;
use std::rc::Rc;

use memql_compiler::plan::Plan;
use memql_compiler::types::{Naming, PointText, StackMode, StructRef, TupleField, Type, tuple_layout};

use super::aggregate;
use super::names::{StructField, TypeNames};
use super::time::Clocks;
use super::{OutputError, Value, named, network};
use crate::maps::{Copies, MapAccess};
use crate::symbols::{Stack, Symbols, demangle};

/// What decoding needs besides the bytes.
pub struct Decoder<'a> {
    /// Formats of times and texts of attach points.
    pub plan: &'a Plan,
    /// Resolves addresses.
    pub symbols: &'a mut Symbols,
    /// Where stacks are kept.
    pub maps: &'a dyn MapAccess,
    /// Names of enumerators and fields.
    pub names: &'a dyn TypeNames,
    /// How the kernel's clocks relate to the wall clock.
    pub clocks: &'a Clocks,
}

impl Decoder<'_> {
    /// Decodes the value of type `ty` at the start of `bytes`.
    ///
    /// # Errors
    /// If there are too few bytes, or a stack cannot be read from its map.
    pub fn value(&mut self, ty: &Type, bytes: &[u8]) -> Result<Value, OutputError> {
        let bytes = bytes.get(..ty.size() as usize).ok_or_else(|| {
            OutputError::Internal(format!(
                "{} bytes for a value of type `{ty}` of {}",
                bytes.len(),
                ty.size()
            ))
        })?;
        Ok(match ty {
            Type::Void => Value::Void,
            Type::Bool => Value::Bool(bytes.first().is_some_and(|b| *b != 0)),
            Type::Int { signed, .. } => Value::Int(integer(bytes, *signed)),
            Type::Enum { id, signed, .. } => {
                let value = integer(bytes, *signed);
                // BTF keeps enumerators in 64 bits whatever their sign.
                Value::Enum { name: self.names.enumerator(*id, value as i64), value }
            }
            Type::Str { .. } => self.string(bytes),
            Type::Buf { cap } => {
                let len = (word32(bytes, 0) as usize).min(*cap as usize);
                Value::Buf(bytes[4..4 + len].to_vec())
            }
            Type::Tuple(fields) => self.tuple(fields, bytes)?,
            Type::Ptr { .. } => Value::Pointer(word(bytes, 0)),
            Type::Struct(of) => self.structure(of, bytes)?,
            Type::Array { elem, len } => Value::Array(self.array(elem, *len, bytes)?),
            Type::Stack(stack) => {
                let (id, tgid, frames) = (word(bytes, 0), word32(bytes, 8), word32(bytes, 12));
                Value::Stack(self.stack(stack.user, stack.mode, id, tgid, frames)?)
            }
            Type::Ksym => Value::Text(self.symbols.kernel_symbol(word(bytes, 0)).into_bytes()),
            Type::Usym => {
                Value::Text(self.symbols.user_symbol(word32(bytes, 8), word(bytes, 0)).into_bytes())
            }
            Type::Timestamp { format, clock } => {
                let format =
                    self.plan.time_formats.get(*format as usize).ok_or_else(|| {
                        OutputError::Internal(format!("no time format with index {format}"))
                    })?;
                Value::Text(self.clocks.format(format, *clock, word(bytes, 0)))
            }
            Type::Named(naming) => {
                let filter = match naming {
                    Naming::Cgroup { filter } => {
                        let filters = &self.plan.cgroup_filters;
                        filters.get(*filter as usize).ok_or_else(|| {
                            OutputError::Internal(format!("no cgroup filter with index {filter}"))
                        })?
                    }
                    _ => "",
                };
                Value::Text(named::name(*naming, integer(bytes, true) as i64, filter))
            }
            Type::Inet => {
                let mut address = [0u8; 16];
                address.copy_from_slice(&bytes[4..20]);
                Value::Text(network::address(word32(bytes, 0), address).into_bytes())
            }
            Type::MacAddr => Value::Text(network::mac(bytes).into_bytes()),
            Type::Point(text) => self.point(*text, word(bytes, 0))?,
            Type::Agg(agg) => aggregate::combine(*agg, Copies::new(bytes, bytes.len())),
        })
    }

    /// Decodes a map's value, combining the copies of an aggregation.
    ///
    /// # Errors
    /// As [`Decoder::value`].
    pub fn map_value(&mut self, ty: &Type, copies: Copies<'_>) -> Result<Value, OutputError> {
        match ty {
            Type::Agg(agg) => Ok(aggregate::combine(*agg, copies)),
            Type::Int { signed, .. } if copies.count() > 1 => {
                let size = ty.size() as usize;
                let total: i128 =
                    copies.iter().map(|copy| integer(&copy[..size.min(copy.len())], *signed)).sum();
                Ok(Value::Int(total))
            }
            _ => self.value(ty, copies.first()),
        }
    }

    /// Text up to the NUL. Text without one that fills the capacity of `str()` was cut, and says so; an
    /// array of characters is merely full.
    fn string(&self, bytes: &[u8]) -> Value {
        let mut text = c_string(bytes).to_vec();
        if text.len() == bytes.len() && bytes.len() == self.plan.settings.max_strlen as usize {
            text.extend_from_slice(self.plan.settings.str_trunc_trailer.as_bytes());
        }
        Value::Text(text)
    }

    fn tuple(&mut self, fields: &[TupleField], bytes: &[u8]) -> Result<Value, OutputError> {
        let offsets = tuple_layout(fields).offsets;
        let mut values = Vec::with_capacity(fields.len());
        for (field, offset) in fields.iter().zip(offsets) {
            values.push(self.value(&field.ty, &bytes[offset as usize..])?);
        }
        if !fields.is_empty() && fields.iter().all(|f| f.name.is_some()) {
            let names = fields.iter().map(|f| f.name.clone().unwrap_or_default());
            return Ok(Value::Record(names.zip(values).collect()));
        }
        Ok(Value::Tuple(values))
    }

    fn array(&mut self, elem: &Type, len: u32, bytes: &[u8]) -> Result<Vec<Value>, OutputError> {
        let size = elem.size() as usize;
        (0..len as usize).map(|i| self.value(elem, &bytes[i * size..])).collect()
    }

    fn structure(&mut self, of: &StructRef, bytes: &[u8]) -> Result<Value, OutputError> {
        let Some(fields) = self.names.fields(of) else {
            return Ok(Value::Buf(bytes.to_vec()));
        };
        let mut values = Vec::with_capacity(fields.len());
        for StructField { name, ty, offset, bits } in fields {
            let at = bytes
                .get(offset as usize..)
                .ok_or_else(|| OutputError::Internal(format!("field `{name}` lies outside `{}`", of.name)))?;
            let value = match (&ty, bits) {
                (_, None) => self.value(&ty, at)?,
                (Type::Enum { id, .. }, Some((low, width))) => {
                    let value = bit_field(at, &ty, low, width)?;
                    Value::Enum { name: self.names.enumerator(*id, value as i64), value }
                }
                (Type::Bool, Some((low, width))) => Value::Bool(bit_field(at, &ty, low, width)? != 0),
                (_, Some((low, width))) => Value::Int(bit_field(at, &ty, low, width)?),
            };
            values.push((name, value));
        }
        Ok(Value::Record(values))
    }

    fn stack(
        &mut self,
        user: bool,
        mode: StackMode,
        id: u64,
        tgid: u32,
        frames: u32,
    ) -> Result<Rc<Stack>, OutputError> {
        if frames == 0 {
            return Ok(Rc::new(Stack { frames: Vec::new(), mode, missing: false }));
        }
        let Some(mut addresses) = self.maps.stack(id)? else {
            return Ok(Rc::new(Stack { frames: Vec::new(), mode, missing: true }));
        };
        addresses.truncate(frames as usize);
        let frames = if user {
            self.symbols.user_frames(tgid, &addresses)
        } else {
            self.symbols.kernel_frames(&addresses)
        };
        Ok(Rc::new(Stack { frames, mode, missing: false }))
    }

    fn point(&self, text: PointText, index: u64) -> Result<Value, OutputError> {
        let point = usize::try_from(index)
            .ok()
            .and_then(|i| self.plan.points.get(i))
            .ok_or_else(|| OutputError::Internal(format!("no attach point with index {index}")))?;
        Ok(Value::Text(match text {
            PointText::Probe => point.to_string().into_bytes(),
            PointText::Func => {
                let symbol = point.function().unwrap_or_default();
                let demangles = self.plan.settings.demangle;
                if demangles { demangle(symbol) } else { symbol.to_owned() }.into_bytes()
            }
        }))
    }
}

/// The integer in up to eight bytes, sign-extended if asked.
pub(super) fn integer(bytes: &[u8], signed: bool) -> i128 {
    let size = bytes.len().min(8);
    let mut raw = [0u8; 8];
    raw[..size].copy_from_slice(&bytes[..size]);
    let value = u64::from_ne_bytes(raw);
    if signed && size > 0 {
        let shift = 64 - 8 * size as u32;
        i128::from(((value << shift) as i64) >> shift)
    } else {
        i128::from(value)
    }
}

/// The bytes before the first NUL.
pub(super) fn c_string(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    &bytes[..end]
}

/// A key as maps have it: what follows a string's NUL is zero, which it need not be in an event.
pub(super) fn padded_key<'a>(ty: &Type, bytes: &'a [u8]) -> Cow<'a, [u8]> {
    let text = match ty {
        Type::Str { .. } => c_string(bytes).len(),
        _ => bytes.len(),
    };
    if bytes[text..].iter().all(|b| *b == 0) {
        return Cow::Borrowed(bytes);
    }
    let mut padded = bytes[..text].to_vec();
    padded.resize(bytes.len(), 0);
    Cow::Owned(padded)
}

/// The `u64` at a byte offset of bytes whose length was checked against their type.
fn word(bytes: &[u8], at: usize) -> u64 {
    integer(&bytes[at..at + 8], false) as u64
}

/// The same of a `u32`.
fn word32(bytes: &[u8], at: usize) -> u32 {
    integer(&bytes[at..at + 4], false) as u32
}

/// The bits `low..low + width` from the start of `bytes` on, lowest bits in the first byte.
fn bit_field(bytes: &[u8], ty: &Type, low: u8, width: u8) -> Result<i128, OutputError> {
    // In a packed struct it may lie across 9 bytes.
    let unit = &bytes[..bytes.len().min(16)];
    if !(1..=64).contains(&width) || u32::from(low) + u32::from(width) > 8 * unit.len() as u32 {
        return Err(OutputError::Internal(format!("a bit-field of {width} bits at bit {low} of a `{ty}`")));
    }
    let mut raw = [0u8; 16];
    raw[..unit.len()].copy_from_slice(unit);
    let bits = u128::from_le_bytes(raw) << (128 - u32::from(low) - u32::from(width));
    let down = 128 - u32::from(width);
    Ok(if ty.is_signed() { (bits as i128) >> down } else { (bits >> down) as i128 })
}
