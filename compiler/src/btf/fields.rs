//! Members of structs and unions.

use super::records::{Kind, Member, Record};
use super::{Btf, MAX_CHAIN};

/// A member of a struct or union, seen from the outermost one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type's id.
    pub type_id: u32,
    /// Bits from the start of the struct that was asked about.
    pub bit_offset: u32,
    /// Size in bits, for a bit-field.
    pub bitfield_bits: Option<u8>,
}

/// At most so many members are looked at for one question: more than any real type has, and an end
/// to types that contain themselves.
const MAX_MEMBERS: u32 = 100_000;

impl Btf {
    /// The members of a struct or union in order; those of anonymous members stand in their place.
    /// Empty if it is not a struct or union.
    pub fn fields(&self, id: u32) -> Vec<Field> {
        let mut fields = Vec::new();
        self.visit(id, &mut |field: Visited<'_>| {
            fields.push(field.to_field());
            None::<()>
        });
        fields
    }

    /// A member by name, also of anonymous members.
    pub fn field(&self, id: u32, name: &str) -> Option<Field> {
        self.visit(id, &mut |field| (field.name == name).then(|| field.to_field()))
    }

    /// Names of members that are close to this one, closest first.
    pub fn similar_fields(&self, id: u32, name: &str) -> Vec<String> {
        let fields = self.fields(id);
        crate::diagnostic::similar(name, fields.iter().map(|f| f.name.as_str()))
    }

    /// Shows members in order until `see` returns something.
    fn visit<R>(&self, id: u32, see: &mut impl FnMut(Visited<'_>) -> Option<R>) -> Option<R> {
        let mut budget = MAX_MEMBERS;
        self.visit_within(self.resolve(id), 0, MAX_CHAIN, &mut budget, see)
    }

    fn visit_within<R>(
        &self,
        id: u32,
        base: u32,
        depth: u32,
        budget: &mut u32,
        see: &mut impl FnMut(Visited<'_>) -> Option<R>,
    ) -> Option<R> {
        let record = self.record(id)?;
        for member in record.members() {
            *budget = budget.checked_sub(1)?;
            let (offset, bits) = member.place(record.flag);
            let Some(bit_offset) = base.checked_add(offset) else { continue };
            let name = self.string(member.name);
            let inner = self.resolve(member.ty);
            let found = if name.is_empty() && self.is_aggregate(inner) {
                self.visit_within(inner, bit_offset, depth.checked_sub(1)?, budget, see)
            } else if name.is_empty() {
                // An unnamed bit-field is padding.
                None
            } else {
                let (bit_offset, bits) = self.bitfield(&member, bit_offset, bits);
                see(Visited { name, type_id: member.ty, bit_offset, bits })
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn is_aggregate(&self, id: u32) -> bool {
        self.record(id).is_some_and(|r| matches!(r.kind, Kind::Struct | Kind::Union))
    }

    /// Old compilers say that a member is a bit-field by giving it an integer type of that size.
    fn bitfield(&self, member: &Member, bit_offset: u32, bits: u32) -> (u32, Option<u8>) {
        if bits != 0 {
            return (bit_offset, u8::try_from(bits).ok());
        }
        let old_style = |record: &Record<'_>| {
            let int = record.int();
            let narrow = record.kind == Kind::Int
                && int.bits != 0
                && u64::from(int.bits) < u64::from(record.size_or_type) * 8;
            narrow.then_some((int.bit_offset, int.bits))
        };
        match self.record(self.resolve(member.ty)).as_ref().and_then(old_style) {
            Some((shift, bits)) => (bit_offset.saturating_add(shift), u8::try_from(bits).ok()),
            None => (bit_offset, None),
        }
    }
}

struct Visited<'a> {
    name: &'a str,
    type_id: u32,
    bit_offset: u32,
    bits: Option<u8>,
}

impl Visited<'_> {
    fn to_field(&self) -> Field {
        let Visited { name, type_id, bit_offset, bits } = *self;
        Field { name: name.to_owned(), type_id, bit_offset, bitfield_bits: bits }
    }
}
