//! E075x: `report` statements.

use memql_grammar::ast::{Name, Span};

use super::{counted, did_you_mean, list_note};
use crate::diagnostic::Diagnostic;
use crate::types::{Agg, Type};

/// E0750: an expression that a report cannot compute from an element.
pub(crate) fn too_much(span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0750",
        "a report cannot compute this from an element",
        span,
        "names the key or the value",
    )
    .note("reports have fields, arithmetic, comparisons, `? :`, widening casts, and `@other[$key]`")
    .help("compute it in the probe that fills the map, and store the result")
}

/// E0751: a column that is not there.
pub(crate) fn unknown_column(name: &Name, close: &[String], all: &[String]) -> Diagnostic {
    let finding = Diagnostic::error(
        "E0751",
        format!("the report has no column `{}`", name.text),
        name.span,
        "unknown column",
    );
    did_you_mean(list_note(finding, "columns", all), "a column", close)
}

/// E0752: a format with more or fewer conversions than columns.
pub(crate) fn format_count(wanted: usize, columns: usize, span: Span) -> Diagnostic {
    let title = format!(
        "the format takes {}, the report has {}",
        counted(wanted, "value"),
        counted(columns, "column")
    );
    Diagnostic::error("E0752", title, span, counted(wanted, "conversion"))
        .help("write one conversion per column, in their order")
}

/// E0753: a report over histograms.
pub(crate) fn histogram(name: &Name, agg: Agg) -> Diagnostic {
    let title = format!("map `@{}` holds `{}()`, which a report cannot read", name.text, agg.name());
    Diagnostic::error("E0753", title, name.span, "expected numbers or other plain values")
        .help(format!("print it: `print(@{})`", name.text))
}

/// E0754: an aggregate with too many or too few arguments.
pub(crate) fn aggregate_arguments(name: &Name, given: usize, span: Span) -> Diagnostic {
    let takes = if name.text == "count" { "no argument" } else { "1 argument" };
    Diagnostic::error(
        "E0754",
        format!("`{}` takes {takes} in a report, not {given}", name.text),
        span,
        format!("{given} given"),
    )
}

/// E0754: an aggregate inside of an expression.
pub(crate) fn nested_aggregate(name: &Name, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0754",
        format!("`{}` must be a column of its own", name.text),
        span,
        "inside of an expression",
    )
}

/// E0755: something else where a number belongs.
pub(crate) fn not_a_number(ty: &Type, span: Span) -> Diagnostic {
    Diagnostic::error("E0755", format!("expected a number, found `{ty}`"), span, "not a number")
}

/// E0755: a column that cannot be printed.
pub(crate) fn not_a_column(ty: &Type, span: Span) -> Diagnostic {
    Diagnostic::error("E0755", format!("`{ty}` cannot be printed"), span, "has no text form")
}

/// E0756: a field of something that has none.
pub(crate) fn no_fields(ty: &Type, name: &Name) -> Diagnostic {
    Diagnostic::error(
        "E0756",
        format!("`{ty}` has no fields, so no `{}`", name.text),
        name.span,
        "not a tuple or record",
    )
    .help("use the value itself, without a field")
}

/// E0757: the two sides of `?:` have nothing in common.
pub(crate) fn branches_differ(a: &Type, b: &Type, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0757",
        format!("the two values of `? :` have different types: `{a}` and `{b}`"),
        span,
        "one type is needed",
    )
    .help("make both numbers, or both texts")
}

/// E0758: a lookup with a key of several parts.
pub(crate) fn lookup_key(name: &Name, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0758",
        format!("a report looks up `@{}` by one value", name.text),
        span,
        "several parts",
    )
    .help("use the element's key or value, or a field of it, as the key")
}
