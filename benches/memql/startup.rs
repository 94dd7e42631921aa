//! From the command to its first event, with what that takes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::links::{self, Links};
use crate::loads::{self, Load};
use crate::table::Table;
use crate::tools::{self, ms};

/// What every script prints with its first event, which ends it. No tool says this by itself.
const FIRST: &str = "the first event";

/// A way to start.
struct Row {
    name: &'static str,
    script: &'static str,
    /// The same in ply's language, if it can say it.
    of_ply: Option<&'static str>,
    /// What the kernel has to attach.
    links: Links,
}

const ROWS: &[Row] = &[
    Row {
        name: "begin",
        script: r#"begin { printf("the first event\n"); exit(); }"#,
        of_ply: Some(r#"BEGIN { printf("the first event\n"); exit(0); }"#),
        links: Links::None,
    },
    Row {
        name: "one tracepoint",
        script: r#"tracepoint:syscalls:sys_enter_getppid { printf("the first event\n"); exit(); }"#,
        of_ply: Some(r#"tracepoint:syscalls/sys_enter_getppid { printf("the first event\n"); exit(0); }"#),
        links: Links::Tracepoints("syscalls", &["sys_enter_getppid"]),
    },
    Row {
        name: "task_struct",
        script: r#"tracepoint:syscalls:sys_enter_getppid { printf("the first event %d\n", curtask->real_parent->tgid); exit(); }"#,
        of_ply: None,
        links: Links::Tracepoints("syscalls", &["sys_enter_getppid"]),
    },
    Row {
        name: "20 tracepoints",
        script: r#"tracepoint:sched:sched_s*, tracepoint:sched:sched_p*, tracepoint:sched:sched_w* { printf("the first event\n"); exit(); }"#,
        of_ply: None,
        links: Links::Tracepoints("sched", &["sched_s", "sched_p", "sched_w"]),
    },
    Row {
        name: "uprobe:libc:*alloc*",
        script: r#"uprobe:libc:*alloc* { printf("the first event\n"); exit(); }"#,
        of_ply: None,
        links: Links::Uprobes("alloc"),
    },
];

pub fn measure(rounds: usize) -> Vec<Table> {
    // Something happens all the time.
    let calls = loads::compiled("calls");
    let _calls = Load::start(&calls, &["0"]);
    let _allocator = Allocator::start();
    let all = tools::all();
    let mut tables = [("time", "ms"), ("CPU", "ms"), ("memory", "MB")].map(|(what, unit)| {
        Table::new(format!("start-up: {what} to the first event"), unit, &["memql", "bpftrace", "ply"])
    });
    let mut net = Table::new(
        "start-up: time to the first event without the kernel's own (the same links made in a bare loop)",
        "ms",
        &["memql", "bpftrace", "ply"],
    );
    let mut bare = Table::new("start-up: the same links made in a bare loop", "ms", &["kernel"]);
    for _ in 0..rounds {
        for Row { name, script, of_ply, links } in ROWS {
            let kernel = links::attach(links);
            if let Some(kernel) = kernel {
                bare.add(name, "kernel", ms(kernel));
            }
            for tool in &all {
                let script = match tool.name {
                    "ply" => match of_ply {
                        Some(script) => script,
                        None => continue,
                    },
                    "memleak" => continue,
                    _ => script,
                };
                let mut running = tool.script(script);
                match running.until(FIRST) {
                    Ok(first) => {
                        let run = running.end();
                        let figures = [ms(first), ms(run.cpu), run.memory as f64 / 1e6];
                        for (table, figure) in tables.iter_mut().zip(figures) {
                            table.add(name, tool.name, figure);
                        }
                        net.add(name, tool.name, ms(first) - kernel.map_or(0.0, ms));
                    }
                    Err(said) => left_out(tool.name, name, &said),
                }
            }
        }
    }
    tables.into_iter().chain([bare, net, shipped(rounds)]).collect()
}

/// A thread that allocates as long as this lives: `uprobe:libc:*alloc*` waits for a call.
struct Allocator(Arc<AtomicBool>);

impl Allocator {
    fn start() -> Allocator {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::hint::black_box(Vec::<u8>::with_capacity(64));
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        Allocator(stop)
    }
}

impl Drop for Allocator {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// From the command to attached, for each shipped script.
fn shipped(rounds: usize) -> Table {
    let mut table = Table::new(
        "start-up: shipped scripts, to attached; CPU and peak memory of a run that ends at once",
        "ms, MB",
        &["memql"],
    );
    for script in scripts() {
        let name = script.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        for _ in 0..rounds {
            let mut running = tools::memql().start([&script]);
            match running.until_attached() {
                Ok(time) => {
                    let (_, run) = running.interrupt();
                    table.add(&format!("{name}: time (ms)"), "memql", ms(time));
                    table.add(&format!("{name}: CPU (ms)"), "memql", ms(run.cpu));
                    table.add(&format!("{name}: memory (MB)"), "memql", run.memory as f64 / 1e6);
                }
                Err(said) => {
                    left_out("memql", &name, &said);
                    break;
                }
            }
        }
    }
    table
}

/// The shipped scripts that say what they need by themselves.
pub fn scripts() -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let mut scripts: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "mq"))
        .collect();
    scripts.sort();
    scripts
}

/// Says why a row has no figure.
pub fn left_out(tool: &str, row: &str, said: &str) {
    println!("{tool} is left out of `{row}`: {}", said.lines().last().unwrap_or("it said nothing"));
}
