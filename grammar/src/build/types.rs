//! Types as written.

use pest::iterators::Pair;

use super::Builder;
use super::children::Children;
use crate::ast::{Name, TypeBase, TypeExpr, TypeModifier};
use crate::parser::Rule;

impl Builder {
    /// The type of a `type_expr`, or of one of the two shapes it has in a cast.
    pub(super) fn type_expr(&self, pair: Pair<'_, Rule>) -> TypeExpr {
        let mut children = Children::of(pair);
        let first = children.next().expect("memql.pest: a type has a base");
        let mut span = self.span_of(&first);
        let base = self.type_base(first);
        let mut modifiers = Vec::new();
        for modifier in children {
            span = span.to(self.span_of(&modifier));
            modifiers.push(match modifier.as_rule() {
                Rule::pointer => TypeModifier::Pointer,
                _ => TypeModifier::Array(
                    Children::of(modifier).all(Rule::number).next().map(|size| self.integer(&size)),
                ),
            });
        }
        TypeExpr { base, modifiers, span }
    }

    pub(super) fn type_base(&self, pair: Pair<'_, Rule>) -> TypeBase {
        match pair.as_rule() {
            Rule::record_type => {
                let mut children = Children::of(pair);
                let keyword = children.need(Rule::record_word);
                let name = self.name_of(&children.need(Rule::type_name));
                match keyword.as_str() {
                    "struct" => TypeBase::Struct(name),
                    "union" => TypeBase::Union(name),
                    _ => TypeBase::Enum(name),
                }
            }
            Rule::typeof_type => {
                let mut children = Children::of(pair);
                children.need(Rule::typeof_word);
                children.need(Rule::open_paren);
                if let Some(argument) = children.accept(Rule::type_argument) {
                    let ty = self.type_expr(Children::of(argument).need(Rule::type_expr));
                    return TypeBase::Typeof(Box::new(ty));
                }
                TypeBase::TypeofExpr(Box::new(self.expr(children.need(Rule::expr))))
            }
            // `unsigned   long` is `unsigned long`.
            Rule::c_type => {
                let words: Vec<&str> = pair.as_str().split_whitespace().collect();
                TypeBase::Named(Name { text: words.join(" "), span: self.span_of(&pair) })
            }
            _ => TypeBase::Named(self.name_of(&pair)),
        }
    }
}
