//! The kernel's BTF: mapped where the kernel allows it (Linux 6.16), else read.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;

use memql_compiler::btf::Btf;
use memql_compiler::target::FactError;

use super::refused;

const PATH: &str = "/sys/kernel/btf/vmlinux";

/// Reads the kernel's types.
///
/// # Errors
/// If the kernel has none or they cannot be read.
pub fn read() -> Result<Btf, FactError> {
    let parsed = open().map_err(|error| {
        let mut fact = refused(&format!("cannot read the kernel's types from `{PATH}`"), &error);
        if error.kind() == io::ErrorKind::NotFound {
            fact.help = Some("this kernel was built without BTF (CONFIG_DEBUG_INFO_BTF)".into());
        }
        fact
    })?;
    parsed.map_err(|error| FactError {
        message: format!("cannot understand the kernel's types in `{PATH}`: {error}"),
        help: Some("please report it with the output of `memql --info`".into()),
    })
}

fn open() -> io::Result<Result<Btf, memql_compiler::btf::BtfError>> {
    let mut file = File::open(PATH)?;
    let size = file.metadata()?.len() as usize;
    if let Some(mapped) = Mapped::new(&file, size) {
        return Ok(Btf::parse(mapped));
    }
    let mut bytes = Vec::with_capacity(size);
    file.read_to_end(&mut bytes)?;
    Ok(Btf::parse(bytes))
}

/// The file in memory. The kernel's BTF never changes and never shrinks.
struct Mapped {
    start: *const u8,
    bytes: usize,
}

// SAFETY: the mapping is read-only, and nobody else unmaps it.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// `None` where the kernel does not map this file.
    fn new(file: &File, bytes: usize) -> Option<Mapped> {
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
