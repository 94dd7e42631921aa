//! Who runs: processes, threads, users, processors.

use memql_grammar::ast::{BinaryOp, Expr as AstExpr, ExprKind as Ast, Name, Span};

use super::{Call, Checks, Entry};
use crate::check::diagnostics::{functions as errors, unsupported};
use crate::check::{Checker, constant};
use crate::helpers;
use crate::hir::{Builtin, Expr, ExprKind, StmtKind};
use crate::ir::Helper;
use crate::types::{AddrSpace, Type};

pub(super) const ENTRIES: &[Entry] = &[
    Entry::new(
        "pid",
        "uint32 pid, pid(curr_ns | init)",
        "process id of the current thread, in memql's PID namespace or the first one",
        Checks::Value(pid),
    )
    .bare()
    .takes(0, 1),
    Entry::new(
        "tid",
        "uint32 tid, tid(curr_ns | init)",
        "thread id of the current thread, in memql's PID namespace or the first one",
        Checks::Value(tid),
    )
    .bare()
    .takes(0, 1),
    Entry::new(
        "uid",
        "uint32 uid",
        "user id of the current thread",
        Checks::Value(|_, c| u32(Builtin::Uid, c)),
    )
    .bare(),
    Entry::new(
        "gid",
        "uint32 gid",
        "group id of the current thread",
        Checks::Value(|_, c| u32(Builtin::Gid, c)),
    )
    .bare(),
    Entry::new(
        "comm",
        "string comm, name comm(uint32 pid)",
        "name of the current thread; of a process, looked up when printed",
        Checks::Value(comm),
    )
    .bare()
    .takes(0, 1),
    Entry::new("curtask", "struct task_struct *curtask", "the current task", Checks::Value(curtask)).bare(),
    Entry::new(
        "ppid",
        "uint32 ppid, ppid(struct task_struct *)",
        "process id of the parent",
        Checks::Value(|k, c| of_task(k, c, "real_parent", "tgid")),
    )
    .bare()
    .takes(0, 1),
    Entry::new(
        "pcomm",
        "string pcomm, pcomm(struct task_struct *)",
        "name of the parent",
        Checks::Value(|k, c| of_task(k, c, "real_parent", "comm")),
    )
    .bare()
    .takes(0, 1),
    Entry::new(
        "leader_comm",
        "string leader_comm, leader_comm(struct task_struct *)",
        "name of the process's first thread",
        Checks::Value(|k, c| of_task(k, c, "group_leader", "comm")),
    )
    .bare()
    .takes(0, 1),
    Entry::new(
        "leader_tid",
        "uint32 leader_tid, leader_tid(struct task_struct *)",
        "thread id of the process's first thread",
        Checks::Value(|k, c| of_task(k, c, "group_leader", "pid")),
    )
    .bare()
    .takes(0, 1),
    Entry::new(
        "usermode",
        "uint8 usermode",
        "1 if the processor was in user mode, else 0 (x86-64)",
        Checks::Value(usermode),
    )
    .bare(),
    Entry::new(
        "cpu",
        "uint32 cpu",
        "the processor that the probe runs on",
        Checks::Value(|_, c| u32(Builtin::Cpu, c)),
    )
    .bare(),
    Entry::new(
        "numaid",
        "uint32 numaid",
        "the NUMA node that the probe runs on",
        Checks::Value(|_, c| u32(Builtin::NumaNode, c)),
    )
    .bare(),
    Entry::new(
        "cgroup",
        "uint64 cgroup",
        "cgroup id of the current process",
        Checks::Value(|_, c| u64(Builtin::Cgroup, c)),
    )
    .bare(),
    Entry::new("rand", "uint32 rand", "a random number", Checks::Value(|_, c| u32(Builtin::Rand, c))).bare(),
    Entry::new("ncpus", "uint64 ncpus", "how many processors there can be", Checks::Value(ncpus)).bare(),
    Entry::new("has_cpid", "bool has_cpid", "whether memql was started with `-c`", Checks::Value(has_cpid))
        .bare(),
    Entry::new(
        "cpid",
        "uint32 cpid",
        "process id of the command that `-c` started, else 0",
        Checks::Value(cpid),
    )
    .bare(),
    Entry::new(
        "target_pid",
        "uint32 target_pid",
        "process id that `-p` names or `-c` started, else 0",
        Checks::Value(target_pid),
    )
    .bare(),
    Entry::new(
        "signal",
        "void signal(name or number)",
        "sends a signal to the current process",
        Checks::Effect(|k, c| signal(k, c, helpers::SEND_SIGNAL)),
    )
    .takes(1, 1)
    .needs_unsafe(),
    Entry::new(
        "signal_thread",
        "void signal_thread(name or number)",
        "sends a signal to the current thread",
        Checks::Effect(|k, c| signal(k, c, helpers::SEND_SIGNAL_THREAD)),
    )
    .takes(1, 1)
    .needs_unsafe(),
];

fn builtin(which: Builtin, ty: Type, span: Span) -> Expr {
    Expr { kind: ExprKind::Builtin(which), ty, span }
}

fn u32(which: Builtin, call: &Call<'_>) -> Option<Expr> {
    Some(builtin(which, Type::U32, call.span))
}

fn u64(which: Builtin, call: &Call<'_>) -> Option<Expr> {
    Some(builtin(which, Type::U64, call.span))
}

fn pid(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    match initial_namespace(checker, call)? {
        false => u32(Builtin::Pid, call),
        true => u32(Builtin::InitPid, call),
    }
}

fn tid(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    match initial_namespace(checker, call)? {
        false => u32(Builtin::Tid, call),
        true => u32(Builtin::InitTid, call),
    }
}

/// Whether the argument asks for ids as the first PID namespace has them.
fn initial_namespace(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<bool> {
    let Some(arg) = call.args.first() else { return Some(false) };
    match &arg.kind {
        Ast::Ident(mode) if mode.text == "curr_ns" => Some(false),
        Ast::Ident(mode) if mode.text == "init" => Some(true),
        _ => checker.fail(|| errors::unknown_mode(call.name, arg.span, &["curr_ns", "init"])),
    }
}

fn comm(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    if call.args.is_empty() {
        return Some(builtin(Builtin::Comm, Type::Str { cap: 16 }, call.span));
    }
    super::names::process_name(checker, call)
}

fn curtask(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    Some(task(checker, call.span).unwrap_or_else(|| builtin(Builtin::Curtask, Type::U64, call.span)))
}

/// The current task with its type, where the kernel has BTF.
fn task(checker: &mut Checker<'_>, span: Span) -> Option<Expr> {
    let btf = checker.types().ok()?;
    let to = btf.lang_type(btf.struct_named("task_struct")?, AddrSpace::Kernel);
    Some(builtin(Builtin::Curtask, Type::Ptr { to: Box::new(to), space: AddrSpace::Kernel }, span))
}

/// `task->via->field`, of the current task without an argument.
fn of_task(checker: &mut Checker<'_>, call: &Call<'_>, via: &str, field: &str) -> Option<Expr> {
    let span = call.span;
    checker.btf(span, &format!("`{}`", call.name.text))?;
    let name = |text: &str| Name { text: text.to_owned(), span };
    let base = match call.args.first() {
        Some(task) => task.clone(),
        None => AstExpr { kind: Ast::Ident(name("curtask")), span },
    };
    let member = |base: AstExpr, field: &str| AstExpr {
        kind: Ast::Field { base: Box::new(base), name: name(field), arrow: true },
        span,
    };
    let value = checker.expr(&member(member(base, via), field))?;
    match value.ty {
        Type::Int { .. } => checker.convert(value, &Type::U32),
        _ => Some(value),
    }
}

/// The privilege level in the code segment's selector: 3 is user mode.
const PRIVILEGE_LEVEL: i128 = 3;

fn usermode(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let span = call.span;
    let byte = Type::Int { bits: 8, signed: false };
    let kind = checker.probe.kind()?;
    if !kind.has_registers() {
        // `begin` and the like run in memql itself; at other probes the kernel is what runs.
        let user = kind == crate::attach::ProgramKind::TestRun;
        return Some(constant::constant(i128::from(user), byte, span));
    }
    let Some(offset) = crate::arch::registers(checker.target.features().arch).named("cs") else {
        return checker.fail(|| unsupported::on_x86_64_only("usermode", span));
    };
    let load = Expr { kind: ExprKind::CtxLoad { offset, bytes: 8, signed: false }, ty: Type::U64, span };
    let level = Box::new(constant::constant(PRIVILEGE_LEVEL, Type::U64, span));
    let binary = |op, left: Expr, right| Expr {
        kind: ExprKind::Binary { op, left: Box::new(left), right },
        ty: Type::U64,
        span,
    };
    let masked = binary(BinaryOp::BitAnd, load, level.clone());
    let equal = ExprKind::Compare { op: BinaryOp::Eq, left: Box::new(masked), right: level };
    let truth = Expr { kind: equal, ty: Type::Bool, span };
    Some(Expr { kind: ExprKind::Cast(Box::new(truth)), ty: byte, span })
}

fn ncpus(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    Some(constant::constant(i128::from(checker.target.features().cpus), Type::U64, call.span))
}

fn has_cpid(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    Some(constant::boolean(checker.run.child.is_some(), call.span))
}

fn cpid(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    Some(constant::constant(i128::from(checker.run.child.unwrap_or(0)), Type::U32, call.span))
}

fn target_pid(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let pid = checker.run.pid.or(checker.run.child).unwrap_or(0);
    Some(constant::constant(i128::from(pid), Type::U32, call.span))
}

fn signal(checker: &mut Checker<'_>, call: &Call<'_>, helper: Helper) -> Option<StmtKind> {
    let arg = call.args.first()?;
    let value = checker.stored_value(arg)?;
    if let Some(name) = constant::text_of(&value).map(|b| String::from_utf8_lossy(b).into_owned()) {
        let short = name.strip_prefix("SIG").unwrap_or(&name).to_owned();
        return match SIGNALS.iter().find(|(n, _)| *n == short) {
            Some((_, number)) => Some(sent(helper, Expr::int(*number, Type::U32, arg.span), call)),
            None => {
                let name = Name { text: name, span: arg.span };
                checker.fail(|| errors::unknown_signal(&name, SIGNALS.iter().map(|s| s.0)))
            }
        };
    }
    if let Some(n) = constant::value_of(&value).filter(|n| !(1..=64).contains(n)) {
        return checker.fail(|| errors::bad_signal_number(n, arg.span));
    }
    Some(sent(helper, checker.integer_argument(arg, &Type::U32)?, call))
}

fn sent(helper: Helper, number: Expr, call: &Call<'_>) -> StmtKind {
    let kind = ExprKind::Helper { helper, context: false, args: vec![number] };
    StmtKind::Expr(Expr { kind, ty: Type::I64, span: call.span })
}

/// Signal numbers of x86-64 and arm64 (include/uapi/asm-generic/signal.h).
const SIGNALS: &[(&str, i64)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];
