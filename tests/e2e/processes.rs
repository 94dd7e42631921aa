//! -p and -c: whose events are seen, and when the run ends.

use crate::need;
use crate::support::{machine, memql, programs, text, trigger::Trigger};

#[test]
fn only_the_given_process_is_traced() {
    need!(machine::root());
    let calls = need!(programs::program("calls"));
    let (mut mine, mut other) =
        (Trigger::start(&calls, &["getppid", "10"]), Trigger::start(&calls, &["getppid", "1000"]));
    let script = "tracepoint:syscalls:sys_enter_getppid { @[pid] = count(); }";
    let tracing = memql::attached(["-p", &mine.pid(), "-e", script]);
    mine.work();
    other.work();
    assert_eq!(text::lines(&tracing.stop().output()), [format!("@[{}]: 10", mine.pid())]);
}

#[test]
fn all_threads_of_the_process_are_traced() {
    need!(machine::uprobes());
    let threads = need!(programs::program("threads"));
    let mut trigger = Trigger::start(&threads, &["4", "100", "24", "0"]);
    let script = format!("uprobe:{}:leak_in_thread {{ @n++; @[tid] = count(); }}", threads.display());
    let tracing = memql::attached(["-p", &trigger.pid(), "-e", &script]);
    trigger.work();
    let out = tracing.stop().output();
    let by_thread = out.lines().filter(|l| l.starts_with("@[") && l.ends_with("]: 100")).count();
    assert_eq!(by_thread, 4, "{out}");
    assert!(out.contains("@n: 400\n"), "{out}");
}

#[test]
fn the_run_ends_with_the_process() {
    need!(machine::root());
    let calls = need!(programs::program("calls"));
    let mut trigger = Trigger::start(&calls, &["getppid", "10"]);
    let script = r#"tracepoint:syscalls:sys_enter_getppid { @ = count(); } end { printf("end\n"); }"#;
    let tracing = memql::attached(["-p", &trigger.pid(), "-e", script]);
    trigger.work();
    trigger.end();
    assert_eq!(text::lines(&tracing.wait().output()), ["end", "@: 10"]);
}

#[test]
fn the_run_ends_with_the_command_and_its_output_passes_through() {
    need!(machine::root());
    let calls = need!(programs::program("calls"));
    let script = "tracepoint:syscalls:sys_enter_getppid { @ = count(); }";
    let out = memql::run(["-c", &format!("{} getppid 33", calls.display()), "-e", script]).output();
    assert_eq!(text::lines(&out), ["start", "done", "@: 33"]);
}

#[test]
fn a_command_runs_to_its_end_whatever_is_probed() {
    need!(machine::root());
    let ended = memql::run(["-c", "sh -c 'sleep 0.3; echo done'", "-e", "begin { }"]);
    assert_eq!(ended.output().trim_end(), "done");
}

#[test]
fn words_of_a_command_may_be_quoted() {
    need!(machine::root());
    let ended = memql::run(["-c", r#"printf '%s|' 'a b' "c d" e\ f"#, "-e", "interval:s:60 { }"]);
    assert_eq!(ended.output().trim_end(), "a b|c d|e f|");
}

#[test]
fn a_process_that_does_not_exist_is_an_error() {
    need!(machine::root());
    let ended = memql::run(["-p", "4194304", "-e", "tracepoint:syscalls:sys_enter_getppid { }"]);
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("4194304"), "{}", ended.stderr);
}

#[test]
fn a_command_that_does_not_exist_is_an_error() {
    need!(machine::root());
    let ended = memql::run(["-c", "no-such-program --at all", "-e", "begin { }"]);
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("no-such-program"), "{}", ended.stderr);
}

#[test]
fn target_pid_and_cpid_are_constants_of_the_script() {
    need!(machine::root());
    let out =
        memql::run(["-c", "true", "-e", r#"begin { printf("%d %d\n", has_cpid, cpid == target_pid); }"#])
            .output();
    assert_eq!(out, "1 1\n");
    let out = memql::run(["-e", r#"begin { printf("%d %d\n", has_cpid, target_pid); exit(); }"#]).output();
    assert_eq!(out, "0 0\n");
}
