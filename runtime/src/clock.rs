//! The kernel's boot clock, which `bpf_ktime_get_boot_ns` reads too.

/// Nanoseconds since boot, time asleep included (CLOCK_BOOTTIME).
pub fn boot_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the value lives across the call. The clock exists since Linux 2.6.39, so it cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
