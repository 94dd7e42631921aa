//! What a probe's text uses of its attach point, found before its body is checked.
//!
//! A body is checked once for all of its points if it cannot tell them apart. It can by the layout of
//! `args`, by `uaddr()`, and by `probe` and `func` where they are more than printed.

use std::collections::BTreeSet;

use memql_grammar::ast::{Block, Expr, ExprKind, Probe, Report, Stmt, StmtKind, TypeBase, TypeExpr};

use crate::placement;

/// What a probe uses of its attach point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// Fields of `args` by name.
    pub fields: BTreeSet<String>,
    /// `args` as a whole.
    pub all_fields: bool,
    /// `arg0`, `arg1`..., `retval` or `ctx`.
    pub typed_values: bool,
    /// `probe` or `func` in a place where the text itself is needed, as in a comparison.
    pub point_text: bool,
    /// `uaddr()`
    pub file: bool,
    /// `reg()` of a register that may change between a function's entry and the place of its breakpoint.
    pub registers: bool,
    /// `ustack`, or `func`, which can stand for an address.
    pub user_addresses: bool,
}

impl Uses {
    /// What this probe's predicate and body use.
    pub(crate) fn of(probe: &Probe) -> Uses {
        let mut uses = Uses::default();
        if let Some(predicate) = &probe.predicate {
            uses.expr(predicate, false);
        }
        uses.block(&probe.body);
        uses
    }

    /// Whether anything about the arguments' types matters.
    pub(crate) fn layout(&self) -> bool {
        self.all_fields || self.typed_values || !self.fields.is_empty()
    }

    fn block(&mut self, block: &Block) {
        for stmt in &block.stmts {
            self.stmt(stmt);
        }
        if let Some(value) = &block.value {
            self.expr(value, false);
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Expr(e) => self.expr(e, false),
            StmtKind::Assign { place, op, value } => {
                self.expr(place, false);
                self.expr(value, op.is_none());
            }
            StmtKind::Let { var: _, ty, value } => {
                ty.iter().for_each(|ty| self.type_expr(ty));
                if let Some(value) = value {
                    self.expr(value, true);
                }
            }
            StmtKind::If { cond, then, otherwise } => {
                self.expr(cond, false);
                self.block(then);
                if let Some(otherwise) = otherwise {
                    self.block(otherwise);
                }
            }
            StmtKind::While { cond, body } => {
                self.expr(cond, false);
                self.block(body);
            }
            StmtKind::Unroll { count, body } => {
                self.expr(count, false);
                self.block(body);
            }
            StmtKind::ForRange { var: _, start, end, body } => {
                self.expr(start, false);
                self.expr(end, false);
                self.block(body);
            }
            StmtKind::ForMap { var: _, map: _, body } => self.block(body),
            StmtKind::Break | StmtKind::Continue | StmtKind::Return(None) => {}
            StmtKind::Return(Some(e)) => self.expr(e, false),
            StmtKind::Block(block) => self.block(block),
            StmtKind::Report(report) => self.report(report),
        }
    }

    fn report(&mut self, report: &Report) {
        let exprs = report.columns.iter().map(|c| &c.value).chain(&report.filter).chain(&report.limit);
        exprs.for_each(|e| self.expr(e, false));
    }

    /// `kept`: the value is stored or printed as it is, which `probe` and `func` can be without their text.
    fn expr(&mut self, expr: &Expr, kept: bool) {
        match &expr.kind {
            ExprKind::Ident(name) => self.ident(&name.text, kept),
            ExprKind::Field { base, name, arrow: _ } => match &base.kind {
                ExprKind::Ident(n) if n.text == "args" => {
                    self.fields.insert(name.text.clone());
                }
                _ => self.expr(base, false),
            },
            ExprKind::Call { name, args } if name.text == "reg" => {
                let keeps = matches!(args.as_slice(), [Expr { kind: ExprKind::Str(register), .. }]
                    if std::str::from_utf8(&register.bytes).is_ok_and(placement::keeps_register));
                self.registers |= !keeps;
            }
            ExprKind::Call { name, args } => {
                self.ident(&name.text, kept);
                let prints = matches!(
                    name.text.as_str(),
                    "printf" | "print" | "has_key" | "delete" | "system" | "cat"
                );
                args.iter().for_each(|a| self.expr(a, prints));
            }
            ExprKind::Map { name: _, key } => key.iter().flatten().for_each(|k| self.expr(k, true)),
            ExprKind::Tuple(fields) => fields.iter().for_each(|f| self.expr(&f.value, kept)),
            ExprKind::Index { base, index } => {
                self.expr(base, false);
                self.expr(index, false);
            }
            ExprKind::Unary { op: _, operand } => self.expr(operand, false),
            ExprKind::IncDec { place, .. } => self.expr(place, false),
            ExprKind::Binary { op: _, left, right } => {
                self.expr(left, false);
                self.expr(right, false);
            }
            ExprKind::Ternary { cond, then, otherwise } => {
                self.expr(cond, false);
                then.iter().for_each(|then| self.expr(then, kept));
                self.expr(otherwise, kept);
            }
            ExprKind::Cast { ty, operand } => {
                self.type_expr(ty);
                self.expr(operand, false);
            }
            ExprKind::Type(ty) => self.type_expr(ty),
            ExprKind::Block(block) => self.block(block),
            ExprKind::Int(_)
            | ExprKind::Bool(_)
            | ExprKind::Str(_)
            | ExprKind::Var(_)
            | ExprKind::Positional(_)
            | ExprKind::PositionalCount => {}
        }
    }

    fn type_expr(&mut self, ty: &TypeExpr) {
        match &ty.base {
            TypeBase::Typeof(ty) => self.type_expr(ty),
            TypeBase::TypeofExpr(expr) => self.expr(expr, false),
            TypeBase::Named(_) | TypeBase::Struct(_) | TypeBase::Union(_) | TypeBase::Enum(_) => {}
        }
    }

    fn ident(&mut self, name: &str, kept: bool) {
        match super::functions::without_prefix(name) {
            "args" => self.all_fields = true,
            "retval" | "ctx" => self.typed_values = true,
            "probe" | "func" => {
                self.point_text |= !kept;
                self.user_addresses |= name == "func";
            }
            "uaddr" => self.file = true,
            "ustack" => self.user_addresses = true,
            name => self.typed_values |= argument_number(name).is_some(),
        }
    }
}

/// The `N` of `argN`.
pub(crate) fn argument_number(name: &str) -> Option<usize> {
    let digits = name.strip_prefix("arg")?;
    if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}
