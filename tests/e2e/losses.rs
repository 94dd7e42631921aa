//! What a run lost is counted, reported at its end, and an error under `--strict`: one test for each kind of loss.

use crate::need;
use crate::support::memql::Ended;
use crate::support::{machine, memql, programs, text};

/// Checks that a strict run says that it lost this and nothing else, and gives what it printed.
#[track_caller]
fn lost(ended: Ended, what: &str) -> String {
    let expected = format!("warning: {what}\nerror: the run is not complete: something was lost\n");
    // While it goes on, lost events are told as they come, too.
    let told: String =
        ended.stderr.lines().filter(|l| !l.starts_with("Lost ")).map(|l| format!("{l}\n")).collect();
    assert_eq!(told, expected, "stdout:\n{}", ended.stdout);
    assert_eq!(ended.code(), 3);
    ended.stdout
}

fn strict(script: &str) -> Ended {
    memql::run(["--strict", "-e", script])
}

#[test]
fn a_complete_run_is_a_success_and_says_so_in_json() {
    need!(machine::root());
    let script = r#"begin { @x[1] = count(); printf("%s\n", comm); exit(); }"#;
    memql::run(["--strict", "-e", script]).output();
    let out = memql::run(["--strict", "-f", "json", "-e", script]).output();
    let last = out.lines().last().expect("JSON has lines");
    assert_eq!(last, r#"{"type": "losses", "data": {"complete": true, "losses": []}}"#);
    let out = memql::run(["-f", "json", "-e", script]).output();
    assert!(!out.contains("losses"), "a complete run says nothing more unless asked: {out}");
}

#[test]
fn a_code_of_exit_comes_before_that_of_a_loss() {
    need!(machine::root());
    let ended = strict("let @x = hash(1); begin { @x[1] = 1; @x[2] = 1; exit(7); }");
    assert_eq!(ended.code(), 7);
    assert!(ended.stderr.contains("not complete"), "{}", ended.stderr);
}

#[test]
fn losses_alone_do_not_fail_a_run() {
    need!(machine::root());
    let ended = memql::run(["-e", "let @x = hash(1); begin { @x[1] = 1; @x[2] = 1; exit(); }"]);
    assert_eq!(ended.code(), 0);
    assert!(ended.stderr.starts_with("warning: map @x was full at 1 keys"), "{}", ended.stderr);
}

#[test]
fn events_that_the_ring_buffer_has_no_room_for() {
    need!(machine::root());
    let script = r#"config = { perf_rb_pages = 1 } begin { for ($i : 0..1000) { printf("%d\n", $i); } }"#;
    let ended = strict(script);
    let printed = ended.stdout.lines().count();
    let what = format!(
        "{} events lost: the ring buffer of 4 KiB was full (more with `config = {{ perf_rb_pages = N }}`)",
        1000 - printed
    );
    lost(ended, &what);
}

#[test]
fn updates_that_a_full_map_refuses() {
    need!(machine::root());
    let script = "let @x = hash(2); begin { for ($i : 0..5) { @x[$i] = 1; } exit(); }";
    let what = "map @x was full at 2 keys: 3 updates refused \
                (more with `let @x = hash(N);` or `config = { max_map_keys = N }`)";
    let out = lost(strict(script), what);
    assert_eq!(text::lines(&out).len(), 2);
    let json = memql::run(["-f", "json", "-e", script]).stdout;
    let record =
        r#"{"complete": false, "losses": [{"kind": "map_full", "of": "@x", "limit": 2, "count": 3, "text": "#;
    assert!(json.contains(record), "{json}");
}

#[test]
fn counts_that_a_full_map_refuses() {
    need!(machine::root());
    let script = "config = { max_map_keys = 3 } begin { for ($i : 0..5) { @x[$i] = count(); } exit(); }";
    let what = "map @x was full at 3 keys: 2 updates refused \
                (more with `let @x = hash(N);` or `config = { max_map_keys = N }`)";
    lost(strict(script), what);
}

#[test]
fn reads_of_kernel_memory_that_fail() {
    need!(machine::root());
    let out = lost(
        strict("begin { $p = (uint64)8; print(*(uint64 *)kptr($p)); exit(); }"),
        "1 read of kernel memory failed; zeros were used instead",
    );
    assert_eq!(out, "0\n");
}

#[test]
fn reads_of_user_memory_that_fail() {
    need!(machine::root());
    let script = r#"begin { $p = (uint64)8; printf("[%s]\n", str(uptr($p))); exit(); }"#;
    let what =
        "1 read of user memory failed (not in memory at the time, or a bad address); zeros were used instead";
    assert_eq!(lost(strict(script), what), "[]\n");
}

#[test]
fn strings_that_are_cut() {
    need!(machine::root());
    let calls = need!(programs::program("calls"));
    // It opens /dev/null three times; what the loader opens has long names, too.
    let script = r#"config = { max_strlen = 8 } tracepoint:syscalls:sys_enter_openat { @[str(args.filename)] = count(); @n++; }"#;
    let ended = memql::run(["--strict", "-e", script, "-c", &format!("{} open 3", calls.display())]);
    let n = ended.stdout.lines().find_map(|l| l.strip_prefix("@n: ")).expect("@n is printed").to_owned();
    assert!(ended.stdout.contains("@[/dev/nul..]: 3\n"), "{}", ended.stdout);
    lost(ended, &format!("{n} strings were cut (longer with `config = {{ max_strlen = N }}`)"));
}

#[test]
fn stacks_that_cannot_be_taken() {
    need!(machine::root());
    // A kernel thread has no user stack.
    let script = "tracepoint:workqueue:workqueue_execute_start { @[ustack] = count(); @n++; } interval:ms:100 { if (@n > 0) { exit(); } }";
    let ended = strict(script);
    let line = ended.stderr.lines().next().expect("something is reported");
    let count: u64 = line
        .strip_prefix("warning: ")
        .and_then(|l| l.split_once(' '))
        .and_then(|(n, _)| n.parse().ok())
        .unwrap_or_else(|| panic!("no number in `{line}`"));
    assert!(count > 0);
    lost(ended, &format!("{count} stack{} could not be taken", if count == 1 { "" } else { "s" }));
}

#[test]
fn stacks_that_are_deeper_than_the_kernel_keeps() {
    need!(machine::uprobes());
    let calls = need!(programs::program("calls"));
    // The innermost of 200 calls has all others above it.
    let script = format!("uprobe:{}:depth /arg0 == 0/ {{ @[ustack(127)] = count(); }}", calls.display());
    let ended = memql::run(["--strict", "-e", &script, "-c", &format!("{} depth 1", calls.display())]);
    lost(ended, "1 stack had more frames than were kept; the outermost are missing");
}

#[test]
fn runs_that_the_kernel_leaves_out_because_a_program_runs_already() {
    need!(machine::root());
    let calls = need!(programs::program("calls"));
    // The signal is sent from within a program, and so is its tracepoint hit.
    let script = r#"tracepoint:signal:signal_generate { @seen++; }
        tracepoint:syscalls:sys_enter_getppid { signal("SIGCHLD"); }"#;
    let command = format!("{} getppid 25", calls.display());
    let ended = memql::run(["--strict", "--unsafe", "-e", script, "-c", &command]);
    lost(
        ended,
        "25 runs of `tracepoint:signal:signal_generate` left out by the kernel: a probe was running on that CPU already",
    );
}
