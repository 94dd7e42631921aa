//! What printing asks about types that the plan only refers to: names of enumerators, fields of
//! structs.

use memql_compiler::types::{StructRef, Type};

/// Names behind types: [`super::KernelNames`] has those of the kernel's BTF. Nothing is asked unless
/// such a value is printed.
pub trait TypeNames {
    /// The name of a value of the enumeration of this type id; `None` if it has no such enumerator.
    fn enumerator(&self, enumeration: u32, value: i64) -> Option<String>;

    /// The fields of a struct or union in order; `None` if they are not known. Members of anonymous
    /// members are listed as if they were the struct's own.
    fn fields(&self, of: &StructRef) -> Option<Vec<StructField>>;
}

/// One field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructField {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// Its byte offset; of a bit-field, of the byte that its lowest bit is in.
    pub offset: u32,
    /// Of a bit-field: its lowest bit in that byte, and its width in bits.
    pub bits: Option<(u8, u8)>,
}

/// Knows no names: enumerations print as numbers, structs as bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNames;

impl TypeNames for NoNames {
    fn enumerator(&self, _enumeration: u32, _value: i64) -> Option<String> {
        None
    }

    fn fields(&self, _of: &StructRef) -> Option<Vec<StructField>> {
        None
    }
}
