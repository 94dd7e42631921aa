//! `fentry` and `fexit`: functions of the kernel and its modules that BTF describes, and, after `bpf:`,
//! those of loaded eBPF programs.

use super::glob::is_pattern;
use super::{ExpandError, Parts, bpf, kprobe};
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
        ["bpf", rest @ ..] => return bpf::expand(parts, rest, target, exit),
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
    let exact = !is_pattern(function);
    let all = found_in(parts, target, module, function, exact)?;
    let count = all.len();
    let mut found = Vec::new();
    for (module, function) in all {
        let described = match &module {
            None => target.btf()?.function_id(&function).is_some(),
            Some(module) => {
                target.module_btf(module)?.is_some_and(|types| types.function_id(&function).is_some())
            }
        };
        if described {
            found.push(AttachPoint::Fentry { module, function, exit });
        }
    }
    if found.is_empty() {
        let what = if count == 1 && exact {
            format!("the kernel's BTF does not describe the function `{function}`")
        } else {
            format!("the kernel's BTF describes no function that matches `{function}`")
        };
        return Err(ExpandError::Unsupported {
            message: what,
            help: Some(format!("use `{}:{function}`", if exit { "kretprobe" } else { "kprobe" })),
        });
    }
    Ok(found)
}

/// The functions that a module and a name mean, each with the module that it is in.
fn found_in(
    parts: &Parts<'_>,
    target: &dyn Target,
    module: Option<&str>,
    function: &str,
    exact: bool,
) -> Result<Vec<(Option<String>, String)>, ExpandError> {
    if exact && module.is_none() && target.btf()?.function_id(function).is_some() {
        return Ok(vec![(None, function.to_owned())]);
    }
    kprobe::functions(parts, target, module, function, true)
}
