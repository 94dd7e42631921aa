//! What happens when something goes wrong around a run: the traced process ends or changes, the output cannot be
//! written, memql itself is ended, a library is replaced while it is traced.

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::need;
use crate::support::{HANGS, machine, memql, programs, text, trigger::Trigger};

const COUNT: &str = "tracepoint:syscalls:sys_enter_getppid { @ = count(); }";

fn kill(pid: &str, signal: i32) {
    // SAFETY: kill has no preconditions; the process is a child that was not waited for.
    unsafe { libc::kill(pid.parse().expect("a process id is a number"), signal) };
}

/// Waits until something holds.
#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + HANGS;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_traced_process_that_is_killed_ends_the_run_with_what_was_found() {
    need!(machine::root());
    let mut trigger = Trigger::start(&need!(programs::program("calls")), &["getppid", "10"]);
    let script = format!(r#"{COUNT} end {{ printf("end\n"); }}"#);
    let tracing = memql::attached(["-p", &trigger.pid(), "-e", &script]);
    trigger.work();
    kill(&trigger.pid(), libc::SIGKILL);
    assert_eq!(text::lines(&tracing.wait().output()), ["end", "@: 10"]);
}

#[test]
fn a_traced_process_that_execs_is_traced_on() {
    need!(machine::root());
    let (becomes, calls) = (need!(programs::program("becomes")), need!(programs::program("calls")));
    let calls = calls.display().to_string();
    let mut trigger = Trigger::start(&becomes, &[&calls, "getppid", "10"]);
    let tracing = memql::attached(["-p", &trigger.pid(), "-e", COUNT]);
    trigger.go(); // to the second program's `start`
    trigger.stands_at("start");
    trigger.work();
    assert_eq!(text::lines(&tracing.stop().output()), ["@: 15"]);
}

#[test]
fn children_of_a_traced_process_are_not_traced() {
    need!(machine::uprobes());
    let fork = need!(programs::program("fork"));
    let mut trigger = Trigger::start(&fork, &[]);
    let script = format!(
        "uprobe:{0}:parent_block {{ @parent = count(); }} uprobe:{0}:child_block {{ @child = count(); }}",
        fork.display()
    );
    let tracing = memql::attached(["-p", &trigger.pid(), "-e", &script]);
    trigger.work();
    assert_eq!(text::lines(&tracing.stop().output()), ["@parent: 4"]);
}

#[test]
fn stacks_of_processes_that_are_gone_have_names() {
    need!(machine::uprobes());
    let fork = need!(programs::program("fork"));
    let script = format!("uprobe:{}:child_block {{ @[ustack(1), ustack(3)] = count(); }}", fork.display());
    let tracing = memql::attached(["-e", &script]);
    let mut trigger = Trigger::start(&fork, &[]);
    trigger.work();
    trigger.end();
    let out = tracing.stop().output();
    // A number for what could not be named would begin with 0x.
    assert!(out.contains("        child_block+0") && out.contains("        main+"), "{out}");
    assert!(!out.contains("        0x"), "{out}");
}

#[test]
fn a_library_that_is_replaced_on_disk_keeps_its_names_in_who_has_it_loaded() {
    need!(machine::uprobes());
    let (library, padded) = (need!(programs::library("plugin")), need!(programs::padded_library("plugin")));
    let folder = std::env::temp_dir().join(format!("memql-replaced-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("make a folder");
    let loaded = folder.join("plugin.so");
    std::fs::copy(library, &loaded).expect("copy the library");
    let host = need!(programs::program("host"));
    let mut trigger = Trigger::start(&host, &[&loaded.display().to_string(), "5"]);
    let script = "tracepoint:syscalls:sys_enter_getppid { @[ustack(bcc)] = count(); }";
    let tracing = memql::attached(["-p", &trigger.pid(), "-e", script]);
    trigger.work();
    // As a package manager does: the new file takes the name, the old one stays for those who have it.
    std::fs::copy(padded, folder.join("new")).expect("copy the new library");
    std::fs::rename(folder.join("new"), &loaded).expect("replace the library");
    trigger.go();
    trigger.stands_at("again");
    let out = tracing.stop().output();
    std::fs::remove_dir_all(&folder).expect("remove the folder");
    let stacks: Vec<&str> = out.lines().filter(|l| l.contains("plugin")).collect();
    assert!(!stacks.is_empty() && stacks.iter().all(|l| l.contains("plugin_work+0x")), "{out}");
    let total: u64 = out.lines().filter_map(|l| l.strip_prefix("]: ")?.parse::<u64>().ok()).sum();
    assert_eq!(total, 10, "{out}");
}

#[test]
fn a_full_disk_is_an_error_that_names_it() {
    need!(machine::root());
    let out = Command::new(env!("CARGO_BIN_EXE_memql"))
        .args(["-q", "-e", r#"begin { for ($i : 0..2000) { printf("%d\n", $i); } }"#])
        .stdout(std::fs::OpenOptions::new().write(true).open("/dev/full").expect("open /dev/full"))
        .output()
        .expect("run memql");
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: ") && said.contains("no space left on device (ENOSPC)"), "{said}");
}

#[test]
fn a_file_of_results_on_a_full_disk_keeps_what_fitted() {
    need!(machine::root());
    let folder = std::env::temp_dir().join(format!("memql-tiny-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("make a folder");
    // Mounted for this shell and what it starts alone.
    let line = format!(
        "mount -t tmpfs -o size=16k none {0} || exit 99; {1} -q -o {0}/out -e '{2}'; echo code $?; wc -c <{0}/out",
        folder.display(),
        env!("CARGO_BIN_EXE_memql"),
        r#"begin { for ($i : 0..20000) { printf("%d\n", $i); } }"#
    );
    let out = Command::new("unshare").args(["-m", "sh", "-c", &line]).output().expect("run unshare");
    std::fs::remove_dir(&folder).expect("remove the folder");
    if out.status.code() == Some(99) {
        return crate::support::skip::skipped("no tmpfs can be mounted");
    }
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(stdout.starts_with("code 1\n"), "{stdout}{stderr}");
    assert_eq!(stdout.lines().nth(1), Some("16384"), "{stdout}{stderr}");
    assert!(stderr.contains("no space left on device (ENOSPC)"), "{stderr}");
}

#[test]
fn a_closed_stdout_does_no_harm() {
    need!(machine::root());
    let line = format!(
        "{} -q -e 'begin {{ printf(\"x\\n\"); }} tracepoint:syscalls:sys_enter_getppid {{ @ = count(); exit(); }}' \
         -c '{} getppid 5' >&-",
        env!("CARGO_BIN_EXE_memql"),
        need!(programs::program("calls")).display()
    );
    let out = Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).output().expect("run sh");
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
}

#[test]
fn signals_that_ask_for_an_end_get_one_with_all_that_was_found() {
    need!(machine::root());
    let calls = need!(programs::program("calls"));
    for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT] {
        let mut trigger = Trigger::start(&calls, &["getppid", "7"]);
        let script = format!(r#"{COUNT} end {{ printf("end\n"); }}"#);
        let tracing = memql::attached(["-p", &trigger.pid(), "-e", &script]);
        trigger.work();
        tracing.signal(signal);
        assert_eq!(text::lines(&tracing.wait().output()), ["end", "@: 7"], "signal {signal}");
    }
}

/// Whether an eBPF program with this id is loaded.
fn is_loaded(id: u32) -> bool {
    const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
    let mut attributes = [0u32; 32];
    attributes[0] = id;
    // SAFETY: the attributes are larger than what the command reads, and zero behind it.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_GET_FD_BY_ID, attributes.as_ptr(), size_of_val(&attributes))
    };
    if fd < 0 {
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOENT), "look for a program");
        return false;
    }
    // SAFETY: the descriptor is this function's own.
    unsafe { libc::close(fd as i32) };
    true
}

#[test]
fn after_sigkill_nothing_stays_attached_or_pinned() {
    need!(machine::uprobes());
    let calls = need!(programs::program("calls"));
    let pinned = || std::fs::read_dir("/sys/fs/bpf").map_or(0, Iterator::count);
    let before = pinned();
    let script = format!(
        "{COUNT} uprobe:{}:six_args {{ @six = count(); }} interval:s:1 {{ @t = count(); }}",
        calls.display()
    );
    let tracing = memql::attached(["-v", "-e", &script]);
    tracing.signal(libc::SIGKILL);
    let ended = tracing.wait();
    assert_eq!(ended.code(), 128 + libc::SIGKILL);
    let ids: Vec<u32> =
        ended.stderr.lines().filter_map(|l| l.rsplit_once(", id ")?.1.trim().parse().ok()).collect();
    assert_eq!(ids.len(), 3, "{}", ended.stderr);
    until("unloading", || !ids.iter().any(|id| is_loaded(*id)));
    assert_eq!(pinned(), before);
}

#[test]
fn two_runs_at_once_do_not_disturb_each_other() {
    need!(machine::uprobes());
    let calls = need!(programs::program("calls"));
    let mut trigger = Trigger::start(&calls, &["args", "20"]);
    let script = format!("uprobe:{}:six_args {{ @ = count(); }}", calls.display());
    let first = memql::attached(["-e", &script]);
    let second = memql::attached(["-p", &trigger.pid(), "-e", &script]);
    trigger.work();
    assert_eq!(text::lines(&first.stop().output()), ["@: 20"]);
    // What one has attached goes with it, and leaves the other's.
    let mut again = Trigger::start(&calls, &["args", "20"]);
    let third = memql::attached(["-p", &again.pid(), "-e", &script]);
    again.work();
    assert_eq!(text::lines(&second.stop().output()), ["@: 20"]);
    assert_eq!(text::lines(&third.stop().output()), ["@: 20"]);
}

#[test]
fn a_thousand_probes() {
    need!(machine::root());
    let calls = need!(programs::program("calls"));
    let list = memql::run(["-l", "tracepoint:syscalls:*"]).output();
    let points: Vec<&str> = list.lines().filter(|l| !l.ends_with("_getppid")).take(600).collect();
    let mut script = String::from(COUNT);
    for point in &points {
        script.push_str(&format!("\n{point} /cpid == 0/ {{ @never = count(); }}"));
    }
    for n in 1..1000 - points.len() {
        script.push_str(&format!("\ninterval:s:{} {{ @timers = count(); }}", 3600 + n));
    }
    let path = std::env::temp_dir().join(format!("memql-thousand-{}.mq", std::process::id()));
    std::fs::write(&path, script).expect("write the script");
    let command = format!("{} getppid 9", calls.display());
    let file = path.display().to_string();
    let ended = memql::run([file.as_str(), "-c", &command]);
    std::fs::remove_file(&path).expect("remove the script");
    assert_eq!(text::lines(&ended.output()), ["start", "done", "@: 9"]);
}
