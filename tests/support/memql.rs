//! Runs of the built memql.

use super::HANGS;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// Everything it wrote to stdout, without the two newlines that end a run that leaves no maps.
    pub stdout: String,
    /// Everything it wrote to stderr.
    pub stderr: String,
    /// Its exit status.
    pub status: ExitStatus,
}

impl Ended {
    /// Checks that it ended well and lost nothing, and gives its stdout.
    pub fn output(self) -> String {
        assert!(
            self.status.success(),
            "memql failed: {}\nstderr:\n{}\nstdout:\n{}",
            self.status,
            self.stderr,
            self.stdout
        );
        assert_eq!(self.stderr, "", "memql warned; its stdout was:\n{}", self.stdout);
        self.stdout
    }

    /// Its exit code; a signal's number plus 128, as a shell has it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }
}

/// A memql that is running.
pub struct Running {
    child: Child,
    ready: OwnedFd,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
}

/// Starts memql with these arguments, quietly; returns at once.
pub fn start<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Running {
    let (read, write) = pipe();
    let write_fd: RawFd = write.as_raw_fd();
    let mut command = Command::new(env!("CARGO_BIN_EXE_memql"));
    command.arg("-q").arg("--ready-fd").arg(write_fd.to_string()).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: fcntl and prctl are async-signal-safe, and the descriptor is open in the child.
    unsafe {
        command.pre_exec(move || {
            libc::fcntl(write_fd, libc::F_SETFD, 0);
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
    let mut child = command.spawn().expect("start memql");
    drop(write);
    let stdout = collect(child.stdout.take().expect("stdout is piped"));
    let stderr = collect(child.stderr.take().expect("stderr is piped"));
    Running { child, ready: read, stdout, stderr }
}

/// Starts memql and waits until everything is attached.
pub fn attached<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Running {
    start(args).until_ready()
}

/// Runs memql until it ends by itself.
pub fn run<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Ended {
    start(args).wait()
}

impl Running {
    /// Waits until memql says that everything is attached.
    pub fn until_ready(self) -> Running {
        let mut byte = 0u8;
        let mut poll = libc::pollfd { fd: self.ready.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: `poll` is one valid entry.
        let polled = unsafe { libc::poll(&mut poll, 1, HANGS.as_millis() as i32) };
        assert!(polled == 1, "memql did not become ready");
        // SAFETY: the descriptor is open and the buffer is one byte long.
        let got = unsafe { libc::read(self.ready.as_raw_fd(), (&raw mut byte).cast(), 1) };
        if got != 1 {
            let ended = self.wait();
            panic!(
                "memql ended before it was ready: {}\nstderr:\n{}\nstdout:\n{}",
                ended.status, ended.stderr, ended.stdout
            );
        }
        self
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: kill has no preconditions; the child has not been waited for, so the id is its.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Ctrl-C, and the wait for its end.
    pub fn stop(self) -> Ended {
        self.signal(libc::SIGINT);
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        let deadline = std::time::Instant::now() + HANGS;
        let status = loop {
            match self.child.try_wait().expect("wait for memql") {
                Some(status) => break status,
                None if std::time::Instant::now() > deadline => {
                    self.child.kill().expect("kill a memql that hangs");
                    break self.child.wait().expect("wait for memql");
                }
                None => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        };
        let mut stdout = self.stdout.join().expect("collect stdout");
        if stdout.ends_with("\n\n") {
            stdout.truncate(stdout.len() - 2);
        }
        let stderr = self.stderr.join().expect("collect stderr");
        Ended { stdout, stderr, status }
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("read memql's output");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for the two descriptors, which are new and owned by nobody else.
    unsafe {
        assert_eq!(libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC), 0, "make a pipe");
        (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
    }
}
