//! Printed events: how many a second, what is lost of a flood, and what one costs in user space.

use std::time::Instant;

use crate::loads;
use crate::startup::left_out;
use crate::table::Table;
use crate::tools::{self, names};

const SCRIPT: &str = r#"tracepoint:syscalls:sys_enter_getppid { printf("%d %s\n", tid, comm); }"#;

/// Calls of a flood.
const CALLS: u64 = 2_000_000;

pub fn measure(rounds: usize) -> Vec<Table> {
    let tools = tools::speakers();
    let names = names(&tools);
    let calls = loads::compiled("calls");
    let mut rate = Table::new("a flood of 2,000,000 events: printed per second", "events/s", &names);
    let mut printed = Table::new("a flood of 2,000,000 events: printed in all", "%", &names);
    let mut cpu = Table::new("user CPU per million printed events", "ms", &names);
    for _ in 0..rounds {
        for tool in &tools {
            let mut running = tool.script(SCRIPT);
            if let Err(said) = running.until_attached() {
                left_out(tool.name, "flood", &said);
                continue;
            }
            let started = Instant::now();
            let status = std::process::Command::new(&calls).arg(CALLS.to_string()).output();
            assert!(status.expect("the load runs").status.success());
            let (_, run) = running.interrupt();
            let seconds = started.elapsed().as_secs_f64();
            let lines = run.output.lines().filter(|line| line.ends_with(" bench-calls")).count() as f64;
            rate.add("printf of two values", tool.name, lines / seconds);
            printed.add("printf of two values", tool.name, 100.0 * lines / CALLS as f64);
            cpu.add("printf of two values", tool.name, run.user.as_secs_f64() * 1e9 / lines);
        }
    }
    vec![rate, printed, cpu]
}
