//! `fentry` and `fexit`: kernel functions that BTF describes.

use super::glob::is_pattern;
use super::{ExpandError, Parts, kprobe};
use crate::attach::AttachPoint;
use crate::target::Target;

pub(super) fn entry(parts: &Parts<'_>, target: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    expand(parts, target, false)
}

pub(super) fn exit(parts: &Parts<'_>, target: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    expand(parts, target, true)
}

fn expand(parts: &Parts<'_>, target: &dyn Target, exit: bool) -> Result<Vec<AttachPoint>, ExpandError> {
    let (module, function) = match parts.texts {
        ["bpf", ..] => {
            return Err(ExpandError::Unsupported {
                message: format!(
                    "`{}:bpf` (tracing of eBPF programs) is not supported yet",
                    parts.provider.name
                ),
                help: None,
            });
        }
        [function] => (None, *function),
        [module, function] => (Some(*module), *function),
        _ => return Err(parts.wrong_count()),
    };
    let part = parts.texts.len();
    if function.is_empty() {
        return Err(parts.malformed(part, "the function's name is missing"));
    }
    if function.contains('+') {
        let message = format!("`{}` takes no offset; `kprobe` does", parts.provider.name);
        return Err(parts.malformed(part, message));
    }
    target.supports(parts.provider.kind)?;
    let btf = target.btf()?;
    let found = kprobe::functions(parts, target, module, function)?;
    let described = |(module, function): &(Option<String>, String)| {
        // A module's functions are described by its own BTF, which is consulted when it is loaded.
        module.is_some() || btf.function_id(function).is_some()
    };
    let count = found.len();
    let found: Vec<_> = found.into_iter().filter(described).collect();
    if found.is_empty() {
        let what = if count == 1 && !is_pattern(function) {
            format!("the kernel's BTF does not describe the function `{function}`")
        } else {
            format!("the kernel's BTF describes no function that matches `{function}`")
        };
        return Err(ExpandError::Unsupported {
            message: what,
            help: Some(format!("use `{}:{function}`", if exit { "kretprobe" } else { "kprobe" })),
        });
    }
    let point = |(module, function)| AttachPoint::Fentry { module, function, exit };
    Ok(found.into_iter().map(point).collect())
}
