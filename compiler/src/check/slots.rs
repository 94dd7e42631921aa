//! The types of variables and maps, inferred over the whole script.
//!
//! Checking walks the script several times. A walk reads what the walk before learned and collects
//! anew; when two walks learn the same, types are settled and the last walk builds the checked tree:
//!
//! ```text
//! walk 1:  $b = $a (unknown)   $a = 1: Literal(1)         -> { $a: Literal(1) }
//! walk 2:  $b = $a: int8       $a = 1                     -> { $a: Literal(1), $b: int8 }
//! walk 3:  the same -> settled; the final walk converts every value to its slot's type
//! ```
//!
//! Shapes of a slot that do not join are left to the final walk: the first one stays, the others are
//! reported where they stand.

use std::collections::BTreeMap;

use memql_grammar::ast::Span;

use super::shape::Shape;
use crate::types::Type;

/// What one place contributed, and where.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Learned {
    /// What is known.
    pub shape: Shape,
    /// The first place that said so.
    pub span: Span,
}

/// What is known of a map.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct MapFacts {
    /// Whether it has keys, and the place that said so first.
    pub keyed: Option<(bool, Span)>,
    /// Its key, if it has keys.
    pub key: Option<Learned>,
    /// Its value.
    pub value: Option<Learned>,
    /// A place that only reads it, for a map that nothing assigns.
    pub read: Option<Span>,
    /// The first place that assigns it.
    pub assigned: Option<Span>,
    /// Whether its types are a stand-in for what could not be known.
    pub filled: bool,
}

/// Where a variable is declared: the index of its probe, the place, and the mark of the macro's expansion
/// that it is in.
pub(crate) type VarSite = (usize, Span, Option<char>);

/// What one walk learned.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Slots {
    /// Variables by place of declaration.
    pub vars: BTreeMap<VarSite, Learned>,
    /// Maps by name without the sigil.
    pub maps: BTreeMap<String, MapFacts>,
}

/// Adds what a place contributes to a slot; the first shape stays if they do not join. The place that a slot is
/// known by is the first that has its whole type.
pub(crate) fn learn(slot: &mut Option<Learned>, shape: Shape, span: Span) {
    match slot {
        None => *slot = Some(Learned { shape, span }),
        Some(known) => {
            if let Some(joined) = known.shape.join(&shape) {
                if joined == shape && joined != known.shape {
                    known.span = span;
                }
                known.shape = joined;
            }
        }
    }
}

impl Slots {
    /// Adds what an assignment contributes to a variable.
    pub(crate) fn learn_var(&mut self, site: VarSite, shape: Shape, span: Span) {
        let mut slot = self.vars.remove(&site);
        learn(&mut slot, shape, span);
        if let Some(known) = slot {
            self.vars.insert(site, known);
        }
    }

    /// Makes maps of which nothing is known, but that something assigns, maps of integers: those that only
    /// count from themselves (`@n = @n + 1`), and those whose values depend on attach points that are not
    /// there. Whether there were any.
    pub(crate) fn fill_unknown_maps(&mut self) -> bool {
        let mut filled = false;
        for facts in self.maps.values_mut() {
            let Some(span) = facts.assigned else { continue };
            let unknown = || Some(Learned { shape: Shape::Known(Type::I64), span });
            if facts.value.is_none() {
                facts.value = unknown();
                (facts.filled, filled) = (true, true);
            }
            if facts.key.is_none() && matches!(facts.keyed, Some((true, _))) {
                facts.key = unknown();
                (facts.filled, filled) = (true, true);
            }
        }
        filled
    }

    /// Carries over what [`Slots::fill_unknown_maps`] filled in and nothing has been learned of.
    pub(crate) fn keep_filled(&mut self, before: &Slots) {
        for (name, old) in before.maps.iter().filter(|(_, f)| f.filled) {
            let facts = self.map_mut(name);
            facts.filled = true;
            facts.value = facts.value.take().or_else(|| old.value.clone());
            facts.key = facts.key.take().or_else(|| old.key.clone());
        }
    }

    /// The facts of a map, made if there are none.
    pub(crate) fn map_mut(&mut self, name: &str) -> &mut MapFacts {
        self.maps.entry(name.to_owned()).or_default()
    }
}
