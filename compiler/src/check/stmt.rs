//! Statements.

use memql_grammar::ast::{self, Expr as AstExpr, ExprKind as Ast, Name, Span, StmtKind as AstStmt};

use super::diagnostics::{maps, names, types, unsupported};
use super::probe::Loop;
use super::shape::Shape;
use super::{Checker, constant};
use crate::attach::AttachPoint;
use crate::hir::{Expr, Stmt, StmtKind};
use crate::types::{Agg, TupleField, Type};

/// How many copies `unroll` makes at most, as in bpftrace.
const MAX_UNROLL: i128 = 100;
/// How many statements nested `unroll`s may make in all: beyond it, no kernel would take the program.
const MAX_UNROLLED_STATEMENTS: usize = 20_000;

impl Checker<'_> {
    /// A block's statements in a scope of their own.
    pub(crate) fn block(&mut self, block: &ast::Block) -> Vec<Stmt> {
        self.in_block(block, |checker| checker.stmts(&block.stmts))
    }

    /// Statements in the current scope.
    pub(crate) fn stmts(&mut self, stmts: &[ast::Stmt]) -> Vec<Stmt> {
        let mut checked = Vec::with_capacity(stmts.len());
        let mut left: Option<Span> = None;
        for stmt in stmts {
            if let Some(by) = left.take() {
                self.warn(|| names::unreachable(stmt.span, by));
            }
            if leaves(&stmt.kind) {
                left = Some(stmt.span);
            }
            match self.stmt(stmt) {
                Some(kind) => checked.push(Stmt { kind, span: stmt.span }),
                None => self.left_out(stmt.span),
            }
        }
        checked
    }

    fn stmt(&mut self, stmt: &ast::Stmt) -> Option<StmtKind> {
        let span = stmt.span;
        match &stmt.kind {
            AstStmt::Expr(expr) => self.expr_stmt(expr),
            AstStmt::Assign { place, op, value } => self.assign(place, *op, value, span),
            AstStmt::Let { var, ty, value } => self.let_stmt(var, ty.as_ref(), value.as_ref(), span),
            AstStmt::If { cond, then, otherwise } => self.if_stmt(cond, then, otherwise.as_ref()),
            AstStmt::While { cond, body } => {
                let cond = self.condition(cond);
                let body = self.loop_body(body, Loop::Runtime);
                Some(StmtKind::While { cond: cond?, body })
            }
            AstStmt::Unroll { count, body } => self.unroll(count, body, span),
            AstStmt::ForRange { var, start, end, body } => self.for_range(var, start, end, body),
            AstStmt::ForMap { var, map, body } => self.for_map(var, map, body),
            AstStmt::Break => self.jump("break", StmtKind::Break, span),
            AstStmt::Continue => self.jump("continue", StmtKind::Continue, span),
            AstStmt::Return(value) => {
                let has_result =
                    |p: &AttachPoint| matches!(p, AttachPoint::Test { .. } | AttachPoint::Bench { .. });
                let is_trial = self.probe.points.first().is_some_and(has_result);
                let value = match value {
                    Some(value) if is_trial => Some(self.integer_argument(value, &Type::I64)?),
                    // Nobody looks at what other probes return.
                    Some(value) => self.stored_value(value).map(|_| None)?,
                    None => None,
                };
                Some(StmtKind::Return(value))
            }
            AstStmt::Block(block) => Some(StmtKind::Block(self.block(block))),
            AstStmt::Report(report) => self.report_stmt(report),
        }
    }

    /// An expression for its effect; a call of a function without a value, or `c ? f() : g()` of such.
    fn expr_stmt(&mut self, expr: &AstExpr) -> Option<StmtKind> {
        match &expr.kind {
            Ast::Call { name, args } => self.call_stmt(name, args, expr.span),
            Ast::Ternary { cond, then: Some(then), otherwise }
                if self.is_effect(then) || self.is_effect(otherwise) =>
            {
                let cond = self.condition(cond);
                let truth = cond.as_ref().and_then(constant::truth_of);
                let a = self.unless_dead(truth == Some(false), |checker| checker.expr_stmt(then));
                let b = self.unless_dead(truth == Some(true), |checker| checker.expr_stmt(otherwise));
                let stmts =
                    |kind: Option<StmtKind>, span| kind.map(|kind| Stmt { kind, span }).into_iter().collect();
                let (then, otherwise) = (stmts(a, then.span), stmts(b, otherwise.span));
                Some(self.choice(cond?, then, otherwise))
            }
            Ast::IncDec { .. } => Some(StmtKind::Expr(self.expr(expr)?)),
            Ast::Block(block) => self.block_for_effect(block),
            Ast::Ident(name) if super::functions::find(&name.text).is_some_and(|e| !e.has_value()) => {
                self.call_stmt(name, &[], expr.span)
            }
            _ => {
                let value = self.stored_value(expr)?;
                self.warn(|| types::discarded(expr.span));
                Some(StmtKind::Expr(value))
            }
        }
    }

    /// A block as a statement, whose value, if it has one, is left unused.
    fn block_for_effect(&mut self, block: &ast::Block) -> Option<StmtKind> {
        let stmts = self.in_block(block, |checker| {
            let mut stmts = checker.stmts(&block.stmts);
            if let Some(value) = &block.value {
                match checker.expr_stmt(value) {
                    Some(kind) => stmts.push(Stmt { kind, span: value.span }),
                    None => checker.left_out(value.span),
                }
            }
            stmts
        });
        Some(StmtKind::Block(stmts))
    }

    /// Does something in the scope of a block, which may be the body of a macro.
    pub(crate) fn in_block<T>(&mut self, block: &ast::Block, check: impl FnOnce(&mut Self) -> T) -> T {
        self.expansions.extend(block.expanded_from.clone());
        self.probe.scopes.open();
        let checked = check(self);
        self.probe.scopes.close();
        if block.expanded_from.is_some() {
            self.expansions.pop();
        }
        checked
    }

    /// Whether it is a call that gives no value.
    fn is_effect(&self, expr: &AstExpr) -> bool {
        match &expr.kind {
            Ast::Call { name, .. } => super::functions::find(&name.text).is_some_and(|e| !e.has_value()),
            Ast::Ternary { then, otherwise, .. } => {
                then.as_ref().is_some_and(|then| self.is_effect(then)) || self.is_effect(otherwise)
            }
            Ast::Block(block) => block.value.as_ref().is_none_or(|value| self.is_effect(value)),
            _ => false,
        }
    }

    fn if_stmt(
        &mut self,
        cond: &AstExpr,
        then: &ast::Block,
        otherwise: Option<&ast::Block>,
    ) -> Option<StmtKind> {
        let cond = self.condition(cond);
        let truth = cond.as_ref().and_then(constant::truth_of);
        let then = self.unless_dead(truth == Some(false), |checker| checker.block(then));
        let otherwise = self.unless_dead(truth == Some(true), |checker| {
            otherwise.map(|b| checker.block(b)).unwrap_or_default()
        });
        Some(self.choice(cond?, then, otherwise))
    }

    /// A branch; one on a constant is the side that is taken.
    fn choice(&self, cond: Expr, then: Vec<Stmt>, otherwise: Vec<Stmt>) -> StmtKind {
        match constant::truth_of(&cond) {
            Some(true) => StmtKind::Block(then),
            Some(false) => StmtKind::Block(otherwise),
            None => StmtKind::If { cond, then, otherwise },
        }
    }

    fn loop_body(&mut self, body: &ast::Block, kind: Loop) -> Vec<Stmt> {
        self.probe.loops.push(kind);
        let body = self.block(body);
        self.probe.loops.pop();
        body
    }

    fn unroll(&mut self, count: &AstExpr, body: &ast::Block, span: Span) -> Option<StmtKind> {
        let count_value = self.stored_value(count);
        let before = self.probe.unrolled;
        let body = self.loop_body(body, Loop::Unrolled);
        let count_value = count_value?;
        let copies = match constant::value_of(&count_value) {
            Some(n @ 1..=MAX_UNROLL) => n as usize,
            Some(n) => return self.fail(|| types::unroll_count(count.span, n, MAX_UNROLL)),
            None => return self.fail(|| types::unroll_not_constant(count.span)),
        };
        let inner = self.probe.unrolled - before + body.len().max(1);
        self.probe.unrolled = before.saturating_add(inner.saturating_mul(copies));
        if self.probe.unrolled > MAX_UNROLLED_STATEMENTS {
            return self.fail(|| unsupported::unrolled_too_far(span, MAX_UNROLLED_STATEMENTS));
        }
        if !self.is_final() {
            return Some(StmtKind::Block(body));
        }
        let copy = Stmt { kind: StmtKind::Block(body), span };
        Some(StmtKind::Block(vec![copy; copies]))
    }

    fn for_range(
        &mut self,
        var: &Name,
        start: &AstExpr,
        end: &AstExpr,
        body: &ast::Block,
    ) -> Option<StmtKind> {
        let (from, to) = (self.integer_argument(start, &Type::I64), self.integer_argument(end, &Type::I64));
        let (var, body) = self.loop_with(var, Some(Type::I64), body)?;
        Some(StmtKind::ForRange { var, start: from?, end: to?, body })
    }

    fn for_map(&mut self, var: &Name, map: &Name, body: &ast::Block) -> Option<StmtKind> {
        let known = self.read_map_name(map).and_then(|()| self.use_map(map, true));
        let facts = self.map_facts(&map.text);
        let types = facts.key.zip(facts.value).map(|(k, v)| (k.shape.ty(), v.shape.ty()));
        if let Some((
            _,
            Type::Agg(agg @ (Agg::Hist { .. } | Agg::Lhist { .. } | Agg::Tseries(_) | Agg::Stats { .. })),
        )) = types
        {
            return self.fail(|| maps::loop_over_histogram(map, agg));
        }
        let pair = types.map(|(key, value)| {
            let value = match value {
                Type::Agg(_) => Type::Int { bits: 64, signed: value.is_signed() },
                other => other,
            };
            Type::Tuple(vec![TupleField { name: None, ty: key }, TupleField { name: None, ty: value }])
        });
        if let Some(pair) = &pair {
            let site = self.site(var);
            self.now.learn_var(site, Shape::Known(pair.clone()), var.span);
        }
        let (var, body) = self.loop_with(var, pair, body)?;
        Some(StmtKind::ForMap { var, map: known?, body })
    }

    /// A loop's body with its variable in scope; without a type the variable's uses are not known yet.
    fn loop_with(
        &mut self,
        var: &Name,
        ty: Option<Type>,
        body: &ast::Block,
    ) -> Option<(crate::hir::VarId, Vec<Stmt>)> {
        if let Some(first) = self.probe.scopes.find(&var.text).map(|b| b.site.1) {
            return self.fail(|| names::declared_twice(var, first));
        }
        self.probe.scopes.open();
        let id = self.declare(var, ty, true, true);
        let body = self.loop_body(body, Loop::Runtime);
        self.probe.scopes.close();
        Some((id, body))
    }

    fn jump(&mut self, word: &'static str, kind: StmtKind, span: Span) -> Option<StmtKind> {
        match self.probe.loops.last() {
            Some(Loop::Runtime) => Some(kind),
            Some(Loop::Unrolled) => self.fail(|| types::jump_in_unroll(word, span)),
            None => self.fail(|| types::jump_outside_loop(word, span)),
        }
    }
}

/// Whether nothing after it in its block can run.
fn leaves(kind: &AstStmt) -> bool {
    matches!(kind, AstStmt::Return(_) | AstStmt::Break | AstStmt::Continue)
}
