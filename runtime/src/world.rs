//! What a run has to do with outside the kernel: the traced process, where results go, who waits for it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use memql_compiler::plan::Plan;

use crate::error::RunError;
use crate::load::{Loaded, Logs};
use crate::output::{Buffering, OutputFormat, Sink};
use crate::process::{Child, Process};
use crate::service;
use crate::session::RunOptions;
use crate::unwind::Unwinding;

/// A run's surroundings.
pub struct World {
    /// `-p`
    pub process: Option<Process>,
    /// `-c`
    pub child: Option<Child>,
    /// `--dwarf-pid`
    pub unwound: Vec<u32>,
    /// `-f`
    pub format: OutputFormat,
    /// Results go to stdout, whose reader can go away.
    pub to_stdout: bool,
    /// `-q`
    pub quiet: bool,
    /// `-v`
    pub verbose: bool,
    /// `-d libbpf`, `-d verifier`
    pub logs: Logs,
    /// `--dry-run`
    pub dry_run: bool,
    buffering: Buffering,
    /// `--no-warnings`
    pub no_warnings: bool,
    /// `--strict`
    pub strict: bool,
    file: Option<PathBuf>,
    ready: Option<OwnedFd>,
}

impl World {
    /// What the options name.
    ///
    /// # Errors
    /// If there is no such process or descriptor.
    pub fn of(options: RunOptions) -> Result<World, RunError> {
        let RunOptions {
            pid,
            child,
            unwound,
            format,
            output,
            buffering,
            quiet,
            verbose,
            logs,
            dry_run,
            no_warnings,
            strict,
            ready_fd,
        } = options;
        // First, so that whoever waits for it sees it close if the rest fails.
        let ready = ready_fd.map(taken).transpose()?;
        let process = pid.map(|pid| Process::open(i32::try_from(pid).unwrap_or(i32::MAX))).transpose()?;
        Ok(World {
            process,
            child,
            unwound,
            format,
            to_stdout: output.is_none(),
            quiet,
            verbose,
            logs,
            dry_run,
            buffering,
            no_warnings,
            strict,
            file: output,
            ready,
        })
    }

    /// The process that the run is about.
    pub fn pid(&self) -> Option<i32> {
        self.child.as_ref().map(Child::process).or(self.process.as_ref()).map(Process::pid)
    }

    /// The tables of the processes that `dw_ustack` is asked of, if the script asks.
    ///
    /// # Errors
    /// If there is no such process, or none is named.
    pub fn unwinding(&self, plan: &Plan) -> Result<Option<Unwinding>, RunError> {
        if !plan.unwinds {
            return Ok(None);
        }
        for pid in &self.unwound {
            Process::open(i32::try_from(*pid).unwrap_or(i32::MAX))?;
        }
        let about = self.pid().map(|pid| pid as u32);
        let pids: Vec<u32> = self.unwound.iter().copied().chain(about).collect();
        if pids.is_empty() {
            return Err(RunError::plain("`dw_ustack` needs to know whose unwind tables to read")
                .help("name the process with `-p PID` or `--dwarf-pid PID`, or start it with `-c COMMAND`"));
        }
        Ok(Some(Unwinding::read(&pids, self.child.is_some())))
    }

    /// Under `-v`, shows the long text that belongs to an error: the kernel verifier's log.
    pub fn show_log(&self, error: &RunError) {
        if let (true, Some(log)) = (self.verbose, &error.log) {
            eprintln!("{}", log.trim_end());
        }
    }

    /// What libbpf and the kernel verifier said while the object was loaded, if that was asked for.
    pub fn show_messages(&self, loaded: &Loaded) {
        if self.logs.any() {
            loaded.messages().iter().for_each(|message| eprintln!("{message}"));
        }
    }

    /// Where results go.
    ///
    /// # Errors
    /// If the file of `-o` cannot be opened.
    pub fn sink(&self) -> Result<Sink, RunError> {
        match &self.file {
            None => Ok(Sink::stdout().buffered(self.buffering)),
            Some(path) => Sink::file(path)
                .map(|sink| sink.buffered(self.buffering))
                .map_err(|error| RunError::system(format!("cannot write to `{}`", path.display()), &error)),
        }
    }

    /// Lets the child of `-c` execute its first instruction.
    ///
    /// # Errors
    /// If it was killed while it was stopped.
    pub fn let_child_go(&mut self) -> Result<(), RunError> {
        self.child.as_mut().map_or(Ok(()), Child::resume)
    }

    /// Tells whoever waits for it that everything is attached.
    ///
    /// # Errors
    /// If nobody can be told.
    pub fn tell_ready(&mut self) -> Result<(), RunError> {
        service::tell(service::State::Ready);
        match self.ready.take() {
            None => Ok(()),
            Some(fd) => File::from(fd)
                .write_all(b"1")
                .map_err(|error| RunError::system("cannot write to the descriptor of `--ready-fd`", &error)),
        }
    }
}

/// Takes a descriptor that memql was started with; the child does not get it.
fn taken(fd: RawFd) -> Result<OwnedFd, RunError> {
    let failed = |error| RunError::system(format!("cannot use descriptor {fd} of `--ready-fd`"), &error);
    // SAFETY: F_GETFD on any number is harmless.
    if fd <= 2 || unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(failed(io::Error::from_raw_os_error(libc::EBADF))
            .help("memql must be started with that descriptor open for writing, as in `memql --ready-fd 3 ... 3>file`"));
    }
    // SAFETY: it is open, and was given to memql for this alone.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the descriptor is open.
    match unsafe { libc::fcntl(owned.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) } {
        -1 => Err(failed(io::Error::last_os_error())),
        _ => Ok(owned),
    }
}
