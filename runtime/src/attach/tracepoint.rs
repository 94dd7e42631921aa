//! `tracepoint:CATEGORY:EVENT`: a perf event by the tracepoint's id, which tracefs knows.

use super::kernel::{PerfEvent, Sample};

/// `PERF_TYPE_TRACEPOINT` (include/uapi/linux/perf_event.h).
const PERF_TYPE_TRACEPOINT: u32 = 2;

/// The event of the tracepoint with this id.
pub fn event(id: u64) -> PerfEvent {
    PerfEvent {
        kind: PERF_TYPE_TRACEPOINT,
        config: id,
        name: None,
        breakpoint: None,
        offset: 0,
        sample: Sample::Each,
    }
}

/// What to do about an errno of attaching to a tracepoint.
pub fn remedy(errno: i32) -> Option<&'static str> {
    match errno {
        libc::EEXIST => Some("too many programs are attached to this tracepoint already (64 at most)"),
        libc::E2BIG => Some("too many programs are attached to this tracepoint already (64 at most)"),
        _ => None,
    }
}
