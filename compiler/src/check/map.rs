//! `@maps`: declaring, reading and keying them, and what they are in the end.

use cranelift_entity::PrimaryMap;
use memql_grammar::ast::{self, Item, Name, Span};

use super::diagnostics::maps;
use super::shape::Shape;
use super::slots::{MapFacts, learn};
use super::{Checker, constant};
use crate::diagnostic::similar;
use crate::hir::{self, Expr, ExprKind, MapId, MapKind};
use crate::types::{Agg, Type};

/// The largest `max_entries` that the kernel takes for a hash map fits 31 bits.
const MAX_ENTRIES: i128 = 1 << 31;

/// The map kinds that a declaration can name.
pub(crate) const KINDS: &[(&str, MapKind)] = &[
    ("hash", MapKind::Hash),
    ("lruhash", MapKind::LruHash),
    ("percpuhash", MapKind::PerCpuHash),
    ("percpulruhash", MapKind::PerCpuLruHash),
];

fn kind_named(name: &str) -> Option<MapKind> {
    KINDS.iter().find(|(n, _)| *n == name).map(|(_, kind)| *kind)
}

/// Takes the script's map declarations.
pub(crate) fn declare_all<'a>(checker: &mut Checker<'a>, script: &'a ast::Script) {
    for item in &script.items {
        let Item::Map(decl) = item else { continue };
        if kind_named(&decl.kind.text).is_none() {
            checker.report(maps::unknown_kind(&decl.kind));
        }
        match checker.declared.get(&decl.name.text).map(|d| d.name.span) {
            Some(first) => checker.report(maps::declared_twice(&decl.name, first)),
            None => {
                checker.declared.insert(decl.name.text.clone(), decl);
            }
        }
        if entries_of(checker, decl).is_none() {
            checker.report(maps::bad_entries(&decl.name, decl.max_entries.span));
        }
    }
}

fn entries_of(checker: &mut Checker<'_>, decl: &ast::MapDecl) -> Option<u32> {
    let value = checker.expr(&decl.max_entries)?;
    let entries = constant::value_of(&value)?;
    (1..=MAX_ENTRIES).contains(&entries).then_some(entries as u32)
}

/// The maps that the final walk met, with their settled types.
pub(crate) fn build_all(checker: &mut Checker<'_>) -> PrimaryMap<MapId, hir::Map> {
    let mut built = PrimaryMap::new();
    let names: Vec<String> = checker.maps.values().cloned().collect();
    for name in names {
        let facts = checker.before.maps.get(&name).cloned().unwrap_or_default();
        let decl = checker.declared.get(&name).copied();
        let span = facts.key.as_ref().map(|key| key.span).or(facts.keyed.map(|(_, span)| span));
        let span = span.or(facts.read).unwrap_or_default();
        // Nothing is known only where every assignment failed, which was reported.
        let value = facts.value.map_or(Type::I64, |learned| learned.shape.ty());
        let keyed = matches!(facts.keyed, Some((true, _)));
        if let (Some(decl), false) = (decl, keyed) {
            checker.report(maps::declared_without_key(&decl.name, &decl.kind));
        }
        let max_entries = decl.and_then(|d| entries_of(checker, d)).unwrap_or(checker.settings.max_map_keys);
        let key = if keyed { facts.key.map(|l| l.shape.ty()) } else { None };
        let kind = decl.and_then(|d| kind_named(&d.kind.text)).unwrap_or(MapKind::Auto);
        built.push(hir::Map { name: format!("@{name}"), key, value, kind, max_entries, span });
    }
    built
}

impl Checker<'_> {
    /// The id of a map in this walk.
    pub(crate) fn map_id(&mut self, name: &str) -> MapId {
        if let Some(id) = self.map_ids.get(name) {
            return *id;
        }
        let id = self.maps.push(name.to_owned());
        self.map_ids.insert(name.to_owned(), id);
        id
    }

    /// What is known of a map: what the walk before learned, else what this one has.
    pub(crate) fn map_facts(&self, name: &str) -> MapFacts {
        let empty = MapFacts::default();
        let before = self.before.maps.get(name).unwrap_or(&empty);
        let now = self.now.maps.get(name).unwrap_or(&empty);
        MapFacts {
            keyed: before.keyed.or(now.keyed),
            key: before.key.clone().or_else(|| now.key.clone()),
            value: before.value.clone().or_else(|| now.value.clone()),
            read: before.read.or(now.read),
            assigned: before.assigned.or(now.assigned),
            filled: before.filled,
        }
    }

    /// Notes that a map is used with or without a key; it must be the same everywhere.
    pub(crate) fn use_map(&mut self, name: &Name, keyed: bool) -> Option<MapId> {
        let facts = self.now.map_mut(&name.text);
        facts.keyed.get_or_insert((keyed, name.span));
        let id = self.map_id(&name.text);
        match self.map_facts(&name.text).keyed {
            Some((other, span)) if other != keyed => self.fail(|| maps::keyed_and_not(name, keyed, span)),
            _ => Some(id),
        }
    }

    /// A map that is only read here: something must assign it.
    pub(crate) fn read_map_name(&mut self, name: &Name) -> Option<()> {
        self.now.map_mut(&name.text).read.get_or_insert(name.span);
        if self.is_final() && self.map_facts(&name.text).assigned.is_none() {
            let close = self.assigned_names_like(&name.text);
            return self.fail(|| maps::never_assigned(name, &close));
        }
        Some(())
    }

    fn assigned_names_like(&self, name: &str) -> Vec<String> {
        let assigned = self.before.maps.iter().filter(|(_, f)| f.assigned.is_some()).map(|(n, _)| n.as_str());
        similar(name, assigned)
    }

    /// The key in a map access: `None` inside when there is none.
    pub(crate) fn map_key(
        &mut self,
        name: &Name,
        parts: Option<&[ast::Expr]>,
        span: Span,
    ) -> Option<(MapId, Option<Expr>)> {
        let Some(parts) = parts else {
            return Some((self.use_map(name, false)?, None));
        };
        let mut items = Vec::with_capacity(parts.len());
        for part in parts {
            items.push(self.stored_value(part));
        }
        let id = self.use_map(name, true);
        let items: Option<Vec<Expr>> = items.into_iter().collect();
        let mut items = items?;
        let key_span = parts.first().zip(parts.last()).map_or(span, |(a, b)| a.span.to(b.span));
        let key = if items.len() == 1 { items.pop()? } else { self.tuple_of(items, key_span)? };
        Some((id?, Some(self.convert_key(name, key)?)))
    }

    /// Converts a key to the map's key type, after learning from it.
    pub(crate) fn convert_key(&mut self, name: &Name, key: Expr) -> Option<Expr> {
        let span = key.span;
        self.keepable(&key)?;
        learn(&mut self.now.map_mut(&name.text).key, Shape::of(&key), span);
        let known = self.map_facts(&name.text).key?;
        let (from, to) = (key.ty.clone(), known.shape.ty());
        match self.implicit(key, &to) {
            Some(key) => Some(key),
            None => self.fail(|| maps::key_mismatch(name, &to, &from, span, known.span)),
        }
    }

    /// `@map[key]` as a value; an aggregation keeps its type.
    pub(crate) fn read_map(&mut self, name: &Name, key: Option<&[ast::Expr]>, span: Span) -> Option<Expr> {
        let exists = self.read_map_name(name);
        let (map, key) = self.map_key(name, key, span)?;
        exists?;
        let ty = self.map_facts(&name.text).value?.shape.ty();
        Some(Expr { kind: ExprKind::Map { map, key: key.map(Box::new) }, ty, span })
    }

    /// Learns what is assigned to a map.
    pub(crate) fn learn_map(&mut self, name: &Name, shape: Option<Shape>, span: Span) {
        let facts = self.now.map_mut(&name.text);
        facts.assigned.get_or_insert(span);
        if let Some(shape) = shape {
            learn(&mut facts.value, shape, span);
        }
    }

    /// A value as it can be stored, sent or compared: aggregations are read as integers.
    pub(crate) fn plain(&mut self, expr: Expr) -> Option<Expr> {
        let Type::Agg(agg) = expr.ty else { return Some(expr) };
        match agg {
            Agg::Hist { .. } | Agg::Lhist { .. } | Agg::Tseries(_) | Agg::Stats { .. } => {
                let span = expr.span;
                self.fail(|| maps::no_number(agg, span))
            }
            Agg::Count | Agg::Sum { .. } | Agg::Min { .. } | Agg::Max { .. } | Agg::Avg { .. } => {
                let ty = Type::Int { bits: 64, signed: expr.ty.is_signed() };
                Some(Expr { ty, ..expr })
            }
        }
    }

    /// An expression's value as it can be stored: no aggregation, and no larger than what is kept.
    pub(crate) fn stored_value(&mut self, expr: &ast::Expr) -> Option<Expr> {
        let value = self.any_size_value(expr)?;
        self.keepable(&value)?;
        Some(value)
    }

    /// The same of any size, for where a part, the place or the size of the value is wanted, but never all of it.
    pub(crate) fn any_size_value(&mut self, expr: &ast::Expr) -> Option<Expr> {
        let value = self.expr(expr)?;
        self.plain(value)
    }
}
