//! memql and its peers, as they are found and run.

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// No tool is waited for longer.
const PATIENCE: Duration = Duration::from_secs(90);

/// A tracer.
#[derive(Clone)]
pub struct Tool {
    /// What tables call it.
    pub name: &'static str,
    path: PathBuf,
}

/// memql.
pub fn memql() -> Tool {
    let path = std::env::var_os("MEMQL").unwrap_or_else(|| env!("CARGO_BIN_EXE_memql").into());
    Tool { name: "memql", path: path.into() }
}

/// A peer, if it is there.
pub fn peer(name: &'static str) -> Option<Tool> {
    let peers = std::env::var_os("MEMQL_PEERS").unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&peers).chain(std::env::split_paths(&path)).collect::<Vec<_>>();
    // Debian's libbpf-tools end in `-libbpf`, other builds of them do not.
    let files = [name.to_string(), format!("{name}-libbpf")];
    let found = folders.iter().flat_map(|folder| files.iter().map(|file| folder.join(file)));
    found.into_iter().find(|file| file.is_file()).map(|path| Tool { name, path })
}

/// memql and all peers that are there.
pub fn all() -> Vec<Tool> {
    [Some(memql()), peer("bpftrace"), peer("ply"), peer("memleak")].into_iter().flatten().collect()
}

/// memql, and bpftrace if it is there: those that speak the same language.
pub fn speakers() -> Vec<Tool> {
    [Some(memql()), peer("bpftrace")].into_iter().flatten().collect()
}

/// Names of tools.
pub fn names(tools: &[Tool]) -> Vec<&'static str> {
    tools.iter().map(|tool| tool.name).collect()
}

/// What a tool did and took.
pub struct Run {
    /// Everything that it printed.
    pub output: String,
    /// From its start to the end.
    pub time: Duration,
    /// User and system time.
    pub cpu: Duration,
    /// User time alone.
    pub user: Duration,
    /// Peak resident memory, in bytes.
    pub memory: u64,
}

/// A tool that runs.
pub struct Running {
    child: Child,
    started: Instant,
    output: Receiver<Vec<u8>>,
    so_far: Vec<u8>,
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        // A tool that a row gave up on must not disturb the next.
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Tool {
    /// What it says of its version.
    pub fn version(&self) -> String {
        let said = Command::new(&self.path).arg("--version").output();
        let said =
            said.map(|out| String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or("").to_string());
        said.unwrap_or_else(|error| error.to_string())
    }

    /// Starts it with a script.
    pub fn script(&self, script: &str) -> Running {
        match self.name {
            "ply" => self.start([script]),
            _ => self.start(["-e", script]),
        }
    }

    /// Starts it with a script that goes beyond the peers' usual limits.
    pub fn large_script(&self, script: &str) -> Running {
        const LIMITS: [(&str, &str); 3] = [
            ("BPFTRACE_MAX_PROBES", "20000"),
            ("BPFTRACE_MAX_BPF_PROGS", "20000"),
            ("BPFTRACE_MAX_MAP_KEYS", "2000000"),
        ];
        self.start_in(&LIMITS, ["-e", script])
    }

    /// Starts it.
    pub fn start<A: Into<OsString>>(&self, args: impl IntoIterator<Item = A>) -> Running {
        self.start_in(&[], args)
    }

    fn start_in<A: Into<OsString>>(
        &self,
        environment: &[(&str, &str)],
        args: impl IntoIterator<Item = A>,
    ) -> Running {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let mut command = Command::new(&self.path);
        command.args(&args).envs(environment.iter().copied()).stdin(Stdio::null()).stderr(Stdio::piped());
        // libbpf-tools keep what they print to a pipe back until the end.
        let terminal = (self.name == "memleak").then(terminal);
        let (terminal, stdout) = match terminal {
            Some((ours, theirs)) => (Some(ours), theirs.into()),
            None => (None, Stdio::piped()),
        };
        command.stdout(stdout);
        // A child's peak memory begins with that of who starts it: this is forgotten here. Where the kernel cannot forget,
        // only the figures of memory suffer.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let started = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|e| panic!("start {}: {e}", self.name));
        // The command has the terminal's other side: while it is open, there is no end to what is read.
        drop(command);
        let (send, output) = channel();
        let streams: [Option<Box<dyn Read + Send>>; 3] = [
            child.stdout.take().map(|s| Box::new(s) as _),
            child.stderr.take().map(|s| Box::new(s) as _),
            terminal.map(|s| Box::new(std::fs::File::from(s)) as _),
        ];
        for mut stream in streams.into_iter().flatten() {
            let send = send.clone();
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    if send.send(buffer[..n].to_vec()).is_err() {
                        break;
                    }
                }
            });
        }
        Running { child, started, output, so_far: Vec::new(), ended: false }
    }
}

impl Running {
    /// Waits until it prints this; gives the time since it was started, or what it said instead.
    pub fn until(&mut self, text: &str) -> Result<Duration, String> {
        loop {
            if self.so_far.windows(text.len()).any(|w| w == text.as_bytes()) {
                return Ok(self.started.elapsed());
            }
            match self.output.recv_timeout(PATIENCE.saturating_sub(self.started.elapsed())) {
                Ok(bytes) => self.so_far.extend(bytes),
                Err(_) => return Err(String::from_utf8_lossy(&self.so_far).trim().to_string()),
            }
        }
    }

    /// Waits until it says that everything is attached.
    pub fn until_attached(&mut self) -> Result<Duration, String> {
        self.until("ttached")
    }

    /// Sends it Ctrl-C and waits for its end; gives how long that took.
    pub fn interrupt(self) -> (Duration, Run) {
        let asked = Instant::now();
        // SAFETY: kill has no preconditions, and the child has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) };
        let run = self.end();
        (asked.elapsed(), run)
    }

    /// Waits for its end.
    pub fn end(mut self) -> Run {
        let asked = Instant::now();
        loop {
            match self.output.recv_timeout(PATIENCE.saturating_sub(asked.elapsed())) {
                Ok(bytes) => self.so_far.extend(bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    println!("a tool did not end within {PATIENCE:?} and is killed");
                    // Its streams end with it.
                    let _ = self.child.kill();
                    break;
                }
            }
        }
        let mut status = 0;
        // SAFETY: rusage is plain old data for which zeros are valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the child is ours and has not been waited for; both out pointers are valid.
        unsafe { libc::wait4(self.child.id() as i32, &mut status, 0, &mut usage) };
        self.ended = true;
        let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
        Run {
            output: String::from_utf8_lossy(&self.so_far).into_owned(),
            time: self.started.elapsed(),
            cpu: time(usage.ru_utime) + time(usage.ru_stime),
            user: time(usage.ru_utime),
            memory: usage.ru_maxrss as u64 * 1024,
        }
    }
}

/// Both sides of a new terminal, the tool's second.
fn terminal() -> (OwnedFd, OwnedFd) {
    let (mut ours, mut theirs) = (-1, -1);
    // SAFETY: both out pointers are valid, what is null is left as it is; the descriptors belong to nobody else.
    unsafe {
        let (none, usual, size) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
        let failed = libc::openpty(&mut ours, &mut theirs, none, usual, size);
        assert_eq!(failed, 0, "a terminal: {}", std::io::Error::last_os_error());
        libc::fcntl(ours, libc::F_SETFD, libc::FD_CLOEXEC);
        (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs))
    }
}

/// Milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Mounts tracefs and debugfs, where they are not, in a mount namespace of this benchmark: peers look for tracefs
/// there.
pub fn enter_own_mounts() {
    const TRACEFS: &std::ffi::CStr = c"/sys/kernel/tracing";
    const DEBUGFS: &std::ffi::CStr = c"/sys/kernel/debug";
    if std::path::Path::new("/sys/kernel/debug/tracing/events").exists() {
        return;
    }
    // SAFETY: all pointers are to C strings or null; what fails leaves things as they are.
    let done = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(
                c"none".as_ptr(),
                c"/".as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                std::ptr::null(),
            ) == 0
            && [(c"tracefs", TRACEFS), (c"debugfs", DEBUGFS)].iter().all(|(kind, at)| {
                libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) == 0
            })
    };
    if !done {
        println!("no tracefs: {}; peers may fail", std::io::Error::last_os_error());
    }
}
