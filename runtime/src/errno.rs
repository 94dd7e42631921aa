//! Errno values in words: `permission denied (EACCES)`.
//!
//! The C library gives the words; the name is what manual pages and search engines know.

use std::io;

/// The answer of a failed system call in words, with its name where it has a common one.
pub fn in_words(error: &io::Error) -> String {
    let Some(errno) = error.raw_os_error() else { return error.to_string() };
    match errno {
        // The C library speaks of multibyte characters here, which the kernel never means.
        libc::EILSEQ => return "illegal byte sequence (EILSEQ)".into(),
        // Not known to the C library.
        ENOTSUPP => return "operation not supported (ENOTSUPP)".into(),
        _ => {}
    }
    let full = io::Error::from_raw_os_error(errno).to_string();
    let words = full.split(" (os error").next().unwrap_or(&full);
    let mut letters = words.chars();
    let lower: String = letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
    match name(errno) {
        Some(name) => format!("{lower} ({name})"),
        None => format!("{lower} (errno {errno})"),
    }
}

/// The symbolic name of an errno that loading, attaching and running can meet.
pub fn name(errno: i32) -> Option<&'static str> {
    NAMES.iter().find(|(value, _)| *value == errno).map(|(_, name)| *name)
}

/// The kernel's own errno for "not supported" inside perf and tracing code; it has no name in libc
/// (`ENOTSUPP`, include/linux/errno.h).
pub const ENOTSUPP: i32 = 524;

const NAMES: &[(i32, &str)] = &[
    (libc::EPERM, "EPERM"),
    (libc::ENOENT, "ENOENT"),
    (libc::ESRCH, "ESRCH"),
    (libc::EINTR, "EINTR"),
    (libc::EIO, "EIO"),
    (libc::ENXIO, "ENXIO"),
    (libc::E2BIG, "E2BIG"),
    (libc::ENOEXEC, "ENOEXEC"),
    (libc::EBADF, "EBADF"),
    (libc::EAGAIN, "EAGAIN"),
    (libc::ENOMEM, "ENOMEM"),
    (libc::EACCES, "EACCES"),
    (libc::EFAULT, "EFAULT"),
    (libc::EBUSY, "EBUSY"),
    (libc::EEXIST, "EEXIST"),
    (libc::ENODEV, "ENODEV"),
    (libc::ENOTDIR, "ENOTDIR"),
    (libc::EISDIR, "EISDIR"),
    (libc::EINVAL, "EINVAL"),
    (libc::ENFILE, "ENFILE"),
    (libc::EMFILE, "EMFILE"),
    (libc::ETXTBSY, "ETXTBSY"),
    (libc::ENOSPC, "ENOSPC"),
    (libc::EROFS, "EROFS"),
    (libc::EPIPE, "EPIPE"),
    (libc::ERANGE, "ERANGE"),
    (libc::ENAMETOOLONG, "ENAMETOOLONG"),
    (libc::ENOSYS, "ENOSYS"),
    (libc::ELOOP, "ELOOP"),
    (libc::EILSEQ, "EILSEQ"),
    (libc::EOPNOTSUPP, "EOPNOTSUPP"),
    (libc::EADDRNOTAVAIL, "EADDRNOTAVAIL"),
    (libc::EOVERFLOW, "EOVERFLOW"),
    (ENOTSUPP, "ENOTSUPP"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_the_errno_in_lower_case_words_with_its_name() {
        let error = io::Error::from_raw_os_error(libc::EACCES);
        assert_eq!(in_words(&error), "permission denied (EACCES)");
    }

    #[test]
    fn gives_the_number_of_an_errno_without_a_common_name() {
        let error = io::Error::from_raw_os_error(libc::EXFULL);
        assert!(in_words(&error).ends_with("(errno 54)"), "{}", in_words(&error));
    }
}
