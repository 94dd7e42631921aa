//! Array maps as mapped memory that is only written.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// An array map with `BPF_F_MMAPABLE`, mapped.
#[derive(Debug)]
pub(super) struct Array {
    base: NonNull<u8>,
    bytes: usize,
}

impl Array {
    /// Maps an array of so many elements of so many bytes, a multiple of 8.
    ///
    /// # Errors
    /// If the kernel refuses to map it.
    ///
    /// # Kernel
    /// 5.5 (`BPF_F_MMAPABLE`).
    pub fn map(fd: BorrowedFd<'_>, elements: u32, element_bytes: u32) -> io::Result<Array> {
        let bytes = elements as usize * element_bytes as usize;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel picks; no memory of ours is touched.
        let mapped =
            unsafe { libc::mmap(ptr::null_mut(), bytes.max(1), access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        match NonNull::new(mapped.cast()).filter(|_| mapped != libc::MAP_FAILED) {
            Some(base) => Ok(Array { base, bytes }),
            None => Err(io::Error::last_os_error()),
        }
    }

    /// Writes elements from this one on; what is beyond the array is left out.
    pub fn write<const N: usize>(&mut self, first: u32, elements: &[[u8; N]]) {
        let start = (first as usize * N).min(self.bytes);
        let count = elements.len().min((self.bytes - start) / N);
        // SAFETY: `start` and the bytes written are inside the mapping, which is page aligned, lives as long as `self` and
        // has no references into it. Programs read elements that nobody has told them of yet only by mistake.
        unsafe {
            let to = self.base.as_ptr().add(start);
            ptr::copy_nonoverlapping(elements.as_ptr().cast::<u8>(), to, count * N);
        }
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and nothing refers to it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes.max(1)) };
    }
}
