//! Files inside of ZIP archives: `archive.zip!/lib/name.so`.
//!
//! A library that an archive keeps uncompressed is mapped right out of it (Android's packages are such
//! archives): its code lies at an offset of the archive, and that is where a breakpoint goes. Only the
//! list at the archive's end and the entry's own header are read; the archive is input like any other.
//!
//! ```text
//! entry's header  name  extra  bytes ...   list: one entry a file   end of list: how many, where
//! ```
//! Structures as in APPNOTE.TXT 6.3.9, sections 4.3.7, 4.3.12 and 4.3.16.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Between an archive's path and that of the file in it.
const MARK: &str = "!/";

/// Signatures of the list's end, of an entry in it, and of a file's own header; and their bytes.
const END: (&[u8; 4], usize) = (b"PK\x05\x06", 22);
const ENTRY: (&[u8; 4], usize) = (b"PK\x01\x02", 46);
const HEADER: (&[u8; 4], usize) = (b"PK\x03\x04", 30);

/// The longest comment behind the list's end.
const MAX_COMMENT: u64 = 0xffff;

/// The largest list that is read.
const MAX_LIST: u64 = 64 << 20;

/// The file that the kernel knows: the archive, or the file itself.
pub fn container(path: &str) -> &str {
    match path.split_once(MARK) {
        Some((archive, _)) if File::open(path).is_err() => archive,
        _ => path,
    }
}

/// Opens a file, and says where in it the wanted one is: the whole of it, or what an archive keeps.
///
/// # Errors
/// If the file cannot be read, is no archive, or has no such file uncompressed.
pub fn open(path: &str) -> io::Result<(File, Range<u64>)> {
    let whole = |file: File| {
        let bytes = file.metadata()?.len();
        Ok((file, 0..bytes))
    };
    let Some((archive, name)) = path.split_once(MARK) else { return whole(File::open(path)?) };
    match File::open(path) {
        Ok(file) => whole(file),
        Err(_) => {
            let file = File::open(archive)?;
            let range = find(&file, name.as_bytes())?;
            Ok((file, range))
        }
    }
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Where the bytes of an entry lie.
fn find(file: &File, name: &[u8]) -> io::Result<Range<u64>> {
    let size = file.metadata()?.len();
    let tail_start = size.saturating_sub(MAX_COMMENT + END.1 as u64);
    let tail = read(file, tail_start, size - tail_start)?;
    let end = (0..tail.len()).rev().find(|at| tail[*at..].starts_with(END.0) && tail.len() - at >= END.1);
    let end = &tail[end.ok_or_else(|| damaged("it is no ZIP archive"))?..];
    let (bytes, start) = (word32(end, 12), word32(end, 16));
    if start.checked_add(bytes).is_none_or(|end| end > size) || bytes > MAX_LIST {
        return Err(damaged("its list of files is damaged, or that of a ZIP64 archive"));
    }
    let list = read(file, start, bytes)?;
    let mut rest = list.as_slice();
    while rest.starts_with(ENTRY.0) && rest.len() >= ENTRY.1 {
        let lengths = [word16(rest, 28), word16(rest, 30), word16(rest, 32)];
        let next = ENTRY.1 + lengths.iter().sum::<usize>();
        if rest.get(ENTRY.1..ENTRY.1 + lengths[0]) == Some(name) {
            if word16(rest, 10) != 0 {
                return Err(damaged("the archive keeps it compressed: nothing runs from there"));
            }
            return bytes_of(file, word32(rest, 42), word32(rest, 20), size);
        }
        rest = rest.get(next..).unwrap_or_default();
    }
    Err(io::Error::from(io::ErrorKind::NotFound))
}

/// Where an entry's bytes lie, behind its header.
fn bytes_of(file: &File, header: u64, bytes: u64, size: u64) -> io::Result<Range<u64>> {
    let head = read(file, header, HEADER.1 as u64)?;
    if !head.starts_with(HEADER.0) {
        return Err(damaged("its list of files is damaged"));
    }
    let start = header + (HEADER.1 + word16(&head, 26) + word16(&head, 28)) as u64;
    match start.checked_add(bytes) {
        Some(end) if end <= size => Ok(start..end),
        _ => Err(damaged("its list of files is damaged")),
    }
}

fn read(file: &File, at: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut out = vec![0; bytes as usize];
    file.read_exact_at(&mut out, at)?;
    Ok(out)
}

fn word16(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn word32(bytes: &[u8], at: usize) -> u64 {
    (word16(bytes, at) | word16(bytes, at + 2) << 16) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of files as they are, made by hand: name, and how it is compressed.
    fn archive(files: &[(&str, &[u8], u16)]) -> Vec<u8> {
        let (mut out, mut list) = (Vec::new(), Vec::new());
        for (name, bytes, method) in files {
            let header = out.len() as u32;
            let (name_bytes, size) = ((name.len() as u16).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
            let common = |out: &mut Vec<u8>| {
                out.extend([20, 0, 0, 0]);
                out.extend(method.to_le_bytes());
                out.extend([0; 8]);
                out.extend(size.iter().chain(&size).chain(&name_bytes));
            };
            out.extend(HEADER.0);
            common(&mut out);
            out.extend([3, 0]);
            out.extend(name.bytes().chain([1, 2, 3]));
            out.extend(*bytes);
            list.extend(ENTRY.0.iter().chain(&[20, 0]));
            common(&mut list);
            list.extend([0; 12]);
            list.extend(header.to_le_bytes());
            list.extend(name.bytes());
        }
        let (start, count) = (out.len() as u32, (files.len() as u16).to_le_bytes());
        let bytes = (list.len() as u32).to_le_bytes();
        out.extend(&list);
        out.extend(END.0.iter().chain(&[0; 4]).chain(&count).chain(&count).chain(&bytes));
        out.extend(start.to_le_bytes());
        out.extend([2, 0, b'h', b'i']);
        out
    }

    fn looked_up(bytes: &[u8], name: &str) -> io::Result<Vec<u8>> {
        let path = std::env::temp_dir().join(format!("memql-zip-{}-{}", std::process::id(), bytes.len()));
        std::fs::write(&path, bytes).expect("the temporary folder can be written");
        let found = open(&format!("{}!/{name}", path.display()));
        let found = found.and_then(|(file, range)| read(&file, range.start, range.end - range.start));
        std::fs::remove_file(&path).expect("it was written above");
        found
    }

    #[test]
    fn a_file_that_is_kept_as_it_is_lies_where_the_archive_says() {
        let zip = archive(&[("a.so", b"first", 0), ("lib/b.so", b"the second", 0), ("c.so", b"?", 8)]);
        assert_eq!(looked_up(&zip, "lib/b.so").expect("there"), b"the second");
        assert_eq!(looked_up(&zip, "a.so").expect("there"), b"first");
        assert_eq!(looked_up(&zip, "b.so").expect_err("not there").kind(), io::ErrorKind::NotFound);
        assert!(looked_up(&zip, "c.so").expect_err("compressed").to_string().contains("compressed"));
        assert_eq!(container("/no/such.zip!/a.so"), "/no/such.zip");
        assert_eq!(container("/proc/self/exe"), "/proc/self/exe");
    }

    #[test]
    fn damaged_archives_give_errors() {
        let good = archive(&[("a.so", b"first", 0)]);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0xff;
            // An error, or bytes of the archive.
            drop(looked_up(&bad, "a.so"));
            drop(looked_up(&good[..at], "a.so"));
        }
        assert!(looked_up(b"", "a").is_err());
        assert!(looked_up(b"no archive at all, but longer than the end of a list", "a").is_err());
    }
}
