//! `fentry:bpf:FUNCTION` and `fentry:bpf:ID:FUNCTION`: functions of loaded eBPF programs.

use super::glob::{is_pattern, matches};
use super::{ExpandError, Parts};
use crate::attach::AttachPoint;
use crate::diagnostic::similar;
use crate::target::{BpfFunction, Target};

/// The points on functions of programs; `texts` are what follows `bpf`.
pub(super) fn expand(
    parts: &Parts<'_>,
    texts: &[&str],
    target: &dyn Target,
    exit: bool,
) -> Result<Vec<AttachPoint>, ExpandError> {
    let (program, function) = match texts {
        [function] => ("*", *function),
        [program, function] => (*program, *function),
        _ => return Err(parts.wrong_count()),
    };
    let part = parts.texts.len();
    if function.is_empty() {
        return Err(parts.malformed(part, "the function's name is missing"));
    }
    if !is_pattern(program) && program.parse::<u32>().is_err() {
        return Err(parts.malformed(part - 1, format!("`{program}` is not the id of an eBPF program")));
    }
    target.supports(parts.provider.kind)?;
    let all = target.bpf_functions()?;
    let meant = |of: &&BpfFunction| matches(program, &of.program.to_string()) && matches(function, &of.name);
    let point =
        |of: &BpfFunction| AttachPoint::BpfFunction { program: of.program, function: of.name.clone(), exit };
    let found: Vec<AttachPoint> = all.iter().filter(meant).map(point).collect();
    if found.is_empty() {
        let of_program = all.iter().filter(|of| matches(program, &of.program.to_string()));
        let close = similar(function, of_program.map(|of| of.name.as_str()));
        return Err(ExpandError::NotFound {
            part,
            message: format!("no loaded eBPF program has a function `{function}` that can be traced"),
            similar: close.iter().map(|name| format!("{}:bpf:{name}", parts.provider.name)).collect(),
        });
    }
    Ok(found)
}
