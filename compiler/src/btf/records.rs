//! The format of BTF: its header, the kinds of records, and the parts of one record.
//!
//! Everything here is `include/uapi/linux/btf.h`. [`scan`] is the one pass that checks the bytes;
//! afterwards reading a record cannot leave them, and says so with `Option` instead of a panic.

use super::BtfError;

/// `BTF_MAGIC`
const MAGIC: u16 = 0xeb9f;
/// `BTF_VERSION`
const VERSION: u8 = 1;
/// The header's size before anything was added to its end.
const HEADER_BYTES: usize = 24;
/// `struct btf_type`
const TYPE_BYTES: usize = 12;

/// `BTF_KIND_*`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Int = 1,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    DataSec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

const KINDS: [Kind; 19] = [
    Kind::Int,
    Kind::Ptr,
    Kind::Array,
    Kind::Struct,
    Kind::Union,
    Kind::Enum,
    Kind::Fwd,
    Kind::Typedef,
    Kind::Volatile,
    Kind::Const,
    Kind::Restrict,
    Kind::Func,
    Kind::FuncProto,
    Kind::Var,
    Kind::DataSec,
    Kind::Float,
    Kind::DeclTag,
    Kind::TypeTag,
    Kind::Enum64,
];

impl Kind {
    fn from_number(number: u32) -> Option<Kind> {
        KINDS.get((number as usize).checked_sub(1)?).copied()
    }

    /// Whether it only adds something to the type it names.
    pub fn is_modifier(self) -> bool {
        matches!(self, Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag)
    }

    /// Bytes after the fixed part, once, and for each of the record's `vlen` elements.
    fn tail_bytes(self) -> (usize, usize) {
        match self {
            Kind::Int | Kind::Var | Kind::DeclTag => (4, 0),
            Kind::Array => (12, 0),
            Kind::Struct | Kind::Union | Kind::DataSec | Kind::Enum64 => (0, 12),
            Kind::Enum | Kind::FuncProto => (0, 8),
            Kind::Ptr
            | Kind::Fwd
            | Kind::Typedef
            | Kind::Volatile
            | Kind::Const
            | Kind::Restrict
            | Kind::Func
            | Kind::Float
            | Kind::TypeTag => (0, 0),
        }
    }

    /// Whether the fixed part's last word is a type id rather than a size.
    fn refers(self) -> bool {
        match self {
            Kind::Ptr
            | Kind::Typedef
            | Kind::Volatile
            | Kind::Const
            | Kind::Restrict
            | Kind::Func
            | Kind::FuncProto
            | Kind::Var
            | Kind::DeclTag
            | Kind::TypeTag => true,
            Kind::Int
            | Kind::Array
            | Kind::Struct
            | Kind::Union
            | Kind::Enum
            | Kind::Fwd
            | Kind::DataSec
            | Kind::Float
            | Kind::Enum64 => false,
        }
    }
}

/// Name and kind of a type record: all that a search needs.
#[derive(Clone, Copy)]
pub struct Head {
    pub kind: Kind,
    /// Offset of its name in the strings.
    pub name: u32,
}

impl Head {
    /// Of the record that starts at this byte.
    pub fn at(bytes: &[u8], start: usize) -> Option<Head> {
        let kind = Kind::from_number((word(bytes, start.checked_add(4)?)? >> 24) & 0x1f)?;
        Some(Head { kind, name: word(bytes, start)? })
    }
}

/// One type record.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    pub kind: Kind,
    /// Offset of its name in the strings.
    pub name: u32,
    /// Structs, unions: members carry bit-field sizes. Enums: values are signed. `Fwd`: a union.
    pub flag: bool,
    /// Size in bytes or the id of the type it refers to, by kind.
    pub size_or_type: u32,
    /// What follows the fixed part.
    tail: &'a [u8],
}

/// `struct btf_array`
pub struct Array {
    pub element: u32,
    pub len: u32,
}

/// `struct btf_member`
pub struct Member {
    pub name: u32,
    pub ty: u32,
    /// Bits from the struct's start, and the bit-field's size where the record's flag is set.
    offset: u32,
}

impl Member {
    /// Bits from the struct's start, and the bit-field's size if it says that it is one.
    pub fn place(&self, flag: bool) -> (u32, u32) {
        if flag { (self.offset & 0x00ff_ffff, self.offset >> 24) } else { (self.offset, 0) }
    }
}

/// What an `Int` is.
pub struct Int {
    pub signed: bool,
    pub bool: bool,
    /// Bits from the value's start; not zero only in bit-fields of old compilers.
    pub bit_offset: u32,
    pub bits: u32,
}

impl<'a> Record<'a> {
    /// The record that starts at this byte.
    pub fn at(bytes: &'a [u8], start: usize) -> Option<Record<'a>> {
        let fixed = bytes.get(start..start.checked_add(TYPE_BYTES)?)?;
        let info = word(fixed, 4)?;
        let kind = Kind::from_number((info >> 24) & 0x1f)?;
        let (once, each) = kind.tail_bytes();
        let tail_bytes = once + each * (info & 0xffff) as usize;
        let tail_start = start + TYPE_BYTES;
        Some(Record {
            kind,
            name: word(fixed, 0)?,
            flag: info >> 31 != 0,
            size_or_type: word(fixed, 8)?,
            tail: bytes.get(tail_start..tail_start.checked_add(tail_bytes)?)?,
        })
    }

    fn words<const N: usize>(&self) -> impl Iterator<Item = [u32; N]> + use<'a, N> {
        self.tail.chunks_exact(4 * N).map(|chunk| {
            let mut words = [0; N];
            for (place, bytes) in words.iter_mut().zip(chunk.chunks_exact(4)) {
                *place = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
            words
        })
    }

    /// The largest name and the largest type id in it.
    fn largest_references(&self) -> (u32, u32) {
        let own = if self.kind.refers() { self.size_or_type } else { 0 };
        match self.kind {
            Kind::Struct | Kind::Union => {
                self.words::<3>().fold((self.name, own), |(name, ty), [n, t, _]| (name.max(n), ty.max(t)))
            }
            Kind::FuncProto => {
                self.words::<2>().fold((self.name, own), |(name, ty), [n, t]| (name.max(n), ty.max(t)))
            }
            Kind::Enum => (self.words::<2>().fold(self.name, |name, [n, _]| name.max(n)), own),
            Kind::Enum64 => (self.words::<3>().fold(self.name, |name, [n, _, _]| name.max(n)), own),
            Kind::DataSec => (self.name, self.words::<3>().fold(own, |ty, [t, _, _]| ty.max(t))),
            Kind::Array => (self.name, self.array().element),
            Kind::Int
            | Kind::Ptr
            | Kind::Fwd
            | Kind::Typedef
            | Kind::Volatile
            | Kind::Const
            | Kind::Restrict
            | Kind::Func
            | Kind::Var
            | Kind::Float
            | Kind::DeclTag
            | Kind::TypeTag => (self.name, own),
        }
    }

    /// Members of a struct or union; nothing for other kinds.
    pub fn members(&self) -> impl Iterator<Item = Member> + use<'a> {
        let tail = if matches!(self.kind, Kind::Struct | Kind::Union) { self.tail } else { &[] };
        Record { tail, ..*self }.words::<3>().map(|[name, ty, offset]| Member { name, ty, offset })
    }

    /// Parameters of a function type as (name, type); nothing for other kinds.
    pub fn params(&self) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        let tail = if self.kind == Kind::FuncProto { self.tail } else { &[] };
        Record { tail, ..*self }.words::<2>().map(|[name, ty]| (name, ty))
    }

    /// Enumerators as (name, value); nothing for other kinds.
    pub fn enumerators(&self) -> impl Iterator<Item = (u32, i64)> + use<'a> {
        let of = |kind| Record { tail: if self.kind == kind { self.tail } else { &[] }, ..*self };
        let signed = self.flag;
        let narrow = of(Kind::Enum).words::<2>().map(move |[name, value]| {
            // The flag came with Linux 6.0; before it, negative values read as large ones, as in
            // libbpf: masks with the highest bit set are more common.
            (name, if signed { i64::from(value as i32) } else { i64::from(value) })
        });
        let wide = of(Kind::Enum64)
            .words::<3>()
            .map(|[name, low, high]| (name, (u64::from(high) << 32 | u64::from(low)) as i64));
        narrow.chain(wide)
    }

    /// The element type and length of an `Array`.
    pub fn array(&self) -> Array {
        let words = if self.kind == Kind::Array { self.words::<3>().next() } else { None };
        let [element, _index, len] = words.unwrap_or_default();
        Array { element, len }
    }

    /// What an `Int` is.
    pub fn int(&self) -> Int {
        let words = if self.kind == Kind::Int { self.words::<1>().next() } else { None };
        let [encoding] = words.unwrap_or_default();
        Int {
            signed: encoding >> 24 & 1 != 0,
            bool: encoding >> 24 & 4 != 0,
            bit_offset: encoding >> 16 & 0xff,
            bits: encoding & 0xff,
        }
    }
}

/// Where type ids or names begin that are a BTF's own, and how far they are moved.
#[derive(Clone, Copy)]
pub struct Move {
    pub from: u32,
    pub by: u32,
}

impl Move {
    fn apply(self, bytes: &mut [u8], at: usize) {
        let moved = word(bytes, at).filter(|id| *id >= self.from).map(|id| id.wrapping_add(self.by));
        if let (Some(moved), Some(place)) = (moved, bytes.get_mut(at..at + 4)) {
            place.copy_from_slice(&moved.to_ne_bytes());
        }
    }
}

/// Moves the type ids and the names in one record of checked bytes.
pub fn move_record(bytes: &mut [u8], start: usize, types: Move, names: Move) {
    let Some(Record { kind, tail, .. }) = Record::at(bytes, start) else { return };
    let tail = start + TYPE_BYTES..start + TYPE_BYTES + tail.len();
    names.apply(bytes, start);
    if kind.refers() {
        types.apply(bytes, start + 8);
    }
    match kind {
        Kind::Array => {
            types.apply(bytes, tail.start);
            types.apply(bytes, tail.start + 4);
        }
        Kind::Struct | Kind::Union => tail.step_by(12).for_each(|member| {
            names.apply(bytes, member);
            types.apply(bytes, member + 4);
        }),
        Kind::FuncProto => tail.step_by(8).for_each(|parameter| {
            names.apply(bytes, parameter);
            types.apply(bytes, parameter + 4);
        }),
        Kind::Enum => tail.step_by(8).for_each(|enumerator| names.apply(bytes, enumerator)),
        Kind::Enum64 => tail.step_by(12).for_each(|enumerator| names.apply(bytes, enumerator)),
        Kind::DataSec => tail.step_by(12).for_each(|variable| types.apply(bytes, variable)),
        Kind::Int
        | Kind::Ptr
        | Kind::Fwd
        | Kind::Typedef
        | Kind::Volatile
        | Kind::Const
        | Kind::Restrict
        | Kind::Func
        | Kind::Var
        | Kind::Float
        | Kind::DeclTag
        | Kind::TypeTag => {}
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// Where things are in checked bytes.
pub struct Layout {
    /// Start of each record; entry 0 is unused.
    pub records: Vec<u32>,
    /// Start and end of the strings.
    pub strings: (usize, usize),
}

/// Checks the bytes and finds the records. `base` is how many types, and bytes of names, come before them.
pub fn scan(bytes: &[u8], base: Option<(u32, u32)>) -> Result<Layout, BtfError> {
    let header = header(bytes, base.is_some())?;
    let damaged = |what, id: usize| BtfError::Damaged { what, type_id: Some(id as u32) };
    let types = &bytes[..header.types.1];
    let (first, base_strings) = base.map_or((0, 0), |(types, strings)| (types as usize, strings as usize));
    let string_bytes = base_strings + header.strings.1 - header.strings.0;
    // 16 bytes is a common record; the vector grows where records are smaller.
    let mut records = Vec::with_capacity((header.types.1 - header.types.0) / 16 + 1);
    if base.is_none() {
        records.push(0);
    }
    // How many types exist is known at the end: until then, the record with the farthest reference.
    let mut farthest = (0, 0);
    let mut start = header.types.0;
    while start < types.len() {
        let id = first + records.len();
        let info = word(types, start + 4).ok_or(damaged("a record is cut off", id))?;
        let kind = info >> 24 & 0x1f;
        if Kind::from_number(kind).is_none() {
            return Err(BtfError::UnknownKind { kind, type_id: id as u32 });
        }
        let record = Record::at(types, start).ok_or(damaged("a record is cut off", id))?;
        let (name, ty) = record.largest_references();
        if name as usize >= string_bytes {
            return Err(damaged("a name is outside of the strings", id));
        }
        if ty > farthest.0 {
            farthest = (ty, id);
        }
        records.push(u32::try_from(start).map_err(|_| damaged("it is larger than 4 GB", id))?);
        start += TYPE_BYTES + record.tail.len();
    }
    if farthest.0 as usize >= first + records.len() {
        return Err(damaged("it refers to a type that does not exist", farthest.1));
    }
    Ok(Layout { records, strings: header.strings })
}

struct Header {
    types: (usize, usize),
    strings: (usize, usize),
}

fn header(bytes: &[u8], has_base: bool) -> Result<Header, BtfError> {
    let magic = bytes.get(..2).map(|b| u16::from_ne_bytes([b[0], b[1]]));
    match magic {
        Some(MAGIC) => {}
        Some(other) if other == MAGIC.swap_bytes() => return Err(BtfError::OtherByteOrder),
        Some(_) | None => return Err(BtfError::NotBtf),
    }
    let damaged = |what| BtfError::Damaged { what, type_id: None };
    let field = |at| word(bytes, at).map(|w| w as usize).ok_or(damaged("the header is cut off"));
    let version = *bytes.get(2).ok_or(damaged("the header is cut off"))?;
    if version != VERSION {
        return Err(BtfError::Version(version));
    }
    let header_bytes = field(4)?;
    if header_bytes < HEADER_BYTES {
        return Err(damaged("the header is too short"));
    }
    let part = |offset: usize, len: usize, what| {
        let start = header_bytes.checked_add(offset).ok_or(damaged(what))?;
        let end = start.checked_add(len).filter(|end| *end <= bytes.len()).ok_or(damaged(what))?;
        Ok((start, end))
    };
    let types = part(field(8)?, field(12)?, "the types are cut off")?;
    let strings = part(field(16)?, field(20)?, "the strings are cut off")?;
    match &bytes[strings.0..strings.1] {
        [0] | [0, .., 0] => Ok(Header { types, strings }),
        // The empty name is the base's.
        [] | [.., 0] if has_base => Ok(Header { types, strings }),
        _ => Err(damaged("the strings do not start and end with NUL")),
    }
}
