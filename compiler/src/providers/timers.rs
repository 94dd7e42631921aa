//! `interval` and `profile`: events by the clock.

use super::numbers::{duration_ns, number, unit_ns};
use super::{ExpandError, Parts};
use crate::attach::{AttachPoint, SampleRate};
use crate::target::Target;

const SECOND_NS: u64 = 1_000_000_000;

pub(super) fn interval(parts: &Parts<'_>, _: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    let period_ns = match rate(parts)? {
        SampleRate::Hz(hz) => SECOND_NS / hz,
        SampleRate::PeriodNs(period) => period,
    };
    Ok(vec![AttachPoint::Interval { text: parts.texts.join(":"), period_ns }])
}

pub(super) fn profile(parts: &Parts<'_>, _: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    Ok(vec![AttachPoint::Profile { text: parts.texts.join(":"), rate: rate(parts)? }])
}

/// How often; never zero, and at most once in a nanosecond.
fn rate(parts: &Parts<'_>) -> Result<SampleRate, ExpandError> {
    match parts.texts {
        [duration] => match duration_ns(duration) {
            Some(period) if period > 0 => Ok(SampleRate::PeriodNs(period)),
            Some(_) => Err(parts.malformed(1, "the period is zero")),
            None => Err(parts.malformed(1, format!("`{duration}` is not a duration"))),
        },
        [unit, count] => {
            let wrong = |message: String| parts.malformed(2, message);
            let count = number(count).ok_or_else(|| wrong(format!("`{count}` is not a number")))?;
            match (*unit, unit_ns(unit)) {
                ("hz", _) if (1..=SECOND_NS).contains(&count) => Ok(SampleRate::Hz(count)),
                ("hz", _) => Err(wrong(format!("a rate is from 1 to {SECOND_NS} a second, not {count}"))),
                (_, Some(ns)) => match count.checked_mul(ns) {
                    Some(period) if period > 0 => Ok(SampleRate::PeriodNs(period)),
                    Some(_) => Err(wrong("the period is zero".into())),
                    None => Err(wrong("the period is longer than 584 years".into())),
                },
                (unit, None) => {
                    let message = format!("`{unit}` is not a unit of time");
                    let help = Some("units are `us`, `ms`, `s` and `hz`".to_owned());
                    Err(ExpandError::Malformed { part: 1, message, help })
                }
            }
        }
        _ => Err(parts.wrong_count()),
    }
}
