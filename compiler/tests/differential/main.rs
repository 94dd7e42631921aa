//! Three executions, one answer: generated programs, and those that once failed, run in the interpreter
//! on plain IR, on optimised IR, on IR as emitted, and as bytecode in the kernel. Return values,
//! events, maps and globals must agree.
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
//! A program that fails is shrunk and written to a file; kept in `cases/`, it is run ever after.

mod compare;
mod execute;
mod generate;
mod judge;
mod pipeline;
mod random;
mod run;
mod shrink;
mod tally;
mod tree;

use std::fmt::Write as _;
use std::path::PathBuf;

use judge::{Verdict, judge};
use random::Random;
use run::Run;
use tally::Tally;

/// How many programs go into one object.
const BATCH: usize = 50;

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

#[test]
fn generated_programs_do_the_same_in_every_execution() {
    let (programs, seed) = (program_count(), seed());
    println!("MEMQL_SEED={seed:x} MEMQL_PROGRAMS={programs}");
    let mut run = Run::new();
    let mut random = Random::new(seed);
    let mut left = programs;
    while left > 0 && run.found.len() < 20 {
        let count = left.min(BATCH);
        run.batch(random.bits(), count);
        left -= count;
    }
    println!("{}", run.tally.report(&run.scene, run.kernel));
    assert!(run.found.is_empty(), "seed {seed:x}\n{}", run.failures());
    let Tally { generated, valid, too_large, .. } = run.tally;
    assert!(
        valid * 10 >= generated * 9,
        "{valid} of {generated} programs are valid: the generator tests too little"
    );
    assert!(too_large * 20 <= generated, "{too_large} of {generated} programs are too large for the kernel");
}

#[test]
fn programs_that_once_failed_do_the_same_in_every_execution() {
    let cases = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/differential/cases");
    let run = Run::new();
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
