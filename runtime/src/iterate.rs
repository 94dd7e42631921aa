//! Runs iterators: the kernel calls their programs when a file is read that belongs to the link.
//!
//! What comes out of the file is thrown away: one byte for each object, which makes a read end after
//! [`OBJECTS_A_READ`] of them, so that the ring buffer can be emptied. (`compiler/src/lower/iter.rs`)

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use libbpf_rs::libbpf_sys as sys;

use crate::error::RunError;

/// So many objects are visited before what was sent of them is printed: few enough that the ring buffer
/// holds it, enough that the system call does not count.
const OBJECTS_A_READ: usize = 64;

/// Where files of eBPF are.
const BPF_FOLDER: &str = "/sys/fs/bpf";

/// An iterator on its way through the kernel's objects.
pub struct Iteration {
    file: File,
}

impl Iteration {
    /// Begins at the first object.
    ///
    /// # Errors
    /// The system call's errno.
    pub fn begin(link: BorrowedFd<'_>) -> io::Result<Iteration> {
        // SAFETY: the call takes a descriptor.
        let fd = unsafe { sys::bpf_iter_create(link.as_raw_fd()) };
        match fd {
            // SAFETY: the kernel has just made it, nobody else owns it.
            0.. => Ok(Iteration { file: unsafe { OwnedFd::from_raw_fd(fd) }.into() }),
            _ => Err(io::Error::from_raw_os_error(-fd)),
        }
    }

    /// Visits some more objects; false if there were none left.
    ///
    /// # Errors
    /// The system call's errno.
    pub fn go_on(&mut self) -> io::Result<bool> {
        let mut marks = [0; OBJECTS_A_READ];
        loop {
            match self.file.read(&mut marks) {
                Ok(objects) => return Ok(objects > 0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Pins an iterator's link to a file, which runs it whenever it is read; gives the file's path.
///
/// # Errors
/// If the kernel refuses: what, and what to do.
pub fn pin(link: BorrowedFd<'_>, point: &str, file: &str) -> Result<PathBuf, RunError> {
    let path = Path::new(BPF_FOLDER).join(file);
    let failed = |error: io::Error| {
        let what = format!("cannot pin `{point}` to `{}`", path.display());
        let help = match error.raw_os_error() {
            Some(libc::EEXIST) => Some(format!("remove the file that is there: `rm {}`", path.display())),
            Some(libc::EPERM | libc::ENOENT | libc::EINVAL) => Some(format!(
                "pins are files of a mounted eBPF file system: `mount -t bpf none {BPF_FOLDER}`"
            )),
            _ => None,
        };
        RunError::system(what, &error).help_if(help)
    };
    let name = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|error| failed(error.into()))?;
    // SAFETY: the path lives across the call.
    match unsafe { sys::bpf_obj_pin(link.as_raw_fd(), name.as_ptr()) } {
        0.. => Ok(path),
        errno => Err(failed(io::Error::from_raw_os_error(-errno))),
    }
}
