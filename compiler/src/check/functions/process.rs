//! Who runs: processes, threads, users, processors.

use memql_grammar::ast::{ExprKind as Ast, Name, Span};

use super::{Call, Checks, Entry};
use crate::check::diagnostics::{functions as errors, unsupported};
use crate::check::{Checker, constant};
use crate::hir::{Builtin, Expr, ExprKind, StmtKind};
use crate::types::{AddrSpace, Type};

pub(super) const ENTRIES: &[Entry] = &[
    Entry::new("pid", "uint32 pid", "process id of the current thread", Checks::Value(pid))
        .bare()
        .takes(0, 1),
    Entry::new("tid", "uint32 tid", "thread id of the current thread", Checks::Value(tid)).bare().takes(0, 1),
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
    Entry::new("comm", "string comm", "name of the current thread", Checks::Value(comm)).bare().takes(0, 1),
    Entry::new("curtask", "struct task_struct *curtask", "the current task", Checks::Value(curtask)).bare(),
    Entry::new("ppid", "uint32 ppid", "process id of the parent", Checks::Value(ppid)).bare(),
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
        Checks::Effect(signal),
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
    namespace(checker, call)?;
    u32(Builtin::Pid, call)
}

fn tid(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    namespace(checker, call)?;
    u32(Builtin::Tid, call)
}

/// `pid(curr_ns)` is what `pid` is; `pid(init)` is not here yet.
fn namespace(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<()> {
    let Some(arg) = call.args.first() else { return Some(()) };
    match &arg.kind {
        Ast::Ident(mode) if mode.text == "curr_ns" => Some(()),
        Ast::Ident(mode) if mode.text == "init" => {
            checker.fail(|| unsupported::init_namespace(call.name, arg.span))
        }
        _ => checker.fail(|| errors::unknown_mode(call.name, arg.span, &["curr_ns", "init"])),
    }
}

fn comm(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    if call.args.is_empty() {
        return Some(builtin(Builtin::Comm, Type::Str { cap: 16 }, call.span));
    }
    checker.fail(|| unsupported::comm_of_pid(call.span))
}

fn curtask(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    Some(task(checker, call.span).unwrap_or_else(|| builtin(Builtin::Curtask, Type::U64, call.span)))
}

/// The current task with its type, where the kernel has BTF.
fn task(checker: &mut Checker<'_>, span: Span) -> Option<Expr> {
    let btf = checker.target.btf().ok()?;
    let to = btf.lang_type(btf.struct_named("task_struct")?, AddrSpace::Kernel);
    Some(builtin(Builtin::Curtask, Type::Ptr { to: Box::new(to), space: AddrSpace::Kernel }, span))
}

fn ppid(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<Expr> {
    let span = call.span;
    let btf = checker.btf(span, "`ppid`")?;
    let task_id = btf.struct_named("task_struct")?;
    let parent = btf.field(task_id, "real_parent")?;
    let tgid = btf.field(task_id, "tgid")?;
    let parent_type = btf.lang_type(parent.type_id, AddrSpace::Kernel);
    let load = |addr: Expr, bits: u32, ty: Type| {
        let offset = i64::from(bits / 8);
        Expr { kind: ExprKind::Load { addr: Box::new(addr), offset, bits: None }, ty, span }
    };
    let parent = load(task(checker, span)?, parent.bit_offset, parent_type);
    Some(load(parent, tgid.bit_offset, Type::U32))
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

fn signal(checker: &mut Checker<'_>, call: &Call<'_>) -> Option<StmtKind> {
    let arg = call.args.first()?;
    let value = checker.stored_value(arg)?;
    if let Some(name) = constant::text_of(&value).map(|b| String::from_utf8_lossy(b).into_owned()) {
        let short = name.strip_prefix("SIG").unwrap_or(&name).to_owned();
        return match SIGNALS.iter().find(|(n, _)| *n == short) {
            Some((_, number)) => Some(StmtKind::Signal(Expr::int(*number, Type::U32, arg.span))),
            None => {
                let name = Name { text: name, span: arg.span };
                checker.fail(|| errors::unknown_signal(&name, SIGNALS.iter().map(|s| s.0)))
            }
        };
    }
    if let Some(n) = constant::value_of(&value).filter(|n| !(1..=64).contains(n)) {
        return checker.fail(|| errors::bad_signal_number(n, arg.span));
    }
    Some(StmtKind::Signal(checker.integer_argument(arg, &Type::U32)?))
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
