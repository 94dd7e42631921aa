//! `begin`, `end`, `self`, `test` and `bench`: events of memql's own run; and `none`, which never happens.

use super::{ExpandError, Parts};
use crate::attach::AttachPoint;
use crate::diagnostic::similar;
use crate::target::Target;

/// Signals that a script can wait for, with their numbers on Linux (all architectures memql knows). Those
/// that end a run (`SIGINT`, `SIGTERM`) or cannot be caught are not among them.
const SIGNALS: &[(&str, i32)] =
    &[("SIGHUP", 1), ("SIGUSR1", 10), ("SIGUSR2", 12), ("SIGALRM", 14), ("SIGCONT", 18), ("SIGWINCH", 28)];

pub(super) fn begin(parts: &Parts<'_>, _: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    alone(parts, vec![AttachPoint::Begin])
}

pub(super) fn end(parts: &Parts<'_>, _: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    alone(parts, vec![AttachPoint::End])
}

pub(super) fn none(parts: &Parts<'_>, _: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    alone(parts, Vec::new())
}

fn alone(parts: &Parts<'_>, points: Vec<AttachPoint>) -> Result<Vec<AttachPoint>, ExpandError> {
    match parts.texts {
        [] | [""] => Ok(points),
        _ => Err(parts.malformed(1, format!("nothing can follow `{}`", parts.provider.name))),
    }
}

pub(super) fn test(parts: &Parts<'_>, _: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    Ok(vec![AttachPoint::Test { name: own_name(parts)? }])
}

pub(super) fn bench(parts: &Parts<'_>, _: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    Ok(vec![AttachPoint::Bench { name: own_name(parts)? }])
}

/// The name that a script gives a test or a benchmark.
fn own_name(parts: &Parts<'_>) -> Result<String, ExpandError> {
    match parts.texts {
        [] | [""] => Err(parts.malformed(1, format!("a `{}` needs a name", parts.provider.name))),
        [name] => Ok((*name).to_owned()),
        _ => Err(parts.wrong_count()),
    }
}

pub(super) fn signal(parts: &Parts<'_>, _: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    let [what, name] = parts.texts else { return Err(parts.wrong_count()) };
    if *what != "signal" {
        return Err(parts.malformed(1, format!("`self` has no event `{what}`")));
    }
    match SIGNALS.iter().find(|(n, _)| n == name) {
        Some((name, signal)) => {
            Ok(vec![AttachPoint::SelfSignal { name: (*name).to_owned(), signal: *signal }])
        }
        None => {
            let names: Vec<&str> = SIGNALS.iter().map(|(n, _)| *n).collect();
            let close = similar(name, names.iter().copied());
            let help = match close.first() {
                Some(close) => format!("did you mean `self:signal:{close}`?"),
                None => format!("signals to choose from: {}", names.join(", ")),
            };
            let message = format!("`{name}` is not a signal that a script can wait for");
            Err(ExpandError::Malformed { part: 2, message, help: Some(help) })
        }
    }
}
