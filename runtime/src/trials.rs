//! Tests (`--test`) and benchmarks (`--bench`) of a script: each is run here and now, one after the other, in the order of
//! the script, and its result told. Nothing is attached.
//!
//! A test passes if it returns 0, calls neither `errorf` nor `exit` with another code. What it prints is shown
//! if it fails. A benchmark is run so often that it takes a millisecond; what it prints is thrown away, and one that returns something
//! else than 0 is left out of the table.

use std::time::Duration;

use crate::error::RunError;
use crate::failure::Failure;
use crate::health;
use crate::load::probe_name;
use crate::output::{Benched, Captured, Tested};
use crate::session::Run;
use crate::signals;
use crate::test_run::Ran;
use crate::triggers;

/// A benchmark is run for so long at least.
const ENOUGH: Duration = Duration::from_millis(1);

/// And so often at most: of a body that takes no time, no number of runs would take that long.
const MOST_RUNS: u32 = 1 << 26;

impl Run<'_, '_> {
    /// Runs the tests; whether all have passed.
    pub(crate) fn run_tests(&self) -> Result<bool, Failure> {
        self.drain()?;
        let tests = &self.triggers.tests;
        self.receiver.borrow_mut().output.before_tests(tests.len())?;
        let mut failed = Vec::new();
        for (name, program) in tests {
            if signals::end_is_asked() {
                return Ok(false);
            }
            let (ran, exit, captured) = self.try_out(|| triggers::run(self.plan, self.loaded, *program))?;
            let passed = ran.result == 0 && exit.unwrap_or(0) == 0 && captured.errors == 0;
            if !passed {
                failed.push(name.as_str());
            }
            let tested = Tested { name, passed, took: ran.took, output: &captured.text };
            self.receiver.borrow_mut().output.tested(&tested)?;
        }
        self.receiver.borrow_mut().output.after_tests(tests.len(), &failed)?;
        Ok(failed.is_empty())
    }

    /// Runs the benchmarks; whether none has failed.
    pub(crate) fn run_benches(&self) -> Result<bool, Failure> {
        self.drain()?;
        let names: Vec<&str> = self.triggers.benches.iter().map(|(name, _)| name.as_str()).collect();
        self.receiver.borrow_mut().output.before_benches(&names)?;
        let mut all_well = true;
        for (name, program) in &self.triggers.benches {
            if signals::end_is_asked() {
                return Ok(false);
            }
            match self.bench(*program)? {
                Timed::Skipped => {}
                Timed::Failed => {
                    let point = probe_name(&self.plan.programs[*program]);
                    self.receiver.borrow_mut().output.error(&format!("`{point}` failed"))?;
                    all_well = false;
                }
                Timed::Took { average, runs } => {
                    let benched = Benched { name, average, runs };
                    self.receiver.borrow_mut().output.benched(&names, &benched)?;
                }
            }
        }
        Ok(all_well)
    }

    /// Runs a benchmark more and more often until that takes long enough.
    fn bench(&self, program: usize) -> Result<Timed, Failure> {
        let mut runs = 1u32;
        loop {
            let (ran, exit, captured) =
                self.try_out(|| triggers::repeat(self.plan, self.loaded, program, runs))?;
            match (exit.unwrap_or(0), ran.result) {
                (0, 0) if captured.errors == 0 => {}
                (0, result) if result != 0 => return Ok(Timed::Skipped),
                _ => return Ok(Timed::Failed),
            }
            let total = ran.took.saturating_mul(runs);
            if total >= ENOUGH || runs >= MOST_RUNS || signals::end_is_asked() {
                return Ok(Timed::Took { average: ran.took, runs });
            }
            let more = match total.as_nanos() {
                0..1_000 => 1000,
                1_000..10_000 => 100,
                10_000..100_000 => 10,
                _ => 2,
            };
            runs = runs.saturating_mul(more).min(MOST_RUNS);
        }
    }

    /// Runs a program with what it prints set aside: what came of it, the code of its `exit()`, and what it printed.
    fn try_out(
        &self,
        run: impl FnOnce() -> Result<Ran, RunError>,
    ) -> Result<(Ran, Option<i32>, Captured), Failure> {
        self.receiver.borrow_mut().output.capture();
        let ran = run().map_err(Failure::from).and_then(|ran| self.drain().map(|()| ran));
        let mut receiver = self.receiver.borrow_mut();
        let captured = receiver.output.captured();
        let exit = receiver.take_exit();
        // So many runs of a benchmark send more than fits; nobody was to see it.
        health::forget_lost_events(self.plan, self.maps.bss());
        Ok((ran?, exit, captured))
    }
}

/// What came of a benchmark.
enum Timed {
    /// It said that it is not to be told of.
    Skipped,
    /// It called `errorf`, or `exit` with a code.
    Failed,
    /// One of so many runs took so long.
    Took {
        /// The average, as the kernel has it.
        average: Duration,
        /// How many.
        runs: u32,
    },
}
