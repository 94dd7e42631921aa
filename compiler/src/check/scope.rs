//! Block scopes: which variable a name means at a place.

use std::collections::HashMap;

use memql_grammar::ast::Span;

use super::slots::VarSite;
use crate::hir::VarId;
use crate::types::Type;

/// A variable in scope.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    /// Its id in the probe.
    pub id: VarId,
    /// Where it was declared.
    pub site: VarSite,
    /// The type that its declaration gives.
    pub declared: Option<Type>,
    /// Whether something was assigned to it on the way.
    pub assigned: bool,
    /// Loop variables cannot be assigned.
    pub constant: bool,
}

/// The scopes around a place, innermost last, and what went out of scope before it.
#[derive(Debug, Default)]
pub(crate) struct Scopes {
    open: Vec<HashMap<String, Binding>>,
    closed: HashMap<String, Span>,
}

impl Scopes {
    /// Opens a block.
    pub(crate) fn open(&mut self) {
        self.open.push(HashMap::new());
    }

    /// Closes a block; its names are remembered for diagnostics.
    pub(crate) fn close(&mut self) {
        for (name, binding) in self.open.pop().unwrap_or_default() {
            self.closed.insert(name, binding.site.1);
        }
    }

    /// Adds a variable to the innermost block.
    pub(crate) fn insert(&mut self, name: &str, binding: Binding) {
        if let Some(scope) = self.open.last_mut() {
            scope.insert(name.to_owned(), binding);
        }
    }

    /// The variable that a name means here.
    pub(crate) fn find(&self, name: &str) -> Option<&Binding> {
        self.open.iter().rev().find_map(|scope| scope.get(name))
    }

    /// The same, to be changed.
    pub(crate) fn find_mut(&mut self, name: &str) -> Option<&mut Binding> {
        self.open.iter_mut().rev().find_map(|scope| scope.get_mut(name))
    }

    /// Where a variable of this name was declared in a block that has ended.
    pub(crate) fn closed(&self, name: &str) -> Option<Span> {
        self.closed.get(name).copied()
    }

    /// The names in scope.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.open.iter().flat_map(|scope| scope.keys().map(String::as_str))
    }
}
