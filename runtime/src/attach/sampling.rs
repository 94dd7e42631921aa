//! `profile`, `software`, `hardware`: perf events that fire every so often, on each online CPU.
//!
//! They count whatever runs there; under `-p` the programs' own filter picks the process. So with a
//! count above 1, `software:page-faults:100` is every hundredth fault of a CPU, not of the process.

use std::io;

use memql_compiler::attach::SampleRate;

use super::kernel::{PerfEvent, Sample};

/// `PERF_TYPE_*` (include/uapi/linux/perf_event.h).
const PERF_TYPE_HARDWARE: u32 = 0;
const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_COUNT_SW_CPU_CLOCK: u64 = 0;

/// A software or hardware event: its names, the language's first, and its number
/// (`enum perf_sw_ids`, `enum perf_hw_id`).
struct Named {
    names: &'static [&'static str],
    number: u64,
}

const SOFTWARE: &[Named] = &[
    Named { names: &["cpu-clock", "cpu"], number: PERF_COUNT_SW_CPU_CLOCK },
    Named { names: &["task-clock"], number: 1 },
    Named { names: &["page-faults", "faults"], number: 2 },
    Named { names: &["context-switches", "cs"], number: 3 },
    Named { names: &["cpu-migrations"], number: 4 },
    Named { names: &["minor-faults"], number: 5 },
    Named { names: &["major-faults"], number: 6 },
    Named { names: &["alignment-faults"], number: 7 },
    Named { names: &["emulation-faults"], number: 8 },
    Named { names: &["dummy"], number: 9 },
    Named { names: &["bpf-output"], number: 10 },
];

const HARDWARE: &[Named] = &[
    Named { names: &["cpu-cycles", "cycles"], number: 0 },
    Named { names: &["instructions"], number: 1 },
    Named { names: &["cache-references"], number: 2 },
    Named { names: &["cache-misses"], number: 3 },
    Named { names: &["branch-instructions", "branches"], number: 4 },
    Named { names: &["branch-misses"], number: 5 },
    Named { names: &["bus-cycles"], number: 6 },
    Named { names: &["frontend-stalls"], number: 7 },
    Named { names: &["backend-stalls"], number: 8 },
    Named { names: &["ref-cycles"], number: 9 },
];

/// The event of `profile`.
pub fn profile(rate: SampleRate) -> PerfEvent {
    let sample = match rate {
        SampleRate::Hz(hz) => Sample::Frequency(hz),
        SampleRate::PeriodNs(ns) => Sample::Period(ns),
    };
    PerfEvent {
        kind: PERF_TYPE_SOFTWARE,
        config: PERF_COUNT_SW_CPU_CLOCK,
        name: None,
        breakpoint: None,
        offset: 0,
        sample,
    }
}

/// The event of `software:EVENT:PERIOD`.
///
/// # Errors
/// EINVAL for an event that the table does not have.
pub fn software(event: &str, period: u64) -> io::Result<PerfEvent> {
    named(SOFTWARE, PERF_TYPE_SOFTWARE, event, period)
}

/// The event of `hardware:EVENT:PERIOD`.
///
/// # Errors
/// EINVAL for an event that the table does not have.
pub fn hardware(event: &str, period: u64) -> io::Result<PerfEvent> {
    named(HARDWARE, PERF_TYPE_HARDWARE, event, period)
}

fn named(table: &[Named], kind: u32, event: &str, period: u64) -> io::Result<PerfEvent> {
    let entry = table.iter().find(|entry| entry.names.contains(&event));
    let number = entry.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?.number;
    Ok(PerfEvent {
        kind,
        config: number,
        name: None,
        breakpoint: None,
        offset: 0,
        sample: Sample::Period(period),
    })
}

/// What to do about an errno of attaching a sampling event.
pub fn remedy(errno: i32, hardware: bool) -> Option<&'static str> {
    match errno {
        libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV if hardware => Some(
            "this machine has no such performance counter (virtual machines often have none): `profile` and `software` work without",
        ),
        libc::EINVAL => Some("the rate may be above `sysctl kernel.perf_event_max_sample_rate`"),
        libc::EMFILE => Some("too many open files: raise `ulimit -n`"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_events_follow_the_kernels_list() {
        assert_eq!(software("page-faults", 100).unwrap().config, 2);
        assert_eq!(software("faults", 100).unwrap().config, 2);
        assert_eq!(hardware("cache-misses", 1).unwrap().config, 3);
        assert!(software("no-such-event", 1).is_err());
    }

    #[test]
    fn a_rate_is_a_frequency_and_a_period_is_a_period() {
        assert_eq!(profile(SampleRate::Hz(99)).sample, Sample::Frequency(99));
        assert_eq!(profile(SampleRate::PeriodNs(1000)).sample, Sample::Period(1000));
    }
}
