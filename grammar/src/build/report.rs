//! The `report` statement.

use pest::iterators::Pair;

use super::Builder;
use super::children::Children;
use crate::ast::{Report, ReportColumn, Stmt, StmtKind};
use crate::parser::Rule;

impl Builder {
    pub(super) fn report_stmt(&self, pair: Pair<'_, Rule>) -> Stmt {
        let mut children = Children::of(pair);
        let start = self.span_of(&children.need(Rule::report_word));
        let map = self.name_of(&children.need(Rule::map));
        let key = children.accept_after(Rule::as_word, Rule::variable).map(|key| self.name_of(&key));
        let value = children.accept_after(Rule::comma, Rule::variable).map(|value| self.name_of(&value));
        let filter = children.accept_after(Rule::where_word, Rule::expr).map(|filter| self.expr(filter));
        children.need(Rule::select_word);
        let mut columns = vec![self.report_column(children.need(Rule::report_column))];
        while let Some(column) = children.accept_after(Rule::comma, Rule::report_column) {
            columns.push(self.report_column(column));
        }
        let mut end = columns[columns.len() - 1].value.span;
        let order = children.accept(Rule::order_word).map(|_| {
            children.need(Rule::by_word);
            let column = self.name_of(&children.need(Rule::name));
            let ascending = children.accept(Rule::asc_word);
            let descending = children.accept(Rule::desc_word);
            end = ascending.or(descending.clone()).map_or(column.span, |word| self.span_of(&word));
            (column, descending.is_some())
        });
        let limit = children.accept_after(Rule::limit_word, Rule::expr).map(|limit| self.expr(limit));
        let print = children.accept_after(Rule::print_word, Rule::string).map(|format| self.string(&format));
        end = limit.as_ref().map_or(end, |limit| limit.span);
        end = print.as_ref().map_or(end, |format| format.span);
        let report = Report { map, key, value, filter, columns, order, limit, print };
        Stmt { kind: StmtKind::Report(Box::new(report)), span: start.to(end) }
    }

    fn report_column(&self, pair: Pair<'_, Rule>) -> ReportColumn {
        let mut children = Children::of(pair);
        let name = self.name_of(&children.need(Rule::name));
        children.need(Rule::assign);
        ReportColumn { name, value: self.expr(children.need(Rule::expr)) }
    }
}
