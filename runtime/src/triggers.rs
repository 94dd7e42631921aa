//! Programs that memql runs itself, by what makes them run.

use std::os::fd::BorrowedFd;

use memql_compiler::attach::AttachPoint;
use memql_compiler::plan::Plan;

use crate::error::RunError;
use crate::load::{Loaded, probe_name};
use crate::test_run;
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
                    | AttachPoint::Uprobe { .. }
                    | AttachPoint::Usdt { .. }
                    | AttachPoint::Watchpoint { .. }
                    | AttachPoint::Software { .. }
                    | AttachPoint::Hardware { .. } => {}
                }
            }
        }
        triggers
    }

    /// How many points they have.
    pub fn points(&self) -> usize {
        let Triggers { begin, end, intervals, signals } = self;
        begin.len() + end.len() + intervals.len() + signals.len()
    }

    /// Whether these are all that a run with so many attached points has, and all run at its begin or end.
    pub fn only_begin_and_end(&self, points: usize) -> bool {
        let Triggers { begin, end, intervals, signals } = self;
        intervals.is_empty() && signals.is_empty() && begin.len() + end.len() == points
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
pub fn run(plan: &Plan, loaded: &Loaded, index: usize) -> Result<(), RunError> {
    let fd: BorrowedFd<'_> =
        loaded.program(index).ok_or_else(|| RunError::internal(format!("program {index} is not loaded")))?;
    test_run::once(fd).map_err(|error| {
        let name = plan.programs.get(index).map_or_else(|| "a probe".into(), probe_name);
        RunError::system(format!("cannot run `{name}`"), &error)
            .help("`begin`, `end`, `interval` and `self:signal` need test-runs of raw tracepoint programs (Linux 5.10)")
    })
}
