//! C definitions: structs, unions, enums and typedefs.

use pest::iterators::Pair;

use super::Builder;
use super::children::Children;
use crate::ast::{CAttribute, CBase, CDeclarator, CEnum, CMember, CModifier, CRecord, CTypedef, Name, Span};
use crate::parser::Rule;

impl Builder {
    pub(super) fn c_typedef(&self, pair: Pair<'_, Rule>) -> CTypedef {
        let mut children = Children::of(pair);
        let start = self.span_of(&children.need(Rule::typedef_word));
        let names = self.c_member(children.need(Rule::c_member));
        CTypedef { span: start.to(names.span), names }
    }

    /// `struct name { ... }`
    pub(super) fn c_record(&self, pair: Pair<'_, Rule>) -> CRecord {
        let mut children = Children::of(pair);
        let word = children.need(Rule::c_record_word);
        let mut span = self.span_of(&word);
        let (mut name, mut members, mut attributes) = (None, None, Vec::new());
        for child in children {
            match child.as_rule() {
                Rule::c_tag => {
                    span = span.to(self.span_of(&child));
                    name = Some(self.name_of(&child));
                }
                Rule::c_body => {
                    span = span.to(self.span_of(&child));
                    let inner =
                        || Children::of(child).all(Rule::c_member).map(|m| self.c_member(m)).collect();
                    members = Some(self.deeper(1, span, inner).unwrap_or_default());
                }
                _ => self.c_attributes(child, &mut attributes),
            }
        }
        CRecord { is_union: word.as_str() == "union", name, members, attributes, span }
    }

    /// `enum name { A, B = 2 }`
    pub(super) fn c_enum(&self, pair: Pair<'_, Rule>) -> CEnum {
        let mut children = Children::of(pair);
        let mut span = self.span_of(&children.need(Rule::c_enum_word));
        let (mut name, mut values) = (None, None);
        for child in children {
            match child.as_rule() {
                Rule::c_tag => {
                    span = span.to(self.span_of(&child));
                    name = Some(self.name_of(&child));
                }
                Rule::c_values => {
                    span = span.to(self.span_of(&child));
                    values = Some(Children::of(child).all(Rule::c_value).map(|v| self.c_value(v)).collect());
                }
                // Attributes of an enum: its size is that of `int` or of its values.
                _ => {}
            }
        }
        CEnum { name, values, span }
    }

    fn c_value(&self, pair: Pair<'_, Rule>) -> (Name, Option<crate::ast::Expr>) {
        let mut children = Children::of(pair);
        let name = self.name_of(&children.need(Rule::c_name));
        (name, children.accept_after(Rule::assign, Rule::expr).map(|value| self.expr(value)))
    }

    fn c_member(&self, pair: Pair<'_, Rule>) -> CMember {
        let mut base = None;
        let (mut declarators, mut span) = (Vec::new(), Span::default());
        for child in Children::of(pair) {
            let at = self.span_of(&child);
            match child.as_rule() {
                Rule::c_record => {
                    let record = self.c_record(child);
                    span = record.span;
                    base = Some(CBase::Record(record));
                }
                Rule::c_enum => {
                    let named = self.c_enum(child);
                    span = named.span;
                    base = Some(CBase::Enum(named));
                }
                // `unsigned   long` is `unsigned long`.
                Rule::c_type | Rule::type_name => {
                    let words: Vec<&str> = child.as_str().split_whitespace().collect();
                    base = Some(CBase::Named(Name { text: words.join(" "), span: at }));
                    span = at;
                }
                Rule::c_declarator => declarators.extend(self.c_declarator(child)),
                _ => {} // Qualifiers and separators.
            }
        }
        CMember { base: base.expect("memql.pest: a C member has a type"), declarators, span }
    }

    /// A declarator; none where nothing is written.
    fn c_declarator(&self, pair: Pair<'_, Rule>) -> Option<CDeclarator> {
        let at = self.span_of(&pair);
        let mut declared =
            CDeclarator { name: None, modifiers: Vec::new(), bits: None, attributes: Vec::new(), span: at };
        self.declare(pair, &mut declared);
        let CDeclarator { name, modifiers, bits, .. } = &declared;
        if name.is_none() && modifiers.is_empty() && bits.is_none() {
            return None;
        }
        declared.span = declared.name.as_ref().map_or(at, |name| name.span);
        Some(declared)
    }

    /// Pointers first, then arrays from the right; what is in parentheses comes last, as in C.
    fn declare(&self, pair: Pair<'_, Rule>, declared: &mut CDeclarator) {
        let (mut suffixes, mut nested) = (Vec::new(), None);
        for child in Children::of(pair) {
            match child.as_rule() {
                Rule::c_pointer => declared.modifiers.push(CModifier::Pointer),
                Rule::c_name => declared.name = Some(self.name_of(&child)),
                Rule::c_nested => nested = Some(child),
                Rule::c_array => {
                    let size = Children::of(child).all(Rule::expr).next();
                    suffixes.push(CModifier::Array(size.map(|size| self.expr(size))));
                }
                Rule::c_params => suffixes.push(CModifier::Function),
                Rule::expr => declared.bits = Some(self.expr(child)),
                Rule::colon => {}
                _ => self.c_attributes(child, &mut declared.attributes),
            }
        }
        declared.modifiers.extend(suffixes.into_iter().rev());
        if let Some(nested) = nested {
            self.declare(Children::of(nested).all(Rule::c_declarator).next().expect("memql.pest"), declared);
        }
    }

    fn c_attributes(&self, pair: Pair<'_, Rule>, into: &mut Vec<CAttribute>) {
        for item in Children::of(pair).all(Rule::c_attribute_item) {
            let mut children = Children::of(item);
            let name = self.name_of(&children.need(Rule::name));
            let argument = children.accept_after(Rule::open_paren, Rule::expr).map(|value| self.expr(value));
            into.push(CAttribute { name, argument });
        }
    }
}
