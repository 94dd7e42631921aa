//! E092x: imports.

use memql_grammar::ast::Span;

use crate::diagnostic::Diagnostic;
use crate::target::FactError;

/// E0921: a file that cannot be read.
pub(crate) fn unreadable(error: &FactError, span: Span) -> Diagnostic {
    let finding = Diagnostic::error("E0921", error.message.clone(), span, "imported here")
        .note("paths are relative to the folder of the script that imports");
    match &error.help {
        Some(help) => finding.help(help.clone()),
        None => finding,
    }
}

/// E0922: a script that imports itself, by way of others.
pub(crate) fn import_cycle(name: &str, chain: &[String], span: Span) -> Diagnostic {
    Diagnostic::error("E0922", format!("`{name}` imports itself"), span, "imported while it is being read")
        .note(format!("it is imported by way of {}", chain.join(" > ")))
        .help("put what both need into a third script")
}

/// E0923: settings in a script that is imported.
pub(crate) fn config_in_import(span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0923",
        "a script that is imported has no `config` block",
        span,
        "settings are of a run",
    )
    .help("move it into the script that is run")
}

/// E0924: a file of C.
pub(crate) fn import_of_c(path: &str, ending: &str, span: Span) -> Diagnostic {
    let finding =
        Diagnostic::error("E0924", format!("`{path}` is C, which memql does not compile"), span, "no script");
    match ending {
        ".h" => {
            finding.help("write its definitions into a script: `struct name { ... };`, `#define NAME value`")
        }
        _ => finding.help("write its functions as macros: `macro name(a, b) { ... }`"),
    }
}

/// E0925: imports of too much.
pub(crate) fn imports_too_large(span: Span, most: usize) -> Diagnostic {
    let title = format!("imports make the script larger than {} MiB, or than a thousand files", most >> 20);
    Diagnostic::error("E0925", title, span, "this one is too much")
}
