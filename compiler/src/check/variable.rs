//! `$variables`: declaring, reading and assigning them.

use memql_grammar::ast;
use memql_grammar::ast::{Name, Span, TypeExpr};

use super::diagnostics::{names, types};
use super::scope::Binding;
use super::shape::Shape;
use super::slots::VarSite;
use super::{Checker, constant};
use crate::diagnostic::similar;
use crate::expand::{mark_of, plain};
use crate::hir::{self, Expr, ExprKind, StmtKind, Var, VarId};
use crate::types::Type;

impl Checker<'_> {
    /// Adds a variable to the block; its type is what was inferred before, or what was declared.
    pub(crate) fn declare(
        &mut self,
        name: &Name,
        declared: Option<Type>,
        assigned: bool,
        constant: bool,
    ) -> VarId {
        let site = self.site(name);
        let ty = declared.clone().or_else(|| self.slot_type(site)).unwrap_or(Type::I64);
        let id = self.probe.vars.push(Var { name: format!("${}", plain(&name.text)), ty });
        self.probe.scopes.insert(&name.text, Binding { id, site, declared, assigned, constant });
        id
    }

    /// Where a variable that is declared by this name is.
    pub(crate) fn site(&self, name: &Name) -> VarSite {
        (self.probe.index, name.span, mark_of(&name.text))
    }

    fn slot_type(&self, site: super::slots::VarSite) -> Option<Type> {
        self.before.vars.get(&site).or_else(|| self.now.vars.get(&site)).map(|l| l.shape.ty())
    }

    /// `$name` as a value.
    pub(crate) fn read_var(&mut self, name: &Name) -> Option<Expr> {
        let Some(binding) = self.probe.scopes.find(&name.text).cloned() else {
            return self.unknown_var(name);
        };
        if !binding.assigned {
            self.warn(|| names::used_before_assignment(name, binding.site.1));
            self.mark_assigned(name);
        }
        let known = binding.declared.clone().or_else(|| self.slot_type(binding.site));
        // A variable that nothing is ever assigned to holds zero; one whose every assignment failed says nothing.
        let ty = match known {
            Some(ty) => ty,
            None if self.is_final() && !binding.assigned => {
                // So it does where it is read again.
                self.probe.scopes.find_mut(&name.text)?.declared = Some(Type::I64);
                Type::I64
            }
            None => return None,
        };
        Some(Expr { kind: ExprKind::Var(binding.id), ty, span: name.span })
    }

    /// From here on the variable counts as assigned: it is counted up from zero, or was warned about.
    pub(crate) fn mark_assigned(&mut self, name: &Name) {
        if let Some(binding) = self.probe.scopes.find_mut(&name.text) {
            binding.assigned = true;
        }
    }

    /// A variable that is only ever updated starts as a zero, of which no assignment tells the type.
    pub(crate) fn start_from_zero(&mut self, name: &Name, span: Span) {
        let Some(binding) = self.probe.scopes.find(&name.text).cloned() else { return };
        if binding.declared.is_none() && self.slot_of(&binding).is_none() {
            self.now.learn_var(binding.site, Shape::Literal(0), span);
        }
    }

    pub(crate) fn unknown_var<T>(&mut self, name: &Name) -> Option<T> {
        let closed = self.probe.scopes.closed(&name.text);
        let close = similar(&name.text, self.probe.scopes.names());
        self.fail(|| match closed {
            Some(declared) => names::variable_out_of_scope(name, declared),
            None => names::unknown_variable(name, &close),
        })
    }

    /// `let $x: type = value`
    pub(crate) fn let_stmt(
        &mut self,
        var: &Name,
        ty: Option<&TypeExpr>,
        value: Option<&ast::Expr>,
        span: Span,
    ) -> Option<StmtKind> {
        if let Some(first) = self.probe.scopes.find(&var.text).map(|b| b.site.1) {
            return self.fail(|| names::declared_twice(var, first));
        }
        let value_expr = value.map(|v| self.stored_value(v));
        let declared = match ty {
            // `string` and `int8[]` take their size from the value.
            Some(ty) => match self.sized_type(ty, value_expr.as_ref().and_then(|v| v.as_ref())) {
                // A type does not say which memory its pointers point into; the value knows.
                Some(ty) => match value_expr.as_ref().and_then(|v| v.as_ref()) {
                    Some(value) if ty.same_but_spaces(&value.ty) => Some(value.ty.clone()),
                    _ => Some(ty),
                },
                None => {
                    // The name exists all the same, so that its uses are not reported too.
                    self.declare(var, None, true, false);
                    return None;
                }
            },
            None => None,
        };
        let id = self.declare(var, declared, value.is_some(), false);
        match value_expr {
            Some(value) => self.store_var(var, id, value?, span),
            None => {
                let ty = self.probe.vars[id].ty.clone();
                let zero = self.zero(&ty, span)?;
                self.keepable(&zero)?;
                Some(StmtKind::AssignVar { var: id, value: zero })
            }
        }
    }

    /// `$x = value`
    pub(crate) fn assign_var(&mut self, var: &Name, value: Option<Expr>, span: Span) -> Option<StmtKind> {
        let id = match self.probe.scopes.find_mut(&var.text) {
            Some(binding) if binding.constant => {
                let declared = binding.site.1;
                return self.fail(|| types::assign_loop_variable(var, declared));
            }
            Some(binding) => {
                binding.assigned = true;
                binding.id
            }
            None => self.declare(var, None, true, false),
        };
        self.store_var(var, id, value?, span)
    }

    /// Stores a value in a variable of this probe: learns from it, and converts it.
    pub(crate) fn store_var(&mut self, var: &Name, id: VarId, value: Expr, span: Span) -> Option<StmtKind> {
        self.keepable(&value)?;
        let binding = self.probe.scopes.find(&var.text)?.clone();
        if binding.declared.is_none() {
            self.now.learn_var(binding.site, Shape::of(&value), span);
        }
        let ty = self.slot_of(&binding)?;
        if let (Some(v), true) = (constant::value_of(&value), constant::is_literal(&value))
            && matches!(ty, Type::Int { .. })
            && constant::in_type(v, &ty) != v
        {
            let at = value.span;
            return self.fail(|| types::literal_out_of_range(at, v, &ty, binding.site.1));
        }
        let from = value.ty.clone();
        let at = value.span;
        match self.implicit(value, &ty) {
            Some(value) => Some(StmtKind::AssignVar { var: id, value }),
            None => self.fail(|| types::variable_mismatch(var, &ty, &from, at, binding.site.1)),
        }
    }

    /// The type that a variable has in the end.
    pub(crate) fn slot_of(&self, binding: &Binding) -> Option<Type> {
        binding.declared.clone().or_else(|| self.slot_type(binding.site))
    }

    /// All-zero of a type.
    pub(crate) fn zero(&mut self, ty: &Type, span: Span) -> Option<Expr> {
        match ty {
            Type::Tuple(fields) => {
                let items: Option<Vec<Expr>> = fields.iter().map(|f| self.zero(&f.ty, span)).collect();
                Some(Expr { kind: ExprKind::Tuple(items?), ty: ty.clone(), span })
            }
            _ if ty.is_scalar() => Some(hir::Expr::int(0, ty.clone(), span)),
            _ => Some(Expr { kind: ExprKind::Text(Vec::new()), ty: ty.clone(), span }),
        }
    }
}
