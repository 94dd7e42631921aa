//! A decoded value of the language.
//!
//! [`super::decode`] makes it from bytes; [`super::text`] and [`super::json`] write it. It owns
//! everything it needs, resolved symbols included, so that writing never looks anything up.

use std::rc::Rc;

use super::histogram::Histogram;
use super::series::TimeSeries;
use crate::symbols::Stack;

/// A value, ready to be printed.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Void,
    /// `true` or `false`.
    Bool(bool),
    /// An integer of any width. 128 bits hold both 64-bit kinds, and totals over all CPUs exactly.
    Int(i128),
    /// An address: text in hex, a number in JSON.
    Pointer(u64),
    /// An enumeration: its name in text (the number if it has none), the number in JSON.
    Enum {
        /// The enumerator's name.
        name: Option<String>,
        /// The number.
        value: i128,
    },
    /// Text that was read from somewhere: any bytes.
    Text(Vec<u8>),
    /// Binary data.
    Buf(Vec<u8>),
    /// An array.
    Array(Vec<Value>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A record or struct: names and values.
    Record(Vec<(String, Value)>),
    /// A call stack.
    Stack(Rc<Stack>),
    /// A histogram, from `hist()` or `lhist()`.
    Histogram(Histogram),
    /// A time series, from `tseries()`.
    Series(TimeSeries),
}

impl Value {
    /// The number behind a value that has one: what `%d` prints.
    pub fn number(&self) -> Option<i128> {
        match self {
            Value::Bool(b) => Some(i128::from(*b)),
            Value::Int(n) | Value::Enum { value: n, .. } => Some(*n),
            Value::Pointer(p) => Some(i128::from(*p)),
            Value::Void
            | Value::Text(_)
            | Value::Buf(_)
            | Value::Array(_)
            | Value::Tuple(_)
            | Value::Record(_)
            | Value::Stack(_)
            | Value::Histogram(_)
            | Value::Series(_) => None,
        }
    }

    /// The value with its integers divided, as `print(@map, top, div)` asks. Quotients are cut
    /// towards zero; histograms divide their counts; addresses, enumerations and text stay.
    #[must_use]
    pub fn divided(self, div: u64) -> Value {
        if div <= 1 {
            return self;
        }
        let each = |values: Vec<Value>| values.into_iter().map(|v| v.divided(div)).collect();
        match self {
            Value::Int(n) => Value::Int(n / i128::from(div)),
            Value::Array(values) => Value::Array(each(values)),
            Value::Tuple(values) => Value::Tuple(each(values)),
            Value::Record(fields) => {
                Value::Record(fields.into_iter().map(|(name, v)| (name, v.divided(div))).collect())
            }
            Value::Histogram(histogram) => Value::Histogram(histogram.divided(div)),
            Value::Series(series) => Value::Series(series.divided(div)),
            Value::Void
            | Value::Bool(_)
            | Value::Pointer(_)
            | Value::Enum { .. }
            | Value::Text(_)
            | Value::Buf(_)
            | Value::Stack(_) => self,
        }
    }
}
