//! The perf PMUs of kprobes and uprobes: their numbers are given at boot, sysfs tells them.

use std::fs;
use std::io;

/// A PMU that makes probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pmu {
    /// Its `type`.
    pub kind: u32,
    /// The bit of `config` that asks for the return of the function.
    pub return_bit: u64,
}

impl Pmu {
    /// `kprobe` or `uprobe`.
    ///
    /// # Errors
    /// ENOENT if the kernel has no such probes.
    pub fn named(name: &str) -> io::Result<Pmu> {
        let folder = format!("/sys/bus/event_source/devices/{name}");
        let kind = fs::read_to_string(format!("{folder}/type"))?;
        let format = fs::read_to_string(format!("{folder}/format/retprobe"))?;
        parse(&kind, &format).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
    }
}

/// From the two sysfs files: `8` and `config:0`.
fn parse(kind: &str, retprobe: &str) -> Option<Pmu> {
    let bit: u32 = retprobe.trim().strip_prefix("config:")?.parse().ok()?;
    Some(Pmu { kind: kind.trim().parse().ok()?, return_bit: 1u64.checked_shl(bit)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_number_and_the_return_bit() {
        assert_eq!(parse("8\n", "config:0\n"), Some(Pmu { kind: 8, return_bit: 1 }));
    }

    #[test]
    fn other_forms_are_not_guessed() {
        assert_eq!(parse("8\n", "config1:0\n"), None);
        assert_eq!(parse("x\n", "config:0\n"), None);
        assert_eq!(parse("8\n", "config:64\n"), None);
    }
}
