//! E06xx: functions.

use memql_grammar::ast::{Name, Span};

use super::{counted, did_you_mean, kind_name, list_note, quoted};
use crate::attach::ProgramKind;
use crate::check::functions::Entry;
use crate::diagnostic::{Diagnostic, similar};
use crate::hir::Expr;
use crate::types::Type;

/// E0306: a function that does not exist.
pub(crate) fn unknown_function(name: &Name, close: &[String]) -> Diagnostic {
    let finding = Diagnostic::error(
        "E0306",
        format!("there is no function `{}`", name.text),
        name.span,
        "unknown function",
    );
    did_you_mean(finding, "a function", close)
}

/// E0601: too many or too few arguments.
pub(crate) fn argument_count(name: &Name, entry: &Entry, given: usize, span: Span) -> Diagnostic {
    let wanted = match (entry.least, entry.most) {
        (least, Some(most)) if least == most => counted(least, "argument"),
        (least, Some(most)) => format!("{least} to {}", counted(most, "argument")),
        (least, None) => format!("at least {}", counted(least, "argument")),
    };
    Diagnostic::error(
        "E0601",
        format!("`{}` takes {wanted}, not {given}", name.text),
        span,
        format!("{given} given"),
    )
    .help(format!("`{}`", entry.signature))
}

/// E0602: a function's name without a call.
pub(crate) fn needs_call(name: &Name, signature: &str, sigil: Option<char>) -> Diagnostic {
    let finding = Diagnostic::error(
        "E0602",
        format!("`{}` is a function", name.text),
        name.span,
        "its arguments are missing",
    );
    match sigil {
        Some(sigil) => finding
            .note(format!("it is called `{signature}`"))
            .help(format!("the script's own is `{sigil}{}`", name.text)),
        None => finding.help(format!("`{signature}`")),
    }
}

/// E0603: a function that gives no value, where one is needed.
pub(crate) fn gives_no_value(name: &Name, span: Span) -> Diagnostic {
    Diagnostic::error("E0603", format!("`{}()` gives no value", name.text), span, "expected a value")
        .help("make it a statement of its own")
}

/// E0604: an argument that must be written out.
pub(crate) fn not_a_literal(name: &Name, what: &str, span: Span) -> Diagnostic {
    let title = format!("{what} of `{}` must be a constant string", name.text);
    Diagnostic::error("E0604", title, span, "expected text in quotes")
}

/// E0604: an argument that must be a constant number.
pub(crate) fn not_a_constant(name: &Name, what: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0604",
        format!("{what} of `{}` must be a constant", name.text),
        span,
        "known only when the script runs",
    )
}

/// E0605: something else where a map is expected.
pub(crate) fn not_a_map(name: &Name, span: Span) -> Diagnostic {
    Diagnostic::error("E0605", format!("`{}` takes a map", name.text), span, "expected a map, such as `@x`")
}

/// E0605: a map's element where the whole map is expected.
pub(crate) fn map_with_key(name: &Name, map: &Name, span: Span) -> Diagnostic {
    let finding = Diagnostic::error(
        "E0605",
        format!("`{}` takes the map without a key", name.text),
        span,
        "an element, not the map",
    );
    match name.text.as_str() {
        "has_key" | "delete" => finding.help(format!("`{}(@{}, KEY)`", name.text, map.text)),
        "clear" | "zero" => {
            finding.help(format!("`{0}(@{1})`, or for one key: `delete(@{1}, KEY)`", name.text, map.text))
        }
        _ => finding.help(format!("`{}(@{})`", name.text, map.text)),
    }
}

/// E0606: a function that acts on the system, without permission.
pub(crate) fn needs_unsafe(name: &Name, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0606",
        format!("`{}()` needs `--unsafe`", name.text),
        span,
        "changes the system it runs on",
    )
    .help("run memql with `--unsafe` if that is what you want")
}

/// E0607: something that is no address.
pub(crate) fn not_an_address(name: &Name, value: &Expr) -> Diagnostic {
    let title = format!("`{}` takes an address, not `{}`", name.text, value.ty);
    let finding = Diagnostic::error("E0607", title, value.span, "expected a pointer or a 64-bit integer");
    match value.ty {
        Type::Str { .. } => finding.help("this is text already: print it with `%s`"),
        Type::Struct(_) => finding.help("take its address: `&...`"),
        _ => finding,
    }
}

/// E0607: something that is no text.
pub(crate) fn not_text(name: &Name, value: &Expr) -> Diagnostic {
    let title = format!("`{}` takes text, not `{}`", name.text, value.ty);
    let finding = Diagnostic::error("E0607", title, value.span, "expected a string");
    match value.ty {
        Type::Ptr { .. } | Type::Int { bits: 64, .. } => {
            finding.help("read the text at an address: `str(...)`")
        }
        _ => finding,
    }
}

/// E0607: something that has no length.
pub(crate) fn no_length(value: &Expr) -> Diagnostic {
    let finding = Diagnostic::error(
        "E0607",
        format!("`{}` has no `len`", value.ty),
        value.span,
        "expected a map or a stack",
    );
    match value.ty {
        Type::Str { .. } => finding.help("`strlen(...)` is the length of a string"),
        _ => finding,
    }
}

/// E0607: something that cannot be aggregated.
pub(crate) fn not_aggregatable(name: &Name, value: &Expr) -> Diagnostic {
    let title = format!("`{}` takes integers, not `{}`", name.text, value.ty);
    let finding = Diagnostic::error("E0607", title, value.span, "expected an integer");
    match value.ty {
        Type::Str { .. } => finding.help("count how often a text occurs with a key: `@[text] = count();`"),
        _ => finding,
    }
}

/// E0607: a value that has no text form.
pub(crate) fn not_printable(value: &Expr) -> Diagnostic {
    Diagnostic::error("E0607", format!("`{}` cannot be printed", value.ty), value.span, "has no text form")
        .help("print its fields: `.FIELD`")
}

/// E0608: a word that is none of a function's modes.
pub(crate) fn unknown_mode(name: &Name, span: Span, modes: &[&str]) -> Diagnostic {
    Diagnostic::error("E0608", format!("`{}` has no such mode", name.text), span, "unknown mode")
        .note(format!("modes: {}", quoted(modes)))
}

/// E0608: build ids of kernel stacks.
pub(crate) fn build_id_of_kernel(span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0608",
        "`build_id` is a mode of `ustack` only",
        span,
        "the kernel's frames have no build id",
    )
    .help("use `kstack(raw)`")
}

/// E0609: a length out of range.
pub(crate) fn bad_length(n: i128, span: Span) -> Diagnostic {
    let most = crate::check::type_expr::MAX_VALUE_BYTES;
    Diagnostic::error(
        "E0609",
        format!("a length of {n} is not possible"),
        span,
        format!("expected 1 to {most}"),
    )
}

/// E0609: `buf` of an address, without a length.
pub(crate) fn buffer_length_missing(span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0609",
        "`buf` needs a length here",
        span,
        "how many bytes are at this address is not known",
    )
    .help("`buf(ADDRESS, LENGTH)`")
}

/// E0609: a number of frames that no stack can have.
pub(crate) fn stack_limit(n: i128, most: u32, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0609",
        format!("a stack of {n} frames is not possible"),
        span,
        format!("expected 1 to {most}"),
    )
}

/// W0007: more frames than the kernel takes.
pub(crate) fn stack_limit_lowered(n: i128, most: u32, span: Span) -> Diagnostic {
    Diagnostic::warning(
        "W0007",
        format!("stacks have at most {most} frames, not {n}"),
        span,
        format!("{most} are taken"),
    )
    .help("raise the kernel's limit: `sysctl kernel.perf_event_max_stack=N`")
}

/// E0609: finer buckets than there are.
pub(crate) fn hist_bits(n: i128, span: Span) -> Diagnostic {
    Diagnostic::error("E0609", format!("`hist` takes 0 to 5 bits, not {n}"), span, "out of range")
        .note("each power of two is cut into 2^bits buckets")
}

/// E0609: steps of no width.
pub(crate) fn lhist_step(step: i128, span: Span) -> Diagnostic {
    Diagnostic::error("E0609", format!("a step of {step} is not possible"), span, "expected 1 or more")
}

/// E0609: a histogram from high to low.
pub(crate) fn lhist_range(min: i128, max: i128, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0609",
        format!("there is nothing between {min} and {max}"),
        span,
        "the lower end comes first",
    )
}

/// E0609: more steps than a histogram should have.
pub(crate) fn lhist_steps(steps: i128, most: i128, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0609",
        format!("{steps} steps are more than the {most} allowed"),
        span,
        "too many steps",
    )
    .help("use wider steps, or `hist`")
}

/// E0609: printing a negative number of entries.
pub(crate) fn negative_amount(span: Span) -> Diagnostic {
    Diagnostic::error("E0609", "this cannot be negative", span, "expected 0 or more")
}

/// E0609: a date before the clock began.
pub(crate) fn negative_time(span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0609",
        "a time cannot be negative",
        span,
        "expected nanoseconds since the clock began",
    )
}

/// E0610: `top` and `div` where there is no map.
pub(crate) fn print_limits_of_value(span: Span) -> Diagnostic {
    Diagnostic::error("E0610", "only a map is printed with `top` and `div`", span, "a value has no entries")
        .help("`print(value)`")
}

/// E0610: `top` and `div` of a single element.
pub(crate) fn print_limits_of_element(map: &Name, span: Span) -> Diagnostic {
    Diagnostic::error("E0610", "only a whole map is printed with `top` and `div`", span, "a single element")
        .help(format!("`print(@{}, 10)`", map.text))
}

/// E0611: a symbol that does not exist.
pub(crate) fn unknown_symbol(name: &str, place: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0611", format!("there is no symbol `{name}` in {place}"), span, "not found")
}

/// E0612: a signal that does not exist.
pub(crate) fn unknown_signal<'n>(name: &Name, signals: impl Iterator<Item = &'n str>) -> Diagnostic {
    let full: Vec<String> = signals.map(|s| format!("SIG{s}")).collect();
    let finding = Diagnostic::error(
        "E0612",
        format!("there is no signal `{}`", name.text),
        name.span,
        "unknown signal",
    );
    did_you_mean(finding, "a signal", &similar(&name.text, full.iter().map(String::as_str)))
}

/// E0612: a number that is no signal's.
pub(crate) fn bad_signal_number(n: i128, span: Span) -> Diagnostic {
    Diagnostic::error("E0612", format!("there is no signal {n}"), span, "expected 1 to 64")
}

/// E0613: `uaddr` outside of a uprobe, which is what names the file.
pub(crate) fn only_in_uprobes(name: &Name, kind: ProgramKind, span: Span, at: Span) -> Diagnostic {
    let title = format!("`{}` only works in uprobes", name.text);
    Diagnostic::error("E0613", title, span, "which file is meant is not known")
        .because(at, format!("{} probe", kind_name(kind)))
}

/// E0613: registers where none are passed.
pub(crate) fn no_registers(kind: ProgramKind, span: Span, at: Span) -> Diagnostic {
    Diagnostic::error(
        "E0613",
        format!("{} probes have no registers", kind_name(kind)),
        span,
        "not available here",
    )
    .because(at, "the probe")
}

/// E0613: a register that this architecture does not have.
pub(crate) fn unknown_register<'n>(
    name: &str,
    names: impl Iterator<Item = &'n str>,
    span: Span,
) -> Diagnostic {
    let names: Vec<String> = names.map(str::to_owned).collect();
    let close = similar(name, names.iter().map(String::as_str));
    let finding =
        Diagnostic::error("E0613", format!("there is no register `{name}`"), span, "unknown register");
    did_you_mean(list_note(finding, "registers", &names), "a register", &close)
}

/// E0614: something else where `offsetof` wants a field's name.
pub(crate) fn not_a_field(span: Span) -> Diagnostic {
    Diagnostic::error("E0614", "`offsetof` takes a field's name", span, "expected a name")
        .help("`offsetof(struct task_struct, se.vruntime)`")
}

/// E0614: `offsetof` in something that has no fields.
pub(crate) fn offset_of_no_struct(ty: &Type, name: &Name) -> Diagnostic {
    Diagnostic::error(
        "E0614",
        format!("`{ty}` has no fields, so no `{}`", name.text),
        name.span,
        "not a struct",
    )
}

/// E0690: what the script itself says in `fail` or `static_assert`.
pub(crate) fn script_says_no(message: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0690", message, span, "the script says so")
}

/// E0605: a process id that is text.
pub(crate) fn not_a_process_id(span: Span) -> Diagnostic {
    Diagnostic::error("E0605", "`comm()` takes a process id", span, "expected an integer")
        .help("the name of the current thread is `comm`")
}

/// E0605: bytes of an address that has another size.
pub(crate) fn not_an_address_of_size(value: &Expr, sizes: &[u32]) -> Diagnostic {
    let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    let wanted = sizes.join(" or ");
    Diagnostic::error(
        "E0605",
        format!("expected {wanted} bytes, found `{}`", value.ty),
        value.span,
        format!("`{}`", value.ty),
    )
    .help("cast a pointer to the bytes: `(uint8[16] *)p`, or take the field that holds them")
}

/// E0605: an address family other than the two.
pub(crate) fn address_family(family: i128, span: Span) -> Diagnostic {
    Diagnostic::error("E0605", format!("there is no address family {family} here"), span, "expected 2 or 10")
        .help("2 is `AF_INET`, 10 is `AF_INET6`")
}

/// E0605: text that is no IP address.
pub(crate) fn not_an_ip_address(text: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0605", format!("`{text}` is no IP address"), span, "expected an IPv4 or IPv6 address")
        .help("write it like `127.0.0.1` or `::1`")
}

/// E0607: a search in text of which the kernel verifier would have too much to look at.
pub(crate) fn search_too_large(haystack: &Expr, needle: &Expr, most: u64) -> Diagnostic {
    let title = format!("`{}` in `{}` is too much to search", needle.ty, haystack.ty);
    Diagnostic::error("E0607", title, needle.span, "its length is not known")
        .because(haystack.span, "the text that is searched")
        .note(format!("the capacities multiplied may be {most} at most"))
        .help("read less: `str(address, 64)`, or look for constant text")
}

/// E0607: a value whose bytes are not at hand.
pub(crate) fn not_bytes(name: &Name, value: &Expr) -> Diagnostic {
    let title = format!("`{}` takes strings, buffers, arrays and tuples, not `{}`", name.text, value.ty);
    let finding = Diagnostic::error("E0607", title, value.span, "expected bytes");
    match value.ty {
        Type::Ptr { .. } => finding.help("read the bytes at an address: `buf(address, n)`"),
        _ => finding.help("compare numbers with `==`"),
    }
}

/// E0604: comparing more bytes than there are.
pub(crate) fn compares_too_much(n: i128, most: u32, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0604",
        format!("{n} bytes of values of {most}"),
        span,
        "more than the shorter one has",
    )
    .help(format!("compare {most} bytes or fewer"))
}

/// E0608: a function in a probe of a type that cannot have it.
pub(crate) fn only_in(name: &Name, kinds: &str, kind: ProgramKind, span: Span, at: Span) -> Diagnostic {
    Diagnostic::error(
        "E0608",
        format!("`{}` works in {kinds} probes only", name.text),
        span,
        format!("this is one of {}", kind_name(kind)),
    )
    .because(at, "the attach point")
}

/// E0605: a place for a result that is no variable.
pub(crate) fn not_a_variable(name: &Name, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0605",
        format!("`{}` puts its result into a variable", name.text),
        span,
        "expected a variable",
    )
    .help("give it one: `$value`")
}

/// E0606: what a time series cannot keep.
pub(crate) fn tseries_keeps(other: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0606", format!("a time series has no `{other}`"), span, "unknown")
        .note("it keeps the `avg`, `max`, `min` or `sum` of an interval's values, or the last without a word")
}

/// E0606: a time series of intervals that take no time.
pub(crate) fn tseries_interval(interval: i128, span: Span) -> Diagnostic {
    Diagnostic::error("E0606", format!("an interval of {interval} ns"), span, "expected at least 1 ns")
        .help("give a duration, such as `100ms`")
}

/// E0606: a time series of too few or too many intervals.
pub(crate) fn tseries_intervals(n: i128, most: i128, span: Span) -> Diagnostic {
    Diagnostic::error("E0606", format!("{n} intervals"), span, format!("expected 1 to {most}"))
        .help("the kernel's per-CPU memory keeps no more; take longer intervals")
}
