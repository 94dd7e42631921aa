//! Scripts and their items.

use pest::iterators::{Pair, Pairs};

use super::Builder;
use super::children::Children;
use crate::ast::{Config, ConfigEntry, Expr, ExprKind, Item, MapDecl, OptionDecl, Probe, Script};
use crate::parser::Rule;

impl Builder {
    /// The tree of a whole script.
    pub(crate) fn script(&self, pairs: Pairs<'_, Rule>) -> Script {
        let items = pairs.flat_map(Pair::into_inner).filter_map(|pair| self.item(pair)).collect();
        Script { items }
    }

    fn item(&self, pair: Pair<'_, Rule>) -> Option<Item> {
        match pair.as_rule() {
            Rule::config => Some(Item::Config(self.config(pair))),
            Rule::option => Some(Item::Option(self.option(pair))),
            Rule::map_decl => Some(Item::Map(self.map_decl(pair))),
            Rule::probe => Some(Item::Probe(self.probe(pair))),
            Rule::tested_script => Some(Item::TestedScript(self.tested_script(pair))),
            Rule::kernel => Some(Item::Kernel(self.kernel(pair))),
            Rule::test => Some(Item::Test(self.test(pair))),
            Rule::macro_def => Some(Item::Macro(self.macro_def(pair))),
            Rule::import => Some(Item::Import(self.import(pair))),
            Rule::c_typedef => Some(Item::Typedef(self.c_typedef(pair))),
            Rule::c_record => Some(Item::Record(self.c_record(pair))),
            Rule::c_enum => Some(Item::Enum(self.c_enum(pair))),
            Rule::shebang | Rule::semicolon | Rule::EOI => None,
            rule => unreachable!("memql.pest has no {rule:?} among a script's items"),
        }
    }

    fn config(&self, pair: Pair<'_, Rule>) -> Config {
        let mut children = Children::of(pair);
        let start = self.span_of(&children.need(Rule::config_word));
        let (mut entries, mut span) = (Vec::new(), start);
        for child in children {
            match child.as_rule() {
                Rule::config_entry => entries.push(self.config_entry(child)),
                Rule::close_brace => span = start.to(self.span_of(&child)),
                _ => {} // `=`, `{` and separators.
            }
        }
        Config { entries, span }
    }

    fn config_entry(&self, pair: Pair<'_, Rule>) -> ConfigEntry {
        let mut children = Children::of(pair);
        let name = self.name_of(&children.need(Rule::name));
        children.need(Rule::assign);
        let span = children.next().map(|value| (self.span_of(&value), value));
        let (span, value) = span.expect("memql.pest: an entry of a config block has a value");
        let kind = match value.as_rule() {
            Rule::number => ExprKind::Int(self.integer(&value)),
            Rule::string => ExprKind::Str(self.string(&value)),
            _ => ExprKind::Ident(self.name_of(&value)),
        };
        ConfigEntry { name, value: Expr { kind, span } }
    }

    fn option(&self, pair: Pair<'_, Rule>) -> OptionDecl {
        let mut children = Children::of(pair);
        let start = self.span_of(&children.need(Rule::option_word));
        let name = self.name_of(&children.need(Rule::name));
        children.need(Rule::colon);
        let ty = self.type_expr(children.need(Rule::type_expr));
        let default = children.accept_after(Rule::assign, Rule::expr).map(|value| self.expr(value));
        children.need(Rule::comma);
        let flags = self.string(&children.need(Rule::string));
        children.need(Rule::comma);
        let help = self.string(&children.need(Rule::string));
        let span = start.to(self.span_of(&children.need(Rule::semicolon)));
        OptionDecl { name, ty, default, flags, help, span }
    }

    fn map_decl(&self, pair: Pair<'_, Rule>) -> MapDecl {
        let mut children = Children::of(pair);
        let start = self.span_of(&children.need(Rule::let_word));
        let name = self.name_of(&children.need(Rule::map));
        children.need(Rule::assign);
        let kind = self.name_of(&children.need(Rule::map_kind));
        children.need(Rule::open_paren);
        let max_entries = self.expr(children.need(Rule::expr));
        children.need(Rule::close_paren);
        let span = start.to(self.span_of(&children.need(Rule::semicolon)));
        MapDecl { name, kind, max_entries, span }
    }

    fn probe(&self, pair: Pair<'_, Rule>) -> Probe {
        let mut children = Children::of(pair);
        let mut points = Vec::new();
        loop {
            let name = children.accept(Rule::point_name);
            points.push(self.attach_point(name, children.need(Rule::attach_point)));
            if children.accept(Rule::comma).is_none() {
                break;
            }
        }
        let predicate = children.accept(Rule::predicate).map(|predicate| {
            let mut children = Children::of(predicate);
            children.need(Rule::open_slash);
            self.expr(children.need(Rule::expr))
        });
        let body = self.block(children.need(Rule::block));
        let span = points[0].span.to(body.span);
        Probe { points, predicate, body, span }
    }
}
