//! `uprobe:FILE:SYMBOL`, `uretprobe:FILE:SYMBOL`: places in executables and libraries, by file offset.
//!
//! All points of a program in one file are one `uprobe_multi` link where the kernel has it (Linux 6.6);
//! elsewhere each is a perf event of the `uprobe` PMU, attached and closed in parallel, since each
//! takes the kernel 10 to 100 ms.
//!
//! Under `-p` the breakpoints go into that process only, so others are not slowed. The first kernels
//! with `uprobe_multi` took the process's number for a thread's and lost the hits of all other
//! threads; there the breakpoints go everywhere, and the programs' own filter decides
//! ([`filters_by_process`]).

use std::ffi::CString;
use std::io;
use std::os::fd::BorrowedFd;

use super::kernel::{Kernel, PerfEvent, Sample, UprobeSet};
use super::pmu::Pmu;

/// Where the `uprobe` PMU's `config` holds the semaphore's file offset (`PERF_UPROBE_REF_CTR_OFFSET_SHIFT`,
/// include/uapi/linux/perf_event.h is silent; kernel/events/core.c has it since 4.20).
const SEMAPHORE_SHIFT: u32 = 32;

/// The perf event of one uprobe. The kernel raises the semaphore at this offset of the file in each
/// process that has it mapped, as long as the event exists; 0 for none.
///
/// # Errors
/// If the path has a NUL byte; EOVERFLOW for a semaphore beyond 4 GB.
pub fn event(path: &str, offset: u64, semaphore: u64, on_return: bool, pmu: &Pmu) -> io::Result<PerfEvent> {
    let returns = if on_return { pmu.return_bit } else { 0 };
    if semaphore > u64::from(u32::MAX) {
        return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
    }
    let config = returns | semaphore << SEMAPHORE_SHIFT;
    Ok(PerfEvent {
        kind: pmu.kind,
        config,
        name: Some(CString::new(path)?),
        breakpoint: None,
        offset,
        sample: Sample::Each,
    })
}

/// The link of several places of one file.
///
/// # Errors
/// If the path has a NUL byte.
pub fn set(
    path: &str,
    offsets: Vec<u64>,
    cookies: Option<Vec<u64>>,
    on_return: bool,
    pid: u32,
) -> io::Result<UprobeSet> {
    Ok(UprobeSet { path: CString::new(path)?, offsets, semaphores: None, cookies, on_return, pid })
}

/// Whether a multi link's filter takes a process's number for that of the process.
///
/// Kernels that do check the number before the file (kernel/trace/bpf_trace.c, since 6.10, and 6.6 and
/// later as the fix was taken back), so an impossible number and an impossible file tell them apart:
/// EINVAL here, EBADF there.
pub fn filters_by_process(kernel: &dyn Kernel, program: BorrowedFd<'_>) -> bool {
    let impossible = UprobeSet {
        path: c"/".into(),
        offsets: vec![0],
        semaphores: None,
        cookies: None,
        on_return: false,
        pid: u32::MAX,
    };
    match kernel.link_uprobes(program, &impossible) {
        Ok(_) => false,
        Err(error) => error.raw_os_error() == Some(libc::EINVAL),
    }
}

/// What to do about an errno of attaching a uprobe.
pub fn remedy(errno: i32) -> Option<&'static str> {
    match errno {
        libc::ENOENT => Some("the file is gone, or is seen under another path in memql's mount namespace"),
        libc::EACCES | libc::EISDIR => {
            Some("the file must be an executable or a library that memql may read")
        }
        libc::EINVAL | libc::EILSEQ => Some(
            "there is no instruction that can be probed at this offset: a place must be an instruction's first byte",
        ),
        libc::EIO => {
            Some("the file system of this file does not support uprobes (it needs pages in the page cache)")
        }
        crate::errno::ENOTSUPP => {
            Some("the kernel cannot probe this instruction (a prefix or opcode it does not emulate)")
        }
        libc::ESRCH => Some("the process has ended"),
        libc::ENOSPC => Some("no room for a breakpoint's copied instruction in the process"),
        _ => None,
    }
}
