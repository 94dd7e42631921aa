//! Runs a test of a script: in the reference interpreter, on a kernel that the test describes.
//!
//! ```text
//! script + conditions ──check, lower, optimise──► programs ──interpreter──► events ──output──► lines
//!                                                     ▲                                          │
//!      memory, file, fire ──────► Scene ──────────────┘                        expect ◄──────────┘
//! ```
//! What is printed is what a run prints: events and maps go through [`crate::output`]. What differs: nothing is
//! loaded or attached, probes fire when the test says so, and the clock stands still between events.
//!
//! No file is opened and no kernel is asked.

mod maps;
mod outside;
mod stage;

use memql_compiler::check::{self, RunConfig};
use memql_compiler::diagnostic::{Diagnostic, Severity};
use memql_compiler::testing;
use memql_compiler::testing::diagnostics::{self, Finding};
use memql_compiler::{lower, passes};
use memql_grammar::ast::{Expectation, Item, KernelFacts, Script, Test, TestStep, TestStepKind};

use stage::Stage;

/// A script as a test's command line asks for it.
#[derive(Clone, Debug, Default)]
pub struct TestRun {
    /// What the script is checked with.
    pub run: RunConfig,
    /// `-f json`
    pub json: bool,
}

/// Runs a test; nothing if all is as it expects.
///
/// # Errors
/// What is wrong with the script or the test, or what is not as the test expects, in the order in which it was found.
pub fn run(
    script: &Script,
    facts: &[&KernelFacts],
    test: &Test,
    how: &TestRun,
) -> Result<(), Vec<Diagnostic>> {
    let mut all_facts = facts.to_vec();
    all_facts.extend(test.steps.iter().filter_map(|step| match &step.kind {
        TestStepKind::Kernel(facts) => Some(facts),
        _ => None,
    }));
    let kernel = testing::kernel(&all_facts)?;
    let (tree, conditions) = testing::with_conditions(script, test);
    let (checked, _warnings) = check::check(&tree, &kernel.target, &how.run).map_err(errors_of)?;
    let pid = how.run.pid.or(how.run.child);
    let config = lower::Config {
        pid,
        features: kernel.target.features.clone(),
        lost_by_place: false,
        return_instances: None,
    };
    let lower::Lowered { mut module, plan, .. } = lower::lower(&checked, &config)?;
    passes::optimise(&mut module);

    let mut stage = Stage::new(&kernel, &module, &plan, conditions, pid, how.json);
    stage.set_up(test)?;
    stage.begin(test.title.span).map_err(|finding| vec![*finding])?;
    for (index, step) in test.steps.iter().enumerate() {
        step_of(&mut stage, index, step).map_err(|finding| vec![*finding])?;
    }
    stage.close(test).map_err(|finding| vec![*finding])
}

/// The kernel's facts and tests of a parsed file.
pub fn tests_of(script: &Script) -> (Vec<&KernelFacts>, Vec<&Test>) {
    let facts = script
        .items
        .iter()
        .filter_map(|item| if let Item::Kernel(facts) = item { Some(facts) } else { None });
    let tests =
        script.items.iter().filter_map(|item| if let Item::Test(test) = item { Some(test) } else { None });
    (facts.collect(), tests.collect())
}

/// What `run` says, which is decided before anything else.
///
/// # Errors
/// If there are two, or one behind an event.
pub fn command_line(test: &Test) -> Result<Option<(&[u8], memql_grammar::ast::Span)>, Finding> {
    let mut found = None;
    let mut fired = false;
    for TestStep { kind, span } in &test.steps {
        match kind {
            TestStepKind::Run(_) if fired || found.is_some() => {
                let (title, help) = ("a test has one `run`, before all events", "write another test");
                return Err(diagnostics::step_order(*span, title, help));
            }
            TestStepKind::Run(text) => found = Some((text.bytes.as_slice(), text.span)),
            TestStepKind::Fire { .. } | TestStepKind::Expect(_) => fired = true,
            TestStepKind::Kernel(_) | TestStepKind::Memory { .. } | TestStepKind::File { .. } => {}
        }
    }
    Ok(found)
}

fn step_of(stage: &mut Stage<'_>, index: usize, step: &TestStep) -> Result<(), Finding> {
    match &step.kind {
        TestStepKind::Fire { spec, values } => stage.fire(spec, values),
        TestStepKind::Memory { address, ty, value } => stage.memory(*address, ty, value),
        TestStepKind::File { path, content } => {
            stage.file(&path.bytes, &content.bytes);
            Ok(())
        }
        TestStepKind::Expect(Expectation::Lines(lines)) => {
            let lines: Vec<&[u8]> = lines.iter().map(|line| line.bytes.as_slice()).collect();
            stage.expect_lines(&lines, step.span)
        }
        TestStepKind::Expect(Expectation::Nothing) => stage.expect_lines(&[], step.span),
        TestStepKind::Expect(Expectation::Exit(code)) => stage.expect_exit(*code, step.span),
        TestStepKind::Expect(Expectation::Lost(text)) => stage.expect_lost(&text.bytes, step.span),
        TestStepKind::Expect(Expectation::Condition(condition)) => {
            stage.expect_condition(index, condition.span)
        }
        // Looked at before the run.
        TestStepKind::Kernel(_) | TestStepKind::Run(_) => Ok(()),
    }
}

/// Warnings are shown when the script itself is run or checked.
fn errors_of(mut findings: Vec<Diagnostic>) -> Vec<Diagnostic> {
    findings.retain(|finding| finding.severity == Severity::Error);
    findings
}
