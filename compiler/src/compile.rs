//! The pipeline: a syntax tree becomes an object and a plan, stage by stage.

use memql_grammar::ast;

use crate::check::{self, RunConfig};
use crate::diagnostic::Diagnostic;
use crate::emit::{EmitError, STACK_BYTES};
use crate::ir::Module;
use crate::plan::{Compiled, EventPlan};
use crate::sources::Sources;
use crate::target::Target;
use crate::{emit, lower, passes, scratch};
use memql_grammar::ast::Span;

/// Everything that compiling a script yields.
#[derive(Clone, Debug)]
pub struct Compilation {
    /// The object and how to run it.
    pub compiled: Compiled,
    /// The optimised IR, as it was emitted.
    pub module: Module,
    /// The instructions in words.
    pub assembly: String,
    /// What the user should know though the script runs.
    pub warnings: Vec<Diagnostic>,
}

/// Compiles a script for a target; `sources` are the texts that its spans are in.
///
/// # Errors
/// All errors found, in source order.
pub fn compile(
    sources: &Sources,
    tree: &ast::Script,
    target: &dyn Target,
    run: &RunConfig,
) -> Result<Compilation, Vec<Diagnostic>> {
    let features = target.features();
    let (script, warnings) = check::check(tree, target, run)?;
    let mut config = lower::Config {
        pid: run.pid.or(run.child),
        features: features.clone(),
        lost_by_place: run.lost_by_place,
        return_instances: None,
    };
    let mut lowered = lower::lower(&script, &config)?;
    if lowered.needs_return_instances() {
        // The kernel's types are not read for anything less. Without them such stacks are cut, which is counted.
        config.return_instances = target.btf().ok().and_then(lower::ReturnInstances::of);
        lowered = lower::lower(&script, &config)?;
    }
    let lower::Lowered { mut module, mut plan, probe_spans, scratch_busy } = lowered;
    for event in &mut plan.events {
        if let EventPlan::Tell { place, .. } = event {
            let at = place.span.start;
            if let Some(file) = sources.files().get(sources.index_of(at)) {
                // What a script says of itself names `-e` as bpftrace does, since people match on it.
                let name = if file.name == "-e" { "stdin" } else { &file.name };
                place.locate(name, &file.text, file.base);
            }
        }
    }
    passes::optimise(&mut module);
    let names: Vec<String> = module.programs.iter().map(|p| p.name.clone()).collect();
    let emitted = emit::back_end(&mut module, features, scratch_busy, sources)
        .map_err(|error| vec![too_large(&error, &names, &probe_spans)])?;
    Ok(Compilation {
        compiled: Compiled { object: emitted.object, plan },
        module,
        assembly: emitted.asm,
        warnings,
    })
}

/// A probe that does not fit what the kernel gives a program.
fn too_large(error: &EmitError, names: &[String], spans: &[Span]) -> Diagnostic {
    let (program, title, variables) = match error {
        EmitError::Stack { program, bytes, variables } => (
            program,
            format!("this probe needs {bytes} bytes of stack, and the kernel gives {STACK_BYTES}"),
            variables,
        ),
        EmitError::Scratch { program, bytes, variables } => {
            let most = scratch::MAX_SCRATCH_BYTES;
            (
                program,
                format!("this probe needs {bytes} bytes of memory, and the kernel gives {most}"),
                variables,
            )
        }
        EmitError::Object(_) => {
            return Diagnostic::error("E0802", error.to_string(), Span::default(), "this script");
        }
    };
    let span = names.iter().zip(spans).find(|(name, _)| *name == program).map(|(_, span)| *span);
    let largest: Vec<String> = variables
        .iter()
        .filter(|(name, _)| name != emit::TEMPORARY)
        .map(|(name, bytes)| format!("{name} ({bytes} bytes)"))
        .collect();
    let finding = Diagnostic::error("E0802", title, span.unwrap_or_default(), "too much for one probe");
    let finding = if largest.is_empty() {
        finding
    } else {
        finding.note(format!("the largest: {}", largest.join(", ")))
    };
    match variables.iter().any(|(name, _)| name == lower::SHARED) {
        true => finding.help(
            "what the body of a loop and the code around it both use stays on the stack: keep less text in it, \
             `str(..., 100)` or `config = { max_strlen = 100 }`, or keep the text in a map",
        ),
        false => finding.help("use fewer or shorter variables and keys, or split the probe in two"),
    }
}
