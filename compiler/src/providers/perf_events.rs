//! `software` and `hardware`: perf's counters, sampled once in so many events.

use super::numbers::number;
use super::{ExpandError, Parts};
use crate::attach::AttachPoint;
use crate::diagnostic::similar;
use crate::target::Target;

/// One of perf's generic events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerfEvent {
    /// Its name.
    pub name: &'static str,
    /// A second name.
    pub alias: Option<&'static str>,
    /// `perf_event_attr.config` (`enum perf_sw_ids`, `enum perf_hw_id`, include/uapi/linux/perf_event.h).
    pub config: u64,
    /// Fire once in so many events where the script does not say: bpftrace's numbers.
    pub default_period: u64,
}

const fn event(
    name: &'static str,
    alias: Option<&'static str>,
    config: u64,
    default_period: u64,
) -> PerfEvent {
    PerfEvent { name, alias, config, default_period }
}

/// Events of type `PERF_TYPE_SOFTWARE`.
pub const SOFTWARE: &[PerfEvent] = &[
    event("alignment-faults", None, 7, 1),
    event("bpf-output", None, 10, 1),
    event("context-switches", Some("cs"), 3, 1_000),
    event("cpu-clock", Some("cpu"), 0, 1_000_000),
    event("cpu-migrations", None, 4, 1),
    event("dummy", None, 9, 1),
    event("emulation-faults", None, 8, 1),
    event("major-faults", None, 6, 1),
    event("minor-faults", None, 5, 100),
    event("page-faults", Some("faults"), 2, 100),
    event("task-clock", None, 1, 1_000_000),
];

/// Events of type `PERF_TYPE_HARDWARE`.
pub const HARDWARE: &[PerfEvent] = &[
    event("backend-stalls", None, 8, 1_000_000),
    event("branch-instructions", Some("branches"), 4, 100_000),
    event("branch-misses", None, 5, 100_000),
    event("bus-cycles", None, 6, 100_000),
    event("cache-misses", None, 3, 1_000_000),
    event("cache-references", None, 2, 1_000_000),
    event("cpu-cycles", Some("cycles"), 0, 1_000_000),
    event("frontend-stalls", None, 7, 1_000_000),
    event("instructions", None, 1, 1_000_000),
    event("ref-cycles", None, 9, 1_000_000),
];

pub(super) fn software(parts: &Parts<'_>, _: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    let (event, period) = event_and_period(parts, SOFTWARE)?;
    Ok(vec![AttachPoint::Software { event: event.to_owned(), period }])
}

pub(super) fn hardware(parts: &Parts<'_>, _: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    let (event, period) = event_and_period(parts, HARDWARE)?;
    Ok(vec![AttachPoint::Hardware { event: event.to_owned(), period }])
}

/// The event's name as written, and its period.
fn event_and_period<'a>(
    parts: &Parts<'a>,
    events: &'static [PerfEvent],
) -> Result<(&'a str, u64), ExpandError> {
    let (name, count) = match parts.texts {
        [name] => (*name, ""),
        [name, count] => (*name, *count),
        _ => return Err(parts.wrong_count()),
    };
    let Some(event) = events.iter().find(|e| e.name == name || e.alias == Some(name)) else {
        let provider = parts.provider.name;
        let known = events.iter().flat_map(|e| [Some(e.name), e.alias]).flatten();
        let mut close = similar(name, known);
        if close.is_empty() {
            close = events.iter().map(|e| e.name.to_owned()).collect();
        }
        let message = format!("there is no {provider} event `{name}`");
        let similar = close.iter().map(|name| format!("{provider}:{name}")).collect();
        return Err(ExpandError::NotFound { part: 1, message, similar });
    };
    match (count, number(count)) {
        ("", _) => Ok((name, event.default_period)),
        (_, Some(period)) if period > 0 => Ok((name, period)),
        (_, Some(_)) => Err(parts.malformed(2, "the count is zero")),
        (count, None) => Err(parts.malformed(2, format!("`{count}` is not a number"))),
    }
}
