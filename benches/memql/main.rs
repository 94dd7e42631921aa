//! memql beside its peers: `cargo bench`, as root; `cargo bench -- SECTION...` for parts of it.
//!
//! ```text
//! startup      from the command to its first event: time, CPU, memory
//! events       nanoseconds in eBPF and nanoseconds added to the traced call, by row of benches/rows.tsv
//! throughput   printed events per second without loss and in a flood, CPU per event
//! memleak      nanoseconds added to a malloc/free pair, attaching, ending, memory at a million blocks
//! exit         from Ctrl-C to the end, by number of probes
//! scale        probes, keys and functions: how time grows with them
//! ```
//!
//! Nothing is installed. Peers (bpftrace, ply, libbpf-tools' memleak) are taken from `PATH` and from the folder
//! that `MEMQL_PEERS` names; one that is not there is left out. All tools run on the same load in the same
//! run, in turns; a figure is the median of the rounds with the smallest and the largest beside it, and what
//! counts is its ratio to the peer's. `ROUNDS` is the number of rounds, `BENCH_JSON` a file for all samples,
//! `MEMQL` another memql than the one that was just built.

mod events;
mod exit;
mod floors;
mod links;
mod loads;
mod memleak;
mod scale;
mod startup;
mod table;
mod throughput;
mod tools;

use table::Table;

/// A part of the benchmark: its name, the rounds it takes by itself, and what it measures.
type Section = (&'static str, usize, fn(usize) -> Vec<Table>);

const SECTIONS: &[Section] = &[
    ("startup", 7, startup::measure),
    ("events", 5, events::measure),
    ("throughput", 3, throughput::measure),
    ("memleak", 3, memleak::measure),
    ("exit", 3, exit::measure),
    ("scale", 1, scale::measure),
];

fn main() {
    // cargo adds flags of its own.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if let Some(unknown) = wanted.iter().find(|name| SECTIONS.iter().all(|(known, ..)| known != name)) {
        let names: Vec<&str> = SECTIONS.iter().map(|(name, ..)| *name).collect();
        eprintln!("error: there is no section `{unknown}`: {}", names.join(", "));
        std::process::exit(2);
    }
    let rounds: Option<usize> = std::env::var("ROUNDS").ok().map(|n| n.parse().expect("ROUNDS is a number"));
    tools::enter_own_mounts();
    println!("kernel {}, {} CPUs", kernel(), std::thread::available_parallelism().map_or(0, usize::from));
    for tool in tools::all() {
        println!("{}: {}", tool.name, tool.version());
    }
    let mut tables = Vec::new();
    for (name, usual_rounds, measure) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            for table in measure(rounds.unwrap_or(*usual_rounds)) {
                println!("\n{}", table.text());
                tables.push(table);
            }
        }
    }
    if let Some(path) = std::env::var_os("BENCH_JSON") {
        let json: Vec<String> = tables.iter().map(Table::json).collect();
        std::fs::write(&path, format!("[\n{}\n]\n", json.join(",\n")))
            .unwrap_or_else(|e| panic!("write {path:?}: {e}"));
    }
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_string()
}
