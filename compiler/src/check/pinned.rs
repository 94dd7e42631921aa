//! Pinned iterators: they run when memql has ended, so that what they print is text that their programs make, with
//! the kernel's help (`bpf_seq_printf`, kernel/trace/bpf_trace.c).

use super::Checker;
use super::diagnostics::pinned as errors;
use crate::attach::AttachPoint;
use crate::hir::{self, Expr, ExprKind, Stmt, StmtKind};
use crate::plan::{Conversion, Format, FormatPiece, Verb};
use crate::types::Type;

impl Checker<'_> {
    /// Reports what a probe does that a pinned iterator cannot.
    pub(crate) fn pinned(&mut self, probe: &hir::Probe) {
        if probe.points.iter().any(|point| matches!(point, AttachPoint::Iter { pin: Some(_), .. })) {
            probe.body.iter().for_each(|stmt| self.pinned_stmt(stmt));
        }
    }

    fn pinned_stmt(&mut self, stmt: &Stmt) {
        stmt.exprs().into_iter().for_each(|e| self.pinned_expr(e));
        match &stmt.kind {
            StmtKind::Printf { format, args } => self.kernel_printf(format, args),
            StmtKind::Print(_)
            | StmtKind::PrintMap { .. }
            | StmtKind::PrintMapElem { .. }
            | StmtKind::Clear(_)
            | StmtKind::Zero(_)
            | StmtKind::Time(_)
            | StmtKind::Join { .. }
            | StmtKind::Tell { .. }
            | StmtKind::Cat { .. }
            | StmtKind::System { .. }
            | StmtKind::Report(_) => self.report(errors::nobody_there(stmt.span)),
            StmtKind::Expr(_)
            | StmtKind::AssignVar { .. }
            | StmtKind::AssignMap { .. }
            | StmtKind::UpdateMap { .. }
            | StmtKind::Aggregate { .. }
            | StmtKind::If { .. }
            | StmtKind::While { .. }
            | StmtKind::ForRange { .. }
            | StmtKind::ForMap { .. }
            | StmtKind::Break
            | StmtKind::Continue
            | StmtKind::Return(_)
            | StmtKind::Exit(_)
            | StmtKind::Block(_) => stmt.children().into_iter().for_each(|child| self.pinned_stmt(child)),
        }
    }

    fn pinned_expr(&mut self, e: &Expr) {
        if let ExprKind::Block(stmts, _) = &e.kind {
            stmts.iter().for_each(|stmt| self.pinned_stmt(stmt));
        }
        e.children().into_iter().for_each(|child| self.pinned_expr(child));
    }

    fn kernel_printf(&mut self, format: &Format, args: &[Expr]) {
        let conversions = format.pieces.iter().filter_map(|piece| match piece {
            FormatPiece::Conversion(conversion) => Some(conversion),
            FormatPiece::Text(_) => None,
        });
        for (_, value) in
            conversions.zip(args).filter(|(conversion, value)| !kernel_has(conversion, &value.ty))
        {
            self.report(errors::conversion(&value.ty, value.span));
        }
    }
}

fn kernel_has(conversion: &Conversion, ty: &Type) -> bool {
    let shown = match conversion.verb {
        Verb::Signed | Verb::Unsigned | Verb::Hex | Verb::HexUpper | Verb::Pointer | Verb::Char => {
            ty.is_scalar()
        }
        Verb::Text => matches!(ty, Type::Str { .. }),
        Verb::Octal | Verb::EscapedHex | Verb::SpacedHex | Verb::GfpFlags => false,
    };
    shown && conversion.precision.is_none()
}
