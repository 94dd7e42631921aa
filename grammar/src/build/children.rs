//! The children of a pair, taken in the order in which the grammar puts them.

use pest::iterators::{Pair, Pairs};

use crate::parser::Rule;

/// What is left of a pair's children.
pub(super) struct Children<'i> {
    pairs: Pairs<'i, Rule>,
}

impl<'i> Children<'i> {
    pub(super) fn of(pair: Pair<'i, Rule>) -> Children<'i> {
        Children { pairs: pair.into_inner() }
    }

    /// The next child, if it is of this rule.
    pub(super) fn accept(&mut self, rule: Rule) -> Option<Pair<'i, Rule>> {
        if self.pairs.peek()?.as_rule() == rule { self.pairs.next() } else { None }
    }

    /// The next child, which the grammar says is of this rule.
    ///
    /// # Panics
    /// If `memql.pest` and `src/build/` do not agree, whatever the input is.
    pub(super) fn need(&mut self, rule: Rule) -> Pair<'i, Rule> {
        self.accept(rule)
            .unwrap_or_else(|| panic!("memql.pest has a {rule:?} here, not {:?}", self.pairs.peek()))
    }

    /// The child after the next one if that is of this rule: the value after `=`.
    pub(super) fn accept_after(&mut self, token: Rule, rule: Rule) -> Option<Pair<'i, Rule>> {
        self.accept(token).map(|_| self.need(rule))
    }

    /// All further children of this rule, passing over others: the items of a list.
    pub(super) fn all(self, rule: Rule) -> impl Iterator<Item = Pair<'i, Rule>> {
        self.pairs.filter(move |pair| pair.as_rule() == rule)
    }
}

impl<'i> Iterator for Children<'i> {
    type Item = Pair<'i, Rule>;

    fn next(&mut self) -> Option<Pair<'i, Rule>> {
        self.pairs.next()
    }
}
