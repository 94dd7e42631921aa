//! What bpftrace has and memql does not have yet.

const ALL: &[&str] = &["skboutput", "typeof", "typeinfo", "unwatch"];

/// Whether bpftrace's language has this name and memql's lacks it.
pub(crate) fn is_missing(name: &str) -> bool {
    ALL.contains(&name)
}
