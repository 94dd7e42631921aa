//! What to do about a system call that the kernel refused for lack of rights.
//!
//! EPERM alone says little: root in a container may lack one capability, and a locked-down kernel
//! refuses everybody. Both can be read, so the help names what is really missing.

use std::fs;
use std::io;

/// Capabilities that loading and attaching need, with their bits (include/uapi/linux/capability.h).
/// CAP_SYS_ADMIN stands for both on every kernel.
const NEEDED: [(u32, &str); 2] = [(39, "CAP_BPF"), (38, "CAP_PERFMON")];
const CAP_SYS_ADMIN: u32 = 21;

/// What to do about EPERM or EACCES; `None` for other errors and where nothing is known to be missing.
pub fn for_refusal(error: &io::Error) -> Option<String> {
    Remedies::here().for_refusal(error)
}

/// What is known of a machine's rights.
#[derive(Debug, Default)]
pub struct Remedies {
    /// `/proc/self/status`
    status: String,
    /// `/sys/kernel/security/lockdown`
    lockdown: String,
}

impl Remedies {
    /// Of this one; what cannot be read is not known.
    pub fn here() -> Remedies {
        Remedies {
            status: fs::read_to_string("/proc/self/status").unwrap_or_default(),
            lockdown: fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default(),
        }
    }

    /// Of a machine whose files say this.
    #[cfg(test)]
    pub fn of(status: &str, lockdown: &str) -> Remedies {
        Remedies { status: status.to_owned(), lockdown: lockdown.to_owned() }
    }

    /// What to do about EPERM or EACCES; `None` for other errors and where nothing is known to be missing.
    pub fn for_refusal(&self, error: &io::Error) -> Option<String> {
        if !matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES)) {
            return None;
        }
        let locked_down =
            || (error.raw_os_error() == Some(libc::EPERM)).then(|| locked_down(&self.lockdown)).flatten();
        missing_capabilities(&self.status).or_else(locked_down)
    }

    /// What to do if the kernel is locked down such that it lets nobody read its memory.
    pub fn locked_down_for_reading(&self) -> Option<String> {
        self.lockdown.contains("[confidentiality]").then(|| locked_down(&self.lockdown)).flatten()
    }
}

/// From `/proc/self/status`.
fn missing_capabilities(status: &str) -> Option<String> {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    if mask & (1 << CAP_SYS_ADMIN) != 0 {
        return None;
    }
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(bit, _)| mask & (1 << bit) == 0).map(|(_, name)| *name).collect();
    match missing.is_empty() {
        true => None,
        false => Some(format!("run as root, or with {} (missing here)", missing.join(" and "))),
    }
}

/// From `/sys/kernel/security/lockdown`, which marks the level in force: `none [integrity] confidentiality`.
fn locked_down(lockdown: &str) -> Option<String> {
    if lockdown.contains("[confidentiality]") {
        Some("the kernel is locked down (confidentiality), so programs may not read memory, and there are no tracepoints: boot with `lockdown=integrity` or without it".into())
    } else if lockdown.contains("[integrity]") {
        Some("the kernel is locked down (integrity), which forbids writing user memory and overriding functions; reading is allowed".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_capabilities_that_are_missing() {
        assert_eq!(
            missing_capabilities("Name:\tmemql\nCapEff:\t0000004000000000\n").as_deref(),
            Some("run as root, or with CAP_BPF (missing here)")
        );
        assert_eq!(missing_capabilities("CapEff:\t000001ffffffffff\n"), None);
        assert_eq!(missing_capabilities("CapEff:\t000000c000000000\n"), None);
    }

    #[test]
    fn names_the_lockdown_level_in_force() {
        assert!(locked_down("none integrity [confidentiality]\n").unwrap().contains("(confidentiality)"));
        assert!(locked_down("none [integrity] confidentiality\n").unwrap().contains("(integrity)"));
        assert_eq!(locked_down("[none] integrity confidentiality\n"), None);
        assert_eq!(locked_down(""), None);
    }

    #[test]
    fn other_errors_have_no_remedy_of_this_kind() {
        assert_eq!(for_refusal(&io::Error::from_raw_os_error(libc::EINVAL)), None);
    }
}
