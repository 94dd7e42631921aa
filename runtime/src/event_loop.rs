//! Waits for whatever happens next in a run and does it, until something ends the run.
//!
//! ```text
//! ring buffer  ──► read a batch         signals  ──► end, or run probes
//! timers       ──► run probes           pidfds   ──► end
//! output       ──► its reader has gone: end
//! processes    ──► have mapped code: note it, read their unwind tables
//! ```
//!
//! Events are read in batches and signals, timers and ends are looked at between them, so none
//! waits for the others. What was printed is flushed when there is nothing more to read, and every
//! [`FLUSH_EVERY`] while there is.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::epoll::Epoll;
use crate::error::RunError;
use crate::failure::Failure;
use crate::process::Process;
use crate::ring::Ring;
use crate::signals::{Asked, Signals};
use crate::timers::Timer;

/// Under a flood of events, output is seen this often.
const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// Why a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The script called `exit()`, with this code.
    Exit(i32),
    /// This signal came.
    Signal(i32),
    /// The traced process has ended.
    Process,
    /// Nobody reads the output any more.
    ReaderGone,
    /// All probes are `begin` and `end`: nothing more can happen.
    NothingToWaitFor,
}

/// Whether there is more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// At least another batch.
    Yes,
    /// Not now.
    No,
    /// Nothing, and nothing is waited for.
    Never,
    /// The script called `exit()`, with this code.
    Exit(i32),
}

/// Does what the loop finds to do.
pub trait Handler {
    /// Reads a batch of events.
    ///
    /// # Errors
    /// Ends the run.
    fn read(&mut self) -> Result<More, Failure>;

    /// Shows what was printed.
    ///
    /// # Errors
    /// Ends the run.
    fn flush(&mut self) -> Result<(), Failure>;

    /// Runs the program of a timer.
    ///
    /// # Errors
    /// Ends the run.
    fn timer(&mut self, program: usize) -> Result<(), Failure>;

    /// Looks at processes that have mapped code.
    fn mapped(&mut self);

    /// Runs the programs of a signal.
    ///
    /// # Errors
    /// Ends the run.
    fn signal(&mut self, signal: i32) -> Result<(), Failure>;
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Ring,
    Signals,
    Timer(usize),
    Process,
    Reader,
    Mapped,
}

/// Waits for a run's descriptors.
pub struct EventLoop<'a> {
    epoll: Epoll<Source>,
    signals: &'a Signals,
    timers: &'a [(Timer, usize)],
}

impl<'a> EventLoop<'a> {
    /// Over signals, events and timers; each timer with its program.
    ///
    /// # Errors
    /// If the kernel gives no descriptor.
    pub fn new(
        signals: &'a Signals,
        ring: Option<&Ring<'_>>,
        timers: &'a [(Timer, usize)],
    ) -> Result<Self, RunError> {
        let mut epoll = Epoll::new().map_err(cannot_wait)?;
        epoll.wake_on_readable(signals.as_fd(), Source::Signals).map_err(cannot_wait)?;
        if let Some(ring) = ring {
            epoll.wake_on_readable(ring.fd(), Source::Ring).map_err(cannot_wait)?;
        }
        for (index, (timer, _)) in timers.iter().enumerate() {
            epoll.wake_on_readable(timer.as_fd(), Source::Timer(index)).map_err(cannot_wait)?;
        }
        Ok(EventLoop { epoll, signals, timers })
    }

    /// Ends when this process ends.
    ///
    /// # Errors
    /// If the kernel cannot wait for it.
    pub fn end_with(&mut self, process: &Process) -> Result<(), RunError> {
        self.epoll.wake_on_readable(process.as_fd(), Source::Process).map_err(cannot_wait)
    }

    /// Ends when nobody reads what is written here any more. A plain file has no reader that could go.
    ///
    /// # Errors
    /// If the kernel cannot wait for it.
    pub fn end_with_reader(&mut self, output: &impl AsFd) -> Result<(), RunError> {
        match self.epoll.wake_on_hang_up(output.as_fd(), Source::Reader) {
            Err(error) if error.raw_os_error() != Some(libc::EPERM) => Err(cannot_wait(error)),
            _ => Ok(()),
        }
    }

    /// Has the handler look at processes when this can be read.
    ///
    /// # Errors
    /// If the kernel cannot wait for it.
    pub fn look_when_mapped(&mut self, told: BorrowedFd<'_>) -> Result<(), RunError> {
        self.epoll.wake_once_on_readable(told, Source::Mapped).map_err(cannot_wait)
    }

    /// Handles what happens until the run ends. What was sent before that is not all read then.
    ///
    /// # Errors
    /// The handler's, or if waiting fails.
    pub fn run(&self, handler: &mut dyn Handler) -> Result<Ended, Failure> {
        let mut ready = Vec::new();
        let mut flushed = Instant::now();
        loop {
            let more = handler.read()?;
            if let More::Exit(code) = more {
                return Ok(Ended::Exit(code));
            }
            if more == More::Never {
                return Ok(Ended::NothingToWaitFor);
            }
            if more == More::No || flushed.elapsed() >= FLUSH_EVERY {
                handler.flush()?;
                flushed = Instant::now();
            }
            let timeout = (more == More::Yes).then_some(Duration::ZERO);
            self.epoll.wait(timeout, &mut ready).map_err(cannot_wait)?;
            for source in &ready {
                if let Some(ended) = self.one(*source, handler)? {
                    return Ok(ended);
                }
            }
        }
    }

    fn one(&self, source: Source, handler: &mut dyn Handler) -> Result<Option<Ended>, Failure> {
        match source {
            Source::Ring => {}
            Source::Timer(index) => {
                let (timer, program) = &self.timers[index];
                if timer.expired().map_err(|error| RunError::system("cannot read a timer", &error))? {
                    handler.timer(*program)?;
                }
            }
            Source::Signals => {
                while let Some(asked) =
                    self.signals.next().map_err(|e| RunError::system("cannot read signals", &e))?
                {
                    match asked {
                        Asked::End(signal) => {
                            handler.signal(signal)?;
                            return Ok(Some(Ended::Signal(signal)));
                        }
                        Asked::Probe(signal) => handler.signal(signal)?,
                    }
                }
            }
            Source::Process => return Ok(Some(Ended::Process)),
            Source::Reader => return Ok(Some(Ended::ReaderGone)),
            Source::Mapped => handler.mapped(),
        }
        Ok(None)
    }
}

fn cannot_wait(error: io::Error) -> RunError {
    RunError::system("cannot wait for events", &error)
}
