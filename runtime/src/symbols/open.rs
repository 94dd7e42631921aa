//! Opening what is behind a process's mapping.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

use super::mappings::{self, Mapping};

/// Opens the file behind a mapping: by the mapping itself, which works for deleted files and in any
/// mount namespace but needs a capability (`CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`), or else by its
/// path as the process sees it, if that is still the same file.
pub(crate) fn open_mapped(tgid: u32, mapping: &Mapping) -> Result<File, String> {
    let path = &mapping.path;
    if let Ok(file) = open_regular(&format!("/proc/{tgid}/map_files/{}", mapping.map_file())) {
        return Ok(file);
    }
    let file = open_regular(&format!("/proc/{tgid}/root{path}"))
        .or_else(|_| open_regular(path))
        .map_err(|error| format!("cannot open `{path}`: {error}"))?;
    match file.metadata() {
        Ok(meta) if meta.ino() == mapping.inode => Ok(file),
        Ok(_) => Err(format!("`{path}` was replaced since it was mapped")),
        Err(error) => Err(format!("cannot read `{path}`: {error}")),
    }
}

/// The bytes of the vDSO, which is the same memory in every process and has no file.
pub(crate) fn own_vdso() -> Option<Vec<u8>> {
    let maps = fs::read("/proc/self/maps").ok()?;
    let own = mappings::parse(&maps).into_iter().find(|m| m.path == "[vdso]")?;
    let mut bytes = vec![0; (own.range.end - own.range.start) as usize];
    File::open("/proc/self/mem").ok()?.read_exact_at(&mut bytes, own.range.start).ok()?;
    Some(bytes)
}

/// Opens a file for reading, but no pipe or device: those may block, or do something when opened.
fn open_regular(path: &str) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}
