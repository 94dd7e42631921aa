//! E03xx: names that mean nothing, or mean something already.

use memql_grammar::ast::{Name, Span};

use super::{did_you_mean, list_note};
use crate::diagnostic::{Diagnostic, similar};
use crate::types::{TupleField, Type};

/// E0301: a variable that nothing was assigned to.
pub(crate) fn unknown_variable(name: &Name, close: &[String]) -> Diagnostic {
    let title = format!("variable `${}` does not exist", name.text);
    let finding = Diagnostic::error("E0301", title, name.span, "never assigned before this");
    if close.is_empty() {
        return finding.help(format!(
            "assign it first: `${0} = ...`; a value from another probe is kept in a map: `@{0}[tid] = ...`",
            name.text
        ));
    }
    let close: Vec<String> = close.iter().map(|c| format!("${c}")).collect();
    did_you_mean(finding, "a variable", &close)
}

/// E0302: a variable of a block that has ended.
pub(crate) fn variable_out_of_scope(name: &Name, declared: Span) -> Diagnostic {
    let title = format!("variable `${}` does not exist here", name.text);
    Diagnostic::error("E0302", title, name.span, "outside of the block that has it")
        .because(declared, "it exists in the block around this")
        .help(format!("declare it before that block: `let ${};`", name.text))
}

/// E0303: a variable that is declared while one of the same name exists.
pub(crate) fn declared_twice(name: &Name, first: Span) -> Diagnostic {
    let title = format!("variable `${}` exists already", name.text);
    Diagnostic::error("E0303", title, name.span, "declared again")
        .because(first, "first here")
        .help("choose another name, or assign without `let`")
}

/// E0305: a word that is no builtin, no enumerator and nothing else.
pub(crate) fn unknown_identifier(name: &Name, close: &[String]) -> Diagnostic {
    let finding =
        Diagnostic::error("E0305", format!("`{}` means nothing here", name.text), name.span, "unknown name");
    if close.is_empty() {
        return finding.help(format!("variables begin with `$`, maps with `@`: `${0}`, `@{0}`", name.text));
    }
    did_you_mean(finding, "something", close)
}

/// E0307: a type that neither the language nor the kernel has.
pub(crate) fn unknown_type(name: &str, span: Span, close: &[String]) -> Diagnostic {
    let finding = Diagnostic::error("E0307", format!("there is no type `{name}`"), span, "unknown type");
    if close.is_empty() {
        return finding.help(format!("structs are named with their keyword: `struct {name}`"));
    }
    did_you_mean(finding, "a type", close)
}

/// E0307: a struct, union or enum that the kernel does not have.
pub(crate) fn unknown_kernel_type(what: &str, span: Span, close: &[String]) -> Diagnostic {
    let finding = Diagnostic::error("E0307", format!("the kernel has no `{what}`"), span, "unknown type");
    did_you_mean(finding, "a type", close)
}

/// E0308: a field that a struct does not have.
pub(crate) fn unknown_struct_field(of: &str, name: &Name, fields: &[String]) -> Diagnostic {
    let finding = Diagnostic::error(
        "E0308",
        format!("`{of}` has no field `{}`", name.text),
        name.span,
        "unknown field",
    );
    let finding = list_note(finding, "fields", fields);
    did_you_mean(finding, "a field", &similar(&name.text, fields.iter().map(String::as_str)))
}

/// E0309: an option that the script does not declare.
pub(crate) fn unknown_option(name: &Name, close: &[String], all: &[String]) -> Diagnostic {
    let finding =
        Diagnostic::error("E0309", format!("there is no option `{}`", name.text), name.span, "not declared");
    if all.is_empty() {
        return finding.help(format!(
            "declare it above the probes: `option {}: uint64 = 0, \"--{0} N\", \"what it does\";`",
            name.text
        ));
    }
    did_you_mean(list_note(finding, "options", all), "an option", close)
}

/// E0309: `opt` without the name of an option.
pub(crate) fn bare_opt(name: &Name) -> Diagnostic {
    Diagnostic::error("E0309", "`opt` is not a value", name.span, "an option's name is missing")
        .help("name the option: `opt.NAME`")
}

/// E0310: an element that a tuple or record does not have.
pub(crate) fn unknown_tuple_field(of: &Type, fields: &[TupleField], name: &Name) -> Diagnostic {
    let names: Vec<String> = fields.iter().filter_map(|f| f.name.clone()).collect();
    let title = format!("`{of}` has no element `{}`", name.text);
    let finding = Diagnostic::error("E0310", title, name.span, "unknown element");
    if !names.is_empty() {
        let close = similar(&name.text, names.iter().map(String::as_str));
        return did_you_mean(list_note(finding, "elements", &names), "an element", &close);
    }
    match fields.len() {
        0 => finding.note("it is empty"),
        n => finding.note(format!("its elements are `.0` to `.{}`", n - 1)),
    }
}

/// E0311: a record that names two elements alike.
pub(crate) fn record_field_twice(name: &Name, first: Span) -> Diagnostic {
    Diagnostic::error(
        "E0311",
        format!("the record has two elements `{}`", name.text),
        name.span,
        "named again",
    )
    .because(first, "first here")
}

/// W0003: a variable is read before anything was assigned to it, so it is zero.
pub(crate) fn used_before_assignment(name: &Name, declared: Span) -> Diagnostic {
    let title = format!("variable `${}` is read before it is assigned", name.text);
    Diagnostic::warning("W0003", title, name.span, "zero, or empty")
        .because(declared, "declared without a value")
}

/// W0005: a statement that nothing reaches.
pub(crate) fn unreachable(span: Span, by: Span) -> Diagnostic {
    Diagnostic::warning("W0005", "this never runs", span, "unreachable").because(by, "the block is left here")
}
