//! Aggregations: the copies of all CPUs become one result.
//!
//! The layouts are those of [`Agg`]. Totals are added in 128 bits, so an average over CPUs is exact
//! as long as no single CPU's total wrapped.

use memql_compiler::types::Agg;

use super::Value;
use super::decode::integer;
use super::histogram::Histogram;
use super::series::TimeSeries;
use crate::maps::Copies;

/// The result of an aggregation over its copies. Bytes that a copy lacks count as zero.
pub fn combine(agg: Agg, copies: Copies<'_>) -> Value {
    match agg {
        Agg::Count | Agg::Sum { .. } | Agg::Min { .. } | Agg::Max { .. } | Agg::Avg { .. } => {
            Value::Int(scalar(agg, copies))
        }
        Agg::Stats { signed } => {
            let (count, total) = count_and_total(copies, signed);
            Value::Record(vec![
                ("count".into(), Value::Int(count)),
                ("average".into(), Value::Int(average(count, total))),
                ("total".into(), Value::Int(total)),
            ])
        }
        Agg::Tseries(series) => Value::Series(TimeSeries::of(series, copies)),
        Agg::Hist { bits } => Value::Histogram(Histogram::log2(bits, &buckets(agg, copies))),
        Agg::Lhist { min, max, step } => {
            Value::Histogram(Histogram::linear(min, max, step, &buckets(agg, copies)))
        }
    }
}

/// The aggregation as one number: what maps are ordered by and reports compute with. The average of
/// `stats`, the total count of a histogram.
pub fn scalar(agg: Agg, copies: Copies<'_>) -> i128 {
    match agg {
        // A sum is the two's-complement sum of all copies, as one counter would have had it.
        Agg::Count => wrapping_sum(copies, false),
        Agg::Sum { signed } => wrapping_sum(copies, signed),
        Agg::Min { signed } => set_values(copies, signed).min().unwrap_or(0),
        Agg::Max { signed } => set_values(copies, signed).max().unwrap_or(0),
        Agg::Avg { signed } | Agg::Stats { signed } => {
            let (count, total) = count_and_total(copies, signed);
            average(count, total)
        }
        // The latest interval: what a whole map is shown up to.
        Agg::Tseries(series) => i128::from(TimeSeries::of(series, copies).end),
        Agg::Hist { .. } | Agg::Lhist { .. } => buckets(agg, copies).into_iter().map(i128::from).sum(),
    }
}

/// `stats` divided: the average is, count and total are not.
pub fn divided_stats(fields: Vec<(String, Value)>, div: u64) -> Value {
    Value::Record(
        fields
            .into_iter()
            .map(|(name, value)| {
                let value = if name == "average" { value.divided(div) } else { value };
                (name, value)
            })
            .collect(),
    )
}

fn wrapping_sum(copies: Copies<'_>, signed: bool) -> i128 {
    let total = copies.iter().fold(0u64, |sum, copy| sum.wrapping_add(word(copy, 0, false) as u64));
    if signed { i128::from(total as i64) } else { i128::from(total) }
}

fn set_values(copies: Copies<'_>, signed: bool) -> impl Iterator<Item = i128> {
    copies.iter().filter(|copy| word(copy, 1, false) != 0).map(move |copy| word(copy, 0, signed))
}

fn count_and_total(copies: Copies<'_>, signed: bool) -> (i128, i128) {
    copies
        .iter()
        .fold((0, 0), |(count, total), copy| (count + word(copy, 0, false), total + word(copy, 1, signed)))
}

/// Cut towards zero, as integer division is; 0 for nothing.
fn average(count: i128, total: i128) -> i128 {
    if count == 0 { 0 } else { total / count }
}

fn buckets(agg: Agg, copies: Copies<'_>) -> Vec<u64> {
    let mut sums = vec![0u64; agg.words() as usize];
    for copy in copies.iter() {
        for (sum, bucket) in sums.iter_mut().zip(copy.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(*bucket));
        }
    }
    sums
}

/// The `i`-th 64-bit word of a copy.
fn word(copy: &[u8], i: usize, signed: bool) -> i128 {
    copy.get(i * 8..i * 8 + 8).map_or(0, |bytes| integer(bytes, signed))
}
