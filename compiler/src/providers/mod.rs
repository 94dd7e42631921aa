//! Providers: what a script can attach to, and how each kind of attach point is written.
//!
//! [`PROVIDERS`] is the one table: name, short name, syntax, doc line, program kind. [`expand`] turns an
//! attach point as written, wildcards and all, into the concrete [`AttachPoint`]s of a target. Each
//! family of providers has a file. What the target lacks is an error that says so, since a script may
//! give alternatives (`kprobe:f || tracepoint:a:b`).
//!
//! An exact name asks the target about that name; only wildcards and misspelt names list things.

mod bpf;
mod fentry;
pub mod glob;
pub(crate) mod iter;
mod kprobe;
mod numbers;
pub mod perf_events;
mod rawtracepoint;
mod special;
#[cfg(test)]
mod tests;
mod timers;
mod tracepoint;
mod uprobe;
mod usdt;
mod watchpoint;

use std::fmt;

use memql_grammar::ast::AttachSpec;

use crate::attach::{AttachPoint, ProgramKind};
use crate::diagnostic::similar;
use crate::target::{FactError, Target};

/// One kind of attach point.
pub struct Provider {
    /// Its name.
    pub name: &'static str,
    /// Its short name.
    pub short: Option<&'static str>,
    /// Older names.
    pub aliases: &'static [&'static str],
    /// How attach points of it are written.
    pub syntax: &'static [&'static str],
    /// What it is, in one line.
    pub doc: &'static str,
    /// The program type it needs.
    pub kind: ProgramKind,
    expand: fn(&Parts<'_>, &dyn Target) -> Result<Vec<AttachPoint>, ExpandError>,
}

/// Everything that a script can attach to, in the order in which it is listed.
pub const PROVIDERS: &[Provider] = &[
    Provider {
        name: "begin",
        short: None,
        aliases: &["BEGIN"],
        syntax: &["begin"],
        doc: "once, before anything is attached",
        kind: ProgramKind::TestRun,
        expand: special::begin,
    },
    Provider {
        name: "end",
        short: None,
        aliases: &["END"],
        syntax: &["end"],
        doc: "once, after the last event",
        kind: ProgramKind::TestRun,
        expand: special::end,
    },
    Provider {
        name: "none",
        short: None,
        aliases: &[],
        syntax: &["none"],
        doc: "never: the last of several alternatives, `kprobe:a || none`, so that it may be missing",
        kind: ProgramKind::TestRun,
        expand: special::none,
    },
    Provider {
        name: "self",
        short: None,
        aliases: &[],
        syntax: &["self:signal:SIGUSR1"],
        doc: "when memql gets a signal",
        kind: ProgramKind::TestRun,
        expand: special::signal,
    },
    Provider {
        name: "interval",
        short: Some("i"),
        aliases: &[],
        syntax: &["interval:1s", "interval:UNIT:COUNT", "interval:hz:RATE"],
        doc: "every so often, on one CPU",
        kind: ProgramKind::TestRun,
        expand: timers::interval,
    },
    Provider {
        name: "profile",
        short: Some("p"),
        aliases: &[],
        syntax: &["profile:10ms", "profile:UNIT:COUNT", "profile:hz:RATE"],
        doc: "every so often, on every CPU",
        kind: ProgramKind::PerfEvent,
        expand: timers::profile,
    },
    Provider {
        name: "tracepoint",
        short: Some("t"),
        aliases: &[],
        syntax: &["tracepoint:CATEGORY:EVENT"],
        doc: "an event that the kernel declares, with named fields",
        kind: ProgramKind::Tracepoint,
        expand: tracepoint::expand,
    },
    Provider {
        name: "rawtracepoint",
        short: Some("rt"),
        aliases: &[],
        syntax: &["rawtracepoint:EVENT", "rawtracepoint:MODULE:EVENT"],
        doc: "the same event with the kernel's own arguments",
        kind: ProgramKind::RawTracepoint,
        expand: rawtracepoint::expand,
    },
    Provider {
        name: "kprobe",
        short: Some("k"),
        aliases: &[],
        syntax: &["kprobe:FUNCTION", "kprobe:MODULE:FUNCTION", "kprobe:FUNCTION+OFFSET", "kprobe:ADDRESS"],
        doc: "a kernel function is entered, or an instruction in it is reached",
        kind: ProgramKind::Kprobe,
        expand: kprobe::entry,
    },
    Provider {
        name: "kretprobe",
        short: Some("kr"),
        aliases: &[],
        syntax: &["kretprobe:FUNCTION", "kretprobe:MODULE:FUNCTION", "kretprobe:ADDRESS"],
        doc: "a kernel function returns",
        kind: ProgramKind::Kretprobe,
        expand: kprobe::ret,
    },
    Provider {
        name: "fentry",
        short: Some("f"),
        aliases: &["kfunc"],
        syntax: &["fentry:FUNCTION", "fentry:MODULE:FUNCTION", "fentry:bpf:PROGRAM", "fentry:bpf:ID:PROGRAM"],
        doc: "a kernel function is entered, with typed arguments",
        kind: ProgramKind::Fentry,
        expand: fentry::entry,
    },
    Provider {
        name: "fexit",
        short: Some("fr"),
        aliases: &["kretfunc"],
        syntax: &["fexit:FUNCTION", "fexit:MODULE:FUNCTION", "fexit:bpf:PROGRAM", "fexit:bpf:ID:PROGRAM"],
        doc: "a kernel function returns, with typed arguments and result",
        kind: ProgramKind::Fexit,
        expand: fentry::exit,
    },
    Provider {
        name: "uprobe",
        short: Some("u"),
        aliases: &[],
        syntax: &[
            "uprobe:FILE:FUNCTION",
            "uprobe:FILE:FUNCTION+OFFSET",
            "uprobe:FILE:ADDRESS",
            "uprobe:FILE:cpp:\"NAME\"",
            "uprobe:FILE@SOURCE:LINE",
        ],
        doc: "a function of a program or library is entered, or an instruction in it is reached",
        kind: ProgramKind::Uprobe,
        expand: uprobe::entry,
    },
    Provider {
        name: "uretprobe",
        short: Some("ur"),
        aliases: &[],
        syntax: &["uretprobe:FILE:FUNCTION", "uretprobe:FILE:ADDRESS"],
        doc: "a function of a program or library returns",
        kind: ProgramKind::Uretprobe,
        expand: uprobe::ret,
    },
    Provider {
        name: "usdt",
        short: Some("U"),
        aliases: &[],
        syntax: &["usdt:FILE:NAME", "usdt:FILE:PROVIDER:NAME", "usdt:*:NAME"],
        doc: "a static probe of a program or library is reached",
        kind: ProgramKind::Usdt,
        expand: usdt::expand,
    },
    Provider {
        name: "software",
        short: Some("s"),
        aliases: &[],
        syntax: &["software:EVENT", "software:EVENT:COUNT"],
        doc: "once in so many events that the kernel counts",
        kind: ProgramKind::PerfEvent,
        expand: perf_events::software,
    },
    Provider {
        name: "hardware",
        short: Some("h"),
        aliases: &[],
        syntax: &["hardware:EVENT", "hardware:EVENT:COUNT"],
        doc: "once in so many events that the processor counts",
        kind: ProgramKind::PerfEvent,
        expand: perf_events::hardware,
    },
    Provider {
        name: "watchpoint",
        short: Some("w"),
        aliases: &[],
        syntax: &["watchpoint:ADDRESS:LENGTH:MODE"],
        doc: "a place in memory is written (`w`), read or written (`rw`), or executed (`x`)",
        kind: ProgramKind::PerfEvent,
        expand: watchpoint::expand,
    },
    Provider {
        name: "iter",
        short: Some("it"),
        aliases: &[],
        syntax: &["iter:NAME", "iter:NAME:FILE"],
        doc: "for each of the kernel's objects of a kind (`task`, `task_vma`, `bpf_map`...), once; with a file, whenever that is read",
        kind: ProgramKind::Iter,
        expand: iter::expand,
    },
    Provider {
        name: "test",
        short: None,
        aliases: &[],
        syntax: &["test:NAME"],
        doc: "once, under `--test`: passes if it returns 0, without `exit` of another code and without `errorf`",
        kind: ProgramKind::TestRun,
        expand: special::test,
    },
    Provider {
        name: "bench",
        short: None,
        aliases: &[],
        syntax: &["bench:NAME"],
        doc: "many times over, under `--bench`, and timed",
        kind: ProgramKind::Bench,
        expand: special::bench,
    },
];

/// Providers of the language that are not here: names, and what to use instead.
const LACKING: &[(&[&str], &str)] = &[(&["asyncwatchpoint", "aw"], "use `watchpoint:ADDRESS:LENGTH:MODE`")];

/// Why an attach point does not expand. `part` counts the parts of the attach point as written, the
/// provider being part 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpandError {
    /// It is not written as its provider wants it.
    Malformed {
        /// The part to mend.
        part: usize,
        /// What is wrong.
        message: String,
        /// Something one can type.
        help: Option<String>,
    },
    /// There is no such provider.
    UnknownProvider {
        /// Names that are close.
        similar: Vec<String>,
    },
    /// The target has nothing of this name.
    NotFound {
        /// The part that is not found.
        part: usize,
        /// What is not found.
        message: String,
        /// Attach points that are close, as one can type them.
        similar: Vec<String>,
    },
    /// The language has it, memql or this target does not.
    Unsupported {
        /// What is not supported.
        message: String,
        /// What to use instead.
        help: Option<String>,
    },
    /// The target cannot tell or refuses.
    Fact(FactError),
}

/// The provider of this name, short name or alias.
pub fn provider(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|p| p.names().any(|n| n == name))
}

/// The concrete attach points of one attach point as written, at least one; of `none`, none.
///
/// # Errors
/// See [`ExpandError`].
pub fn expand(spec: &AttachSpec, target: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    let parts: Vec<&str> = spec.parts.iter().map(|p| p.text.as_str()).collect();
    expand_parts(&parts, target)
}

/// [`expand`] for an attach point that does not come from a script: the texts between its colons.
///
/// # Errors
/// See [`ExpandError`].
pub fn expand_parts(parts: &[&str], target: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    let (name, rest) = parts.split_first().map_or(("", &[][..]), |(name, rest)| (*name, rest));
    let Some(provider) = provider(name) else { return Err(unknown(name)) };
    let parts = Parts { provider, texts: rest };
    // What is written is judged before what the target has, so that a mistake is always seen.
    let points = (provider.expand)(&parts, target)?;
    target.supports(provider.kind)?;
    Ok(points)
}

fn unknown(name: &str) -> ExpandError {
    if let Some((names, help)) = LACKING.iter().find(|(names, _)| names.contains(&name)) {
        let message = format!("`{}` probes are not supported yet", names[0]);
        return ExpandError::Unsupported { message, help: Some((*help).to_owned()) };
    }
    let lower = name.to_ascii_lowercase();
    let mut close = similar(name, PROVIDERS.iter().map(|p| p.name));
    if close.is_empty() {
        close =
            PROVIDERS.iter().filter(|p| p.names().any(|n| n == lower)).map(|p| p.name.to_owned()).collect();
    }
    ExpandError::UnknownProvider { similar: close }
}

impl Provider {
    /// Name, short name and aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [self.name].into_iter().chain(self.short).chain(self.aliases.iter().copied())
    }
}

/// What follows the provider's name.
struct Parts<'a> {
    provider: &'static Provider,
    texts: &'a [&'a str],
}

impl Parts<'_> {
    /// Something is written wrongly in a part (counted as in [`ExpandError`]).
    fn malformed(&self, part: usize, message: impl Into<String>) -> ExpandError {
        let forms: Vec<String> = self.provider.syntax.iter().map(|s| format!("`{s}`")).collect();
        let help = Some(format!("write {}", forms.join(" or ")));
        ExpandError::Malformed { part: part.min(self.texts.len()), message: message.into(), help }
    }

    /// The number of parts is not what the provider wants.
    fn wrong_count(&self) -> ExpandError {
        let count = self.texts.len();
        let message = match count {
            0 => format!("`{}` needs to be told what to attach to", self.provider.name),
            1 => format!("`{}` does not take one part after its name", self.provider.name),
            _ => format!("`{}` does not take {count} parts after its name", self.provider.name),
        };
        self.malformed(count, message)
    }
}

impl From<FactError> for ExpandError {
    fn from(error: FactError) -> ExpandError {
        ExpandError::Fact(error)
    }
}

impl fmt::Display for ExpandError {
    /// What is wrong, in one line, without the help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExpandError::Malformed { message, .. }
            | ExpandError::NotFound { message, .. }
            | ExpandError::Unsupported { message, .. } => f.write_str(message),
            ExpandError::UnknownProvider { .. } => f.write_str("there is no such provider"),
            ExpandError::Fact(error) => f.write_str(&error.message),
        }
    }
}

impl std::error::Error for ExpandError {}
