//! Types as the language sees them.

use super::records::Kind;
use super::{Btf, MAX_CHAIN};
use crate::types::{AddrSpace, StructRef, Type};

/// So deep are pointers and arrays followed; below, a pointer is one to `void`.
const MAX_DEPTH: u32 = 16;

impl Btf {
    /// A type as the language sees it; `space` is the memory that its pointers point into.
    ///
    /// ```text
    /// char[N]                      string[N] (N > 0)
    /// T[N]                         array
    /// struct, union                by reference; a declared-only one by its definition if there is one
    /// T __user *                   pointer into user memory
    /// void *, function pointers    pointer to void
    /// 128-bit integers             array of two 64-bit ones, low half first
    /// void, float, functions       void: the language has no values of them
    /// ```
    pub fn lang_type(&self, id: u32, space: AddrSpace) -> Type {
        self.lang_within(id, space, MAX_DEPTH)
    }

    /// A struct or union, qualifiers and typedefs removed; `None` for other types.
    pub fn struct_ref(&self, id: u32) -> Option<StructRef> {
        let id = self.definition(self.resolve(id));
        let record = self.record(id)?;
        let (size, is_union) = match record.kind {
            Kind::Struct | Kind::Union => (record.size_or_type, record.kind == Kind::Union),
            // Declared only: its flag says that it is a union.
            Kind::Fwd => (0, record.flag),
            _ => return None,
        };
        Some(StructRef { name: self.string(record.name).to_owned(), id, size, is_union })
    }

    fn lang_within(&self, id: u32, space: AddrSpace, depth: u32) -> Type {
        let id = self.resolve(id);
        let Some(record) = self.record(id) else { return Type::Void };
        match record.kind {
            Kind::Int => self.lang_int(id),
            Kind::Enum | Kind::Enum64 => match record.size_or_type {
                bytes @ (1 | 2 | 4 | 8) => {
                    let (bits, signed) = (bytes as u8 * 8, record.flag);
                    Type::Enum { name: self.string(record.name).to_owned(), id, bits, signed }
                }
                _ => Type::Void,
            },
            Kind::Ptr => self.lang_pointer(record.size_or_type, space, depth),
            Kind::Array => {
                let array = record.array();
                self.lang_array(array.element, array.len, space, depth)
            }
            Kind::Struct | Kind::Union | Kind::Fwd => self.struct_ref(id).map_or(Type::Void, Type::Struct),
            Kind::Float | Kind::Func | Kind::FuncProto | Kind::Var | Kind::DataSec | Kind::DeclTag => {
                Type::Void
            }
            // `resolve` has removed them.
            Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => Type::Void,
        }
    }

    fn lang_int(&self, id: u32) -> Type {
        let Some(record) = self.record(id) else { return Type::Void };
        let int = record.int();
        match record.size_or_type {
            1 if int.bool => Type::Bool,
            bytes @ (1 | 2 | 4 | 8) => Type::Int { bits: bytes as u8 * 8, signed: int.signed },
            16 => Type::Array { elem: Box::new(Type::U64), len: 2 },
            _ => Type::Void,
        }
    }

    fn lang_pointer(&self, to: u32, space: AddrSpace, depth: u32) -> Type {
        let space = if self.has_tag(to, "user") { AddrSpace::User } else { space };
        let pointee = match depth.checked_sub(1) {
            Some(depth) => self.lang_within(to, space, depth),
            None => Type::Void,
        };
        Type::Ptr { to: Box::new(pointee), space }
    }

    fn lang_array(&self, element: u32, len: u32, space: AddrSpace, depth: u32) -> Type {
        let Some(depth) = depth.checked_sub(1) else { return Type::Void };
        if self.is_char(element) && len > 0 {
            return Type::Str { cap: len };
        }
        let bytes = self.sizeof(element).and_then(|size| size.checked_mul(len));
        match (bytes, self.lang_within(element, space, depth)) {
            (None, _) | (_, Type::Void) => Type::Void,
            (Some(_), elem) => Type::Array { elem: Box::new(elem), len },
        }
    }

    /// Whether values are text when there are several: C's `char`, but not `u8`.
    pub fn is_char(&self, id: u32) -> bool {
        let record = self.record(self.resolve(id));
        record.is_some_and(|r| r.kind == Kind::Int && r.size_or_type == 1 && self.string(r.name) == "char")
    }

    /// Whether a type tag of this name is among the modifiers.
    fn has_tag(&self, mut id: u32, tag: &str) -> bool {
        for _ in 0..MAX_CHAIN {
            match self.record(id) {
                Some(r) if r.kind == Kind::TypeTag && self.string(r.name) == tag => return true,
                Some(r) if r.kind.is_modifier() => id = r.size_or_type,
                Some(_) | None => return false,
            }
        }
        false
    }

    /// The full type of a struct or union that is only declared here, if there is one.
    fn definition(&self, id: u32) -> u32 {
        // What the base declares is its own, whatever is defined beside it.
        if let Some(base) = self.base().filter(|base| id < base.type_count()) {
            return base.definition(id);
        }
        let Some(record) = self.record(id).filter(|r| r.kind == Kind::Fwd) else { return id };
        let name = self.string(record.name);
        let found = if record.flag { self.union_named(name) } else { self.struct_named(name) };
        found.unwrap_or(id)
    }
}
