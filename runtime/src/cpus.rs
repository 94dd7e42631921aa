//! Which CPUs are online (`/sys/devices/system/cpu/online`).

use std::fs;
use std::io;

/// The CPUs that are online, at least one.
///
/// # Errors
/// If sysfs is not mounted or says something else than a CPU list.
pub fn online() -> io::Result<Vec<u32>> {
    let list = fs::read_to_string("/sys/devices/system/cpu/online")?;
    parse(&list).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("not a CPU list: `{}`", list.trim()))
    })
}

/// More CPUs than any kernel is built for (`NR_CPUS`, at most 8192 on x86-64).
const MANY: u32 = 1 << 16;

/// `0-3,8,10-11`
fn parse(list: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last > MANY {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_single_cpus_and_ranges() {
        assert_eq!(parse("0-2,5,7-8\n"), Some(vec![0, 1, 2, 5, 7, 8]));
        assert_eq!(parse("0\n"), Some(vec![0]));
    }

    #[test]
    fn other_text_is_not_a_list() {
        for text in ["", "a", "3-1", "0-99999999", "0,,1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
