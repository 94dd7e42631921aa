//! The `.bss` section as mapped memory: maps without a key, and the counters of what was lost.
//!
//! Programs write it while it is read, so every access is a volatile one of 8 bytes where the
//! address allows, and no reference into the mapping ever leaves this file.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// The mapped `.bss` section of a loaded object.
#[derive(Debug)]
pub struct Bss {
    base: NonNull<u8>,
    /// Bytes of the section.
    len: usize,
    /// Bytes mapped: `len` rounded up to pages.
    mapped: usize,
}

impl Bss {
    /// Maps the section, which libbpf keeps in an array map with one element of `len` bytes.
    ///
    /// # Errors
    /// If the kernel refuses to map it.
    ///
    /// # Kernel
    /// 5.5 (`BPF_F_MMAPABLE`).
    pub fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Bss> {
        // SAFETY: `sysconf` only reads.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(4096) as usize;
        let mapped = len.max(1).next_multiple_of(page);
        // SAFETY: a new mapping at an address that the kernel picks; no memory of ours is touched.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                mapped,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        Ok(Bss { base, len, mapped })
    }

    /// The `u64` at a byte offset; `None` if it is not aligned or not in the section.
    pub fn read_u64(&self, offset: u32) -> Option<u64> {
        let at = self.word(offset)?;
        // SAFETY: `word` gives an aligned address inside the mapping, which lives as long as `self`.
        Some(unsafe { at.read_volatile() })
    }

    /// Sets the `u64` at a byte offset; `false` if it is not aligned or not in the section.
    pub fn write_u64(&self, offset: u32, value: u64) -> bool {
        let Some(at) = self.word(offset) else {
            return false;
        };
        // SAFETY: as in `read_u64`; the mapping is writable.
        unsafe { at.write_volatile(value) };
        true
    }

    /// A copy of some bytes, read by aligned words so that no 64-bit value is torn; `None` if they
    /// are not in the section.
    pub fn read(&self, offset: u32, len: usize) -> Option<Vec<u8>> {
        let start = offset as usize;
        let end = start.checked_add(len).filter(|&end| end <= self.len)?;
        let first = start - start % 8;
        let mut bytes = Vec::with_capacity(len + 16);
        for at in (first..end).step_by(8) {
            // SAFETY: `at` is a multiple of 8 below the section's end, and the mapping is whole pages,
            // so the word lies inside it and is aligned.
            let word = unsafe { self.base.as_ptr().add(at).cast::<u64>().read_volatile() };
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.drain(..start - first);
        bytes.truncate(len);
        Some(bytes)
    }

    /// Sets some bytes to zero; `false` if they are not in the section.
    pub fn zero(&self, offset: u32, len: usize) -> bool {
        let start = offset as usize;
        let Some(end) = start.checked_add(len).filter(|&end| end <= self.len) else {
            return false;
        };
        let mut at = start;
        while at < end {
            // SAFETY: `at` is below the section's end; words are only written where they are aligned
            // and wholly inside the range.
            unsafe {
                if at.is_multiple_of(8) && at + 8 <= end {
                    self.base.as_ptr().add(at).cast::<u64>().write_volatile(0);
                    at += 8;
                } else {
                    self.base.as_ptr().add(at).write_volatile(0);
                    at += 1;
                }
            }
        }
        true
    }

    fn word(&self, offset: u32) -> Option<*mut u64> {
        let at = offset as usize;
        (at.is_multiple_of(8) && at + 8 <= self.len).then(|| {
            // SAFETY: inside the mapping, by the condition.
            unsafe { self.base.as_ptr().add(at).cast() }
        })
    }
}

impl Drop for Bss {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `map` and nothing refers to it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.mapped) };
    }
}
