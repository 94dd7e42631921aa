//! memleak: what it adds to a malloc/free pair, how fast it comes and goes, what it takes for many blocks.

use std::path::Path;
use std::time::Duration;

use crate::loads::{self, Load};
use crate::startup::left_out;
use crate::table::Table;
use crate::tools::{self, Running, Tool, ms, names};

/// Pairs of a round, and those that go before it.
const PAIRS: &str = "50000";
const WARM_UP: &str = "1000";

/// Blocks held, and stacks they come from.
const BLOCKS: &str = "1000000";
const STACKS: &str = "100000";

/// Seconds between reports: libbpf-tools' memleak does not say when it is attached. Its first report comes an interval
/// later.
const SHORT: u64 = 1;
/// None comes while pairs are measured.
const LONG: u64 = 8;
/// None comes while a million blocks are allocated.
const LONGEST: u64 = 40;

pub fn measure(rounds: usize) -> Vec<Table> {
    let tools: Vec<Tool> = [Some(tools::memql()), tools::peer("memleak")].into_iter().flatten().collect();
    let names = names(&tools);
    let mut pair = Table::new("memleak: time added to a malloc/free pair", "ns", &names);
    let mut phases = Table::new("memleak: from start to attached, from Ctrl-C to the end", "ms", &names);
    let pairs = loads::compiled("pairs");
    for _ in 0..rounds {
        for tool in &tools {
            let mut load = Load::start(&pairs, &["0"]);
            load.said();
            match Memleak::start(tool, load.pid(), None, SHORT) {
                Ok(Memleak { running, attached }) => {
                    phases.add("start to attached", tool.name, ms(attached));
                    phases.add("Ctrl-C to the end", tool.name, ms(running.interrupt().0));
                }
                Err(said) => left_out(tool.name, "start to attached", &said),
            }
            for (row, sample) in [("every block", None), ("1 in 100", Some("100"))] {
                let mut load = Load::start(&pairs, &["0"]);
                load.said();
                load.ask("");
                let plain = nanoseconds(&mut load, PAIRS);
                match Memleak::start(tool, load.pid(), sample, LONG) {
                    Ok(Memleak { running, .. }) => {
                        nanoseconds(&mut load, WARM_UP);
                        pair.add(row, tool.name, nanoseconds(&mut load, PAIRS) - plain);
                        running.interrupt();
                    }
                    Err(said) => left_out(tool.name, row, &said),
                }
            }
        }
    }
    let mut many = Table::new("memleak: a million blocks of 100,000 stacks", "ms, MB", &names);
    for tool in &tools {
        let mut load = Load::start(&pairs, &[BLOCKS, STACKS]);
        load.said();
        match Memleak::start(tool, load.pid(), None, LONGEST) {
            Ok(Memleak { running, .. }) => {
                load.ask("");
                let (end, run) = running.interrupt();
                many.add("Ctrl-C to the end, with a report (ms)", tool.name, ms(end));
                many.add("peak memory (MB)", tool.name, run.memory as f64 / 1e6);
            }
            Err(said) => left_out(tool.name, "a million blocks", &said),
        }
    }
    vec![pair, phases, many]
}

fn nanoseconds(load: &mut Load, pairs: &str) -> f64 {
    load.ask(pairs).parse().expect("it says nanoseconds")
}

/// A memleak that is attached, and how long that took.
struct Memleak {
    running: Running,
    attached: Duration,
}

impl Memleak {
    fn start(tool: &Tool, pid: u32, sample: Option<&str>, interval: u64) -> Result<Memleak, String> {
        let (pid, seconds) = (pid.to_string(), interval.to_string());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/memleak.mq");
        let script = script.to_string_lossy();
        let mut args = if tool.name == "memql" { vec![&*script] } else { Vec::new() };
        args.extend(["-p", &pid]);
        args.extend(sample.into_iter().flat_map(|n| ["-s", n]));
        args.push(&seconds);
        let mut running = tool.start(args);
        let attached = match tool.name {
            "memql" => running.until_attached()?,
            _ => running.until("outstanding allocations")?.saturating_sub(Duration::from_secs(interval)),
        };
        Ok(Memleak { running, attached })
    }
}
