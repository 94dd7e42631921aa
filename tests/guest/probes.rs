//! kprobe, kretprobe, fentry and fexit one-liners with exact counts.

use super::guest::{self, DEBIAN_12, Size};
use crate::need;
use crate::support::text;

/// Traces `calls WHAT 25` in a guest with a one-liner.
fn traced(script: &str, what: &str) -> Result<String, String> {
    let files = guest::programs(&["calls"])?;
    let quoted = script.replace('\'', r"'\''");
    Ok(guest::run(
        DEBIAN_12,
        Size::default(),
        &format!("traced 'calls {what} 25 >/dev/null' -e '{quoted}'"),
        &files,
    )?
    .output())
}

#[test]
fn a_kprobe_counts_every_call() {
    let out = need!(traced(r#"kprobe:__x64_sys_umask /comm == "calls"/ { @ = count(); }"#, "umask"));
    assert_eq!(text::lines(&out), ["@: 25"]);
}

#[test]
fn a_function_that_ftrace_does_not_list_takes_a_kprobe_by_its_name() {
    let out = need!(traced(r#"kprobe:__x64_sys_getppid /comm == "calls"/ { @ = count(); }"#, "getppid"));
    assert_eq!(text::lines(&out), ["@: 25"]);
}

#[test]
fn a_kretprobe_has_the_result() {
    // all calls but the first return the mask that the one before set: 022
    let script = r#"kretprobe:__x64_sys_umask /comm == "calls"/ { @[retval] = count(); }"#;
    let out = need!(traced(script, "umask"));
    assert!(text::lines(&out) == ["@[18]: 25"] || text::sorted(&out).contains(&"@[18]: 24"), "{out}");
}

#[test]
fn kprobe_and_kretprobe_are_paired() {
    let script = r#"
        kprobe:do_sys_openat2 /comm == "calls" && str(uptr(arg1)) == "/dev/null"/ { @open[tid] = arg0; }
        kretprobe:do_sys_openat2 /has_key(@open, tid)/ { @opened[(int32)retval >= 0] = count(); delete(@open, tid); }"#;
    let out = need!(traced(script, "open"));
    assert_eq!(text::lines(&out), ["@opened[true]: 25"]);
}

#[test]
fn fentry_has_typed_arguments() {
    let script = r#"fentry:do_sys_openat2 /comm == "calls"/ { @[str(uptr(args.filename)), args.how->flags & 3] = count(); }"#;
    let out = need!(traced(script, "open"));
    assert!(text::lines(&out).contains(&"@[/dev/null, 0]: 25"), "{out}");
}

#[test]
fn fexit_has_the_result_and_the_arguments() {
    let script = r#"fexit:do_sys_openat2 /comm == "calls" && str(uptr(args.filename)) == "/dev/null"/ { @[retval >= 0] = count(); }"#;
    let out = need!(traced(script, "open"));
    assert_eq!(text::lines(&out), ["@[true]: 25"]);
}

#[test]
fn a_wildcard_of_kprobes_is_told_apart_by_func() {
    let script =
        r#"kprobe:__x64_sys_umas*, kprobe:__x64_sys_umount /comm == "calls"/ { @[func] = count(); }"#;
    assert_eq!(text::lines(&need!(traced(script, "umask"))), ["@[__x64_sys_umask]: 25"]);
}

#[test]
fn a_kernel_stack_begins_at_the_probed_function() {
    let script = r#"kprobe:do_sys_openat2 /comm == "calls" && str(uptr(arg1)) == "/dev/null"/ { @[kstack(2)] = count(); }"#;
    let out = need!(traced(script, "open"));
    let functions: Vec<&str> =
        text::lines(&out).iter().map(|l| l.split('+').next().unwrap_or(l).trim()).collect();
    assert_eq!(functions.first(), Some(&"@["));
    assert_eq!(functions.get(1), Some(&"do_sys_openat2"), "{out}");
    assert_eq!(functions.last(), Some(&"]: 25"), "{out}");
}
