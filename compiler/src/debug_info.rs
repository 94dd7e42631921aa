//! What the debug information of a program or library says of a function or a type, as a target gives it.
//!
//! Types refer to each other by their place in a table, since a struct may point to itself.

/// So deep are types followed.
const MAX_DEPTH: u32 = 32;

/// Types that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DebugTypes {
    types: Vec<DebugType>,
}

/// A type of a [`DebugTypes`], or `void`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TypeRef(u32);

impl TypeRef {
    /// `void`
    pub const VOID: TypeRef = TypeRef(0);

    /// Its place in the table; `None` for `void`.
    pub fn index(self) -> Option<usize> {
        (self.0 as usize).checked_sub(1)
    }
}

/// One type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DebugType {
    /// An integer, characters included.
    Int {
        /// As the language calls it.
        name: String,
        /// Its size.
        bytes: u32,
        /// Whether it is signed.
        signed: bool,
    },
    /// A truth value.
    Bool {
        /// As the language calls it.
        name: String,
        /// Its size.
        bytes: u32,
    },
    /// A floating-point number.
    Float {
        /// As the language calls it.
        name: String,
        /// Its size.
        bytes: u32,
    },
    /// A pointer or reference.
    Pointer(TypeRef),
    /// `const`
    Const(TypeRef),
    /// `volatile`
    Volatile(TypeRef),
    /// Another name; empty for a qualifier that does not matter.
    Typedef {
        /// The name.
        name: String,
        /// The type.
        to: TypeRef,
    },
    /// An array.
    Array {
        /// Of what.
        element: TypeRef,
        /// How many; 0 where it is not known.
        len: u32,
    },
    /// A struct, class or union.
    Aggregate {
        /// Its tag; empty for an anonymous one.
        name: String,
        /// Whether it is a union.
        is_union: bool,
        /// Its size.
        bytes: u32,
        /// Its members, in order.
        members: Vec<DebugMember>,
        /// Whether functions take and give its address in its place, as C++ has it for some classes.
        by_reference: bool,
    },
    /// A struct or union that is declared only.
    Forward {
        /// Its tag.
        name: String,
        /// Whether it is a union.
        is_union: bool,
    },
    /// An enum.
    Enum {
        /// Its tag; empty for an anonymous one.
        name: String,
        /// Its size.
        bytes: u32,
        /// Its enumerators.
        values: Vec<(String, i64)>,
    },
    /// What the language has no values of: functions, say.
    Opaque,
}

/// A member of a struct or union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebugMember {
    /// Its name; empty for an anonymous one.
    pub name: String,
    /// Its type.
    pub type_ref: TypeRef,
    /// Bits from the start.
    pub bit_offset: u32,
    /// Size in bits of a bit-field, else 0.
    pub bits: u32,
}

/// What a function takes and gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The types that it is about.
    pub types: DebugTypes,
    /// Its parameters, in order.
    pub parameters: Vec<Parameter>,
    /// Its result.
    pub result: TypeRef,
}

/// A parameter of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its type.
    pub type_ref: TypeRef,
}

/// Where the code of a line of source is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinePlaces {
    /// Addresses, as the file has them, of statements that begin there; sorted.
    pub addresses: Vec<u64>,
    /// Whether any code is from such a file.
    pub file_known: bool,
    /// Lines, with columns, that have code: all of the file, or those of the line if a column was asked for.
    pub others: Vec<(u64, u64)>,
}

impl DebugTypes {
    /// A place for a type that is defined later.
    pub fn reserve(&mut self) -> TypeRef {
        self.types.push(DebugType::Opaque);
        TypeRef(self.types.len() as u32)
    }

    /// Defines the type of a place.
    pub fn define(&mut self, at: TypeRef, of: DebugType) {
        if let Some(place) = at.index().and_then(|index| self.types.get_mut(index)) {
            *place = of;
        }
    }

    /// A type; `None` for `void`.
    pub fn get(&self, at: TypeRef) -> Option<&DebugType> {
        self.types.get(at.index()?)
    }

    /// A type by its keyword (`struct`, `union`, `enum`, or nothing for a typedef) and name.
    pub fn named(&self, keyword: &str, wanted: &str) -> Option<TypeRef> {
        let at = self.types.iter().position(|of| match of {
            DebugType::Aggregate { name, is_union, .. } => {
                name == wanted && keyword == if *is_union { "union" } else { "struct" }
            }
            DebugType::Enum { name, .. } => name == wanted && keyword == "enum",
            DebugType::Typedef { name, .. } => name == wanted && keyword.is_empty(),
            _ => false,
        });
        at.map(|at| TypeRef(at as u32 + 1))
    }

    /// The type without its other names and qualifiers.
    pub fn plain(&self, at: TypeRef) -> TypeRef {
        let mut at = at;
        for _ in 0..MAX_DEPTH {
            match self.get(at) {
                Some(DebugType::Const(to) | DebugType::Volatile(to) | DebugType::Typedef { to, .. }) => {
                    at = *to
                }
                Some(_) | None => return at,
            }
        }
        TypeRef::VOID
    }

    /// The size of a type; 0 where it has none.
    pub fn bytes(&self, at: TypeRef) -> u32 {
        match self.get(self.plain(at)) {
            Some(
                DebugType::Int { bytes, .. }
                | DebugType::Bool { bytes, .. }
                | DebugType::Float { bytes, .. }
                | DebugType::Aggregate { bytes, .. }
                | DebugType::Enum { bytes, .. },
            ) => *bytes,
            Some(DebugType::Pointer(_)) => 8,
            Some(DebugType::Array { element, len }) => match self.get(self.plain(*element)) {
                // A chain of arrays that does not end has no size.
                Some(DebugType::Array { .. }) => 0,
                _ => self.bytes(*element).saturating_mul(*len),
            },
            Some(_) | None => 0,
        }
    }

    /// A type as C writes it, its qualifiers first and its pointers last: `const char*`, `struct foo*[4]`.
    pub fn c_name(&self, at: TypeRef) -> String {
        self.c_name_within(at, MAX_DEPTH)
    }

    fn c_name_within(&self, at: TypeRef, depth: u32) -> String {
        let Some(of) = self.get(at) else { return "void".to_owned() };
        let Some(depth) = depth.checked_sub(1) else { return "...".to_owned() };
        let inner = |at: TypeRef| self.c_name_within(at, depth);
        let tagged = |keyword: &str, name: &str| match name {
            "" => format!("{keyword} {{...}}"),
            name => format!("{keyword} {name}"),
        };
        let aggregate = |is_union: bool| if is_union { "union" } else { "struct" };
        match of {
            DebugType::Int { name, .. } | DebugType::Bool { name, .. } | DebugType::Float { name, .. } => {
                name.clone()
            }
            DebugType::Pointer(to) => format!("{}*", inner(*to)),
            // A qualifier of a pointer stands behind it, of anything else before it.
            DebugType::Const(to) | DebugType::Volatile(to) => {
                let word = if matches!(of, DebugType::Const(_)) { "const" } else { "volatile" };
                match self.get(*to) {
                    Some(DebugType::Pointer(_)) => format!("{} {word}", inner(*to)),
                    _ => format!("{word} {}", inner(*to)),
                }
            }
            DebugType::Typedef { name, to } => {
                if name.is_empty() {
                    inner(*to)
                } else {
                    name.clone()
                }
            }
            DebugType::Array { element, len } => format!("{}[{len}]", inner(*element)),
            DebugType::Aggregate { name, is_union, .. } | DebugType::Forward { name, is_union } => {
                tagged(aggregate(*is_union), name)
            }
            DebugType::Enum { name, .. } => tagged("enum", name),
            DebugType::Opaque => "void".to_owned(),
        }
    }

    /// How many types there are.
    pub fn len(&self) -> usize {
        self.types.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// All types, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = &DebugType> {
        self.types.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_written_as_in_c() {
        let mut types = DebugTypes::default();
        let mut add = |of: DebugType| {
            let at = types.reserve();
            types.define(at, of);
            at
        };
        let char = add(DebugType::Int { name: "char".into(), bytes: 1, signed: true });
        let constant = add(DebugType::Const(char));
        let text = add(DebugType::Pointer(constant));
        let foo = add(DebugType::Forward { name: "foo".into(), is_union: false });
        let pointer = add(DebugType::Pointer(foo));
        let array = add(DebugType::Array { element: pointer, len: 4 });
        let fixed = add(DebugType::Const(pointer));
        let void = add(DebugType::Pointer(TypeRef::VOID));
        let names = [text, foo, array, fixed, void].map(|at| types.c_name(at));
        assert_eq!(names, ["const char*", "struct foo", "struct foo*[4]", "struct foo* const", "void*"]);
    }

    #[test]
    fn a_type_that_refers_to_itself_has_a_name_that_ends() {
        let mut types = DebugTypes::default();
        let at = types.reserve();
        types.define(at, DebugType::Pointer(at));
        assert!(types.c_name(at).starts_with("...*"));
    }
}
