//! `--test` and `--bench`: a script's own tests and benchmarks, run in the kernel.

use crate::need;
use crate::support::{machine, memql, text};

/// Times in parentheses differ.
fn without_times(output: &str) -> String {
    let line = |line: &str| line.split(" (").next().unwrap_or_default().to_owned();
    text::lines(output).into_iter().map(line).collect::<Vec<_>>().join("\n")
}

const TESTS: &str = r#"
    begin { @n = 25; printf("begin\n"); }
    test:counts { printf("hidden\n"); return @n == 25 ? 0 : 1; }
    test:fails { printf("shown\n"); return 1; }
    test:leaves_a_loop { for ($i : 0..100) { if ($i == 50) { return $i; } } }
    test:comes_round { for ($i : 0..100) { if ($i == 50) { return 0; } } return 1; }
    test:complains { errorf("wrong: %d", @n); }
    test:gives_up { exit(3); }
    test:ends { exit(); }
    kprobe:no_such_function { printf("never\n"); }
    end { printf("end\n"); }
"#;

#[test]
fn a_test_passes_without_result_error_and_exit_code() {
    need!(machine::root());
    let ended = memql::run(["--test", "-e", TESTS]);
    assert_eq!(ended.code(), 1, "{}", ended.stderr);
    assert_eq!(ended.stderr, "");
    let expected = "begin
[==========] Running 7 tests.
[ RUN      ] counts
[       OK ] counts
[ RUN      ] fails
shown
[  FAILED  ] fails
[ RUN      ] leaves_a_loop
[  FAILED  ] leaves_a_loop
[ RUN      ] comes_round
[       OK ] comes_round
[ RUN      ] complains
stdin:7:22-45: ERROR: wrong: 25
[  FAILED  ] complains
[ RUN      ] gives_up
[  FAILED  ] gives_up
[ RUN      ] ends
[       OK ] ends
[==========] 7 tests ran.
[  PASSED  ] 3 tests.
[  FAILED  ] 4 tests, listed below:
[  FAILED  ] fails
[  FAILED  ] leaves_a_loop
[  FAILED  ] complains
[  FAILED  ] gives_up
end";
    assert_eq!(without_times(&ended.stdout), expected);
}

#[test]
fn tests_that_pass_exit_with_0() {
    need!(machine::root());
    let out = memql::run(["--test", "-f", "json", "-e", "test:a { printf(\"x\"); } bench:b { }"]).output();
    let start = r#"{"type": "test_result", "data": {"a": {"duration": "#;
    assert!(out.starts_with(start) && out.ends_with("\"passed\": true, \"output\": \"x\"}}}\n"), "{out}");
}

#[test]
fn benchmarks_are_a_table() {
    need!(machine::root());
    let script = r#"bench:count { @ = count(); } bench:skipped { return 1; } bench:prints { printf("%d\n", 1); } test:a { return 1; }
        end { printf("%d\n", @ >= 1000); }"#;
    let out = memql::run(["--bench", "-e", script]).output();
    let lines = text::lines(&out);
    assert_eq!(lines[0], format!("{:40} {:15}Iterations", "Benchmark", "Time(ns)"));
    assert_eq!(lines[1], "-".repeat(66));
    for (line, name) in lines[2..4].iter().zip(["count", "prints"]) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let numbers: Vec<u64> = words[1..].iter().map(|word| word.parse().expect("a number")).collect();
        assert_eq!((words[0], numbers.len()), (name, 2), "{line}");
        // A millisecond in all, at least.
        assert!(numbers[0] * numbers[1] >= 1_000_000, "{line}");
    }
    assert_eq!(lines[4..], ["1"]);
}

#[test]
fn a_benchmark_that_complains_has_failed() {
    need!(machine::root());
    let ended = memql::run(["--mode", "bench", "-e", r#"bench:a { errorf("no"); } bench:b { exit(2); }"#]);
    assert_eq!(
        (ended.code(), ended.stderr.as_str()),
        (1, "error: `bench:a` failed\nerror: `bench:b` failed\n")
    );
}

#[test]
fn tests_without_their_flag_are_not_run() {
    need!(machine::root());
    assert_eq!(
        memql::run(["-e", r#"begin { printf("begin\n"); } test:a { printf("a\n"); }"#]).output(),
        "begin\n"
    );
    let ended = memql::run(["-e", "bench:a { }"]);
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("`memql --bench` runs its benchmarks"), "{}", ended.stderr);
}
