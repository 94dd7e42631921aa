//! Types as written.

use pest::iterators::Pair;

use super::children::Children;
use super::{Builder, name_of, span_of};
use crate::ast::{Name, TypeBase, TypeExpr, TypeModifier};
use crate::parser::Rule;

impl Builder {
    /// The type of a `type_expr`, or of one of the two shapes it has in a cast.
    pub(super) fn type_expr(&self, pair: Pair<'_, Rule>) -> TypeExpr {
        let mut children = Children::of(pair);
        let first = children.next().expect("memql.pest: a type has a base");
        let mut span = span_of(&first);
        let base = type_base(first);
        let mut modifiers = Vec::new();
        for modifier in children {
            span = span.to(span_of(&modifier));
            modifiers.push(match modifier.as_rule() {
                Rule::pointer => TypeModifier::Pointer,
                _ => TypeModifier::Array(
                    Children::of(modifier).all(Rule::number).next().map(|size| self.integer(&size)),
                ),
            });
        }
        TypeExpr { base, modifiers, span }
    }
}

pub(super) fn type_base(pair: Pair<'_, Rule>) -> TypeBase {
    match pair.as_rule() {
        Rule::record_type => {
            let mut children = Children::of(pair);
            let keyword = children.need(Rule::record_word);
            let name = name_of(&children.need(Rule::type_name));
            match keyword.as_str() {
                "struct" => TypeBase::Struct(name),
                "union" => TypeBase::Union(name),
                _ => TypeBase::Enum(name),
            }
        }
        // `unsigned   long` is `unsigned long`.
        Rule::c_type => {
            let words: Vec<&str> = pair.as_str().split_whitespace().collect();
            TypeBase::Named(Name { text: words.join(" "), span: span_of(&pair) })
        }
        _ => TypeBase::Named(name_of(&pair)),
    }
}
