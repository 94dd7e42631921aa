//! Walks over the checked AST: every expression under a statement or expression, in evaluation order.

use crate::hir::{Expr, ExprKind, Stmt, StmtKind};

impl Expr {
    /// Calls `f` with the expression and everything in it, parents first; statements inside block
    /// expressions included.
    pub fn for_each(&self, f: &mut impl FnMut(&Expr)) {
        f(self);
        if let ExprKind::Block(stmts, _) = &self.kind {
            stmts.iter().for_each(|s| s.for_each_expr(f));
        }
        self.children().into_iter().for_each(|e| e.for_each(f));
    }

    /// The expressions directly in it; of a block expression, its value only.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Int(_)
            | ExprKind::Text(_)
            | ExprKind::Var(_)
            | ExprKind::VarAddr(_)
            | ExprKind::MapAddr(_)
            | ExprKind::Builtin(_)
            | ExprKind::CtxLoad { .. }
            | ExprKind::ProgramResult
            | ExprKind::CtxAddr { .. }
            | ExprKind::DataLoc { .. }
            | ExprKind::DataLocLen { .. }
            | ExprKind::IncDecVar { .. }
            | ExprKind::MapLen(_) => Vec::new(),
            ExprKind::Map { key, .. } | ExprKind::IncDecMap { key, .. } | ExprKind::Delete { key, .. } => {
                key.iter().map(|e| &**e).collect()
            }
            ExprKind::HasKey { key: e, .. }
            | ExprKind::Load { addr: e, .. }
            | ExprKind::Extract { base: e, .. }
            | ExprKind::Not(e)
            | ExprKind::Neg(e)
            | ExprKind::BitNot(e)
            | ExprKind::Cast(e)
            | ExprKind::StackLen(e)
            | ExprKind::StrLen(e)
            | ExprKind::Bswap(e)
            | ExprKind::NetAddress(e)
            | ExprKind::Path(e)
            | ExprKind::Block(_, e) => vec![e],
            ExprKind::Index { base: a, index: b }
            | ExprKind::Binary { left: a, right: b, .. }
            | ExprKind::Compare { left: a, right: b, .. }
            | ExprKind::Equal { left: a, right: b, .. }
            | ExprKind::And(a, b)
            | ExprKind::Or(a, b)
            | ExprKind::StrIndex { haystack: a, needle: b }
            | ExprKind::StrConcat(a, b)
            | ExprKind::Buf { addr: a, len: b } => vec![a, b],
            ExprKind::Ternary { cond, then, otherwise } => vec![cond, then, otherwise],
            ExprKind::MemCompare { left, right, count } => vec![left, right, count],
            ExprKind::Tuple(fields) | ExprKind::Helper { args: fields, .. } => fields.iter().collect(),
            ExprKind::Str { addr, len } => std::iter::once(addr).chain(len).map(|e| &**e).collect(),
        }
    }

    /// Whether evaluating it changes anything: a map, a variable, output.
    pub fn has_effects(&self) -> bool {
        let own = match &self.kind {
            ExprKind::IncDecVar { .. }
            | ExprKind::IncDecMap { .. }
            | ExprKind::Delete { .. }
            | ExprKind::Block(..) => true,
            ExprKind::Helper { helper, .. } => !crate::helpers::signature(*helper).is_some_and(|s| s.pure),
            ExprKind::Int(_)
            | ExprKind::Text(_)
            | ExprKind::Var(_)
            | ExprKind::VarAddr(_)
            | ExprKind::MapAddr(_)
            | ExprKind::Map { .. }
            | ExprKind::Builtin(_)
            | ExprKind::CtxLoad { .. }
            | ExprKind::ProgramResult
            | ExprKind::CtxAddr { .. }
            | ExprKind::DataLoc { .. }
            | ExprKind::DataLocLen { .. }
            | ExprKind::Load { .. }
            | ExprKind::Extract { .. }
            | ExprKind::Index { .. }
            | ExprKind::Binary { .. }
            | ExprKind::Compare { .. }
            | ExprKind::Equal { .. }
            | ExprKind::And(..)
            | ExprKind::Or(..)
            | ExprKind::Not(_)
            | ExprKind::Neg(_)
            | ExprKind::BitNot(_)
            | ExprKind::Ternary { .. }
            | ExprKind::Cast(_)
            | ExprKind::Tuple(_)
            | ExprKind::Str { .. }
            | ExprKind::Buf { .. }
            | ExprKind::HasKey { .. }
            | ExprKind::MapLen(_)
            | ExprKind::StackLen(_)
            | ExprKind::StrLen(_)
            | ExprKind::StrIndex { .. }
            | ExprKind::StrConcat(..)
            | ExprKind::MemCompare { .. }
            | ExprKind::Path(_)
            | ExprKind::NetAddress(_)
            | ExprKind::Bswap(_) => false,
        };
        own || self.children().into_iter().any(Expr::has_effects)
    }
}

impl Stmt {
    /// Calls `f` with every expression in the statement and the statements under it.
    pub fn for_each_expr(&self, f: &mut impl FnMut(&Expr)) {
        for e in self.exprs() {
            e.for_each(f);
        }
        for s in self.children() {
            s.for_each_expr(f);
        }
    }

    /// The expressions of the statement itself.
    pub fn exprs(&self) -> Vec<&Expr> {
        match &self.kind {
            StmtKind::Expr(e) | StmtKind::Print(e) => vec![e],
            StmtKind::AssignVar { value, .. } => vec![value],
            StmtKind::AssignMap { key, value, .. } | StmtKind::UpdateMap { key, value, .. } => {
                key.iter().chain([value]).collect()
            }
            StmtKind::Aggregate { key, value, .. } => key.iter().chain(value).collect(),
            StmtKind::If { cond, .. } | StmtKind::While { cond, .. } => vec![cond],
            StmtKind::ForRange { start, end, .. } => vec![start, end],
            StmtKind::Printf { args, .. }
            | StmtKind::Tell { args, .. }
            | StmtKind::Cat { args, .. }
            | StmtKind::System { args, .. } => args.iter().collect(),
            StmtKind::PrintMap { top, div, .. } => top.iter().chain(div).collect(),
            StmtKind::PrintMapElem { key, .. } => vec![key],
            StmtKind::Join { argv, .. } => vec![argv],
            StmtKind::Exit(value) | StmtKind::Return(value) => value.iter().collect(),
            StmtKind::Report(report) => report.captured.iter().collect(),
            StmtKind::ForMap { .. }
            | StmtKind::Break
            | StmtKind::Continue
            | StmtKind::Block(_)
            | StmtKind::Clear(_)
            | StmtKind::Zero(_)
            | StmtKind::Time(_) => Vec::new(),
        }
    }

    /// The statements directly under it.
    pub fn children(&self) -> Vec<&Stmt> {
        match &self.kind {
            StmtKind::If { then, otherwise, .. } => then.iter().chain(otherwise).collect(),
            StmtKind::While { body, .. }
            | StmtKind::ForRange { body, .. }
            | StmtKind::ForMap { body, .. }
            | StmtKind::Block(body) => body.iter().collect(),
            StmtKind::Expr(_)
            | StmtKind::AssignVar { .. }
            | StmtKind::AssignMap { .. }
            | StmtKind::UpdateMap { .. }
            | StmtKind::Aggregate { .. }
            | StmtKind::Break
            | StmtKind::Continue
            | StmtKind::Return(_)
            | StmtKind::Printf { .. }
            | StmtKind::Print(_)
            | StmtKind::PrintMap { .. }
            | StmtKind::PrintMapElem { .. }
            | StmtKind::Clear(_)
            | StmtKind::Zero(_)
            | StmtKind::Time(_)
            | StmtKind::Join { .. }
            | StmtKind::Tell { .. }
            | StmtKind::Cat { .. }
            | StmtKind::System { .. }
            | StmtKind::Exit(_)
            | StmtKind::Report(_) => Vec::new(),
        }
    }
}
