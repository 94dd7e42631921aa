//! One link for many points, even if a few of them are bad.
//!
//! The kernel attaches a multi link as a whole or not at all and does not say which point it could not
//! attach. So a set that fails is tried in halves: k bad points among n cost about k * log n tries,
//! and all others are attached in few links.

use std::io;
use std::os::fd::OwnedFd;

/// What became of a set of points.
#[derive(Debug)]
pub struct Halves {
    /// Links, and how many points each has.
    pub links: Vec<(OwnedFd, usize)>,
    /// Points that could not be attached: their index and why.
    pub failures: Vec<(usize, io::Error)>,
}

/// Links the points `0..count`, in as few links as it takes.
///
/// `link` attaches a range of them as one.
pub fn link(count: usize, mut link: impl FnMut(std::ops::Range<usize>) -> io::Result<OwnedFd>) -> Halves {
    let mut result = Halves { links: Vec::new(), failures: Vec::new() };
    // A stack, the first points on top, so that points are tried in order.
    let mut left: Vec<std::ops::Range<usize>> =
        if count == 0 { Vec::new() } else { std::iter::once(0..count).collect() };
    while let Some(range) = left.pop() {
        match link(range.clone()) {
            Ok(fd) => result.links.push((fd, range.len())),
            Err(error) if range.len() == 1 || !depends_on_points(&error) => {
                let each = || io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO));
                result.failures.extend(range.map(|index| (index, each())));
            }
            Err(_) => {
                let middle = range.start + range.len() / 2;
                left.push(middle..range.end);
                left.push(range.start..middle);
            }
        }
    }
    result
}

/// Whether fewer points might do better.
fn depends_on_points(error: &io::Error) -> bool {
    !matches!(
        error.raw_os_error(),
        Some(
            libc::EPERM
                | libc::EACCES
                | libc::ENOSYS
                | libc::EOPNOTSUPP
                | libc::EMFILE
                | libc::ENFILE
                | libc::EBADF
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link that refuses sets with a bad point, and counts its tries.
    fn try_with(count: usize, bad: &[usize], errno: i32) -> (Halves, usize) {
        let mut tries = 0;
        let result = link(count, |range| {
            tries += 1;
            match bad.iter().any(|point| range.contains(point)) {
                true => Err(io::Error::from_raw_os_error(errno)),
                false => Ok(std::fs::File::open("/dev/null")?.into()),
            }
        });
        (result, tries)
    }

    #[test]
    fn good_points_are_one_link() {
        let (result, tries) = try_with(1000, &[], libc::EINVAL);
        assert_eq!((result.links.len(), result.links[0].1, tries), (1, 1000, 1));
    }

    #[test]
    fn a_bad_point_fails_alone() {
        let (result, tries) = try_with(1024, &[700], libc::EINVAL);
        assert_eq!(result.failures.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [700]);
        assert_eq!(result.links.iter().map(|(_, points)| points).sum::<usize>(), 1023);
        assert_eq!(tries, 21);
    }

    #[test]
    fn a_refusal_that_no_subset_can_avoid_is_not_tried_again() {
        let (result, tries) = try_with(1024, &[0], libc::EPERM);
        assert_eq!((result.failures.len(), tries), (1024, 1));
    }

    #[test]
    fn no_points_are_no_link() {
        let (result, tries) = try_with(0, &[], libc::EINVAL);
        assert_eq!((result.links.len(), result.failures.len(), tries), (0, 0, 0));
    }
}
