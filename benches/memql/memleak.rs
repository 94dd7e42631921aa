//! memleak: what it adds to a malloc/free pair, how fast it comes and goes, what it takes for many blocks.

use std::path::Path;

use crate::loads::{self, Load};
use crate::startup::left_out;
use crate::table::Table;
use crate::tools::{self, Running, Tool, ms, names};

/// Pairs of a round.
const PAIRS: &str = "100000";

/// Blocks held, and stacks they come from.
const BLOCKS: &str = "1000000";
const STACKS: &str = "100000";

pub fn measure(rounds: usize) -> Vec<Table> {
    let tools: Vec<Tool> = [Some(tools::memql()), tools::peer("memleak")].into_iter().flatten().collect();
    let names = names(&tools);
    let mut pair = Table::new("memleak: time added to a malloc/free pair", "ns", &names);
    let mut phases = Table::new("memleak: from start to attached, from Ctrl-C to the end", "ms", &names);
    let pairs = loads::compiled("pairs");
    for _ in 0..rounds {
        for tool in &tools {
            for (row, sample) in [("every block", None), ("1 in 100", Some("100"))] {
                let mut load = Load::start(&pairs, &["0"]);
                load.said();
                load.ask("");
                let plain: f64 = load.ask(PAIRS).parse().expect("it says nanoseconds");
                let mut running = start(tool, load.pid(), sample);
                match running.until(ready(tool)) {
                    Ok(time) if sample.is_none() => phases.add("start to attached", tool.name, ms(time)),
                    Ok(_) => {}
                    Err(said) => {
                        left_out(tool.name, row, &said);
                        continue;
                    }
                }
                let traced: f64 = load.ask(PAIRS).parse().expect("it says nanoseconds");
                let (end, _) = running.interrupt();
                pair.add(row, tool.name, traced - plain);
                if sample.is_none() {
                    phases.add("Ctrl-C to the end", tool.name, ms(end));
                }
            }
        }
    }
    let mut many = Table::new("memleak: a million blocks of 100,000 stacks", "ms, MB", &names);
    for tool in &tools {
        let mut load = Load::start(&pairs, &[BLOCKS, STACKS]);
        load.said();
        let mut running = start(tool, load.pid(), None);
        match running.until(ready(tool)) {
            Ok(_) => {
                load.ask("");
                let (end, run) = running.interrupt();
                many.add("Ctrl-C to the end (ms)", tool.name, ms(end));
                many.add("peak memory (MB)", tool.name, run.memory as f64 / 1e6);
            }
            Err(said) => left_out(tool.name, "a million blocks", &said),
        }
    }
    vec![pair, phases, many]
}

fn start(tool: &Tool, pid: u32, sample: Option<&str>) -> Running {
    let pid = pid.to_string();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/memleak.mq");
    let script = script.to_string_lossy();
    let mut args = if tool.name == "memql" { vec![&*script] } else { Vec::new() };
    args.extend(["-p", &pid]);
    args.extend(sample.into_iter().flat_map(|n| ["-s", n]));
    // Reports so seldom that none comes in between.
    args.push("1000");
    tool.start(args)
}

/// What a tool prints when it is attached.
fn ready(tool: &Tool) -> &'static str {
    if tool.name == "memql" { "ttached" } else { "Tracing outstanding memory allocs" }
}
