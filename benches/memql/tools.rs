//! memql and its peers, as they are found and run.

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

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

    /// Starts it.
    pub fn start<A: Into<OsString>>(&self, args: impl IntoIterator<Item = A>) -> Running {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let started = Instant::now();
        let mut child = Command::new(&self.path)
            .args(&args)
            // Enough for every script here; bpftrace's own limits are lower.
            .envs([("BPFTRACE_MAX_PROBES", "20000"), ("BPFTRACE_MAX_BPF_PROGS", "20000")])
            .env("BPFTRACE_MAX_MAP_KEYS", "2000000")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("start {}: {e}", self.name));
        let (send, output) = channel();
        let streams: [Option<Box<dyn Read + Send>>; 2] =
            [child.stdout.take().map(|s| Box::new(s) as _), child.stderr.take().map(|s| Box::new(s) as _)];
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
        Running { child, started, output, so_far: Vec::new() }
    }
}

impl Running {
    /// Waits until it prints this; gives the time since it was started, or what it said instead.
    pub fn until(&mut self, text: &str) -> Result<Duration, String> {
        let deadline = Duration::from_secs(120);
        loop {
            if self.so_far.windows(text.len()).any(|w| w == text.as_bytes()) {
                return Ok(self.started.elapsed());
            }
            match self.output.recv_timeout(deadline.saturating_sub(self.started.elapsed())) {
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
        while let Ok(bytes) = self.output.recv() {
            self.so_far.extend(bytes);
        }
        let mut status = 0;
        // SAFETY: rusage is plain old data for which zeros are valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: the child is ours and has not been waited for; both out pointers are valid.
        unsafe { libc::wait4(self.child.id() as i32, &mut status, 0, &mut usage) };
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

/// Milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Mounts tracefs, where it is not, in a mount namespace of this benchmark: peers look for it there.
pub fn enter_own_mounts() {
    const TRACEFS: &std::ffi::CStr = c"/sys/kernel/tracing";
    if std::path::Path::new("/sys/kernel/tracing/events").exists() {
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
            && libc::mount(c"tracefs".as_ptr(), TRACEFS.as_ptr(), c"tracefs".as_ptr(), 0, std::ptr::null())
                == 0
    };
    if !done {
        println!("no tracefs: {}; peers may fail", std::io::Error::last_os_error());
    }
}
