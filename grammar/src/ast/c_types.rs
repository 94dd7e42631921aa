//! C definitions at the top of a script: structs, unions, enums, typedefs, and what is left of the
//! preprocessor's directives.

use super::{Expr, Name, Span};

/// A struct or union: defined where it has members, else only named.
#[derive(Clone, Debug, PartialEq)]
pub struct CRecord {
    /// Whether it is a union.
    pub is_union: bool,
    /// The tag; an anonymous one has none.
    pub name: Option<Name>,
    /// The members in order; `None` if this only names the type.
    pub members: Option<Vec<CMember>>,
    /// Its `__attribute__((...))`.
    pub attributes: Vec<CAttribute>,
    /// From the keyword to the brace or tag.
    pub span: Span,
}

/// An enum: defined where it has enumerators, else only named.
#[derive(Clone, Debug, PartialEq)]
pub struct CEnum {
    /// The tag; an anonymous one has none.
    pub name: Option<Name>,
    /// The enumerators in order, with their values where they are given; `None` if this only names the type.
    pub values: Option<Vec<(Name, Option<Expr>)>>,
    /// From the keyword to the brace or tag.
    pub span: Span,
}

/// `typedef TYPE NAME, ...;`
#[derive(Clone, Debug, PartialEq)]
pub struct CTypedef {
    /// The new names and their types.
    pub names: CMember,
    /// The whole definition.
    pub span: Span,
}

/// `TYPE DECLARATOR, ...;` in a struct; without declarators an anonymous struct or union.
#[derive(Clone, Debug, PartialEq)]
pub struct CMember {
    /// What all declarators begin with.
    pub base: CBase,
    /// What is declared.
    pub declarators: Vec<CDeclarator>,
    /// Where the type stands.
    pub span: Span,
}

/// The type before the declarators.
#[derive(Clone, Debug, PartialEq)]
pub enum CBase {
    /// `int`, `u32`, ...; multi-word C names are joined by one space.
    Named(Name),
    /// `struct x`, `struct x { ... }`, `union { ... }`
    Record(CRecord),
    /// `enum x`, `enum { ... }`
    Enum(CEnum),
}

/// `*name[2]`, `name : 3`, `(*name)(int)`.
#[derive(Clone, Debug, PartialEq)]
pub struct CDeclarator {
    /// The name; padding bits have none.
    pub name: Option<Name>,
    /// What makes the member's type of the base, in order: `*a[2][3]` is a pointer, then an array of three
    /// of them, then an array of two of those.
    pub modifiers: Vec<CModifier>,
    /// The width of a bit-field.
    pub bits: Option<Expr>,
    /// Its `__attribute__((...))`.
    pub attributes: Vec<CAttribute>,
    /// Where it stands.
    pub span: Span,
}

/// A step from a base type to a declared type.
#[derive(Clone, Debug, PartialEq)]
pub enum CModifier {
    /// `*`
    Pointer,
    /// `[N]`; without N, an array of unknown length at a struct's end.
    Array(Option<Expr>),
    /// `(parameters)`: a function.
    Function,
}

/// One of the names in `__attribute__((packed, aligned(8)))`.
#[derive(Clone, Debug, PartialEq)]
pub struct CAttribute {
    /// Its name.
    pub name: Name,
    /// Its argument.
    pub argument: Option<Expr>,
}

/// `#define NAME text` or `#define NAME(a, b) text`.
#[derive(Clone, Debug, PartialEq)]
pub struct Define {
    /// The name.
    pub name: Name,
    /// The parameters; `None` without parentheses.
    pub params: Option<Vec<Name>>,
    /// What it stands for, if that is an expression.
    pub value: Option<Expr>,
    /// The whole line.
    pub span: Span,
}

/// `#include <linux/fs.h>`: names a header, which is not read.
#[derive(Clone, Debug, PartialEq)]
pub struct Include {
    /// The header as written, with its brackets or quotes.
    pub header: String,
    /// The whole line.
    pub span: Span,
}
