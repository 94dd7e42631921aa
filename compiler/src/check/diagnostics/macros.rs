//! E091x: macros, and names that `#define` gives a value.

use memql_grammar::ast::{Expr, ExprKind, MacroDef, MacroParam, Name, Span};

use super::counted;
use crate::diagnostic::Diagnostic;

/// E0911: two macros that a call could not tell apart.
pub(crate) fn macro_twice(name: &Name, first: Span) -> Diagnostic {
    let title = format!("macro `{}` is defined twice with the same parameters", name.text);
    Diagnostic::error("E0911", title, name.span, "defined again")
        .because(first, "first here")
        .note("macros of one name must differ in the number or the kind of their parameters")
}

/// E0912: arguments that a macro does not take.
pub(crate) fn wrong_arguments(name: &Name, defined: &MacroDef, args: &[Expr], span: Span) -> Diagnostic {
    let title = format!("macro `{}` does not take these arguments", name.text);
    let usage = format!("call it as `{}`", usage(defined));
    if defined.params.len() != args.len() {
        let given = counted(args.len(), "argument");
        return Diagnostic::error(
            "E0912",
            title,
            span,
            format!("{given}, expected {}", defined.params.len()),
        )
        .because(defined.name.span, "defined here")
        .help(usage);
    }
    let mut finding = Diagnostic::error("E0912", title, span, "arguments of another kind");
    for (param, arg) in defined.params.iter().zip(args) {
        let wanted = match (param, &arg.kind) {
            (MacroParam::Variable(_), ExprKind::Var(_)) | (MacroParam::Expr(_), _) => continue,
            (MacroParam::Map(_), ExprKind::Map { key: None, .. }) => continue,
            (MacroParam::Variable(_), _) => "expected a variable",
            (MacroParam::Map(_), _) => "expected a map without a key",
        };
        finding = finding.because(arg.span, wanted);
    }
    finding.because(defined.name.span, "defined here").help(usage)
}

/// `name($a, @b, c)`
fn usage(defined: &MacroDef) -> String {
    let params = defined.params.iter().map(|param| match param {
        MacroParam::Variable(name) => format!("${}", name.text),
        MacroParam::Map(name) => format!("@{}", name.text),
        MacroParam::Expr(name) => name.text.clone(),
    });
    format!("{}({})", defined.name.text, params.collect::<Vec<_>>().join(", "))
}

/// E0912: a macro that takes arguments, named without any.
pub(crate) fn call_without_arguments(name: &Name, defined: &MacroDef) -> Diagnostic {
    let title = format!("macro `{}` takes {}", name.text, counted(defined.params.len(), "argument"));
    Diagnostic::error("E0912", title, name.span, "none are given")
        .because(defined.name.span, "defined here")
        .help(format!("call it as `{}`", usage(defined)))
}

/// E0912: arguments that a `#define` does not take.
pub(crate) fn wrong_define_arguments(
    name: &Name,
    params: usize,
    args: usize,
    span: Span,
    defined: Span,
) -> Diagnostic {
    let title = format!("`{}` takes {}", name.text, counted(params, "argument"));
    Diagnostic::error("E0912", title, span, format!("{} given", counted(args, "argument")))
        .because(defined, "defined here")
}

/// E0913: a macro that contains itself.
pub(crate) fn recursive(name: &Name, chain: &[String]) -> Diagnostic {
    let title = format!("`{}` contains itself", name.text);
    Diagnostic::error("E0913", title, name.span, "expands without end")
        .note(format!("it is used by way of {}", chain.join(" > ")))
        .help("use a loop: `for ($i : 0..10) { ... }`")
}

/// E0914: a map in a macro that it was not passed.
pub(crate) fn unhygienic_map(name: &Name, of: &Name) -> Diagnostic {
    let title = format!("macro `{}` uses the map `@{}`, which it is not passed", of.text, name.text);
    Diagnostic::error("E0914", title, name.span, "not a parameter")
        .because(of.span, "this macro")
        .help(format!("add the parameter `@{}` and pass the map where the macro is called", name.text))
}

/// E0915: expansions that make too much.
pub(crate) fn too_large(span: Span, most: usize) -> Diagnostic {
    let title = format!("macros make more than {most} parts of expressions");
    Diagnostic::error("E0915", title, span, "too much code for a program")
        .help("bind what is passed to a variable, so that it is there once: `let $x = x;`")
}

/// E0915: expansions within each other.
pub(crate) fn too_deep(span: Span, most: usize) -> Diagnostic {
    let title = format!("macros nest too deeply: more than {most} operators and blocks within each other");
    Diagnostic::error("E0915", title, span, "too deep").help("give parts names with `let $x = ...;`")
}

/// E0916: a parameter that stands for a value, where a type is wanted.
pub(crate) fn not_a_type(name: &Name) -> Diagnostic {
    let title = format!("parameter `{}` stands for a value here, not for a type", name.text);
    Diagnostic::error("E0916", title, name.span, "read as a type")
        .help(format!("pass a type as `typeof(TYPE)`; for the value's type write `typeof({})`", name.text))
}

/// E0917: a name whose definition is no expression.
pub(crate) fn defined_as_text(name: &Name, defined: Span) -> Diagnostic {
    let title = format!("`{}` is defined as something that is no expression", name.text);
    Diagnostic::error("E0917", title, name.span, "has no value")
        .because(defined, "defined here")
        .help("`#define` takes a number, a string or an expression; for statements write a macro: `macro name() { ... }`")
}
