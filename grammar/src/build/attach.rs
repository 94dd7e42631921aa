//! Attach points: alternatives, and each cut at its colons.

use pest::iterators::{Pair, Pairs};

use super::Builder;
use super::children::Children;
use crate::ast::{AttachPoint, AttachSpec, Name};
use crate::error::SyntaxError;
use crate::parser::Rule;

impl Builder {
    /// The attach point of a text that is nothing else.
    pub(crate) fn attach_spec_only(&self, mut pairs: Pairs<'_, Rule>) -> AttachSpec {
        let text = pairs.next().expect("memql.pest: a successful parse has a pair");
        self.attach_spec(Children::of(text).need(Rule::attach_spec))
    }

    /// One attach point with its name and its fall-backs.
    pub(super) fn attach_point(&self, name: Option<Pair<'_, Rule>>, pair: Pair<'_, Rule>) -> AttachPoint {
        let name = name.map(|name| self.name_of(&Children::of(name).need(Rule::name)));
        let alternatives: Vec<AttachSpec> =
            Children::of(pair).all(Rule::attach_spec).map(|spec| self.attach_spec(spec)).collect();
        let span =
            alternatives.iter().map(|spec| spec.span).reduce(|all, span| all.to(span)).unwrap_or_default();
        AttachPoint { name, alternatives, span }
    }

    pub(super) fn attach_spec(&self, pair: Pair<'_, Rule>) -> AttachSpec {
        let span = self.span_of(&pair);
        let parts = Children::of(pair)
            .map(|part| match part.as_rule() {
                Rule::provider | Rule::binary_provider => {
                    Name { text: part.as_str().to_owned(), span: self.span_of(&part) }
                }
                _ => self.attach_part(part),
            })
            .collect();
        AttachSpec { parts, span }
    }

    /// A part may be glued together of quoted and plain pieces: `"operator new"+4`.
    fn attach_part(&self, pair: Pair<'_, Rule>) -> Name {
        let span = self.span_of(&pair);
        let mut text = String::new();
        for piece in Children::of(pair) {
            if piece.as_rule() != Rule::attach_quoted {
                text.push_str(piece.as_str());
                continue;
            }
            let literal = self.string(&piece);
            match str::from_utf8(&literal.bytes) {
                Ok(quoted) => text.push_str(quoted),
                Err(_) => self.error(SyntaxError::new(literal.span, "an attach point must be valid UTF-8")),
            }
        }
        Name { text, span }
    }
}
