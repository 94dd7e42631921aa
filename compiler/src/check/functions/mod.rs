//! The table of builtins and functions: one record each, one file per family.
//!
//! What the checker, the "did you mean", the help and the manual know of a function is its record.

mod aggregations;
mod kernel;
mod kinds;
mod maps;
mod meta;
mod names;
mod network;
mod options;
mod output;
mod place;
mod process;
mod strings;
mod symbols;
mod time;
mod unsupported;

use memql_grammar::ast::{Expr as AstExpr, Name, Span};

use super::Checker;
use crate::hir::{Expr, StmtKind};
use crate::types::Agg;

pub(crate) use output::fits;
pub(crate) use symbols::mode_name;
pub(crate) use unsupported::is_missing;

/// A builtin or function of the language.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Its parameters and result, as the manual writes them.
    pub signature: &'static str,
    /// What it does, in one line.
    pub doc: &'static str,
    /// Whether it can be written without parentheses.
    pub bare: bool,
    /// The least number of arguments.
    pub least: usize,
    /// The largest number of arguments; any number without.
    pub most: Option<usize>,
    /// Whether it needs `--unsafe`.
    pub is_unsafe: bool,
    /// Whether its value may be left unused, since it does something.
    pub effect: bool,
    pub(crate) checks: Checks,
}

/// A call being checked.
pub(crate) struct Call<'s> {
    pub name: &'s Name,
    pub args: &'s [AstExpr],
    pub span: Span,
}

/// An aggregation and its operand; `count()` has none.
pub(crate) type Made = (Agg, Option<Expr>);

/// How a call is checked, by what it gives.
#[derive(Clone, Copy)]
pub(crate) enum Checks {
    /// A value.
    Value(fn(&mut Checker<'_>, &Call<'_>) -> Option<Expr>),
    /// Nothing: a statement.
    Effect(fn(&mut Checker<'_>, &Call<'_>) -> Option<StmtKind>),
    /// An aggregation, which can only be assigned to a map.
    Aggregation(fn(&mut Checker<'_>, &Call<'_>) -> Option<Made>),
}

impl Entry {
    /// An entry without arguments, to be completed by the methods below.
    const fn new(name: &'static str, signature: &'static str, doc: &'static str, checks: Checks) -> Entry {
        Entry {
            name,
            signature,
            doc,
            bare: false,
            least: 0,
            most: Some(0),
            is_unsafe: false,
            effect: false,
            checks,
        }
    }

    /// It can be written without parentheses.
    const fn bare(mut self) -> Entry {
        self.bare = true;
        self
    }

    const fn takes(mut self, least: usize, most: usize) -> Entry {
        self.least = least;
        self.most = Some(most);
        self
    }

    const fn takes_at_least(mut self, least: usize) -> Entry {
        self.least = least;
        self.most = None;
        self
    }

    const fn needs_unsafe(mut self) -> Entry {
        self.is_unsafe = true;
        self
    }

    const fn with_effect(mut self) -> Entry {
        self.effect = true;
        self
    }

    /// Whether a call gives a value.
    pub fn has_value(&self) -> bool {
        matches!(self.checks, Checks::Value(_))
    }

    /// Whether it is an aggregation: `@x = count()`.
    pub fn is_aggregation(&self) -> bool {
        matches!(self.checks, Checks::Aggregation(_))
    }
}

/// Entries that belong together.
#[derive(Clone, Copy)]
pub struct Family {
    /// The heading that the manual puts above them.
    pub title: &'static str,
    /// The entries.
    pub entries: &'static [Entry],
}

const fn family(title: &'static str, entries: &'static [Entry]) -> Family {
    Family { title, entries }
}

/// All builtins and functions, family by family.
pub const FAMILIES: &[Family] = &[
    family("Processes, threads, users, processors", process::ENTRIES),
    family("Where the probe is", place::ENTRIES),
    family("Time", time::ENTRIES),
    family("Text and bytes", strings::ENTRIES),
    family("Stacks, symbols, addresses, registers", symbols::ENTRIES),
    family("Networks", network::ENTRIES),
    family("Names of numbers", names::ENTRIES),
    family("What only the kernel can do", kernel::ENTRIES),
    family("Maps", maps::ENTRIES),
    family("What maps keep of many values", aggregations::ENTRIES),
    family("Output, and what else is asked of memql", output::ENTRIES),
    family("Types and layouts", kinds::ENTRIES),
    family("While compiling", meta::ENTRIES),
    family("Parameters", options::ENTRIES),
];

/// All builtins and functions.
pub fn table() -> impl Iterator<Item = &'static Entry> {
    FAMILIES.iter().flat_map(|family| family.entries)
}

/// The index of a text in a table, to which it is added if it is not there.
fn intern(texts: &mut Vec<String>, text: String) -> u32 {
    let at = texts.iter().position(|t| *t == text).unwrap_or_else(|| {
        texts.push(text);
        texts.len() - 1
    });
    at as u32
}

/// The builtin or function of this name.
///
/// bpftrace's own macros call the builtins behind them `__builtin_NAME`; that is the builtin itself, whatever
/// macros a script has.
pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    let plain = without_prefix(name);
    table().find(|e| e.name == plain && (e.bare || plain == name))
}

/// A builtin's name without `__builtin_`.
pub(crate) fn without_prefix(name: &str) -> &str {
    name.strip_prefix("__builtin_").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_not_also_unsupported() {
        let mut names: Vec<&str> = table().map(|e| e.name).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(names.len(), before);
        for name in names {
            assert!(!is_missing(name), "{name} is both there and not");
        }
    }

    #[test]
    fn what_can_be_written_bare_takes_no_arguments_then() {
        for entry in table().filter(|e| e.bare) {
            assert_eq!(entry.least, 0, "{}", entry.name);
        }
    }
}
