//! What events make memql do outside: read a file for `cat`, run a command for `system`.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, ExitStatus, Stdio};

/// The first bytes of a file, at most `most`.
///
/// # Errors
/// If it cannot be opened or read.
pub(super) fn read_file(path: &[u8], most: u32) -> io::Result<Vec<u8>> {
    // Without `O_NONBLOCK`, opening a pipe that nobody writes to would stop the whole run.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(OsStr::from_bytes(path))?;
    let mut bytes = Vec::new();
    file.take(u64::from(most)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Runs a command in a shell, waits for it, and returns what it printed to stdout. Its stderr is ours.
///
/// # Errors
/// If there is no shell to run it.
pub(super) fn run_shell(command: &[u8]) -> io::Result<(Vec<u8>, ExitStatus)> {
    let output = Command::new("sh")
        .arg("-c")
        .arg(OsStr::from_bytes(command))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    Ok((output.stdout, output.status))
}
