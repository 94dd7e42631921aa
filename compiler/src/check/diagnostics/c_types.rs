//! E093x: C definitions and headers.

use memql_grammar::ast::{Name, Span};

use super::did_you_mean;
use crate::btf::BtfError;
use crate::diagnostic::Diagnostic;

/// E0931: a struct, union, enum or typedef that is defined twice.
pub(crate) fn defined_twice(what: &str, name: &Name, first: Span) -> Diagnostic {
    let title = format!("{what} `{}` is defined twice", name.text);
    Diagnostic::error("E0931", title, name.span, "defined again").because(first, "first here")
}

/// E0932: a member whose type has no size here.
pub(crate) fn incomplete(what: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0932", format!("`{what}` has no size here"), span, "not defined yet")
        .help(format!("define it above, or declare a pointer: `{what} *name;`"))
}

/// E0933: a size, width or enumerator that is no constant, or is out of range.
pub(crate) fn not_a_size(what: &str, span: Span) -> Diagnostic {
    Diagnostic::error("E0933", format!("{what} is no constant in range"), span, "not usable as one")
        .help("write a number, an enumerator, or a name that `#define` gives a number")
}

/// E0933: a bit-field of a type that cannot have any, or wider than its type.
pub(crate) fn bad_bit_field(span: Span) -> Diagnostic {
    Diagnostic::error("E0933", "a bit-field does not fit its type", span, "too wide, or of no integer type")
}

/// E0934: an attribute that has no meaning here.
pub(crate) fn unknown_attribute(name: &Name) -> Diagnostic {
    let title = format!("attribute `{}` is not known", name.text);
    Diagnostic::error("E0934", title, name.span, "changes no layout that memql knows")
        .note("known are `packed` and `aligned(N)`")
}

/// E0935: types that are larger than a script can use.
pub(crate) fn too_large(span: Span) -> Diagnostic {
    Diagnostic::error("E0935", "this type is too large", span, "more than 2 MiB, or 65535 members")
}

/// E0935: definitions that make no types together.
pub(crate) fn unreadable(error: &BtfError, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0935",
        format!("the types of this script cannot be used: {error}"),
        span,
        "with others",
    )
}

/// A name that nothing defines, in a script that includes headers.
pub(crate) fn after_includes(finding: Diagnostic, includes: &[(String, Span)]) -> Diagnostic {
    match includes {
        [] => finding,
        [(header, span), ..] => finding
            .because(*span, "headers are not read: types come from the kernel's BTF")
            .help(format!("if {header} has it, write the definition into the script: `struct NAME {{ ... }};`, `#define NAME value`")),
    }
}

/// E0307: a type in a C definition that does not exist.
pub(crate) fn unknown_c_type(name: &Name, close: &[String]) -> Diagnostic {
    let title = format!("there is no type `{}`", name.text);
    let finding = Diagnostic::error("E0307", title, name.span, "unknown type");
    did_you_mean(finding, "a type", close)
}
