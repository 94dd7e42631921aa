//! A function's parameters and result.

use std::rc::Rc;

use gimli::{AttributeValue, UnitOffset, constants as dw};
use memql_compiler::debug_info::{Parameter, Signature, TypeRef};

use super::types::{Collector, Place};
use super::{Failed, Info, LoadedUnit};

/// So many references to where a function was declared are followed.
const MAX_ORIGINS: usize = 8;

/// The parameters and result of the function whose code begins at an address.
pub fn signature(info: &Info, address: u64) -> Result<Option<Signature>, Failed> {
    let Some(unit) = info.unit_at(address)? else { return Ok(None) };
    let Some(function) = function_at(&unit, address)? else { return Ok(None) };
    let mut types = Collector::new(info);
    let function = Place { unit: unit.clone(), offset: function };
    let result = types.type_of(&function)?;
    let mut parameters = Vec::new();
    for parameter in parameters_of(&unit, function.offset)? {
        let place = Place { unit: unit.clone(), offset: parameter };
        let name = types.name_of(&place)?;
        let type_ref = types.type_of(&place)?;
        parameters.push(Parameter { name, type_ref });
    }
    let types = types.finish()?;
    Ok(Some(Signature { types, parameters, result }))
}

fn function_at(unit: &Rc<LoadedUnit>, address: u64) -> Result<Option<UnitOffset>, Failed> {
    let mut entries = unit.unit().entries();
    while let Some(entry) = entries.next_dfs()? {
        if entry.tag() != dw::DW_TAG_subprogram {
            continue;
        }
        let Some(low) = entry.attr_value(dw::DW_AT_low_pc) else { continue };
        if unit.dwarf().attr_address(unit.unit(), low)? == Some(address) {
            return Ok(Some(entry.offset()));
        }
    }
    Ok(None)
}

fn parameters_of(unit: &LoadedUnit, function: UnitOffset) -> Result<Vec<UnitOffset>, Failed> {
    let mut tree = unit.unit().entries_tree(Some(function))?;
    let mut children = tree.root()?.children();
    let mut found = Vec::new();
    while let Some(child) = children.next()? {
        if child.entry().tag() == dw::DW_TAG_formal_parameter {
            found.push(child.entry().offset());
        }
    }
    Ok(found)
}

/// An attribute's value, and the unit whose words it is in.
type Attribute = (Rc<LoadedUnit>, AttributeValue<super::Reader>);

impl Collector<'_> {
    /// An attribute of an entry, or of the entry that declares what it defines.
    fn attribute(&self, place: &Place, name: gimli::DwAt) -> Result<Option<Attribute>, Failed> {
        let mut place = place.clone();
        for _ in 0..MAX_ORIGINS {
            let entry = place.unit.unit().entry(place.offset)?;
            if let Some(value) = entry.attr_value(name) {
                return Ok(Some((place.unit.clone(), value)));
            }
            let origin = entry
                .attr_value(dw::DW_AT_abstract_origin)
                .or_else(|| entry.attr_value(dw::DW_AT_specification));
            let next = origin.map(|origin| self.place(&place.unit, origin)).transpose()?.flatten();
            match next {
                Some(next) => place = next,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The name of what an entry defines; empty without.
    pub fn name_of(&self, place: &Place) -> Result<String, Failed> {
        match self.attribute(place, dw::DW_AT_name)? {
            Some((unit, name)) => Ok(super::text(&unit.dwarf().attr_string(unit.unit(), name)?)),
            None => Ok(String::new()),
        }
    }

    /// The type of what an entry defines; `void` without.
    pub fn type_of(&mut self, place: &Place) -> Result<TypeRef, Failed> {
        match self.attribute(place, dw::DW_AT_type)? {
            Some((unit, of)) => self.refer(&unit, of),
            None => Ok(TypeRef::VOID),
        }
    }
}
