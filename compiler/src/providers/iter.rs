//! `iter:NAME`: the kernel's eBPF iterators. BTF tells which there are: each has a function `bpf_iter_NAME`, which
//! programs are bound to, and a struct `bpf_iter__NAME`, their context.

use super::glob::{is_pattern, matches};
use super::{ExpandError, Parts};
use crate::attach::AttachPoint;
use crate::btf::Btf;
use crate::diagnostic::similar;
use crate::target::Target;

pub(super) fn expand(parts: &Parts<'_>, target: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    let (name, pin) = match parts.texts {
        [name] => (*name, None),
        [name, pin] => (*name, Some(*pin)),
        _ => return Err(parts.wrong_count()),
    };
    if let Some(problem) = pin.and_then(|pin| wrong_pin(name, pin)) {
        return Err(parts.malformed(2, problem));
    }
    let btf = target.btf()?;
    let point = |name: &str| AttachPoint::Iter {
        name: name.to_owned(),
        pin: pin.map(str::to_owned),
        of_tasks: btf.iterator_members(name).iter().any(|(member, _)| member == "task"),
    };
    if !is_pattern(name) && btf.has_iterator(name) {
        return Ok(vec![point(name)]);
    }
    let all = btf.iterators();
    let points: Vec<AttachPoint> =
        all.iter().filter(|n| is_pattern(name) && matches(name, n)).map(|n| point(n)).collect();
    if points.is_empty() {
        let close = similar(name, all.iter().copied());
        return Err(ExpandError::NotFound {
            part: 1,
            message: format!("this kernel has no iterator `{name}`"),
            similar: close.iter().map(|n| format!("iter:{n}")).collect(),
        });
    }
    Ok(points)
}

/// What is wrong with the name of a pinned file.
fn wrong_pin(iterator: &str, pin: &str) -> Option<&'static str> {
    match pin {
        "" => Some("the name of the pinned file is missing"),
        _ if is_pattern(pin) => Some("the name of a pinned file has no wildcards"),
        _ if is_pattern(iterator) => Some("several iterators cannot be pinned to one file"),
        _ => None,
    }
}

/// What the type of an iterator's context is called.
pub(crate) fn context_type(name: &str) -> String {
    format!("{}{name}", Btf::ITERATOR_CONTEXT)
}
