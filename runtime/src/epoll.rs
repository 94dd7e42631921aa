//! Waits on several descriptors at once; each is known by a value of the caller's choice.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Descriptors and what each stands for.
#[derive(Debug)]
pub struct Epoll<T> {
    fd: OwnedFd,
    sources: Vec<T>,
}

/// At most so many ready descriptors are told at a time; more are told the next time.
const READY_AT_ONCE: usize = 64;

impl<T: Copy> Epoll<T> {
    /// Without descriptors.
    ///
    /// # Errors
    /// If the kernel gives no descriptor.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the descriptor belongs to nobody else.
        unsafe {
            let fd = libc::epoll_create1(libc::EPOLL_CLOEXEC);
            if fd < 0 {
                Err(io::Error::last_os_error())
            } else {
                Ok(Epoll { fd: OwnedFd::from_raw_fd(fd), sources: Vec::new() })
            }
        }
    }

    /// Wakes when `fd` can be read.
    ///
    /// # Errors
    /// If the descriptor cannot be waited for.
    pub fn wake_on_readable(&mut self, fd: BorrowedFd<'_>, source: T) -> io::Result<()> {
        self.add(fd, libc::EPOLLIN as u32, source)
    }

    /// Wakes each time that there is something new to read from `fd`, and once when nobody is at its other end any
    /// more.
    ///
    /// # Errors
    /// If the descriptor cannot be waited for.
    pub fn wake_once_on_readable(&mut self, fd: BorrowedFd<'_>, source: T) -> io::Result<()> {
        self.add(fd, (libc::EPOLLIN | libc::EPOLLET) as u32, source)
    }

    /// Wakes when nobody is at the other end of `fd` any more.
    ///
    /// # Errors
    /// If the descriptor cannot be waited for: EPERM says that it is a plain file, which has no other end.
    pub fn wake_on_hang_up(&mut self, fd: BorrowedFd<'_>, source: T) -> io::Result<()> {
        // EPOLLERR and EPOLLHUP are always told.
        self.add(fd, 0, source)
    }

    fn add(&mut self, fd: BorrowedFd<'_>, events: u32, source: T) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: self.sources.len() as u64 };
        // SAFETY: the event lives across the call.
        let failed =
            unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &mut event) };
        if failed != 0 {
            return Err(io::Error::last_os_error());
        }
        self.sources.push(source);
        Ok(())
    }

    /// Puts what is ready into `ready`; waits until something is, at most `timeout` (`None`: for ever).
    /// A signal handler that ran meanwhile leaves `ready` empty.
    ///
    /// # Errors
    /// If waiting fails.
    pub fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<T>) -> io::Result<()> {
        ready.clear();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; READY_AT_ONCE];
        // Rounded up, so that a wait of less than a millisecond does not become a busy loop.
        let timeout_ms =
            timeout.map_or(-1, |t| i32::try_from(t.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
        // SAFETY: the buffer holds as many events as said.
        let count = unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr(), READY_AT_ONCE as i32, timeout_ms)
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        ready
            .extend(events[..count as usize].iter().filter_map(|event| self.sources.get(event.u64 as usize)));
        Ok(())
    }
}

impl<T> AsFd for Epoll<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};

    use super::*;

    #[test]
    fn tells_which_descriptor_is_readable() {
        let (mut epoll, mut ready) = (Epoll::new().unwrap(), Vec::new());
        let ((a, _a_writer), (b, mut b_writer)) = (pipe().unwrap(), pipe().unwrap());
        epoll.wake_on_readable(a.as_fd(), 'a').unwrap();
        epoll.wake_on_readable(b.as_fd(), 'b').unwrap();
        epoll.wait(Some(Duration::ZERO), &mut ready).unwrap();
        assert_eq!(ready, []);
        b_writer.write_all(b"x").unwrap();
        epoll.wait(None, &mut ready).unwrap();
        assert_eq!(ready, ['b']);
    }

    #[test]
    fn tells_that_the_reader_of_a_pipe_is_gone() {
        let (mut epoll, mut ready) = (Epoll::new().unwrap(), Vec::new());
        let (reader, writer) = pipe().unwrap();
        epoll.wake_on_hang_up(writer.as_fd(), 'w').unwrap();
        epoll.wait(Some(Duration::ZERO), &mut ready).unwrap();
        assert_eq!(ready, []);
        drop(reader);
        epoll.wait(None, &mut ready).unwrap();
        assert_eq!(ready, ['w']);
    }

    #[test]
    fn a_plain_file_cannot_hang_up() {
        let mut epoll = Epoll::new().unwrap();
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        assert_eq!(epoll.wake_on_hang_up(file.as_fd(), 0).unwrap_err().raw_os_error(), Some(libc::EPERM));
    }
}
