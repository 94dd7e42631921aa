//! What the kernel itself takes: eBPF programs written by hand, and their links made in a bare loop.

use std::ffi::CString;
use std::io::Error;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use libbpf_rs::libbpf_sys as sys;

const TRACEFS: &str = "/sys/kernel/tracing/events";

/// `PERF_TYPE_TRACEPOINT` (include/uapi/linux/perf_event.h)
const TYPE_TRACEPOINT: u32 = 2;
/// `struct perf_event_attr` of its first version is so long; what follows is zero.
const ATTR_BYTES: u32 = 64;

/// What a script is attached to.
pub enum Links {
    /// Nothing.
    None,
    /// The tracepoints of a group whose names begin like one of these.
    Tracepoints(&'static str, &'static [&'static str]),
    /// The functions of the C library that have this in their name.
    Uprobes(&'static str),
}

/// Attaches an empty program to all of it, and gives the time of that, without closing. `None` if there is nothing to
/// attach, or it cannot be done.
pub fn attach(links: &Links) -> Option<Duration> {
    match links {
        Links::None => None,
        Links::Tracepoints(group, prefixes) => {
            let folder = std::fs::read_dir(Path::new(TRACEFS).join(group)).ok()?;
            let names = folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            let wanted = names.filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
            let names: Vec<String> = wanted.collect();
            let program = load(sys::BPF_PROG_TYPE_TRACEPOINT, 0, &[MOV_R0_0, EXIT]).ok()?;
            let started = Instant::now();
            let made: Vec<_> = names.iter().map(|name| tracepoint(&program, group, name)).collect();
            let time = started.elapsed();
            made.into_iter().collect::<Result<Vec<_>, _>>().ok().map(|_| time)
        }
        Links::Uprobes(part) => {
            let (library, offsets) = functions_of_libc(part)?;
            let program =
                load(sys::BPF_PROG_TYPE_KPROBE, sys::BPF_TRACE_UPROBE_MULTI, &[MOV_R0_0, EXIT]).ok()?;
            let path = CString::new(library).ok()?;
            // SAFETY: zeros are valid for these options.
            let mut options: sys::bpf_link_create_opts = unsafe { std::mem::zeroed() };
            options.sz = size_of_val(&options) as _;
            options.__bindgen_anon_1.uprobe_multi.path = path.as_ptr();
            options.__bindgen_anon_1.uprobe_multi.offsets = offsets.as_ptr();
            options.__bindgen_anon_1.uprobe_multi.cnt = offsets.len() as u32;
            let started = Instant::now();
            // SAFETY: the path and the offsets live across the call.
            let link = owned(unsafe {
                sys::bpf_link_create(program.as_raw_fd(), 0, sys::BPF_TRACE_UPROBE_MULTI, &options)
            });
            link.ok().map(|_| started.elapsed())
        }
    }
}

/// The C library of this process, and the offsets in it of its functions with this in their name.
fn functions_of_libc(part: &str) -> Option<(String, Vec<u64>)> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let library =
        maps.lines().find(|line| line.ends_with("/libc.so.6"))?.split_whitespace().last()?.to_string();
    let symbols = Command::new("nm").args(["-D", "--defined-only", &library]).output().ok()?;
    let symbols = String::from_utf8_lossy(&symbols.stdout).into_owned();
    // `000000000009a1e0 T malloc@@GLIBC_2.2.5`; the code of this library lies in memory as it does in the file.
    let mut offsets: Vec<u64> = symbols
        .lines()
        .filter_map(|line| {
            let [address, kind, name] = line.split_whitespace().collect::<Vec<_>>()[..] else { return None };
            let function = matches!(kind, "T" | "W") && name.split('@').next()?.contains(part);
            function.then(|| u64::from_str_radix(address, 16).ok()).flatten()
        })
        .collect();
    offsets.sort_unstable();
    offsets.dedup();
    Some((library, offsets))
}

/// A program on a tracepoint.
pub fn tracepoint(program: &OwnedFd, group: &str, name: &str) -> Result<[OwnedFd; 2], Error> {
    let id = std::fs::read_to_string(format!("{TRACEFS}/{group}/{name}/id"))?;
    let id: u64 = id.trim().parse().map_err(Error::other)?;
    // type, size, config
    let mut attributes = [0u8; ATTR_BYTES as usize];
    attributes[..4].copy_from_slice(&TYPE_TRACEPOINT.to_ne_bytes());
    attributes[4..8].copy_from_slice(&ATTR_BYTES.to_ne_bytes());
    attributes[8..16].copy_from_slice(&id.to_ne_bytes());
    // SAFETY: the attributes are as long as they say.
    let event =
        owned(unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), -1, 0, -1, 8) as i32 })?;
    // SAFETY: both are open, no options are given.
    let link = owned(unsafe {
        sys::bpf_link_create(program.as_raw_fd(), event.as_raw_fd(), sys::BPF_PERF_EVENT, std::ptr::null())
    })?;
    Ok([event, link])
}

/// Loads a program.
pub fn load(kind: sys::bpf_prog_type, attach: sys::bpf_attach_type, code: &[u64]) -> Result<OwnedFd, Error> {
    // SAFETY: zeros are valid for these options.
    let mut options: sys::bpf_prog_load_opts = unsafe { std::mem::zeroed() };
    options.sz = size_of_val(&options) as _;
    options.expected_attach_type = attach;
    let (name, license) = (c"bench", c"GPL");
    // SAFETY: an instruction is 8 bytes; all of it lives across the call.
    owned(unsafe {
        sys::bpf_prog_load(
            kind,
            name.as_ptr(),
            license.as_ptr(),
            code.as_ptr().cast(),
            code.len() as _,
            &mut options,
        )
    })
}

/// A map.
pub fn map(kind: sys::bpf_map_type, key: u32, value: u32, entries: u32) -> Result<OwnedFd, Error> {
    // SAFETY: the name lives across the call, no options are given.
    owned(unsafe { sys::bpf_map_create(kind, c"bench".as_ptr(), key, value, entries, std::ptr::null()) })
}

fn owned(fd: i32) -> Result<OwnedFd, Error> {
    match fd {
        // SAFETY: the kernel just made it, for nobody else.
        0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(Error::last_os_error()),
    }
}

/// An instruction.
pub const fn op(code: u8, to: u8, from: u8, offset: i16, imm: i32) -> u64 {
    code as u64
        | (to as u64) << 8
        | (from as u64) << 12
        | (offset as u16 as u64) << 16
        | (imm as u32 as u64) << 32
}

pub const MOV_R0_0: u64 = op(0xb7, 0, 0, 0, 0);
pub const EXIT: u64 = op(0x95, 0, 0, 0, 0);
