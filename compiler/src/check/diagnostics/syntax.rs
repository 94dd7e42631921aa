//! E01xx: the text is no script.

use memql_grammar::SyntaxError;

use crate::diagnostic::Diagnostic;

/// E0101: the text is not a script of the language.
///
/// The message names what was expected in the language's words, and what stands there instead.
pub fn syntax_diagnostics(errors: &[SyntaxError]) -> Vec<Diagnostic> {
    errors.iter().map(syntax_error).collect()
}

fn syntax_error(error: &SyntaxError) -> Diagnostic {
    let label = match error.expected.as_slice() {
        [] => String::new(),
        [one] => format!("expected {one}"),
        _ => "not expected here".to_owned(),
    };
    let finding = Diagnostic::error("E0101", error.message.clone(), error.span, label);
    match &error.help {
        Some(help) => finding.help(help.clone()),
        None => finding,
    }
}
