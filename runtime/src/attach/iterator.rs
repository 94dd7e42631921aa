//! `iter:NAME`: which of its objects an iterator visits is said when it is attached (`union bpf_iter_link_info`,
//! include/uapi/linux/bpf.h).

/// Which objects an iterator visits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visits {
    /// All that there are.
    All,
    /// Those of this process (Linux 6.1).
    Process(u32),
    /// All control groups, parents before their children: this iterator wants to be told an order.
    ControlGroups,
}

impl Visits {
    /// What an iterator visits in a run that may be about one process.
    pub fn of(name: &str, of_tasks: bool, pid: Option<i32>) -> Visits {
        match pid.and_then(|pid| u32::try_from(pid).ok()).filter(|_| of_tasks) {
            Some(pid) => Visits::Process(pid),
            None if name == "cgroup" => Visits::ControlGroups,
            None => Visits::All,
        }
    }
}

/// What to do about an errno of attaching an iterator.
pub fn remedy(errno: i32) -> Option<&'static str> {
    match errno {
        // What came after the first member is not zero, and the kernel knows no more of it.
        libc::E2BIG => Some(
            "this kernel's iterators visit all processes (before Linux 6.1): leave out `-p` and compare, \
             `iter:task /ctx.task.tgid == 42/ { ... }`",
        ),
        libc::EBADF | libc::EINVAL => {
            Some("this iterator visits the elements of one map, which memql has no way to name")
        }
        libc::ESRCH => Some("the process has ended"),
        _ => None,
    }
}
