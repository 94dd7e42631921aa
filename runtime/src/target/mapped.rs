//! Files in memory, mapped rather than read.

use std::fs::File;
use std::os::fd::AsRawFd;

/// A mapped file. It must not shrink meanwhile: the kernel's BTF never does, and programs are replaced
/// rather than rewritten, since the kernel refuses to write to one that runs.
#[derive(Debug)]
pub struct Mapped {
    start: *const u8,
    bytes: usize,
}

// SAFETY: the mapping is read-only, and nobody else unmaps it.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// `None` where the kernel does not map this file.
    pub fn new(file: &File, bytes: usize) -> Option<Mapped> {
        if bytes == 0 {
            return None;
        }
        let (read, private) = (libc::PROT_READ, libc::MAP_PRIVATE);
        // SAFETY: a new mapping of a file that is open; the result is checked.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, read, private, file.as_raw_fd(), 0) };
        (start != libc::MAP_FAILED).then_some(Mapped { start: start.cast(), bytes })
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping has this many readable bytes and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start, self.bytes) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this address and size, and no slice outlives `self`. A failure would
        // leave the mapping, which harms nobody.
        unsafe { libc::munmap(self.start.cast_mut().cast(), self.bytes) };
    }
}
