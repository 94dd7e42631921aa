//! From the command to its first event, with what that takes.

use std::path::Path;

use crate::loads::{self, Load};
use crate::table::Table;
use crate::tools::{self, Run, ms};

/// Scripts that end with their first event, which prints `hi`.
const SCRIPTS: &[(&str, &str)] = &[
    ("begin", r#"begin { printf("hi\n"); exit(); }"#),
    ("one tracepoint", r#"tracepoint:syscalls:sys_enter_getppid { printf("hi\n"); exit(); }"#),
    (
        "kernel types",
        r#"tracepoint:syscalls:sys_enter_getppid { printf("hi %d\n", curtask->real_parent->tgid); exit(); }"#,
    ),
    (
        "20 tracepoints",
        r#"tracepoint:sched:sched_s*, tracepoint:sched:sched_p*, tracepoint:sched:sched_w* { printf("hi\n"); exit(); }"#,
    ),
    ("uprobe:libc:*alloc*", r#"uprobe:libc:*alloc* { printf("hi\n"); exit(); }"#),
];

/// The same in ply's language.
const OF_PLY: &str = r#"BEGIN { printf("hi\n"); exit(0); }"#;

pub fn measure(rounds: usize) -> Vec<Table> {
    let (calls, pairs) = (loads::compiled("calls"), loads::compiled("pairs"));
    // Something happens all the time.
    let _calls = Load::start(&calls, &["0"]);
    let mut allocating = Load::start(&pairs, &["0"]);
    allocating.said();
    allocating.ask("");
    let all = tools::all();
    let mut tables = [("time", "ms"), ("CPU", "ms"), ("memory", "MB")].map(|(what, unit)| {
        Table::new(format!("start-up: {what} to the first event"), unit, &["memql", "bpftrace", "ply"])
    });
    for _ in 0..rounds {
        for (row, script) in SCRIPTS {
            for tool in &all {
                let script = match tool.name {
                    "ply" if *row == "begin" => OF_PLY,
                    "ply" | "memleak" => continue,
                    _ => script,
                };
                let mut running = tool.script(script);
                match running.until("hi") {
                    Ok(first) => {
                        let run = running.end();
                        let figures = [ms(first), ms(run.cpu), run.memory as f64 / 1e6];
                        for (table, figure) in tables.iter_mut().zip(figures) {
                            table.add(row, tool.name, figure);
                        }
                    }
                    Err(said) => left_out(tool.name, row, &said),
                }
            }
        }
    }
    tables.into_iter().chain([shipped(rounds)]).collect()
}

/// From the command to attached, for each shipped script.
fn shipped(rounds: usize) -> Table {
    let mut table = Table::new("start-up: shipped scripts, time to attached", "ms", &["memql"]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut scripts: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "mq"))
        .collect();
    scripts.sort();
    for _ in 0..rounds.min(5) {
        for script in &scripts {
            let name = script.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let mut running = tools::memql().start([script]);
            match running.until_attached() {
                Ok(time) => {
                    table.add(&name, "memql", ms(time));
                    let (_, Run { .. }) = running.interrupt();
                }
                Err(said) => left_out("memql", &name, &said),
            }
        }
    }
    table
}

/// Says why a row has no figure.
pub fn left_out(tool: &str, row: &str, said: &str) {
    println!("{tool} is left out of `{row}`: {}", said.lines().last().unwrap_or("it said nothing"));
}
