//! E07xx: settings and script options.

use std::collections::BTreeMap;

use memql_grammar::ast::{Name, Span};

use super::{did_you_mean, quoted};
use crate::check::options::{OptionSpec, OptionType};
use crate::diagnostic::{Diagnostic, similar};

fn described(ty: OptionType) -> String {
    match ty {
        OptionType::Bool => "`true` or `false`".to_owned(),
        OptionType::Str => "a string in quotes".to_owned(),
        OptionType::Int { bits, signed } => {
            format!("a number that fits `{}int{bits}`", if signed { "" } else { "u" })
        }
    }
}

/// E0701: a setting that does not exist.
pub(crate) fn unknown_setting(name: &Name, close: &[String]) -> Diagnostic {
    let finding = Diagnostic::error(
        "E0701",
        format!("there is no setting `{}`", name.text),
        name.span,
        "unknown setting",
    );
    did_you_mean(finding, "a setting", close)
}

/// E0702: a value that a setting does not take.
pub(crate) fn bad_setting(name: &Name, takes: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0702",
        format!("setting `{}` takes {takes}", name.text),
        span,
        "not a value of this setting",
    )
}

/// E0702: a value in the environment that a setting does not take.
pub(crate) fn bad_environment(variable: &str, value: &str, takes: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0702",
        format!("environment variable `{variable}` takes {takes}, not `{value}`"),
        span,
        "",
    )
    .help(format!("unset it: `unset {variable}`"))
}

/// E0703: an option of a type that the command line cannot give.
pub(crate) fn bad_option_type(name: &Name, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0703",
        format!("option `{}` has a type that no option can have", name.text),
        span,
        "expected `bool`, `string` or an integer type",
    )
}

/// E0704: a default that the option's type does not have.
pub(crate) fn bad_default(name: &Name, ty: OptionType, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0704",
        format!("the default of option `{}` has the wrong type", name.text),
        span,
        format!("expected {}", described(ty)),
    )
}

/// E0705: two options with one name or flag.
pub(crate) fn option_twice(what: &str, span: Span, first: Span) -> Diagnostic {
    Diagnostic::error("E0705", format!("two options are called `{what}`"), span, "again here")
        .because(first, "first here")
}

/// E0705: a required positional argument after one that can be left out.
pub(crate) fn required_after_optional(name: &str, span: Span, optional: Span) -> Diagnostic {
    Diagnostic::error(
        "E0705",
        format!("argument `{name}` must be given, but one before it can be left out"),
        span,
        "has no default",
    )
    .because(optional, "has a default")
    .help("give it a default, or declare it first")
}

/// E0706: an option that must be given and was not.
pub(crate) fn option_missing(spec: &OptionSpec) -> Diagnostic {
    let how = match spec.flags.last() {
        Some(flag) => format!("give it: `{flag} {}`", spec.value_name.as_deref().unwrap_or("VALUE")),
        None => "give it after the script's name".to_owned(),
    };
    Diagnostic::error("E0706", format!("option `{}` was not given", spec.name), spec.span, "has no default")
        .help(how)
}

/// E0707: a flag that is none.
pub(crate) fn bad_flag(name: &Name, word: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0707",
        format!("`{word}` is no flag for option `{}`", name.text),
        span,
        "expected `-c`, `--word` and one word for the value",
    )
    .help("for example \"-T --top N\"")
}

/// E0709: a named parameter that no `getopt` reads; `read` are those that one does, with the first call.
pub(crate) fn unread_named(name: &str, read: &BTreeMap<String, Span>, somewhere: Span) -> Diagnostic {
    let known: Vec<String> = read.keys().map(|name| format!("--{name}")).collect();
    let title = format!("the script has no parameter `--{name}`");
    let Some(first) = read.values().min() else {
        return Diagnostic::error("E0709", title, somewhere, "no `getopt` is called");
    };
    let finding = Diagnostic::error("E0709", title, *first, "parameters are read like this");
    match similar(name, read.keys().map(String::as_str)).first() {
        Some(close) => finding.help(format!("a parameter with a similar name exists: `--{close}`")),
        None => finding.help(format!("it has {}", quoted(&known))),
    }
}

/// E0708: a named parameter whose text does not fit `getopt`'s default.
pub(crate) fn bad_named(name: &str, value: &str, takes: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0708",
        format!("parameter `--{name}` takes {takes}, not `{value}`"),
        span,
        "read here",
    )
}
