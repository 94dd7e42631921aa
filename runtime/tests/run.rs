//! Runs of scripts in the real kernel: what is printed, in which order, and how a run ends.
//!
//! Tests need root and a kernel with eBPF; without, each says `skipped` and why. Each runs a script on a
//! thread of its own, so that the signals it sends reach that run only.

#[path = "../../tests/support/skip.rs"]
mod skip;

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;

use memql_compiler::check::RunConfig;
use memql_compiler::compile::compile;
use memql_compiler::plan::Compiled;
use memql_compiler::sources::Sources;
use memql_runtime::target::Running;
use memql_runtime::{Child, Outcome, OutputFormat, RunError, RunOptions, run};

/// One run: a script and what it is about.
#[derive(Default)]
struct Case {
    script: &'static str,
    command: Option<&'static str>,
    pid: Option<u32>,
    json: bool,
    /// Sent to the run's thread once everything is attached.
    signal: Option<i32>,
    /// Its input is closed once everything is attached, which ends it.
    ends: Option<std::process::Child>,
}

/// What came of it.
struct Ran {
    text: String,
    outcome: Result<Outcome, RunError>,
}

impl Case {
    /// Runs it; `None` if this machine does not allow that.
    fn run(mut self) -> Option<Ran> {
        if let Some(reason) = cannot_run() {
            skip::skipped(reason);
            return None;
        }
        let (tell_ready, ready_fd) = pipe();
        let (tell_thread, run_thread) = mpsc::channel();
        let (signal, ends) = (self.signal, self.ends.take());
        let runs = thread::spawn(move || {
            // SAFETY: `pthread_self` has no preconditions.
            let _ = tell_thread.send(unsafe { libc::pthread_self() } as usize);
            self.run_here(ready_fd)
        });
        let mut byte = [0];
        let attached = File::from(tell_ready).read(&mut byte).unwrap_or(0) == 1;
        if let (true, Some(signal), Ok(thread)) = (attached, signal, run_thread.recv()) {
            // SAFETY: the thread has not been joined.
            unsafe { libc::pthread_kill(thread as libc::pthread_t, signal) };
        }
        if let Some(mut process) = ends {
            drop(process.stdin.take());
            process.wait().expect("the process can be waited for");
        }
        Some(runs.join().expect("a run does not panic"))
    }

    fn run_here(self, ready_fd: OwnedFd) -> Ran {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("memql-run-{}-{number}", std::process::id()));
        let outcome = self.run_into(path.clone(), ready_fd);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        Ran { text, outcome }
    }

    fn run_into(self, path: PathBuf, ready_fd: OwnedFd) -> Result<Outcome, RunError> {
        let child = self.command.map(Child::start_stopped).transpose()?;
        let target = Running::new(self.pid.or(child.as_ref().map(Child::pid)));
        let config =
            RunConfig { pid: self.pid, child: child.as_ref().map(Child::pid), ..RunConfig::default() };
        let compiled = compiled(self.script, &target, &config);
        let options = RunOptions {
            pid: self.pid,
            child,
            format: if self.json { OutputFormat::Json } else { OutputFormat::Text },
            output: Some(path),
            ready_fd: Some(ready_fd.into_raw_fd()),
            ..RunOptions::default()
        };
        run(compiled, &target, options)
    }
}

fn compiled(script: &str, target: &Running, config: &RunConfig) -> Compiled {
    let tree = memql_grammar::parse(script).expect("the script is well-formed");
    let compilation = compile(&Sources::new("test", script), &tree, target, config);
    compilation.unwrap_or_else(|errors| panic!("{errors:?}")).compiled
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    (reader.into(), writer.into())
}

fn cannot_run() -> Option<&'static str> {
    // SAFETY: `geteuid` has no preconditions.
    (unsafe { libc::geteuid() } != 0).then_some("loading eBPF needs root")
}

/// The text that a run printed, which ended with this code.
fn printed(case: Case, exit_code: u8) -> Option<String> {
    let Ran { text, outcome } = case.run()?;
    let outcome = outcome.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(outcome.exit_code, exit_code, "{text}");
    Some(text)
}

#[test]
fn begin_comes_first_and_end_last() {
    let script = r#"
        end { printf("end\n"); }
        interval:ms:20 { printf("interval\n"); exit(); }
        begin { printf("begin\n"); }
    "#;
    let Some(text) = printed(Case { script, ..Case::default() }, 0) else { return };
    assert_eq!(text, "begin\ninterval\nend\n\n\n");
}

#[test]
fn the_exit_code_is_the_scripts() {
    printed(Case { script: "begin { exit(7); }", ..Case::default() }, 7);
}

#[test]
fn nothing_that_comes_after_exit_is_printed_except_by_end() {
    let script = r#"
        begin { printf("one\n"); exit(); }
        begin { printf("two\n"); }
        end { printf("end\n"); }
    "#;
    let Some(text) = printed(Case { script, ..Case::default() }, 0) else { return };
    assert_eq!(text, "one\nend\n\n\n");
}

#[test]
fn every_call_of_a_child_is_counted_and_the_run_ends_with_it() {
    let case = Case {
        script: "tracepoint:syscalls:sys_enter_read /args.count == 3/ { @reads = count(); }",
        command: Some("dd if=/dev/zero of=/dev/null bs=3 count=5000 status=none"),
        ..Case::default()
    };
    let Some(text) = printed(case, 0) else { return };
    assert_eq!(text.trim(), "@reads: 5000");
}

#[test]
fn every_event_of_a_child_is_printed_or_counted_as_lost() {
    let case = Case {
        script: r#"
            config = { perf_rb_pages = 1 }
            tracepoint:syscalls:sys_enter_read /args.count == 3/ { printf("read\n"); }
        "#,
        command: Some("dd if=/dev/zero of=/dev/null bs=3 count=20000 status=none"),
        ..Case::default()
    };
    let Some(Ran { text, outcome }) = case.run() else { return };
    let lost: u64 =
        outcome.unwrap_or_else(|error| panic!("{error}")).losses.iter().map(|lost| lost.count).sum();
    let printed = text.lines().filter(|line| *line == "read").count() as u64;
    assert_eq!(printed + lost, 20000, "{printed} printed, {lost} lost");
}

#[test]
fn ctrl_c_ends_a_run_and_maps_are_printed() {
    let case = Case {
        script: r#"begin { @started = 1; } interval:s:100 { } end { printf("end\n"); }"#,
        signal: Some(libc::SIGINT),
        ..Case::default()
    };
    let Some(text) = printed(case, 0) else { return };
    assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["end", "@started:", "1"]);
}

#[test]
fn a_run_ends_with_the_process_it_is_about() {
    let mut cat = std::process::Command::new("cat");
    let process = cat.stdin(std::process::Stdio::piped()).spawn().expect("`cat` can be run");
    let case = Case {
        script: r#"interval:s:100 { } end { printf("end\n"); }"#,
        pid: Some(process.id()),
        ends: Some(process),
        ..Case::default()
    };
    let Some(text) = printed(case, 0) else { return };
    assert_eq!(text, "end\n\n\n");
}

#[test]
fn a_process_that_does_not_exist_is_an_error() {
    let case = Case { script: "interval:s:1 { }", pid: Some(i32::MAX as u32), ..Case::default() };
    let Some(Ran { outcome, .. }) = case.run() else { return };
    let error = outcome.expect_err("there is no such process");
    assert_eq!(error.errno, Some(libc::ESRCH));
}

#[test]
fn an_interval_under_a_flood_of_events_still_ends_the_run() {
    let case = Case {
        script: r#"
            config = { perf_rb_pages = 1 }
            tracepoint:syscalls:sys_enter_read { printf("read\n"); }
            interval:ms:200 { exit(3); }
        "#,
        command: Some("dd if=/dev/zero of=/dev/null bs=1 status=none"),
        ..Case::default()
    };
    printed(case, 3);
}

#[test]
fn uprobes_of_a_child_see_its_first_call() {
    let case = Case {
        script: r#"uprobe:libc:__libc_start_main { printf("start\n"); }"#,
        command: Some("true"),
        ..Case::default()
    };
    let Some(text) = printed(case, 0) else { return };
    assert_eq!(text, "start\n\n\n");
}

#[test]
fn json_lines_say_how_many_probes_were_attached() {
    let case = Case { script: "interval:ms:10 { exit(); }", json: true, ..Case::default() };
    let Some(text) = printed(case, 0) else { return };
    assert!(text.starts_with(r#"{"type": "attached_probes", "#), "{text}");
}
