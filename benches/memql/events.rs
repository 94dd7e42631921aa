//! The cost of an event: in eBPF, by the kernel's statistics, and to the traced call, by its own clock.

use std::collections::HashMap;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;

use libbpf_rs::libbpf_sys;
use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions};

use crate::floors;
use crate::loads;
use crate::startup::{left_out, scripts};
use crate::table::{Table, median};
use crate::tools::{self, Tool, names};

/// Events of a round.
const EVENTS: u64 = 200_000;
/// Of a script that prints each: so many, at a rate that neither tool loses any of.
const PRINTED: u64 = 10_000;
const PRINTED_PER_SECOND: u64 = 20_000;

const EMPTY: &str = "empty";

pub fn measure(rounds: usize) -> Vec<Table> {
    let tools = tools::speakers();
    let names = names(&tools);
    let calls = loads::compiled("calls");
    let mut inside = Table::new("an event: time in eBPF (with the kernel's own measuring)", "ns", &names);
    let mut net = Table::new("an event: time in eBPF, without that of an empty program", "ns", &names);
    let mut added = Table::new("an event: time added to the traced call", "ns", &names);
    let mut code = Table::new("code, as the kernel runs it", "instructions", &names);
    let rows = include_str!("../rows.tsv").lines().filter_map(|line| line.split_once('\t'));
    let mut empty: HashMap<&str, Vec<f64>> = HashMap::new();
    for (row, script) in rows {
        for _ in 0..rounds {
            for tool in &tools {
                let (events, rate) =
                    if script.contains("printf") { (PRINTED, PRINTED_PER_SECOND) } else { (EVENTS, 0) };
                let call = || -> f64 { call(&calls, events, rate) };
                let plain = call();
                let before = programs();
                let mut running = tool.script(script);
                if let Err(said) = running.until_attached() {
                    left_out(tool.name, row, &said);
                    continue;
                }
                let traced = call();
                let statistics = statistics();
                call();
                let new: Vec<Counted> = programs()
                    .into_iter()
                    .filter(|(id, program)| !before.contains_key(id) && program.runs >= events)
                    .map(|(_, program)| program)
                    .collect();
                drop(statistics);
                running.interrupt();
                if new.is_empty() {
                    left_out(tool.name, row, "the kernel counted no program");
                    continue;
                }
                let time: f64 = new.iter().map(|p| p.nanoseconds as f64 / p.runs as f64).sum();
                inside.add(row, tool.name, time);
                if row == EMPTY {
                    empty.entry(tool.name).or_default().push(time);
                } else if let Some(empty) = empty.get(tool.name).and_then(|samples| median(samples)) {
                    net.add(row, tool.name, time - empty * new.len() as f64);
                }
                added.add(row, tool.name, traced - plain);
                code.add(row, tool.name, new.iter().map(|p| p.instructions).sum::<usize>() as f64);
            }
        }
    }
    for table in [&mut inside, &mut net, &mut added, &mut code] {
        table.note_median_row();
    }
    vec![inside, net, added, code, shipped(&tools[0]), floors::measure(rounds)]
}

/// Nanoseconds of a call, of so many (so many a second, if that is not 0).
fn call(calls: &Path, events: u64, rate: u64) -> f64 {
    let out = Command::new(calls).args([events.to_string(), rate.to_string()]).output();
    let out = out.expect("the load runs");
    String::from_utf8_lossy(&out.stdout).trim().parse().expect("it says nanoseconds")
}

/// Makes the calls of a round.
pub fn calls_traced() {
    call(&loads::compiled("calls"), EVENTS, 0);
}

/// How much code the shipped scripts become on this kernel.
fn shipped(memql: &Tool) -> Table {
    let mut table = Table::new("code of the shipped scripts on this kernel", "", &["memql"]);
    for script in scripts() {
        let name = script.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let run = memql.start(["--emit".as_ref(), "asm".as_ref(), script.as_os_str()]).end();
        // `p0_sys_enter_ge: tp, 33 instructions, stack 24`
        let sizes = run.output.lines().filter_map(|line| {
            let (_, rest) = line.split_once(": ")?;
            let (before, stack) = rest.split_once(" instructions, stack ")?;
            let count = before.rsplit(' ').next()?;
            Some((count.parse::<u32>().ok()?, stack.parse::<u32>().ok()?))
        });
        let (programs, instructions, stack) =
            sizes.fold((0, 0, 0), |(n, all, deepest), (code, stack)| (n + 1, all + code, stack.max(deepest)));
        for (what, figure) in
            [("programs", programs), ("instructions", instructions), ("deepest stack (bytes)", stack)]
        {
            table.add(&format!("{name}: {what}"), "memql", f64::from(figure));
        }
    }
    table
}

/// What the kernel counted of a program.
struct Counted {
    runs: u64,
    nanoseconds: u64,
    instructions: usize,
}

fn programs() -> HashMap<u32, Counted> {
    let options = ProgInfoQueryOptions::default().include_xlated_prog_insns(true);
    let all = ProgInfoIter::with_query_opts(options).map(|p| {
        (
            p.id,
            Counted {
                runs: p.run_cnt,
                nanoseconds: p.run_time_ns,
                instructions: p.xlated_prog_insns.len() / 8,
            },
        )
    });
    all.collect()
}

/// Has the kernel count runs and their time for as long as this lives.
pub fn statistics() -> OwnedFd {
    // SAFETY: the call takes a number and gives a descriptor that nobody else owns.
    unsafe {
        let fd = libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME);
        assert!(fd >= 0, "the kernel counts eBPF programs: {}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    }
}
