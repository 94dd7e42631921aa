//! Runs a program, here and now: what `begin`, `end`, `interval`, `self:signal`, `test` and `bench` probes are.
//!
//! They are raw tracepoint programs that no tracepoint calls. A test-run of one takes place on the
//! calling CPU and has ended when the call returns, so whatever it wrote and sent is there. Their context
//! is that of a tracepoint without a value: zeros. Benchmarks are XDP programs, which the kernel runs many times over and times.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use libbpf_rs::libbpf_sys as sys;

/// The arguments of a raw tracepoint (`MAX_BPF_FUNC_ARGS`, include/linux/bpf.h).
static CONTEXT: [u64; 12] = [0; 12];

/// What came of running a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// What it returned.
    pub result: u32,
    /// How long it took; of several runs, the average.
    pub took: Duration,
}

/// Runs it.
///
/// # Errors
/// The system call's errno.
///
/// # Kernel
/// Test-runs of raw tracepoint programs, Linux 5.10; they take no data and no repeat.
pub fn once(program: BorrowedFd<'_>) -> io::Result<Ran> {
    let mut options = options();
    options.ctx_in = (&raw const CONTEXT).cast();
    options.ctx_size_in = mem::size_of_val(&CONTEXT) as u32;
    let started = Instant::now();
    run(program, &mut options)?;
    Ok(Ran { result: options.retval, took: started.elapsed() })
}

/// The least that the kernel takes for a packet: an Ethernet header (`ETH_HLEN`, include/uapi/linux/if_ether.h).
static PACKET: [u8; 14] = [0; 14];

/// Runs an XDP program so many times; the kernel takes the time.
///
/// # Errors
/// The system call's errno.
pub fn repeated(program: BorrowedFd<'_>, runs: u32) -> io::Result<Ran> {
    let mut options = options();
    options.data_in = (&raw const PACKET).cast();
    options.data_size_in = mem::size_of_val(&PACKET) as u32;
    options.repeat = runs as i32;
    run(program, &mut options)?;
    Ok(Ran { result: options.retval, took: Duration::from_nanos(options.duration.into()) })
}

fn options() -> sys::bpf_test_run_opts {
    // SAFETY: all-zero is a valid value; the size says which fields exist.
    let mut options: sys::bpf_test_run_opts = unsafe { mem::zeroed() };
    options.sz = mem::size_of::<sys::bpf_test_run_opts>() as sys::size_t;
    options
}

fn run(program: BorrowedFd<'_>, options: &mut sys::bpf_test_run_opts) -> io::Result<()> {
    loop {
        // SAFETY: the options live across the call, as what they point to does.
        let result = unsafe { sys::bpf_prog_test_run_opts(program.as_raw_fd(), options) };
        match result {
            0.. => return Ok(()),
            _ if -result == libc::EINTR => {}
            _ => return Err(io::Error::from_raw_os_error(-result)),
        }
    }
}
