//! Runs a program once, here and now: what `begin`, `end`, `interval` and `self:signal` probes are.
//!
//! They are raw tracepoint programs that no tracepoint calls. A test-run of one takes place on the
//! calling CPU and has ended when the call returns, so whatever it wrote and sent is there.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use libbpf_rs::libbpf_sys as sys;

/// Runs it.
///
/// # Errors
/// The system call's errno.
///
/// # Kernel
/// Test-runs of raw tracepoint programs, Linux 5.10; they take no context, no data and no repeat.
pub fn once(program: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: all-zero is a valid value; the size says which fields exist.
    let mut options: sys::bpf_test_run_opts = unsafe { mem::zeroed() };
    options.sz = mem::size_of::<sys::bpf_test_run_opts>() as sys::size_t;
    loop {
        // SAFETY: the options live across the call and point to nothing.
        let result = unsafe { sys::bpf_prog_test_run_opts(program.as_raw_fd(), &mut options) };
        match result {
            0.. => return Ok(()),
            _ if -result == libc::EINTR => {}
            _ => return Err(io::Error::from_raw_os_error(-result)),
        }
    }
}
