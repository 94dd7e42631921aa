//! E08xx: what memql does not have yet, or cannot do on this kernel.

use memql_grammar::ast::{Name, Span};

use crate::diagnostic::Diagnostic;
use crate::target::SMALL_KEY_BYTES;
use crate::types::{TupleField, Type};

/// E0801: a function of bpftrace that is not here yet.
pub(crate) fn function(name: &Name) -> Diagnostic {
    not_yet(name, "a function of bpftrace")
}

/// E0801: a builtin of bpftrace that is not here yet.
pub(crate) fn builtin(name: &Name) -> Diagnostic {
    not_yet(name, "a builtin of bpftrace")
}

fn not_yet(name: &Name, what: &str) -> Diagnostic {
    Diagnostic::error("E0801", format!("`{}` is not supported yet", name.text), name.span, what)
}

/// E0802: what memql does on one kind of processor only.
pub(crate) fn on_x86_64_only(name: &str, span: Span) -> Diagnostic {
    let title = format!("`{name}` works on x86-64 only");
    Diagnostic::error("E0802", title, span, "not on this processor").help("use `kstack` and `ustack`")
}

/// E0802: a clock that this kernel's programs cannot read.
pub(crate) fn tai_clock(span: Span) -> Diagnostic {
    Diagnostic::error("E0802", "this kernel has no `bpf_ktime_get_tai_ns`", span, "Linux 6.1 has it")
        .help("use `nsecs`, the boot clock")
}

/// E0805: keys that are larger than this kernel takes.
pub(crate) fn key_too_large(map: &str, key: &Type, span: Span) -> Diagnostic {
    let finding = Diagnostic::error(
        "E0805",
        format!("keys of `{map}` have {} bytes, and this kernel takes {SMALL_KEY_BYTES} at most", key.size()),
        span,
        format!("`{key}`"),
    )
    .note("kernels since Linux 5.11 take larger ones");
    match (1..=SMALL_KEY_BYTES).rev().find(|cap| with_shorter_text(key, *cap).size() <= SMALL_KEY_BYTES) {
        Some(cap) => finding.help(format!(
            "keep at most {cap} bytes of each text: `str(..., {cap})`, or `config = {{ max_strlen = {cap} }}` for all"
        )),
        None => finding.help("use a key of fewer parts"),
    }
}

/// A type with its strings and buffers cut down to a capacity.
fn with_shorter_text(ty: &Type, most: u32) -> Type {
    match ty {
        Type::Str { cap } => Type::Str { cap: most.min(*cap) },
        Type::Buf { cap } => Type::Buf { cap: most.min(*cap) },
        Type::Tuple(fields) => {
            let shorter = |field: &TupleField| TupleField {
                name: field.name.clone(),
                ty: with_shorter_text(&field.ty, most),
            };
            Type::Tuple(fields.iter().map(shorter).collect())
        }
        other => other.clone(),
    }
}

/// E0803: `unroll`s in each other that make too much code.
pub(crate) fn unrolled_too_far(span: Span, most: usize) -> Diagnostic {
    Diagnostic::error(
        "E0803",
        format!("`unroll` makes more than {most} statements"),
        span,
        "too much code for a program",
    )
    .help("use a loop: `for $i : 0..N { ... }`")
}

/// E0899: memql could not make sense of a statement, and does not know why.
///
/// This is a mistake in memql, not in the script; please report it with the script.
pub(crate) fn not_understood(span: Span) -> Diagnostic {
    Diagnostic::error("E0899", "memql cannot tell what this means", span, "no type can be found for it")
        .note("this is a mistake in memql: please report it with the script")
        .help("give the variables and maps in it a type, as in `let $x: uint64 = ...`")
}

/// E0802: `uaddr` in a `uretprobe` of a file that is loaded anywhere, where the kernel does not say which function returns.
pub(crate) fn function_address(span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0802",
        "on return this kernel does not tell where the file is loaded",
        span,
        "needs the function's address",
    )
    .note("it needs `bpf_get_func_ip` in uprobes, which came with Linux 6.6")
    .help("use `uaddr` in the `uprobe`, and keep the address by thread: `@address[tid] = uaddr(...)`")
}

/// E0804: a bit-field that straddles two units of its type.
pub(crate) fn packed_bit_field(name: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0804",
        format!("bit-field `{name}` is packed in a way that is not supported yet"),
        span,
        "straddles its unit",
    )
}

/// E0804: a type of bpftrace that is not here yet.
pub(crate) fn type_named(name: &Name) -> Diagnostic {
    Diagnostic::error(
        "E0804",
        format!("type `{}` is not supported yet", name.text),
        name.span,
        "a type of bpftrace",
    )
}
