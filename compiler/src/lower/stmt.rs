//! Statements.

use crate::hir::{Stmt, StmtKind};
use crate::ir::{BinaryOp, Value, Width};
use crate::lower::frame;
use crate::lower::memory::Place;
use crate::lower::probe::{Loop, ProgramLowering};

impl ProgramLowering<'_, '_> {
    /// Lowers statements in order.
    pub fn stmts(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            self.b.span = stmt.span;
            self.stmt(stmt);
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Expr(e) => self.discard(e),
            StmtKind::AssignVar { var, value } => {
                if value.ty.is_scalar() {
                    let value = self.scalar(value);
                    let (ptr, off) = self.var_addr(*var);
                    self.b.store(Width::W64, ptr, off, value);
                } else if reads_var(value, *var) {
                    // The value is made of the variable's old one.
                    let from = self.temporary(&value.ty, None);
                    self.write(value, from);
                    let (ptr, off) = self.var_addr(*var);
                    self.copy(Place::at(ptr, off), from, value.ty.size());
                } else {
                    let (ptr, off) = self.var_addr(*var);
                    self.write(value, Place::at(ptr, off));
                }
            }
            StmtKind::AssignMap { map, key, value } => self.assign_map(*map, key.as_ref(), value),
            StmtKind::UpdateMap { map, key, op, value } => self.update_map(*map, key.as_ref(), *op, value),
            StmtKind::Aggregate { map, key, value } => self.aggregate(*map, key.as_ref(), value.as_ref()),
            StmtKind::If { cond, then, otherwise } => {
                let (yes, no, after) = (self.b.block(), self.b.block(), self.b.block());
                self.condition(cond, yes, no);
                for (block, body) in [(yes, then), (no, otherwise)] {
                    self.b.switch_to(block);
                    self.stmts(body);
                    self.b.jump(after, &[]);
                }
                self.b.switch_to(after);
            }
            StmtKind::While { cond, body } => self.while_loop(cond, body),
            StmtKind::ForRange { var, start, end, body } => self.for_range(*var, start, end, body),
            StmtKind::ForMap { var, map, body } => self.for_map(*var, *map, body, stmt.span),
            StmtKind::Break => match self.loops.last() {
                Some(Loop::Inline { after, .. }) => self.b.jump_away(*after),
                Some(Loop::Callback) => self.b.ret(1),
                None => unreachable!("internal error: `break` outside of a loop"),
            },
            StmtKind::Continue => match self.loops.last() {
                Some(Loop::Inline { next, .. }) => self.b.jump_away(*next),
                Some(Loop::Callback) => self.b.ret(0),
                None => unreachable!("internal error: `continue` outside of a loop"),
            },
            StmtKind::Return(value) => {
                let value = value.as_ref().map(|value| self.scalar(value));
                self.leave_probe(value);
            }
            StmtKind::Block(body) => self.stmts(body),
            // Of a pinned iterator, memql is not there to end anything.
            StmtKind::Exit(_) if self.is_pinned() => self.leave_probe(None),
            StmtKind::Exit(_) => {
                self.event(&stmt.kind);
                self.leave_probe(None);
            }
            StmtKind::Printf { format, args } if self.is_pinned() => self.seq_printf(format, args),
            StmtKind::Printf { .. }
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
            | StmtKind::Report(_) => self.event(&stmt.kind),
        }
    }

    /// Ends the probe, from inside loop callbacks too. What a test or benchmark returns are 32 bits; those of a callback are
    /// kept in front of the bit that says that it has left the probe.
    pub fn leave_probe(&mut self, value: Option<Value>) {
        if self.in_callback {
            let base = self.frame_base();
            let returned = match value {
                Some(value) => {
                    let shifted = self.b.binary_int(BinaryOp::Shl, value, 1);
                    self.b.binary_int(BinaryOp::Or, shifted, 1)
                }
                None => self.b.int(1),
            };
            self.b.store(Width::W64, base, frame::RETURNED_OFFSET, returned);
            self.b.ret(1);
        } else {
            let value = value.unwrap_or_else(|| self.b.int(0));
            self.b.ret_value(value);
        }
    }
}

/// Whether an expression reads a variable.
fn reads_var(e: &crate::hir::Expr, var: crate::hir::VarId) -> bool {
    let mut found = false;
    e.for_each(&mut |e| found |= matches!(e.kind, crate::hir::ExprKind::Var(v) if v == var));
    found
}
