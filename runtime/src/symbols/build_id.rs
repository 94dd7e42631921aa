//! A file's build id: the note that says which build it is.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::rc::Rc;

use object::Object as _;
use object::read::ReadCache;

/// Reads it, in hex; `None` if the file has none or is not ELF.
pub(super) fn read(file: &File) -> Option<Rc<str>> {
    let mut magic = [0u8; 4];
    let mut reader = file.try_clone().ok()?;
    std::io::Seek::rewind(&mut reader).ok()?;
    reader.read_exact(&mut magic).ok()?;
    if &magic != b"\x7fELF" {
        return None;
    }
    let cache = ReadCache::new(reader);
    let object = object::File::parse(&cache).ok()?;
    let id = object.build_id().ok()??;
    let mut text = String::with_capacity(id.len() * 2);
    for byte in id {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Some(text.into())
}
