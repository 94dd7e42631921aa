//! `kprobe` and `kretprobe`: kernel functions by name, with an offset, or by address.

use super::glob::{is_pattern, matches};
use super::numbers::{number, with_offset};
use super::{ExpandError, Parts};
use crate::attach::AttachPoint;
use crate::diagnostic::similar;
use crate::target::Target;

pub(super) fn entry(parts: &Parts<'_>, target: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    expand(parts, target, false)
}

pub(super) fn ret(parts: &Parts<'_>, target: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    expand(parts, target, true)
}

fn expand(parts: &Parts<'_>, target: &dyn Target, ret: bool) -> Result<Vec<AttachPoint>, ExpandError> {
    let (module, text) = match parts.texts {
        [text] => (None, *text),
        [module, text] => (Some(*module), *text),
        _ => return Err(parts.wrong_count()),
    };
    let part = parts.texts.len();
    if let (None, Some(address)) = (module, number(text)) {
        return Ok(vec![AttachPoint::Kprobe { module: None, function: String::new(), offset: address, ret }]);
    }
    let (function, offset) =
        with_offset(text).map_err(|offset| parts.malformed(part, format!("`{offset}` is not an offset")))?;
    if function.is_empty() {
        return Err(parts.malformed(part, "the function's name is missing"));
    }
    if ret && offset != 0 {
        return Err(parts.malformed(part, "a function returns as a whole: `kretprobe` takes no offset"));
    }
    if offset != 0 && is_pattern(function) {
        return Err(parts.malformed(part, "an offset belongs to one function: it cannot follow a wildcard"));
    }
    // Asked before functions are looked up: without kprobes that is the answer, whatever the name.
    target.supports(parts.provider.kind)?;
    let found = functions(parts, target, module, function, false)?;
    let point = |(module, function)| AttachPoint::Kprobe { module, function, offset, ret };
    Ok(found.into_iter().map(point).collect())
}

/// The functions that a module and a name mean, as `(module, function)`; with the module that each is in if the
/// script names one, or `with_module` asks for it. Shared with `fentry`.
pub(super) fn functions(
    parts: &Parts<'_>,
    target: &dyn Target,
    module: Option<&str>,
    function: &str,
    with_module: bool,
) -> Result<Vec<(Option<String>, String)>, ExpandError> {
    let exact = !is_pattern(function);
    let any_will_do =
        if with_module { module == Some("vmlinux") } else { module.is_none_or(|m| m == "vmlinux") };
    if exact && any_will_do && target.has_kernel_function(function)? {
        return Ok(vec![(None, function.to_owned())]);
    }
    let all = target.kernel_functions()?;
    let in_module = |actual: &str| match module {
        None => true,
        Some("vmlinux") => actual.is_empty(),
        Some(wanted) => matches(wanted, if actual.is_empty() { "vmlinux" } else { actual }),
    };
    let tell = module.is_some() || with_module;
    let mut found: Vec<(Option<String>, String)> = all
        .iter()
        .filter(|(f, m)| in_module(m) && if exact { f == function } else { matches(function, f) })
        .map(|(f, m)| (Some(m.clone()).filter(|m| tell && !m.is_empty()), f.clone()))
        .collect();
    found.dedup();
    if found.is_empty() {
        let provider = parts.provider.name;
        let names = all.iter().filter(|(_, m)| in_module(m)).map(|(f, _)| f.as_str());
        let similar = similar(function, names).iter().map(|f| format!("{provider}:{f}")).collect();
        let message = match module {
            Some(module) => format!("the kernel has no function `{function}` in module `{module}`"),
            None => format!("this kernel has no function `{function}` that can be traced"),
        };
        return Err(ExpandError::NotFound { part: parts.texts.len(), message, similar });
    }
    Ok(found)
}
