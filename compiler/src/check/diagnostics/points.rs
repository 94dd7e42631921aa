//! E02xx: attach points, and what they pass to a probe.

use memql_grammar::ast::{self, AttachSpec, Name, Span};

use super::{did_you_mean, kind_name, list_note, quoted};
use crate::arch::Registers;
use crate::attach::{AttachPoint, ProgramKind};
use crate::check::Purpose;
use crate::diagnostic::{Diagnostic, Severity, similar};
use crate::placement::boundaries::Misplaced;
use crate::target::FactError;

/// The code of attach points that do not exist on this kernel or in this program.
const NOT_FOUND: &str = "E0203";
const UNSUPPORTED: &str = "E0204";
const FACT: &str = "E0205";
const NO_ALTERNATIVE: &str = "E0206";

/// Whether a finding says that memql or this machine lacks something, so that a fall-back may be tried.
pub(crate) fn is_absence(code: &str) -> bool {
    matches!(code, NOT_FOUND | UNSUPPORTED | FACT)
}

/// Whether a finding is about a missing probe, which a script can choose to go on without.
pub(crate) fn is_missing(code: &str) -> bool {
    matches!(code, NOT_FOUND | FACT | NO_ALTERNATIVE)
}

/// E0201: there is no kind of probe of this name.
pub(crate) fn unknown_provider(spec: &AttachSpec, close: &[String]) -> Diagnostic {
    let (name, span) = spec.parts.first().map_or(("", spec.span), |p| (p.text.as_str(), p.span));
    let finding =
        Diagnostic::error("E0201", format!("there is no probe type `{name}`"), span, "unknown probe type");
    if close.is_empty() {
        return finding.help("list what can be probed with `memql -l`");
    }
    did_you_mean(finding, "a probe type", close)
}

/// E0202: an attach point has too many parts, too few, or one that means nothing.
pub(crate) fn malformed(span: Span, message: &str, help: Option<String>) -> Diagnostic {
    with_help(Diagnostic::error("E0202", message, span, "not an attach point"), help)
}

/// E0203: what the attach point names does not exist on this kernel or in this program.
pub(crate) fn not_found(span: Span, message: &str, close: &[String]) -> Diagnostic {
    let finding = Diagnostic::error(NOT_FOUND, message, span, "not found");
    if close.is_empty() {
        return finding.note("`config = { missing_probes = warn }` goes on without what is missing");
    }
    did_you_mean(finding, "one", close)
}

/// W0201: an attach point does not exist, and `missing_probes=warn` says to go on.
pub(crate) fn as_warning(finding: Diagnostic) -> Diagnostic {
    Diagnostic { severity: Severity::Warning, code: "W0201", notes: Vec::new(), ..finding }
}

/// E0204: a kind of probe that bpftrace has and memql does not have yet.
pub(crate) fn unsupported(span: Span, message: &str, help: Option<String>) -> Diagnostic {
    with_help(Diagnostic::error(UNSUPPORTED, message, span, "not supported yet"), help)
}

/// E0205: a fact about the kernel or a program that could not be read.
pub(crate) fn fact(span: Span, error: &FactError) -> Diagnostic {
    with_help(Diagnostic::error(FACT, error.message.clone(), span, "needed here"), error.help.clone())
}

/// E0206: none of an attach point's alternatives exists here; each one's reason is listed.
pub(crate) fn no_alternative(span: Span, reasons: Vec<Diagnostic>) -> Diagnostic {
    let mut finding = Diagnostic::error(
        NO_ALTERNATIVE,
        "none of these attach points can be used here",
        span,
        "no alternative is left",
    );
    for reason in reasons {
        finding = finding.because(reason.primary.0, reason.title.clone());
        if let (None, Some(help)) = (&finding.help, reason.help) {
            finding = finding.help(help);
        }
    }
    finding
}

/// E0207: `args` in a probe whose kind of event passes none.
pub(crate) fn no_arguments(kind: ProgramKind, span: Span, at: Span) -> Diagnostic {
    let finding = Diagnostic::error(
        "E0207",
        format!("{} probes have no `args`", kind_name(kind)),
        span,
        "not available here",
    )
    .because(at, "the probe");
    match kind {
        ProgramKind::Kprobe | ProgramKind::Uprobe => finding.help("use `arg0`, `arg1`... as the function takes them"),
        ProgramKind::Kretprobe | ProgramKind::Uretprobe => {
            finding.help("use `retval` for the result; keep arguments in a map when the function is entered: `@a[tid] = arg0`")
        }
        _ => finding.note("`args` exists in tracepoint, rawtracepoint, fentry and fexit probes"),
    }
}

/// E0207: `argN` in a probe that has none.
pub(crate) fn no_numbered_arguments(n: usize, kind: ProgramKind, span: Span, at: Span) -> Diagnostic {
    let finding = Diagnostic::error(
        "E0207",
        format!("{} probes have no `arg{n}`", kind_name(kind)),
        span,
        "not available here",
    )
    .because(at, "the probe");
    match kind {
        ProgramKind::Tracepoint | ProgramKind::Fentry | ProgramKind::Fexit => {
            finding.help("arguments have names here: `args.NAME`; list them with `memql -lv`")
        }
        ProgramKind::Kretprobe | ProgramKind::Uretprobe => {
            finding.help("keep the argument in a map when the function is entered: `@a[tid] = arg0`")
        }
        _ => finding.note("`argN` exists in kprobe, uprobe and rawtracepoint probes"),
    }
}

/// E0207: `retval` in a probe that is not on a function's return.
pub(crate) fn no_return_value(kind: ProgramKind, span: Span, at: Span) -> Diagnostic {
    let finding = Diagnostic::error(
        "E0207",
        format!("{} probes have no `retval`", kind_name(kind)),
        span,
        "not available here",
    )
    .because(at, "the probe");
    match kind {
        ProgramKind::Kprobe => finding.help("probe the function's return: `kretprobe:...`"),
        ProgramKind::Uprobe => finding.help("probe the function's return: `uretprobe:...`"),
        ProgramKind::Fentry => finding.help("probe the function's return: `fexit:...`"),
        ProgramKind::Tracepoint => {
            finding.help("syscall results are `args.ret` of `tracepoint:syscalls:sys_exit_NAME`")
        }
        _ => finding.note("`retval` exists in kretprobe, uretprobe and fexit probes"),
    }
}

/// E0207: `ctx` in a probe that is handed nothing a script could read.
pub(crate) fn no_context(point: &AttachPoint, span: Span, at: Span) -> Diagnostic {
    let written = point.to_string();
    let provider = written.split(':').next().unwrap_or_default();
    let finding =
        Diagnostic::error("E0207", format!("{provider} probes have no `ctx`"), span, "not available here")
            .because(at, "the probe");
    match point.kind() {
        ProgramKind::Tracepoint | ProgramKind::RawTracepoint | ProgramKind::Fentry | ProgramKind::Fexit => {
            finding.help("use `args`: list what it has with `memql -lv`")
        }
        _ => finding
            .note("`ctx` exists in iter, kprobe, uprobe, profile, software, hardware and interval probes"),
    }
}

/// E0207: `ctx` of a perf event as a value.
pub(crate) fn context_by_members(span: Span, at: Span) -> Diagnostic {
    Diagnostic::error(
        "E0207",
        "`ctx` of a perf event can only be read member by member",
        span,
        "no address that could be kept",
    )
    .because(at, "the probe")
    .help("write `ctx.regs.NAME`, `ctx.addr` or `ctx.sample_period`")
}

/// E0209: what the kernel hands over has a type that BTF does not describe.
pub(crate) fn context_unknown(what: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0209",
        format!("the kernel's BTF does not describe `{what}`"),
        span,
        "the type of `ctx` here",
    )
}

/// E0209: a member, of a type that the script casts to, behind the end of what the kernel hands over.
pub(crate) fn beyond_context(name: &str, size: u32, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0209",
        format!("`{name}` lies behind the context, which has {size} bytes"),
        span,
        "nothing is there",
    )
}

/// E0207: `func` in a probe that is not on a function.
pub(crate) fn no_function(kind: ProgramKind, span: Span, at: Span) -> Diagnostic {
    Diagnostic::error(
        "E0207",
        format!("{} probes have no `func`", kind_name(kind)),
        span,
        "not available here",
    )
    .because(at, "not on a function")
    .help("use `probe`, the attach point's full name")
}

/// E0207: the function has no result.
pub(crate) fn returns_nothing(function: &str, span: Span, at: Span) -> Diagnostic {
    Diagnostic::error("E0207", format!("`{function}` returns nothing"), span, "there is no result")
        .because(at, "its return is probed")
}

/// E0208: an argument that the calling convention does not pass in a register.
pub(crate) fn argument_not_in_register(
    n: usize,
    registers: &Registers,
    kernel: bool,
    span: Span,
) -> Diagnostic {
    let passed = registers.arguments.len();
    let offset = n.saturating_sub(passed) * 8 + registers.first_stack_argument as usize;
    let read = format!("`*(uint64 *)(reg(\"sp\") + {offset})`");
    let finding = Diagnostic::error(
        "E0208",
        format!("`arg{n}` is not passed in a register"),
        span,
        "beyond the registers",
    )
    .note(format!("the first {passed} arguments are: `arg0` to `arg{}`", passed.saturating_sub(1)));
    if kernel {
        finding.help(format!(
            "use an `fentry` probe, which knows all arguments by name, or read the stack: {read}"
        ))
    } else {
        finding.help(format!("read it from the stack, when the function is entered: {read}"))
    }
}

/// E0208: an argument that the event does not have.
pub(crate) fn argument_missing(n: usize, there: usize, point: &AttachPoint, span: Span) -> Diagnostic {
    let title = format!("`{point}` has no `arg{n}`");
    let finding = Diagnostic::error("E0208", title, span, "beyond the last");
    match there {
        0 => finding.note("it has no arguments"),
        _ => finding.note(format!("it has `arg0` to `arg{}`", there - 1)),
    }
}

/// E0208: an argument of a static probe that is where memql does not read.
pub(crate) fn usdt_argument_unreadable(n: usize, text: &str, point: &AttachPoint, span: Span) -> Diagnostic {
    Diagnostic::error("E0208", format!("`arg{n}` of `{point}` cannot be read"), span, "not available here")
        .note(format!("the program says that it is at `{text}`"))
        .help("probe the function around it with `uprobe`, or read `reg(\"NAME\")`")
}

/// E0208: an argument of a program's function that is where memql does not read.
pub(crate) fn user_argument_unreadable(name: &str, shown: &str, why: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0208", format!("`args.{name}` cannot be read"), span, "not available here")
        .note(format!("its type is `{shown}`, and {why}"))
}

/// E0207: `args` of a function of which no debug information is at hand.
pub(crate) fn no_debug_information(point: &AttachPoint, span: Span, at: Span) -> Diagnostic {
    Diagnostic::error(
        "E0207",
        format!("the arguments of `{point}` are not known"),
        span,
        "needs debug information",
    )
    .because(at, "there is none for this function")
    .help("compile the program with `-g`, install its debug files, or use `arg0`, `arg1`...")
}

/// E0209: what BTF does not know the arguments of.
pub(crate) fn arguments_unknown(point: &AttachPoint, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0209",
        format!("the kernel's BTF does not describe `{point}`"),
        span,
        "its arguments are not known",
    )
    .help("use the kprobe or tracepoint of the same name")
}

/// E0209: a field that is farther away than what the kernel passes is long.
pub(crate) fn outside_of_context(name: &str, end: u64, span: Span) -> Diagnostic {
    let most = crate::check::args::MAX_CONTEXT_BYTES;
    Diagnostic::error(
        "E0209",
        format!("`{name}` ends at byte {end} of what the kernel passes, {most} are the most"),
        span,
        "cannot be there",
    )
}

/// E0209: a field of a shape that memql does not read.
pub(crate) fn odd_field(name: &str, size: u32, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0209",
        format!("`{name}` has {size} bytes, which is no integer"),
        span,
        "cannot be read as a value",
    )
}

/// E0209: a tracepoint that vanished while it was looked at.
pub(crate) fn format_gone(category: &str, event: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0209",
        format!("tracepoint `{category}:{event}` has no format"),
        span,
        "its fields are not known",
    )
}

/// E0210: nothing in the script would ever run.
pub(crate) fn nothing_to_run(script: &ast::Script) -> Diagnostic {
    let span = script.items.iter().find_map(|i| match i {
        ast::Item::Probe(p) => Some(p.span),
        _ => None,
    });
    let finding =
        Diagnostic::error("E0210", "the script has no probe that would run", span.unwrap_or_default(), "");
    match span {
        Some(_) if has_provider(script, "test") => {
            finding.help("`memql --test` runs its tests").note("tests run when they are asked for")
        }
        Some(_) if has_provider(script, "bench") => {
            finding.help("`memql --bench` runs its benchmarks").note("benchmarks run when they are asked for")
        }
        Some(_) => finding
            .note("every probe has a predicate that is never true here, or attach points that do not exist"),
        None => finding.help("add a probe, such as `begin { printf(\"hello\\n\"); }`"),
    }
}

fn has_provider(script: &ast::Script, name: &str) -> bool {
    let mut probes = script.items.iter().filter_map(|item| match item {
        ast::Item::Probe(probe) => Some(probe),
        _ => None,
    });
    let is_it = |spec: &AttachSpec| spec.parts.first().is_some_and(|part| part.text == name);
    probes.any(|probe| probe.points.iter().flat_map(|point| &point.alternatives).any(is_it))
}

/// E0210: `--test` or `--bench` of a script that has none.
pub(crate) fn nothing_to_try(purpose: Purpose, script: &ast::Script) -> Diagnostic {
    let span = script.items.iter().find_map(|item| match item {
        ast::Item::Probe(probe) => Some(probe.span),
        _ => None,
    });
    let (what, help) = match purpose {
        Purpose::Bench => ("benchmark", "write one: `bench:NAME { ... }`"),
        Purpose::Test | Purpose::Trace => {
            ("test", "write one: `test:NAME { ... }`; `memql test FILE` runs `test \"NAME\" { ... }` blocks")
        }
    };
    Diagnostic::error("E0210", format!("the script has no {what}"), span.unwrap_or_default(), "").help(help)
}

/// E0217: two tests, or two benchmarks, of one name.
pub(crate) fn trial_twice(point: &AttachPoint, span: Span, first: Span) -> Diagnostic {
    Diagnostic::error("E0217", format!("there are two `{point}`"), span, "the same name")
        .because(first, "first used here")
}

/// E0211: more attach points than a run should have.
pub(crate) fn too_many_points(points: usize, most: usize, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0211",
        format!("{points} attach points are more than the {most} allowed"),
        span,
        "up to here",
    )
    .help("name them more narrowly, or raise the limit: `config = { max_probes = N }`")
}

/// E0211: more programs than a run should have, since each of these points needs its own.
pub(crate) fn too_many_programs(programs: usize, most: usize, span: Span) -> Diagnostic {
    Diagnostic::error("E0211", format!("{programs} programs are more than the {most} allowed"), span, "up to here")
        .note("fentry, fexit and rawtracepoint probes, and comparisons of `probe` or `func`, need one program per attach point")
        .help("name them more narrowly, or raise the limit: `config = { max_bpf_progs = N }`")
}

/// E0213: an attach point names a positional parameter that was not given.
pub(crate) fn parameter_missing(number: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0213",
        format!("parameter `${number}` was not given"),
        span,
        "needed for the attach point",
    )
    .help("give it after the script's name on the command line")
}

/// E0213: an attach point names an option that is not declared.
pub(crate) fn no_such_option<'n>(
    name: &str,
    span: Span,
    declared: impl Iterator<Item = &'n str>,
) -> Diagnostic {
    let declared: Vec<&str> = declared.collect();
    let finding = Diagnostic::error(
        "E0213",
        format!("there is no option `{name}`"),
        span,
        "in attach points, `$NAME` is an option's value",
    );
    let close = similar(name, declared.iter().copied());
    if close.is_empty() && !declared.is_empty() {
        return finding.note(format!("options: {}", quoted(declared)));
    }
    did_you_mean(finding, "an option", &close)
}

/// E0218: a place in a program where a breakpoint would break it, or where nobody can tell.
pub(crate) fn misplaced(point: &AttachPoint, misplaced: &Misplaced, span: Span) -> Diagnostic {
    let unchecked = |why: String| {
        let title = format!("cannot tell whether an instruction begins at `{point}`");
        Diagnostic::error("E0218", title, span, "a breakpoint inside an instruction breaks the program")
            .note(why)
            .help("if one does begin there, run memql with `--unsafe`")
    };
    match misplaced {
        Misplaced::Inside { before, after } => {
            let title = format!("`{point}` is in the middle of an instruction");
            Diagnostic::error("E0218", title, span, "a breakpoint here breaks the program")
                .help(format!("the instructions around are at {before} and {after}"))
        }
        Misplaced::BehindEnd { size } => {
            let title = format!("`{point}` is behind the end of the function");
            Diagnostic::error("E0218", title, span, format!("the function has {size} bytes"))
        }
        Misplaced::NoFunction => unchecked("no function that the file names has this address".to_owned()),
        Misplaced::NoSize { symbol } => unchecked(format!("the file does not say how long `{symbol}` is")),
        Misplaced::NotDecoded { upto } => unchecked(format!("the code cannot be decoded beyond {upto}")),
        Misplaced::UnknownCode => {
            unchecked("the code is for a processor that memql does not know".to_owned())
        }
    }
}

/// W0202: the same, where `--unsafe` says to go on.
pub(crate) fn misplaced_as_asked(finding: Diagnostic) -> Diagnostic {
    Diagnostic { severity: Severity::Warning, code: "W0202", help: None, ..finding }
}

/// E0214: a name that the event does not pass.
pub(crate) fn unknown_argument(point: &str, name: &Name, fields: &[String], at: Span) -> Diagnostic {
    let finding = Diagnostic::error(
        "E0214",
        format!("{point} has no field `{}`", name.text),
        name.span,
        "unknown field",
    )
    .because(at, "fields come from this attach point");
    let finding = list_note(finding, "fields", fields);
    did_you_mean(finding, "a field", &similar(&name.text, fields.iter().map(String::as_str)))
}

/// E0215: the kernel's types are needed and cannot be had.
pub(crate) fn needs_btf(span: Span, what: &str, error: &FactError) -> Diagnostic {
    let finding =
        Diagnostic::error("E0215", format!("{what} needs the kernel's BTF"), span, error.message.clone());
    let help = error.help.clone();
    with_help(finding, help.or_else(|| Some("use a kernel built with CONFIG_DEBUG_INFO_BTF=y".to_owned())))
}

fn with_help(finding: Diagnostic, help: Option<String>) -> Diagnostic {
    match help {
        Some(help) => finding.help(help),
        None => finding,
    }
}

/// E0207: `probetype` in a probe with attach points of several types.
pub(crate) fn several_types(first: &str, other: &str, span: Span, at: Span) -> Diagnostic {
    Diagnostic::error(
        "E0207",
        format!("this probe is a `{first}` and a `{other}`"),
        span,
        "it has no one type",
    )
    .because(at, "the attach points")
    .help("write a probe for each type")
}

/// E0202: parameters that make no attach point.
pub(crate) fn no_attach_point(text: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0202", format!("`{text}` is no attach point"), span, "made of parameters")
        .help("give the parameter as `interval:1s` or `kprobe:vfs_read`")
}
