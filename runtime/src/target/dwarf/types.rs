//! Types, copied out of debug information with everything that they refer to.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use gimli::{AttributeValue, DebuggingInformationEntry, UnitOffset, constants as dw};
use memql_compiler::debug_info::{DebugMember, DebugType, DebugTypes, TypeRef};

use super::{Failed, Info, LoadedUnit, Reader};

/// More types than any function's arguments mean; beyond, structs are declared only.
const MAX_TYPES: usize = 20_000;

type Entry = DebuggingInformationEntry<Reader>;

/// An entry of a unit.
#[derive(Clone)]
pub struct Place {
    /// The unit.
    pub unit: Rc<LoadedUnit>,
    /// The entry's offset in it.
    pub offset: UnitOffset,
}

/// Collects types: those that were asked for, then those that they refer to.
pub struct Collector<'a> {
    info: &'a Info,
    types: DebugTypes,
    known: HashMap<(usize, usize), TypeRef>,
    left: VecDeque<(TypeRef, Place)>,
}

/// A type by its keyword and name: the first that is defined.
pub fn named(info: &Info, keyword: &str, name: &str) -> Result<Option<(DebugTypes, TypeRef)>, Failed> {
    let tags: &[gimli::DwTag] = match keyword {
        "struct" => &[dw::DW_TAG_structure_type, dw::DW_TAG_class_type],
        "union" => &[dw::DW_TAG_union_type],
        "enum" => &[dw::DW_TAG_enumeration_type],
        _ => &[dw::DW_TAG_typedef],
    };
    for index in 0..info.headers.len() {
        let unit = info.unit(index)?;
        let mut entries = unit.unit().entries();
        while let Some(entry) = entries.next_dfs()? {
            if !tags.contains(&entry.tag()) || entry.has_attr(dw::DW_AT_declaration) {
                continue;
            }
            let Some(attr) = entry.attr_value(dw::DW_AT_name) else { continue };
            if super::text(&unit.dwarf().attr_string(unit.unit(), attr)?) != name {
                continue;
            }
            let mut types = Collector::new(info);
            let place = Place { unit: unit.clone(), offset: entry.offset() };
            let found = types.add(place);
            return Ok(Some((types.finish()?, found)));
        }
    }
    Ok(None)
}

impl<'a> Collector<'a> {
    /// No types yet.
    pub fn new(info: &'a Info) -> Collector<'a> {
        Collector { info, types: DebugTypes::default(), known: HashMap::new(), left: VecDeque::new() }
    }

    /// All types, once everything that they refer to is among them.
    pub fn finish(mut self) -> Result<DebugTypes, Failed> {
        while let Some((at, place)) = self.left.pop_front() {
            let read = self.read(&place)?;
            self.types.define(at, read);
        }
        Ok(self.types)
    }

    /// The type that an attribute refers to.
    pub fn refer(&mut self, unit: &Rc<LoadedUnit>, value: AttributeValue<Reader>) -> Result<TypeRef, Failed> {
        Ok(match self.place(unit, value)? {
            Some(place) => self.add(place),
            None => TypeRef::VOID,
        })
    }

    /// The entry that an attribute refers to; `None` for one in a file that is not at hand.
    pub fn place(
        &self,
        unit: &Rc<LoadedUnit>,
        value: AttributeValue<Reader>,
    ) -> Result<Option<Place>, Failed> {
        match value {
            AttributeValue::UnitRef(offset) => Ok(Some(Place { unit: unit.clone(), offset })),
            AttributeValue::DebugInfoRef(offset) => {
                let Some(unit) = self.info.unit_around(offset.0)? else { return Ok(None) };
                let offset = offset.to_unit_offset(&unit.skeleton.header);
                Ok(offset.map(|offset| Place { unit, offset }))
            }
            _ => Ok(None),
        }
    }

    fn add(&mut self, place: Place) -> TypeRef {
        let key = (place.unit.index, place.offset.0);
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let at = self.types.reserve();
        self.known.insert(key, at);
        self.left.push_back((at, place));
        at
    }

    fn read(&mut self, place: &Place) -> Result<DebugType, Failed> {
        let unit = &place.unit;
        let entry = unit.unit().entry(place.offset)?;
        let name = match entry.attr_value(dw::DW_AT_name) {
            Some(name) => super::text(&unit.dwarf().attr_string(unit.unit(), name)?),
            None => String::new(),
        };
        let bytes = number(&entry, dw::DW_AT_byte_size).unwrap_or(0);
        let to = |this: &mut Self| match entry.attr_value(dw::DW_AT_type) {
            Some(to) => this.refer(unit, to),
            None => Ok(TypeRef::VOID),
        };
        Ok(match entry.tag() {
            dw::DW_TAG_base_type => base(&entry, name, bytes as u32),
            dw::DW_TAG_pointer_type | dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type => {
                DebugType::Pointer(to(self)?)
            }
            dw::DW_TAG_const_type => DebugType::Const(to(self)?),
            dw::DW_TAG_volatile_type => DebugType::Volatile(to(self)?),
            dw::DW_TAG_restrict_type | dw::DW_TAG_atomic_type => {
                DebugType::Typedef { name: String::new(), to: to(self)? }
            }
            dw::DW_TAG_typedef => DebugType::Typedef { name, to: to(self)? },
            dw::DW_TAG_array_type => {
                let element = to(self)?;
                self.array(place, element)?
            }
            dw::DW_TAG_enumeration_type => {
                DebugType::Enum { name, bytes: bytes as u32, values: values(place)? }
            }
            tag @ (dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type) => {
                let is_union = tag == dw::DW_TAG_union_type;
                if entry.has_attr(dw::DW_AT_declaration) || self.types.len() > MAX_TYPES {
                    return Ok(DebugType::Forward { name, is_union });
                }
                let by_reference = entry.attr_value(dw::DW_AT_calling_convention).is_some_and(|value| {
                    matches!(value, AttributeValue::CallingConvention(dw::DW_CC_pass_by_reference))
                });
                let members = self.members(place)?;
                DebugType::Aggregate { name, is_union, bytes: bytes as u32, members, by_reference }
            }
            // Functions are only pointed to; the rest (pointers to members, say) is not read.
            _ => DebugType::Opaque,
        })
    }

    /// An array: its dimensions, the last innermost.
    fn array(&mut self, place: &Place, element: TypeRef) -> Result<DebugType, Failed> {
        let mut lengths = Vec::new();
        let mut tree = place.unit.unit().entries_tree(Some(place.offset))?;
        let mut children = tree.root()?.children();
        while let Some(child) = children.next()? {
            let entry = child.entry();
            if entry.tag() == dw::DW_TAG_subrange_type {
                let upper = number(entry, dw::DW_AT_upper_bound).map(|last| last.wrapping_add(1));
                lengths.push(number(entry, dw::DW_AT_count).or(upper).unwrap_or(0) as u32);
            }
        }
        let outermost = if lengths.is_empty() { 0 } else { lengths.remove(0) };
        let mut element = element;
        for len in lengths.into_iter().rev() {
            let at = self.types.reserve();
            self.types.define(at, DebugType::Array { element, len });
            element = at;
        }
        Ok(DebugType::Array { element, len: outermost })
    }

    fn members(&mut self, place: &Place) -> Result<Vec<DebugMember>, Failed> {
        let unit = &place.unit;
        let mut tree = unit.unit().entries_tree(Some(place.offset))?;
        let mut children = tree.root()?.children();
        let mut members = Vec::new();
        while let Some(child) = children.next()? {
            let entry = child.entry();
            // What a class inherits lies in it like an anonymous member.
            if !matches!(entry.tag(), dw::DW_TAG_member | dw::DW_TAG_inheritance)
                || entry.has_attr(dw::DW_AT_external)
                || entry.has_attr(dw::DW_AT_const_value)
                || entry.has_attr(dw::DW_AT_declaration)
            {
                continue;
            }
            let name = match entry.attr_value(dw::DW_AT_name) {
                Some(name) => super::text(&unit.dwarf().attr_string(unit.unit(), name)?),
                None => String::new(),
            };
            let Some(of) = entry.attr_value(dw::DW_AT_type) else { continue };
            let Some((bit_offset, bits)) = position(entry) else { continue };
            members.push(DebugMember { name, type_ref: self.refer(unit, of)?, bit_offset, bits });
        }
        Ok(members)
    }
}

fn base(entry: &Entry, name: String, bytes: u32) -> DebugType {
    let encoding = match entry.attr_value(dw::DW_AT_encoding) {
        Some(AttributeValue::Encoding(encoding)) => encoding,
        _ => return DebugType::Opaque,
    };
    match encoding {
        dw::DW_ATE_boolean => DebugType::Bool { name, bytes },
        dw::DW_ATE_signed | dw::DW_ATE_signed_char => DebugType::Int { name, bytes, signed: true },
        dw::DW_ATE_unsigned | dw::DW_ATE_unsigned_char | dw::DW_ATE_UTF | dw::DW_ATE_address => {
            DebugType::Int { name, bytes, signed: false }
        }
        dw::DW_ATE_float => DebugType::Float { name, bytes },
        _ => DebugType::Opaque,
    }
}

fn values(place: &Place) -> Result<Vec<(String, i64)>, Failed> {
    let unit = &place.unit;
    let mut tree = unit.unit().entries_tree(Some(place.offset))?;
    let mut children = tree.root()?.children();
    let mut values = Vec::new();
    while let Some(child) = children.next()? {
        let entry = child.entry();
        let (Some(name), Some(value)) = (entry.attr_value(dw::DW_AT_name), entry.attr(dw::DW_AT_const_value))
        else {
            continue;
        };
        let value = value.sdata_value().or_else(|| value.udata_value().map(|v| v as i64));
        let name = super::text(&unit.dwarf().attr_string(unit.unit(), name)?);
        values.extend(value.map(|value| (name, value)));
    }
    Ok(values)
}

/// Where a member is: the first bit, and how many for a bit-field. `None` where only running code can tell.
fn position(entry: &Entry) -> Option<(u32, u32)> {
    let bits = number(entry, dw::DW_AT_bit_size).unwrap_or(0) as u32;
    if let Some(offset) = number(entry, dw::DW_AT_data_bit_offset) {
        return Some((u32::try_from(offset).ok()?, bits));
    }
    let byte = match entry.attr(dw::DW_AT_data_member_location) {
        // Members of unions need none.
        None => 0,
        Some(attr) => attr.udata_value()?,
    };
    let first = u32::try_from(byte.checked_mul(8)?).ok()?;
    // Before DWARF 4, bit-fields were counted from the most significant bit of their unit.
    match (number(entry, dw::DW_AT_bit_offset), number(entry, dw::DW_AT_byte_size)) {
        (Some(from_top), Some(unit)) => {
            let from_bottom = unit.checked_mul(8)?.checked_sub(from_top)?.checked_sub(bits.into())?;
            Some((first.checked_add(u32::try_from(from_bottom).ok()?)?, bits))
        }
        _ => Some((first, bits)),
    }
}

fn number(entry: &Entry, name: gimli::DwAt) -> Option<u64> {
    entry.attr(name)?.udata_value()
}
