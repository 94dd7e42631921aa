//! `kprobe:FUNCTION[+OFFSET]`, `kretprobe:FUNCTION`: kernel functions by name.
//!
//! Several plain functions of one program are one `kprobe_multi` link where the kernel has it; what that
//! cannot do (an offset, a module's function, an address) is a perf event of the `kprobe` PMU.

use std::ffi::CString;
use std::io;

use super::kernel::{KprobeSet, PerfEvent, Sample};
use super::pmu::Pmu;

/// A kernel function, or an instruction in it, or an address.
#[derive(Clone, Copy, Debug)]
pub struct Spot<'a> {
    /// The module, if the script names one.
    pub module: Option<&'a str>,
    /// The function; empty for an address.
    pub function: &'a str,
    /// Bytes into the function, or the address.
    pub offset: u64,
    /// On return.
    pub on_return: bool,
}

/// The perf event of one kprobe.
///
/// # Errors
/// If the name has a NUL byte.
pub fn event(spot: Spot<'_>, pmu: &Pmu) -> io::Result<PerfEvent> {
    let name = match (spot.module, spot.function) {
        (_, "") => None,
        (None, function) => Some(CString::new(function)?),
        (Some(module), function) => Some(CString::new(format!("{module}:{function}"))?),
    };
    let config = if spot.on_return { pmu.return_bit } else { 0 };
    Ok(PerfEvent {
        kind: pmu.kind,
        config,
        name,
        breakpoint: None,
        offset: spot.offset,
        sample: Sample::Each,
    })
}

/// The link of several functions.
///
/// # Errors
/// If a name has a NUL byte.
pub fn set<'a>(
    functions: impl Iterator<Item = &'a str>,
    cookies: Option<Vec<u64>>,
    on_return: bool,
) -> io::Result<KprobeSet> {
    let functions = functions.map(CString::new).collect::<Result<_, _>>()?;
    Ok(KprobeSet { functions, cookies, on_return })
}

/// What to do about an errno of attaching a kprobe.
pub fn remedy(errno: i32) -> Option<&'static str> {
    match errno {
        libc::ENOENT | libc::ESRCH => Some(
            "the running kernel has no such function, or it was inlined: `memql -l 'kprobe:*NAME*'` shows what there is",
        ),
        libc::EADDRNOTAVAIL => Some(
            "several functions have this name, or it cannot be probed: use a tracepoint, or a function that calls it",
        ),
        libc::EINVAL => Some("the kernel forbids probes there (blacklisted, or not in kernel text)"),
        libc::EILSEQ => Some("the offset is not the first byte of an instruction"),
        libc::EBUSY => Some("another tracer is using this place"),
        libc::EOPNOTSUPP => Some("this kernel cannot do that; `memql --info` says what it offers"),
        _ => None,
    }
}
