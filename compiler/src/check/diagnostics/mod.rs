//! Everything that can be wrong with a script: one function per finding, one file per family.
//!
//! ```text
//! E01xx syntax        E02xx attach points and what they pass     E03xx names      E04xx types
//! E05xx maps          E06xx functions and formats                E07xx options, settings, reports
//! E08xx not supported yet, or not on this kernel
//! E091x macros, E092x imports, E093x C types                      W0xxx warnings
//! ```
//!
//! Codes are stable. Titles are in the user's words, the primary label marks what to mend, the
//! secondary one shows the cause, and help is something one can type.

pub(crate) mod c_types;
pub(crate) mod formats;
pub(crate) mod functions;
pub(crate) mod imports;
pub(crate) mod macros;
pub(crate) mod maps;
pub(crate) mod names;
pub(crate) mod options;
pub(crate) mod pinned;
pub(crate) mod points;
pub(crate) mod report;
pub(crate) mod syntax;
pub(crate) mod types;
pub(crate) mod unsupported;

use crate::attach::ProgramKind;
use crate::diagnostic::Diagnostic;

/// Whether a finding is about the kernel or the files that a script runs on, rather than about the script.
pub(crate) fn depends_on_target(code: &str) -> bool {
    const CODES: &[&str] = &["E0205", "E0209", "E0214", "E0215", "E0305", "E0307", "E0308", "E0611", "E0802"];
    CODES.contains(&code)
}

/// Names in backticks, with commas: `` `a`, `b` ``.
fn quoted<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|n| format!("`{}`", n.as_ref())).collect();
    quoted.join(", ")
}

/// The most names that a list shows before it says how many more there are.
const MOST_LISTED: usize = 30;

/// A note that lists what there is: ``fields: `a`, `b` ``.
fn list_note(finding: Diagnostic, what: &str, names: &[String]) -> Diagnostic {
    if names.is_empty() {
        return finding.note(format!("{what}: none"));
    }
    let shown = quoted(names.iter().take(MOST_LISTED));
    match names.len().checked_sub(MOST_LISTED) {
        Some(more) if more > 0 => finding.note(format!("{what}: {shown} and {more} more")),
        _ => finding.note(format!("{what}: {shown}")),
    }
}

/// Help that offers names like the one that does not exist.
fn did_you_mean(finding: Diagnostic, what: &str, close: &[String]) -> Diagnostic {
    match close {
        [] => finding,
        [one] => finding.help(format!("{what} with a similar name exists: `{one}`")),
        many => finding.help(format!("similar names exist: {}", quoted(many))),
    }
}

/// `1 argument`, `2 arguments`.
fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

/// What a script calls probes of a program type.
fn kind_name(kind: ProgramKind) -> &'static str {
    match kind {
        ProgramKind::TestRun => "begin, end, interval and test",
        ProgramKind::PerfEvent => "profile, software and hardware",
        ProgramKind::Tracepoint => "tracepoint",
        ProgramKind::RawTracepoint => "rawtracepoint",
        ProgramKind::Kprobe => "kprobe",
        ProgramKind::Kretprobe => "kretprobe",
        ProgramKind::Fentry => "fentry",
        ProgramKind::Fexit => "fexit",
        ProgramKind::Uprobe => "uprobe",
        ProgramKind::Uretprobe => "uretprobe",
        ProgramKind::Usdt => "usdt",
        ProgramKind::Iter => "iter",
        ProgramKind::Bench => "bench",
    }
}
