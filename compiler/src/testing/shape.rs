//! Types as facts write them, and how their values lie in memory: C's layout on a 64-bit machine.

use std::collections::BTreeMap;

use memql_grammar::ast::{FactField, NamedValue, Span, TypeBase, TypeExpr, TypeModifier};

use super::diagnostics::{self, Finding};
use crate::check::integer_named;
use crate::types::Type;

/// The largest value that a test may describe, in bytes.
const MAX_BYTES: u64 = 1 << 16;

/// How deep structs may lie within each other.
const MAX_DEPTH: usize = 32;

/// A type of a fact.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// An integer.
    Int {
        /// Its size.
        bytes: u32,
        /// Whether it is signed.
        signed: bool,
        /// As written.
        name: String,
    },
    /// `bool`
    Bool,
    /// Text: its place and form depend on where it stands.
    Text,
    /// An address.
    Pointer(Box<TypeExpr>),
    /// `T[N]`
    Array(Box<Shape>, u32),
    /// `char[N]`, `string[N]`
    Chars(u32),
    /// A declared struct or union.
    Record(RecordName),
    /// A declared enum, 4 bytes.
    Enum(String),
}

/// The tag of a struct or union.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecordName {
    /// The tag.
    pub tag: String,
    /// Whether it is a union.
    pub is_union: bool,
}

/// The declared structs, unions and enums.
#[derive(Clone, Debug, Default)]
pub(super) struct Records<'a> {
    /// Structs and unions.
    pub records: BTreeMap<RecordName, (&'a [FactField], Span)>,
    /// Enums.
    pub enums: BTreeMap<String, (&'a [NamedValue], Span)>,
}

/// A member of a struct.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Its name.
    pub name: String,
    /// Its type.
    pub shape: Shape,
    /// Bytes from the start.
    pub offset: u32,
}

impl Records<'_> {
    /// The shape of a type as written.
    pub fn shape(&self, ty: &TypeExpr) -> Result<Shape, Finding> {
        let (base, modifiers) = (&ty.base, ty.modifiers.as_slice());
        if let Some((TypeModifier::Pointer, inner)) = modifiers.split_last() {
            let to = TypeExpr { base: base.clone(), modifiers: inner.to_vec(), span: ty.span };
            return Ok(Shape::Pointer(Box::new(to)));
        }
        let wrong = |why: &str| diagnostics::fact_type(ty.span, why);
        if let Some((TypeModifier::Array(len), inner)) = modifiers.split_last() {
            let len = len.filter(|len| *len > 0).ok_or_else(|| wrong("an array needs a length"))?;
            if len > MAX_BYTES {
                return Err(wrong("it is too large"));
            }
            if let (TypeBase::Named(name), []) = (base, inner)
                && matches!(name.text.as_str(), "char" | "string")
            {
                return Ok(Shape::Chars(len as u32));
            }
            let elem =
                self.shape(&TypeExpr { base: base.clone(), modifiers: inner.to_vec(), span: ty.span })?;
            if elem == Shape::Text || u64::from(self.size(&elem, ty.span)?.0) * len > MAX_BYTES {
                return Err(wrong("it is too large, or of unknown size"));
            }
            return Ok(Shape::Array(Box::new(elem), len as u32));
        }
        match base {
            TypeBase::Named(name) => match name.text.as_str() {
                "string" => Ok(Shape::Text),
                "bool" | "_Bool" => Ok(Shape::Bool),
                text => match integer_named(text) {
                    Some(Type::Int { bits, signed }) => {
                        Ok(Shape::Int { bytes: u32::from(bits) / 8, signed, name: text.to_owned() })
                    }
                    _ => Err(wrong("it is not known")),
                },
            },
            TypeBase::Struct(name) | TypeBase::Union(name) => {
                let of = RecordName { tag: name.text.clone(), is_union: matches!(base, TypeBase::Union(_)) };
                match self.records.contains_key(&of) {
                    true => Ok(Shape::Record(of)),
                    false => Err(wrong("it is not declared")),
                }
            }
            TypeBase::Enum(name) => match self.enums.contains_key(&name.text) {
                true => Ok(Shape::Enum(name.text.clone())),
                false => Err(wrong("it is not declared")),
            },
            TypeBase::Typeof(_) | TypeBase::TypeofExpr(_) => Err(wrong("write the type itself")),
        }
    }

    /// Size and alignment in bytes. Text has the size of a pointer to it.
    pub fn size(&self, shape: &Shape, at: Span) -> Result<(u32, u32), Finding> {
        self.size_within(shape, at, MAX_DEPTH)
    }

    fn size_within(&self, shape: &Shape, at: Span, depth: usize) -> Result<(u32, u32), Finding> {
        Ok(match shape {
            Shape::Int { bytes, .. } => (*bytes, *bytes),
            Shape::Bool => (1, 1),
            Shape::Text | Shape::Pointer(_) => (8, 8),
            Shape::Enum(_) => (4, 4),
            Shape::Chars(len) => (*len, 1),
            Shape::Array(elem, len) => {
                let (size, align) = self.size_within(elem, at, depth)?;
                (size.saturating_mul(*len), align)
            }
            Shape::Record(of) => self.layout(of, at, depth).map(|(_, size, align)| (size, align))?,
        })
    }

    /// The members of a struct or union.
    pub fn members(&self, of: &RecordName, at: Span) -> Result<Vec<Member>, Finding> {
        self.layout(of, at, MAX_DEPTH).map(|(members, _, _)| members)
    }

    fn layout(&self, of: &RecordName, at: Span, depth: usize) -> Result<(Vec<Member>, u32, u32), Finding> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(diagnostics::fact_type(at, "it contains itself, or nests too deeply"));
        };
        let fields = self.records.get(of).map_or(&[][..], |(fields, _)| *fields);
        let (mut members, mut end, mut largest) = (Vec::new(), 0u32, 1u32);
        for FactField { name, ty } in fields {
            let shape = self.shape(ty)?;
            if shape == Shape::Text {
                return Err(diagnostics::fact_type(ty.span, "a member's text is `char[N]` or `char *`"));
            }
            let (size, align) = self.size_within(&shape, ty.span, depth)?;
            let offset = if of.is_union { 0 } else { end.next_multiple_of(align) };
            end = end.max(offset.saturating_add(size));
            if u64::from(end) > MAX_BYTES {
                return Err(diagnostics::fact_type(ty.span, "the struct is too large"));
            }
            largest = largest.max(align);
            members.push(Member { name: name.text.clone(), shape, offset });
        }
        Ok((members, end.next_multiple_of(largest), largest))
    }
}

/// A type as C writes it.
pub(super) fn c_text(ty: &TypeExpr) -> String {
    let mut text = match &ty.base {
        TypeBase::Named(name) => name.text.clone(),
        TypeBase::Struct(name) => format!("struct {}", name.text),
        TypeBase::Union(name) => format!("union {}", name.text),
        TypeBase::Enum(name) => format!("enum {}", name.text),
        TypeBase::Typeof(_) | TypeBase::TypeofExpr(_) => "typeof".to_owned(),
    };
    let pointers = ty.modifiers.iter().filter(|m| **m == TypeModifier::Pointer).count();
    if pointers > 0 {
        text.push(' ');
        text.push_str(&"*".repeat(pointers));
    }
    text
}
