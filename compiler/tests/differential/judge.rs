//! Runs one script in every way and says whether all agree.

use memql_compiler::target::Features;

use crate::compare::difference;
use crate::execute::{self, Outcome, Refused, Scene};
use crate::pipeline::{self, Failure};
use crate::printed;

/// What came of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All executions agree.
    Same,
    /// The checker refuses it; where each error is.
    Invalid(String, Vec<u32>),
    /// It is more than the kernel takes.
    TooLarge(String),
    /// The stage that is wrong, and how.
    Wrong(&'static str, String),
}

/// Runs a script in every way. `ordered` says of each program whether its events come in one order.
pub fn judge(source: &str, ordered: &[bool], features: &Features, scene: &Scene, kernel: bool) -> Verdict {
    let compiled = scene.timed(0, || pipeline::compile(source, features, scene.user_address));
    let stages = match compiled {
        Ok(stages) => stages,
        Err(Failure::Invalid(why, places)) => return Verdict::Invalid(why, places),
        Err(Failure::TooLarge(why)) => return Verdict::TooLarge(why),
        Err(Failure::Bug(why)) => return Verdict::Wrong("compiler", why),
    };
    let reference = match scene.timed(1, || execute::interpret(&stages.plain, &scene.world)) {
        Ok(outcome) => outcome,
        Err(trap) => return Verdict::Wrong("plain IR", trap),
    };
    let printed =
        |outcome: &Outcome| scene.timed(1, || printed::printed(&stages.plan, &stages.target, outcome));
    let lines = match printed(&reference) {
        Ok(lines) => lines,
        Err(why) => return Verdict::Wrong("plan", why),
    };
    let prints_other = |outcome: &Outcome, ordered: &[bool]| match printed(outcome) {
        Ok(found) => printed::difference(&lines, &found, ordered),
        Err(why) => Some(why),
    };
    let all_ordered = vec![true; ordered.len()];
    for (stage, module) in [
        ("optimised IR", &stages.optimised),
        ("emitted IR", &stages.emitted),
        ("allocated IR", &stages.allocated),
    ] {
        let differs = match scene.timed(1, || execute::interpret(module, &scene.world)) {
            Ok(outcome) => difference(&reference, &outcome, &all_ordered)
                .or_else(|| prints_other(&outcome, &all_ordered)),
            Err(trap) => Some(trap),
        };
        if let Some(words) = differs {
            return Verdict::Wrong(stage, words);
        }
    }
    if !kernel {
        return Verdict::Same;
    }
    match scene.timed(2, || execute::execute(&stages.object, &stages.plain)) {
        Ok(outcome) => {
            match difference(&reference, &outcome, ordered).or_else(|| prints_other(&outcome, ordered)) {
                Some(words) => Verdict::Wrong("kernel", words),
                None => Verdict::Same,
            }
        }
        Err(Refused::TooComplex(log)) => Verdict::TooLarge(log),
        Err(Refused::Rejected(log)) => Verdict::Wrong("kernel verifier", log),
    }
}

/// Whether the kernel runs programs here; says why not.
pub fn can_load(features: &Features, scene: &Scene) -> bool {
    match judge("begin { print(1); }", &[true], features, scene, true) {
        Verdict::Same => true,
        other => {
            crate::skip::skipped(&format!("the kernel does not run eBPF programs here: {other:?}"));
            false
        }
    }
}
