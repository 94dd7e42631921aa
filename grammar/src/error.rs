//! What is wrong with the text of a script, as a value.

use std::fmt;

use crate::ast::Span;
use crate::outline::span;

/// How many syntax errors are reported for one script. After that many, the rest is noise.
pub(crate) const MAX_ERRORS: usize = 20;

/// One syntax error, in the words of the language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The smallest piece of the source that is wrong; empty at the end of the script.
    pub span: Span,
    /// One line, lower case, without a full stop: "expected `;` or `}`, found `printf`".
    pub message: String,
    /// What could have stood there instead, each in the words of `message`; empty where the text
    /// has the right shape but cannot mean anything (a number that is too large).
    pub expected: Vec<String>,
    /// Something one can do or type.
    pub help: Option<String>,
}

impl SyntaxError {
    /// An error that is not about what was expected.
    pub(crate) fn new(span: Span, message: impl Into<String>) -> SyntaxError {
        SyntaxError { span, message: message.into(), expected: Vec::new(), help: None }
    }

    /// The error in a text that begins at an offset of all that is read.
    pub(crate) fn shifted(mut self, base: usize) -> SyntaxError {
        self.span = span(base + self.span.start as usize, base + self.span.end as usize);
        self
    }

    /// Adds the help text.
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> SyntaxError {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SyntaxError {}
