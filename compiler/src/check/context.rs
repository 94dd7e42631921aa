//! `ctx`: what the kernel hands to a program, as a pointer.
//!
//! ```text
//! iter                            struct bpf_iter__NAME *, whose members are the object's
//! kprobe, uprobe and their like   struct pt_regs *
//! profile, software, hardware...  struct bpf_perf_event_data *, read member by member
//! interval                        void *, to zeros: memql itself calls the program
//! ```

use memql_grammar::ast::{Expr as AstExpr, ExprKind as Ast, Name, Span};

use super::Checker;
use super::diagnostics::points;
use crate::attach::{AttachPoint, ProgramKind};
use crate::hir::{Expr, ExprKind};
use crate::providers::iter;
use crate::types::{AddrSpace, Type};

/// What perf events hand to a program (include/uapi/linux/bpf_perf_event.h).
const PERF_EVENT: &str = "bpf_perf_event_data";

impl Checker<'_> {
    /// `ctx`
    pub(crate) fn context(&mut self, span: Span) -> Option<Expr> {
        let (kind, at) = (self.probe.kind()?, self.probe.span);
        let point = self.probe.points.first()?.clone();
        let to = match (kind, &point) {
            (ProgramKind::Iter, AttachPoint::Iter { name, .. }) => {
                let name = iter::context_type(name);
                self.struct_of_kernel(&name, span)?
            }
            (_, AttachPoint::Interval { .. }) => Type::Void,
            // Without BTF its address can still be given to a cast.
            _ if kind.has_registers() && kind != ProgramKind::PerfEvent => {
                let registers = self.named_types().ok().and_then(|btf| btf.struct_named("pt_regs"));
                registers.map_or(Type::Void, |id| self.type_by_id(id))
            }
            (ProgramKind::PerfEvent, _) => {
                return self.fail(|| points::context_by_members(span, at));
            }
            _ => return self.fail(|| points::no_context(&point, span, at)),
        };
        Some(address(to, span))
    }

    /// `ctx.name`, or `((struct x *)ctx).name`, of a perf event: the kernel shows programs a struct that is not there in
    /// memory, so its members can only be read straight out of the context.
    pub(crate) fn perf_context(&mut self, base: &AstExpr) -> Option<Option<Expr>> {
        let (ty, context) = match &base.kind {
            Ast::Cast { ty, operand } => (Some(ty), &**operand),
            _ => (None, base),
        };
        let is_context = matches!(&context.kind, Ast::Ident(name) if name.text == "ctx");
        if !is_context || self.probe.kind() != Some(ProgramKind::PerfEvent) {
            return None;
        }
        let to = match ty {
            None => self.struct_of_kernel(PERF_EVENT, base.span),
            Some(ty) => match self.type_of(ty) {
                Some(Type::Ptr { to, .. }) => Some(*to),
                // A number: no member of it.
                Some(_) => return None,
                None => None,
            },
        };
        Some(to.map(|to| address(to, base.span)))
    }

    /// A member of what a perf event hands over, which must lie within it.
    pub(crate) fn perf_member(&mut self, value: Expr, name: &Name) -> Option<Expr> {
        let ExprKind::Load { addr, offset, .. } = &value.kind else { return Some(value) };
        let is_context = matches!(addr.kind, ExprKind::CtxAddr { .. });
        if !is_context || self.probe.kind() != Some(ProgramKind::PerfEvent) {
            return Some(value);
        }
        let size = self.struct_of_kernel(PERF_EVENT, name.span)?.size();
        let end = offset + i64::from(value.ty.size());
        if end > i64::from(size) {
            return self.fail(|| points::beyond_context(&name.text, size, name.span));
        }
        Some(value)
    }

    fn struct_of_kernel(&mut self, name: &str, span: Span) -> Option<Type> {
        let shown = format!("struct {name}");
        match self.btf(span, &shown)?.struct_named(name) {
            Some(id) => Some(self.type_by_id(id)),
            None => self.fail(|| points::context_unknown(&shown, span)),
        }
    }

    fn type_by_id(&self, id: u32) -> Type {
        self.named_types().map_or(Type::Void, |btf| btf.lang_type(id, AddrSpace::Kernel))
    }
}

fn address(to: Type, span: Span) -> Expr {
    let ty = Type::Ptr { to: Box::new(to), space: AddrSpace::Context };
    Expr { kind: ExprKind::CtxAddr { offset: 0 }, ty, span }
}
