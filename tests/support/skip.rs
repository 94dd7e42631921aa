//! Tests that cannot run on this machine say so and are counted.

use std::io::Write;

/// Notes that the running test is left out. The reason goes to stderr and, for the count that
/// `tests/run` closes with, as a line to the file that `MEMQL_SKIPS` names.
pub fn skipped(reason: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {reason}\n", thread.name().unwrap_or("a test"));
    eprint!("skipped: {line}");
    if let Some(path) = std::env::var_os("MEMQL_SKIPS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
        file.and_then(|mut f| f.write_all(line.as_bytes()))
            .unwrap_or_else(|e| panic!("cannot count a skipped test in {path:?}: {e}"));
    }
}
