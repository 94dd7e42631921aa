//! scripts/memleak.mq: on programs that leak known numbers of known blocks, the report says exactly
//! that.

use crate::need;
use crate::support::{machine, memql, programs, text, trigger::Trigger};

/// One line of a report: bytes, allocations, and the function on top of its stack that is the
/// program's own (frames of the allocator's library and of libstdc++ come before it).
type Leak = (u64, u64, String);

/// The last report that memql printed; stacks that do not touch `program` are left out (the C
/// library's own, such as a thread's stack).
fn leaks(out: &str, program: &str) -> Vec<Leak> {
    let report =
        out.rfind("stacks with outstanding allocations:\n").unwrap_or_else(|| panic!("no report in:\n{out}"));
    let mut leaks = Vec::new();
    let mut head = None;
    for line in out[report..].lines().skip(1) {
        if let Some((bytes, rest)) = line.trim().split_once(" bytes in ") {
            let allocations =
                rest.strip_suffix(" allocations from stack").unwrap_or_else(|| panic!("{line}"));
            head = Some((bytes.parse().expect(line), allocations.parse().expect(line)));
        } else if line.ends_with(&format!(" [{program}]"))
            && let Some((bytes, allocations)) = head.take()
        {
            let (function, offset) = line.trim().rsplit_once("+0x").unwrap_or_else(|| panic!("{line}"));
            assert!(offset.bytes().take_while(u8::is_ascii_hexdigit).count() > 0, "{line}");
            leaks.push((bytes, allocations, function.to_string()));
        }
    }
    leaks
}

fn leak(bytes: u64, allocations: u64, function: &str) -> Leak {
    (bytes, allocations, function.into())
}

/// Runs the program with memleak attached from its step `start` to its step `done`.
fn attached_to(program: &str, args: &[&str]) -> Result<Vec<Leak>, String> {
    machine::uprobes()?;
    let path = programs::program(program)?;
    let mut trigger = Trigger::start(&path, args);
    let tracing =
        memql::attached([&programs::script("memleak.mq"), "-p", &trigger.pid(), "-o", "0", "--top", "100"]);
    trigger.work();
    let leaks = leaks(&tracing.stop().output(), program);
    trigger.end();
    Ok(leaks)
}

/// Runs the command under memleak from its first instruction to its last; `program` is whose stacks
/// count.
fn started(command: &str, program: &str) -> Vec<Leak> {
    let script = programs::script("memleak.mq");
    leaks(&memql::run([script.as_str(), "-c", command, "--top", "100"]).output(), program)
}

#[test]
fn says_exactly_what_a_process_leaks() {
    let leaks = need!(attached_to("leak", &["10", "4096", "1000"]));
    assert_eq!(leaks, [leak(40960, 10, "leak_block")]);
}

#[test]
fn says_exactly_what_a_command_leaks() {
    need!(machine::uprobes());
    let program = need!(programs::program("leak"));
    let leaks = started(&format!("{} 123 77 1000", program.display()), "leak");
    assert_eq!(leaks, [leak(123 * 77, 123, "leak_block")]);
}

#[test]
fn ten_million_blocks_of_eight_threads_hide_nothing() {
    // Each thread frees the blocks of another: 8 * 1,250,000, amid 8 * 1234 that stay.
    let leaks = need!(attached_to("threads", &["8", "1234", "32", "1250000"]));
    let of_threads: Vec<_> = leaks.into_iter().filter(|(_, _, function)| function != "main").collect();
    assert_eq!(of_threads, [leak(8 * 1234 * 32, 8 * 1234, "leak_in_thread")]);
}

#[test]
fn a_realloc_moves_the_block_and_a_failed_one_keeps_it() {
    let leaks = need!(attached_to("realloc", &[]));
    assert_eq!(
        leaks,
        [leak(65536, 1, "grow"), leak(500, 1, "refused"), leak(100, 1, "shrink"), leak(77, 1, "from_0")]
    );
}

#[test]
fn aligned_blocks_count_with_the_size_asked_for() {
    let leaks = need!(attached_to("aligned", &[]));
    assert_eq!(
        leaks,
        [
            leak(5005, 1, "pvalloc_5005"),
            leak(4004, 1, "valloc_4004"),
            leak(3003, 1, "memalign_3003"),
            leak(2048, 1, "aligned_alloc_2048"),
            leak(1001, 1, "posix"),
        ]
    );
}

#[test]
fn calloc_and_reallocarray_count_members_times_size() {
    let leaks = need!(attached_to("zeroed", &[]));
    assert_eq!(
        leaks,
        [
            leak(7000, 1, "reallocarray_grown"),
            leak(3000, 1, "reallocarray_50x60"),
            leak(1200, 1, "calloc_30x40")
        ]
    );
}

#[test]
fn mappings_count_and_those_within_malloc_do_not_count_twice() {
    let leaks = need!(attached_to("mappings", &[]));
    assert_eq!(
        leaks,
        [
            leak(1000000, 1, "big_malloc"),
            leak(81920, 1, "map_grown"),
            leak(40960, 1, "map"),
            leak(12288, 1, "map"),
        ]
    );
}

#[test]
fn failed_calls_count_nothing() {
    let leaks = need!(attached_to("failed", &[]));
    assert_eq!(leaks, [leak(490, 7, "held_block")]);
}

#[test]
fn names_of_cpp_functions_are_demangled() {
    let leaks = need!(attached_to("zoo", &[]));
    assert_eq!(
        leaks,
        [
            leak(333, 1, "zoo::hatch(zoo::Animal const&, unsigned long)"),
            leak(240, 5, "zoo::Animal::operator new(unsigned long)"),
        ]
    );
}

#[test]
fn a_forked_child_changes_nothing() {
    let leaks = need!(attached_to("fork", &[]));
    assert_eq!(leaks, [leak(1000, 4, "parent_block")]);
}

#[test]
fn exec_throws_away_what_was_held() {
    need!(machine::uprobes());
    let (exec, program) = (need!(programs::program("exec")), need!(programs::program("leak")));
    let command = format!("{} {} 9 90 100", exec.display(), program.display());
    let out = memql::run([&programs::script("memleak.mq"), "-c", &command, "--top", "100"]).output();
    assert_eq!(leaks(&out, "leak"), [leak(810, 9, "leak_block")]);
    assert_eq!(leaks(&out, "exec"), []);
}

#[test]
fn a_shell_that_becomes_the_program_is_followed() {
    need!(machine::uprobes());
    let program = need!(programs::program("leak"));
    let leaks = started(&format!("sh -c 'exec {} 5 50 100'", program.display()), "leak");
    assert_eq!(leaks, [leak(250, 5, "leak_block")]);
}

#[test]
fn the_report_reads_as_documented() {
    need!(machine::uprobes());
    let program = need!(programs::program("leak"));
    let mut trigger = Trigger::start(&program, &["3", "32", "10"]);
    let tracing =
        memql::attached([&programs::script("memleak.mq"), "-p", &trigger.pid(), "-o", "0", "-T", "3"]);
    trigger.work();
    let out = text::hide_offsets(&text::hide_times(&tracing.stop().output()));
    let expected = "[HH:MM:SS] Top 3 stacks with outstanding allocations:\n  96 bytes in 3 allocations from stack\n    leak_block+OFF [leak]\n    main+OFF [leak]\n";
    assert!(out.starts_with(expected), "{out}");
}

#[test]
fn each_allocation_is_listed_on_request() {
    need!(machine::uprobes());
    let program = need!(programs::program("leak"));
    let mut trigger = Trigger::start(&program, &["3", "32", "10"]);
    let tracing = memql::attached([&programs::script("memleak.mq"), "-p", &trigger.pid(), "-o", "0", "-a"]);
    trigger.work();
    let out = tracing.stop().output();
    let listed = out.lines().filter(|l| l.starts_with("  addr = ") && l.ends_with(" size = 32")).count();
    assert_eq!(listed, 3, "{out}");
}

#[test]
fn sizes_outside_of_the_range_are_left_out() {
    need!(machine::uprobes());
    let program = need!(programs::program("zeroed"));
    let mut trigger = Trigger::start(&program, &[]);
    let script = programs::script("memleak.mq");
    let tracing =
        memql::attached([script.as_str(), "-p", &trigger.pid(), "-o", "0", "-z", "1201", "-Z", "6999"]);
    trigger.work();
    assert_eq!(leaks(&tracing.stop().output(), "zeroed"), [leak(3000, 1, "reallocarray_50x60")]);
}

#[test]
fn young_allocations_are_left_out() {
    need!(machine::uprobes());
    let program = need!(programs::program("leak"));
    let mut trigger = Trigger::start(&program, &["10", "100", "0"]);
    let tracing =
        memql::attached([&programs::script("memleak.mq"), "-p", &trigger.pid(), "--older", "3600000"]);
    trigger.work();
    assert_eq!(leaks(&tracing.stop().output(), "leak"), []);
}

#[test]
fn every_nth_allocation_is_recorded_with_a_sample_rate() {
    need!(machine::uprobes());
    let program = need!(programs::program("leak"));
    let mut trigger = Trigger::start(&program, &["100", "100", "0"]);
    let tracing =
        memql::attached([&programs::script("memleak.mq"), "-p", &trigger.pid(), "-o", "0", "-s", "10"]);
    trigger.work();
    assert_eq!(leaks(&tracing.stop().output(), "leak"), [leak(1000, 10, "leak_block")]);
}

#[test]
fn the_number_of_reports_can_be_given() {
    need!(machine::uprobes());
    let program = need!(programs::program("leak"));
    let trigger = Trigger::start(&program, &["1", "1", "0"]);
    let out = memql::run([&programs::script("memleak.mq"), "-p", &trigger.pid(), "1", "2"]).output();
    assert_eq!(out.matches("Top 10 stacks with outstanding allocations:").count(), 2, "{out}");
}

#[test]
fn json_has_the_report_as_rows() {
    need!(machine::uprobes());
    let program = need!(programs::program("leak"));
    let command = format!("{} 4 44 100", program.display());
    let out = memql::run([&programs::script("memleak.mq"), "-f", "json", "-c", &command]).output();
    let report = out
        .lines()
        .find(|l| l.contains(r#""type": "report""#))
        .unwrap_or_else(|| panic!("no report in:\n{out}"));
    assert!(
        report.contains(r#""bytes": 176"#)
            && report.contains(r#""allocations": 4"#)
            && report.contains("leak_block"),
        "{report}"
    );
}

#[test]
fn the_kernels_allocations_are_traced_without_a_process() {
    need!(machine::root());
    let tracing = memql::attached([&programs::script("memleak.mq"), "-o", "0"]);
    // Held while the report is made: an open pipe is kernel memory.
    let pipes: Vec<_> = (0..50).map(|_| std::io::pipe().expect("make a pipe")).collect();
    let ended = tracing.stop();
    drop(pipes);
    assert!(ended.status.success(), "{}", ended.stderr);
    let first = ended.stdout.lines().nth(1).unwrap_or_else(|| panic!("no stack in:\n{}", ended.stdout));
    assert!(first.contains(" bytes in ") && first.ends_with(" allocations from stack"), "{}", ended.stdout);
}

#[test]
fn callers_without_frame_pointers_are_found_by_unwind_tables() {
    need!(machine::uprobes());
    let program = need!(programs::frameless_program("leak"));
    let script = programs::script("memleak.mq");
    let stacks = |more: &[&str]| {
        let mut trigger = Trigger::start(&program, &["10", "4096", "10"]);
        let pid = trigger.pid();
        let tracing = memql::attached([&[script.as_str(), "-p", &pid, "-o", "0"], more].concat());
        trigger.work();
        tracing.stop().output()
    };
    let stack = |out: &str| -> Vec<String> {
        let report = &out[out.find("40960 bytes in 10 allocations").unwrap_or_else(|| panic!("{out}"))..];
        let frames = report.lines().skip(1).take_while(|line| line.starts_with("    "));
        frames.map(|line| line.trim().split('+').next().unwrap_or_default().to_owned()).collect()
    };
    let whole = stack(&stacks(&["--dwarf"]));
    assert_eq!(whole[..2], ["leak_block", "main"], "{whole:?}");
    assert_eq!(whole.last().map(String::as_str), Some("_start"), "{whole:?}");
    let cut = stack(&stacks(&[]));
    assert!(!cut.contains(&"_start".to_owned()), "{cut:?}");
}
