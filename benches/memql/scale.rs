//! How time grows: with probes, with keys, with functions that a wildcard matches, with stacks.

use crate::loads::{self, Load};
use crate::startup::left_out;
use crate::table::Table;
use crate::tools::{self, ms, names};

pub fn measure(rounds: usize) -> Vec<Table> {
    vec![probes(rounds), keys(rounds), functions(rounds), stacks(rounds)]
}

fn probes(rounds: usize) -> Table {
    let mut table = Table::new("compiling a script of many probes", "ms", &["memql"]);
    for probes in [10, 100, 1000] {
        let one = |n| {
            format!("interval:s:{} {{ @a[pid, comm] = count(); @b{n} = hist(nsecs / {}); }}\n", n + 1, n + 1)
        };
        let script: String = (0..probes).map(one).collect();
        for _ in 0..rounds {
            let run = tools::memql().start(["--check", "-e", &script]).end();
            assert_eq!(run.output, "", "the script is right");
            table.add(&format!("{probes} probes"), "memql", ms(run.time));
        }
    }
    table
}

fn keys(rounds: usize) -> Table {
    let tools = tools::speakers();
    let mut table = Table::new("filling and printing a map", "ms", &names(&tools));
    for count in [100, 10_000, 1_000_000] {
        let script = format!("begin {{ for ($i : 0..{count}) {{ @[$i] = $i; }} exit(); }}");
        for _ in 0..rounds {
            for tool in &tools {
                let run = tool.large_script(&script).end();
                let lines = run.output.lines().filter(|line| line.starts_with("@[")).count();
                match lines == count {
                    true => table.add(&format!("{count} keys"), tool.name, ms(run.time)),
                    false => left_out(tool.name, "keys", &format!("{lines} of {count} keys were printed")),
                }
            }
        }
    }
    table
}

fn functions(rounds: usize) -> Table {
    let tools = tools::speakers();
    let mut table = Table::new("a wildcard of many functions", "ms", &names(&tools));
    let program = loads::functions(10_000);
    for (pattern, functions) in [("f123*", 11), ("f12*", 111), ("f1*", 1111), ("f*", 10_000)] {
        let script = format!("uprobe:{}:{pattern} {{ @ = count(); }}", program.display());
        for _ in 0..rounds {
            for tool in &tools {
                let mut running = tool.large_script(&script);
                match running.until_attached() {
                    Ok(time) => {
                        table.add(&format!("{functions}: start to attached"), tool.name, ms(time));
                        let (end, _) = running.interrupt();
                        table.add(&format!("{functions}: Ctrl-C to the end"), tool.name, ms(end));
                    }
                    Err(said) => left_out(tool.name, pattern, &said),
                }
            }
        }
    }
    table
}

/// Stacks of the C++ program, each of which is printed once.
const STACKS: usize = 10_000;

fn stacks(rounds: usize) -> Table {
    let tools = tools::speakers();
    let title = "10,000 stacks of a C++ program of 10,000 functions: Ctrl-C to the end";
    let mut table = Table::new(title, "ms, MB", &names(&tools));
    let program = loads::cpp_functions(10_000);
    let script = format!("uprobe:{}:leaf {{ @[ustack] = count(); }}", program.display());
    for _ in 0..rounds {
        for tool in &tools {
            let mut load = Load::start(&program, &[]);
            let mut running = tool.large_script(&script);
            if let Err(said) = running.until_attached() {
                left_out(tool.name, "stacks", &said);
                continue;
            }
            load.ask(&STACKS.to_string());
            let (end, run) = running.interrupt();
            let stacks = run.output.lines().filter(|line| line.starts_with("@[")).count();
            if stacks != STACKS {
                left_out(tool.name, "stacks", &format!("{stacks} of {STACKS} stacks were printed"));
                continue;
            }
            let named = run.output.lines().filter(|line| line.contains("node<")).count();
            assert!(named >= STACKS, "{} names functions: {named}", tool.name);
            table.add("time (ms)", tool.name, ms(end));
            table.add("peak memory (MB)", tool.name, run.memory as f64 / 1e6);
        }
    }
    table
}
