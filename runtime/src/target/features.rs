//! What the kernel's eBPF can do, found by trying: a program of a few instructions for each question.
//!
//! Questions are asked from the newest feature down. A kernel that has a helper has all with smaller
//! numbers, since the numbers are given in order; so most kernels need three tries, some 50 µs each.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libbpf_sys as sys;
use memql_compiler::helpers;
use memql_compiler::ir::Helper;
use memql_compiler::target::{Arch, Features, SMALL_KEY_BYTES};

/// Asks everything.
pub fn probe() -> Features {
    let helper = |helper: Helper, newer: bool| newer || has_helper(helper);
    let ktime_tai = helper(helpers::KTIME_GET_TAI_NS, false);
    let lookup_percpu_elem = helper(helpers::MAP_LOOKUP_PERCPU_ELEM, ktime_tai);
    let bpf_loop = helper(helpers::LOOP, lookup_percpu_elem);
    let task_pt_regs = helper(helpers::TASK_PT_REGS, bpf_loop);
    let attach_cookie = helper(helpers::GET_ATTACH_COOKIE, task_pt_regs);
    let func_ip = helper(helpers::GET_FUNC_IP, attach_cookie);
    let for_each_map_elem = helper(helpers::FOR_EACH_MAP_ELEM, func_ip);
    let current_task_btf = helper(helpers::GET_CURRENT_TASK_BTF, for_each_map_elem);
    let cpu_v4 = loads(&[mov(0, 4), mov(1, 2), SIGNED_DIVISION, EXIT]);
    let atomic_fetch = cpu_v4 || loads(&[mov(0, 1), STORE_R0_TO_STACK, FETCH_ADD_ON_STACK, EXIT]);
    Features {
        arch: if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 },
        cpus: libbpf_rs::num_possible_cpus().map_or(1, |n| n as u32),
        pid_ns: other_pid_namespace(),
        atomic_fetch,
        cpu_v4,
        bpf_loop,
        for_each_map_elem,
        lookup_percpu_elem,
        attach_cookie,
        func_ip,
        ktime_tai,
        current_task_btf,
        task_pt_regs,
        large_keys: for_each_map_elem || takes_large_keys(),
        kprobe_multi: multi_link(sys::BPF_TRACE_KPROBE_MULTI),
        uprobe_multi: cpu_v4 && multi_link(sys::BPF_TRACE_UPROBE_MULTI),
        boot_to_realtime_ns: boot_to(libc::CLOCK_REALTIME),
        boot_to_tai_ns: boot_to(libc::CLOCK_TAI),
        max_stack: max_stack(),
    }
}

fn has_helper(helper: Helper) -> bool {
    // SAFETY: no options are passed; the call loads and closes a program of its own.
    unsafe { sys::libbpf_probe_bpf_helper(sys::BPF_PROG_TYPE_KPROBE, helper.0, std::ptr::null()) == 1 }
}

/// Whether a hash map with a key of one byte too many can be made.
fn takes_large_keys() -> bool {
    // SAFETY: the name outlives the call, no options are passed; a descriptor that is returned is ours.
    unsafe {
        let fd = sys::bpf_map_create(
            sys::BPF_MAP_TYPE_HASH,
            c"memql_probe".as_ptr(),
            SMALL_KEY_BYTES + 1,
            8,
            1,
            std::ptr::null(),
        );
        if fd >= 0 {
            drop(OwnedFd::from_raw_fd(fd));
        }
        fd >= 0
    }
}

type Insn = sys::bpf_insn;

/// `R0 s/= R1`: cpu v4 (`BPF_DIV` with offset 1).
const SIGNED_DIVISION: Insn = insn(0x3f, 0, 1, 1, 0);
/// `*(u64 *)(R10 - 8) = R0`
const STORE_R0_TO_STACK: Insn = insn(0x7b, 10, 0, -8, 0);
/// `R0 = atomic_fetch_add((u64 *)(R10 - 8), R0)`
const FETCH_ADD_ON_STACK: Insn = insn(0xdb, 10, 0, -8, 0x01);
const EXIT: Insn = insn(0x95, 0, 0, 0, 0);

const fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
    let mut insn =
        Insn { code, _bitfield_align_1: [], _bitfield_1: sys::__BindgenBitfieldUnit::new([0; 1]), off, imm };
    insn._bitfield_1 = sys::__BindgenBitfieldUnit::new([dst | (src << 4)]);
    insn
}

const fn mov(dst: u8, imm: i32) -> Insn {
    insn(0xb7, dst, 0, 0, imm)
}

/// Loads the smallest program there is.
///
/// # Errors
/// The kernel's answer: without the right to load programs, all questions here read as "no".
pub fn smallest_program() -> io::Result<()> {
    load(&[mov(0, 0), EXIT], 0).map(drop)
}

/// Whether a kprobe program of these instructions loads.
fn loads(insns: &[Insn]) -> bool {
    load(insns, 0).is_ok()
}

fn load(insns: &[Insn], expected_attach_type: sys::bpf_attach_type) -> io::Result<OwnedFd> {
    let mut opts = sys::bpf_prog_load_opts {
        sz: size_of::<sys::bpf_prog_load_opts>() as u64,
        expected_attach_type,
        ..Default::default()
    };
    // SAFETY: the instructions and strings outlive the call; a descriptor that is returned is ours.
    unsafe {
        let fd = sys::bpf_prog_load(
            sys::BPF_PROG_TYPE_KPROBE,
            c"memql_probe".as_ptr(),
            c"GPL".as_ptr(),
            insns.as_ptr(),
            insns.len() as u64,
            &mut opts,
        );
        match fd {
            0.. => Ok(OwnedFd::from_raw_fd(fd)),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        }
    }
}

/// Whether links of many functions exist. The link asked for cannot be made; the errno tells a kernel
/// that tried from one that does not know the kind: a file that is no program gives EBADF, an
/// address that is no string EFAULT. (A name that is no function would do as well, but looking it
/// up takes the kernel tens of milliseconds.)
fn multi_link(kind: sys::bpf_attach_type) -> bool {
    let Ok(program) = load(&[mov(0, 0), EXIT], kind) else { return false };
    let mut opts =
        sys::bpf_link_create_opts { sz: size_of::<sys::bpf_link_create_opts>() as u64, ..Default::default() };
    let offset = 0u64;
    let mut symbols = [std::ptr::without_provenance(1)];
    let expected = if kind == sys::BPF_TRACE_UPROBE_MULTI {
        opts.__bindgen_anon_1.uprobe_multi.path = c"/".as_ptr();
        opts.__bindgen_anon_1.uprobe_multi.offsets = &offset;
        opts.__bindgen_anon_1.uprobe_multi.cnt = 1;
        libc::EBADF
    } else {
        opts.__bindgen_anon_1.kprobe_multi.syms = symbols.as_mut_ptr();
        opts.__bindgen_anon_1.kprobe_multi.cnt = 1;
        libc::EFAULT
    };
    // SAFETY: what the options point to outlives the call, but for the string that only the kernel follows; a descriptor that is returned is ours.
    let result = unsafe { sys::bpf_link_create(program.as_raw_fd(), -1, kind, &opts) };
    if result >= 0 {
        // SAFETY: the kernel has just returned it.
        drop(unsafe { OwnedFd::from_raw_fd(result) });
        return true;
    }
    -result == expected
}

/// Device and inode of memql's PID namespace, if it is not the first one.
fn other_pid_namespace() -> Option<(u64, u64)> {
    /// `PROC_PID_INIT_INO` (include/linux/proc_ns.h)
    const FIRST: u64 = 0xeffffffc;
    use std::os::unix::fs::MetadataExt;
    let own = std::fs::metadata("/proc/self/ns/pid").ok()?;
    (own.ino() != FIRST).then(|| (own.dev(), own.ino()))
}

/// The offset of another clock from the boot clock, in nanoseconds.
fn boot_to(clock: libc::clockid_t) -> i64 {
    let now = |clock| {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the clock writes to a value of ours.
        unsafe { libc::clock_gettime(clock, &mut time) };
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    now(clock) - now(libc::CLOCK_BOOTTIME)
}

/// Frames that the kernel collects at most (`kernel.perf_event_max_stack`).
fn max_stack() -> u32 {
    /// `PERF_MAX_STACK_DEPTH` (include/uapi/linux/perf_event.h)
    const DEFAULT: u32 = 127;
    std::fs::read_to_string("/proc/sys/kernel/perf_event_max_stack")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(DEFAULT)
}
