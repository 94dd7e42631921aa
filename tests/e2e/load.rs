//! Under load: millions of events from several threads at once, and every single one is accounted for.

use crate::need;
use crate::support::{machine, memql, programs::program, text, trigger::Trigger};

/// Events of the tests: `THREADS` threads send `EACH`.
const THREADS: u64 = 4;
const EACH: u64 = 250_000;
const ALL: u64 = THREADS * EACH;

/// Traces a million system calls.
fn traced(args: &[&str], script: &str) -> Result<memql::Ended, String> {
    machine::root()?;
    let mut trigger = Trigger::start(&program("many")?, &[&THREADS.to_string(), &EACH.to_string()]);
    let pid = trigger.pid();
    let tracing = memql::attached(["-p", pid.as_str(), "-e", script].iter().chain(args));
    trigger.work();
    Ok(tracing.stop())
}

/// The sum of the numbers after `before` in the lines that have it.
fn sum_after(text: &str, before: &str) -> u64 {
    let numbers = text.lines().filter_map(|line| line.split_once(before)).map(|(_, rest)| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap_or_else(|_| panic!("no number after `{before}` in `{rest}`"))
    });
    numbers.sum()
}

const EACH_CALL: &str = r#"tracepoint:syscalls:sys_enter_getppid { printf("called by %d\n", tid); }"#;

#[test]
fn a_million_lines_are_printed_or_told_as_lost() {
    let ended = need!(traced(&[], EACH_CALL));
    assert!(ended.status.success(), "{}", ended.stderr);
    let printed = ended.stdout.lines().filter(|line| line.starts_with("called by ")).count() as u64;
    let lost = sum_after(&ended.stderr, "Lost ");
    assert_eq!(printed + lost, ALL, "{printed} printed, {lost} lost; stderr:\n{}", ended.stderr);
}

#[test]
fn a_million_lines_are_printed_or_told_as_lost_in_json() {
    let ended = need!(traced(&["-f", "json"], EACH_CALL));
    assert!(ended.status.success(), "{}", ended.stderr);
    let printed = ended.stdout.lines().filter(|line| line.contains(r#""type": "printf""#)).count() as u64;
    let lost = sum_after(&ended.stdout, r#""lost_events", "count": "#);
    assert_eq!(printed + lost, ALL, "{printed} printed, {lost} lost; stderr:\n{}", ended.stderr);
}

#[test]
fn a_small_ring_buffer_loses_more_and_still_tells_all() {
    let script = format!("config = {{ perf_rb_pages = 1 }} {EACH_CALL}");
    let ended = need!(traced(&[], &script));
    let printed = ended.stdout.lines().filter(|line| line.starts_with("called by ")).count() as u64;
    let lost = sum_after(&ended.stderr, "Lost ");
    assert_eq!(printed + lost, ALL, "{printed} printed, {lost} lost; stderr:\n{}", ended.stderr);
}

#[test]
fn what_maps_add_up_is_exact_to_the_last_event() {
    let script = "tracepoint:syscalls:sys_enter_getppid {
        @n++; @m += 3; @count = count(); @sum = sum(2); @hist = hist(8);
        @k_n[0]++; @k_m[1] += 3; @k_count[2] = count(); @k_sum[3] = sum(2);
        @by[tid] = count();
    }";
    let out = need!(traced(&[], script)).output();
    let mut expected = vec![
        format!("@n: {ALL}"),
        format!("@m: {}", 3 * ALL),
        format!("@count: {ALL}"),
        format!("@sum: {}", 2 * ALL),
        "@hist:".to_string(),
        format!("[8, 16)          {ALL} |{}|", "@".repeat(52)),
        format!("@k_n[0]: {ALL}"),
        format!("@k_m[1]: {}", 3 * ALL),
        format!("@k_count[2]: {ALL}"),
        format!("@k_sum[3]: {}", 2 * ALL),
    ];
    let mut lines = text::lines(&out);
    let by_thread = |line: &&str| line.starts_with("@by[") && line.ends_with(&format!("]: {EACH}"));
    assert_eq!(lines.iter().copied().filter(|line| by_thread(line)).count() as u64, THREADS, "{out}");
    lines.retain(|line| !by_thread(line));
    lines.sort_unstable();
    expected.sort();
    assert_eq!(lines, expected);
}

#[test]
fn each_event_gets_a_number_of_its_own() {
    // 0 + 1 + ... + (ALL - 1), whichever CPU counts
    let script = "tracepoint:syscalls:sys_enter_getppid { $n = @n++; @sum = sum($n); }";
    let out = need!(traced(&[], script)).output();
    assert_eq!(text::lines(&out), [format!("@n: {ALL}"), format!("@sum: {}", ALL * (ALL - 1) / 2)]);
}
