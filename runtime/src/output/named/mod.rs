//! Names of numbers: [`Naming`]. They are looked up when they are printed, so what prints is what the
//! number means then.

mod cgroups;

use std::ffi::CStr;

use memql_compiler::syscalls;
use memql_compiler::target::Arch;
use memql_compiler::types::Naming;

/// The largest signal number (`_NSIG`, include/uapi/asm-generic/signal.h).
const MAX_SIGNAL: i64 = 64;
/// The largest error number (`MAX_ERRNO`, include/linux/err.h).
const MAX_ERROR: i64 = 4095;

/// The processor's architecture: that of the running kernel is memql's own.
const ARCH: Arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86_64 };

/// The name that a number stands for. `filter` is the pattern of a `cgroup_path`.
pub(super) fn name(naming: Naming, number: i64, filter: &str) -> Vec<u8> {
    match naming {
        Naming::Error => error(number),
        Naming::Signal => match i32::try_from(number) {
            // SAFETY: the C library answers a text that lasts until the next call in this thread.
            Ok(signal) if (0..=MAX_SIGNAL).contains(&number) => unsafe { text_at(libc::strsignal(signal)) },
            _ => None,
        }
        .unwrap_or_else(|| b"N/A".to_vec()),
        Naming::Syscall => {
            let known = u32::try_from(number).ok().and_then(|n| syscalls::name(ARCH, n));
            known.unwrap_or("Unknown syscall").into()
        }
        Naming::User => user(number as u32).unwrap_or_else(|| (number as u32).to_string().into_bytes()),
        Naming::Process => process(number).unwrap_or_else(|| b"N/A".to_vec()),
        Naming::Cgroup { .. } => cgroups::paths(number as u64, filter).into_bytes(),
    }
}

/// What the C library says of an error number.
fn error(number: i64) -> Vec<u8> {
    let number = number.unsigned_abs() as i64;
    if !(0..=MAX_ERROR).contains(&number) {
        return b"Unknown error".to_vec();
    }
    // SAFETY: the C library answers a text that lasts until the next call in this thread.
    match unsafe { text_at(libc::strerror(number as i32)) } {
        Some(text) if !text.starts_with(b"Unknown error") => text,
        _ => b"Unknown error".to_vec(),
    }
}

/// # Safety
/// `text` is null or a NUL-terminated text.
unsafe fn text_at(text: *const libc::c_char) -> Option<Vec<u8>> {
    if text.is_null() {
        return None;
    }
    // SAFETY: as the function's contract says.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes().to_vec())
}

/// A user's name.
fn user(uid: u32) -> Option<Vec<u8>> {
    // SAFETY: `getpwuid` answers null or a record that lasts until the next call; memql prints in one thread.
    unsafe {
        let record = libc::getpwuid(uid);
        if record.is_null() { None } else { text_at((*record).pw_name) }
    }
}

/// The name of a process's first thread.
fn process(pid: i64) -> Option<Vec<u8>> {
    let mut name = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    if name.last() == Some(&b'\n') {
        name.pop();
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(naming: Naming, number: i64) -> String {
        String::from_utf8_lossy(&name(naming, number, "")).into_owned()
    }

    #[test]
    fn errors_may_have_the_sign_that_the_kernel_gives_them() {
        assert_eq!(shown(Naming::Error, 2), "No such file or directory");
        assert_eq!(shown(Naming::Error, -2), "No such file or directory");
        assert_eq!(shown(Naming::Error, 4000), "Unknown error");
        assert_eq!(shown(Naming::Error, i64::MIN), "Unknown error");
    }

    #[test]
    fn what_has_no_name_says_so() {
        assert_eq!(shown(Naming::Signal, 9), "Killed");
        assert_eq!(shown(Naming::Signal, 0), "Unknown signal 0");
        assert_eq!(shown(Naming::Signal, 65), "N/A");
        assert_eq!(shown(Naming::Syscall, -1), "Unknown syscall");
        assert_eq!(shown(Naming::Process, -1), "N/A");
        assert_eq!(shown(Naming::User, 4_000_000_000), "4000000000");
    }
}
