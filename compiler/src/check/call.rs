//! Calls: finding the function, checking what every function has in common, handing over to its own
//! checker.

use memql_grammar::ast::{self, Expr as AstExpr, ExprKind as Ast, Name, Span};

use super::Checker;
use super::diagnostics::{functions as errors, maps, unsupported};
use super::functions::{self, Call, Checks, Entry};
use crate::diagnostic::similar;
use crate::hir::{Expr, StmtKind};
use crate::types::Agg;

impl Checker<'_> {
    /// A call where a value is wanted.
    pub(crate) fn call_value(&mut self, name: &Name, args: &[AstExpr], span: Span) -> Option<Expr> {
        match functions::find(&name.text) {
            Some(entry) => self.call_entry(entry, name, args, span),
            None => self.unknown_function(name, args),
        }
    }

    pub(crate) fn call_entry(
        &mut self,
        entry: &'static Entry,
        name: &Name,
        args: &[AstExpr],
        span: Span,
    ) -> Option<Expr> {
        self.check_common(entry, name, args.len(), span)?;
        match entry.checks {
            Checks::Value(check) => check(self, &Call { name, args, span }),
            Checks::Effect(_) => self.fail(|| errors::gives_no_value(name, span)),
            Checks::Aggregation(_) => self.fail(|| maps::aggregation_outside_map(name, span)),
        }
    }

    /// A call as a statement.
    pub(crate) fn call_stmt(&mut self, name: &Name, args: &[AstExpr], span: Span) -> Option<StmtKind> {
        let Some(entry) = functions::find(&name.text) else {
            return self.unknown_function(name, args);
        };
        match entry.checks {
            Checks::Effect(check) => {
                self.check_common(entry, name, args.len(), span)?;
                check(self, &Call { name, args, span })
            }
            Checks::Value(_) => {
                let value = self.call_entry(entry, name, args, span)?;
                if !entry.effect {
                    self.warn(|| super::diagnostics::types::discarded(span));
                }
                Some(StmtKind::Expr(value))
            }
            Checks::Aggregation(_) => self.fail(|| maps::aggregation_outside_map(name, span)),
        }
    }

    /// The aggregation of `@x = f(...)` and its operand.
    pub(crate) fn check_aggregation(
        &mut self,
        entry: &'static Entry,
        name: &Name,
        args: &[AstExpr],
    ) -> Option<(Agg, Option<Expr>)> {
        let span = args.last().map_or(name.span, |a| name.span.to(a.span));
        self.check_common(entry, name, args.len(), span)?;
        match entry.checks {
            Checks::Aggregation(check) => check(self, &Call { name, args, span }),
            Checks::Value(_) | Checks::Effect(_) => None,
        }
    }

    /// The number of arguments, and `--unsafe`.
    fn check_common(&mut self, entry: &'static Entry, name: &Name, given: usize, span: Span) -> Option<()> {
        if given < entry.least || entry.most.is_some_and(|most| given > most) {
            return self.fail(|| errors::argument_count(name, entry, given, span));
        }
        if entry.is_unsafe && !self.run.allow_unsafe {
            return self.fail(|| errors::needs_unsafe(name, span));
        }
        Some(())
    }

    fn unknown_function<T>(&mut self, name: &Name, args: &[AstExpr]) -> Option<T> {
        // What is inside is checked all the same; maps only named there are no readers to blame.
        for arg in args {
            if !matches!(arg.kind, Ast::Map { .. } | Ast::Type(_)) {
                let _ = self.expr(arg);
            }
        }
        if functions::is_missing(&name.text) {
            return self.fail(|| unsupported::function(name));
        }
        let close = similar(&name.text, functions::table().map(|e| e.name));
        self.fail(|| errors::unknown_function(name, &close))
    }

    /// A string literal argument: formats, symbol names.
    pub(crate) fn literal_argument<'s>(
        &mut self,
        call: &Call<'s>,
        at: usize,
        what: &str,
    ) -> Option<&'s ast::StrLit> {
        let arg = through_blocks(call.args.get(at)?);
        match &arg.kind {
            Ast::Str(text) => Some(text),
            _ => self.fail(|| errors::not_a_literal(call.name, what, arg.span)),
        }
    }

    /// The same as text; constants that are known from options and parameters do too.
    pub(crate) fn constant_text(&mut self, call: &Call<'_>, at: usize, what: &str) -> Option<String> {
        let arg = call.args.get(at)?;
        let value = self.stored_value(arg)?;
        let value = self.point_text(value);
        match super::constant::text_of(&value) {
            Some(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            None => self.fail(|| errors::not_a_literal(call.name, what, arg.span)),
        }
    }

    /// A constant integer argument.
    pub(crate) fn constant_integer(&mut self, call: &Call<'_>, at: usize, what: &str) -> Option<i128> {
        let arg = call.args.get(at)?;
        let value = self.stored_value(arg)?;
        match super::constant::value_of(&value) {
            Some(v) => Some(v),
            None => self.fail(|| errors::not_a_constant(call.name, what, arg.span)),
        }
    }

    /// A map argument: `@x`, without a key.
    pub(crate) fn map_argument<'s>(&mut self, call: &Call<'s>) -> Option<&'s Name> {
        let arg = call.args.first()?;
        match &arg.kind {
            Ast::Map { name, key: None } => Some(name),
            Ast::Map { name, key: Some(_) } => self.fail(|| errors::map_with_key(call.name, name, arg.span)),
            _ => self.fail(|| errors::not_a_map(call.name, arg.span)),
        }
    }
}

/// What an expression is in the end: the value of a block that does nothing else, as macros are expanded to.
fn through_blocks(mut expr: &AstExpr) -> &AstExpr {
    while let Ast::Block(ast::Block { stmts, value: Some(value), .. }) = &expr.kind
        && stmts.is_empty()
    {
        expr = value;
    }
    expr
}
