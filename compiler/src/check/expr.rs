//! Expressions: one arm per form, each handing over to the file of its idea.

use memql_grammar::ast::{self, ExprKind as Ast, Name, Span, UnaryOp};

use super::diagnostics::{functions as function_errors, names, types};
use super::shape::Shape;
use super::type_expr::MAX_VALUE_BYTES;
use super::{Checker, constant};
use crate::constants;
use crate::diagnostic::similar;
use crate::hir::{Expr, ExprKind, Stmt, StmtKind, Var, VarId};
use crate::types::{TupleField, Type};

impl Checker<'_> {
    /// The value of an expression, typed.
    pub(crate) fn expr(&mut self, expr: &ast::Expr) -> Option<Expr> {
        let span = expr.span;
        match &expr.kind {
            Ast::Int(v) => constant::literal(i128::from(*v), span),
            Ast::Bool(v) => Some(constant::boolean(*v, span)),
            Ast::Str(s) => Some(constant::text(&s.bytes, span)),
            Ast::Ident(name) => self.ident(name),
            Ast::Var(name) => self.read_var(name),
            Ast::Positional(n) => Some(self.positional(*n, span)),
            Ast::PositionalCount => constant::literal(self.run.positional.len() as i128, span),
            Ast::Map { name, key } => self.read_map(name, key.as_deref(), span),
            Ast::Call { name, args } => self.call_value(name, args, span),
            Ast::Field { base, name, arrow: _ } => self.field(base, name, span),
            Ast::Index { base, index } => self.index(base, index, span),
            Ast::Unary { op: UnaryOp::Deref, operand } => self.deref(operand, span),
            Ast::Unary { op, operand } => self.unary(*op, operand, span),
            Ast::IncDec { place, increment, postfix } => self.inc_dec(place, *increment, *postfix, span),
            Ast::Binary { op, left, right } => self.binary(*op, left, right, span),
            Ast::Ternary { cond, then: Some(then), otherwise } => self.ternary(cond, then, otherwise, span),
            Ast::Ternary { cond, then: None, otherwise } => self.or_else(cond, otherwise, span),
            Ast::Cast { ty, operand } => self.cast(ty, operand, span),
            Ast::Tuple(fields) => self.tuple(fields, span),
            Ast::Block(block) => self.block_value(block, span),
            Ast::Type(ty) => self.fail(|| types::type_as_value(ty.span)),
        }
    }

    /// A bare name: a builtin, an enumerator, or a mistake.
    fn ident(&mut self, name: &Name) -> Option<Expr> {
        if let Some(n) = super::uses::argument_number(&name.text) {
            return self.numbered_argument(n, name.span);
        }
        if name.text == "args" {
            return self.all_arguments(name.span);
        }
        if let Some(entry) = super::functions::find(&name.text) {
            if entry.bare {
                return self.call_entry(entry, name, &[], name.span);
            }
            let is_var = self.probe.scopes.find(&name.text).is_some();
            let is_map = self.before.maps.contains_key(&name.text);
            let sigil = if is_var { Some('$') } else { is_map.then_some('@') };
            return self.fail(|| function_errors::needs_call(name, entry.signature, sigil));
        }
        if name.text == "opt" {
            return self.fail(|| names::bare_opt(name));
        }
        match self.enumerator(name) {
            Some((value, ty)) => Some(constant::constant(value, ty, name.span)),
            None => match constants::named(&name.text, self.target.features().arch) {
                Some(value) => constant::literal(value.into(), name.span),
                None => self.unknown_ident(name),
            },
        }
    }

    fn unknown_ident(&mut self, name: &Name) -> Option<Expr> {
        if super::functions::is_missing(&name.text) {
            return self.fail(|| super::diagnostics::unsupported::builtin(name));
        }
        let bare = super::functions::table().filter(|e| e.bare).map(|e| e.name);
        let mut close = similar(&name.text, bare.chain(["args"]));
        let is_var = self.probe.scopes.find(&name.text).is_some();
        let is_map = self.before.maps.contains_key(&name.text);
        close.extend(is_var.then(|| format!("${}", name.text)));
        close.extend(is_map.then(|| format!("@{}", name.text)));
        self.fail(|| names::unknown_identifier(name, &close))
    }

    /// `$1`: a number if it looks like one, else text; zero if it was not given.
    fn positional(&mut self, n: u32, span: Span) -> Expr {
        let given = (n as usize).checked_sub(1).and_then(|i| self.run.positional.get(i));
        let value = match given {
            Some(text) => {
                match super::options::parse_integer(text).and_then(|v| constant::literal(v, span)) {
                    Some(number) => Some(number),
                    None => Some(constant::text(text.as_bytes(), span)),
                }
            }
            None => None,
        };
        value.unwrap_or_else(|| Expr::int(0, Type::Int { bits: 8, signed: true }, span))
    }

    /// `(a, b)` and `(x=a, y=b)`
    fn tuple(&mut self, fields: &[ast::TupleField], span: Span) -> Option<Expr> {
        let mut items = Vec::with_capacity(fields.len());
        for field in fields {
            items.push(self.stored_value(&field.value));
        }
        for (i, field) in fields.iter().enumerate() {
            let Some(name) = &field.name else { continue };
            let twice = fields[..i].iter().filter_map(|f| f.name.as_ref()).find(|n| n.text == name.text);
            if let Some(first) = twice {
                return self.fail(|| names::record_field_twice(name, first.span));
            }
        }
        let items: Option<Vec<Expr>> = items.into_iter().collect();
        let mut tuple = self.tuple_of(items?, span)?;
        if let Type::Tuple(types) = &mut tuple.ty {
            for (ty, field) in types.iter_mut().zip(fields) {
                ty.name = field.name.as_ref().map(|n| n.text.clone());
            }
        }
        Some(tuple)
    }

    /// A tuple of values.
    pub(crate) fn tuple_of(&mut self, items: Vec<Expr>, span: Span) -> Option<Expr> {
        let bytes: u64 = items.iter().map(|i| u64::from(i.ty.size())).sum();
        if bytes > MAX_VALUE_BYTES {
            return self.fail(|| types::too_large(bytes, span));
        }
        if items.iter().map(|i| parts(&i.ty)).sum::<usize>() > MAX_PARTS {
            return self.fail(|| types::too_many_parts(MAX_PARTS, span));
        }
        let ty = Type::Tuple(items.iter().map(|i| TupleField { name: None, ty: i.ty.clone() }).collect());
        Some(Expr { kind: ExprKind::Tuple(items), ty, span })
    }

    /// Whether a value can be kept: structs of the kernel can be very large.
    pub(crate) fn keepable(&mut self, value: &Expr) -> Option<()> {
        let bytes = u64::from(value.ty.size());
        if bytes > MAX_VALUE_BYTES {
            return self.fail(|| types::too_large(bytes, value.span));
        }
        Some(())
    }

    /// `c ? a : b` as a value.
    fn ternary(
        &mut self,
        cond: &ast::Expr,
        then: &ast::Expr,
        otherwise: &ast::Expr,
        span: Span,
    ) -> Option<Expr> {
        let cond = self.condition(cond);
        let truth = cond.as_ref().and_then(constant::truth_of);
        let a = self.unless_dead(truth == Some(false), |checker| checker.stored_value(then));
        let b = self.unless_dead(truth == Some(true), |checker| checker.stored_value(otherwise));
        // The side that is never taken need not even have the same type.
        match truth {
            Some(true) => return a.map(|a| Expr { span, ..a }),
            Some(false) => return b.map(|b| Expr { span, ..b }),
            None => {}
        }
        let (cond, a, b) = (cond?, a?, b?);
        let Some(joined) = Shape::of(&a).join(&Shape::of(&b)) else {
            return self.fail(|| types::ternary_mismatch(&a, &b));
        };
        let ty = joined.ty();
        let then = Box::new(self.implicit(a, &ty)?);
        let otherwise = Box::new(self.implicit(b, &ty)?);
        Some(Expr { kind: ExprKind::Ternary { cond: Box::new(cond), then, otherwise }, ty, span })
    }

    /// `a ?: b`: `a` unless that is zero, evaluated once.
    fn or_else(&mut self, cond: &ast::Expr, otherwise: &ast::Expr, span: Span) -> Option<Expr> {
        let value = self.stored_value(cond);
        let truth = value.as_ref().and_then(constant::truth_of);
        let b = self.unless_dead(truth == Some(true), |checker| checker.stored_value(otherwise));
        match truth {
            Some(true) => return value.map(|value| Expr { span, ..value }),
            Some(false) => return b.map(|b| Expr { span, ..b }),
            None => {}
        }
        let (value, b) = (value?, b?);
        if !value.ty.is_scalar() {
            return self.fail(|| types::bad_condition(&value));
        }
        let Some(joined) = Shape::of(&value).join(&Shape::of(&b)) else {
            return self.fail(|| types::ternary_mismatch(&value, &b));
        };
        let ty = joined.ty();
        let (kept, held) = self.hold(value);
        let then = Box::new(self.implicit(held.clone(), &ty)?);
        let otherwise = Box::new(self.implicit(b, &ty)?);
        let kind = ExprKind::Ternary { cond: Box::new(held), then, otherwise };
        let chosen = Expr { kind, ty: ty.clone(), span };
        Some(Expr { kind: ExprKind::Block(vec![kept], Box::new(chosen)), ty, span })
    }

    /// Keeps a value in a variable that no script can name: the statement that does, and the variable.
    pub(crate) fn hold(&mut self, value: Expr) -> (Stmt, Expr) {
        let (ty, span) = (value.ty.clone(), value.span);
        let (kept, var) = self.keep(value);
        (kept, Expr { kind: ExprKind::Var(var), ty, span })
    }

    /// A variable of a value's own, and what assigns it.
    pub(crate) fn keep(&mut self, value: Expr) -> (Stmt, VarId) {
        let (ty, span) = (value.ty.clone(), value.span);
        let var = self.probe.vars.push(Var { name: "$".to_owned(), ty });
        (Stmt { kind: StmtKind::AssignVar { var, value }, span }, var)
    }

    /// `comptime x`: a constant.
    pub(crate) fn comptime(&mut self, operand: &ast::Expr, span: Span) -> Option<Expr> {
        let value = self.stored_value(operand)?;
        if constant::truth_of(&value).is_none() {
            return self.fail(|| types::not_comptime(&value));
        }
        Some(Expr { span, ..value })
    }

    /// `{ ...; x }`
    fn block_value(&mut self, block: &ast::Block, span: Span) -> Option<Expr> {
        let (stmts, value) = self.in_block(block, |checker| {
            let stmts = checker.stmts(&block.stmts);
            let value = match &block.value {
                Some(value) => checker.stored_value(value),
                None => checker.fail(|| types::block_without_value(span)),
            };
            (stmts, value)
        });
        let value = value?;
        // A block of a value alone, as many macros are, is that value: constants stay constants.
        if block.stmts.is_empty() {
            return Some(Expr { span, ..value });
        }
        let ty = value.ty.clone();
        Some(Expr { kind: ExprKind::Block(stmts, Box::new(value)), ty, span })
    }

    /// A condition: any scalar, or constant text (true if it is not empty).
    pub(crate) fn condition(&mut self, expr: &ast::Expr) -> Option<Expr> {
        let value = self.expr(expr)?;
        let value = self.plain(value)?;
        if let Some(truth) = constant::truth_of(&value) {
            return Some(constant::boolean(truth, value.span));
        }
        if value.ty.is_scalar() && !matches!(value.ty, Type::Timestamp { .. } | Type::Point(_)) {
            return Some(value);
        }
        self.fail(|| types::bad_condition(&value))
    }
}

/// The most elements of a tuple, those of tuples in it included: doubling a tuple again and again must end.
const MAX_PARTS: usize = 4096;

/// How many elements a type has, itself included.
fn parts(ty: &Type) -> usize {
    match ty {
        Type::Tuple(fields) => 1 + fields.iter().map(|f| parts(&f.ty)).sum::<usize>(),
        _ => 1,
    }
}
