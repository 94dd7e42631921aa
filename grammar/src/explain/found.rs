//! What stands at a place of the source, as one token.
//!
//! The grammar has no tokens apart from its rules, and where it fails no rule matched; so this
//! cuts one out for the message.

use crate::parser::{Grammar, Rule};
use pest::Parser;

/// A piece of the source and its name in a message.
pub(super) struct Found<'s> {
    /// Empty at the end of the script.
    pub(super) text: &'s str,
    pub(super) description: String,
}

/// Operators and brackets of more than one character, longest first.
const LONG_TOKENS: [&str; 24] = [
    "<<=", ">>=", "...", "->", "..", "++", "--", "||", "&&", "==", "!=", "<=", ">=", "<<", ">>", "+=", "-=",
    "*=", "/=", "%=", "&=", "|=", "^=", "::",
];

/// The longest piece of the source that is shown in a message, in bytes.
const MAX_SHOWN: usize = 40;

/// The token that begins at an offset of the source, or the end.
pub(super) fn token_at(source: &str, at: usize) -> Found<'_> {
    let rest = &source[at..];
    let Some(first) = rest.chars().next() else {
        return Found { text: "", description: "the end of the script".to_owned() };
    };
    let text = &rest[..token_length(rest, first)];
    let description = if first == '"' {
        "a string".to_owned()
    } else if is_keyword(text) {
        format!("the keyword `{text}`")
    } else if is_invisible(first) {
        format!("the character U+{:04X}", u32::from(first))
    } else {
        format!("`{}`", shortened(text))
    };
    Found { text, description }
}

/// Whether a word cannot be a name.
pub(super) fn is_keyword(text: &str) -> bool {
    Grammar::parse(Rule::keyword_only, text).is_ok()
}

/// Whether a character would not be seen in a message.
pub(super) fn is_invisible(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

fn token_length(rest: &str, first: char) -> usize {
    if first == '"' {
        return string_length(rest);
    }
    if let Some(token) = LONG_TOKENS.iter().find(|token| rest.starts_with(**token)) {
        return token.len();
    }
    let sigil = if matches!(first, '$' | '@' | '#') { 1 } else { 0 };
    let word = rest[sigil..].find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len() - sigil);
    if sigil + word > 0 { sigil + word } else { first.len_utf8() }
}

/// The length of a string literal with its quotes, or of what there is of it.
fn string_length(rest: &str) -> usize {
    let mut escaped = true; // The opening quote does not close.
    for (index, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

fn shortened(text: &str) -> String {
    if text.len() <= MAX_SHOWN {
        return text.to_owned();
    }
    let mut end = MAX_SHOWN;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}
