//! E0216: what a pinned iterator cannot do, since the kernel makes its text when memql has ended.

use memql_grammar::ast::Span;

use crate::diagnostic::Diagnostic;
use crate::types::Type;

const CODE: &str = "E0216";

/// E0216: something that is asked of memql.
pub(crate) fn nobody_there(span: Span) -> Diagnostic {
    Diagnostic::error(
        CODE,
        "a pinned iterator prints with `printf` only",
        span,
        "memql would have to do this",
    )
    .note("it runs whenever its file is read, also when memql has ended")
    .help("leave the file out of the attach point, and memql reads the iterator itself: `iter:task`")
}

/// E0216: a conversion that the kernel does not have for this type.
pub(crate) fn conversion(ty: &Type, span: Span) -> Diagnostic {
    Diagnostic::error(
        CODE,
        format!("a pinned iterator cannot print this as the format asks: it is `{ty}`"),
        span,
        "the kernel makes the text",
    )
    .note("the kernel has `%d`, `%u`, `%x`, `%X`, `%p`, `%c` of numbers and `%s` of strings, with a width but no precision")
}
