//! Aggregations: what a map keeps of many values.

use super::{Call, Checks, Entry, Made};
use crate::check::Checker;
use crate::check::diagnostics::functions as errors;
use crate::hir::Expr;
use crate::types::{Agg, Series, SeriesValue, Type};

pub(super) const ENTRIES: &[Entry] = &[
    Entry::new("count", "count_t count()", "how often", Checks::Aggregation(count)),
    Entry::new("sum", "sum_t sum(integer)", "the total", Checks::Aggregation(sum)).takes(1, 1),
    Entry::new("min", "min_t min(integer)", "the smallest", Checks::Aggregation(min)).takes(1, 1),
    Entry::new("max", "max_t max(integer)", "the largest", Checks::Aggregation(max)).takes(1, 1),
    Entry::new("avg", "avg_t avg(integer)", "the average", Checks::Aggregation(avg)).takes(1, 1),
    Entry::new("stats", "stats_t stats(integer)", "count, average and total", Checks::Aggregation(stats))
        .takes(1, 1),
    Entry::new(
        "hist",
        "hist_t hist(integer [, const bits])",
        "a histogram by powers of two",
        Checks::Aggregation(hist),
    )
    .takes(1, 2),
    Entry::new(
        "lhist",
        "lhist_t lhist(integer, const min, const max, const step)",
        "a histogram of even steps",
        Checks::Aggregation(lhist),
    )
    .takes(4, 4),
    Entry::new(
        "tseries",
        "tseries_t tseries(integer, const interval, const intervals [, const string \"avg\", \"max\", \"min\" or \"sum\"])",
        "the last value of each interval, or what the text says of its values, for the last intervals",
        Checks::Aggregation(tseries),
    )
    .takes(3, 4),
];

fn count(_: &mut Checker<'_>, _: &Call<'_>) -> Option<Made> {
    Some((Agg::Count, None))
}

/// The value aggregated, as 64 bits of its own sign.
fn operand(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<(Expr, bool)> {
    let value = checker.stored_value(call.args.first()?)?;
    let signed = match &value.ty {
        Type::Int { .. } | Type::Enum { .. } => value.ty.is_signed(),
        Type::Bool | Type::Ptr { .. } => false,
        _ => return checker.fail(|| errors::not_aggregatable(call.name, &value)),
    };
    Some((checker.convert(value, &Type::Int { bits: 64, signed })?, signed))
}

fn of(checker: &mut Checker<'_>, call: &Call<'_>, agg: fn(bool) -> Agg) -> Option<Made> {
    let (value, signed) = operand(checker, call)?;
    Some((agg(signed), Some(value)))
}

fn sum(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Made> {
    of(checker, call, |signed| Agg::Sum { signed })
}

fn min(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Made> {
    of(checker, call, |signed| Agg::Min { signed })
}

fn max(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Made> {
    of(checker, call, |signed| Agg::Max { signed })
}

fn avg(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Made> {
    of(checker, call, |signed| Agg::Avg { signed })
}

fn stats(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Made> {
    of(checker, call, |signed| Agg::Stats { signed })
}

fn hist(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Made> {
    let value = operand(checker, call);
    let bits = match call.args.get(1) {
        None => 0,
        Some(arg) => match checker.constant_integer(call, 1, "the number of buckets")? {
            n @ 0..=5 => n as u8,
            n => return checker.fail(|| errors::hist_bits(n, arg.span)),
        },
    };
    Some((Agg::Hist { bits }, Some(value?.0)))
}

/// The most steps an `lhist` may have, as in bpftrace.
const MAX_STEPS: i128 = 1000;

fn lhist(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Made> {
    let value = operand(checker, call);
    let min = checker.constant_integer(call, 1, "the lower end");
    let max = checker.constant_integer(call, 2, "the upper end");
    let step = checker.constant_integer(call, 3, "the width of a step");
    let (min, max, step) = (min?, max?, step?);
    let span = call.args[1].span.to(call.args[3].span);
    if step <= 0 {
        return checker.fail(|| errors::lhist_step(step, call.args[3].span));
    }
    if min >= max {
        return checker.fail(|| errors::lhist_range(min, max, span));
    }
    if (max - min) / step > MAX_STEPS {
        return checker.fail(|| errors::lhist_steps((max - min) / step, MAX_STEPS, span));
    }
    let word = |v: i128| i64::try_from(v).ok();
    let (Some(min), Some(max), Some(step)) = (word(min), word(max), word(step)) else {
        return checker.fail(|| errors::lhist_range(min, max, span));
    };
    Some((Agg::Lhist { min, max, step }, Some(value?.0)))
}

/// The most intervals that a series keeps: the kernel's per-CPU memory gives one value 32 KiB.
const MAX_INTERVALS: i128 = 1365;

fn tseries(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Made> {
    let value = operand(checker, call);
    let interval = checker.constant_integer(call, 1, "the interval");
    let intervals = checker.constant_integer(call, 2, "the number of intervals");
    let keeps = match call.args.get(3) {
        None => SeriesValue::Last,
        Some(arg) => match checker.constant_text(call, 3, "what is kept")?.as_str() {
            "avg" => SeriesValue::Avg,
            "max" => SeriesValue::Max,
            "min" => SeriesValue::Min,
            "sum" => SeriesValue::Sum,
            other => return checker.fail(|| errors::tseries_keeps(other, arg.span)),
        },
    };
    let (interval, intervals) = (interval?, intervals?);
    let interval_ns = match u64::try_from(interval) {
        Ok(ns) if ns > 0 => ns,
        _ => return checker.fail(|| errors::tseries_interval(interval, call.args[1].span)),
    };
    if !(1..=MAX_INTERVALS).contains(&intervals) {
        return checker.fail(|| errors::tseries_intervals(intervals, MAX_INTERVALS, call.args[2].span));
    }
    let (value, signed) = value?;
    let series = Series { interval_ns, intervals: intervals as u32, keeps, signed };
    Some((Agg::Tseries(series), Some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_lhist_never_has_more_words_than_its_limit_and_two() {
        let agg = Agg::Lhist { min: 0, max: MAX_STEPS as i64, step: 1 };
        assert_eq!(agg.words(), MAX_STEPS as u32 + 2);
    }
}
