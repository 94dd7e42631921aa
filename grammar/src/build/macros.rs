//! Macros, imports, and the values of `#define`.

use pest::iterators::{Pair, Pairs};

use super::Builder;
use super::children::Children;
use crate::ast::{Expr, Import, MacroDef, MacroParam};
use crate::error::SyntaxError;
use crate::parser::Rule;

impl Builder {
    pub(super) fn macro_def(&self, pair: Pair<'_, Rule>) -> MacroDef {
        let mut children = Children::of(pair);
        let start = self.span_of(&children.need(Rule::macro_word));
        let name = self.name_of(&children.need(Rule::name));
        let mut params: Vec<MacroParam> = Vec::new();
        let mut body = None;
        for child in children {
            let param = match child.as_rule() {
                Rule::variable => MacroParam::Variable(self.name_of(&child)),
                Rule::map => MacroParam::Map(self.name_of(&child)),
                Rule::name => MacroParam::Expr(self.name_of(&child)),
                Rule::block => {
                    let at = self.span_of(&child);
                    body = self.deeper(1, at, || self.value_block(child));
                    continue;
                }
                _ => continue, // Parentheses and commas.
            };
            if params.iter().any(|known| known.name().text == param.name().text) {
                let message = format!("two parameters are called `{}`", param.name().text);
                self.error(
                    SyntaxError::new(param.name().span, message).with_help("give them different names"),
                );
            }
            params.push(param);
        }
        let body = body.unwrap_or_else(|| self.empty_block(start));
        MacroDef { span: start.to(body.span), name, params, body }
    }

    pub(super) fn import(&self, pair: Pair<'_, Rule>) -> Import {
        let mut children = Children::of(pair);
        let start = self.span_of(&children.need(Rule::import_word));
        let path = self.string(&children.need(Rule::string));
        Import { span: start.to(path.span), path }
    }

    /// The expression of a `define_value`.
    pub(crate) fn define_value(&self, mut pairs: Pairs<'_, Rule>) -> Expr {
        let value = pairs.next().expect("memql.pest: a successful parse has a pair");
        self.expr(Children::of(value).need(Rule::expr))
    }
}
