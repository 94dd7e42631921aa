//! `rawtracepoint:EVENT`: which there are, BTF tells.

use super::glob::{is_pattern, matches};
use super::{ExpandError, Parts};
use crate::attach::AttachPoint;
use crate::diagnostic::similar;
use crate::target::Target;

pub(super) fn expand(parts: &Parts<'_>, target: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    let (module, name) = match parts.texts {
        [name] => (None, *name),
        [module, name] => (Some(*module).filter(|module| !matches(module, "vmlinux")), *name),
        _ => return Err(parts.wrong_count()),
    };
    if let Some(module) = module {
        return Err(ExpandError::Unsupported {
            message: format!("raw tracepoints of modules (`{module}`) are not supported yet"),
            help: Some(format!("use `tracepoint`: `memql -l 'tracepoint:*:{name}'` finds its category")),
        });
    }
    let btf = target.btf()?;
    let point = |name: &str| AttachPoint::RawTracepoint { module: None, name: name.to_owned() };
    if !is_pattern(name) && btf.raw_tracepoint_args(name).is_some() {
        return Ok(vec![point(name)]);
    }
    let all = btf.raw_tracepoints();
    let points: Vec<AttachPoint> = if is_pattern(name) {
        all.iter().filter(|(n, _)| matches(name, n)).map(|(n, _)| point(n)).collect()
    } else {
        Vec::new()
    };
    if points.is_empty() {
        let close = similar(name, all.iter().map(|(n, _)| *n));
        return Err(ExpandError::NotFound {
            part: parts.texts.len(),
            message: format!("there is no raw tracepoint `{name}`"),
            similar: close.iter().map(|n| format!("rawtracepoint:{n}")).collect(),
        });
    }
    Ok(points)
}
