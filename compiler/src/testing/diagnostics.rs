//! What can be wrong with a test (E09xx), and how a test fails (E095x).

use memql_grammar::ast::{Name, Span};

use crate::diagnostic::{Diagnostic, similar};

/// What is wrong.
pub type Finding = Box<Diagnostic>;

/// Attach points that need no fact, or that no fact can declare.
pub fn no_fact(span: Span, point: &str) -> Finding {
    Diagnostic::error("E0901", format!("`{point}` cannot be declared"), span, "no such fact")
        .note("every kernel has `begin`, `end`, `interval`, `profile`, `self`, `software` and `hardware`")
        .help("declare `tracepoint`, `rawtracepoint`, `kprobe`, `fentry`, `uprobe` or `usdt` points, each by its full name").into()
}

/// A type that facts cannot have.
pub fn fact_type(span: Span, why: &str) -> Finding {
    Diagnostic::error("E0902", format!("this type cannot be used here: {why}"), span, "not a fact's type").help(
        "use integers, `bool`, `string`, pointers, arrays with a length, and a `struct`, `union` or `enum` that the \
         `kernel` block declares",
    ).into()
}

/// Fields where there are none.
pub fn no_fields(span: Span, provider: &str) -> Finding {
    Diagnostic::error("E0903", format!("a `{provider}` has no declared arguments"), span, "surplus")
        .help("its arguments are given when it fires: `fire ... (arg0 = 1)`")
        .into()
}

/// Something was declared twice.
pub fn declared_twice(span: Span, what: &str, first: Span) -> Finding {
    Diagnostic::error("E0904", format!("{what} is declared twice"), span, "again")
        .because(first, "first declared here")
        .into()
}

/// A `fire` whose attach point the test's kernel does not have.
pub fn cannot_fire(span: Span, why: &str) -> Finding {
    Diagnostic::error("E0905", format!("this event cannot happen: {why}"), span, "no such event")
        .help("a `fire` names one attach point that the `kernel` block declares, without wildcards")
        .into()
}

/// A `fire` that no probe would see.
pub fn nobody_listens(span: Span, point: &str, listening: &[String]) -> Finding {
    let finding = Diagnostic::error(
        "E0906",
        format!("no probe of this run is attached to `{point}`"),
        span,
        "nothing would happen",
    );
    let close = similar(point, listening.iter().map(String::as_str));
    let finding = match listening {
        [] => finding.note("attached: nothing"),
        some => finding.note(format!("attached: {}", quoted(some))),
    };
    let finding = match close.first() {
        Some(close) => finding.help(format!("fire {close}")),
        None => finding,
    };
    finding.into()
}

/// A name that means nothing where it stands.
pub fn unknown_value(name: &Name, what: &str, known: &[String]) -> Finding {
    let finding = Diagnostic::error("E0907", format!("{what} has no `{}`", name.text), name.span, "unknown")
        .note(format!("there is {}", quoted(known)));
    let finding = match similar(&name.text, known.iter().map(String::as_str)).first() {
        Some(close) => finding.help(format!("a similar name exists: `{close}`")),
        None => finding,
    };
    finding.into()
}

/// A value that does not fit its place.
pub fn wrong_value(span: Span, wanted: &str) -> Finding {
    Diagnostic::error("E0908", format!("expected {wanted}"), span, "does not fit")
        .help("values are literals: numbers, `true`, `\"text\"`, and records `(name = 1)` or tuples `(1, 2)` of them").into()
}

/// A step in the wrong place.
pub fn step_order(span: Span, title: &str, help: &str) -> Finding {
    Diagnostic::error("E0909", title, span, "not here").help(help).into()
}

/// A command line of `run` that cannot be used.
pub fn wrong_run(span: Span, why: &str) -> Finding {
    Diagnostic::error(
        "E0910",
        format!("the script does not take this: {why}"),
        span,
        "what follows the script",
    )
    .into()
}

/// Printed lines differ.
pub fn other_lines(span: Span, expected: &[String], found: &[String]) -> Finding {
    let title = match (expected, found) {
        ([], _) => "expected that nothing is printed".to_owned(),
        (_, []) => "expected printed lines, and nothing was printed".to_owned(),
        _ => match expected.iter().zip(found).position(|(e, f)| e != f) {
            Some(at) => format!("printed line {} is not as expected", at + 1),
            None if expected.len() < found.len() => {
                format!("expected {} printed lines, found {}", expected.len(), found.len())
            }
            None => format!("expected {} printed lines, found only {}", expected.len(), found.len()),
        },
    };
    let mut finding = Diagnostic::error("E0950", title, span, "this expectation");
    if !expected.is_empty() {
        finding = finding.note(format!("expected:\n{}", block(expected)));
    }
    finding
        .note(match found {
            [] => "printed: nothing".to_owned(),
            found => format!("printed:\n{}", block(found)),
        })
        .into()
}

/// Lines that no expectation has looked at.
pub fn surplus_lines(span: Span, found: &[String]) -> Finding {
    Diagnostic::error("E0951", "more was printed than the test expects", span, "this test")
        .note(format!("printed after the last expectation:\n{}", block(found)))
        .help("a test that expects lines expects all of them: add `expect \"...\";`")
        .into()
}

/// A condition that does not hold; with both sides, if it is a comparison.
pub fn condition_fails(span: Span, sides: Option<(String, String)>) -> Finding {
    let finding = Diagnostic::error("E0952", "expected this to be true", span, "it is false");
    let finding = match sides {
        Some((left, right)) => finding.note(format!("left:  {left}")).note(format!("right: {right}")),
        None => finding,
    };
    finding.into()
}

/// The script did not exit, or with another code.
pub fn other_exit(span: Span, expected: Option<u64>, found: Option<u8>) -> Finding {
    let found = match found {
        None => "the script has not called `exit()`".to_owned(),
        Some(code) => format!("the script has called `exit({code})`"),
    };
    let expected = expected.map_or(String::new(), |code| format!(" with {code}"));
    Diagnostic::error("E0953", format!("expected that the script exits{expected}"), span, found).into()
}

/// An event after the end of the run.
pub fn run_is_over(span: Span, why: &str) -> Finding {
    Diagnostic::error("E0954", format!("this event comes too late: {why}"), span, "after the end of the run")
        .into()
}

/// Nothing like it was lost.
pub fn not_lost(span: Span, found: &[String]) -> Finding {
    let finding = Diagnostic::error("E0955", "expected that this is lost", span, "it is not");
    let finding = match found {
        [] => finding.note("lost: nothing"),
        found => finding.note(format!("lost:\n{}", block(found))),
    };
    finding.into()
}

/// Something was lost that the test does not expect.
pub fn surplus_loss(span: Span, found: &[String]) -> Finding {
    Diagnostic::error("E0956", "something was lost", span, "in this test")
        .note(format!("lost:\n{}", block(found)))
        .help("if that is how it should be: `expect lost \"a part of that text\";`. Memory that is read is given with `memory`").into()
}

/// The interpreter stopped.
pub fn trapped(span: Span, trap: &str, at: Option<Span>) -> Finding {
    let finding = Diagnostic::error("E0957", "the probe could not be run", span, "when this happens")
        .note(trap.to_owned())
        .note("this is a mistake of memql, or something that tests cannot do yet; please report it");
    let finding = match at {
        Some(at) => finding.because(at, "here"),
        None => finding,
    };
    finding.into()
}

fn block(lines: &[String]) -> String {
    lines.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}
