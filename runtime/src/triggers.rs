//! Programs that memql runs itself, by what makes them run.

use std::os::fd::BorrowedFd;

use memql_compiler::attach::AttachPoint;
use memql_compiler::plan::Plan;

use crate::error::RunError;
use crate::load::{Loaded, probe_name};
use crate::test_run::{self, Ran};
use crate::timers::Timer;

/// Those programs: indices into the plan, in the order of the script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Triggers {
    /// Run before everything else.
    pub begin: Vec<usize>,
    /// Run after everything else.
    pub end: Vec<usize>,
    /// Run every so many nanoseconds.
    pub intervals: Vec<(u64, usize)>,
    /// Run when this signal comes.
    pub signals: Vec<(i32, usize)>,
    /// Run over the kernel's objects, once everything is attached; those that are pinned, by whoever reads the file.
    pub iterators: Vec<usize>,
    /// Run under `--test`, by name.
    pub tests: Vec<(String, usize)>,
    /// Run under `--bench`, by name.
    pub benches: Vec<(String, usize)>,
}

impl Triggers {
    /// The plan's.
    pub fn of(plan: &Plan) -> Triggers {
        let mut triggers = Triggers::default();
        for (index, program) in plan.programs.iter().enumerate() {
            for (point, _) in &program.points {
                match point {
                    AttachPoint::Begin => triggers.begin.push(index),
                    AttachPoint::End => triggers.end.push(index),
                    AttachPoint::Interval { text: _, period_ns } => {
                        triggers.intervals.push((*period_ns, index))
                    }
                    AttachPoint::SelfSignal { name: _, signal } => triggers.signals.push((*signal, index)),
                    AttachPoint::Profile { .. }
                    | AttachPoint::Tracepoint { .. }
                    | AttachPoint::RawTracepoint { .. }
                    | AttachPoint::Kprobe { .. }
                    | AttachPoint::Fentry { .. }
                    | AttachPoint::BpfFunction { .. }
                    | AttachPoint::Uprobe { .. }
                    | AttachPoint::Usdt { .. }
                    | AttachPoint::Watchpoint { .. }
                    | AttachPoint::Software { .. }
                    | AttachPoint::Hardware { .. } => {}
                    AttachPoint::Iter { .. } => triggers.iterators.push(index),
                    AttachPoint::Test { name } => triggers.tests.push((name.clone(), index)),
                    AttachPoint::Bench { name } => triggers.benches.push((name.clone(), index)),
                }
            }
        }
        triggers
    }

    /// How many points they have.
    pub fn points(&self) -> usize {
        let Triggers { begin, end, intervals, signals, iterators, tests, benches } = self;
        let later = iterators.len() + tests.len() + benches.len();
        begin.len() + end.len() + intervals.len() + signals.len() + later
    }

    /// Whether these are all that a run with so many attached points has, and each runs once.
    pub fn each_runs_once(&self, points: usize) -> bool {
        let Triggers { begin, end, intervals, signals, iterators, tests, benches } = self;
        let once = begin.len() + end.len() + iterators.len() + tests.len() + benches.len();
        intervals.is_empty() && signals.is_empty() && once == points
    }

    /// Whether the run is for tests or benchmarks.
    pub fn has_trials(&self) -> bool {
        !self.tests.is_empty() || !self.benches.is_empty()
    }

    /// The signals that run programs.
    pub fn signal_numbers(&self) -> Vec<i32> {
        self.signals.iter().map(|(signal, _)| *signal).collect()
    }

    /// A timer for each interval, started now.
    ///
    /// # Errors
    /// If the kernel gives no timer.
    pub fn timers(&self) -> Result<Vec<(Timer, usize)>, RunError> {
        let start = |(period_ns, program): &(u64, usize)| {
            let timer = Timer::every(*period_ns);
            timer
                .map(|timer| (timer, *program))
                .map_err(|error| RunError::system(format!("cannot start a timer of {period_ns} ns"), &error))
        };
        self.intervals.iter().map(start).collect()
    }
}

/// Runs the plan's n-th program once, here and now.
///
/// # Errors
/// If the kernel refuses.
pub fn run(plan: &Plan, loaded: &Loaded, index: usize) -> Result<Ran, RunError> {
    test_run::once(program(loaded, index)?).map_err(|error| {
        cannot_run(plan, index, &error)
            .help("`begin`, `end`, `interval`, `self:signal` and `test` need test-runs of raw tracepoint programs (Linux 5.10)")
    })
}

/// Runs the plan's n-th program, a benchmark, so many times.
///
/// # Errors
/// If the kernel refuses.
pub fn repeat(plan: &Plan, loaded: &Loaded, index: usize, runs: u32) -> Result<Ran, RunError> {
    test_run::repeated(program(loaded, index)?, runs).map_err(|error| cannot_run(plan, index, &error))
}

fn program(loaded: &Loaded, index: usize) -> Result<BorrowedFd<'_>, RunError> {
    loaded.program(index).ok_or_else(|| RunError::internal(format!("program {index} is not loaded")))
}

fn cannot_run(plan: &Plan, index: usize, error: &std::io::Error) -> RunError {
    let name = plan.programs.get(index).map_or_else(|| "a probe".into(), probe_name);
    RunError::system(format!("cannot run `{name}`"), error)
}
