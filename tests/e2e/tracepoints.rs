//! Tracepoints, raw and by format: every event is seen once, and its arguments are right.

use crate::need;
use crate::support::{machine, memql, programs::program, text, trigger::Trigger};

/// Traces `calls NAME 25` with a script and gives what memql printed.
fn traced(script: &str, call: &str) -> Result<String, String> {
    machine::root()?;
    let mut trigger = Trigger::start(&program("calls")?, &[call, "25"]);
    let tracing = memql::attached(["-p", &trigger.pid(), "-e", script]);
    trigger.work();
    Ok(tracing.stop().output())
}

#[test]
fn counts_every_system_call_once() {
    let out = need!(traced("tracepoint:syscalls:sys_enter_getppid { @calls[comm] = count(); }", "getppid"));
    assert_eq!(text::lines(&out), ["@calls[calls]: 25"]);
}

#[test]
fn an_increment_loses_no_update() {
    let out = need!(traced("tracepoint:syscalls:sys_enter_getppid { @n++; @m += 3; }", "getppid"));
    assert_eq!(text::lines(&out), ["@m: 75", "@n: 25"]);
}

#[test]
fn prints_arguments_of_a_system_call() {
    let script = r#"tracepoint:syscalls:sys_enter_openat { printf("%s %s\n", comm, str(args.filename)); }"#;
    let out = need!(traced(script, "open"));
    assert_eq!(out, "calls /dev/null\n".repeat(25));
}

#[test]
fn keys_may_be_strings_and_numbers() {
    let script = "tracepoint:syscalls:sys_enter_openat { @[str(args.filename), args.flags] = count(); }";
    let out = need!(traced(script, "open"));
    assert_eq!(text::lines(&out), ["@[/dev/null, 0]: 25"]);
}

#[test]
fn the_result_of_a_call_is_paired_with_its_entry() {
    let script = "
        tracepoint:syscalls:sys_enter_openat { @name[tid] = str(args.filename); }
        tracepoint:syscalls:sys_exit_openat /has_key(@name, tid)/ {
            @opened[@name[tid], args.ret >= 0] = count();
            delete(@name, tid);
        }";
    let out = need!(traced(script, "open"));
    assert_eq!(text::lines(&out), ["@opened[/dev/null, true]: 25"]);
}

#[test]
fn a_predicate_lets_only_its_events_through() {
    let script = r#"tracepoint:raw_syscalls:sys_enter /args.id == 110 && comm == "calls"/ { @ = count(); }"#;
    let out = need!(traced(script, "getppid"));
    assert_eq!(text::lines(&out), ["@: 25"]);
}

#[test]
fn a_raw_tracepoint_has_the_kernels_own_arguments() {
    let out = need!(traced("rawtracepoint:sys_enter /args.id == 110/ { @ = count(); }", "getppid"));
    assert_eq!(text::lines(&out), ["@: 25"]);
}

#[test]
fn wildcards_attach_to_all_and_probe_tells_them_apart() {
    let script = "tracepoint:syscalls:sys_*_getppid { @[probe] = count(); }";
    let out = need!(traced(script, "getppid"));
    assert_eq!(
        text::lines(&out),
        ["@[tracepoint:syscalls:sys_enter_getppid]: 25", "@[tracepoint:syscalls:sys_exit_getppid]: 25"]
    );
}

#[test]
fn fields_of_kernel_structures_are_read_through_btf() {
    let script = "tracepoint:syscalls:sys_enter_getppid {
        @[curtask->comm, curtask->tgid == pid, curtask->mm->mm_users.counter] = count();
    }";
    let out = need!(traced(script, "getppid"));
    assert_eq!(text::lines(&out), ["@[calls, true, 1]: 25"]);
}

#[test]
fn a_page_fault_counts_once_for_each_page_touched() {
    let script = "software:minor-faults:1 { @ = count(); }";
    let out = need!(traced(script, "fault"));
    let n: u64 = out.trim().strip_prefix("@: ").expect(&out).parse().expect(&out);
    // a few more pages may be touched for the first time by the program's own code on the way
    assert!((25..60).contains(&n), "{n} faults for 25 pages");
}

#[test]
fn several_cpus_lose_nothing() {
    need!(machine::root());
    let calls = need!(program("calls"));
    let script = r#"tracepoint:syscalls:sys_enter_getppid /comm == "calls"/ { @n++; @c = count(); @s = sum(2); @by[pid] = count(); }"#;
    let mut triggers: Vec<Trigger> = (0..4).map(|_| Trigger::start(&calls, &["getppid", "50000"])).collect();
    let pids: Vec<u32> = triggers.iter().map(|t| t.pid().parse().expect("a pid")).collect();
    // Other tests run `calls` too: only these four are counted.
    let mine: Vec<String> = pids.iter().map(|pid| format!("pid == {pid}")).collect();
    let script = script.replace(r#"comm == "calls""#, &mine.join(" || "));
    let tracing = memql::attached(["-e", &script]);
    triggers.iter_mut().for_each(Trigger::go);
    for trigger in triggers {
        trigger.end();
    }
    let out = tracing.stop().output();
    let mut expected: Vec<String> = pids.iter().map(|pid| format!("@by[{pid}]: 50000")).collect();
    expected.extend(["@c: 200000".into(), "@n: 200000".into(), "@s: 400000".into()]);
    expected.sort();
    assert_eq!(crate::support::text::sorted(&out), expected);
}
