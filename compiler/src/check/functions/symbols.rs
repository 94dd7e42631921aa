//! Stacks, symbols and addresses.

use memql_grammar::ast::{BinaryOp, Expr as AstExpr, ExprKind as Ast, Span};

use super::{Call, Checks, Entry};
use crate::arch;
use crate::attach::AttachPoint;
use crate::check::diagnostics::{functions as errors, points, unsupported};
use crate::check::{Checker, constant};
use crate::helpers;
use crate::hir::{Builtin, Expr, ExprKind};
use crate::target::{Arch, FactError};
use crate::types::{AddrSpace, StackMode, StackType, Type};

pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "kstack",
        "kstack_t kstack, kstack([mode,] [limit])",
        "the kernel's call stack",
        Checks::Value(|k, c| stack(k, c, Builtin::Stack, false)),
    )
    .bare()
    .takes(0, 2),
    Entry::new(
        "ustack",
        "ustack_t ustack, ustack([mode,] [limit])",
        "the process's call stack",
        Checks::Value(|k, c| stack(k, c, Builtin::Stack, true)),
    )
    .bare()
    .takes(0, 2),
    Entry::new(
        "dw_ustack",
        "ustack_t dw_ustack, dw_ustack([mode,] [limit])",
        "the process's call stack by its unwind tables (`.eh_frame`), which code without frame pointers has too",
        Checks::Value(|k, c| stack(k, c, Builtin::UnwoundStack, true)),
    )
    .bare()
    .takes(0, 2),
    Entry::new(
        "ksym",
        "ksym_t ksym(uint64 address)",
        "a kernel address, printed as a symbol",
        Checks::Value(ksym),
    )
    .takes(1, 1),
    Entry::new(
        "usym",
        "usym_t usym(uint64 address)",
        "an address of the process, printed as a symbol",
        Checks::Value(usym),
    )
    .takes(1, 1),
    Entry::new(
        "kaddr",
        "uint64 *kaddr(const string symbol)",
        "the address of a kernel symbol",
        Checks::Value(kaddr),
    )
    .takes(1, 1),
    Entry::new(
        "percpu_kaddr",
        "uint64 *percpu_kaddr(const string symbol [, integer cpu])",
        "the address of a kernel symbol that each processor has its own of; 0 for a processor that is not there",
        Checks::Value(percpu_kaddr),
    )
    .takes(1, 2),
    Entry::new(
        "uaddr",
        "uintN *uaddr(const string symbol)",
        "the address of a symbol of the traced file, in the process; N is the symbol's size, or 64",
        Checks::Value(uaddr),
    )
    .takes(1, 1),
    Entry::new(
        "reg",
        "uint64 reg(const string register)",
        "a register at a kprobe or uprobe",
        Checks::Value(reg),
    )
    .takes(1, 1),
];

/// The names of stack modes.
pub(crate) const MODES: &[(&str, StackMode)] = &[
    ("bpftrace", StackMode::Bpftrace),
    ("perf", StackMode::Perf),
    ("raw", StackMode::Raw),
    ("build_id", StackMode::BuildId),
    ("bcc", StackMode::Bcc),
];

fn stack(checker: &mut Checker<'_>, call: &Call<'_>, builtin: Builtin, user: bool) -> Option<Expr> {
    if builtin == Builtin::UnwoundStack && checker.target.features().arch != Arch::X86_64 {
        return checker.fail(|| unsupported::on_x86_64_only(&call.name.text, call.span));
    }
    let (mut mode, mut limit) = (checker.settings.stack_mode, None);
    for arg in call.args {
        match named_mode(arg) {
            Some(named) => mode = named,
            None if limit.is_none() => limit = Some(stack_limit(checker, call, arg)?),
            None => return checker.fail(|| errors::unknown_mode(call.name, arg.span, &mode_names())),
        }
    }
    if mode == StackMode::BuildId && !user {
        return checker.fail(|| errors::build_id_of_kernel(call.span));
    }
    let limit = limit.unwrap_or_else(|| checker.target.features().max_stack);
    let ty = Type::Stack(StackType { user, limit, mode });
    Some(Expr { kind: ExprKind::Builtin(builtin), ty, span: call.span })
}

fn named_mode(arg: &AstExpr) -> Option<StackMode> {
    let Ast::Ident(name) = &arg.kind else { return None };
    MODES.iter().find(|(n, _)| *n == name.text).map(|(_, mode)| *mode)
}

fn stack_limit(checker: &mut Checker<'_>, call: &Call<'_>, arg: &AstExpr) -> Option<u32> {
    if let Ast::Ident(name) = &arg.kind
        && checker.enumerator(name).is_none()
    {
        return checker.fail(|| errors::unknown_mode(call.name, arg.span, &mode_names()));
    }
    let value = checker.stored_value(arg)?;
    let most = checker.target.features().max_stack;
    match constant::value_of(&value) {
        Some(n) if n < 1 => checker.fail(|| errors::stack_limit(n, most, arg.span)),
        Some(n) => {
            if n > i128::from(most) {
                checker.warn(|| errors::stack_limit_lowered(n, most, arg.span));
            }
            Some(n.min(i128::from(most)) as u32)
        }
        None => checker.fail(|| errors::not_a_constant(call.name, "the number of frames", arg.span)),
    }
}

/// The name of a stack mode.
pub(crate) fn mode_name(mode: StackMode) -> &'static str {
    MODES.iter().find(|(_, m)| *m == mode).map_or("", |(name, _)| name)
}

fn mode_names() -> Vec<&'static str> {
    MODES.iter().map(|m| m.0).collect()
}

fn ksym(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    symbol(checker, call, Type::Ksym)
}

fn usym(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    symbol(checker, call, Type::Usym)
}

fn symbol(checker: &mut Checker<'_>, call: &Call<'_>, ty: Type) -> Option<Expr> {
    let value = checker.integer_argument(call.args.first()?, &Type::U64)?;
    Some(Expr { kind: ExprKind::Cast(Box::new(value)), ty, span: call.span })
}

fn address(value: u64, space: AddrSpace, span: Span) -> Expr {
    constant::constant(i128::from(value), Type::Ptr { to: Box::new(Type::U64), space }, span)
}

impl Checker<'_> {
    /// The address of a symbol of the kernel. What never runs does without: looking for one reads all of them, which takes
    /// tens of milliseconds.
    fn kernel_symbol(&self, name: &str) -> Result<Option<u64>, FactError> {
        match self.dead > 0 || !self.probe.live {
            true => Ok(Some(0)),
            false => self.target.kernel_symbol(name),
        }
    }
}

fn kaddr(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let name = checker.constant_text(call, 0, "the symbol's name")?;
    match checker.kernel_symbol(&name) {
        Ok(Some(value)) => Some(address(value, AddrSpace::Kernel, call.span)),
        Ok(None) => checker.fail(|| errors::unknown_symbol(&name, "the kernel", call.args[0].span)),
        Err(error) => checker.fail(|| points::fact(call.span, &error)),
    }
}

/// The address in the kernel's own memory plus the processor's offset, which the kernel keeps in a table.
fn percpu_kaddr(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let name = checker.constant_text(call, 0, "the symbol's name")?;
    let span = call.span;
    let cpu = match call.args.get(1) {
        Some(cpu) => checker.integer_argument(cpu, &Type::U64)?,
        None => {
            let cpu = Expr { kind: ExprKind::Builtin(Builtin::Cpu), ty: Type::U32, span };
            checker.convert(cpu, &Type::U64)?
        }
    };
    let mut symbol = |name: &str| match checker.kernel_symbol(name) {
        Ok(Some(value)) => Some(value),
        Ok(None) => checker.fail(|| errors::unknown_symbol(name, "the kernel", call.args[0].span)),
        Err(error) => checker.fail(|| points::fact(span, &error)),
    };
    let (base, table) = (symbol(&name)?, symbol("__per_cpu_offset")?);
    let cpus = i128::from(checker.target.features().cpus);
    let pointer = Type::Ptr { to: Box::new(Type::U64), space: AddrSpace::Kernel };
    let binary = |op, left: Expr, right: Expr, ty: &Type| Expr {
        kind: ExprKind::Binary { op, left: Box::new(left), right: Box::new(right) },
        ty: ty.clone(),
        span,
    };
    let number = |n: i128| constant::constant(n, Type::U64, span);
    let entry = binary(BinaryOp::Mul, cpu.clone(), number(8), &Type::U64);
    let entry = binary(BinaryOp::Add, address(table, AddrSpace::Kernel, span), entry, &pointer);
    let offset =
        Expr { kind: ExprKind::Load { addr: Box::new(entry), offset: 0, bits: None }, ty: Type::U64, span };
    let own = binary(BinaryOp::Add, address(base, AddrSpace::Kernel, span), offset, &pointer);
    let there = ExprKind::Compare { op: BinaryOp::Lt, left: Box::new(cpu), right: Box::new(number(cpus)) };
    let kind = ExprKind::Ternary {
        cond: Box::new(Expr { kind: there, ty: Type::Bool, span }),
        then: Box::new(own),
        otherwise: Box::new(address(0, AddrSpace::Kernel, span)),
    };
    Some(Expr { kind, ty: pointer, span })
}

fn uaddr(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let name = checker.constant_text(call, 0, "the symbol's name")?;
    let point = checker.probe.points.first()?.clone();
    let Some((path, offset)) = point.place_in_file() else {
        let (kind, at) = (point.kind(), checker.probe.span);
        return checker.fail(|| errors::only_in_uprobes(call.name, kind, call.span, at));
    };
    let symbol = match checker.target.user_symbol(path, &name) {
        Ok(Some(symbol)) => symbol,
        Ok(None) => return checker.fail(|| errors::unknown_symbol(&name, path, call.args[0].span)),
        Err(error) => return checker.fail(|| points::fact(call.span, &error)),
    };
    let bits = match symbol.size {
        bytes @ (1 | 2 | 4 | 8) => bytes as u8 * 8,
        _ => 64,
    };
    let ty = Type::Ptr { to: Box::new(Type::Int { bits, signed: false }), space: AddrSpace::User };
    match checker.target.movable_address(path, offset) {
        Ok(None) => Some(constant::constant(symbol.address.into(), ty, call.span)),
        Ok(Some(here)) => moved(checker, &point, symbol.address.wrapping_sub(here), ty, call.span),
        Err(error) => checker.fail(|| points::fact(call.span, &error)),
    }
}

/// An address that lies so far from that of the attach point: the loader moves both by the same distance.
fn moved(
    checker: &mut Checker<'_>,
    point: &AttachPoint,
    distance: u64,
    ty: Type,
    span: Span,
) -> Option<Expr> {
    let features = checker.target.features();
    let kind = if point.is_return() {
        // The instruction pointer is the caller's by then.
        if !features.uprobe_multi {
            return checker.fail(|| unsupported::function_address(span));
        }
        ExprKind::Helper { helper: helpers::GET_FUNC_IP, context: true, args: Vec::new() }
    } else {
        let offset = arch::registers(features.arch).instruction_pointer;
        ExprKind::CtxLoad { offset, bytes: 8, signed: false }
    };
    let here = Expr { kind, ty: Type::U64, span };
    let here = Expr { kind: ExprKind::Cast(Box::new(here)), ty: ty.clone(), span };
    let distance = Expr { kind: ExprKind::Int(distance as i64), ty: Type::I64, span };
    let kind = ExprKind::Binary { op: BinaryOp::Add, left: Box::new(here), right: Box::new(distance) };
    Some(Expr { kind, ty, span })
}

fn reg(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let name = checker.constant_text(call, 0, "the register's name")?;
    let kind = checker.probe.kind()?;
    let registers = arch::registers(checker.target.features().arch);
    if !kind.has_registers() {
        let at = checker.probe.span;
        return checker.fail(|| errors::no_registers(kind, call.span, at));
    }
    match registers.named(&name) {
        Some(offset) => {
            let kind = ExprKind::CtxLoad { offset, bytes: 8, signed: false };
            Some(Expr { kind, ty: Type::U64, span: call.span })
        }
        None => {
            let names = registers.named.iter().map(|r| r.0);
            checker.fail(|| errors::unknown_register(&name, names, call.args[0].span))
        }
    }
}
