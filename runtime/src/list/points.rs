//! The attach points of one provider that a pattern covers.
//!
//! Most come from [`expand_parts`], the very function that scripts go through. Three kinds are listed
//! rather than expanded: clocks by their units, perf events without counts, and functions of programs
//! under all of their names.

use memql_compiler::attach::{AttachPoint, PlaceName, ProgramKind};
use memql_compiler::providers::glob::{is_pattern, matches};
use memql_compiler::providers::perf_events::{HARDWARE, PerfEvent, SOFTWARE};
use memql_compiler::providers::{ExpandError, Provider, expand_parts};
use memql_compiler::target::Target;

/// One line of a list.
pub struct Listed {
    /// As it is printed.
    pub text: String,
    /// What it stands for; `None` for a form that wants a number.
    pub point: Option<AttachPoint>,
}

/// What a provider has; `parts` follow its name in the pattern. In a search over all providers
/// (`anywhere`), a single part is the last one of an attach point.
pub fn of(
    provider: &Provider,
    parts: &[String],
    anywhere: bool,
    target: &dyn Target,
) -> Result<Vec<Listed>, ExpandError> {
    let all = "*".to_owned();
    let last = parts.last().unwrap_or(&all);
    let listing = parts.len() <= 1 && (parts.is_empty() || anywhere || is_pattern(last));
    match provider.name {
        "interval" | "profile" if listing => Ok(clocks(provider, last)),
        "software" if listing => Ok(events(provider, last, SOFTWARE)),
        "hardware" if listing => Ok(events(provider, last, HARDWARE)),
        "uprobe" | "uretprobe" => functions(provider, parts, target),
        "usdt" => match parts {
            [] => expanded(provider, &[all], target),
            [file] if file.contains('/') => expanded(provider, &[file.clone(), all], target),
            [_] if anywhere => expanded(provider, &[all.clone(), last.clone()], target),
            _ => expanded(provider, parts, target),
        },
        "tracepoint" => match parts {
            [] => expanded(provider, &[all.clone(), all], target),
            [one] if anywhere => expanded(provider, &[all, one.clone()], target),
            [category] if !is_pattern(category) => expanded(provider, &[category.clone(), all], target),
            _ => expanded(provider, parts, target),
        },
        "rawtracepoint" | "kprobe" | "kretprobe" | "fentry" | "fexit" | "iter" if parts.is_empty() => {
            expanded(provider, &[all], target)
        }
        _ => expanded(provider, parts, target),
    }
}

fn expanded(provider: &Provider, parts: &[String], target: &dyn Target) -> Result<Vec<Listed>, ExpandError> {
    let parts: Vec<&str> = [provider.name].into_iter().chain(parts.iter().map(String::as_str)).collect();
    let points = expand_parts(&parts, target)?;
    let mut listed: Vec<Listed> =
        points.into_iter().map(|point| Listed { text: text(&point), point: Some(point) }).collect();
    // Locations of one static probe are one line.
    listed.dedup_by(|a, b| a.text == b.text);
    Ok(listed)
}

/// The line of a point that a script has. Clocks and perf events are listed without their number; `begin`
/// and the like, which are everywhere, are not listed.
pub fn of_script(point: &AttachPoint) -> Option<Listed> {
    let unit = |provider: &str, text: &str| {
        let unit = text.split(':').next().filter(|_| text.contains(':')).unwrap_or("us");
        Some(Listed { text: format!("{provider}:{unit}:"), point: None })
    };
    match point {
        AttachPoint::Begin | AttachPoint::End | AttachPoint::SelfSignal { .. } => None,
        AttachPoint::Interval { text, .. } => unit("interval", text),
        AttachPoint::Profile { text, .. } => unit("profile", text),
        AttachPoint::Software { event, .. } => {
            Some(Listed { text: format!("software:{event}:"), point: None })
        }
        AttachPoint::Hardware { event, .. } => {
            Some(Listed { text: format!("hardware:{event}:"), point: None })
        }
        point => Some(Listed { text: text(point), point: Some(point.clone()) }),
    }
}

/// An attach point with its module, which lists show and scripts may leave out.
fn text(point: &AttachPoint) -> String {
    match point {
        AttachPoint::RawTracepoint { module: None, name } => format!("rawtracepoint:vmlinux:{name}"),
        AttachPoint::Fentry { module: None, function, exit: false } => format!("fentry:vmlinux:{function}"),
        AttachPoint::Fentry { module: None, function, exit: true } => format!("fexit:vmlinux:{function}"),
        point => point.to_string(),
    }
}

fn clocks(provider: &Provider, pattern: &str) -> Vec<Listed> {
    let units = ["hz", "ms", "s", "us"].into_iter().filter(|unit| matches(pattern, unit));
    units.map(|unit| Listed { text: format!("{}:{unit}:", provider.name), point: None }).collect()
}

fn events(provider: &Provider, pattern: &str, events: &[PerfEvent]) -> Vec<Listed> {
    let names = events.iter().flat_map(|event| [Some(event.name), event.alias]).flatten();
    let mut names: Vec<&str> = names.filter(|name| matches(pattern, name)).collect();
    names.sort_unstable();
    names.iter().map(|name| Listed { text: format!("{}:{name}:", provider.name), point: None }).collect()
}

/// Functions of programs and libraries. A function of several names has a line for each.
fn functions(provider: &Provider, parts: &[String], target: &dyn Target) -> Result<Vec<Listed>, ExpandError> {
    let any_file = "*".to_owned();
    let (file, function) = match parts {
        [] => (&any_file, "*"),
        [file] => (file, "*"),
        [file, function] if is_pattern(function) => (file, function.as_str()),
        _ => return expanded(provider, parts, target),
    };
    let everything = file == "*";
    let mut found = Vec::new();
    for file in if everything { target.mapped_files()? } else { target.user_files(file)? } {
        let names = match target.user_functions(&file) {
            Ok(names) => names,
            // Of all that is mapped, what is no program has no functions.
            Err(_) if everything => continue,
            Err(error) => return Err(error.into()),
        };
        let names = names.into_iter().filter(|(name, _)| matches(function, name));
        found.extend(names.map(|(symbol, file_offset)| AttachPoint::Uprobe {
            path: file.path.clone(),
            shown_path: file.shown_path.clone(),
            symbol,
            named: PlaceName::Symbol,
            file_offset,
            offset: 0,
            ret: provider.kind == ProgramKind::Uretprobe,
            skip: 0,
        }));
    }
    if found.is_empty() {
        // Says which part is wrong.
        return expanded(provider, &[file.clone(), function.to_owned()], target);
    }
    Ok(found.into_iter().map(|point| Listed { text: point.to_string(), point: Some(point) }).collect())
}
