//! Options that a script declares: their help, their values, and what is wrong with wrong ones.

use crate::need;
use crate::support::{machine, memql, programs};
use std::io::Write;
use std::path::PathBuf;

const SCRIPT: &str = r#"
option count: uint64 = 3, "-n --count N", "print N times";
option word: string = "hello", "--word WORD", "print WORD";
option loud: bool, "-l --loud", "print a mark";
option times: uint64 = 1, "TIMES", "multiply by TIMES";
begin {
    printf("%d %s%s %d\n", opt.count, opt.word, opt.loud ? "!" : "", opt.times * 2);
    exit();
}
"#;

fn script_file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.mq", std::process::id()));
    std::fs::File::create(&path).and_then(|mut f| f.write_all(text.as_bytes())).expect("write a script");
    path
}

fn run_with(name: &str, args: &[&str]) -> memql::Ended {
    let path = script_file(name, SCRIPT);
    let path = path.to_str().expect("the path is text");
    let ended = memql::run([path].iter().chain(args));
    std::fs::remove_file(path).expect("remove the script");
    ended
}

#[test]
fn defaults_hold_where_nothing_is_given() {
    need!(machine::root());
    assert_eq!(run_with("defaults", &[]).output(), "3 hello 2\n");
}

#[test]
fn values_are_set_by_short_and_long_flags_and_by_place() {
    need!(machine::root());
    assert_eq!(run_with("given", &["-n", "7", "--word", "a b", "--loud", "21"]).output(), "7 a b! 42\n");
    assert_eq!(run_with("equals", &["--count=8", "--word=x"]).output(), "8 x 2\n");
}

#[test]
fn a_scripts_flag_wins_after_the_script() {
    need!(machine::root());
    // -l lists probes before the script, and is the script's own after it
    assert_eq!(run_with("own", &["-l"]).output(), "3 hello! 2\n");
}

#[test]
fn help_lists_the_options_of_the_script() {
    let ended = run_with("help", &["--help"]);
    let help = ended.output();
    for line in ["-n, --count <N>", "print N times", "--word <WORD>", "TIMES", "multiply by TIMES"] {
        assert!(help.contains(line), "`{line}` is missing in:\n{help}");
    }
}

#[test]
fn a_wrong_value_is_an_error_that_says_what_is_accepted() {
    let ended = run_with("wrong", &["-n", "many"]);
    assert_eq!(ended.code(), 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("`many`") || ended.stderr.contains("'many'"), "{}", ended.stderr);
}

#[test]
fn an_unknown_flag_is_an_error() {
    let ended = run_with("unknown", &["--cuont", "3"]);
    assert_eq!(ended.code(), 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("--cuont") && ended.stderr.contains("--count"), "{}", ended.stderr);
}

#[test]
fn positional_parameters_are_replaced() {
    need!(machine::root());
    let ended = memql::run(["-e", r#"begin { printf("%d %s %d\n", $1, str($2), $#); exit(); }"#, "5", "six"]);
    assert_eq!(ended.output(), "5 six 2\n");
}

#[test]
fn shipped_scripts_explain_their_options() {
    for (script, flags) in [
        (
            "memleak.mq",
            &[
                "--show-allocs",
                "--older",
                "--top",
                "--min-size",
                "--max-size",
                "--sample-rate",
                "--combined-only",
                "--wa-missing-free",
                "--lib",
            ][..],
        ),
        ("shmsnoop.mq", &["--timestamp", "--tid", "--duration", "--name"]),
        (
            "drsnoop.mq",
            &["--timestamp", "--print-uid", "--tid", "--uid", "--duration", "--name", "--verbose", "--memcg"],
        ),
        ("oomkill.mq", &[]),
    ] {
        let help = memql::run([programs::script(script), "--help".into()]).output();
        for flag in flags {
            assert!(help.contains(flag), "`{flag}` is missing in the help of {script}:\n{help}");
        }
    }
}
