//! Printing maps: which elements, in which order.
//!
//! ```text
//! integers, enumerations, count, sum, min, max    by value, smallest first
//! avg, stats                                      by average
//! histograms                                      by total count
//! anything else                                   by key
//! ```
//! Elements with equal values are ordered by key, so that two printings of one state are the same.
//! `top` keeps the last ones, still smallest first.

use std::cmp::Ordering;

use memql_compiler::plan::MapPlan;
use memql_compiler::types::{Agg, Type, tuple_layout};

use super::aggregate::{self, divided_stats};
use super::decode::{Decoder, c_string, integer};
use super::messages::{Element, MapKind, Messages};
use super::{OutputError, Value};
use crate::maps::{Copies, Entries};

/// How much of a map is printed, and how: `print(@map, top, div)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Selection {
    /// At most so many elements, the largest; 0 for all.
    pub top: u64,
    /// Divide values by this; 0 and 1 leave them.
    pub div: u64,
}

impl Selection {
    /// All of it, as it is.
    pub const ALL: Selection = Selection { top: 0, div: 1 };
}

/// Appends a map with keys.
pub(super) fn push_keyed(
    out: &mut Vec<u8>,
    messages: &dyn Messages,
    decoder: &mut Decoder<'_>,
    map: &MapPlan,
    key_type: &Type,
    entries: &Entries,
    selection: Selection,
) -> Result<(), OutputError> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut order = ordered(&map.value, key_type, entries);
    let top = usize::try_from(selection.top).unwrap_or(usize::MAX);
    if top > 0 && top < order.len() {
        order.drain(..order.len() - top);
    }
    messages.map_begin(out, MapKind::of(&map.value), &map.name);
    let end = latest_interval(&map.value, entries);
    for (index, element) in order.into_iter().enumerate() {
        let key = decoder.value(key_type, entries.key(element))?;
        let mut value = value(decoder, &map.value, entries.value(element), selection.div)?;
        if let Value::Series(series) = value {
            value = Value::Series(series.until(end));
        }
        messages.map_element(out, &map.name, Element { index, key: &key, value: &value });
    }
    messages.map_end(out);
    Ok(())
}

/// The latest interval of all time series of a map, so that their rows are the same.
fn latest_interval(ty: &Type, entries: &Entries) -> u64 {
    let Type::Agg(agg @ Agg::Tseries(_)) = ty else { return 0 };
    let ends = (0..entries.len()).map(|i| aggregate::scalar(*agg, entries.value(i)));
    ends.max().and_then(|end| u64::try_from(end).ok()).unwrap_or(0)
}

/// Appends a map without a key.
pub(super) fn push_single(
    out: &mut Vec<u8>,
    messages: &dyn Messages,
    decoder: &mut Decoder<'_>,
    map: &MapPlan,
    copies: Copies<'_>,
    selection: Selection,
) -> Result<(), OutputError> {
    let value = value(decoder, &map.value, copies, selection.div)?;
    messages.map_single(out, MapKind::of(&map.value), &map.name, &value);
    Ok(())
}

/// A map's value, divided. Linear histograms are not, nor is what `stats` counts.
pub(super) fn value(
    decoder: &mut Decoder<'_>,
    ty: &Type,
    copies: Copies<'_>,
    div: u64,
) -> Result<Value, OutputError> {
    let value = decoder.map_value(ty, copies)?;
    Ok(match (ty, value) {
        (Type::Agg(Agg::Stats { .. }), Value::Record(fields)) => divided_stats(fields, div),
        (Type::Agg(Agg::Lhist { .. }), value) => value,
        (_, value) => value.divided(div),
    })
}

/// The indexes of all elements in the order in which they are printed.
fn ordered(value_type: &Type, key_type: &Type, entries: &Entries) -> Vec<usize> {
    let by_key = |a: usize, b: usize| compare(key_type, entries.key(a), entries.key(b));
    let mut ranked: Vec<(i128, usize)> =
        (0..entries.len()).map(|i| (rank(value_type, entries.value(i)).unwrap_or(0), i)).collect();
    ranked.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| by_key(a.1, b.1)));
    ranked.into_iter().map(|(_, i)| i).collect()
}

/// What an element is ordered by; `None` for values that have no order of their own.
fn rank(ty: &Type, copies: Copies<'_>) -> Option<i128> {
    match ty {
        // By key: a series is no number.
        Type::Agg(Agg::Tseries(_)) => None,
        Type::Agg(agg) => Some(aggregate::scalar(*agg, copies)),
        Type::Int { signed, .. } | Type::Enum { signed, .. } => {
            let size = ty.size() as usize;
            Some(copies.iter().map(|copy| integer(&copy[..size.min(copy.len())], *signed)).sum())
        }
        Type::Void
        | Type::Bool
        | Type::Str { .. }
        | Type::Buf { .. }
        | Type::Tuple(_)
        | Type::Ptr { .. }
        | Type::Struct(_)
        | Type::Array { .. }
        | Type::Stack(_)
        | Type::Ksym
        | Type::Usym
        | Type::Timestamp { .. }
        | Type::Named(_)
        | Type::Inet
        | Type::MacAddr
        | Type::Point(_) => None,
    }
}

/// Compares two stored values: numbers as numbers, strings as text, tuples field by field, the rest as
/// bytes. Bytes that are missing compare as smaller.
pub(super) fn compare(ty: &Type, a: &[u8], b: &[u8]) -> Ordering {
    match ty {
        Type::Int { signed, .. } | Type::Enum { signed, .. } => {
            let size = ty.size() as usize;
            integer(&a[..size.min(a.len())], *signed).cmp(&integer(&b[..size.min(b.len())], *signed))
        }
        Type::Str { .. } => c_string(a).cmp(c_string(b)),
        Type::Tuple(fields) => {
            let offsets = tuple_layout(fields).offsets;
            let field = |bytes: &'_ [u8], i: usize| -> Option<std::ops::Range<usize>> {
                let start = offsets[i] as usize;
                let end = start + fields[i].ty.size() as usize;
                (end <= bytes.len()).then_some(start..end)
            };
            (0..fields.len())
                .map(|i| match (field(a, i), field(b, i)) {
                    (Some(at), Some(bt)) => compare(&fields[i].ty, &a[at], &b[bt]),
                    (at, bt) => at.is_some().cmp(&bt.is_some()),
                })
                .find(|ordering| ordering.is_ne())
                .unwrap_or(Ordering::Equal)
        }
        Type::Array { elem, .. } => {
            let size = (elem.size() as usize).max(1);
            let mut pairs = a.chunks(size).zip(b.chunks(size));
            pairs
                .find_map(|(a, b)| Some(compare(elem, a, b)).filter(|o| o.is_ne()))
                .unwrap_or(Ordering::Equal)
        }
        Type::Ptr { .. } | Type::Ksym | Type::Timestamp { .. } | Type::Point(_) => {
            integer(a, false).cmp(&integer(b, false))
        }
        Type::Named(_) => integer(a, true).cmp(&integer(b, true)),
        Type::Void
        | Type::Bool
        | Type::Inet
        | Type::MacAddr
        | Type::Buf { .. }
        | Type::Struct(_)
        | Type::Stack(_)
        | Type::Usym
        | Type::Agg(_) => a.cmp(b),
    }
}
