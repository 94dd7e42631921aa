//! Code made at run time: the `/tmp/perf-PID.map` that a just-in-time compiler may write, lines of
//! `START SIZE NAME` with numbers in hex.

use std::fs;
use std::rc::Rc;
use std::time::SystemTime;

use super::frame::Symbol;

/// Larger files are not read.
const MOST_BYTES: u64 = 512 << 20;

/// The functions that a process compiled for itself.
#[derive(Debug, Default)]
pub(super) struct PerfMap {
    /// Start, end and name, sorted by start.
    functions: Vec<(u64, u64, Rc<str>)>,
    /// The file's size and time when it was read.
    version: Option<(u64, Option<SystemTime>)>,
}

impl PerfMap {
    /// Reads the file of a process if it changed. What was read before stays if it is gone.
    pub fn refresh(&mut self, tgid: u32) {
        // In a container the process knows itself under another number.
        let inner = innermost_pid(tgid).unwrap_or(tgid);
        let its_own = format!("/proc/{tgid}/root/tmp/perf-{inner}.map");
        // Once the process is gone, the file that it left where we see it too.
        let left = format!("/tmp/perf-{tgid}.map");
        let found = |path: String| fs::metadata(&path).ok().map(|meta| (path, meta));
        let Some((path, meta)) = [its_own, left].into_iter().find_map(found) else { return };
        let version = Some((meta.len(), meta.modified().ok()));
        if !meta.is_file() || meta.len() > MOST_BYTES || version == self.version {
            return;
        }
        let Ok(bytes) = fs::read(&path) else { return };
        self.functions = parse(&String::from_utf8_lossy(&bytes));
        self.version = version;
    }

    /// The function at an address.
    pub fn find(&self, address: u64) -> Option<Symbol> {
        let after = self.functions.partition_point(|(start, ..)| *start <= address);
        let (start, end, name) = self.functions[..after].last()?;
        (address < *end).then(|| Symbol {
            name: (**name).to_owned(),
            offset: address - start,
            code: None,
            inlined: Vec::new(),
        })
    }
}

fn parse(text: &str) -> Vec<(u64, u64, Rc<str>)> {
    let mut functions: Vec<(u64, u64, Rc<str>)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.splitn(3, ' ');
            let mut number = || {
                let word = words.next()?;
                u64::from_str_radix(word.strip_prefix("0x").unwrap_or(word), 16).ok()
            };
            let (start, size) = (number()?, number()?);
            Some((start, start.checked_add(size)?, words.next()?.into()))
        })
        .collect();
    // Later lines replace earlier ones at the same address: they sort after them and are found first.
    functions.sort_by_key(|(start, ..)| *start);
    functions
}

/// The process's id in its own PID namespace: the last number of `NSpid` in `/proc/PID/status`.
fn innermost_pid(tgid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{tgid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_ascii_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_for_an_address_wins_and_ends_are_exclusive() {
        let map = PerfMap {
            functions: parse("1000 10 old\n1000 20 LazyCompile:~f /a.js:1\n0x2000 8 g\nnonsense\n"),
            version: None,
        };
        let text = |address| map.find(address).map(|s| format!("{}+{}", s.name, s.offset));
        assert_eq!(text(0x1004).as_deref(), Some("LazyCompile:~f /a.js:1+4"));
        assert_eq!(text(0x2007).as_deref(), Some("g+7"));
        assert_eq!(text(0x2008), None);
        assert_eq!(text(0xfff), None);
    }
}
