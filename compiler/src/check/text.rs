//! The checked tree as text: what tests compare, and what helps when a type is not what one thought.
//!
//! ```text
//! @bytes: hash<uint32, sum_t>, 4096 entries
//!
//! probe tracepoint:syscalls:sys_exit_read
//!   if (ctx[16].s64 > 0)
//!     $n: int64 = ctx[16].s64
//!     @bytes[pid] = sum((uint64)ctx[16].s64)
//! ```

use std::fmt::Write;

use cranelift_entity::EntityRef;

use super::diagnostics::types::operator;
use crate::helpers;
use crate::hir::{
    Builtin, Expr, ExprKind, Map, MapId, MapKind, Probe, Report, Script, Stmt, StmtKind, VarId,
};
use crate::plan::{Format, FormatPiece, ReportExpr, ReportExprKind, ReportValue, Severity};
use crate::types::{AddrSpace, Clock, PointText, StackMode, Type};

/// Prints a checked script.
pub fn print(script: &Script) -> String {
    let mut out = String::new();
    for map in script.maps.values() {
        out.push_str(&map_text(map));
        out.push('\n');
    }
    for probe in &script.probes {
        if !out.is_empty() {
            out.push('\n');
        }
        Printer { script, probe, out: &mut out }.probe();
    }
    out
}

fn map_text(map: &Map) -> String {
    let kind = match map.kind {
        MapKind::Auto => "auto",
        MapKind::Hash => "hash",
        MapKind::LruHash => "lruhash",
        MapKind::PerCpuHash => "percpuhash",
        MapKind::PerCpuLruHash => "percpulruhash",
    };
    match &map.key {
        Some(key) => format!("{}: {kind}<{key}, {}>, {} entries", map.name, map.value, map.max_entries),
        None => format!("{}: {}", map.name, map.value),
    }
}

struct Printer<'a> {
    script: &'a Script,
    probe: &'a Probe,
    out: &'a mut String,
}

impl Printer<'_> {
    fn probe(&mut self) {
        let points: Vec<String> = self.probe.points.iter().map(ToString::to_string).collect();
        self.out.push_str(&format!("probe {}", points.join(", ")));
        if let Some(predicate) = &self.probe.predicate {
            let text = self.expr(predicate);
            self.out.push_str(&format!(" /{text}/"));
        }
        self.out.push('\n');
        for var in self.probe.vars.values() {
            self.line(1, &format!("let {}: {}", var.name, var.ty));
        }
        self.stmts(&self.probe.body, 1);
    }

    fn line(&mut self, depth: usize, text: &str) {
        self.out.push_str(&"  ".repeat(depth));
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn stmts(&mut self, stmts: &[Stmt], depth: usize) {
        for stmt in stmts {
            self.stmt(stmt, depth);
        }
    }

    fn stmt(&mut self, stmt: &Stmt, depth: usize) {
        let text = match &stmt.kind {
            StmtKind::Expr(e) => self.expr(e),
            StmtKind::AssignVar { var, value } => format!("{} = {}", self.var(*var), self.expr(value)),
            StmtKind::AssignMap { map, key, value } => {
                format!("{} = {}", self.map(*map, key.as_ref()), self.expr(value))
            }
            StmtKind::UpdateMap { map, key, op, value } => {
                format!("{} {}= {}", self.map(*map, key.as_ref()), operator(*op), self.expr(value))
            }
            StmtKind::Aggregate { map, key, value } => {
                let name = match &self.script.maps[*map].value {
                    Type::Agg(agg) => agg.name(),
                    _ => "?",
                };
                let value = value.as_ref().map(|v| self.expr(v)).unwrap_or_default();
                format!("{} = {name}({value})", self.map(*map, key.as_ref()))
            }
            StmtKind::If { cond, then, otherwise } => {
                let cond = self.expr(cond);
                self.line(depth, &format!("if ({cond})"));
                self.stmts(then, depth + 1);
                if !otherwise.is_empty() {
                    self.line(depth, "else");
                    self.stmts(otherwise, depth + 1);
                }
                return;
            }
            StmtKind::While { cond, body } => {
                let cond = self.expr(cond);
                return self.nested(depth, &format!("while ({cond})"), body);
            }
            StmtKind::ForRange { var, start, end, body } => {
                let head = format!("for ({} : {}..{})", self.var(*var), self.expr(start), self.expr(end));
                return self.nested(depth, &head, body);
            }
            StmtKind::ForMap { var, map, body } => {
                let head = format!("for ({} : {})", self.var(*var), self.map(*map, None));
                return self.nested(depth, &head, body);
            }
            StmtKind::Block(body) => return self.nested(depth, "block", body),
            StmtKind::Break => "break".to_owned(),
            StmtKind::Continue => "continue".to_owned(),
            StmtKind::Return(None) => "return".to_owned(),
            StmtKind::Return(Some(value)) => format!("return {}", self.expr(value)),
            StmtKind::Printf { format, args } => self.formatted("printf", format, args),
            StmtKind::Tell { severity: Severity::Warning, format, args } => {
                self.formatted("warnf", format, args)
            }
            StmtKind::Tell { severity: Severity::Error, format, args } => {
                self.formatted("errorf", format, args)
            }
            StmtKind::Cat { format, args } => self.formatted("cat", format, args),
            StmtKind::System { format, args } => self.formatted("system", format, args),
            StmtKind::Print(e) => format!("print({})", self.expr(e)),
            StmtKind::PrintMap { map, top, div } => {
                let limits: String =
                    [top, div].into_iter().flatten().map(|e| format!(", {}", self.expr(e))).collect();
                format!("print({}{limits})", self.map(*map, None))
            }
            StmtKind::PrintMapElem { map, key } => format!("print({})", self.map(*map, Some(key))),
            StmtKind::Clear(map) => format!("clear({})", self.map(*map, None)),
            StmtKind::Zero(map) => format!("zero({})", self.map(*map, None)),
            StmtKind::Time(format) => format!("time({format:?})"),
            StmtKind::Join { argv, delimiter } => format!("join({}, {delimiter:?})", self.expr(argv)),
            StmtKind::Exit(code) => {
                format!("exit({})", code.as_ref().map(|c| self.expr(c)).unwrap_or_default())
            }
            StmtKind::Report(report) => return self.report(report, depth),
        };
        self.line(depth, &text);
    }

    fn nested(&mut self, depth: usize, head: &str, body: &[Stmt]) {
        self.line(depth, head);
        self.stmts(body, depth + 1);
    }

    fn formatted(&self, name: &str, format: &Format, args: &[Expr]) -> String {
        let args: String = args.iter().map(|a| format!(", {}", self.expr(a))).collect();
        format!("{name}({}{args})", format_text(format))
    }

    fn report(&mut self, report: &Report, depth: usize) {
        let head = format!("report {}", self.map(report.map, None));
        self.line(depth, &head);
        for (i, captured) in report.captured.iter().enumerate() {
            let text = format!("captured {i}: {}", self.expr(captured));
            self.line(depth + 1, &text);
        }
        if let Some(filter) = &report.filter {
            let text = format!("where {}", self.report_expr(filter));
            self.line(depth + 1, &text);
        }
        for column in &report.columns {
            let value = match &column.value {
                ReportValue::Group(e) => self.report_expr(e),
                ReportValue::Count => "count()".to_owned(),
                ReportValue::Sum(e) => format!("sum({})", self.report_expr(e)),
                ReportValue::Min(e) => format!("min({})", self.report_expr(e)),
                ReportValue::Max(e) => format!("max({})", self.report_expr(e)),
                ReportValue::Avg(e) => format!("avg({})", self.report_expr(e)),
            };
            self.line(depth + 1, &format!("{}: {} = {value}", column.name, column.ty));
        }
        if let Some((column, descending)) = report.order {
            let direction = if descending { "desc" } else { "asc" };
            self.line(depth + 1, &format!("order by {} {direction}", report.columns[column].name));
        }
        if let Some(limit) = &report.limit {
            let text = format!("limit {}", self.report_expr(limit));
            self.line(depth + 1, &text);
        }
        if let Some(format) = &report.format {
            self.line(depth + 1, &format!("print {}", format_text(format)));
        }
    }

    fn report_expr(&self, expr: &ReportExpr) -> String {
        match &expr.kind {
            ReportExprKind::Int(v) => v.to_string(),
            ReportExprKind::Captured(arg) => format!("captured[{}]", arg.offset),
            ReportExprKind::Key { offset } => format!("key+{offset}:{}", expr.ty),
            ReportExprKind::Value { offset } => format!("value+{offset}:{}", expr.ty),
            ReportExprKind::Lookup { map, key } => {
                format!("{}[{}]", self.map(MapId::new(*map), None), self.report_expr(key))
            }
            ReportExprKind::Unary(op, a) => format!("{op:?}({})", self.report_expr(a)),
            ReportExprKind::Binary(op, a, b) => {
                format!("({} {} {})", self.report_expr(a), operator(*op), self.report_expr(b))
            }
            ReportExprKind::Ternary(c, a, b) => {
                format!("({} ? {} : {})", self.report_expr(c), self.report_expr(a), self.report_expr(b))
            }
        }
    }

    fn var(&self, var: VarId) -> &str {
        &self.probe.vars[var].name
    }

    fn map(&self, map: MapId, key: Option<&Expr>) -> String {
        let name = &self.script.maps[map].name;
        match key {
            Some(key) => format!("{name}[{}]", self.expr(key)),
            None => name.clone(),
        }
    }

    fn expr(&self, expr: &Expr) -> String {
        let pair = |a: &Expr, op: &str, b: &Expr| format!("({} {op} {})", self.expr(a), self.expr(b));
        match &expr.kind {
            ExprKind::Int(v) if expr.ty == Type::Bool => (*v != 0).to_string(),
            ExprKind::Int(v) => format!("{v}:{}", expr.ty),
            ExprKind::Helper { helper, context, args } => {
                let name = helpers::signature(*helper).map_or("helper", |s| s.name);
                let context = context.then(|| "ctx".to_owned());
                let args: Vec<String> =
                    context.into_iter().chain(args.iter().map(|a| self.expr(a))).collect();
                format!("{name}({})", args.join(", "))
            }
            ExprKind::NetAddress(bytes) => format!("({}){}", expr.ty, self.expr(bytes)),
            ExprKind::Text(bytes) => format!("{:?}:{}", String::from_utf8_lossy(bytes), expr.ty),
            ExprKind::Var(var) => self.var(*var).to_owned(),
            ExprKind::Map { map, key } => self.map(*map, key.as_deref()),
            ExprKind::Builtin(builtin) => builtin_text(*builtin, &expr.ty),
            ExprKind::CtxLoad { offset, bytes, signed } => {
                format!("ctx[{offset}].{}{}", if *signed { "s" } else { "u" }, bytes * 8)
            }
            ExprKind::ProgramResult => "result".to_owned(),
            ExprKind::CtxAddr { offset } => format!("&ctx[{offset}]"),
            ExprKind::DataLoc { offset, relative } => {
                format!("{}loc[{offset}]", if *relative { "rel" } else { "" })
            }
            ExprKind::DataLocLen { offset } => format!("loclen[{offset}]"),
            ExprKind::Load { addr, offset, bits } => {
                format!(
                    "load.{}.{}({} + {offset}){}",
                    expr.ty,
                    space_text(addr.space()),
                    self.expr(addr),
                    bits_text(*bits)
                )
            }
            ExprKind::Extract { base, offset, bits } => {
                format!("{}@{offset}:{}{}", self.expr(base), expr.ty, bits_text(*bits))
            }
            ExprKind::Index { base, index } => format!("{}[{}]", self.expr(base), self.expr(index)),
            ExprKind::Binary { op, left, right } => pair(left, operator(*op), right),
            ExprKind::Compare { op, left, right } => pair(left, operator(*op), right),
            ExprKind::Equal { left, right, len, negate } => {
                let op = if *negate { "differs" } else { "equals" };
                let len = len.map(|n| format!(" in {n}")).unwrap_or_default();
                format!("({} {op} {}{len})", self.expr(left), self.expr(right))
            }
            ExprKind::And(a, b) => pair(a, "&&", b),
            ExprKind::Or(a, b) => pair(a, "||", b),
            ExprKind::Not(a) => format!("!{}", self.expr(a)),
            ExprKind::Neg(a) => format!("-{}", self.expr(a)),
            ExprKind::BitNot(a) => format!("~{}", self.expr(a)),
            ExprKind::Ternary { cond, then, otherwise } => {
                format!("({} ? {} : {})", self.expr(cond), self.expr(then), self.expr(otherwise))
            }
            ExprKind::Cast(a) => match a.kind {
                ExprKind::Int(v) => format!("{v}:{}", expr.ty),
                _ => format!("({}){}", expr.ty, self.expr(a)),
            },
            ExprKind::Tuple(items) => {
                let items: Vec<String> = items.iter().map(|i| self.expr(i)).collect();
                format!("({})", items.join(", "))
            }
            ExprKind::VarAddr(var) => format!("&{}", self.var(*var)),
            ExprKind::MapAddr(map) => format!("&{}", self.map(*map, None)),
            ExprKind::IncDecVar { var, delta, postfix } => inc_dec_text(self.var(*var), *delta, *postfix),
            ExprKind::IncDecMap { map, key, delta, postfix } => {
                inc_dec_text(&self.map(*map, key.as_deref()), *delta, *postfix)
            }
            ExprKind::Block(stmts, value) => {
                let mut inner = String::new();
                let mut printer = Printer { script: self.script, probe: self.probe, out: &mut inner };
                printer.stmts(stmts, 0);
                format!("{{ {}; {} }}", inner.trim_end().replace('\n', "; "), self.expr(value))
            }
            ExprKind::Str { addr, len } => self.text_at("str", expr, addr, len.as_deref()),
            ExprKind::Buf { addr, len } => self.text_at("buf", expr, addr, Some(len)),
            ExprKind::HasKey { map, key } => format!("has_key({})", self.map(*map, Some(key))),
            ExprKind::Delete { map, key } => format!("delete({})", self.map(*map, key.as_deref())),
            ExprKind::MapLen(map) => format!("len({})", self.map(*map, None)),
            ExprKind::StackLen(a) => format!("len({})", self.expr(a)),
            ExprKind::StrLen(a) => format!("strlen({})", self.expr(a)),
            ExprKind::StrIndex { haystack, needle } => {
                format!("strstr({}, {})", self.expr(haystack), self.expr(needle))
            }
            ExprKind::StrConcat(a, b) => format!("str_concat({}, {})", self.expr(a), self.expr(b)),
            ExprKind::MemCompare { left, right, count } => {
                format!("memcmp({}, {}, {})", self.expr(left), self.expr(right), self.expr(count))
            }
            ExprKind::Path(address) => format!("path({})", self.expr(address)),
            ExprKind::Bswap(a) => format!("bswap({})", self.expr(a)),
        }
    }

    fn text_at(&self, name: &str, expr: &Expr, addr: &Expr, len: Option<&Expr>) -> String {
        let len = len.map(|l| format!(", {}", self.expr(l))).unwrap_or_default();
        format!("{name}.{}({}{len}):{}", space_text(addr.space()), self.expr(addr), expr.ty)
    }
}

fn inc_dec_text(place: &str, delta: i64, postfix: bool) -> String {
    if postfix { format!("post({place} += {delta})") } else { format!("pre({place} += {delta})") }
}

fn bits_text(bits: Option<(u8, u8)>) -> String {
    bits.map(|(first, n)| format!(".bits({first}, {n})")).unwrap_or_default()
}

fn space_text(space: AddrSpace) -> &'static str {
    match space {
        AddrSpace::Kernel => "kernel",
        AddrSpace::User => "user",
        AddrSpace::Unknown => "unknown",
        AddrSpace::Context => "ctx",
    }
}

fn builtin_text(builtin: Builtin, ty: &Type) -> String {
    let name = match builtin {
        Builtin::Pid => "pid",
        Builtin::Tid => "tid",
        Builtin::InitPid => "pid(init)",
        Builtin::InitTid => "tid(init)",
        Builtin::Uid => "uid",
        Builtin::Gid => "gid",
        Builtin::Comm => "comm",
        Builtin::Curtask => "curtask",
        Builtin::Cpu => "cpu",
        Builtin::NumaNode => "numaid",
        Builtin::Nsecs(Clock::Boot) => "nsecs",
        Builtin::Nsecs(Clock::Monotonic) => "nsecs(monotonic)",
        Builtin::Nsecs(Clock::Tai) => "nsecs(tai)",
        Builtin::Nsecs(Clock::SoftwareTai) => "nsecs(sw_tai)",
        Builtin::Nsecs(Clock::Realtime) => "nsecs(realtime)",
        Builtin::Elapsed => "elapsed",
        Builtin::Cgroup => "cgroup",
        Builtin::Rand => "rand",
        Builtin::Point(PointText::Probe) => "probe",
        Builtin::Point(PointText::Func) => "func",
        Builtin::Stack | Builtin::UnwoundStack => match ty {
            Type::Stack(stack) => {
                let mode = match stack.mode {
                    StackMode::Bpftrace => "",
                    StackMode::Perf => "perf, ",
                    StackMode::Raw => "raw, ",
                    StackMode::BuildId => "build_id, ",
                    StackMode::Bcc => "bcc, ",
                };
                let name = match builtin {
                    Builtin::UnwoundStack => "dw_ustack",
                    _ if stack.user => "ustack",
                    _ => "kstack",
                };
                return format!("{name}({mode}{})", stack.limit);
            }
            _ => "stack",
        },
    };
    name.to_owned()
}

fn format_text(format: &Format) -> String {
    let mut out = String::from("\"");
    for piece in &format.pieces {
        match piece {
            FormatPiece::Text(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                out.push_str(text.escape_debug().to_string().as_str());
            }
            FormatPiece::Conversion(c) => {
                let width = c.width.map(|w| w.to_string()).unwrap_or_default();
                // Writing to a string cannot fail.
                let _ = write!(out, "%{}{width}<{:?}>", if c.left { "-" } else { "" }, c.verb);
            }
        }
    }
    out.push('"');
    out
}
