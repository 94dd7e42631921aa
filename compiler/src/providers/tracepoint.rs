//! `tracepoint:CATEGORY:EVENT`, wildcards in both.

use super::glob::{is_pattern, matches};
use super::{ExpandError, Parts};
use crate::attach::AttachPoint;
use crate::diagnostic::similar;
use crate::target::Target;

pub(super) fn expand(parts: &Parts<'_>, target: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    let (category, name) = match parts.texts {
        // One pattern is the event's, of any category: that is what people look for.
        [name] if is_pattern(name) => ("*", *name),
        [category, name] => (*category, *name),
        _ => return Err(parts.wrong_count()),
    };
    for (i, text) in [category, name].into_iter().enumerate() {
        if text.is_empty() || text.contains('/') {
            return Err(parts.malformed(i + 1, format!("`{text}` is not the name of a tracepoint")));
        }
    }
    let point = |category: &str, name: &str| AttachPoint::Tracepoint {
        category: category.to_owned(),
        name: name.to_owned(),
    };
    if !is_pattern(category) && !is_pattern(name) {
        return match target.tracepoint(category, name)? {
            Some(_) => Ok(vec![point(category, name)]),
            None => Err(not_found(category, name, target)?),
        };
    }
    let all = target.tracepoints()?;
    let found = all.iter().filter(|(c, n)| matches(category, c) && matches(name, n));
    let points: Vec<AttachPoint> = found.map(|(c, n)| point(c, n)).collect();
    match points.is_empty() {
        false => Ok(points),
        true if parts.texts.len() == 1 => Err(no_event(name, &all)),
        true => Err(not_found(category, name, target)?),
    }
}

/// No event matches a lone pattern; perhaps a category was meant.
fn no_event(name: &str, all: &[(String, String)]) -> ExpandError {
    let is_category = all.iter().any(|(category, _)| matches(name, category));
    ExpandError::NotFound {
        part: 1,
        message: format!("there is no tracepoint `{name}` in any category"),
        similar: is_category.then(|| format!("tracepoint:{name}:*")).into_iter().collect(),
    }
}

/// Which part is at fault, and what there is of a similar name: the same event of another category,
/// then events of the same category.
fn not_found(category: &str, name: &str, target: &dyn Target) -> Result<ExpandError, ExpandError> {
    let all = target.tracepoints()?;
    let has_category = all.iter().any(|(c, _)| matches(category, c));
    let mut close: Vec<String> =
        all.iter().filter(|(_, n)| n == name).map(|(c, n)| format!("tracepoint:{c}:{n}")).take(3).collect();
    if close.is_empty() && has_category {
        let names = all.iter().filter(|(c, _)| matches(category, c)).map(|(_, n)| n.as_str());
        let names = similar(name, names);
        close.extend(
            all.iter()
                .filter(|(c, n)| matches(category, c) && names.contains(n))
                .map(|(c, n)| format!("tracepoint:{c}:{n}")),
        );
    } else if close.is_empty() {
        let categories = similar(category, all.iter().map(|(c, _)| c.as_str()));
        close.extend(categories.iter().map(|c| format!("tracepoint:{c}:{name}")));
    }
    let (part, message) = if has_category {
        (2, format!("there is no tracepoint `{category}:{name}`"))
    } else {
        (1, format!("there is no category `{category}` of tracepoints"))
    };
    Ok(ExpandError::NotFound { part, message, similar: close })
}
