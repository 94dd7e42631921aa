//! What the kernel counts about a program and a link while they run.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use libbpf_rs::libbpf_sys as sys;

/// Facts about a loaded program; a kernel that does not tell one gives zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramInfo {
    /// Its id, as `bpftool prog` shows it.
    pub id: u32,
    /// Instructions after the verifier's rewriting, in bytes.
    pub translated_bytes: u32,
    /// Instructions that the verifier walked (Linux 5.16).
    pub verified_insns: u32,
    /// Runs that were left out because the program was running on that CPU already (Linux 5.12).
    pub recursion_misses: u64,
}

/// Asks about a program.
///
/// # Errors
/// The system call's errno.
pub fn program(fd: BorrowedFd<'_>) -> io::Result<ProgramInfo> {
    // SAFETY: all-zero asks for no arrays.
    let mut info: sys::bpf_prog_info = unsafe { mem::zeroed() };
    let mut size = mem::size_of::<sys::bpf_prog_info>() as u32;
    // SAFETY: the size is that of the value, which lives across the call.
    match unsafe { sys::bpf_prog_get_info_by_fd(fd.as_raw_fd(), &mut info, &mut size) } {
        0.. => Ok(ProgramInfo {
            id: info.id,
            translated_bytes: info.xlated_prog_len,
            verified_insns: info.verified_insns,
            recursion_misses: info.recursion_misses,
        }),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}

/// Hits that a link's probes had and did not pass on to the program (Linux 6.7 for kprobes; others
/// do not tell). Zero for what is not a link.
///
/// # Errors
/// The system call's errno.
pub fn missed_by_link(fd: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: all-zero asks for no arrays.
    let mut info: sys::bpf_link_info = unsafe { mem::zeroed() };
    let mut size = mem::size_of::<sys::bpf_link_info>() as u32;
    // SAFETY: as above.
    let result = unsafe { sys::bpf_link_get_info_by_fd(fd.as_raw_fd(), &mut info, &mut size) };
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    // SAFETY: the link's type says which member the kernel has filled in.
    Ok(unsafe {
        let of_type = &info.__bindgen_anon_1;
        match info.type_ {
            sys::BPF_LINK_TYPE_KPROBE_MULTI => of_type.kprobe_multi.missed,
            sys::BPF_LINK_TYPE_PERF_EVENT => match of_type.perf_event.type_ {
                sys::BPF_PERF_EVENT_KPROBE | sys::BPF_PERF_EVENT_KRETPROBE => {
                    of_type.perf_event.__bindgen_anon_1.kprobe.missed
                }
                _ => 0,
            },
            _ => 0,
        }
    })
}
