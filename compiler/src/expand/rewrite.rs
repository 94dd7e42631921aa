//! The walk that copies a tree and puts in its place what a name stands for.

use std::collections::HashMap;

use memql_grammar::MAX_TREE_DEPTH;
use memql_grammar::ast::*;

use super::extent::Extent;
use super::hygiene::{self, MAX_EXPANSIONS};
use super::{Definitions, MAX_NODES};
use crate::check::diagnostics::macros as errors;
use crate::check::is_function;
use crate::diagnostic::Diagnostic;

/// What a parameter stands for in one expansion.
#[derive(Clone, Debug)]
enum Passed {
    /// A variable's or a map's name where the macro is called.
    Name(Name),
    /// An expression or type, expanded already, and how large its tree is.
    Value(Expr, Extent),
}

/// The body that is being copied.
struct Frame<'s> {
    /// The macro or definition; the script itself has none.
    of: Option<&'s Name>,
    /// What its parameters stand for, by their sigil and name.
    passed: HashMap<(Sigil, &'s str), Passed>,
    /// Its number, if its variables are its own.
    hygienic: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sigil {
    Variable,
    Map,
    None,
}

pub(super) struct Rewriter<'s> {
    definitions: &'s Definitions<'s>,
    frames: Vec<Frame<'s>>,
    /// How deep the node being copied is.
    depth: usize,
    expansions: usize,
    nodes: usize,
    /// Whether a limit was met, which is reported once.
    stopped: bool,
    findings: Vec<Diagnostic>,
}

impl<'s> Rewriter<'s> {
    pub(super) fn new(definitions: &'s Definitions<'s>) -> Rewriter<'s> {
        let script = Frame { of: None, passed: HashMap::new(), hygienic: None };
        Rewriter {
            definitions,
            frames: vec![script],
            depth: 0,
            expansions: 0,
            nodes: 0,
            stopped: false,
            findings: Vec::new(),
        }
    }

    pub(super) fn into_findings(self) -> Vec<Diagnostic> {
        self.findings
    }

    fn frame(&self) -> &Frame<'s> {
        self.frames.last().expect("the script's frame stays")
    }

    fn report(&mut self, finding: Diagnostic) {
        self.findings.push(finding);
    }

    /// Notes that expansion cannot go on.
    fn stop(&mut self, finding: Diagnostic) {
        if !self.stopped {
            self.report(finding);
        }
        self.stopped = true;
    }

    // ------------------------------------------------------------------------------ items

    pub(super) fn item(&mut self, item: &'s Item) -> Item {
        match item {
            Item::Option(option) => {
                let default = option.default.as_ref().map(|e| self.expr(e));
                Item::Option(OptionDecl { default, ..option.clone() })
            }
            Item::Map(map) => Item::Map(MapDecl { max_entries: self.expr(&map.max_entries), ..map.clone() }),
            Item::Probe(probe) => Item::Probe(Probe {
                points: probe.points.clone(),
                predicate: probe.predicate.as_ref().map(|p| self.expr(p)),
                body: self.block(&probe.body),
                span: probe.span,
            }),
            Item::Record(record) => Item::Record(self.c_record(record)),
            Item::Enum(named) => Item::Enum(self.c_enum(named)),
            Item::Typedef(typedef) => {
                Item::Typedef(CTypedef { names: self.c_member(&typedef.names), span: typedef.span })
            }
            Item::Config(_)
            | Item::Macro(_)
            | Item::Import(_)
            | Item::Define(_)
            | Item::Include(_)
            | Item::TestedScript(_)
            | Item::Kernel(_)
            | Item::Test(_) => item.clone(),
        }
    }

    fn c_record(&mut self, record: &'s CRecord) -> CRecord {
        CRecord {
            members: record.members.as_ref().map(|m| m.iter().map(|m| self.c_member(m)).collect()),
            attributes: self.c_attributes(&record.attributes),
            ..record.clone()
        }
    }

    fn c_enum(&mut self, named: &'s CEnum) -> CEnum {
        let value = |(name, value): &'s (Name, Option<Expr>), r: &mut Self| {
            (name.clone(), value.as_ref().map(|v| r.expr(v)))
        };
        let values = named.values.as_ref().map(|values| values.iter().map(|v| value(v, self)).collect());
        CEnum { values, ..named.clone() }
    }

    fn c_member(&mut self, member: &'s CMember) -> CMember {
        let base = match &member.base {
            CBase::Named(name) => CBase::Named(self.type_name(name)),
            CBase::Record(record) => CBase::Record(self.c_record(record)),
            CBase::Enum(named) => CBase::Enum(self.c_enum(named)),
        };
        let declarators = member.declarators.iter().map(|d| self.c_declarator(d)).collect();
        CMember { base, declarators, span: member.span }
    }

    fn c_declarator(&mut self, declarator: &'s CDeclarator) -> CDeclarator {
        let modifier = |modifier: &'s CModifier, r: &mut Self| match modifier {
            CModifier::Array(size) => CModifier::Array(size.as_ref().map(|s| r.expr(s))),
            CModifier::Pointer | CModifier::Function => modifier.clone(),
        };
        CDeclarator {
            modifiers: declarator.modifiers.iter().map(|m| modifier(m, self)).collect(),
            bits: declarator.bits.as_ref().map(|b| self.expr(b)),
            attributes: self.c_attributes(&declarator.attributes),
            ..declarator.clone()
        }
    }

    fn c_attributes(&mut self, attributes: &'s [CAttribute]) -> Vec<CAttribute> {
        let expanded = attributes.iter().map(|CAttribute { name, argument }| CAttribute {
            name: name.clone(),
            argument: argument.as_ref().map(|a| self.expr(a)),
        });
        expanded.collect()
    }

    // ------------------------------------------------------------------------- statements

    fn block(&mut self, block: &'s Block) -> Block {
        let Block { stmts, value, span, expanded_from } = block;
        Block {
            stmts: stmts.iter().map(|stmt| self.stmt(stmt)).collect(),
            value: value.as_ref().map(|value| Box::new(self.expr(value))),
            span: *span,
            expanded_from: expanded_from.clone(),
        }
    }

    fn stmt(&mut self, stmt: &'s Stmt) -> Stmt {
        self.nodes += usize::from(self.frames.len() > 1);
        self.depth += 1;
        let kind = self.stmt_kind(&stmt.kind);
        self.depth -= 1;
        Stmt { kind, span: stmt.span }
    }

    fn stmt_kind(&mut self, kind: &'s StmtKind) -> StmtKind {
        match kind {
            StmtKind::Expr(expr) => StmtKind::Expr(self.expr(expr)),
            StmtKind::Assign { place, op, value } => {
                StmtKind::Assign { place: self.expr(place), op: *op, value: self.expr(value) }
            }
            StmtKind::Let { var, ty, value } => StmtKind::Let {
                var: self.variable(var),
                ty: ty.as_ref().map(|ty| self.type_expr(ty)),
                value: value.as_ref().map(|v| self.expr(v)),
            },
            StmtKind::If { cond, then, otherwise } => StmtKind::If {
                cond: self.expr(cond),
                then: self.block(then),
                otherwise: otherwise.as_ref().map(|block| self.block(block)),
            },
            StmtKind::While { cond, body } => {
                StmtKind::While { cond: self.expr(cond), body: self.block(body) }
            }
            StmtKind::Unroll { count, body } => {
                StmtKind::Unroll { count: self.expr(count), body: self.block(body) }
            }
            StmtKind::ForRange { var, start, end, body } => StmtKind::ForRange {
                var: self.variable(var),
                start: self.expr(start),
                end: self.expr(end),
                body: self.block(body),
            },
            StmtKind::ForMap { var, map, body } => {
                StmtKind::ForMap { var: self.variable(var), map: self.map(map), body: self.block(body) }
            }
            StmtKind::Return(value) => StmtKind::Return(value.as_ref().map(|v| self.expr(v))),
            StmtKind::Block(block) => StmtKind::Block(self.block(block)),
            StmtKind::Report(report) => StmtKind::Report(Box::new(Report {
                map: self.map(&report.map),
                key: report.key.as_ref().map(|key| self.variable(key)),
                value: report.value.as_ref().map(|value| self.variable(value)),
                filter: report.filter.as_ref().map(|e| self.expr(e)),
                columns: report
                    .columns
                    .iter()
                    .map(|c| ReportColumn { name: c.name.clone(), value: self.expr(&c.value) })
                    .collect(),
                order: report.order.clone(),
                limit: report.limit.as_ref().map(|e| self.expr(e)),
                print: report.print.clone(),
            })),
            StmtKind::Break | StmtKind::Continue => kind.clone(),
        }
    }

    // ------------------------------------------------------------------------ expressions

    fn expr(&mut self, expr: &'s Expr) -> Expr {
        self.nodes += usize::from(self.frames.len() > 1);
        if self.depth >= MAX_TREE_DEPTH || self.nodes > MAX_NODES {
            let deep = self.depth >= MAX_TREE_DEPTH;
            self.stop(if deep {
                errors::too_deep(expr.span, MAX_TREE_DEPTH)
            } else {
                errors::too_large(expr.span, MAX_NODES)
            });
        }
        if self.stopped {
            return Expr { kind: ExprKind::Int(0), span: expr.span };
        }
        self.depth += 1;
        let expanded = self.expr_kind(expr);
        self.depth -= 1;
        expanded
    }

    fn boxed(&mut self, expr: &'s Expr) -> Box<Expr> {
        Box::new(self.expr(expr))
    }

    fn exprs(&mut self, exprs: &'s [Expr]) -> Vec<Expr> {
        exprs.iter().map(|e| self.expr(e)).collect()
    }

    fn expr_kind(&mut self, expr: &'s Expr) -> Expr {
        let span = expr.span;
        let kind = match &expr.kind {
            ExprKind::Ident(name) => return self.ident(name, expr),
            ExprKind::Call { name, args } => return self.call(name, args, span),
            ExprKind::Var(name) => ExprKind::Var(self.variable(name)),
            ExprKind::Map { name, key } => {
                ExprKind::Map { name: self.map(name), key: key.as_ref().map(|key| self.exprs(key)) }
            }
            ExprKind::Field { base, name, arrow } => {
                ExprKind::Field { base: self.boxed(base), name: name.clone(), arrow: *arrow }
            }
            ExprKind::Index { base, index } => {
                ExprKind::Index { base: self.boxed(base), index: self.boxed(index) }
            }
            ExprKind::Unary { op, operand } => ExprKind::Unary { op: *op, operand: self.boxed(operand) },
            ExprKind::IncDec { place, increment, postfix } => {
                ExprKind::IncDec { place: self.boxed(place), increment: *increment, postfix: *postfix }
            }
            ExprKind::Binary { op, left, right } => {
                ExprKind::Binary { op: *op, left: self.boxed(left), right: self.boxed(right) }
            }
            ExprKind::Ternary { cond, then, otherwise } => ExprKind::Ternary {
                cond: self.boxed(cond),
                then: then.as_ref().map(|then| self.boxed(then)),
                otherwise: self.boxed(otherwise),
            },
            ExprKind::Cast { ty, operand } => {
                ExprKind::Cast { ty: self.type_expr(ty), operand: self.boxed(operand) }
            }
            ExprKind::Tuple(fields) => ExprKind::Tuple(
                fields
                    .iter()
                    .map(|f| TupleField { name: f.name.clone(), value: self.expr(&f.value) })
                    .collect(),
            ),
            ExprKind::Block(block) => ExprKind::Block(self.block(block)),
            ExprKind::Type(ty) => return self.type_argument(ty, span),
            ExprKind::Int(_)
            | ExprKind::Bool(_)
            | ExprKind::Str(_)
            | ExprKind::Positional(_)
            | ExprKind::PositionalCount => expr.kind.clone(),
        };
        Expr { kind, span }
    }

    /// A bare name: a parameter, a definition, a macro without parameters, or anything else.
    fn ident(&mut self, name: &'s Name, expr: &'s Expr) -> Expr {
        if let Some(Passed::Value(value, extent)) =
            self.frame().passed.get(&(Sigil::None, name.text.as_str()))
        {
            let (value, extent) = (value.clone(), *extent);
            return self.placed(value, extent, expr.span);
        }
        if let Some(define) = self.definitions.defines.get(name.text.as_str()).copied() {
            return match (&define.params, &define.value) {
                // A name with parameters is only meant where it is called, as in C.
                (Some(_), _) => expr.clone(),
                (None, Some(value)) => self.defined(define, value, HashMap::new(), expr.span),
                (None, None) => {
                    self.report(errors::defined_as_text(name, define.span));
                    expr.clone()
                }
            };
        }
        match self.definitions.macros.get(name.text.as_str()).map(Vec::as_slice) {
            Some(same_name) if same_name.iter().any(|m| m.params.is_empty()) => {
                self.call(name, &[], expr.span)
            }
            Some([only, ..]) if !is_function(&name.text) => {
                self.report(errors::call_without_arguments(name, only));
                expr.clone()
            }
            _ => expr.clone(),
        }
    }

    /// An expanded tree at this place, if there is room for it.
    fn placed(&mut self, value: Expr, extent: Extent, span: Span) -> Expr {
        self.nodes += extent.nodes;
        if self.depth + extent.depth > MAX_TREE_DEPTH {
            self.stop(errors::too_deep(span, MAX_TREE_DEPTH));
        } else if self.nodes > MAX_NODES {
            self.stop(errors::too_large(span, MAX_NODES));
        }
        if self.stopped { Expr { kind: ExprKind::Int(0), span } } else { value }
    }

    fn call(&mut self, name: &'s Name, args: &'s [Expr], span: Span) -> Expr {
        if let Some(Define { params: Some(params), value, .. }) =
            self.definitions.defines.get(name.text.as_str()).copied()
        {
            return self.call_define(name, params, value.as_ref(), args, span);
        }
        let same_name = self.definitions.macros.get(name.text.as_str()).map_or(&[][..], Vec::as_slice);
        let fits = |defined: &&&MacroDef| {
            defined.params.len() == args.len() && defined.params.iter().zip(args).all(|(p, a)| takes(p, a))
        };
        // What names a variable or map is meant before what takes anything.
        let specific = |defined: &&&'s MacroDef| {
            defined.params.iter().filter(|p| !matches!(p, MacroParam::Expr(_))).count()
        };
        let Some(defined) = same_name.iter().filter(fits).max_by_key(specific).copied() else {
            if let ([only, ..], false) = (same_name, is_function(&name.text)) {
                self.report(errors::wrong_arguments(name, only, args, span));
            }
            return Expr { kind: ExprKind::Call { name: name.clone(), args: self.exprs(args) }, span };
        };
        self.expand(name, defined, args, span)
    }

    fn expand(&mut self, name: &'s Name, defined: &'s MacroDef, args: &'s [Expr], span: Span) -> Expr {
        let stop = Expr { kind: ExprKind::Int(0), span };
        if let Some(chain) = self.chain_to(&defined.name) {
            self.report(errors::recursive(name, &chain));
            return stop;
        }
        if self.expansions >= MAX_EXPANSIONS {
            self.stop(errors::too_large(span, MAX_NODES));
            return stop;
        }
        let mut passed = HashMap::new();
        for (param, arg) in defined.params.iter().zip(args) {
            let (key, value) = match (param, &arg.kind) {
                (MacroParam::Variable(name), ExprKind::Var(var)) => {
                    ((Sigil::Variable, name.text.as_str()), Passed::Name(self.variable(var)))
                }
                (MacroParam::Map(name), ExprKind::Map { name: map, .. }) => {
                    ((Sigil::Map, name.text.as_str()), Passed::Name(self.map(map)))
                }
                (param, _) => {
                    let value = self.expr(arg);
                    let extent = Extent::of(&value);
                    ((Sigil::None, param.name().text.as_str()), Passed::Value(value, extent))
                }
            };
            passed.insert(key, value);
        }
        let number = self.expansions;
        self.expansions += 1;
        self.frames.push(Frame { of: Some(&defined.name), passed, hygienic: Some(number) });
        let mut body = self.block(&defined.body);
        self.frames.pop();
        body.expanded_from = Some(Name { text: name.text.clone(), span });
        Expr { kind: ExprKind::Block(body), span }
    }

    /// The macros from one of this name to here, if it is being expanded.
    fn chain_to(&self, name: &Name) -> Option<Vec<String>> {
        let from = self.frames.iter().position(|f| f.of.is_some_and(|of| of.span == name.span))?;
        let mut chain: Vec<String> =
            self.frames[from..].iter().filter_map(|f| f.of).map(|of| of.text.clone()).collect();
        chain.push(name.text.clone());
        Some(chain)
    }

    fn call_define(
        &mut self,
        name: &'s Name,
        params: &'s [Name],
        value: Option<&'s Expr>,
        args: &'s [Expr],
        span: Span,
    ) -> Expr {
        let define = self.definitions.defines[name.text.as_str()];
        let Some(value) = value.filter(|_| params.len() == args.len()) else {
            self.report(if params.len() == args.len() {
                errors::defined_as_text(name, define.span)
            } else {
                errors::wrong_define_arguments(name, params.len(), args.len(), span, define.span)
            });
            return Expr { kind: ExprKind::Int(0), span };
        };
        let mut passed = HashMap::new();
        for (param, arg) in params.iter().zip(args) {
            let value = self.expr(arg);
            let extent = Extent::of(&value);
            passed.insert((Sigil::None, param.text.as_str()), Passed::Value(value, extent));
        }
        self.defined(define, value, passed, span)
    }

    /// The value of a definition, standing where its name does.
    fn defined(
        &mut self,
        define: &'s Define,
        value: &'s Expr,
        passed: HashMap<(Sigil, &'s str), Passed>,
        span: Span,
    ) -> Expr {
        if let Some(chain) = self.chain_to(&define.name) {
            self.report(errors::recursive(&define.name, &chain));
            return Expr { kind: ExprKind::Int(0), span };
        }
        self.frames.push(Frame { of: Some(&define.name), passed, hygienic: None });
        let value = self.expr(value);
        self.frames.pop();
        Expr { span, ..value }
    }

    // ------------------------------------------------------------------------------ names

    fn variable(&mut self, name: &Name) -> Name {
        let frame = self.frame();
        if let Some(Passed::Name(passed)) = frame.passed.get(&(Sigil::Variable, name.text.as_str())) {
            return Name { text: passed.text.clone(), span: name.span };
        }
        match frame.hygienic {
            Some(number) => Name { text: hygiene::marked(&name.text, number), span: name.span },
            None => name.clone(),
        }
    }

    fn map(&mut self, name: &Name) -> Name {
        let frame = self.frame();
        if let Some(Passed::Name(passed)) = frame.passed.get(&(Sigil::Map, name.text.as_str())) {
            return Name { text: passed.text.clone(), span: name.span };
        }
        if let (Some(_), Some(of)) = (frame.hygienic, frame.of) {
            let finding = errors::unhygienic_map(name, of);
            // One parameter mends all uses of the map.
            if !self.findings.iter().any(|found| found.title == finding.title) {
                self.report(finding);
            }
        }
        name.clone()
    }

    // ------------------------------------------------------------------------------ types

    /// A type where an expression may stand too: the argument of `sizeof` or `typeof`.
    fn type_argument(&mut self, ty: &'s TypeExpr, span: Span) -> Expr {
        if let (TypeBase::Named(name), []) = (&ty.base, ty.modifiers.as_slice())
            && let Some(Passed::Value(value, extent)) =
                self.frame().passed.get(&(Sigil::None, name.text.as_str()))
        {
            let (value, extent) = (value.clone(), *extent);
            return self.placed(value, extent, span);
        }
        Expr { kind: ExprKind::Type(self.type_expr(ty)), span }
    }

    fn type_expr(&mut self, ty: &'s TypeExpr) -> TypeExpr {
        let base = match &ty.base {
            TypeBase::Named(name) => self.named_type(name),
            TypeBase::Typeof(inner) => {
                let span = inner.span;
                match self.type_argument(inner, span) {
                    Expr { kind: ExprKind::Type(ty), .. } => TypeBase::Typeof(Box::new(ty)),
                    value => TypeBase::TypeofExpr(Box::new(value)),
                }
            }
            TypeBase::TypeofExpr(expr) => match self.expr(expr) {
                Expr { kind: ExprKind::Type(ty), .. } => TypeBase::Typeof(Box::new(ty)),
                value => TypeBase::TypeofExpr(Box::new(value)),
            },
            TypeBase::Struct(_) | TypeBase::Union(_) | TypeBase::Enum(_) => ty.base.clone(),
        };
        TypeExpr { base, modifiers: ty.modifiers.clone(), span: ty.span }
    }

    /// The name of a type: a parameter that stands for one, or a name that `#define` gives another.
    fn named_type(&mut self, name: &'s Name) -> TypeBase {
        match self.frame().passed.get(&(Sigil::None, name.text.as_str())) {
            Some(Passed::Value(Expr { kind: ExprKind::Type(ty), .. }, _)) => {
                TypeBase::Typeof(Box::new(ty.clone()))
            }
            Some(_) => {
                let finding = errors::not_a_type(name);
                self.report(finding);
                TypeBase::Named(name.clone())
            }
            None => TypeBase::Named(self.type_name(name)),
        }
    }

    fn type_name(&mut self, name: &'s Name) -> Name {
        match self.definitions.defines.get(name.text.as_str()).map(|d| &d.value) {
            Some(Some(Expr { kind: ExprKind::Ident(other), .. })) => {
                Name { text: other.text.clone(), span: name.span }
            }
            _ => name.clone(),
        }
    }
}

/// Whether a parameter takes an argument.
fn takes(param: &MacroParam, arg: &Expr) -> bool {
    match param {
        MacroParam::Variable(_) => matches!(arg.kind, ExprKind::Var(_)),
        MacroParam::Map(_) => matches!(arg.kind, ExprKind::Map { key: None, .. }),
        MacroParam::Expr(_) => true,
    }
}
