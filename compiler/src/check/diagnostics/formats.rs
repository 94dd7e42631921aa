//! E065x: formats of `printf` and the like.

use memql_grammar::ast::{Name, Span};

use super::counted;
use crate::diagnostic::Diagnostic;
use crate::format::{CONVERSIONS, FormatError};
use crate::hir::Expr;
use crate::plan::{Conversion, Verb};
use crate::types::Type;

/// E0650: a `%` that begins no conversion.
pub(crate) fn bad_conversion(error: &FormatError, span: Span) -> Diagnostic {
    Diagnostic::error(
        "E0650",
        format!("`{}` is no conversion", error.conversion),
        span,
        error.message.clone(),
    )
    .note(format!("conversions: {CONVERSIONS}"))
    .help("write `%%` for a percent sign")
}

/// E0651: a format with more or fewer conversions than there are arguments.
pub(crate) fn count(name: &Name, wanted: usize, given: usize, format: Span, span: Span) -> Diagnostic {
    let title = format!("the format of `{}` takes {}, {given} given", name.text, counted(wanted, "argument"));
    let finding = Diagnostic::error("E0651", title, format, counted(wanted, "conversion"))
        .because(span, counted(given, "argument"));
    if wanted < given {
        finding.help("add a conversion for each argument, such as `%d` or `%s`")
    } else {
        finding.help("add the missing arguments; a percent sign is written `%%`")
    }
}

/// How a conversion is written.
fn written(conversion: &Conversion) -> &'static str {
    match conversion.verb {
        Verb::Signed => "%d",
        Verb::Unsigned => "%u",
        Verb::Hex => "%x",
        Verb::HexUpper => "%X",
        Verb::Octal => "%o",
        Verb::Pointer => "%p",
        Verb::Char => "%c",
        Verb::Text => "%s",
        Verb::EscapedHex => "%r",
        Verb::SpacedHex => "%rh",
        Verb::GfpFlags => "%gr",
    }
}

/// E0652: a value that the conversion cannot print.
pub(crate) fn does_not_fit(value: &Expr, conversion: &Conversion, format: Span) -> Diagnostic {
    let verb = written(conversion);
    let title = format!("`{verb}` cannot print `{}`", value.ty);
    let wants = match conversion.verb {
        Verb::EscapedHex | Verb::SpacedHex => "expected a buffer",
        Verb::Text => "has no text form",
        _ => "expected an integer",
    };
    let finding =
        Diagnostic::error("E0652", title, value.span, wants).because(format, format!("`{verb}` here"));
    match (conversion.verb, &value.ty) {
        (_, Type::Struct(_)) => finding.help("print its fields: `.FIELD`"),
        (Verb::EscapedHex | Verb::SpacedHex, _) => finding.help("make it a buffer: `buf(ADDRESS, LENGTH)`"),
        (_, Type::Buf { .. }) => finding.help("use `%r`"),
        _ => finding.help("use `%s`"),
    }
}

/// W0006: a pointer to text is printed as an address.
pub(crate) fn pointer_as_text(value: &Expr) -> Diagnostic {
    Diagnostic::warning(
        "W0006",
        "this prints the address, not the text",
        value.span,
        format!("`{}`", value.ty),
    )
    .help("read the text that it points to: `str(...)`")
}
