//! The tree as text, for `--emit ast` and for tests.
//!
//! One line for each node: what it is, what it says, and its byte range in the source. Children
//! are indented under it. The form is stable, and every node of the tree shows:
//!
//! ```text
//! probe @0..33
//!   attach @0..12
//!     spec "interval" "1s" @0..11
//!   body
//!     block @12..33
//!       expr @14..30
//!         call printf @14..30
//!           str "tick\n" @21..29
//! ```

mod test;

use std::fmt::Write;

use crate::ast::*;

mod c_types;

/// Prints a script's tree.
pub fn print(script: &Script) -> String {
    let Script { items } = script;
    let mut printer = Printer { text: String::new(), depth: 0 };
    for item in items {
        printer.item(item);
    }
    printer.text
}

struct Printer {
    text: String,
    depth: usize,
}

impl Printer {
    /// A node's line, and its children below it.
    fn node(&mut self, head: &str, span: Span, children: impl FnOnce(&mut Printer)) {
        self.labelled(&format!("{head} @{}..{}", span.start, span.end), children);
    }

    /// A line without a span of its own: the role of what follows below.
    fn labelled(&mut self, label: &str, children: impl FnOnce(&mut Printer)) {
        writeln!(self.text, "{:width$}{label}", "", width = 2 * self.depth).expect("a string takes all text");
        self.depth += 1;
        children(self);
        self.depth -= 1;
    }

    fn leaf(&mut self, head: &str, span: Span) {
        self.node(head, span, |_| {});
    }

    /// A name that is a node of its own, behind its role and sigil.
    fn name(&mut self, role: &str, name: &Name) {
        let Name { text, span } = name;
        self.leaf(&format!("{role}{text}"), *span);
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Config(Config { entries, span }) => self.node("config", *span, |p| {
                for ConfigEntry { name, value } in entries {
                    p.node(&format!("entry {}", name.text), name.span, |p| p.expr(value));
                }
            }),
            Item::Option(option) => self.option(option),
            Item::Map(MapDecl { name, kind, max_entries, span }) => self.node("map-decl", *span, |p| {
                p.name("map @", name);
                p.name("kind ", kind);
                p.labelled("max-entries", |p| p.expr(max_entries));
            }),
            Item::Probe(probe) => self.probe(probe),
            Item::TestedScript(TestedScript { path, span }) => {
                self.node("tested-script", *span, |p| p.string(path))
            }
            Item::Kernel(facts) => self.kernel(facts),
            Item::Test(test) => self.test(test),
            Item::Macro(MacroDef { name, params, body, span }) => {
                self.node(&format!("macro {}", name.text), *span, |p| {
                    for param in params {
                        match param {
                            MacroParam::Variable(name) => p.name("param $", name),
                            MacroParam::Map(name) => p.name("param @", name),
                            MacroParam::Expr(name) => p.name("param ", name),
                        }
                    }
                    p.block(body);
                });
            }
            Item::Import(Import { path, span }) => self.node("import", *span, |p| p.string(path)),
            Item::Record(record) => self.c_record(record),
            Item::Enum(named) => self.c_enum(named),
            Item::Typedef(CTypedef { names, span }) => self.node("typedef", *span, |p| p.c_member(names)),
            Item::Define(Define { name, params, value, span }) => {
                self.node(&format!("define {}", name.text), *span, |p| {
                    params.iter().flatten().for_each(|param| p.name("param ", param));
                    value.iter().for_each(|value| p.expr(value));
                });
            }
            Item::Include(Include { header, span }) => self.leaf(&format!("include {header}"), *span),
        }
    }

    fn option(&mut self, option: &OptionDecl) {
        let OptionDecl { name, ty, default, flags, help, span } = option;
        self.node("option", *span, |p| {
            p.name("name ", name);
            p.type_expr(ty);
            if let Some(default) = default {
                p.labelled("default", |p| p.expr(default));
            }
            p.labelled("flags", |p| p.string(flags));
            p.labelled("help", |p| p.string(help));
        });
    }

    fn probe(&mut self, probe: &Probe) {
        let Probe { points, predicate, body, span } = probe;
        self.node("probe", *span, |p| {
            for AttachPoint { name, alternatives, span } in points {
                p.node("attach", *span, |p| {
                    if let Some(name) = name {
                        p.name("name ", name);
                    }
                    alternatives.iter().for_each(|spec| p.attach_spec(spec));
                });
            }
            if let Some(predicate) = predicate {
                p.labelled("predicate", |p| p.expr(predicate));
            }
            p.labelled("body", |p| p.block(body));
        });
    }

    fn attach_spec(&mut self, spec: &AttachSpec) {
        let AttachSpec { parts, span } = spec;
        let parts: Vec<String> = parts.iter().map(|Name { text, span: _ }| format!("{text:?}")).collect();
        self.leaf(&format!("spec {}", parts.join(" ")), *span);
    }

    fn block(&mut self, block: &Block) {
        let Block { stmts, value, span, expanded_from: _ } = block;
        self.node("block", *span, |p| {
            stmts.iter().for_each(|stmt| p.stmt(stmt));
            if let Some(value) = value {
                p.labelled("value", |p| p.expr(value));
            }
        });
    }

    fn stmt(&mut self, stmt: &Stmt) {
        let Stmt { kind, span } = stmt;
        let span = *span;
        match kind {
            StmtKind::Expr(expr) => self.node("expr", span, |p| p.expr(expr)),
            StmtKind::Assign { place, op, value } => {
                let operator = op.map_or("", binary_operator);
                self.node(&format!("assign {operator}="), span, |p| {
                    p.expr(place);
                    p.expr(value);
                });
            }
            StmtKind::Let { var, ty, value } => self.node("let", span, |p| {
                p.name("var $", var);
                ty.iter().for_each(|ty| p.type_expr(ty));
                value.iter().for_each(|value| p.expr(value));
            }),
            StmtKind::If { cond, then, otherwise } => self.node("if", span, |p| {
                p.expr(cond);
                p.block(then);
                if let Some(otherwise) = otherwise {
                    p.labelled("else", |p| p.block(otherwise));
                }
            }),
            StmtKind::While { cond, body } => self.node("while", span, |p| {
                p.expr(cond);
                p.block(body);
            }),
            StmtKind::Unroll { count, body } => self.node("unroll", span, |p| {
                p.expr(count);
                p.block(body);
            }),
            StmtKind::ForRange { var, start, end, body } => self.node("for-range", span, |p| {
                p.name("var $", var);
                p.expr(start);
                p.expr(end);
                p.block(body);
            }),
            StmtKind::ForMap { var, map, body } => self.node("for-map", span, |p| {
                p.name("var $", var);
                p.name("map @", map);
                p.block(body);
            }),
            StmtKind::Break => self.leaf("break", span),
            StmtKind::Continue => self.leaf("continue", span),
            StmtKind::Return(value) => {
                self.node("return", span, |p| value.iter().for_each(|value| p.expr(value)))
            }
            StmtKind::Block(block) => self.block(block),
            StmtKind::Report(report) => self.node("report", span, |p| p.report(report)),
        }
    }

    fn report(&mut self, report: &Report) {
        let Report { map, key, value, filter, columns, order, limit, print } = report;
        self.name("map @", map);
        key.iter().for_each(|key| self.name("key $", key));
        value.iter().for_each(|value| self.name("value $", value));
        if let Some(filter) = filter {
            self.labelled("where", |p| p.expr(filter));
        }
        for ReportColumn { name, value } in columns {
            self.node(&format!("column {}", name.text), name.span, |p| p.expr(value));
        }
        if let Some((column, descending)) = order {
            self.name(if *descending { "order desc " } else { "order asc " }, column);
        }
        if let Some(limit) = limit {
            self.labelled("limit", |p| p.expr(limit));
        }
        if let Some(print) = print {
            self.labelled("print", |p| p.string(print));
        }
    }

    fn string(&mut self, string: &StrLit) {
        let StrLit { bytes, span } = string;
        self.leaf(&format!("str \"{}\"", bytes.escape_ascii()), *span);
    }

    fn expr(&mut self, expr: &Expr) {
        let Expr { kind, span } = expr;
        let span = *span;
        match kind {
            ExprKind::Int(value) => self.leaf(&format!("int {value}"), span),
            ExprKind::Bool(value) => self.leaf(&format!("bool {value}"), span),
            ExprKind::Str(string) => self.string(string),
            ExprKind::Ident(name) => self.leaf(&format!("ident {}", name.text), span),
            ExprKind::Var(name) => self.leaf(&format!("var ${}", name.text), span),
            ExprKind::Positional(number) => self.leaf(&format!("positional ${number}"), span),
            ExprKind::PositionalCount => self.leaf("positional-count", span),
            ExprKind::Map { name, key } => self.node(&format!("map @{}", name.text), span, |p| {
                if let Some(key) = key {
                    p.labelled("key", |p| key.iter().for_each(|part| p.expr(part)));
                }
            }),
            ExprKind::Call { name, args } => self.node(&format!("call {}", name.text), span, |p| {
                args.iter().for_each(|arg| p.expr(arg));
            }),
            ExprKind::Field { base, name, arrow } => {
                let operator = if *arrow { "->" } else { "." };
                self.node(&format!("field {operator}{}", name.text), span, |p| p.expr(base));
            }
            ExprKind::Index { base, index } => self.node("index", span, |p| {
                p.expr(base);
                p.expr(index);
            }),
            ExprKind::Unary { op, operand } => {
                self.node(&format!("unary {}", unary_operator(*op)), span, |p| p.expr(operand));
            }
            ExprKind::IncDec { place, increment, postfix } => {
                let operator = if *increment { "++" } else { "--" };
                let shape = if *postfix { format!("x{operator}") } else { format!("{operator}x") };
                self.node(&format!("inc-dec {shape}"), span, |p| p.expr(place));
            }
            ExprKind::Binary { op, left, right } => {
                self.node(&format!("binary {}", binary_operator(*op)), span, |p| {
                    p.expr(left);
                    p.expr(right);
                });
            }
            ExprKind::Ternary { cond, then, otherwise } => self.node("ternary", span, |p| {
                p.expr(cond);
                then.iter().for_each(|then| p.expr(then));
                p.expr(otherwise);
            }),
            ExprKind::Cast { ty, operand } => self.node("cast", span, |p| {
                p.type_expr(ty);
                p.expr(operand);
            }),
            ExprKind::Tuple(fields) => {
                self.node("tuple", span, |p| fields.iter().for_each(|field| p.element(field)))
            }
            ExprKind::Block(block) => self.block(block),
            ExprKind::Type(ty) => self.type_expr(ty),
        }
    }

    fn element(&mut self, field: &TupleField) {
        let TupleField { name, value } = field;
        match name {
            Some(name) => self.node(&format!("field {}", name.text), name.span, |p| p.expr(value)),
            None => self.expr(value),
        }
    }

    fn type_expr(&mut self, ty: &TypeExpr) {
        let TypeExpr { base, modifiers, span } = ty;
        let mut text = match base {
            TypeBase::Typeof(_) | TypeBase::TypeofExpr(_) => "typeof".to_owned(),
            TypeBase::Named(name) => name.text.clone(),
            TypeBase::Struct(name) => format!("struct {}", name.text),
            TypeBase::Union(name) => format!("union {}", name.text),
            TypeBase::Enum(name) => format!("enum {}", name.text),
        };
        for modifier in modifiers {
            match modifier {
                TypeModifier::Pointer => text.push('*'),
                TypeModifier::Array(None) => text.push_str("[]"),
                TypeModifier::Array(Some(size)) => text.push_str(&format!("[{size}]")),
            }
        }
        self.node(&format!("type {text}"), *span, |p| match base {
            TypeBase::Typeof(ty) => p.type_expr(ty),
            TypeBase::TypeofExpr(expr) => p.expr(expr),
            TypeBase::Named(_) | TypeBase::Struct(_) | TypeBase::Union(_) | TypeBase::Enum(_) => {}
        });
    }
}

fn unary_operator(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Neg => "-",
        UnaryOp::Not => "!",
        UnaryOp::BitNot => "~",
        UnaryOp::Deref => "*",
        UnaryOp::AddressOf => "&",
        UnaryOp::Comptime => "comptime",
    }
}

fn binary_operator(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::Mod => "%",
        BinaryOp::BitAnd => "&",
        BinaryOp::BitOr => "|",
        BinaryOp::BitXor => "^",
        BinaryOp::Shl => "<<",
        BinaryOp::Shr => ">>",
        BinaryOp::Eq => "==",
        BinaryOp::Ne => "!=",
        BinaryOp::Lt => "<",
        BinaryOp::Le => "<=",
        BinaryOp::Gt => ">",
        BinaryOp::Ge => ">=",
        BinaryOp::And => "&&",
        BinaryOp::Or => "||",
    }
}
