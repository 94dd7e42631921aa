//! Assignments: `=` and its compound forms, to variables and maps.

use memql_grammar::ast::{self, BinaryOp, Expr as AstExpr, ExprKind as Ast, Name, Span};

use super::diagnostics::{maps, types};
use super::shape::Shape;
use super::{Checker, functions};
use crate::hir::{Expr, ExprKind, StmtKind};
use crate::types::Type;

impl Checker<'_> {
    /// `place = value` and `place op= value`
    pub(crate) fn assign(
        &mut self,
        place: &AstExpr,
        op: Option<BinaryOp>,
        value: &AstExpr,
        span: Span,
    ) -> Option<StmtKind> {
        match &place.kind {
            Ast::Var(name) => {
                let value = match op {
                    None => self.stored_value(value),
                    Some(op) => self.updated_var(name, op, value, span),
                };
                self.assign_var(name, value, span)
            }
            Ast::Map { .. } if op.is_none() && block_of_aggregation(value).is_some() => {
                let block = block_of_aggregation(value)?;
                let mut stmts = block.stmts.clone();
                let value = *block.value.clone()?;
                stmts.push(ast::Stmt {
                    kind: ast::StmtKind::Assign { place: place.clone(), op: None, value },
                    span,
                });
                Some(StmtKind::Block(self.block(&ast::Block { stmts, value: None, ..block.clone() })))
            }
            Ast::Map { name, key } => {
                let key = key.as_deref();
                match (op, aggregation(value)) {
                    (None, Some((entry, call, args))) => {
                        self.aggregate(name, key, entry, call, args, place.span, span)
                    }
                    (Some(_), Some((_, call, _))) => self.fail(|| maps::compound_aggregation(name, call)),
                    (None, None) => self.assign_map(name, key, value, place.span, span),
                    (Some(op), None) => self.update_map(name, key, op, value, place.span, span),
                }
            }
            Ast::Ident(name) if name.text == "_" && op.is_none() => {
                Some(StmtKind::Expr(self.stored_value(value)?))
            }
            Ast::Field { .. } | Ast::Index { .. } => {
                let _ = self.stored_value(value);
                self.fail(|| types::immutable(place.span))
            }
            _ => self.fail(|| types::not_a_place(place.span)),
        }
    }

    /// The new value of `$x op= value`.
    fn updated_var(&mut self, name: &Name, op: BinaryOp, value: &AstExpr, span: Span) -> Option<Expr> {
        // A declared variable is zero, which is what sums and counters start from.
        self.mark_assigned(name);
        self.start_from_zero(name, span);
        let current = self.read_var(name);
        let value = self.stored_value(value);
        self.arithmetic(op, current?, value?, span)
    }

    fn assign_map(
        &mut self,
        name: &Name,
        key: Option<&[AstExpr]>,
        value: &AstExpr,
        place: Span,
        span: Span,
    ) -> Option<StmtKind> {
        // The name counts as assigned even if the value is wrong: its readers are not to blame.
        self.learn_map(name, None, span);
        let value = self.stored_value(value);
        let place = self.map_key(name, key, place);
        let value = value?;
        self.keepable(&value)?;
        self.learn_map(name, Some(Shape::of(&value)), value.span);
        let value = self.map_value(name, value)?;
        let (map, key) = place?;
        Some(StmtKind::AssignMap { map, key, value })
    }

    /// A value as the map keeps it.
    fn map_value(&mut self, name: &Name, value: Expr) -> Option<Expr> {
        let known = self.map_facts(&name.text).value?;
        let (from, at, to) = (value.ty.clone(), value.span, known.shape.ty());
        if matches!(to, Type::Agg(_)) {
            return self.fail(|| maps::value_mismatch(name, &to, &from, at, known.span));
        }
        match self.implicit(value, &to) {
            Some(value) => Some(value),
            None => self.fail(|| maps::value_mismatch(name, &to, &from, at, known.span)),
        }
    }

    /// `@x op= value`
    fn update_map(
        &mut self,
        name: &Name,
        key: Option<&[AstExpr]>,
        op: BinaryOp,
        value: &AstExpr,
        place_span: Span,
        span: Span,
    ) -> Option<StmtKind> {
        self.learn_map(name, None, span);
        let value = self.stored_value(value);
        let (map, key) = self.map_key(name, key, place_span)?;
        let value = value?;
        let known = self.map_facts(&name.text).value;
        // A map that nothing was assigned to yet counts as zero.
        let current_ty = known.as_ref().map(|l| l.shape.ty()).unwrap_or(Type::Int { bits: 8, signed: true });
        if let (Type::Ptr { to, .. }, BinaryOp::Add | BinaryOp::Sub) = (&current_ty, op)
            && super::arithmetic::is_integer(&value.ty)
        {
            // In units of what is pointed to, as for variables.
            let value = self.scaled(value, i128::from(to.size().max(1)), span)?;
            self.learn_map(name, Some(Shape::Known(current_ty)), span);
            return Some(StmtKind::UpdateMap { map, key, op, value });
        }
        if !super::arithmetic::is_integer(&current_ty) {
            let first = known.map_or(span, |l| l.span);
            return self.fail(|| maps::not_updatable(name, &current_ty, span, first));
        }
        let current = Expr {
            kind: ExprKind::Map { map, key: key.clone().map(Box::new) },
            ty: current_ty,
            span: place_span,
        };
        let at = value.span;
        let shift = matches!(op, BinaryOp::Shl | BinaryOp::Shr);
        let result = self.arithmetic(op, current, value.clone(), span)?;
        self.learn_map(name, Some(Shape::Known(result.ty)), span);
        let to = self.map_facts(&name.text).value?.shape.ty();
        let from = value.ty.clone();
        // An unsigned operand of a signed map was warned about by the arithmetic.
        let operand = if shift { self.convert(value, &Type::U64) } else { self.convert(value, &to) };
        match operand {
            Some(value) => Some(StmtKind::UpdateMap { map, key, op, value }),
            None => {
                let first = known.map_or(span, |l| l.span);
                self.fail(|| maps::value_mismatch(name, &to, &from, at, first))
            }
        }
    }

    /// `@x = count()` and the like.
    #[allow(clippy::too_many_arguments)]
    fn aggregate(
        &mut self,
        name: &Name,
        key: Option<&[AstExpr]>,
        entry: &'static functions::Entry,
        call: &Name,
        args: &[AstExpr],
        place: Span,
        span: Span,
    ) -> Option<StmtKind> {
        self.learn_map(name, None, span);
        let made = self.check_aggregation(entry, call, args);
        let place = self.map_key(name, key, place);
        let (agg, value) = made?;
        let own = Type::Agg(agg);
        self.learn_map(name, Some(Shape::Known(own.clone())), call.span);
        let known = self.map_facts(&name.text).value?;
        if super::shape::join_types(&known.shape.ty(), &own).is_none() {
            return self.fail(|| maps::value_mismatch(name, &known.shape.ty(), &own, call.span, known.span));
        }
        let (map, key) = place?;
        Some(StmtKind::Aggregate { map, key, value })
    }
}

/// The aggregation that an expression calls, if it does.
fn aggregation(value: &AstExpr) -> Option<(&'static functions::Entry, &ast::Name, &[AstExpr])> {
    let Ast::Call { name, args } = &value.kind else { return None };
    let entry = functions::find(&name.text).filter(|e| e.is_aggregation())?;
    Some((entry, name, args))
}

/// A block whose value is an aggregation: `{ let $a = 100; avg($a) }`.
fn block_of_aggregation(value: &AstExpr) -> Option<&ast::Block> {
    let Ast::Block(block) = &value.kind else { return None };
    aggregation(block.value.as_deref()?).map(|_| block)
}
