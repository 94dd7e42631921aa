//! The one door that attaching goes through: a handful of system calls, replaceable in tests.
//!
//! libbpf's low-level calls are used rather than its `bpf_program__attach_*`: those look up tracepoint
//! ids themselves (memql may have to read them from a private tracefs), try features that memql knows
//! already, and give links that can only be closed one after the other.

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use libbpf_rs::libbpf_sys as sys;

use super::iterator::Visits;

/// What attaching asks of the kernel.
pub trait Kernel: Sync {
    /// A perf event on a process (`pid` above 0, on any CPU) or a CPU (`cpu`, of any process).
    ///
    /// # Errors
    /// The system call's errno.
    fn open_perf_event(&self, event: &PerfEvent, place: Place) -> io::Result<OwnedFd>;

    /// Runs a program on a perf event. The link, where the kernel has links for that (Linux 5.15); on
    /// older ones the program stays with the event itself.
    ///
    /// # Errors
    /// The system call's errno; EOPNOTSUPP for a cookie on a kernel without cookies.
    fn link_perf_event(
        &self,
        program: BorrowedFd<'_>,
        event: BorrowedFd<'_>,
        cookie: Option<u64>,
    ) -> io::Result<Option<OwnedFd>>;

    /// Runs a program on many kernel functions (Linux 5.18, with CONFIG_FPROBE).
    ///
    /// # Errors
    /// The system call's errno.
    fn link_kprobes(&self, program: BorrowedFd<'_>, set: &KprobeSet) -> io::Result<OwnedFd>;

    /// Runs a program on many places of one file (Linux 6.6).
    ///
    /// # Errors
    /// The system call's errno.
    fn link_uprobes(&self, program: BorrowedFd<'_>, set: &UprobeSet) -> io::Result<OwnedFd>;

    /// Runs a program on what it was loaded for.
    ///
    /// # Errors
    /// The system call's errno.
    fn link_tracing(&self, program: BorrowedFd<'_>, tracing: Tracing) -> io::Result<OwnedFd>;

    /// Lets a program be run by reading a file of the link's.
    ///
    /// # Errors
    /// The system call's errno.
    fn link_iterator(&self, program: BorrowedFd<'_>, visits: Visits) -> io::Result<OwnedFd>;
}

/// Where a perf event counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In all threads of this process, wherever they run.
    Process(i32),
    /// On this CPU, whoever runs there. Probes that are breakpoints or tracepoints fire on all CPUs all the same.
    Cpu(u32),
}

/// A perf event (`struct perf_event_attr`, include/uapi/linux/perf_event.h).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerfEvent {
    /// `type`
    pub kind: u32,
    /// `config`
    pub config: u64,
    /// `config1` where it is a string: a function's or a file's name.
    pub name: Option<CString>,
    /// `bp_type` and `bp_addr`, which stands in the place of `config1`.
    pub breakpoint: Option<Breakpoint>,
    /// `config2`: an offset or an address; `bp_len`.
    pub offset: u64,
    /// How often it fires.
    pub sample: Sample,
}

/// What the processor watches for, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breakpoint {
    /// `bp_type`
    pub kinds: u32,
    /// `bp_addr`
    pub address: u64,
}

/// How often a perf event fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// Always.
    Each,
    /// Once in so many.
    Period(u64),
    /// So many times a second.
    Frequency(u64),
}

/// Kernel functions for one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KprobeSet {
    /// Their names.
    pub functions: Vec<CString>,
    /// A cookie each, or none.
    pub cookies: Option<Vec<u64>>,
    /// On return.
    pub on_return: bool,
}

/// Places in one file for one link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UprobeSet {
    /// The file.
    pub path: CString,
    /// Offsets in the file.
    pub offsets: Vec<u64>,
    /// For each, the offset in the file of the counter that the kernel raises while it is attached, 0
    /// without; `None` if all are without.
    pub semaphores: Option<Vec<u64>>,
    /// A cookie each, or none.
    pub cookies: Option<Vec<u64>>,
    /// On return.
    pub on_return: bool,
    /// In this process only; 0 for all.
    pub pid: u32,
}

/// What a tracing program was loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    /// `tp_btf`
    RawTracepoint,
    /// `fentry`
    Fentry,
    /// `fexit`
    Fexit,
}

/// The running kernel.
#[derive(Clone, Copy, Debug)]
pub struct Running;

/// `PERF_EVENT_IOC_ENABLE` and `PERF_EVENT_IOC_SET_BPF` (include/uapi/linux/perf_event.h).
const IOC_ENABLE: libc::c_ulong = 0x2400;
const IOC_SET_BPF: libc::c_ulong = 0x4004_2408;
/// `PERF_FLAG_FD_CLOEXEC`
const FLAG_CLOEXEC: libc::c_ulong = 8;

impl Kernel for Running {
    fn open_perf_event(&self, event: &PerfEvent, place: Place) -> io::Result<OwnedFd> {
        let PerfEvent { kind, config, name, breakpoint, offset, sample } = event;
        // SAFETY: all-zero is a valid attribute.
        let mut attr: sys::perf_event_attr = unsafe { mem::zeroed() };
        attr.type_ = *kind;
        attr.size = mem::size_of::<sys::perf_event_attr>() as u32;
        attr.config = *config;
        attr.__bindgen_anon_3.config1 = name.as_ref().map_or(0, |name| name.as_ptr() as u64);
        if let Some(Breakpoint { kinds, address }) = breakpoint {
            attr.bp_type = *kinds;
            attr.__bindgen_anon_3.bp_addr = *address;
        }
        attr.__bindgen_anon_4.config2 = *offset;
        match *sample {
            Sample::Each => {}
            Sample::Period(period) => attr.__bindgen_anon_1.sample_period = period,
            Sample::Frequency(hz) => {
                attr.set_freq(1);
                attr.__bindgen_anon_1.sample_freq = hz;
            }
        }
        let (pid, cpu) = match place {
            Place::Process(pid) => (pid, -1),
            Place::Cpu(cpu) => (-1, cpu as i32),
        };
        // SAFETY: the attribute and the name it points to live across the call.
        owned(unsafe { libc::syscall(libc::SYS_perf_event_open, &attr, pid, cpu, -1, FLAG_CLOEXEC) })
    }

    fn link_perf_event(
        &self,
        program: BorrowedFd<'_>,
        event: BorrowedFd<'_>,
        cookie: Option<u64>,
    ) -> io::Result<Option<OwnedFd>> {
        let mut options = link_options();
        options.__bindgen_anon_1.perf_event.bpf_cookie = cookie.unwrap_or(0);
        let link = match link(program, event.as_raw_fd(), sys::BPF_PERF_EVENT, &options) {
            Ok(link) => Some(link),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) && cookie.is_none() => {
                control(event, IOC_SET_BPF, program.as_raw_fd())?;
                None
            }
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
            }
            Err(error) => return Err(error),
        };
        control(event, IOC_ENABLE, 0)?;
        Ok(link)
    }

    fn link_kprobes(&self, program: BorrowedFd<'_>, set: &KprobeSet) -> io::Result<OwnedFd> {
        let KprobeSet { functions, cookies, on_return } = set;
        let mut names: Vec<_> = functions.iter().map(|name| name.as_ptr()).collect();
        let mut options = link_options();
        options.__bindgen_anon_1.kprobe_multi = sys::bpf_link_create_opts__bindgen_ty_1__bindgen_ty_2 {
            flags: if *on_return { sys::BPF_F_KPROBE_MULTI_RETURN } else { 0 },
            cnt: names.len() as u32,
            syms: names.as_mut_ptr(),
            addrs: ptr::null(),
            cookies: cookies.as_ref().map_or(ptr::null(), |cookies| cookies.as_ptr()),
        };
        link(program, 0, sys::BPF_TRACE_KPROBE_MULTI, &options)
    }

    fn link_uprobes(&self, program: BorrowedFd<'_>, set: &UprobeSet) -> io::Result<OwnedFd> {
        let UprobeSet { path, offsets, semaphores, cookies, on_return, pid } = set;
        let mut options = link_options();
        options.__bindgen_anon_1.uprobe_multi = sys::bpf_link_create_opts__bindgen_ty_1__bindgen_ty_3 {
            flags: if *on_return { sys::BPF_F_UPROBE_MULTI_RETURN } else { 0 },
            cnt: offsets.len() as u32,
            path: path.as_ptr(),
            offsets: offsets.as_ptr().cast(),
            ref_ctr_offsets: semaphores.as_ref().map_or(ptr::null(), |all| all.as_ptr().cast()),
            cookies: cookies.as_ref().map_or(ptr::null(), |cookies| cookies.as_ptr()),
            pid: *pid,
            ..Default::default()
        };
        link(program, 0, sys::BPF_TRACE_UPROBE_MULTI, &options)
    }

    fn link_tracing(&self, program: BorrowedFd<'_>, tracing: Tracing) -> io::Result<OwnedFd> {
        let attach_type = match tracing {
            Tracing::RawTracepoint => sys::BPF_TRACE_RAW_TP,
            Tracing::Fentry => sys::BPF_TRACE_FENTRY,
            Tracing::Fexit => sys::BPF_TRACE_FEXIT,
        };
        // Where the kernel has no such links yet (before 5.19), libbpf opens a raw tracepoint instead.
        link(program, 0, attach_type, &link_options())
    }

    fn link_iterator(&self, program: BorrowedFd<'_>, visits: Visits) -> io::Result<OwnedFd> {
        // SAFETY: all-zero is a valid value of each of its members.
        let mut which: sys::bpf_iter_link_info = unsafe { mem::zeroed() };
        let mut options = link_options();
        match visits {
            Visits::All => return link(program, 0, sys::BPF_TRACE_ITER, &options),
            Visits::Process(pid) => which.task.pid = pid,
            Visits::ControlGroups => which.cgroup.order = sys::BPF_CGROUP_ITER_DESCENDANTS_PRE,
        }
        options.iter_info = &mut which;
        options.iter_info_len = mem::size_of_val(&which) as u32;
        link(program, 0, sys::BPF_TRACE_ITER, &options)
    }
}

fn link_options() -> sys::bpf_link_create_opts {
    // SAFETY: all-zero is a valid value; the size says which fields exist.
    let mut options: sys::bpf_link_create_opts = unsafe { mem::zeroed() };
    options.sz = mem::size_of::<sys::bpf_link_create_opts>() as sys::size_t;
    options
}

fn link(
    program: BorrowedFd<'_>,
    target: i32,
    attach_type: sys::bpf_attach_type,
    options: &sys::bpf_link_create_opts,
) -> io::Result<OwnedFd> {
    // SAFETY: what the options point to lives across the call, as the callers' borrows show.
    let fd = unsafe { sys::bpf_link_create(program.as_raw_fd(), target, attach_type, options) };
    match fd {
        0.. => owned(fd.into()),
        _ => Err(io::Error::from_raw_os_error(-fd)),
    }
}

fn control(event: BorrowedFd<'_>, request: libc::c_ulong, argument: i32) -> io::Result<()> {
    // SAFETY: both requests take a number.
    match unsafe { libc::ioctl(event.as_raw_fd(), request as libc::Ioctl, argument) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// A descriptor that a system call has just given, or its errno.
fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    match fd {
        // SAFETY: the kernel has just made it, nobody else owns it.
        0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) }),
        _ => Err(io::Error::last_os_error()),
    }
}
