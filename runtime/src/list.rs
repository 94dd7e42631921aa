//! `-l`: what a script can attach to on this kernel, and with `-v` the arguments there.
//!
//! A pattern is an attach point with wildcards; several are parted by commas. Beside what scripts can
//! write, the provider may be a wildcard (`*:oom_kill*`) or left out (`oom_kill*`), and `struct NAME`,
//! `union NAME` and `enum NAME` show types. Lines are as bpftrace prints them, so that what reads its
//! lists reads these:
//!
//! ```text
//! tracepoint:syscalls:sys_enter_openat
//!     int __syscall_nr
//!     int dfd
//!     const char * filename
//! ```

mod arguments;
mod points;
#[cfg(test)]
mod tests;
mod types;

use std::io::{self, BufWriter, Write};

use memql_compiler::attach::AttachPoint;
use memql_compiler::diagnostic::similar;
use memql_compiler::providers::glob::{is_pattern, matches};
use memql_compiler::providers::{ExpandError, PROVIDERS, Provider, expand_parts, provider};
use memql_compiler::target::{FactError, Target};

use crate::error::RunError;
use points::Listed;

/// Providers that are listed when none is named. The others have nothing to list without a file, or
/// the same functions as one of these.
const LISTED: [&str; 9] = [
    "interval",
    "profile",
    "tracepoint",
    "rawtracepoint",
    "kprobe",
    "fentry",
    "iter",
    "software",
    "hardware",
];

/// Prints what matches, sorted within each provider. A closed pipe ends the list quietly.
///
/// Gives back, in words, what could not be listed although the pattern covers it.
///
/// # Errors
/// If nothing matches, with names that are close; if the system refuses everything that the pattern
/// covers; if the output cannot be written.
pub fn list(
    target: &dyn Target,
    pattern: Option<&str>,
    verbose: bool,
    out: &mut dyn Write,
) -> Result<Vec<String>, RunError> {
    let (mut left_out, mut out) = (Vec::new(), BufWriter::with_capacity(1 << 16, out));
    for pattern in split(pattern.unwrap_or("*")) {
        let written = match Wanted::parse(target, &pattern) {
            Wanted::Type(keyword, name) => types::print(target, keyword, &name, verbose, &mut out)?,
            Wanted::Points { providers, parts } => {
                let found = find(target, &pattern, &providers, &parts, &mut left_out)?;
                print(target, &found, verbose, &mut left_out, &mut out)
            }
        };
        match written.and_then(|()| out.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(RunError::system("cannot write the list", &error)),
        }
    }
    Ok(left_out)
}

/// Prints attach points that a script has, as [`list`] prints those of a pattern.
///
/// # Errors
/// If the output cannot be written.
pub fn list_points(
    target: &dyn Target,
    points: &[AttachPoint],
    verbose: bool,
    out: &mut dyn Write,
) -> Result<Vec<String>, RunError> {
    let (mut left_out, mut out) = (Vec::new(), BufWriter::with_capacity(1 << 16, out));
    let found: Vec<Listed> = points.iter().filter_map(points::of_script).collect();
    match print(target, &found, verbose, &mut left_out, &mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(RunError::system("cannot write the list", &error))
        }
        Ok(()) | Err(_) => Ok(left_out),
    }
}

/// The patterns of a list, at its commas.
fn split(pattern: &str) -> Vec<String> {
    pattern.split(',').map(|p| p.trim().trim_matches('"').to_owned()).filter(|p| !p.is_empty()).collect()
}

/// What one pattern asks for.
enum Wanted {
    /// A type: `struct`, `union` or `enum`, and its name.
    Type(&'static str, String),
    /// Attach points.
    Points {
        /// Of these providers.
        providers: Providers,
        /// With these parts after the provider's name.
        parts: Vec<String>,
    },
}

/// The providers of a pattern.
enum Providers {
    /// The one that is named, so that its errors are the answer.
    One(&'static Provider),
    /// All that match: what one of them lacks is not an error.
    Many(Vec<&'static Provider>),
    /// None has this name.
    Unknown(String),
}

impl Wanted {
    fn parse(target: &dyn Target, pattern: &str) -> Wanted {
        for keyword in ["struct", "union", "enum"] {
            if let Some(name) = pattern.strip_prefix(keyword).filter(|rest| rest.starts_with(' ')) {
                return Wanted::Type(keyword, name.trim().to_owned());
            }
        }
        let mut words = pattern.split(':').map(str::to_owned);
        let first = words.next().unwrap_or_default();
        let parts: Vec<String> = words.collect();
        // Places in programs are listed where it is said whose: those of a file or of a process.
        let of_files = parts.first().map_or(target.process().is_some(), |part| part.contains('/'));
        let listed = |name: &str| {
            let is_listed = |p: &&Provider| match p.name {
                "usdt" | "uprobe" => of_files,
                name => LISTED.contains(&name),
            };
            PROVIDERS.iter().filter(is_listed).filter(|p| matches(name, p.name)).collect::<Vec<_>>()
        };
        let providers = match provider(&first) {
            Some(provider) => Providers::One(provider),
            // A pattern of providers lists all of theirs; any other name alone is looked for everywhere.
            None if parts.is_empty() && first != "*" && !listed(&first).is_empty() => {
                Providers::Many(listed(&first))
            }
            None if parts.is_empty() => {
                let parts = if first == "*" { Vec::new() } else { vec![first] };
                return Wanted::Points { providers: Providers::Many(listed("*")), parts };
            }
            None if is_pattern(&first) => Providers::Many(listed(&first)),
            None => Providers::Unknown(first),
        };
        Wanted::Points { providers, parts }
    }
}

/// The points of a pattern.
fn find(
    target: &dyn Target,
    pattern: &str,
    providers: &Providers,
    parts: &[String],
    left_out: &mut Vec<String>,
) -> Result<Vec<Listed>, RunError> {
    let many = match providers {
        Providers::One(provider) => {
            return points::of(provider, parts, false, target).map_err(|e| failed(pattern, e));
        }
        Providers::Many(many) => many,
        Providers::Unknown(name) => {
            // It knows names that are close, and kinds that are not supported yet.
            let error = expand_parts(&[name], target)
                .err()
                .unwrap_or(ExpandError::UnknownProvider { similar: vec![] });
            return Err(failed(pattern, error));
        }
    };
    let mut found = Vec::new();
    let mut refusals = Vec::new();
    for provider in many {
        match points::of(provider, parts, true, target) {
            Ok(points) => {
                found.extend(points);
            }
            Err(ExpandError::Fact(error)) => refusals.push((provider.name, error)),
            // In a search, what one provider does not have is no news.
            Err(
                ExpandError::Malformed { .. }
                | ExpandError::NotFound { .. }
                | ExpandError::UnknownProvider { .. }
                | ExpandError::Unsupported { .. },
            ) => {}
        }
    }
    left_out.extend(refusals.iter().map(|(name, error)| format!("`{name}` is left out: {}", error.message)));
    match found.is_empty() {
        false => Ok(found),
        true => Err(nothing(pattern, parts, left_out, target)),
    }
}

/// A search found nothing: what was left out of it, and events of a similar name.
fn nothing(pattern: &str, parts: &[String], left_out: &mut Vec<String>, target: &dyn Target) -> RunError {
    let mut error = RunError::plain(format!("nothing to attach to matches `{pattern}`"));
    error.notes.append(left_out);
    let events = target.tracepoints().unwrap_or_default();
    let close =
        similar(parts.last().map_or("", String::as_str), events.iter().map(|(_, name)| name.as_str()));
    let close = events.iter().filter(|(_, name)| close.contains(name));
    let close: Vec<String> =
        close.map(|(category, name)| format!("`tracepoint:{category}:{name}`")).collect();
    match close.is_empty() {
        false => error.help(format!("there is {}", close.join(", "))),
        true => error.help("list everything of a kind: `memql -l 'tracepoint:*'`, `memql -l 'kprobe:*'`"),
    }
}

fn failed(pattern: &str, error: ExpandError) -> RunError {
    let what = RunError::plain(format!("nothing to attach to matches `{pattern}`: {error}"));
    match error {
        ExpandError::NotFound { similar, .. } if !similar.is_empty() => {
            let similar: Vec<String> = similar.iter().map(|s| format!("`{s}`")).collect();
            what.help(format!("there is {}", similar.join(", ")))
        }
        ExpandError::Malformed { help, .. } | ExpandError::Unsupported { help, .. } => what.help_if(help),
        ExpandError::Fact(FactError { message, help }) => {
            RunError::plain(format!("cannot list `{pattern}`: {message}")).help_if(help)
        }
        ExpandError::UnknownProvider { similar } if !similar.is_empty() => {
            what.help(format!("did you mean `{}`?", similar.join("` or `")))
        }
        ExpandError::UnknownProvider { .. } => {
            let names: Vec<&str> = PROVIDERS.iter().map(|p| p.name).collect();
            what.help(format!("providers: {}", names.join(", ")))
        }
        ExpandError::NotFound { .. } => what,
    }
}

fn print(
    target: &dyn Target,
    found: &[Listed],
    verbose: bool,
    left_out: &mut Vec<String>,
    out: &mut dyn Write,
) -> io::Result<()> {
    for listed in found {
        writeln!(out, "{}", listed.text)?;
        let Some(point) = listed.point.as_ref().filter(|_| verbose) else { continue };
        match arguments::of(point, target) {
            Ok(lines) => lines.iter().try_for_each(|line| writeln!(out, "    {line}"))?,
            Err(error) => {
                let note = format!("arguments are left out: {}", error.message);
                if !left_out.contains(&note) {
                    left_out.push(note);
                }
            }
        }
    }
    Ok(())
}
