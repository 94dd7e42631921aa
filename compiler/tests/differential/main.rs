//! Three executions, one answer: generated programs, and those that once failed, run in the interpreter
//! on plain IR, on optimised IR, on IR as emitted, with values in the registers they got, and as bytecode in the kernel. Return values,
//! events, maps, globals and what is printed of them must agree.
//!
//! ```text
//! MEMQL_PROGRAMS   how many programs are generated (1000)
//! MEMQL_SEED       the seed, in hexadecimal, or `fresh` for another one each time; without, always
//!                  the same one, so that a change is judged by what it changes
//! ```
//!
//! Compiled without optimisation this takes three times as long; for many programs, set
//! `CARGO_PROFILE_DEV_OPT_LEVEL=1`.
//!
//! A program that fails is written to a file at once, and again when it is shrunk; kept in `cases/`, it is run ever
//! after. The file says what the program saw of its thread (numbers of the process and thread, CPU): that and the
//! kernel are all that differs between two runs with the same seed.

mod allocated;
mod compare;
mod execute;
mod generate;
mod judge;
mod mutants;
mod pipeline;
mod printed;
mod random;
mod run;
mod shrink;
#[path = "../../../tests/support/skip.rs"]
mod skip;
mod tally;
mod tree;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, Once};

use judge::{Verdict, judge};
use random::Random;
use run::{MOST_FOUND, Run};
use tally::Tally;

/// How many programs go into one object.
const BATCH: usize = 50;

/// Keeps what is expected off the screen.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        execute::keep_libbpf_quiet();
        pipeline::keep_panics_quiet();
    });
}

/// How many programs are generated.
fn program_count() -> usize {
    match std::env::var("MEMQL_PROGRAMS") {
        Ok(text) => text.parse().unwrap_or_else(|e| panic!("MEMQL_PROGRAMS is `{text}`: {e}")),
        Err(_) => 1000,
    }
}

fn seed() -> u64 {
    match std::env::var("MEMQL_SEED").as_deref() {
        Err(_) => 1,
        Ok("fresh") => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(1, |since| since.as_nanos() as u64)
        }
        Ok(text) => u64::from_str_radix(text, 16).unwrap_or_else(|e| panic!("MEMQL_SEED is `{text}`: {e}")),
    }
}

/// The batches that are left: the same ones for the same seed, whichever thread takes them.
struct Batches {
    random: Random,
    left: usize,
    found: usize,
}

impl Batches {
    /// The seed of the next batch, and of how many programs it is.
    fn next(&mut self) -> Option<(u64, usize)> {
        let count = self.left.min(BATCH);
        self.left -= count;
        (count > 0 && self.found < MOST_FOUND).then(|| (self.random.bits(), count))
    }
}

/// Takes batches until there are no more; the thread stays on one CPU.
fn work(cpu: usize, batches: &Mutex<Batches>) -> Run {
    let mut run = Run::new(cpu);
    let next = || batches.lock().expect("no thread panics with it").next();
    while let Some((seed, count)) = next() {
        let before = run.found.len();
        run.batch(seed, count);
        batches.lock().expect("no thread panics with it").found += run.found.len() - before;
    }
    run.tally.seconds = run.scene.seconds.get();
    run
}

#[test]
fn generated_programs_do_the_same_in_every_execution() {
    let (programs, seed) = (program_count(), seed());
    println!("MEMQL_SEED={seed:x} MEMQL_PROGRAMS={programs}");
    quiet();
    let batches = Mutex::new(Batches { random: Random::new(seed), left: programs, found: 0 });
    let (mut tally, mut found, mut kernel) = (Tally::default(), Vec::new(), true);
    std::thread::scope(|scope| {
        let batches = &batches;
        let start = |cpu| {
            let named = std::thread::Builder::new().name(format!("differ{cpu}"));
            named.spawn_scoped(scope, move || {
                let run = work(cpu, batches);
                (run.tally, run.found, run.kernel)
            })
        };
        let threads: Vec<_> = execute::cpus().into_iter().map(start).collect();
        for thread in threads {
            let result = thread.expect("a thread can be started").join();
            let (more, others, loads) = result.expect("panics of the compiler are caught");
            tally.add(more);
            found.extend(others);
            kernel &= loads;
        }
    });
    println!("{}", tally.report(kernel));
    assert!(found.is_empty(), "MEMQL_SEED={seed:x} MEMQL_PROGRAMS={programs}\n{}", run::failures(&found));
    let Tally { generated, valid, too_large, .. } = tally;
    assert!(
        valid * 10 >= generated * 9,
        "{valid} of {generated} programs are valid: the generator tests too little"
    );
    assert!(too_large * 100 <= generated, "{too_large} of {generated} programs are too large for the kernel");
}

#[test]
fn programs_that_once_failed_do_the_same_in_every_execution() {
    let cases = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/differential/cases");
    quiet();
    let run = Run::new(execute::cpus()[0]);
    let mut failed = String::new();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&cases)
        .unwrap_or_else(|e| panic!("{}: {e}", cases.display()))
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|e| e == "mq"))
        .collect();
    paths.sort();
    for path in paths {
        let source = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for features in &run.features {
            let ordered = vec![!source.contains(" : @"); source.matches("begin {").count()];
            match judge(&source, &ordered, features, &run.scene, run.kernel) {
                Verdict::Same => {}
                other => writeln!(failed, "{}: {other:?}", path.display()).expect("a string takes all"),
            }
        }
    }
    assert!(failed.is_empty(), "{failed}");
}
