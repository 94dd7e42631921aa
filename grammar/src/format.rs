//! The formatter: a script in one style, with its comments and its paragraphs.
//!
//! Only what stands between tokens changes, never a token:
//!
//! ```text
//! text -> pest pairs -> tokens   each knows its part in the grammar: `-` as a sign or as a minus
//!      -> layout                 blocks are indented by four; a block on one line stays there if it fits;
//!                                statements begin lines; breaks inside of a statement stay, indented once more
//! ```
//!
//! Formatting twice is formatting once. Comments, directives (`#include`) and what a condition leaves out stay
//! as they are; of several empty lines one stays.

mod layout;
mod tokens;

use pest::Parser;

use crate::error::SyntaxError;
use crate::outline::outline;
use crate::parser::{Grammar, Rule, parse, syntax_errors};
use crate::preprocess::preprocess;

/// Formats a script.
///
/// # Errors
/// Those of [`parse`]: what cannot be read is not rewritten.
pub fn format(source: &str) -> Result<String, Vec<SyntaxError>> {
    parse(source)?;
    let outline = outline(source).map_err(|error| vec![error])?;
    let preprocessed = preprocess(source, &outline, 0)?;
    let text = &*preprocessed.text;
    let pairs = Grammar::parse(Rule::script, text).map_err(|error| syntax_errors(text, &outline, &error))?;
    Ok(layout::layout(source, &tokens::tokens(pairs)))
}
