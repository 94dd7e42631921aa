//! Opening the file behind a process's mapping.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use super::mappings::Mapping;

/// Opens the file behind a mapping: by the mapping itself, which works for deleted files and in any
/// mount namespace but needs a capability (`CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`), or else by its
/// path as the process sees it, if that is still the same file.
pub(super) fn open_mapped(tgid: u32, mapping: &Mapping) -> Result<File, String> {
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

/// Opens a file for reading, but no pipe or device: those may block, or do something when opened.
fn open_regular(path: &str) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}
