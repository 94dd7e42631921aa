//! How large a tree is: what limits expansion.

use memql_grammar::ast::{Block, Expr, ExprKind, Stmt, StmtKind, TypeBase, TypeExpr};

/// The size of a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// Levels.
    pub(super) depth: usize,
    /// Expressions and statements.
    pub(super) nodes: usize,
}

impl Extent {
    /// Of an expression.
    pub(super) fn of(expr: &Expr) -> Extent {
        let mut extent = Extent::default();
        extent.expr(expr);
        extent.above()
    }

    /// One level more.
    fn above(self) -> Extent {
        Extent { depth: self.depth + 1, nodes: self.nodes + 1 }
    }

    fn beside(&mut self, other: Extent) {
        self.depth = self.depth.max(other.depth);
        self.nodes += other.nodes;
    }

    fn with<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) {
        exprs.into_iter().for_each(|expr| self.beside(Extent::of(expr)));
    }

    fn with_block(&mut self, block: &Block) {
        let mut inner = Extent::default();
        for stmt in &block.stmts {
            inner.stmt(stmt);
        }
        inner.with(block.value.as_deref());
        self.beside(inner.above());
    }

    fn with_type(&mut self, ty: &TypeExpr) {
        match &ty.base {
            TypeBase::Typeof(ty) => {
                let mut inner = Extent::default();
                inner.with_type(ty);
                self.beside(inner.above());
            }
            TypeBase::TypeofExpr(expr) => self.beside(Extent::of(expr).above()),
            TypeBase::Named(_) | TypeBase::Struct(_) | TypeBase::Union(_) | TypeBase::Enum(_) => {}
        }
    }

    /// What stands within an expression.
    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Map { key, .. } => self.with(key.iter().flatten()),
            ExprKind::Call { args, .. } => self.with(args),
            ExprKind::Field { base, .. } => self.with([&**base]),
            ExprKind::Index { base, index } => self.with([&**base, &**index]),
            ExprKind::Unary { operand, .. } => self.with([&**operand]),
            ExprKind::Cast { ty, operand } => {
                self.with_type(ty);
                self.with([&**operand]);
            }
            ExprKind::IncDec { place, .. } => self.with([&**place]),
            ExprKind::Binary { left, right, .. } => self.with([&**left, &**right]),
            ExprKind::Ternary { cond, then, otherwise } => {
                self.with([&**cond, &**otherwise]);
                self.with(then.as_deref());
            }
            ExprKind::Tuple(fields) => self.with(fields.iter().map(|f| &f.value)),
            ExprKind::Block(block) => self.with_block(block),
            ExprKind::Type(ty) => self.with_type(ty),
            ExprKind::Int(_)
            | ExprKind::Bool(_)
            | ExprKind::Str(_)
            | ExprKind::Ident(_)
            | ExprKind::Var(_)
            | ExprKind::Positional(_)
            | ExprKind::PositionalCount => {}
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        let mut inner = Extent::default();
        match &stmt.kind {
            StmtKind::Expr(expr) => inner.with([expr]),
            StmtKind::Assign { place, value, .. } => inner.with([place, value]),
            StmtKind::Let { value, ty, .. } => {
                inner.with(value);
                ty.iter().for_each(|ty| inner.with_type(ty));
            }
            StmtKind::If { cond, then, otherwise } => {
                inner.with([cond]);
                inner.with_block(then);
                otherwise.iter().for_each(|block| inner.with_block(block));
            }
            StmtKind::While { cond: head, body } | StmtKind::Unroll { count: head, body } => {
                inner.with([head]);
                inner.with_block(body);
            }
            StmtKind::ForRange { start, end, body, .. } => {
                inner.with([start, end]);
                inner.with_block(body);
            }
            StmtKind::ForMap { body, .. } | StmtKind::Block(body) => inner.with_block(body),
            StmtKind::Return(value) => inner.with(value),
            StmtKind::Report(report) => {
                inner.with(report.columns.iter().map(|c| &c.value));
                inner.with(report.filter.iter().chain(&report.limit));
            }
            StmtKind::Break | StmtKind::Continue => {}
        }
        self.beside(inner.above());
    }
}
