//! The cost of an event: in eBPF, by the kernel's statistics, and to the traced call, by its own clock.

use std::collections::HashMap;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Command;

use libbpf_rs::libbpf_sys;
use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions};

use crate::loads;
use crate::startup::left_out;
use crate::table::Table;
use crate::tools::{self, names};

/// Events of a round; of a script that prints each, fewer.
const EVENTS: u64 = 200_000;
const PRINTED: u64 = 20_000;

pub fn measure(rounds: usize) -> Vec<Table> {
    let tools = tools::speakers();
    let names = names(&tools);
    let calls = loads::compiled("calls");
    let mut inside = Table::new("an event: time in eBPF (with the kernel's own measuring)", "ns", &names);
    let mut added = Table::new("an event: time added to the traced call", "ns", &names);
    let mut code = Table::new("code", "instructions", &names);
    let rows = include_str!("../rows.tsv").lines().filter_map(|line| line.split_once('\t'));
    for (row, script) in rows {
        for _ in 0..rounds {
            for tool in &tools {
                let events = if script.contains("printf") { PRINTED } else { EVENTS };
                let call = |n: u64| -> f64 {
                    let out = Command::new(&calls).arg(n.to_string()).output().expect("the load runs");
                    String::from_utf8_lossy(&out.stdout).trim().parse().expect("it says nanoseconds")
                };
                let plain = call(events);
                let before = programs();
                let mut running = tool.script(script);
                if let Err(said) = running.until_attached() {
                    left_out(tool.name, row, &said);
                    continue;
                }
                let traced = call(events);
                let statistics = statistics();
                call(events);
                let new: Vec<Counted> = programs()
                    .into_iter()
                    .filter(|(id, program)| !before.contains_key(id) && program.runs >= events)
                    .map(|(_, program)| program)
                    .collect();
                drop(statistics);
                running.interrupt();
                let time: f64 = new.iter().map(|p| p.nanoseconds as f64 / p.runs as f64).sum();
                inside.add(row, tool.name, time);
                added.add(row, tool.name, traced - plain);
                code.add(row, tool.name, new.iter().map(|p| p.instructions).sum::<usize>() as f64);
            }
        }
    }
    vec![inside, added, code]
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
fn statistics() -> OwnedFd {
    // SAFETY: the call takes a number and gives a descriptor that nobody else owns.
    unsafe {
        let fd = libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME);
        assert!(fd >= 0, "the kernel counts eBPF programs: {}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd)
    }
}
