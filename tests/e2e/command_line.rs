//! memql's own flags.

use crate::need;
use crate::support::{machine, memql, programs};
use std::io::Write;
use std::process::{Command, Stdio};

fn memql_command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_memql"))
}

#[test]
fn version_and_help_go_to_stdout() {
    for flag in ["--version", "--help"] {
        let out = memql_command().arg(flag).output().expect("run memql");
        assert!(out.status.success() && out.stderr.is_empty() && !out.stdout.is_empty(), "{flag}: {out:?}");
    }
}

#[test]
fn lists_tracepoints_by_pattern() {
    need!(machine::root());
    let out = memql::run(["-l", "tracepoint:oom:*"]).output();
    assert!(out.lines().any(|l| l == "tracepoint:oom:mark_victim"), "{out}");
    assert!(out.lines().all(|l| l.starts_with("tracepoint:oom:")), "{out}");
}

#[test]
fn lists_arguments_on_request() {
    need!(machine::root());
    let out = memql::run(["-lv", "tracepoint:syscalls:sys_enter_shmget"]).output();
    let words: Vec<Vec<&str>> = out.lines().map(|l| l.split_whitespace().collect()).collect();
    for field in [["key_t", "key"], ["size_t", "size"], ["int", "shmflg"]] {
        assert!(words.iter().any(|w| *w == field), "{field:?} is missing in:\n{out}");
    }
}

#[test]
fn check_needs_no_root_and_runs_nothing() {
    let out = memql::run(["--check", "-e", r#"begin { printf("no\n"); }"#]).output();
    assert_eq!(out, "");
    let ended = memql::run(["--check", "-e", "begin { printf(\"%d\\n\", nothing_known); }"]);
    assert_eq!(ended.code(), 1);
}

#[test]
fn every_stage_can_be_printed() {
    for stage in ["ast", "ir", "asm"] {
        let out = memql::run(["--emit", stage, "-e", r#"begin { @x = 1; printf("hi\n"); }"#]).output();
        assert!(!out.is_empty(), "--emit {stage} printed nothing");
    }
    let elf = memql_command().args(["--emit", "elf", "-e", "begin { @x = 1; }"]).output().expect("run memql");
    assert!(elf.status.success() && elf.stdout.starts_with(b"\x7fELF"), "{:?}", elf.stderr);
}

#[test]
fn info_speaks_of_this_kernel() {
    need!(machine::root());
    let out = memql::run(["--info"]).output();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel has a release");
    assert!(out.contains(release.trim()), "{out}");
    for row in ["tracepoint", "uprobe", "btf", "loop"] {
        assert!(out.lines().any(|line| line.contains(row)), "no row `{row}` in:\n{out}");
    }
}

#[test]
fn output_can_go_to_a_file() {
    need!(machine::root());
    let path =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("output-{}", std::process::id()));
    let file = path.to_str().expect("the path is text");
    let out = memql::run(["-o", file, "-e", r#"begin { printf("to the file\n"); exit(); }"#]).output();
    assert_eq!(out, "");
    assert_eq!(std::fs::read_to_string(&path).expect("read the output file"), "to the file\n\n\n");
    std::fs::remove_file(path).expect("remove the output file");
}

#[test]
fn json_is_one_object_a_line() {
    need!(machine::root());
    let script = r#"begin { printf("a\"b\n"); print((1, "x")); @m["k"] = 5; @h = hist(4); exit(); }"#;
    let out = memql::run(["-f", "json", "-e", script]).output();
    let mut lines: Vec<&str> = out.lines().filter(|l| !l.contains("attached_probes")).collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            r#"{"type": "hist", "data": {"@h": [{"min": 4, "max": 7, "count": 1}]}}"#,
            r#"{"type": "map", "data": {"@m": {"k": 5}}}"#,
            r#"{"type": "printf", "data": "a\"b\n"}"#,
            r#"{"type": "value", "data": [1,"x"]}"#,
        ]
    );
}

#[test]
fn the_script_may_come_from_stdin() {
    need!(machine::root());
    let mut child = memql_command()
        .args(["-q", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run memql");
    child
        .stdin
        .take()
        .expect("stdin is piped")
        .write_all(b"begin { printf(\"piped\\n\"); exit(); }")
        .expect("write");
    let out = child.wait_with_output().expect("wait for memql");
    assert_eq!(String::from_utf8_lossy(&out.stdout), "piped\n\n\n");
}

#[test]
fn a_script_may_be_executable() {
    need!(machine::root());
    let folder =
        std::path::Path::new(env!("CARGO_BIN_EXE_memql")).parent().expect("the binary is in a folder");
    let path = std::env::join_paths([folder, "/usr/bin".as_ref(), "/bin".as_ref()]).expect("a PATH");
    let out = Command::new(programs::script("shmsnoop.mq"))
        .arg("--help")
        .env("PATH", path)
        .output()
        .expect("run the script");
    assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains("--timestamp"), "{out:?}");
}

#[test]
fn a_closed_pipe_ends_the_run_quietly() {
    need!(machine::root());
    let mut child = memql_command()
        .args(["-q", "-e", r#"interval:ms:1 { printf("again\n"); }"#])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run memql");
    let mut stdout = child.stdout.take().expect("stdout is piped");
    std::io::Read::read_exact(&mut stdout, &mut [0; 6]).expect("read a line");
    drop(stdout);
    let out = child.wait_with_output().expect("wait for memql");
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    for args in [&["--no-such-flag"][..], &["-f", "xml", "-e", "begin { }"], &[]] {
        let out = memql_command().args(args).stdin(Stdio::null()).output().expect("run memql");
        assert_eq!(out.status.code(), Some(2), "{args:?}: {out:?}");
        assert!(!out.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn a_file_that_does_not_exist_is_named() {
    let ended = memql::run(["no/such/script.mq"]);
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("no/such/script.mq"), "{}", ended.stderr);
}

#[test]
fn shipped_scripts_compile() {
    need!(machine::root());
    for entry in std::fs::read_dir(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts"))
        .expect("read scripts/")
    {
        let path = entry.expect("read scripts/").path();
        let out = memql::run(["--check".as_ref(), path.as_os_str()]);
        assert!(out.status.success(), "{}:\n{}", path.display(), out.stderr);
    }
}

#[test]
fn a_script_of_begin_and_end_alone_ends_by_itself() {
    need!(machine::root());
    let out =
        memql::run(["-e", r#"begin { printf("first"); @x = 1; } end { printf(", last\n"); }"#]).output();
    assert_eq!(out, "first, last\n\n\n@x: 1\n");
}

#[test]
fn what_begin_prints_comes_after_the_word_that_all_is_attached() {
    need!(machine::root());
    let script = r#"begin { printf("first\n"); } interval:ms:10 { exit(); }"#;
    let out = memql_command().args(["-f", "json", "-e", script]).output().expect("run memql");
    assert_eq!(
        String::from_utf8_lossy(&out.stdout).lines().collect::<Vec<_>>(),
        [
            r#"{"type": "attached_probes", "count": 2, "data": {"probes": 2}}"#,
            r#"{"type": "printf", "data": "first\n"}"#
        ]
    );
}

#[test]
fn the_probes_of_a_script_are_listed_without_running_it() {
    need!(machine::root());
    let script = r#"
        begin { printf("no\n"); }
        interval:ms:10, hardware:cache-misses:10 { }
        tracepoint:oom:mark_* { }"#;
    let out = memql::run(["-l", "-e", script]).output();
    assert_eq!(out, "interval:ms:\nhardware:cache-misses:\ntracepoint:oom:mark_victim\n");
    let out = memql::run(["-l", &programs::script("shmsnoop.mq")]).output();
    assert!(out.lines().any(|line| line == "tracepoint:syscalls:sys_enter_shmget"), "{out}");
}

#[test]
fn a_dry_run_attaches_and_runs_nothing() {
    need!(machine::root());
    let script =
        r#"begin { printf("no\n"); } tracepoint:syscalls:sys_enter_getppid { } end { printf("no\n"); }"#;
    assert_eq!(memql::run(["--dry-run", "-e", script]).output(), "");
}

#[test]
fn only_probes_whose_name_matches_are_attached() {
    need!(machine::root());
    let script = r#"begin { printf("begin\n"); } interval:ms:20 { printf("20\n"); exit(); } interval:ms:1 { printf("1\n"); }"#;
    assert_eq!(memql::run(["--probe-filter", "ms:2.", "-e", script]).output(), "begin\n20\n");
    let ended = memql::run(["--probe-filter", "uprobe", "-e", "interval:ms:20 { }"]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (1, ""));
    assert_eq!(
        ended.stderr,
        "error: no probe's name matches `uprobe`\nhelp: names are like `interval:ms:20`\n"
    );
}

#[test]
fn the_object_can_be_kept_in_a_file() {
    let path =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("object-{}", std::process::id()));
    let file = path.to_str().expect("the path is text");
    assert_eq!(memql::run(["--emit-elf", file, "-e", "begin { @x = 1; }"]).output(), "");
    assert!(std::fs::read(&path).expect("read the object").starts_with(b"\x7fELF"));
    std::fs::remove_file(path).expect("remove the object");
}

#[test]
fn output_comes_in_each_mode_of_buffering() {
    need!(machine::root());
    for mode in ["line", "full", "none"] {
        let script = r#"begin { printf("a\n"); printf("b\n"); exit(); }"#;
        assert_eq!(memql::run(["-B", mode, "-e", script]).output(), "a\nb\n", "-B {mode}");
    }
}

#[test]
fn stages_can_be_looked_at_on_the_way() {
    need!(machine::root());
    let out = memql::run(["-d", "ast,asm", "-d", "verifier", "-e", r#"begin { printf("ran\n"); }"#]);
    assert_eq!(out.stdout, "ran\n");
    for part in ["spec \"begin\"", "p0_begin: raw_tp", "processed "] {
        assert!(out.stderr.contains(part), "`{part}` is missing in:\n{}", out.stderr);
    }
}

#[test]
fn warnings_can_be_left_out() {
    need!(machine::root());
    let args = ["-I", "/usr/include", "-e", r#"begin { printf("%s", str((uint64)1)); }"#];
    let with = memql_command().args(args).output().expect("run memql");
    let with = String::from_utf8_lossy(&with.stderr);
    assert!(with.contains("-I") && with.contains("memory failed"), "{with}");
    let without = memql::run(["--no-warnings"].into_iter().chain(args));
    assert_eq!(without.stderr, "");
}

#[test]
fn what_bpftrace_has_and_memql_does_not_says_what_to_use() {
    for (flag, instead) in [("--emit-llvm", "--emit ir"), ("--aot", "--emit-elf")] {
        let ended = memql::run([flag, "file", "-e", "begin { }"]);
        assert_eq!(ended.code(), 2);
        assert!(ended.stderr.contains(instead), "{}", ended.stderr);
    }
}

#[test]
fn flags_that_contradict_each_other_are_wrong_usage() {
    for args in [&["-k", "--no-warnings"][..], &["-p", "1", "-c", "true"]] {
        let ended = memql::run(args.iter().chain(&["-e", "begin { }"]));
        assert_eq!(ended.code(), 2, "{}", ended.stderr);
        assert!(ended.stderr.contains("cannot be used together"), "{}", ended.stderr);
    }
}

#[test]
fn a_script_is_printed_in_one_style() {
    let script = "begin{printf(\"%d\\n\",1+2);exit();} // once";
    for flags in [vec!["--fmt"], vec!["--mode", "format"]] {
        let out = memql::run(flags.into_iter().chain(["-e", script])).output();
        assert_eq!(out, "begin { printf(\"%d\\n\", 1 + 2); exit(); } // once\n");
    }
}

#[test]
fn a_pattern_after_list_is_no_cluster_of_flags() {
    need!(machine::root());
    let out = memql::run(["--no-warnings", "-l", "fentry:vfs_read"]).output();
    assert_eq!(out, "fentry:vmlinux:vfs_read\n");
}

#[test]
fn of_several_programs_the_last_one_runs_and_that_is_said() {
    need!(machine::root());
    let args = ["-e", r#"begin { printf("one\n"); }"#, "-e", r#"begin { printf("two\n"); }"#];
    let out = memql_command().args(args).output().expect("run memql");
    assert!(String::from_utf8_lossy(&out.stdout).starts_with("two\n"), "{out:?}");
    let told = "warning: -e was given more than once: only the last program is run\n";
    assert!(String::from_utf8_lossy(&out.stderr).starts_with(told), "{out:?}");
}

#[test]
fn warnings_of_run_time_say_where_in_the_script_something_was_lost() {
    need!(machine::root());
    let script = r#"begin {
    $x = str(uptr((uint64)1));
    $y = *(uint64 *)uptr((uint64)2) + *(uint64 *)uptr((uint64)3);
    printf("%s %d\n", $x, $y);
}"#;
    let ended = memql::run(["-k", "-e", script]);
    let places: Vec<&str> = ended.stderr.lines().filter(|line| line.contains("┌─")).map(str::trim).collect();
    assert_eq!(places, ["┌─ -e:2:10", "┌─ -e:3:10", "┌─ -e:3:39"], "{}", ended.stderr);
    let without = memql::run(["-e", script]);
    assert!(without.stderr.contains("3 reads of user memory failed"), "{}", without.stderr);
    assert!(!without.stderr.contains("┌─"), "{}", without.stderr);
}
