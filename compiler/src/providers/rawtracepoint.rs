//! `rawtracepoint:EVENT`: which there are, the BTF of the kernel and its modules tells.

use super::glob::{is_pattern, matches};
use super::{ExpandError, Parts};
use crate::attach::AttachPoint;
use crate::btf::Btf;
use crate::diagnostic::similar;
use crate::target::Target;

pub(super) fn expand(parts: &Parts<'_>, target: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    let (module, name) = match parts.texts {
        [name] => (None, *name),
        [module, name] => (Some(*module), *name),
        _ => return Err(parts.wrong_count()),
    };
    let kernel = target.btf()?;
    let mut points = Vec::new();
    if module.is_none_or(|module| matches(module, "vmlinux")) {
        add(&mut points, None, kernel, name);
    }
    let in_modules = match module {
        // A plain name is the kernel's where it has it: modules are not looked at.
        None => is_pattern(name) || points.is_empty(),
        Some(module) => module != "vmlinux",
    };
    for found in if in_modules { target.modules_with_types()? } else { Vec::new() } {
        if module.is_none_or(|module| matches(module, &found))
            && let Some(types) = target.module_btf(&found)?
        {
            add(&mut points, Some(&found), &types, name);
        }
    }
    if points.is_empty() {
        let all = kernel.raw_tracepoints();
        let close = similar(name, all.iter().map(|(n, _)| *n));
        let message = match module {
            Some(module) => format!("there is no raw tracepoint `{name}` in module `{module}`"),
            None => format!("there is no raw tracepoint `{name}`"),
        };
        return Err(ExpandError::NotFound {
            part: parts.texts.len(),
            message,
            similar: close.iter().map(|n| format!("rawtracepoint:{n}")).collect(),
        });
    }
    Ok(points)
}

/// Adds the events of a module, or of the kernel itself, that a name means.
fn add(points: &mut Vec<AttachPoint>, module: Option<&str>, types: &Btf, name: &str) {
    let point =
        |name: &str| AttachPoint::RawTracepoint { module: module.map(str::to_owned), name: name.to_owned() };
    if is_pattern(name) {
        let events = types.own_raw_tracepoints();
        points.extend(events.iter().filter(|event| matches(name, event)).map(|event| point(event)));
    } else if types.has_own_raw_tracepoint(name) {
        points.push(point(name));
    }
}
