//! E04xx: values of the wrong type.

use memql_grammar::ast::{BinaryOp, Name, Span, UnaryOp};

use crate::diagnostic::Diagnostic;
use crate::hir::Expr;
use crate::types::{Agg, Type};

/// How an operator is written.
pub(crate) fn operator(op: BinaryOp) -> &'static str {
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

/// What can be done with a value that is no integer and should be one.
fn integer_help(finding: Diagnostic, ty: &Type) -> Diagnostic {
    match ty {
        Type::Struct(_) => finding.help("name one of its fields: `.FIELD`"),
        Type::Ptr { .. } => {
            finding.help("read what it points to with `*`, or cast the address: `(uint64)...`")
        }
        Type::Str { .. } => finding.help("strings can be compared with `==` and `!=`, and printed with `%s`"),
        Type::Stack(_) => finding.help("`len(...)` is the number of frames"),
        Type::Tuple(_) => finding.help("name one of its elements: `.0`"),
        _ => finding,
    }
}

/// E0401: arithmetic on something that is no integer.
pub(crate) fn not_integers(op: BinaryOp, a: &Expr, b: &Expr) -> Diagnostic {
    let op = operator(op);
    let title = format!("`{op}` cannot be applied to `{}` and `{}`", a.ty, b.ty);
    let bad = |e: &Expr| !matches!(e.ty, Type::Int { .. } | Type::Bool | Type::Enum { .. });
    let wrong = if bad(a) { a } else { b };
    let finding =
        Diagnostic::error("E0401", title, wrong.span, format!("expected an integer, found `{}`", wrong.ty));
    integer_help(finding, &wrong.ty)
}

/// E0401: an operator that pointers do not have.
pub(crate) fn pointer_operator(op: BinaryOp, a: &Expr, b: &Expr, span: Span) -> Diagnostic {
    let title = format!("`{}` cannot be applied to `{}` and `{}`", operator(op), a.ty, b.ty);
    Diagnostic::error("E0401", title, span, "pointers only have `+` and `-` with an integer on the right")
        .help("cast the address to compute with it: `(uint64)...`")
}

/// E0402: a prefix operator on something that is no integer.
pub(crate) fn unary_operand(op: UnaryOp, value: &Expr, span: Span) -> Diagnostic {
    let op = if op == UnaryOp::Neg { "-" } else { "~" };
    let title = format!("`{op}` cannot be applied to `{}`", value.ty);
    let finding =
        Diagnostic::error("E0402", title, span, format!("expected an integer, found `{}`", value.ty));
    integer_help(finding, &value.ty)
}

/// E0402: `++` or `--` of something that does not count.
pub(crate) fn not_countable(value: &Expr, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0402",
        format!("`{}` cannot be counted up or down", value.ty),
        span,
        "expected an integer or a pointer",
    )
}

/// E0403: a variable gets a value of another type than it has.
pub(crate) fn variable_mismatch(var: &Name, has: &Type, gets: &Type, at: Span, first: Span) -> Diagnostic {
    let title = format!("variable `${}` is `{has}`, it cannot be assigned `{gets}`", var.text);
    let finding = Diagnostic::error("E0403", title, at, format!("expected `{has}`, found `{gets}`"));
    let finding =
        if first == var.span { finding } else { finding.because(first, format!("`{has}` since here")) };
    match (has, gets) {
        (Type::Str { .. }, Type::Ptr { .. }) => finding.help("read the text that it points to: `str(...)`"),
        _ => finding.help("use another variable"),
    }
}

/// E0404: a literal that the declared type cannot hold.
pub(crate) fn literal_out_of_range(at: Span, value: i128, ty: &Type, declared: Span) -> Diagnostic {
    Diagnostic::error("E0404", format!("{value} does not fit `{ty}`"), at, "out of range")
        .because(declared, format!("declared as `{ty}`"))
        .help(format!("use a wider type, or cut it off on purpose: `({ty}){value}`"))
}

/// E0405: a condition that is neither true nor false.
pub(crate) fn bad_condition(value: &Expr) -> Diagnostic {
    let title = format!("`{}` is no condition", value.ty);
    let finding =
        Diagnostic::error("E0405", title, value.span, "expected an integer, a boolean or a pointer");
    match value.ty {
        Type::Str { .. } => finding.help("compare it: `... != \"\"`"),
        Type::Point(_) => finding.help("compare it with the attach point: `probe == \"...\"`"),
        _ => finding,
    }
}

/// E0406: a cast between types that have nothing in common.
pub(crate) fn bad_cast(value: &Expr, to: &Type, span: Span) -> Diagnostic {
    let title = format!("`{}` cannot be cast to `{to}`", value.ty);
    let finding = Diagnostic::error("E0406", title, span, "no such cast");
    match (&value.ty, to) {
        (Type::Int { .. } | Type::Ptr { .. }, Type::Str { cap }) => {
            finding.help(format!("read the text at an address: `str(..., {cap})`"))
        }
        (Type::Int { .. } | Type::Ptr { .. }, Type::Buf { cap }) => {
            finding.help(format!("read the bytes at an address: `buf(..., {cap})`"))
        }
        (Type::Struct(_), Type::Ptr { .. }) => finding.help("cast the address that the struct was read from"),
        _ => finding,
    }
}

/// E0406: a cast to a struct, where its address is meant.
pub(crate) fn cast_to_struct(to: &Type, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0406",
        format!("nothing can be cast to `{to}`"),
        span,
        "only addresses can be cast to a struct's pointer",
    )
    .help(format!("cast to the pointer: `({to} *)...`"))
}

/// E0406: a cast between an integer and an array of another size.
pub(crate) fn cast_size(value: &Expr, to: &Type, span: Span) -> Diagnostic {
    let title = format!("`{}` has {} bytes, `{to}` has {}", value.ty, value.ty.size(), to.size());
    Diagnostic::error("E0406", title, span, "the sizes must be equal")
        .help("cast the value to an integer of that size first")
}

/// E0407: a field of something that has none.
pub(crate) fn no_fields(value: &Expr, name: &Name) -> Diagnostic {
    let title = format!("`{}` has no fields, so no `{}`", value.ty, name.text);
    let finding = Diagnostic::error("E0407", title, value.span, format!("`{}`", value.ty));
    match value.ty {
        Type::Int { bits: 64, .. } => {
            finding.help(format!("cast it to what it points to: `((struct NAME *)...).{}`", name.text))
        }
        _ => finding,
    }
}

/// E0407: a field behind a pointer to something that has none.
pub(crate) fn no_fields_behind(value: &Expr, name: &Name) -> Diagnostic {
    let title = format!("`{}` does not point to a struct, so there is no `{}`", value.ty, name.text);
    let finding = Diagnostic::error("E0407", title, value.span, format!("`{}`", value.ty));
    match &value.ty {
        Type::Ptr { to, .. } if matches!(**to, Type::Ptr { .. }) => {
            finding.help("read the inner pointer first: `(*...)`")
        }
        _ => finding.help(format!("cast it: `((struct NAME *)...).{}`", name.text)),
    }
}

/// E0408: `*` of something that is no pointer.
pub(crate) fn not_a_pointer(value: &Expr, span: Span) -> Diagnostic {
    let finding = Diagnostic::error(
        "E0408",
        format!("`*` cannot be applied to `{}`", value.ty),
        span,
        "expected a pointer",
    );
    match value.ty {
        Type::Int { .. } => finding.help("say what is at that address: `*(uint64 *)...`"),
        _ => finding,
    }
}

/// E0408: reading through a pointer to nothing in particular.
pub(crate) fn void_pointer(value: &Expr) -> Diagnostic {
    Diagnostic::error("E0408", "what this points to is not known", value.span, format!("`{}`", value.ty))
        .help("say what is there: `*(uint64 *)...`, or `(struct NAME *)...`")
}

/// E0409: the two sides of `?:` have nothing in common.
pub(crate) fn ternary_mismatch(a: &Expr, b: &Expr) -> Diagnostic {
    let title = format!("the two values of `? :` have different types: `{}` and `{}`", a.ty, b.ty);
    Diagnostic::error("E0409", title, b.span, format!("expected `{}`, found `{}`", a.ty, b.ty))
        .because(a.span, format!("`{}`", a.ty))
}

/// E0410: indexing something that has no elements.
pub(crate) fn not_indexable(value: &Expr) -> Diagnostic {
    Diagnostic::error(
        "E0410",
        format!("`{}` has no elements", value.ty),
        value.span,
        "expected an array, a pointer or a tuple",
    )
}

/// E0410: an index that is no integer.
pub(crate) fn bad_index(index: &Expr) -> Diagnostic {
    Diagnostic::error(
        "E0410",
        format!("an index must be an integer, not `{}`", index.ty),
        index.span,
        "expected an integer",
    )
}

/// E0410: an index beyond the end.
pub(crate) fn index_out_of_bounds(span: Span, index: i128, of: &Type, len: u32) -> Diagnostic {
    Diagnostic::error("E0410", format!("`{of}` has no element {index}"), span, "out of bounds")
        .note(format!("elements are numbered from 0 to {}", len.saturating_sub(1)))
}

/// E0411: an index that must be known before the script runs.
pub(crate) fn index_not_constant(span: Span) -> Diagnostic {
    Diagnostic::error("E0411", "this index must be a constant", span, "known only when the script runs")
        .note("a tuple's elements have different types, so the index decides about the type")
}

/// E0412: changing a part of a value.
pub(crate) fn immutable(span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0412",
        "parts of a value cannot be assigned",
        span,
        "only variables and maps can be assigned",
    )
    .help("make a new value and assign it as a whole: `$x = (1, $x.1)`")
}

/// E0412: assigning a loop's variable.
pub(crate) fn assign_loop_variable(var: &Name, declared: Span) -> Diagnostic {
    Diagnostic::error(
        "E0412",
        format!("loop variable `${}` cannot be assigned", var.text),
        var.span,
        "set by the loop",
    )
    .because(declared, "the loop")
    .help("copy it to another variable")
}

/// E0412: assigning something that is no place.
pub(crate) fn not_a_place(span: Span) -> Diagnostic {
    Diagnostic::error("E0412", "this cannot be assigned", span, "expected a variable or a map")
}

/// E0413: comparing values of different kinds.
pub(crate) fn compare_mismatch(op: BinaryOp, a: &Expr, b: &Expr) -> Diagnostic {
    let op = operator(op);
    let title = format!("`{op}` cannot compare `{}` with `{}`", a.ty, b.ty);
    let finding = Diagnostic::error("E0413", title, b.span, format!("`{}`", b.ty))
        .because(a.span, format!("`{}`", a.ty));
    match (&a.ty, &b.ty) {
        (Type::Str { .. }, Type::Str { .. }) => finding.help("strings can be compared with `==` and `!=`"),
        (Type::Ptr { .. }, Type::Str { .. }) | (Type::Str { .. }, Type::Ptr { .. }) => {
            finding.help("read the text that the pointer points to: `str(...)`")
        }
        (Type::Int { bits: 64, .. }, Type::Str { .. }) | (Type::Str { .. }, Type::Int { bits: 64, .. }) => {
            finding.help("if the integer is an address of text, read it: `str(...)`")
        }
        (Type::Ksym | Type::Usym, _) | (_, Type::Ksym | Type::Usym) => {
            finding.help("compare the addresses, without `ksym` or `usym`")
        }
        (Type::Point(_), _) | (_, Type::Point(_)) => finding.help("compare `probe` itself, not a copy of it"),
        _ => finding,
    }
}

/// E0414: a type where a value belongs.
pub(crate) fn type_as_value(span: Span) -> Diagnostic {
    Diagnostic::error("E0414", "a type is not a value", span, "expected a value")
        .note("types are arguments of `sizeof` and `offsetof`")
}

/// E0414: a block used as a value that has none.
pub(crate) fn block_without_value(span: Span) -> Diagnostic {
    Diagnostic::error("E0414", "this block has no value", span, "its last statement ends with `;`")
        .help("end the block with an expression without `;`")
}

/// E0415: dividing by a constant zero.
pub(crate) fn division_by_zero(span: Span) -> Diagnostic {
    Diagnostic::error("E0415", "division by zero", span, "this is always zero")
}

/// E0416: a constant beyond 64 bits.
pub(crate) fn constant_overflow(span: Span) -> Diagnostic {
    Diagnostic::error("E0416", "this constant does not fit 64 bits", span, "overflow")
}

/// E0416: shifting by more bits than there are.
pub(crate) fn bad_shift(span: Span) -> Diagnostic {
    Diagnostic::error("E0416", "shift counts go from 0 to 63", span, "out of range")
}

/// E0417: the address of something that is not in memory.
pub(crate) fn no_address(span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0417",
        "this has no address",
        span,
        "expected a variable, a map, or something that was read through a pointer",
    )
    .help("take the address of a field: `&$p.FIELD`; keep the value in a variable: `$x = ...; &$x`")
}

/// E0417: the address of one value of a map with keys.
pub(crate) fn no_element_address(span: Span) -> Diagnostic {
    Diagnostic::error("E0417", "a map's elements have no address", span, "may be gone at any time")
        .help("keep the value in a variable: `$x = @map[key]; &$x`")
}

/// E0417: the address of what an aggregation keeps.
pub(crate) fn no_aggregation_address(agg: Agg, span: Span) -> Diagnostic {
    let title = format!("what `{}()` keeps has no address", agg.name());
    Diagnostic::error("E0417", title, span, "lies in pieces, one per CPU")
        .help("keep the value in a variable: `$x = (uint64)@map; &$x`")
}

/// E0418: something else where an integer belongs.
pub(crate) fn expected_integer(value: &Expr) -> Diagnostic {
    let title = format!("expected an integer, found `{}`", value.ty);
    let finding = Diagnostic::error("E0418", title, value.span, "not an integer");
    if matches!(value.ty, Type::Str { .. }) { finding } else { integer_help(finding, &value.ty) }
}

/// E0419: `string` for something that is none.
pub(crate) fn not_a_string_type(span: Span, value: &Type) -> Diagnostic {
    let finding = Diagnostic::error("E0419", format!("`{value}` is no string"), span, "declared as `string`");
    match value {
        Type::Ptr { .. } | Type::Int { bits: 64, .. } => {
            finding.help("read the text at an address: `str(...)`")
        }
        _ => finding,
    }
}

/// E0420: an array type whose size is nowhere to be found.
pub(crate) fn array_size_unknown(span: Span) -> Diagnostic {
    Diagnostic::error("E0420", "the array's size is not known", span, "no size here")
        .help("write it: `uint8[4]`")
}

/// E0420: an array of no elements, or of more than memql keeps.
pub(crate) fn array_size(span: Span, len: u64) -> Diagnostic {
    Diagnostic::error("E0420", format!("a size of {len} is not possible"), span, "out of range")
        .note(format!("values have 1 to {} bytes", crate::check::type_expr::MAX_VALUE_BYTES))
}

/// E0421: `unroll` by something that is not known before the script runs.
pub(crate) fn unroll_not_constant(span: Span) -> Diagnostic {
    Diagnostic::error("E0421", "`unroll` needs a constant", span, "known only when the script runs")
        .help("use a loop: `for $i : 0..N { ... }`")
}

/// E0421: `unroll` of no copies, or of very many.
pub(crate) fn unroll_count(span: Span, count: i128, most: i128) -> Diagnostic {
    Diagnostic::error(
        "E0421",
        format!("`unroll` makes 1 to {most} copies, not {count}"),
        span,
        "out of range",
    )
    .help("use a loop: `for $i : 0..N { ... }`")
}

/// E0422: `break` or `continue` without a loop.
pub(crate) fn jump_outside_loop(word: &str, span: Span) -> Diagnostic {
    let finding =
        Diagnostic::error("E0422", format!("`{word}` outside of a loop"), span, "no loop around it");
    finding.help("`return` leaves the probe")
}

/// E0422: `break` or `continue` in copies, which are no loop.
pub(crate) fn jump_in_unroll(word: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0422",
        format!("`{word}` inside of `unroll`"),
        span,
        "`unroll` makes copies, not a loop",
    )
    .help("use a loop: `for $i : 0..N { ... }`")
}

/// E0423: a value larger than memql keeps.
pub(crate) fn too_large(bytes: u64, span: Span) -> Diagnostic {
    let most = crate::check::type_expr::MAX_VALUE_BYTES;
    Diagnostic::error(
        "E0423",
        format!("this value has {bytes} bytes, {most} are the most"),
        span,
        "too large to be kept",
    )
    .help("keep the fields that are needed, or a pointer to it")
}

/// E0209: a member that is not within its struct, by what the kernel or the script says of it.
pub(crate) fn part_outside(whole: &Type, end: u64, span: Span) -> Diagnostic {
    let title = format!("this ends at byte {end} of `{whole}`, which has {}", whole.size());
    Diagnostic::error("E0209", title, span, "cannot be there")
}

/// E0423: a tuple of tuples of tuples without end.
pub(crate) fn too_many_parts(most: usize, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0423",
        format!("this tuple has more than {most} elements"),
        span,
        "too large to be kept",
    )
}

/// W0001: an implicit conversion that can change the value.
///
/// Of mixed signs, `int64` is what holds most values of both: very large unsigned values become
/// negative. A declared narrower type cuts bits off.
pub(crate) fn value_may_change(value: &Expr, to: &Type) -> Diagnostic {
    let title = format!("`{}` becomes `{to}`", value.ty);
    let label =
        if to.size() < value.ty.size() { "high bits are cut off" } else { "large values change their sign" };
    Diagnostic::warning("W0001", title, value.span, label).help(format!("say so on purpose: `({to})...`"))
}

/// W0002: a value that nobody uses.
pub(crate) fn discarded(span: Span) -> Diagnostic {
    Diagnostic::warning("W0002", "this value is not used", span, "computed and dropped")
        .help("assign it, or drop it on purpose: `_ = ...`")
}

/// E0409: writing more bytes than there are.
pub(crate) fn write_length(length: i128, size: u32, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0409",
        format!("{length} bytes of a value of {size}"),
        span,
        "expected 1 or more of its bytes",
    )
    .help(format!("write {size} bytes or fewer"))
}

/// E0424: a `comptime` value that is known only when the probe runs.
pub(crate) fn not_comptime(value: &Expr) -> Diagnostic {
    Diagnostic::error("E0424", "this value is not known when the script is compiled", value.span, "no constant")
        .help("leave out `comptime`; constants are literals, enumerators, `sizeof`, options and what is made of them")
}

/// E0425: a variable's bytes read as a type that has more of them.
pub(crate) fn larger_than_variable(to: &Type, value: &Expr, span: Span) -> Diagnostic {
    let title = format!("`{to}` has {} bytes, the variable {}", to.size(), value.ty.size());
    Diagnostic::error("E0425", title, span, "reads beyond the variable")
        .because(value.span, format!("`{}`", value.ty))
}
