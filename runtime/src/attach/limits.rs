//! The limit on open files: a perf event and its link are two, and wildcards make many.

use std::io;

/// Descriptors that a run needs beside those of its attach points.
const OTHERS: u64 = 256;

/// Makes room for `fds` more open files, as far as memql may.
///
/// # Errors
/// If the limit cannot be raised so far.
pub fn make_room(fds: u64) -> io::Result<()> {
    let wanted = fds.saturating_add(OTHERS);
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the value lives across the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur >= wanted {
        return Ok(());
    }
    let raised = libc::rlimit { rlim_cur: wanted, rlim_max: limit.rlim_max.max(wanted) };
    // SAFETY: the value lives across the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
