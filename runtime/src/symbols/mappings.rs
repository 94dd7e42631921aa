//! A process's memory map: `/proc/PID/maps`, the parts of it that hold code.

use std::ops::Range;

/// A mapping that code can run in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// Its addresses.
    pub range: Range<u64>,
    /// The offset in the file of its first byte.
    pub offset: u64,
    /// Device and inode of the file, as the kernel shows them; `0:0` and 0 without a file.
    pub device: (u32, u32),
    /// See `device`.
    pub inode: u64,
    /// The file's path as the process sees it, or `[vdso]` and the like; empty for anonymous memory.
    pub path: String,
}

/// What tells a mapped file from others: device and inode, and its path, since on btrfs the inodes of
/// two subvolumes may be equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileKey {
    device: (u32, u32),
    inode: u64,
    path: String,
}

impl FileKey {
    /// The file's path as the process sees it.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Mapping {
    /// The file behind it.
    pub fn file_key(&self) -> FileKey {
        FileKey { device: self.device, inode: self.inode, path: self.path.clone() }
    }

    /// Its name in `/proc/PID/map_files`.
    pub fn map_file(&self) -> String {
        format!("{:x}-{:x}", self.range.start, self.range.end)
    }
}

/// Reads the lines of `/proc/PID/maps` that describe executable memory, sorted by address as the
/// kernel writes them. Lines in an unknown form are passed over.
pub(crate) fn parse(maps: &[u8]) -> Vec<Mapping> {
    maps.split(|b| *b == b'\n').filter_map(parse_line).collect()
}

/// Puts what is mapped now over what was mapped before: where they overlap the new mappings count;
/// what is no longer mapped (a closed library, everything after the process ended) is kept. Both are
/// sorted by address, and so is the result.
pub(super) fn merge<T>(old: Vec<T>, fresh: Vec<T>, of: impl Fn(&T) -> &Mapping) -> Vec<T> {
    let overlaps = |with: &Mapping| {
        let after = fresh.partition_point(|m| of(m).range.end <= with.range.start);
        fresh.get(after).is_some_and(|m| of(m).range.start < with.range.end)
    };
    let mut merged: Vec<T> = old.into_iter().filter(|old| !overlaps(of(old))).collect();
    merged.extend(fresh);
    merged.sort_by_key(|m| of(m).range.start);
    merged
}

/// `START-END rwxp OFFSET MAJOR:MINOR INODE      PATH`, numbers but the inode in hex.
fn parse_line(line: &[u8]) -> Option<Mapping> {
    let line = String::from_utf8_lossy(line);
    let mut rest = &*line;
    let mut word = || {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = after;
        word
    };
    let (range, access, offset, device, inode) = (word(), word(), word(), word(), word());
    if access.as_bytes().get(2) != Some(&b'x') {
        return None;
    }
    let hex = |s: &str| u64::from_str_radix(s, 16).ok();
    let (start, end) = range.split_once('-')?;
    let (major, minor) = device.split_once(':')?;
    Some(Mapping {
        range: hex(start)?..hex(end)?,
        offset: hex(offset)?,
        device: (u32::try_from(hex(major)?).ok()?, u32::try_from(hex(minor)?).ok()?),
        inode: inode.parse().ok()?,
        path: unescape(rest.trim_start()),
    })
}

/// The kernel writes a newline in a path as `\012` (`seq_path`, fs/seq_file.c).
fn unescape(path: &str) -> String {
    path.replace("\\012", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_mappings_replace_what_they_overlap_and_the_rest_is_kept() {
        let mappings = |list: &[(u64, u64, &str)]| -> Vec<Mapping> {
            let line =
                |(start, end, path): &(u64, u64, &str)| format!("{start:x}-{end:x} r-xp 0 0:1 1 {path}\n");
            parse(list.iter().map(line).collect::<String>().as_bytes())
        };
        let old = mappings(&[(0x1000, 0x3000, "a"), (0x4000, 0x5000, "b"), (0x6000, 0x7000, "c")]);
        let fresh = mappings(&[(0x2000, 0x2800, "new"), (0x6000, 0x7000, "c")]);
        let merged = merge(old, fresh, |m| m);
        let shown: Vec<&str> = merged.iter().map(|m| m.path.as_str()).collect();
        assert_eq!(shown, ["new", "b", "c"]);
    }

    #[test]
    fn only_executable_mappings_are_kept_and_paths_may_hold_blanks() {
        let maps = b"55d0c0a00000-55d0c0a01000 r--p 00000000 fe:01 12 /bin/a\n\
            55d0c0a01000-55d0c0a05000 r-xp 00001000 fe:01 12      /opt/my app (deleted)\n\
            7ffd0e5f1000-7ffd0e5f3000 r-xp 00000000 00:00 0       [vdso]\n\
            7f0000000000-7f0000001000 rwxp 00000000 00:00 0 \n\
            garbage\n";
        let shown: Vec<String> = parse(maps)
            .iter()
            .map(|m| {
                format!(
                    "{} {:#x} {}:{} {} `{}`",
                    m.map_file(),
                    m.offset,
                    m.device.0,
                    m.device.1,
                    m.inode,
                    m.path
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "55d0c0a01000-55d0c0a05000 0x1000 254:1 12 `/opt/my app (deleted)`",
                "7ffd0e5f1000-7ffd0e5f3000 0x0 0:0 0 `[vdso]`",
                "7f0000000000-7f0000001000 0x0 0:0 0 ``",
            ]
        );
    }
}
