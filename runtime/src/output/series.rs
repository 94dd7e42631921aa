//! Time series, from `tseries()`: a value for each interval, with a graph in text.
//!
//! ```text
//! @a:
//!              8                                                  10
//! hh:mm:ss.ms  |___________________________________________________|
//! 10:41:46.700 |                         *                         | 9
//! 10:41:46.800 |                                                   | -
//!              v___________________________________________________v
//!              8                                                  10
//! ```

use std::collections::BTreeMap;

use memql_compiler::types::{Series, SeriesValue};

use super::decode::integer;
use super::text::push_number;
use super::time;
use crate::maps::Copies;

/// Columns from the graph's left edge to its right one.
const COLUMNS: i128 = 52;

/// A time series: the intervals that have a value, and which are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeSeries {
    /// Length of an interval in nanoseconds.
    pub interval_ns: u64,
    /// Whether the values have a sign.
    pub signed: bool,
    /// The most intervals that are shown.
    pub intervals: u32,
    /// The values by their interval's number since 1970.
    pub points: BTreeMap<u64, i128>,
    /// The last interval that is shown: that of the latest value in the whole map.
    pub end: u64,
}

/// One interval while the copies of all CPUs are combined.
#[derive(Clone, Copy)]
struct Combined {
    value: i128,
    /// As the third word of [`Series::WORDS`]: the latest time, the count, or whether there is a value.
    other: i128,
}

impl TimeSeries {
    /// The series of all copies.
    pub(super) fn of(series: Series, copies: Copies<'_>) -> TimeSeries {
        let Series { interval_ns, intervals, keeps, signed } = series;
        let mut found: BTreeMap<u64, Combined> = BTreeMap::new();
        let words = Series::WORDS as usize;
        for copy in copies.iter() {
            for interval in copy.as_chunks::<8>().0.chunks_exact(words) {
                let stamp = u64::from_ne_bytes(interval[0]);
                let Some(number) = stamp.checked_sub(1) else { continue };
                let (value, other) = (integer(&interval[1], signed), integer(&interval[2], false));
                let all = found.entry(number).or_insert(Combined { value: 0, other: 0 });
                let replaces = match keeps {
                    SeriesValue::Last => other > all.other,
                    SeriesValue::Max => other > 0 && (all.other == 0 || value > all.value),
                    SeriesValue::Min => other > 0 && (all.other == 0 || value < all.value),
                    SeriesValue::Avg | SeriesValue::Sum => false,
                };
                match keeps {
                    SeriesValue::Avg | SeriesValue::Sum => {
                        all.value += value;
                        all.other += other;
                    }
                    SeriesValue::Last | SeriesValue::Max | SeriesValue::Min if replaces => {
                        *all = Combined { value, other };
                    }
                    SeriesValue::Last | SeriesValue::Max | SeriesValue::Min => {}
                }
            }
        }
        let result = |all: Combined| match keeps {
            SeriesValue::Avg if all.other > 0 => all.value / all.other,
            SeriesValue::Avg | SeriesValue::Last | SeriesValue::Max | SeriesValue::Min | SeriesValue::Sum => {
                all.value
            }
        };
        let points: BTreeMap<u64, i128> = found.into_iter().map(|(n, all)| (n, result(all))).collect();
        let end = points.last_key_value().map_or(0, |(n, _)| *n);
        TimeSeries { interval_ns, signed, intervals, points, end }
    }

    /// The same, shown up to another series' end.
    #[must_use]
    pub(super) fn until(mut self, end: u64) -> TimeSeries {
        self.end = end;
        self
    }

    /// The same with values divided.
    #[must_use]
    pub fn divided(mut self, div: u64) -> TimeSeries {
        self.points.values_mut().for_each(|v| *v /= i128::from(div.max(1)));
        self
    }

    /// The values that are shown, each with the nanoseconds since 1970 at which its interval began.
    pub fn shown(&self) -> impl Iterator<Item = (u64, i128)> {
        let first = (self.end + 1).saturating_sub(u64::from(self.intervals));
        let interval = self.interval_ns;
        self.points.range(first..=self.end).map(move |(n, v)| (n.saturating_mul(interval), *v))
    }

    /// Writes it as a graph, a line an interval.
    pub fn push_text(&self, out: &mut Vec<u8>) {
        let Some((first, _)) = self.shown().next() else {
            out.extend_from_slice(b"<no data>");
            return;
        };
        let first = first / self.interval_ns;
        let unit = self.unit(self.end - first);
        let (least, most) = self.bounds();
        // Bytes, not columns, as bpftrace counts them.
        let indent = unit.width() + 1;
        let scale = |out: &mut Vec<u8>| {
            out.resize(out.len() + indent, b' ');
            let (left, right) = (least.to_string(), most.to_string());
            let blanks = (COLUMNS as usize + 1).saturating_sub(left.len() + right.len());
            out.extend_from_slice(format!("{left}{}{right}\n", " ".repeat(blanks)).as_bytes());
        };
        let edge = |out: &mut Vec<u8>, end: char| {
            let line = "_".repeat(COLUMNS as usize - 1);
            out.extend_from_slice(format!("{end}{line}{end}\n").as_bytes());
        };
        scale(out);
        let start = out.len();
        out.extend_from_slice(unit.heading().as_bytes());
        out.resize(start + indent, b' ');
        edge(out, '|');
        for number in first..=self.end {
            let at = number.saturating_mul(self.interval_ns);
            out.extend_from_slice(unit.shown(at).as_bytes());
            out.push(b' ');
            self.push_row(out, self.points.get(&number).copied(), least, most);
        }
        out.resize(out.len() + indent, b' ');
        edge(out, 'v');
        scale(out);
    }

    fn push_row(&self, out: &mut Vec<u8>, value: Option<i128>, least: i128, most: i128) {
        let column = |v: i128| ((v - least) * COLUMNS / (most - least)) as usize;
        let start = out.len();
        out.push(b'|');
        out.resize(start + COLUMNS as usize, b' ');
        out.push(b'|');
        if least < 0 && most > 0 {
            out[start + column(0)] = b'.';
        }
        if let Some(v) = value {
            out[start + column(v)] = b'*';
        }
        out.push(b' ');
        match value {
            Some(v) => push_number(out, v),
            None => out.push(b'-'),
        }
        out.push(b'\n');
    }

    /// The smallest and the largest value that is shown; room around a single one.
    fn bounds(&self) -> (i128, i128) {
        let least = self.shown().map(|(_, v)| v).min().unwrap_or(0);
        let most = self.shown().map(|(_, v)| v).max().unwrap_or(0);
        if least < most {
            return (least, most);
        }
        let (lowest, highest) = if self.signed {
            (i128::from(i64::MIN), i128::from(i64::MAX))
        } else {
            (0, i128::from(u64::MAX))
        };
        ((least - 1).max(lowest), (most + 1).min(highest))
    }

    /// How exactly times are written: just enough to tell one row from the next.
    fn unit(&self, further_rows: u64) -> Unit {
        match self.interval_ns {
            _ if further_rows == 0 => Unit::Nanoseconds,
            1_000_000_000.. => Unit::Seconds,
            1_000_000.. => Unit::Milliseconds,
            1000.. => Unit::Microseconds,
            _ => Unit::Nanoseconds,
        }
    }
}

/// How exactly times are written.
#[derive(Clone, Copy)]
enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Unit {
    fn digits(self) -> usize {
        match self {
            Unit::Seconds => 0,
            Unit::Milliseconds => 3,
            Unit::Microseconds => 6,
            Unit::Nanoseconds => 9,
        }
    }

    /// Bytes of a time.
    fn width(self) -> usize {
        match self.digits() {
            0 => 8,
            digits => 9 + digits,
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Unit::Seconds => "hh:mm:ss",
            Unit::Milliseconds => "hh:mm:ss.ms",
            Unit::Microseconds => "hh:mm:ss.μs",
            Unit::Nanoseconds => "hh:mm:ss.ns",
        }
    }

    fn shown(self, at: u64) -> String {
        let clock = time::wall("%H:%M:%S", at);
        let digits = self.digits();
        if digits == 0 {
            return clock;
        }
        let nanos = format!("{:09}", at % 1_000_000_000);
        format!("{clock}.{}", &nanos[..digits])
    }
}
