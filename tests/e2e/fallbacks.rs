//! Attach points that fall back: the first that this kernel has is taken.

use crate::need;
use crate::support::{machine, memql, programs::program, text, trigger::Trigger};

#[test]
fn the_first_alternative_that_exists_is_taken() {
    need!(machine::root());
    let mut trigger = Trigger::start(&need!(program("calls")), &["getppid", "7"]);
    let script = "tracepoint:syscalls:sys_enter_no_such_call || tracepoint:syscalls:sys_enter_getppid { @[probe] = count(); }";
    let tracing = memql::attached(["-p", &trigger.pid(), "-e", script]);
    trigger.work();
    assert_eq!(text::lines(&tracing.stop().output()), ["@[tracepoint:syscalls:sys_enter_getppid]: 7"]);
}

#[test]
fn an_alternative_after_one_that_exists_is_not_attached() {
    need!(machine::root());
    let mut trigger = Trigger::start(&need!(program("calls")), &["getppid", "7"]);
    let script = "tracepoint:syscalls:sys_enter_getppid || tracepoint:syscalls:sys_exit_getppid { @[probe] = count(); }";
    let tracing = memql::attached(["-p", &trigger.pid(), "-e", script]);
    trigger.work();
    assert_eq!(text::lines(&tracing.stop().output()), ["@[tracepoint:syscalls:sys_enter_getppid]: 7"]);
}

#[test]
fn without_any_alternative_the_error_names_each() {
    need!(machine::root());
    let ended = memql::run(["-e", "tracepoint:no:such || kprobe:no_such_function_at_all { @ = count(); }"]);
    assert_eq!(ended.code(), 1);
    assert!(
        ended.stderr.contains("tracepoint:no:such") && ended.stderr.contains("no_such_function_at_all"),
        "{}",
        ended.stderr
    );
}
