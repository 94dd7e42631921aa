//! Printed events: how many a second without loss, what is lost of a flood, and what one costs in user space.

use std::process::Command;
use std::time::Instant;

use crate::loads;
use crate::startup::left_out;
use crate::table::Table;
use crate::tools::{self, Run, Tool, names};

const SCRIPT: &str = r#"tracepoint:syscalls:sys_enter_getppid { printf("%d %s\n", tid, comm); }"#;
const ROW: &str = "printf of two values";

/// Calls of a flood.
const CALLS: u64 = 2_000_000;

/// Rates that are tried, in events a second, each for about a second: until one loses something.
const RATES: &[u64] =
    &[25_000, 50_000, 100_000, 200_000, 400_000, 600_000, 800_000, 1_000_000, 1_500_000, 2_000_000];

pub fn measure(rounds: usize) -> Vec<Table> {
    let tools = tools::speakers();
    let names = names(&tools);
    let mut lossless = Table::new("the highest rate of which nothing is lost", "events/s", &names);
    let mut rate = Table::new("a flood of 2,000,000 events: printed per second", "events/s", &names);
    let mut printed = Table::new("a flood of 2,000,000 events: printed in all", "%", &names);
    let mut cpu = Table::new("user CPU per million printed events", "ms", &names);
    for _ in 0..rounds {
        for tool in &tools {
            let mut highest = 0;
            for &rate in RATES {
                match flood(tool, rate, rate) {
                    Ok((_, run)) if lines(&run) == rate => highest = rate,
                    Ok(_) => break,
                    Err(said) => {
                        left_out(tool.name, "rate", &said);
                        break;
                    }
                }
            }
            lossless.add(ROW, tool.name, highest as f64);
            match flood(tool, CALLS, 0) {
                Ok((seconds, run)) => {
                    let lines = lines(&run) as f64;
                    rate.add(ROW, tool.name, lines / seconds);
                    printed.add(ROW, tool.name, 100.0 * lines / CALLS as f64);
                    cpu.add(ROW, tool.name, run.user.as_secs_f64() * 1e9 / lines);
                }
                Err(said) => left_out(tool.name, "flood", &said),
            }
        }
    }
    vec![lossless, rate, printed, cpu]
}

/// So many calls, at this rate (0: as fast as can be), while a tool prints each; the seconds from the first call to the tool's
/// end.
fn flood(tool: &Tool, calls: u64, rate: u64) -> Result<(f64, Run), String> {
    let mut running = tool.script(SCRIPT);
    running.until_attached()?;
    let started = Instant::now();
    let load = Command::new(loads::compiled("calls")).args([calls.to_string(), rate.to_string()]).output();
    assert!(load.expect("the load runs").status.success());
    let (_, run) = running.interrupt();
    Ok((started.elapsed().as_secs_f64(), run))
}

fn lines(run: &Run) -> u64 {
    run.output.lines().filter(|line| line.ends_with(" bench-calls")).count() as u64
}
