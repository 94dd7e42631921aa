//! `watchpoint:ADDRESS:LENGTH:MODE`: breakpoints of the processor on memory.
//!
//! They are perf events on each CPU, so that all threads are seen, also those that are started later;
//! under `-p` the programs' own filter picks the process.

use super::kernel::{Breakpoint, PerfEvent, Sample};

/// `PERF_TYPE_BREAKPOINT` (include/uapi/linux/perf_event.h).
const PERF_TYPE_BREAKPOINT: u32 = 5;

/// `HW_BREAKPOINT_*` (include/uapi/linux/hw_breakpoint.h).
const READ: u32 = 1;
const WRITE: u32 = 2;
const EXECUTE: u32 = 4;

/// Bytes that the kernel wants for an instruction: `sizeof(long)` (arch/x86/kernel/hw_breakpoint.c); ARM's are 4.
const INSTRUCTION_BYTES: u64 = if cfg!(target_arch = "aarch64") { 4 } else { 8 };

/// The perf event.
pub fn event(address: u64, length: u64, mode: &str) -> PerfEvent {
    let (kinds, length) = match mode {
        "x" => (EXECUTE, INSTRUCTION_BYTES),
        "r" => (READ, length),
        "rw" => (READ | WRITE, length),
        _ => (WRITE, length),
    };
    PerfEvent {
        kind: PERF_TYPE_BREAKPOINT,
        config: 0,
        name: None,
        breakpoint: Some(Breakpoint { kinds, address }),
        offset: length,
        sample: Sample::Period(1),
    }
}

/// What to do about an errno of attaching a watchpoint.
pub fn remedy(errno: i32) -> Option<&'static str> {
    match errno {
        libc::EINVAL => Some(
            "this processor cannot watch that: on x86-64, modes are `w`, `rw` and `x`, and addresses are aligned to the length",
        ),
        libc::ENOSPC => Some("all breakpoints of the processor are in use: there are four"),
        libc::EACCES | libc::EPERM => Some("watching the kernel's memory needs root or CAP_PERFMON"),
        libc::EOPNOTSUPP | libc::ENOENT | libc::ENODEV => {
            Some("this machine has no hardware breakpoints (some virtual machines have none)")
        }
        _ => None,
    }
}
