//! Dates and times: `strftime` and `time`.
//!
//! Formats are the C library's, in the local time zone, with `%f` for microseconds and (in
//! `strftime()` only, where they take the place of the C library's hours) `%k` for nanoseconds and
//! `%l` for milliseconds, as in bpftrace.

use std::ffi::CString;
use std::mem::MaybeUninit;

use memql_compiler::types::Clock;

/// How the kernel's clocks relate to the wall clock, measured once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// Nanoseconds from the boot clock to the wall clock.
    pub boot_to_realtime_ns: i64,
    /// Nanoseconds from the monotonic clock to the wall clock.
    pub monotonic_to_realtime_ns: i64,
    /// Nanoseconds from atomic time to the wall clock; negative by the leap seconds, 0 where nobody set them.
    pub tai_to_realtime_ns: i64,
    /// Times are shown in UTC, not in the local time zone.
    pub utc: bool,
}

impl Clocks {
    /// Reads all clocks.
    pub fn measure() -> Clocks {
        let real = read_clock(libc::CLOCK_REALTIME);
        Clocks {
            boot_to_realtime_ns: real - read_clock(libc::CLOCK_BOOTTIME),
            monotonic_to_realtime_ns: real - read_clock(libc::CLOCK_MONOTONIC),
            // Both are read one after the other; the offset is whole seconds.
            tai_to_realtime_ns: round_to_seconds(real - read_clock(libc::CLOCK_TAI)),
            utc: false,
        }
    }

    /// Formats a kernel time stamp.
    pub fn format(&self, format: &str, clock: Clock, ns: u64) -> Vec<u8> {
        let offset = match clock {
            Clock::Boot => self.boot_to_realtime_ns,
            Clock::Monotonic => self.monotonic_to_realtime_ns,
            Clock::Tai | Clock::SoftwareTai => self.tai_to_realtime_ns,
            Clock::Realtime => 0,
        };
        let ns = i128::from(ns) + i128::from(offset);
        let seconds = ns.div_euclid(1_000_000_000) as i64;
        if seconds == 0 {
            return b"(?)".to_vec();
        }
        let nanos = ns.rem_euclid(1_000_000_000) as u32;
        strftime(&expand(format, nanos, true), seconds, self.utc).unwrap_or_else(|| b"(?)".to_vec())
    }

    /// The wall clock's time, formatted; empty if the C library cannot.
    pub fn now(&self, format: &str, wall_ns: i64) -> Vec<u8> {
        let nanos = wall_ns.rem_euclid(1_000_000_000) as u32;
        let seconds = wall_ns.div_euclid(1_000_000_000);
        strftime(&expand(format, nanos, false), seconds, self.utc).unwrap_or_default()
    }
}

/// The wall clock, in nanoseconds since 1970.
pub(super) fn wall_ns() -> i64 {
    read_clock(libc::CLOCK_REALTIME)
}

/// A time of the wall clock in nanoseconds since 1970, formatted without parts of a second.
pub fn wall(format: &str, ns: u64) -> String {
    let text = strftime(format, (ns / 1_000_000_000) as i64, false).unwrap_or_else(|| b"(?)".to_vec());
    String::from_utf8_lossy(&text).into_owned()
}

/// Replaces the parts of a format that the C library lacks.
fn expand(format: &str, nanos: u32, sub_seconds: bool) -> String {
    let mut out = String::with_capacity(format.len() + 8);
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match rest.next() {
            Some('f') => out.push_str(&format!("{:06}", nanos / 1000)),
            Some('k') if sub_seconds => out.push_str(&format!("{nanos:09}")),
            Some('l') if sub_seconds => out.push_str(&format!("{:03}", nanos / 1_000_000)),
            Some(other) => out.extend(['%', other]),
            None => out.push('%'),
        }
    }
    out
}

fn strftime(format: &str, seconds: i64, utc: bool) -> Option<Vec<u8>> {
    let format = CString::new(format).ok()?;
    let mut tm = MaybeUninit::<libc::tm>::uninit();
    let convert = if utc { libc::gmtime_r } else { libc::localtime_r };
    // SAFETY: both pointers are valid for the call; either function fills `tm` unless it answers null.
    let tm = unsafe {
        if convert(&raw const seconds, tm.as_mut_ptr()).is_null() {
            return None;
        }
        tm.assume_init()
    };
    for size in [256usize, 4096, 65536] {
        let mut buffer = vec![0u8; size];
        // SAFETY: `buffer` has `size` bytes, `format` ends in a NUL, `tm` is filled.
        let len = unsafe { libc::strftime(buffer.as_mut_ptr().cast(), size, format.as_ptr(), &raw const tm) };
        if len > 0 {
            buffer.truncate(len);
            return Some(buffer);
        }
    }
    // Nothing at all is also what an empty format gives.
    Some(Vec::new())
}

fn read_clock(clock: libc::clockid_t) -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for writes. The clocks asked for exist on every kernel that memql runs on.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn round_to_seconds(ns: i64) -> i64 {
    (ns + 500_000_000).div_euclid(1_000_000_000) * 1_000_000_000
}
