//! The process a run is about: one that memql starts (`-c CMD`) or one that is there (`-p PID`).
//!
//! A started one is stopped at its very first instruction, before its loader has run, by ptrace: it
//! asks to be traced, and the kernel stops it when `exec` has succeeded. memql lets it go
//! ([`Child::resume`]) when everything is attached, so not one call of it is missed. On the way it can be held once more, at its
//! entry point, where its loader has mapped all that it is linked with ([`Child::run_to_entry`]). If memql ends
//! before that, the child is killed; after it, the child is asked to end (SIGTERM) when the run does.
//!
//! Either way its end is seen through a pidfd, which cannot mistake a later process with the same
//! number for it.

use std::fs;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use crate::error::RunError;
use crate::words;

/// How long memql waits between two looks at a child that is on its way to its entry point.
const SHORT_WAIT_MS: i32 = 1;

/// A child that was asked to end is given so long to do it before memql goes.
const TIME_TO_END_MS: i32 = 100;

/// A process seen through a pidfd.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    pidfd: OwnedFd,
}

impl Process {
    /// The running process with this number.
    ///
    /// # Errors
    /// If there is none, or the number is that of a thread other than a process's first.
    ///
    /// # Kernel
    /// `pidfd_open`, Linux 5.3.
    pub fn open(pid: i32) -> Result<Process, RunError> {
        match pidfd_open(pid) {
            Ok(pidfd) => Ok(Process { pid, pidfd }),
            Err(error) => Err(no_such_process(pid, &error)),
        }
    }

    /// Its number in memql's PID namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it has ended (a zombie has).
    pub fn has_ended(&self) -> bool {
        self.wait(0)
    }

    /// Waits for its end, at most so many milliseconds; tells whether it has ended.
    fn wait(&self, at_most_ms: i32) -> bool {
        let mut poll = libc::pollfd { fd: self.pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd is passed, and it lives across the call.
        unsafe { libc::poll(&mut poll, 1, at_most_ms) > 0 }
    }

    /// Sends it a signal; a process that has ended meanwhile is not an error.
    fn send(&self, signal: i32) {
        // SAFETY: `pidfd_send_signal` takes numbers and an optional pointer, which is null.
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                signal,
                ptr::null::<libc::siginfo_t>(),
                0u32,
            )
        };
    }
}

impl AsFd for Process {
    /// Readable once the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: `pidfd_open` takes two numbers and gives a descriptor that nobody else owns.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0u32);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd as i32)) }
    }
}

fn no_such_process(pid: i32, error: &io::Error) -> RunError {
    let error = RunError::system(format!("cannot trace process {pid}"), error);
    match leader_of(pid) {
        Some(leader) if leader != pid => {
            error.help(format!("{pid} is a thread of process {leader}: use `-p {leader}`"))
        }
        Some(_) => error,
        None => error.help("`-p` takes the number of a running process, as `ps` and `pgrep` print it"),
    }
}

/// The process that a thread belongs to; `None` if there is no such thread.
fn leader_of(tid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// A process that memql has started.
///
/// Only the thread that started it can let it go: that thread is its tracer (ptrace(2)). The type is
/// therefore not `Send`.
#[derive(Debug)]
pub struct Child {
    process: Process,
    command: String,
    state: State,
    not_send: PhantomData<*const ()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Stopped,
    Running,
    Reaped,
}

impl Child {
    /// Starts a command and leaves it stopped at its first instruction.
    ///
    /// The command is split into words as a shell would, and its first word is looked up in `PATH`.
    /// It inherits memql's standard streams.
    ///
    /// # Errors
    /// If the command cannot be split, found or executed.
    pub fn start_stopped(command: &str) -> Result<Child, RunError> {
        let words = words::split(command).map_err(|error| {
            RunError::plain(format!("cannot run `{command}`: {error}"))
                .help("`-c` takes a program and its arguments, quoted as one")
        })?;
        let (program, arguments) =
            words.split_first().ok_or_else(|| RunError::internal("a command without words"))?;
        let mut prepared = Command::new(program);
        prepared.args(arguments);
        // SAFETY: the closure runs between fork and exec and makes one async-signal-safe system call.
        unsafe { prepared.pre_exec(trace_me) };
        let started = prepared.spawn().map_err(|error| cannot_run(program, &error))?;
        let pid = started.id() as i32;
        let pidfd =
            pidfd_open(pid).map_err(|error| RunError::system(format!("cannot watch `{program}`"), &error))?;
        let child = Child {
            process: Process { pid, pidfd },
            command: program.clone(),
            state: State::Stopped,
            not_send: PhantomData,
        };
        child.wait_for_exec_stop()?;
        Ok(child)
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its number in memql's PID namespace.
    pub fn pid(&self) -> u32 {
        self.process.pid as u32
    }

    /// Lets it run.
    ///
    /// # Errors
    /// If it was killed while it was stopped.
    pub fn resume(&mut self) -> Result<(), RunError> {
        if self.state == State::Reaped {
            return Ok(());
        }
        ptrace(libc::PTRACE_DETACH, self.process.pid, 0)
            .map_err(|error| RunError::system(format!("cannot let `{}` run", self.command), &error))?;
        self.state = State::Running;
        Ok(())
    }

    /// Lets it run to the first instruction of its own, behind those of its loader, and calls `meanwhile` again and again
    /// until it is there. A child that does not get there has ended. One whose entry point is not known, or has
    /// a breakpoint already, stays where it is.
    ///
    /// # Errors
    /// If it cannot be controlled.
    pub fn run_to_entry<E: From<RunError>>(
        &mut self,
        mut meanwhile: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        let pid = self.process.pid;
        let failed =
            |error: io::Error| RunError::system(format!("cannot control `{}`", self.command), &error);
        let Some(stop) = Breakpoint::at_entry(pid).map_err(failed)? else { return Ok(()) };
        let mut signal = 0;
        loop {
            ptrace(libc::PTRACE_CONT, pid, signal).map_err(failed)?;
            let status = loop {
                let mut status = 0;
                // SAFETY: `status` lives across the call.
                match unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) } {
                    0 => {
                        meanwhile()?;
                        self.process.wait(SHORT_WAIT_MS);
                    }
                    -1 => {
                        let error = io::Error::last_os_error();
                        if error.kind() != io::ErrorKind::Interrupted {
                            return Err(failed(error).into());
                        }
                    }
                    _ => break status,
                }
            };
            if !libc::WIFSTOPPED(status) {
                self.state = State::Reaped;
                return Ok(());
            }
            signal = match libc::WSTOPSIG(status) {
                libc::SIGTRAP if stop.was_hit(pid).map_err(failed)? => {
                    return Ok(stop.remove(pid).map_err(failed)?);
                }
                libc::SIGTRAP => 0,
                other => other as usize,
            };
        }
    }

    /// Takes note of its end so that no zombie stays; does nothing while it runs.
    pub fn reap(&mut self) {
        if self.state == State::Reaped {
            return;
        }
        let mut status = 0;
        // SAFETY: `status` lives across the call.
        let reaped = unsafe { libc::waitpid(self.process.pid, &mut status, libc::WNOHANG) };
        if reaped == self.process.pid && (libc::WIFEXITED(status) || libc::WIFSIGNALED(status)) {
            self.state = State::Reaped;
        }
    }

    /// `exec` has succeeded when the child stops with SIGTRAP; from then on it dies with memql for as
    /// long as it is stopped.
    fn wait_for_exec_stop(&self) -> Result<(), RunError> {
        let (pid, mut status) = (self.process.pid, 0);
        // SAFETY: `status` lives across the call.
        while unsafe { libc::waitpid(pid, &mut status, 0) } < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(RunError::system(format!("cannot wait for `{}`", self.command), &error));
            }
        }
        if !libc::WIFSTOPPED(status) {
            return Err(RunError::plain(format!("`{}` ended before its first instruction", self.command)));
        }
        ptrace(libc::PTRACE_SETOPTIONS, pid, libc::PTRACE_O_EXITKILL as usize)
            .map_err(|error| RunError::system(format!("cannot hold `{}`", self.command), &error))
    }
}

impl Drop for Child {
    /// A child that was never let go is killed, one that runs is asked to end.
    fn drop(&mut self) {
        self.reap();
        match self.state {
            State::Stopped => {
                self.process.send(libc::SIGKILL);
                // SAFETY: a null status is allowed. A killed child ends at once, so this does not block.
                unsafe { libc::waitpid(self.process.pid, ptr::null_mut(), 0) };
            }
            State::Running => {
                self.process.send(libc::SIGTERM);
                // Most programs end at once. One that does not is not waited for.
                self.process.wait(TIME_TO_END_MS);
                self.reap();
            }
            State::Reaped => {}
        }
    }
}

/// The entry point of a stopped child, where it is to stop.
struct Breakpoint {
    address: usize,
    /// The instruction there, and what follows it.
    word: usize,
}

/// `int3`
const TRAP: usize = 0xcc;

impl Breakpoint {
    /// Sets it; `None` where that cannot be done.
    fn at_entry(pid: i32) -> io::Result<Option<Breakpoint>> {
        let Some(address) = entry_point(pid).filter(|_| cfg!(target_arch = "x86_64")) else {
            return Ok(None);
        };
        let word = peek(libc::PTRACE_PEEKTEXT, pid, address)?;
        if word & 0xff == TRAP {
            return Ok(None);
        }
        poke(libc::PTRACE_POKETEXT, pid, address, word & !0xff | TRAP)?;
        Ok(Some(Breakpoint { address, word }))
    }

    /// Whether a child that has stopped by a trap did so here.
    fn was_hit(&self, pid: i32) -> io::Result<bool> {
        Ok(peek(libc::PTRACE_PEEKUSER, pid, INSTRUCTION_POINTER)? == self.address + 1)
    }

    /// Puts the instruction back, and the child before it.
    fn remove(self, pid: i32) -> io::Result<()> {
        poke(libc::PTRACE_POKETEXT, pid, self.address, self.word)?;
        poke(libc::PTRACE_POKEUSER, pid, INSTRUCTION_POINTER, self.address)
    }
}

/// Offset of the instruction pointer in `struct user` (arch/x86/include/asm/user_64.h).
const INSTRUCTION_POINTER: usize = 16 * 8;

/// Where a program begins when its loader is done, as the kernel told it (`AT_ENTRY`).
fn entry_point(pid: i32) -> Option<usize> {
    let vector = fs::read(format!("/proc/{pid}/auxv")).ok()?;
    let word = |bytes: &[u8]| bytes.try_into().ok().map(usize::from_ne_bytes);
    let mut pairs = vector.chunks_exact(2 * size_of::<usize>()).map(|pair| pair.split_at(size_of::<usize>()));
    pairs.find(|(kind, _)| word(kind) == Some(libc::AT_ENTRY as usize)).and_then(|(_, value)| word(value))
}

/// A word of a stopped child.
fn peek(request: libc::c_uint, pid: i32, address: usize) -> io::Result<usize> {
    let mut word = 0usize;
    // SAFETY: the system call stores the word that it has read at the address that it is given; the C library's function,
    // which returns it instead, is not used.
    match unsafe { libc::syscall(libc::SYS_ptrace, request, pid, address, &raw mut word) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(word),
    }
}

fn poke(request: libc::c_uint, pid: i32, address: usize, word: usize) -> io::Result<()> {
    // SAFETY: these requests take numbers; what they change is the child's.
    match unsafe { libc::ptrace(request, pid, address, word) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn trace_me() -> io::Result<()> {
    ptrace(libc::PTRACE_TRACEME, 0, 0)
}

fn ptrace(request: libc::c_uint, pid: i32, data: usize) -> io::Result<()> {
    // SAFETY: the requests used here take numbers, and no address of ours.
    match unsafe { libc::ptrace(request, pid, 0usize, data) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn cannot_run(program: &str, error: &io::Error) -> RunError {
    let run_error = RunError::system(format!("cannot run `{program}`"), error);
    match error.raw_os_error() {
        Some(libc::ENOENT) if !program.contains('/') => run_error
            .help(format!("there is no `{program}` in PATH; a program in this folder is `./{program}`")),
        Some(libc::EACCES) => run_error.help("the file must be executable"),
        Some(libc::ENOEXEC) => {
            run_error.help("the file is neither a program for this machine nor a script with a `#!` line")
        }
        _ => run_error,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::{Duration, Instant};

    use super::*;

    fn wait_for_end(process: &Process) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !process.has_ended() {
            assert!(Instant::now() < deadline, "process {} does not end", process.pid());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_started_child_does_nothing_until_it_is_resumed() {
        let folder = std::env::temp_dir().join(format!("memql-child-{}", std::process::id()));
        let mut child = Child::start_stopped(&format!("touch '{}'", folder.display())).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert!(!folder.exists());
        assert!(!child.process().has_ended());
        child.resume().unwrap();
        wait_for_end(child.process());
        assert!(folder.exists());
        fs::remove_file(folder).unwrap();
    }

    #[test]
    fn a_child_held_at_its_entry_point_has_its_libraries() {
        let mut child = Child::start_stopped("sleep 60").unwrap();
        let maps = |child: &Child| fs::read_to_string(format!("/proc/{}/maps", child.pid())).unwrap();
        assert!(!maps(&child).contains("libc.so"), "{}", maps(&child));
        child.run_to_entry(|| Ok::<(), RunError>(())).unwrap();
        assert!(maps(&child).contains("libc.so"), "{}", maps(&child));
        child.resume().unwrap();
        let watch = Process::open(child.process().pid()).unwrap();
        assert!(!watch.wait(50), "it goes on as if nothing had been");
        drop(child);
        wait_for_end(&watch);
    }

    #[test]
    fn a_child_that_was_never_resumed_is_killed() {
        let child = Child::start_stopped("sleep 60").unwrap();
        let watch = Process::open(child.process().pid()).unwrap();
        drop(child);
        assert!(watch.has_ended());
    }

    #[test]
    fn a_running_child_is_asked_to_end_with_the_run() {
        let mut child = Child::start_stopped("sleep 60").unwrap();
        let watch = Process::open(child.process().pid()).unwrap();
        child.resume().unwrap();
        drop(child);
        wait_for_end(&watch);
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = Child::start_stopped("no-such-program-here -x").unwrap_err();
        assert_eq!(error.errno, Some(libc::ENOENT));
        assert!(error.to_string().starts_with(
            "error: cannot run `no-such-program-here`: no such file or directory (ENOENT)\nhelp: "
        ));
    }

    #[test]
    fn a_file_that_is_not_executable_says_so() {
        let error = Child::start_stopped("/etc/passwd").unwrap_err();
        assert!(
            error.to_string().contains("permission denied (EACCES)\nhelp: the file must be executable"),
            "{error}"
        );
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        let error = Process::open(i32::MAX).unwrap_err();
        assert!(
            error.to_string().contains("cannot trace process 2147483647: no such process (ESRCH)"),
            "{error}"
        );
    }

    #[test]
    fn the_number_of_a_thread_is_explained_by_its_process() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            // SAFETY: `gettid` has no preconditions.
            tell.send(unsafe { libc::gettid() }).unwrap();
            let _ = ended.recv();
        });
        let tid = told.recv().unwrap();
        let error = Process::open(tid).unwrap_err();
        drop(end);
        thread.join().unwrap();
        assert!(error.to_string().contains(&format!("use `-p {}`", std::process::id())), "{error}");
    }

    #[test]
    fn a_child_writes_to_the_streams_it_inherits() {
        let mut proof = String::new();
        let path = std::env::temp_dir().join(format!("memql-words-{}", std::process::id()));
        let mut child =
            Child::start_stopped(&format!("sh -c 'echo \"$0\" > {}' 'a b'", path.display())).unwrap();
        child.resume().unwrap();
        wait_for_end(child.process());
        fs::File::open(&path).unwrap().read_to_string(&mut proof).unwrap();
        fs::remove_file(path).unwrap();
        assert_eq!(proof, "a b\n");
    }
}
