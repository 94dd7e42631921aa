//! watchpoint: memory that the processor watches, in all threads of a process.

use crate::need;
use crate::support::{machine, memql, programs::program, text, trigger::Trigger};

/// Traces four rounds of `watched` and gives what memql printed.
fn traced(script: &str) -> Result<String, String> {
    machine::breakpoints()?;
    let mut trigger = Trigger::start(&program("watched")?, &["4"]);
    let tracing = memql::attached(["-p", &trigger.pid(), "-e", script]);
    trigger.work();
    Ok(tracing.stop().output())
}

#[test]
fn writes_of_every_thread_are_seen() {
    let out = need!(traced("watchpoint:0x10000000:1:w { @[probe, comm] = count(); @threads[tid] = 1; }"));
    let lines = text::lines(&out);
    assert!(lines.contains(&"@[watchpoint:0x10000000:1:w, watched]: 4"), "{out}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("@threads")).count(), 3, "{out}");
}

#[test]
fn reads_are_seen_where_they_are_asked_for() {
    assert_eq!(text::lines(&need!(traced("w:0x10000000:1:rw { @ = count(); }"))), ["@: 8"]);
}
