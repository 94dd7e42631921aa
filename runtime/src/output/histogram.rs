//! Histograms: buckets with labels, from `hist()` and `lhist()`.
//!
//! Only the buckets from the first to the last that is not empty are kept. The layouts of the counts
//! are those of [`memql_compiler::types::Agg`].
//!
//! ```text
//! [16K, 32K)             5 |@@@@@@@@@@@@@@@@@@@@@@@@@@                          |
//! ```

use super::text::push_number;

/// Columns of the longest bar.
const BAR_COLUMNS: usize = 52;
/// Columns of a label.
const LABEL_COLUMNS: usize = 16;
/// Columns of a count.
const COUNT_COLUMNS: usize = 8;

/// A histogram, from its first to its last bucket that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// The buckets in ascending order.
    pub buckets: Vec<Bucket>,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The smallest value in it; `None` for the one that everything below the others goes to.
    pub low: Option<Bound>,
    /// The smallest value above it; `None` for the one that everything above the others goes to.
    pub high: Option<Bound>,
    /// How many values are in it.
    pub count: u64,
}

/// A bucket's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The number.
    pub value: i128,
    /// How it is written where that differs: `16K`.
    pub label: Option<String>,
}

impl Bound {
    fn plain(value: i128) -> Bound {
        Bound { value, label: None }
    }

    fn push(&self, out: &mut Vec<u8>) {
        match &self.label {
            Some(label) => out.extend_from_slice(label.as_bytes()),
            None => push_number(out, self.value),
        }
    }
}

impl Histogram {
    /// A histogram by powers of two, each cut into `2^bits` buckets.
    pub fn log2(bits: u8, counts: &[u64]) -> Histogram {
        Histogram::of(counts, |i| {
            let i = i as u64;
            let low = (i > 0).then(|| log2_bound(bits, i - 1));
            (low, Some(if i == 0 { Bound::plain(0) } else { log2_bound(bits, i) }))
        })
    }

    /// A histogram by steps of equal width.
    pub fn linear(min: i64, max: i64, step: i64, counts: &[u64]) -> Histogram {
        let (min, max, step) = (i128::from(min), i128::from(max), i128::from(step));
        let bound = |i: i128| Bound { value: min + i * step, label: linear_label(min + i * step, step) };
        Histogram::of(counts, |i| {
            let i = i as i128;
            ((i > 0).then(|| bound(i - 1)), (min + i * step <= max).then(|| bound(i)))
        })
    }

    /// The same with counts divided.
    #[must_use]
    pub fn divided(mut self, div: u64) -> Histogram {
        for bucket in &mut self.buckets {
            bucket.count /= div.max(1);
        }
        self
    }

    fn of(counts: &[u64], bounds: impl Fn(usize) -> (Option<Bound>, Option<Bound>)) -> Histogram {
        let Some(first) = counts.iter().position(|c| *c > 0) else {
            return Histogram::default();
        };
        let last = counts.iter().rposition(|c| *c > 0).unwrap_or(first);
        let bucket = |i: usize| {
            let (low, high) = bounds(i);
            Bucket { low, high, count: counts[i] }
        };
        Histogram { buckets: (first..=last).map(bucket).collect() }
    }

    /// Writes it as a table, a line a bucket.
    pub fn push_text(&self, out: &mut Vec<u8>) {
        let most = self.buckets.iter().map(|b| b.count).max().unwrap_or(0);
        for bucket in &self.buckets {
            let start = out.len();
            bucket.push_label(out);
            pad_to(out, start + LABEL_COLUMNS);
            let count = bucket.count.to_string();
            out.resize(out.len() + COUNT_COLUMNS.saturating_sub(count.len()), b' ');
            out.extend_from_slice(count.as_bytes());
            out.extend_from_slice(b" |");
            let bar = out.len();
            out.resize(bar + bar_columns(bucket.count, most), b'@');
            pad_to(out, bar + BAR_COLUMNS);
            out.extend_from_slice(b"|\n");
        }
    }
}

impl Bucket {
    /// `(..., 0)`, `[4]`, `[8, 16)`, `[100, ...)`
    fn push_label(&self, out: &mut Vec<u8>) {
        match (&self.low, &self.high) {
            (None, None) => out.extend_from_slice(b"(..., ...)"),
            (None, Some(high)) => {
                out.extend_from_slice(b"(..., ");
                high.push(out);
                out.push(b')');
            }
            (Some(low), None) => {
                out.push(b'[');
                low.push(out);
                out.extend_from_slice(b", ...)");
            }
            (Some(low), Some(high)) => {
                out.push(b'[');
                low.push(out);
                let one_value = low.value + 1 == high.value && low.label.is_none() && high.label.is_none();
                if one_value {
                    out.push(b']');
                } else {
                    out.extend_from_slice(b", ");
                    high.push(out);
                    out.push(b')');
                }
            }
        }
    }
}

/// The smallest value of bucket `index + 1` of a histogram by powers of two, so the end of bucket
/// `index`: with `n = 2^bits`, the indexes below `2n` stand for themselves; above, `n` indexes cut
/// each power of two.
fn log2_bound(bits: u8, index: u64) -> Bound {
    let n = 1u64 << bits;
    if index <= 2 * n {
        return Bound::plain(i128::from(index));
    }
    let power = index / n - 1;
    let mantissa = i128::from(n + index % n);
    // Written in the largest unit of 1024 that leaves a whole number.
    let unit = power / 10;
    let suffix = ["", "K", "M", "G", "T", "P", "E"].get(unit as usize).copied().unwrap_or("E");
    Bound { value: mantissa << power, label: Some(format!("{}{suffix}", mantissa << (power % 10))) }
}

/// Steps that are multiples of 1024 are written in K and M.
fn linear_label(value: i128, step: i128) -> Option<String> {
    const K: i128 = 1024;
    const M: i128 = 1024 * 1024;
    if step % K != 0 {
        return None;
    }
    Some(match value {
        0 => "0".into(),
        v if v % M == 0 => format!("{}M", v / M),
        v if v % K == 0 => format!("{}K", v / K),
        v => v.to_string(),
    })
}

/// Computed in single precision, as bpftrace does, so that bars have the same length.
fn bar_columns(count: u64, most: u64) -> usize {
    if most == 0 { 0 } else { ((count as f32 / most as f32) * BAR_COLUMNS as f32) as usize }
}

fn pad_to(out: &mut Vec<u8>, len: usize) {
    if out.len() < len {
        out.resize(len, b' ');
    }
}
