//! Signals of a run, taken one at a time from a descriptor.
//!
//! SIGINT, SIGTERM and SIGHUP end a run in order; signals that `self:signal` probes name run those.
//! They are blocked and read from a signalfd, so nothing ever happens in the middle of something else.
//! The exception is a second SIGINT or SIGTERM: once the run is ending ([`Signals::end_at_once_on_next`])
//! it ends memql on the spot, with 128 plus the signal's number as its exit code, whatever it is doing.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// The signals that end a run.
const ENDING: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Signals of this run; dropping it restores what was there before.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
    mask_before: libc::sigset_t,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To end.
    End(i32),
    /// To run the probes of this signal.
    Probe(i32),
}

impl Signals {
    /// Takes the ending signals and those that probes name from now on.
    ///
    /// SIGINT and SIGTERM end a run even where a shell that started memql in the background had them
    /// ignored. SIGHUP stays ignored where it is (`nohup`). SIGPIPE is ignored: a closed pipe is seen
    /// as an error of the write.
    ///
    /// # Errors
    /// If a probe's number is no signal, or the kernel gives no descriptor.
    pub fn take(of_probes: &[i32]) -> io::Result<Signals> {
        for signal in [libc::SIGINT, libc::SIGTERM] {
            set_disposition(signal, libc::SIG_DFL);
        }
        set_disposition(libc::SIGPIPE, libc::SIG_IGN);
        let set = set_of(ENDING.iter().chain(of_probes))?;
        // SAFETY: both sets live across the calls, and the descriptor belongs to nobody else.
        unsafe {
            let mut mask_before = MaybeUninit::<libc::sigset_t>::uninit();
            let failed = libc::pthread_sigmask(libc::SIG_BLOCK, &set, mask_before.as_mut_ptr());
            if failed != 0 {
                return Err(io::Error::from_raw_os_error(failed));
            }
            let fd = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                let error = io::Error::last_os_error();
                libc::pthread_sigmask(libc::SIG_SETMASK, mask_before.as_ptr(), ptr::null_mut());
                return Err(error);
            }
            Ok(Signals { fd: OwnedFd::from_raw_fd(fd), mask_before: mask_before.assume_init() })
        }
    }

    /// The next signal, if one has come.
    ///
    /// # Errors
    /// If the descriptor cannot be read.
    pub fn next(&self) -> io::Result<Option<Asked>> {
        let mut record = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = mem::size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is as long as said.
        let read = unsafe { libc::read(self.fd.as_raw_fd(), record.as_mut_ptr().cast(), size) };
        if read == size as isize {
            // SAFETY: the kernel has written all of it.
            let signal = unsafe { record.assume_init() }.ssi_signo as i32;
            return Ok(Some(if ENDING.contains(&signal) {
                Asked::End(signal)
            } else {
                Asked::Probe(signal)
            }));
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        }
    }

    /// From now on SIGINT and SIGTERM end memql on the spot. One that came before and was not taken
    /// by [`Signals::next`] does so at once.
    pub fn end_at_once_on_next(&self) {
        let handler: extern "C" fn(i32) = end_at_once;
        for signal in [libc::SIGINT, libc::SIGTERM] {
            set_disposition(signal, handler as libc::sighandler_t);
        }
        if let Ok(set) = set_of([libc::SIGINT, libc::SIGTERM].iter()) {
            // SAFETY: the set lives across the call; a null old set is allowed.
            unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, ptr::null_mut()) };
        }
    }
}

/// Whether a signal that ends the run has come and waits to be taken. Any thread may ask; nothing is
/// taken. Long work (attaching thousands of probes) asks between its parts.
pub fn end_is_asked() -> bool {
    let mut pending = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigpending` fills the set in, and `sigismember` only reads it.
    unsafe {
        libc::sigpending(pending.as_mut_ptr()) == 0
            && ENDING.iter().any(|signal| libc::sigismember(pending.as_ptr(), *signal) == 1)
    }
}

impl AsFd for Signals {
    /// Readable when [`Signals::next`] has one.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // SAFETY: the mask was filled in by the kernel; a null old set is allowed.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.mask_before, ptr::null_mut()) };
    }
}

extern "C" fn end_at_once(signal: i32) {
    // SAFETY: `_exit` is async-signal-safe.
    unsafe { libc::_exit(128 + signal) }
}

fn set_of<'a>(signals: impl Iterator<Item = &'a i32>) -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set before anything reads it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            if libc::sigaddset(set.as_mut_ptr(), *signal) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(set.assume_init())
    }
}

fn set_disposition(signal: i32, disposition: libc::sighandler_t) {
    // SAFETY: the disposition is SIG_DFL, SIG_IGN or a handler that only calls `_exit`.
    unsafe { libc::signal(signal, disposition) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raise_in_this_thread(signal: i32) {
        // SAFETY: `pthread_kill` to oneself with a blocked signal only makes it pending.
        unsafe { libc::pthread_kill(libc::pthread_self(), signal) };
    }

    #[test]
    fn an_ending_signal_is_seen_before_it_is_taken_and_then_taken_once() {
        let signals = Signals::take(&[]).unwrap();
        assert!(!end_is_asked());
        raise_in_this_thread(libc::SIGTERM);
        assert!(end_is_asked());
        assert_eq!(signals.next().unwrap(), Some(Asked::End(libc::SIGTERM)));
        assert_eq!(signals.next().unwrap(), None);
        assert!(!end_is_asked());
    }

    #[test]
    fn the_signal_of_a_probe_runs_the_probe() {
        let signals = Signals::take(&[libc::SIGUSR1]).unwrap();
        raise_in_this_thread(libc::SIGUSR1);
        assert_eq!(signals.next().unwrap(), Some(Asked::Probe(libc::SIGUSR1)));
    }

    #[test]
    fn a_number_that_is_no_signal_is_an_error() {
        assert_eq!(Signals::take(&[4711]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
