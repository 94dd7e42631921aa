//! From pest's pairs to the tree: one file per kind of thing, mirroring the sections of `memql.pest`.
//!
//! The grammar guarantees the shape of what arrives here, so the shape is not checked again; what is
//! checked is what a grammar cannot say, such as how large a number is. Such an error is noted and
//! building goes on with a stand-in, so that all of them are found; [`Builder::finish`] then lets no
//! tree with a stand-in out.
//!
//! Spans are taken from tokens and from built nodes, never from a whole pair that could end in
//! something optional: pest counts the blanks before a missing last part as belonging to the pair.

mod attach;
mod c_types;
mod children;
mod expr;
mod item;
mod literal;
mod macros;
mod report;
mod stmt;
mod test;
mod types;

use std::cell::{Cell, RefCell};

use pest::iterators::Pair;

use crate::ast::{Name, Span};
use crate::error::{MAX_ERRORS, SyntaxError};
use crate::outline::span;
use crate::parser::Rule;

/// How many expressions and blocks of a tree may stand within each other: a chain of additions is as
/// deep as one of negations. It is also how deep the building itself recurses, so it is counted there.
pub const MAX_TREE_DEPTH: usize = 500;

/// Builds trees and collects what is wrong with them.
#[derive(Default)]
pub(crate) struct Builder {
    errors: RefCell<Vec<SyntaxError>>,
    /// How deep the node being built is.
    depth: Cell<usize>,
    /// Where the text that pest saw begins: added to every span.
    base: usize,
}

impl Builder {
    /// Builds from a text that begins at an offset of the whole source.
    pub(crate) fn at(base: usize) -> Builder {
        Builder { base, ..Builder::default() }
    }

    /// The tree, if nothing was wrong with it; else what was, in source order.
    pub(crate) fn finish<T>(self, tree: T) -> Result<T, Vec<SyntaxError>> {
        let mut errors = self.errors.into_inner();
        if errors.is_empty() {
            return Ok(tree);
        }
        errors.sort_by_key(|error| error.span);
        errors.truncate(MAX_ERRORS);
        Err(errors)
    }

    fn error(&self, error: SyntaxError) {
        self.errors.borrow_mut().push(error);
    }

    /// Builds something that stands `levels` deeper than the node around it, or notes that this is
    /// too deep.
    fn deeper<T>(&self, levels: usize, at: Span, build: impl FnOnce() -> T) -> Option<T> {
        let depth = self.depth.get();
        if depth + levels > MAX_TREE_DEPTH {
            let message = format!(
                "nested too deeply: more than {MAX_TREE_DEPTH} operators and blocks within each other"
            );
            self.error(
                SyntaxError::new(at, message)
                    .with_help("split it: give its parts names with `let $x = ...;`"),
            );
            return None;
        }
        self.depth.set(depth + levels);
        let built = build();
        self.depth.set(depth);
        Some(built)
    }

    /// The span of a token, or of a pair that ends in a token.
    fn span_of(&self, pair: &Pair<'_, Rule>) -> Span {
        let text = pair.as_span();
        span(self.base + text.start(), self.base + text.end())
    }

    /// A name, or a variable or map without its sigil.
    fn name_of(&self, pair: &Pair<'_, Rule>) -> Name {
        let text = pair.as_str().trim_start_matches(['$', '@']);
        Name { text: text.to_owned(), span: self.span_of(pair) }
    }
}
