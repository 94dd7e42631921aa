//! memql's start-up, memory and size, beside bpftrace where there is one, and how fast memleak
//! attaches and ends. Run by `cargo bench` as root.
//!
//! Everything is measured in one run, the tools in turns. A figure is the median of all rounds, with
//! the smallest and the largest beside it. Results are checked: a tool that does not print what it
//! must fails the run (memql) or is left out with its error (peers). `BPFTRACE` names another
//! bpftrace than that in `PATH`, `ROUNDS` the number of rounds (15), `BENCH_JSON` a file for the
//! figures as JSON.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const HELLO: &str = r#"begin { printf("hi\n"); exit(); }"#;

/// One figure: the median of samples and their spread.
struct Figure {
    name: String,
    unit: &'static str,
    samples: Vec<f64>,
}

impl Figure {
    fn new(name: &str, unit: &'static str) -> Figure {
        Figure { name: name.into(), unit, samples: Vec::new() }
    }

    fn median(&self) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    fn text(&self) -> String {
        let (low, high) = self.samples.iter().fold((f64::MAX, f64::MIN), |(l, h), s| (l.min(*s), h.max(*s)));
        format!(
            "{:<34} {:>9.2} {:<3} [{low:.2} .. {high:.2}] n={}",
            self.name,
            self.median(),
            self.unit,
            self.samples.len()
        )
    }

    fn json(&self) -> String {
        format!(r#"{{"name": "{}", "unit": "{}", "samples": {:?}}}"#, self.name, self.unit, self.samples)
    }
}

fn main() {
    let rounds: usize = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(15);
    println!(
        "kernel {}, {} CPUs, {rounds} rounds",
        kernel(),
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    let mut figures = startup(rounds);
    figures.extend(memleak(rounds));
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_memql")).expect("memql is built").len() as f64 / 1e6;
    figures.push(Figure { name: "memql binary".into(), unit: "MB", samples: vec![binary] });
    for figure in &figures {
        println!("{}", figure.text());
    }
    let median = |name: &str| figures.iter().find(|f| f.name == name).map(Figure::median);
    for (what, peer) in [("start-up", "bpftrace start-up"), ("memory", "bpftrace memory")] {
        match (median(&format!("memql {what}")), median(peer)) {
            (Some(ours), Some(theirs)) => println!("{what}: bpftrace / memql = {:.1}", theirs / ours),
            _ => println!("{what}: no bpftrace to compare with"),
        }
    }
    if let Some(path) = std::env::var_os("BENCH_JSON") {
        let rows: Vec<String> = figures.iter().map(Figure::json).collect();
        std::fs::write(&path, format!("[\n{}\n]\n", rows.join(",\n")))
            .unwrap_or_else(|e| panic!("write {path:?}: {e}"));
    }
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_string()
}

/// Wall time and peak resident memory of a script that says hi.
fn startup(rounds: usize) -> Vec<Figure> {
    let mut tools: Vec<(&str, PathBuf)> = vec![("memql", env!("CARGO_BIN_EXE_memql").into())];
    tools.extend(bpftrace().map(|path| ("bpftrace", path)));
    let mut figures: Vec<[Figure; 2]> = tools
        .iter()
        .map(|(name, _)| {
            [Figure::new(&format!("{name} start-up"), "ms"), Figure::new(&format!("{name} memory"), "MB")]
        })
        .collect();
    for _ in 0..rounds {
        for ((name, path), [time, memory]) in tools.iter().zip(&mut figures) {
            let started = Instant::now();
            let child =
                Command::new(path).args(["-e", HELLO]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let (out, peak_kb) = finish(child.unwrap_or_else(|e| panic!("start {name}: {e}")));
            let elapsed = started.elapsed();
            if !out.contains("hi\n") {
                assert_ne!(*name, "memql", "memql did not say hi: {out}");
                println!("{name} is left out: it did not say hi: {}", out.trim());
                continue;
            }
            time.samples.push(elapsed.as_secs_f64() * 1e3);
            memory.samples.push(peak_kb as f64 / 1e3);
        }
    }
    figures.into_iter().flatten().filter(|f| !f.samples.is_empty()).collect()
}

/// What a process printed to stdout and stderr, and its peak resident memory in kB.
fn finish(mut child: std::process::Child) -> (String, i64) {
    let mut out = String::new();
    for stream in [
        child.stdout.take().map(|s| Box::new(s) as Box<dyn Read>),
        child.stderr.take().map(|s| Box::new(s) as Box<dyn Read>),
    ] {
        let mut bytes = Vec::new();
        stream.expect("the streams are piped").read_to_end(&mut bytes).expect("read the output");
        out.push_str(&String::from_utf8_lossy(&bytes));
    }
    let mut status = 0;
    // SAFETY: rusage is plain old data for which zeros are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the child is ours and has not been waited for; both out pointers are valid.
    unsafe { libc::wait4(child.id() as i32, &mut status, 0, &mut usage) };
    (out, usage.ru_maxrss)
}

fn bpftrace() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("BPFTRACE") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|dir| dir.join("bpftrace")).find(|file| file.exists())
}

/// From start to attached to a process, and from Ctrl-C to the end, with a report of its leaks.
fn memleak(rounds: usize) -> Vec<Figure> {
    let Some(program) = compiled("leak") else {
        println!("memleak is left out: no gcc");
        return Vec::new();
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/memleak.mq");
    let mut attach = Figure::new("memleak start to attached", "ms");
    let mut end = Figure::new("memleak Ctrl-C to end", "ms");
    for _ in 0..rounds {
        let mut leak = Command::new(&program)
            .args(["100", "64", "10000"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the leaking program");
        let mut said = BufReader::new(leak.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("wait for the leaking program");

        let (ready, ready_in) = pipe();
        let fd = ready_in.as_raw_fd();
        let started = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_memql"));
        command.arg(&script).args([
            "-q",
            "-o",
            "0",
            "--ready-fd",
            &fd.to_string(),
            "-p",
            &leak.id().to_string(),
        ]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: fcntl is async-signal-safe and the descriptor is open in the child.
        unsafe {
            command.pre_exec(move || {
                if libc::fcntl(fd, libc::F_SETFD, 0) == 0 {
                    Ok(())
                } else {
                    Err(std::io::Error::last_os_error())
                }
            })
        };
        let memql = command.spawn().expect("start memql");
        drop(ready_in);
        let mut byte = [0];
        let got = std::fs::File::from(ready).read(&mut byte).expect("wait until memql is attached");
        let attached = started.elapsed();
        assert_eq!(got, 1, "memql did not attach: {}", finish(memql).0);

        let mut go = leak.stdin.take().expect("stdin is piped");
        go.write_all(b"\n").expect("let the program leak");
        said.read_line(&mut line).expect("wait for the leaking program");
        let stopped = Instant::now();
        // SAFETY: kill has no preconditions, and memql has not been waited for.
        unsafe { libc::kill(memql.id() as i32, libc::SIGINT) };
        let (out, _) = finish(memql);
        let ended = stopped.elapsed();
        assert!(
            out.contains("  6400 bytes in 100 allocations from stack\n    leak_block+"),
            "a wrong report:\n{out}"
        );
        attach.samples.push(attached.as_secs_f64() * 1e3);
        end.samples.push(ended.as_secs_f64() * 1e3);
        drop(go);
        leak.wait().expect("wait for the leaking program");
    }
    vec![attach, end]
}

fn compiled(name: &str) -> Option<PathBuf> {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(format!("{name}.c"));
    let status = Command::new("gcc")
        .args(["-O1", "-g", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-o"])
        .args([&out, &source])
        .status();
    status.is_ok_and(|s| s.success()).then_some(out)
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for the two descriptors, which are new and owned by nobody else.
    unsafe {
        assert_eq!(libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC), 0, "make a pipe");
        (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
    }
}
