//! E05xx: maps.

use memql_grammar::ast::{Name, Span};

use super::{did_you_mean, quoted};
use crate::diagnostic::Diagnostic;
use crate::types::{Agg, Type};

fn shown(name: &str) -> String {
    format!("map `@{name}`")
}

/// Types of stacks look alike; what differs may be how they print.
fn stacks_differ(finding: Diagnostic, same_kind: bool) -> Diagnostic {
    if same_kind { finding.note("the two stacks print in different modes") } else { finding }
}

/// E0501: a key of another type or number of parts than the map has.
pub(crate) fn key_mismatch(name: &Name, has: &Type, gets: &Type, at: Span, first: Span) -> Diagnostic {
    let title = format!("{} has keys of `{has}`, not `{gets}`", shown(&name.text));
    let finding = Diagnostic::error("E0501", title, at, format!("expected `{has}`, found `{gets}`"));
    let finding = if first == at { finding } else { finding.because(first, format!("`{has}` since here")) };
    match (has, gets) {
        (Type::Tuple(a), Type::Tuple(b)) if a.len() != b.len() => {
            finding.note(format!("its keys have {} parts, this one has {}", a.len(), b.len()))
        }
        (Type::Str { .. }, Type::Ptr { .. }) => finding.help("read the text that it points to: `str(...)`"),
        (Type::Stack(a), Type::Stack(b)) => stacks_differ(finding, a.user == b.user),
        _ => finding,
    }
}

/// E0502: a value of another type than the map has.
pub(crate) fn value_mismatch(name: &Name, has: &Type, gets: &Type, at: Span, first: Span) -> Diagnostic {
    let title = format!("{} holds `{has}`, it cannot be assigned `{gets}`", shown(&name.text));
    let finding = Diagnostic::error("E0502", title, at, format!("expected `{has}`, found `{gets}`"));
    let finding = if first == at { finding } else { finding.because(first, format!("`{has}` since here")) };
    match (has, gets) {
        (Type::Agg(a), Type::Agg(b)) if a.name() == b.name() => finding
            .note("the two have different arguments behind the value")
            .help(format!("give `{}(...)` the same ones everywhere, or use another map", a.name())),
        (Type::Agg(agg), _) => {
            finding.help(format!("assign `{}(...)` everywhere, or use another map", agg.name()))
        }
        (_, Type::Agg(_)) => finding.help("use another map for the aggregation"),
        (Type::Str { .. }, Type::Ptr { .. }) => finding.help("read the text that it points to: `str(...)`"),
        (Type::Stack(a), Type::Stack(b)) => stacks_differ(finding, a.user == b.user).help("use another map"),
        _ => finding.help("use another map"),
    }
}

/// E0503: a map used with a key here and without one there.
pub(crate) fn keyed_and_not(name: &Name, keyed: bool, first: Span) -> Diagnostic {
    let (here, there) = if keyed { ("with a key", "without a key") } else { ("without a key", "with a key") };
    Diagnostic::error(
        "E0503",
        format!("{} is used {here} and {there}", shown(&name.text)),
        name.span,
        format!("{here} here"),
    )
    .because(first, format!("{there} here"))
    .help("use two maps with different names")
}

/// E0304: a map that is read, and that nothing in the script assigns.
pub(crate) fn never_assigned(name: &Name, close: &[String]) -> Diagnostic {
    let finding = Diagnostic::error(
        "E0304",
        format!("{} is never assigned", shown(&name.text)),
        name.span,
        "nothing in the script writes it",
    );
    let close: Vec<String> = close.iter().map(|c| format!("@{c}")).collect();
    did_you_mean(finding, "a map", &close)
}

/// E0504: a histogram where a number belongs.
pub(crate) fn no_number(agg: Agg, span: Span) -> Diagnostic {
    Diagnostic::error("E0504", format!("`{}()` is no number", agg.name()), span, "many numbers, not one")
        .help("print it with `print(@map)`; for a number keep another map with `count()`, `sum()` or `avg()`")
}

/// E0505: an aggregation that is not assigned to a map.
pub(crate) fn aggregation_outside_map(name: &Name, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0505",
        format!("`{}()` must be assigned to a map", name.text),
        span,
        "it exists only as a map's value",
    )
    .help(format!(
        "assign it: `@ = {}{};`",
        name.text,
        if name.text == "count" { "()" } else { "(...)" }
    ))
}

/// E0505: an aggregation with `+=`.
pub(crate) fn compound_aggregation(map: &Name, call: &Name) -> Diagnostic {
    Diagnostic::error(
        "E0505",
        format!("`{}()` is assigned with `=`", call.text),
        call.span,
        "it updates the map by itself",
    )
    .help(format!("`@{} = {}(...);`", map.text, call.text))
}

/// E0506: `delete` of a map with keys, without a key.
pub(crate) fn delete_needs_key(name: &Name, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0506",
        format!("which key of `@{}` is to be deleted", name.text),
        span,
        "the key is missing",
    )
    .help(format!("`delete(@{0}, KEY)`, or all of them: `clear(@{0})`", name.text))
}

/// E0507: `++` or `--` of a map that holds no integers.
pub(crate) fn not_countable(name: &Name, has: &Type, span: Span, first: Option<Span>) -> Diagnostic {
    let title = format!("{} holds `{has}`, which cannot be counted up or down", shown(&name.text));
    let finding = Diagnostic::error("E0507", title, span, "expected integers");
    let finding = match first {
        Some(first) if first != span => finding.because(first, format!("`{has}` since here")),
        _ => finding,
    };
    match has {
        Type::Agg(agg) => {
            finding.help(format!("assign the aggregation again: `@{} = {}(...);`", name.text, agg.name()))
        }
        _ => finding,
    }
}

/// E0507: a compound assignment to a map that holds no integers.
pub(crate) fn not_updatable(name: &Name, has: &Type, span: Span, first: Span) -> Diagnostic {
    let title = format!("{} holds `{has}`, which has no arithmetic", shown(&name.text));
    let finding = Diagnostic::error("E0507", title, span, "expected integers");
    let finding = if first == span { finding } else { finding.because(first, format!("`{has}` since here")) };
    match has {
        Type::Agg(agg) => {
            finding.help(format!("assign the aggregation again: `@{} = {}(...);`", name.text, agg.name()))
        }
        _ => finding,
    }
}

/// E0508: a loop over histograms.
pub(crate) fn loop_over_histogram(name: &Name, agg: Agg) -> Diagnostic {
    let title = format!("{} holds `{}()`, which a loop cannot read", shown(&name.text), agg.name());
    Diagnostic::error("E0508", title, name.span, "expected numbers or other plain values")
        .help(format!("print it: `print(@{})`", name.text))
}

/// E0509: a map kind that does not exist.
pub(crate) fn unknown_kind(kind: &Name) -> Diagnostic {
    let kinds = crate::check::map::KINDS.iter().map(|k| k.0);
    let close = crate::diagnostic::similar(&kind.text, kinds.clone());
    let finding = Diagnostic::error(
        "E0509",
        format!("there is no map kind `{}`", kind.text),
        kind.span,
        "unknown kind",
    )
    .note(format!("kinds: {}", quoted(kinds)));
    did_you_mean(finding, "a kind", &close)
}

/// E0510: a size that no map can have.
pub(crate) fn bad_entries(name: &Name, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0510",
        format!("{} needs a constant size from 1 to 2147483648", shown(&name.text)),
        span,
        "how many keys it holds",
    )
}

/// E0511: two declarations of one map.
pub(crate) fn declared_twice(name: &Name, first: Span) -> Diagnostic {
    Diagnostic::error(
        "E0511",
        format!("{} is declared twice", shown(&name.text)),
        name.span,
        "declared again",
    )
    .because(first, "first here")
}

/// E0513: a declared map that is used without keys.
pub(crate) fn declared_without_key(name: &Name, kind: &Name) -> Diagnostic {
    let title = format!("{} is declared as `{}` and has no keys", shown(&name.text), kind.text);
    Diagnostic::error("E0513", title, kind.span, "a map without keys is a single value")
        .help("remove the declaration, or use keys")
}
