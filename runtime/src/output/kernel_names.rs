//! Names of enumerators and fields, from the kernel's BTF and the script's definitions.

use std::cell::RefCell;
use std::collections::HashMap;

use memql_compiler::btf::{Btf, Field};
use memql_compiler::target::Target;
use memql_compiler::types::{AddrSpace, StructRef};

use super::names::{StructField, TypeNames};

/// Reads names from a target's BTF, each enumeration and struct once. A target without BTF has none.
pub struct KernelNames<'t> {
    target: &'t dyn Target,
    /// The script's types with the kernel's, if it defines any.
    types: Option<Btf>,
    enumerations: RefCell<HashMap<u32, HashMap<i64, String>>>,
    structs: RefCell<HashMap<u32, Option<Vec<StructField>>>>,
}

impl<'t> KernelNames<'t> {
    /// Names of the types of a plan, or else of a target. Its BTF is read when the first name is asked for.
    pub fn new(target: &'t dyn Target, types: Option<Btf>) -> KernelNames<'t> {
        KernelNames { target, types, enumerations: RefCell::default(), structs: RefCell::default() }
    }

    fn btf(&self) -> Option<&Btf> {
        match &self.types {
            Some(types) => Some(types),
            None => self.target.btf().ok(),
        }
    }

    fn read_enumeration(&self, id: u32) -> HashMap<i64, String> {
        let Some(btf) = self.btf() else { return HashMap::new() };
        let mut names = HashMap::new();
        for (name, value) in btf.enum_values_of(id) {
            // Of several names for one number, the first.
            names.entry(value).or_insert(name);
        }
        names
    }

    fn read_struct(&self, id: u32) -> Option<Vec<StructField>> {
        let btf = self.btf()?;
        let field = |field: Field| {
            let Field { name, type_id, bit_offset, bitfield_bits } = field;
            StructField {
                name,
                // Which memory a pointer in it is of does not matter to printing it.
                ty: btf.lang_type(type_id, AddrSpace::Unknown),
                offset: bit_offset / 8,
                bits: bitfield_bits.map(|width| ((bit_offset % 8) as u8, width)),
            }
        };
        Some(btf.fields(id).into_iter().map(field).collect())
    }
}

impl TypeNames for KernelNames<'_> {
    fn enumerator(&self, enumeration: u32, value: i64) -> Option<String> {
        let mut known = self.enumerations.borrow_mut();
        let names = known.entry(enumeration).or_insert_with(|| self.read_enumeration(enumeration));
        names.get(&value).cloned()
    }

    fn fields(&self, of: &StructRef) -> Option<Vec<StructField>> {
        self.structs.borrow_mut().entry(of.id).or_insert_with(|| self.read_struct(of.id)).clone()
    }
}
