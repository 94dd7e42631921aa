//! Whatever is wrong with a script or a machine is said in words that help, and nothing panics.

use crate::need;
use crate::support::{machine, memql};

/// memql refuses the script; gives what it said.
fn refused(script: &str) -> String {
    let ended = memql::run(["--check", "-e", script]);
    assert_eq!(ended.code(), 1, "{script}:\n{}\n{}", ended.stderr, ended.stdout);
    assert_eq!(ended.stdout, "", "{script}");
    ended.stderr
}

fn assert_said(script: &str, words: &[&str]) {
    let said = refused(script);
    for word in words {
        assert!(said.contains(word), "`{word}` is missing in what was said of `{script}`:\n{said}");
    }
}

#[test]
fn a_syntax_error_points_at_its_place() {
    assert_said("begin { printf(\"a\" }", &["error", "1:"]);
    assert_said("begin { @x = ; }", &["expected an expression"]);
    assert_said("begin { ", &["expected"]);
}

#[test]
fn several_errors_are_told_at_once() {
    let said = refused("begin { prinft(\"a\"); $x = 1 + nosuch; countt(); }");
    assert!(said.matches("error").count() >= 3, "{said}");
}

#[test]
fn unknown_names_get_similar_ones() {
    need!(machine::root());
    assert_said("begin { prinft(\"a\"); }", &["prinft", "printf"]);
    assert_said("kpobe:vfs_read { }", &["kpobe", "kprobe"]);
    assert_said("tracepoint:syscalls:sys_enter_opennat { }", &["sys_enter_openat"]);
    assert_said(
        "tracepoint:syscalls:sys_enter_openat { print(args.filname); }",
        &["filname", "filename", "flags"],
    );
    assert_said("begin { print(curtask->com); }", &["com", "comm"]);
}

#[test]
fn type_errors_name_both_types() {
    assert_said("begin { @x = 1; @x = \"a\"; }", &["int", "string"]);
    assert_said("begin { $x = \"a\"; $x = 1; }", &["int", "string"]);
    assert_said("begin { printf(\"%d %d\\n\", 1); }", &["%d"]);
}

#[test]
fn a_library_without_the_symbol_is_named_with_it() {
    need!(machine::uprobes());
    assert_said("uprobe:libc:no_such_function { }", &["no_such_function", "libc"]);
    assert_said("uprobe:/no/such/library:malloc { }", &["/no/such/library"]);
}

#[test]
fn a_kernel_without_kprobes_says_so() {
    need!(machine::root());
    if machine::kprobes().is_ok() {
        return crate::support::skip::skipped("this kernel has kprobes");
    }
    let run = memql::run(["-e", "kprobe:vfs_read { }"]);
    assert_eq!((run.code(), run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("error[E0205]: this kernel has no kprobes"), "{}", run.stderr);
    // What is not going to run here compiles all the same.
    let check = memql::run(["--check", "-e", "kprobe:vfs_read { }"]);
    assert_eq!(check.code(), 0);
    assert!(check.stderr.starts_with("warning: not on this kernel: "), "{}", check.stderr);
}

#[test]
fn unsafe_functions_need_the_flag() {
    assert_said("begin { system(\"true\"); }", &["--unsafe"]);
}

#[test]
fn no_input_makes_it_panic() {
    for script in [
        "",
        "{",
        "begin",
        "begin {{{{{{{{}}}}}}}}",
        "begin { @[@[@[1]]] = 1 }",
        "begin { $x = 99999999999999999999; }",
        "begin { $x = 1 / 0; @ = $x }",
        "begin { @x[1] = 1; @x = 2 }",
        "interval:s:0 { }",
        "interval:s:-1 { }",
        "profile:hz:abc { }",
        "uprobe:: { }",
        "tracepoint:: { }",
        "kprobe: { }",
        "begin { unroll(1000000) { @x++ } }",
        "begin { printf(\"%\") }",
        "begin { printf(\"%9999999999d\", 1) }",
        "begin { @ = hist(1, 99) }",
        "begin { @ = lhist(1, 10, 0, 1) }",
        "begin { @ = lhist(1, 0, 10, 0) }",
        "begin { print(((struct nothing *)0)->x) }",
        "begin { $a = ($a, $a) }",
        "begin { \u{1F600} }",
        "option x: uint64 = \"a\", \"-x\", \"\"; begin { }",
        "config = { nothing = 1 } begin { }",
        "begin { str(1, 99999999999) }",
    ] {
        let ended = memql::run(["--check", "-e", script]);
        assert!(
            matches!(ended.code(), 0 | 1) && !ended.stderr.contains("panicked"),
            "`{script}` ended with {}:\n{}",
            ended.status,
            ended.stderr
        );
    }
}
