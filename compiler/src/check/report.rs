//! `report` statements: what the runtime evaluates over a snapshot of a map, and what the probe
//! computes for it.
//!
//! A report's expression that names neither the key nor the value variable is the same for every
//! element: the probe computes it and sends it along ([`hir::Report::captured`]).

use memql_grammar::ast::{self, BinaryOp, Expr as AstExpr, ExprKind as Ast, Name, Span, UnaryOp};

use super::arithmetic::is_integer;
use super::diagnostics::{formats, names, report as errors};
use super::shape::{Shape, int_bits};
use super::{Checker, constant};
use crate::diagnostic::similar;
use crate::format::parse_format;
use crate::hir::{self, Expr, StmtKind};
use crate::plan::{Arg, FormatPiece, ReportColumn, ReportExpr, ReportExprKind, ReportValue};
use crate::types::{Agg, Type, tuple_layout};

/// What a report's expressions can name.
struct Element<'r> {
    key: Option<(&'r Name, Type)>,
    value: Option<(&'r Name, Type)>,
    captured: Vec<Expr>,
}

impl Element<'_> {
    fn variable(&self, name: &str) -> Option<ReportExpr> {
        let named =
            |v: &Option<(&Name, Type)>| v.as_ref().filter(|(n, _)| n.text == name).map(|(_, ty)| ty.clone());
        if let Some(ty) = named(&self.key) {
            return Some(ReportExpr { kind: ReportExprKind::Key { offset: 0 }, ty });
        }
        named(&self.value).map(|ty| ReportExpr { kind: ReportExprKind::Value { offset: 0 }, ty })
    }

    fn names(&self, name: &str) -> bool {
        self.variable(name).is_some()
    }
}

impl Checker<'_> {
    /// `report @map ...`
    pub(crate) fn report_stmt(&mut self, report: &ast::Report) -> Option<StmtKind> {
        for name in [&report.key, &report.value].into_iter().flatten() {
            if let Some(first) = self.probe.scopes.find(&name.text).map(|b| b.site.1) {
                return self.fail(|| names::declared_twice(name, first));
            }
        }
        self.read_map_name(&report.map)?;
        let map = self.use_map(&report.map, true)?;
        let facts = self.map_facts(&report.map.text);
        let (key, value) = (facts.key?.shape.ty(), facts.value?.shape.ty());
        let value = match value {
            Type::Agg(agg @ (Agg::Hist { .. } | Agg::Lhist { .. } | Agg::Tseries(_) | Agg::Stats { .. })) => {
                return self.fail(|| errors::histogram(&report.map, agg));
            }
            Type::Agg(_) => Type::Int { bits: 64, signed: value.is_signed() },
            other => other,
        };
        let mut element = Element {
            key: report.key.as_ref().map(|n| (n, key)),
            value: report.value.as_ref().map(|n| (n, value)),
            captured: Vec::new(),
        };
        let filter = report.filter.as_ref().map(|f| self.report_condition(&mut element, f));
        let columns: Vec<Option<ReportColumn>> =
            report.columns.iter().map(|c| self.column(&mut element, c)).collect();
        let limit = report.limit.as_ref().map(|l| self.report_integer(&mut element, l));
        let order = match &report.order {
            Some((name, descending)) => Some((self.column_named(report, name)?, *descending)),
            None => None,
        };
        let columns: Option<Vec<ReportColumn>> = columns.into_iter().collect();
        let columns = columns?;
        let format = match &report.print {
            Some(literal) => Some(self.report_format(literal, &columns, report)?),
            None => None,
        };
        let filter = match filter {
            Some(filter) => Some(filter?),
            None => None,
        };
        let limit = match limit {
            Some(limit) => Some(limit?),
            None => None,
        };
        Some(StmtKind::Report(Box::new(hir::Report {
            map,
            captured: element.captured,
            filter,
            columns,
            order,
            limit,
            format,
        })))
    }

    fn column_named(&mut self, report: &ast::Report, name: &Name) -> Option<usize> {
        match report.columns.iter().position(|c| c.name.text == name.text) {
            Some(at) => Some(at),
            None => {
                let all: Vec<String> = report.columns.iter().map(|c| c.name.text.clone()).collect();
                let close = similar(&name.text, all.iter().map(String::as_str));
                self.fail(|| errors::unknown_column(name, &close, &all))
            }
        }
    }

    fn report_format(
        &mut self,
        literal: &ast::StrLit,
        columns: &[ReportColumn],
        report: &ast::Report,
    ) -> Option<crate::plan::Format> {
        let mut format = match parse_format(literal) {
            Ok(format) => format,
            Err(error) => return self.fail(|| formats::bad_conversion(&error, literal.span)),
        };
        let conversions: Vec<_> = format
            .pieces
            .iter_mut()
            .filter_map(|p| match p {
                FormatPiece::Conversion(c) => Some(c),
                FormatPiece::Text(_) => None,
            })
            .collect();
        if conversions.len() != columns.len() {
            return self.fail(|| errors::format_count(conversions.len(), columns.len(), literal.span));
        }
        let mut fits = Some(());
        for ((column, conversion), written) in columns.iter().zip(conversions).zip(&report.columns) {
            let stand_in = Expr::int(0, column.ty.clone(), written.value.span);
            if super::functions::fits(self, stand_in, conversion, literal).is_none() {
                fits = None;
            }
            conversion.of(&column.ty);
        }
        fits.map(|()| format)
    }

    /// `name = sum(x)`, or a plain expression that rows are grouped by.
    fn column(&mut self, element: &mut Element<'_>, column: &ast::ReportColumn) -> Option<ReportColumn> {
        let name = column.name.text.clone();
        if let Ast::Call { name: call, args } = &column.value.kind
            && let Some(aggregate) = aggregate_named(&call.text)
        {
            let arg = match (aggregate, args.as_slice()) {
                (Aggregate::Count, []) => {
                    return Some(ReportColumn { name, value: ReportValue::Count, ty: Type::U64 });
                }
                (Aggregate::Count, _) | (_, [] | [_, _, ..]) => {
                    return self.fail(|| errors::aggregate_arguments(call, args.len(), column.value.span));
                }
                (_, [arg]) => self.report_integer(element, arg)?,
            };
            let ty = Type::Int { bits: 64, signed: arg.ty.is_signed() };
            let value = match aggregate {
                Aggregate::Count => ReportValue::Count,
                Aggregate::Sum => ReportValue::Sum(arg),
                Aggregate::Min => ReportValue::Min(arg),
                Aggregate::Max => ReportValue::Max(arg),
                Aggregate::Avg => ReportValue::Avg(arg),
            };
            return Some(ReportColumn { name, value, ty });
        }
        let value = self.report_expr(element, &column.value)?;
        if matches!(value.ty, Type::Struct(_) | Type::Void | Type::Agg(_)) {
            return self.fail(|| errors::not_a_column(&value.ty, column.value.span));
        }
        let ty = value.ty.clone();
        Some(ReportColumn { name, value: ReportValue::Group(value), ty })
    }

    fn report_condition(&mut self, element: &mut Element<'_>, expr: &AstExpr) -> Option<ReportExpr> {
        let value = self.report_expr(element, expr)?;
        if int_bits(&value.ty) == 0 {
            return self.fail(|| errors::not_a_number(&value.ty, expr.span));
        }
        Some(value)
    }

    fn report_integer(&mut self, element: &mut Element<'_>, expr: &AstExpr) -> Option<ReportExpr> {
        let value = self.report_expr(element, expr)?;
        if !is_integer(&value.ty) && !matches!(value.ty, Type::Ptr { .. }) {
            return self.fail(|| errors::not_a_number(&value.ty, expr.span));
        }
        Some(value)
    }

    /// An expression over one element.
    fn report_expr(&mut self, element: &mut Element<'_>, expr: &AstExpr) -> Option<ReportExpr> {
        if !mentions(element, expr) {
            let value = self.stored_value(expr)?;
            return Some(capture(element, value));
        }
        match &expr.kind {
            Ast::Var(name) => element.variable(&name.text),
            Ast::Field { base, name, arrow: _ } => {
                let base = self.report_expr(element, base)?;
                self.report_field(base, name)
            }
            Ast::Index { base, index } => {
                let base = self.report_expr(element, base)?;
                let index = self.stored_value(index)?;
                match constant::value_of(&index) {
                    Some(n) => self.report_field(base, &Name { text: n.to_string(), span: index.span }),
                    None => self.fail(|| errors::too_much(expr.span)),
                }
            }
            Ast::Map { name, key: Some(parts) } => self.lookup(element, name, parts, expr.span),
            Ast::Unary { op: op @ (UnaryOp::Neg | UnaryOp::Not | UnaryOp::BitNot), operand } => {
                let operand = self.report_condition(element, operand)?;
                let ty = match op {
                    UnaryOp::Not => Type::Bool,
                    UnaryOp::Neg => Type::I64,
                    _ => Type::Int { bits: 64, signed: operand.ty.is_signed() },
                };
                Some(ReportExpr { kind: ReportExprKind::Unary(*op, Box::new(operand)), ty })
            }
            Ast::Binary { op, left, right } => {
                let (a, b) = (self.report_condition(element, left), self.report_condition(element, right));
                let (a, b) = (a?, b?);
                let ty = binary_type(*op, &a, &b);
                Some(ReportExpr { kind: ReportExprKind::Binary(*op, Box::new(a), Box::new(b)), ty })
            }
            Ast::Ternary { cond, then, otherwise } => {
                // Nothing in a report has an effect: `a ?: b` may look at `a` twice.
                let then = then.as_ref().unwrap_or(cond);
                let cond = self.report_condition(element, cond);
                let (a, b) = (self.report_expr(element, then), self.report_expr(element, otherwise));
                let (cond, a, b) = (cond?, a?, b?);
                let Some(ty) = report_shape(&a).join(&report_shape(&b)).map(|s| s.ty()) else {
                    return self.fail(|| errors::branches_differ(&a.ty, &b.ty, expr.span));
                };
                Some(ReportExpr {
                    kind: ReportExprKind::Ternary(Box::new(cond), Box::new(a), Box::new(b)),
                    ty,
                })
            }
            Ast::Cast { ty, operand } => {
                let value = self.report_condition(element, operand)?;
                let to = self.type_of(ty)?;
                match (&to, int_bits(&value.ty) <= int_bits(&to)) {
                    (Type::Int { .. }, true) => Some(ReportExpr { ty: to, ..value }),
                    _ => self.fail(|| errors::too_much(expr.span)),
                }
            }
            Ast::Call { name, args } if matches!(name.text.as_str(), "ksym") && args.len() == 1 => {
                let value = self.report_integer(element, &args[0])?;
                Some(ReportExpr { ty: Type::Ksym, ..value })
            }
            Ast::Call { name, .. } if aggregate_named(&name.text).is_some() => {
                self.fail(|| errors::nested_aggregate(name, expr.span))
            }
            _ => self.fail(|| errors::too_much(expr.span)),
        }
    }

    /// A field of a tuple or record in the element.
    fn report_field(&mut self, base: ReportExpr, name: &Name) -> Option<ReportExpr> {
        let Type::Tuple(fields) = &base.ty else {
            return self.fail(|| errors::no_fields(&base.ty, name));
        };
        let at = match name.text.parse::<usize>() {
            Ok(n) => Some(n).filter(|n| *n < fields.len()),
            Err(_) => fields.iter().position(|f| f.name.as_deref() == Some(name.text.as_str())),
        };
        let Some(at) = at else {
            return self.fail(|| names::unknown_tuple_field(&base.ty, fields, name));
        };
        let (ty, inner) = (fields[at].ty.clone(), tuple_layout(fields).offsets[at]);
        let kind = match base.kind {
            ReportExprKind::Key { offset } => ReportExprKind::Key { offset: offset + inner },
            ReportExprKind::Value { offset } => ReportExprKind::Value { offset: offset + inner },
            _ => return self.fail(|| errors::too_much(name.span)),
        };
        Some(ReportExpr { kind, ty })
    }

    /// `@other[$key]`
    fn lookup(
        &mut self,
        element: &mut Element<'_>,
        name: &Name,
        parts: &[AstExpr],
        span: Span,
    ) -> Option<ReportExpr> {
        let exists = self.read_map_name(name);
        let id = self.use_map(name, true);
        let [part] = parts else {
            return self.fail(|| errors::lookup_key(name, span));
        };
        let mut key = self.report_expr(element, part)?;
        exists?;
        let id = id?;
        let facts = self.map_facts(&name.text);
        let (wanted, value) = (facts.key?, facts.value?.shape.ty());
        let to = wanted.shape.ty();
        let integers = int_bits(&key.ty) > 0 && int_bits(&to) > 0;
        if key.ty != to && !integers {
            return self
                .fail(|| super::diagnostics::maps::key_mismatch(name, &to, &key.ty, part.span, wanted.span));
        }
        key.ty = to;
        let ty = match value {
            Type::Agg(agg @ (Agg::Hist { .. } | Agg::Lhist { .. } | Agg::Tseries(_) | Agg::Stats { .. })) => {
                return self.fail(|| errors::histogram(name, agg));
            }
            Type::Agg(_) => Type::Int { bits: 64, signed: value.is_signed() },
            other => other,
        };
        let map = cranelift_entity::EntityRef::index(id);
        Some(ReportExpr { kind: ReportExprKind::Lookup { map, key: Box::new(key) }, ty })
    }
}

/// A value that the probe computes; constants stay constants.
fn capture(element: &mut Element<'_>, value: Expr) -> ReportExpr {
    let ty = value.ty.clone();
    if let Some(v) = constant::value_of(&value) {
        return ReportExpr { kind: ReportExprKind::Int(v as i64), ty };
    }
    let offset = element.captured.len() as u32;
    element.captured.push(value);
    ReportExpr { kind: ReportExprKind::Captured(Arg { ty: ty.clone(), offset }), ty }
}

#[derive(Clone, Copy)]
enum Aggregate {
    Count,
    Sum,
    Min,
    Max,
    Avg,
}

fn aggregate_named(name: &str) -> Option<Aggregate> {
    Some(match name {
        "count" => Aggregate::Count,
        "sum" => Aggregate::Sum,
        "min" => Aggregate::Min,
        "max" => Aggregate::Max,
        "avg" => Aggregate::Avg,
        _ => return None,
    })
}

fn report_shape(expr: &ReportExpr) -> Shape {
    match expr.kind {
        ReportExprKind::Int(v) if v >= 0 => Shape::Literal(v as u64),
        _ => Shape::Known(expr.ty.clone()),
    }
}

/// The type of `a op b`, by the same rules as in probes.
fn binary_type(op: BinaryOp, a: &ReportExpr, b: &ReportExpr) -> Type {
    let stand_in = |e: &ReportExpr| match e.kind {
        ReportExprKind::Int(v) => Expr::int(v, e.ty.clone(), Span::default()),
        _ => {
            Expr { kind: hir::ExprKind::Builtin(hir::Builtin::Rand), ty: e.ty.clone(), span: Span::default() }
        }
    };
    match op {
        BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge
        | BinaryOp::And
        | BinaryOp::Or => Type::Bool,
        _ => super::arithmetic::result_type(op, &stand_in(a), &stand_in(b)),
    }
}

/// Whether an expression names the element's key or value.
fn mentions(element: &Element<'_>, expr: &AstExpr) -> bool {
    let any = |exprs: &[AstExpr]| exprs.iter().any(|e| mentions(element, e));
    match &expr.kind {
        Ast::Var(name) => element.names(&name.text),
        Ast::Map { name: _, key } => key.as_deref().is_some_and(any),
        Ast::Call { name, args } => aggregate_named(&name.text).is_some() || any(args),
        Ast::Field { base, .. } => mentions(element, base),
        Ast::Index { base, index } => mentions(element, base) || mentions(element, index),
        Ast::Unary { operand, .. } | Ast::Cast { operand, .. } => mentions(element, operand),
        Ast::IncDec { place, .. } => mentions(element, place),
        Ast::Binary { left, right, .. } => mentions(element, left) || mentions(element, right),
        Ast::Ternary { cond, then, otherwise } => {
            [cond, otherwise].into_iter().chain(then).any(|e| mentions(element, e))
        }
        Ast::Tuple(fields) => fields.iter().any(|f| mentions(element, &f.value)),
        Ast::Int(_)
        | Ast::Bool(_)
        | Ast::Str(_)
        | Ast::Ident(_)
        | Ast::Positional(_)
        | Ast::PositionalCount
        | Ast::Block(_)
        | Ast::Type(_) => false,
    }
}
