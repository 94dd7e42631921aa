//! `iter`: what the kernel has is visited once, compared with what /proc says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::need;
use crate::support::{machine, memql, programs, text, trigger::Trigger};

/// Root, and a kernel with this iterator.
fn iterator(name: &str) -> Result<(), String> {
    machine::root()?;
    let ended = memql::run(["-l", &format!("iter:{name}")]);
    if ended.status.success() { Ok(()) } else { Err(format!("this kernel has no iterator `{name}`")) }
}

#[test]
fn each_thread_of_a_process_is_visited_once() {
    need!(iterator("task"));
    let threads = need!(programs::program("threads"));
    let trigger = Trigger::start(&threads, &["4", "100", "24", "0"]);
    let script = "iter:task { @n = count(); @[ctx.task.pid] = count(); }";
    let out = memql::run(["-p", &trigger.pid(), "-e", script]).output();
    let tasks = fs::read_dir(format!("/proc/{}/task", trigger.pid())).expect("list the threads");
    let mut expected: Vec<String> =
        tasks.map(|task| format!("@[{}]: 1", task.expect("a thread").file_name().display())).collect();
    expected.push(format!("@n: {}", expected.len()));
    assert_eq!(
        text::lines(&out).into_iter().collect::<BTreeSet<_>>(),
        expected.iter().map(String::as_str).collect()
    );
}

#[test]
fn memory_areas_are_those_of_the_process() {
    need!(iterator("task_vma"));
    let calls = need!(programs::program("calls"));
    let trigger = Trigger::start(&calls, &["getppid", "1"]);
    let script = r#"iter:task_vma {
        printf("%lx-%lx %s\n", ctx.vma.vm_start, ctx.vma.vm_end, path(ctx.vma.vm_file.f_path));
    }"#;
    let out = memql::run(["-p", &trigger.pid(), "-e", script]).output();
    let maps = fs::read_to_string(format!("/proc/{}/maps", trigger.pid())).expect("read the areas");
    // The kernel shows a page of its own in every process.
    let areas = maps.lines().filter(|line| !line.ends_with("[vsyscall]")).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let file = words.get(5).filter(|name| name.starts_with('/')).copied().unwrap_or_default();
        format!(
            "{} {file}",
            words[0].split('-').map(|a| a.trim_start_matches('0')).collect::<Vec<_>>().join("-")
        )
    });
    assert_eq!(text::lines(&out), areas.collect::<Vec<_>>());
}

#[test]
fn open_files_are_those_of_the_process() {
    need!(iterator("task_file"));
    let calls = need!(programs::program("calls"));
    let trigger = Trigger::start(&calls, &["getppid", "1"]);
    let script = r#"iter:task_file { printf("%d %s\n", ctx.fd, path(ctx.file.f_path)); }"#;
    let out = memql::run(["-p", &trigger.pid(), "-e", script]).output();
    let folder = format!("/proc/{}/fd", trigger.pid());
    let files = fs::read_dir(&folder).expect("list the files").map(|entry| {
        let fd = entry.expect("a file").file_name().display().to_string();
        let name = fs::read_link(Path::new(&folder).join(&fd)).expect("where it leads");
        format!("{fd} {}", name.display())
    });
    assert_eq!(text::sorted(&out), text::sorted(&files.collect::<Vec<_>>().join("\n")));
}

#[test]
fn what_many_objects_print_is_not_lost() {
    need!(iterator("ksym"));
    // Some 100,000 symbols, each an event of a kilobyte: many times what the ring buffer holds.
    let script = r#"iter:ksym { @n = count(); printf("%s\n", str(ctx.ksym.name)); }"#;
    let out = memql::run(["-e", script]).output();
    let lines = text::lines(&out);
    let (last, symbols) = lines.split_last().expect("a line at least");
    assert_eq!(*last, format!("@n: {}", symbols.len()));
    assert!(symbols.len() > 10_000 && symbols.contains(&"vfs_read"), "{} symbols", symbols.len());
}

#[test]
fn a_run_of_iterators_ends_by_itself() {
    need!(iterator("task"));
    let script = r#"end { printf("end\n"); } iter:task /ctx.task.pid == 2/ { printf("2\n"); } begin { printf("begin\n"); }
        iter:task /ctx.task.pid == 2/ { printf("again\n"); }"#;
    assert_eq!(memql::run(["-e", script]).output(), "begin\n2\nagain\nend\n");
}

#[test]
fn beside_other_probes_an_iterator_runs_first_and_the_run_goes_on() {
    need!(iterator("task"));
    let script = r#"interval:ms:1 { printf("%d\n", len(@) > 0); exit(); } iter:task { @[ctx.task.pid] = 1; } end { clear(@); }"#;
    assert_eq!(memql::run(["-e", script]).output(), "1\n");
}

#[test]
fn exit_ends_the_run_after_the_last_object() {
    need!(iterator("task"));
    let script = r#"iter:task { @n = count(); printf("printf\n"); print("print"); exit(3); } iter:task { print("not reached"); }
        end { print(@n); clear(@n); }"#;
    let ended = memql::run(["-e", script]);
    assert_eq!(ended.code(), 3, "{}", ended.stderr);
    let lines = text::lines(&ended.stdout);
    // As in bpftrace, where `printf` of an iterator is the text of a file.
    assert_eq!(lines.iter().filter(|line| **line == "print").count(), 1);
    let printed = lines.iter().filter(|line| **line == "printf").count();
    assert!(printed > 2, "{printed} tasks");
    assert_eq!(lines.last().map(|line| line.to_string()), Some(format!("@n: {printed}")));
}

#[test]
fn the_objects_context_is_there_in_loops_too() {
    need!(iterator("task_file"));
    let calls = need!(programs::program("calls"));
    let trigger = Trigger::start(&calls, &["getppid", "1"]);
    let script = r#"iter:task_file /ctx.fd == 0/ {
        for ($i : 0..100) { if ($i == 99) { printf("%d %s\n", ctx.task.tgid, path(ctx.file.f_path)); } }
    }"#;
    let out = memql::run(["-p", &trigger.pid(), "-e", script]).output();
    let file = fs::read_link(format!("/proc/{}/fd/0", trigger.pid())).expect("where it leads");
    assert_eq!(out, format!("{} {}\n", trigger.pid(), file.display()));
}

#[test]
fn a_pinned_iterator_is_a_file_that_outlives_the_run() {
    need!(iterator("task"));
    let memql = env!("CARGO_BIN_EXE_memql");
    let script = r#"iter:task:tasks /ctx.task.pid == 2/ { printf("%-12s|%4d|%x%%\n", ctx.task.comm, ctx.task.pid, (uint64)-1); }"#;
    // A mount of the test's own: nothing is left behind.
    let line = format!(
        "mount -t bpf none /sys/fs/bpf && {memql} -q -e '{script}' && cat /sys/fs/bpf/tasks /sys/fs/bpf/tasks && \
         {memql} -q -e '{script}'"
    );
    let out = Command::new("unshare").args(["-m", "sh", "-c", &line]).output().expect("run unshare");
    let row = "kthreadd    |   2|ffffffffffffffff%\n";
    let stdout = String::from_utf8_lossy(&out.stdout);
    assert_eq!(stdout, format!("Program pinned to /sys/fs/bpf/tasks\n\n\n{row}{row}"));
    assert_eq!(
        String::from_utf8_lossy(&out.stderr),
        "error: cannot pin `iter:task:tasks` to `/sys/fs/bpf/tasks`: file exists (EEXIST)\n\
         help: remove the file that is there: `rm /sys/fs/bpf/tasks`\n"
    );
}

#[test]
fn perf_events_and_user_functions_have_their_registers() {
    need!(machine::uprobes());
    let calls = need!(programs::program("calls"));
    let script = format!(
        r#"uprobe:{}:six_args {{ @[ctx.di == arg0, ctx.ip == reg("ip")] = count(); }}"#,
        calls.display()
    );
    let mut trigger = Trigger::start(&calls, &["args", "5"]);
    let tracing = memql::attached(["-p", &trigger.pid(), "-e", &script]);
    trigger.work();
    assert_eq!(text::lines(&tracing.stop().output()), ["@[true, true]: 5"]);
    let script =
        r#"profile:hz:99 { printf("%d %d\n", ctx.regs.ip == reg("ip"), ctx.regs.sp == reg("sp")); exit(); }"#;
    assert_eq!(memql::run(["-e", script]).output(), "1 1\n");
}
