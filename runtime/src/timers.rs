//! A timer that expires every so often: what `interval` probes run on.
//!
//! The kernel keeps the period exactly (CLOCK_MONOTONIC, no drift). An expiration that memql was too
//! busy for is skipped, not made up for: [`Timer::expired`] says once that there was at least one.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// A periodic timer.
#[derive(Debug)]
pub struct Timer {
    fd: OwnedFd,
}

impl Timer {
    /// Expires every `period_ns` nanoseconds, for the first time one period from now.
    ///
    /// # Errors
    /// If the period is zero or the kernel gives no timer.
    pub fn every(period_ns: u64) -> io::Result<Timer> {
        if period_ns == 0 {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let period = libc::timespec {
            tv_sec: (period_ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (period_ns % 1_000_000_000) as libc::c_long,
        };
        let setting = libc::itimerspec { it_interval: period, it_value: period };
        // SAFETY: the descriptor belongs to nobody else, the setting lives across the call, and a null
        // old setting is allowed.
        unsafe {
            let fd = libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            let timer = Timer { fd: OwnedFd::from_raw_fd(fd) };
            match libc::timerfd_settime(fd, 0, &setting, ptr::null_mut()) {
                0 => Ok(timer),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    /// Whether it has expired since this was last asked.
    ///
    /// # Errors
    /// If the timer cannot be read.
    pub fn expired(&self) -> io::Result<bool> {
        let mut count = 0u64;
        // SAFETY: a timer gives eight bytes.
        let read = unsafe { libc::read(self.fd.as_raw_fd(), ptr::from_mut(&mut count).cast(), 8) };
        if read == 8 {
            return Ok(count > 0);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(false),
            _ => Err(error),
        }
    }
}

impl AsFd for Timer {
    /// Readable when it has expired.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn missed_expirations_count_once() {
        let timer = Timer::every(1_000_000).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        assert!(timer.expired().unwrap());
    }

    #[test]
    fn has_not_expired_before_its_period() {
        assert!(!Timer::every(60_000_000_000).unwrap().expired().unwrap());
    }

    #[test]
    fn a_period_of_zero_is_an_error() {
        assert_eq!(Timer::every(0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
