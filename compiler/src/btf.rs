//! The kernel's types, read from BTF as the kernel exports it.
//!
//! BTF is a table of type records followed by a table of strings (`include/uapi/linux/btf.h`). A
//! [`Btf`] keeps the bytes as they are, knows where each record starts, and reads records when they
//! are asked for: opening the 5.5 MB of a kernel costs one pass over them, and an index of names is
//! made by the first look-up of a name.
//!
//! Always true of a [`Btf`]: every record lies within the bytes, every type id in a record exists
//! and every name ends within the strings ([`Btf::parse`] checks it). What cannot be checked in one
//! pass, that types do not contain themselves, is met with limits where types are followed.
//!
//! ```text
//! records   the format: header, kinds, one record's parts
//! names     name -> type, enumerator or function
//! fields    members of structs and unions, anonymous ones opened
//! lang      a type as the language sees it
//! build     types added to those of the kernel
//! restack   types of a module or program put on top of others
//! functions functions and raw tracepoints
//! ctext     a type as C writes it
//! ```

mod build;
mod ctext;
mod fields;
pub(crate) mod fixture;
mod functions;
mod lang;
mod names;
mod records;
mod restack;
#[cfg(test)]
mod tests;

pub use build::{Builder, Member};
pub use fields::Field;
pub use functions::FuncProto;

use std::ffi::CStr;
use std::fmt;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};

use names::{Enumerators, NameIndex};
use records::{Kind, Record};

/// A program's or kernel's types. Cheap to clone: copies share the bytes.
#[derive(Clone)]
pub struct Btf {
    shared: Arc<Shared>,
}

/// Why bytes are not usable BTF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BtfError {
    /// The bytes do not start as BTF does.
    NotBtf,
    /// It was made on a machine of the other byte order.
    OtherByteOrder,
    /// A version that is not known.
    Version(u8),
    /// The bytes end early, or a part of them points outside of itself.
    Damaged {
        /// What was being read.
        what: &'static str,
        /// The type record, where it is one.
        type_id: Option<u32>,
    },
    /// A kind of type record that this reader does not know, so that what follows is not found.
    UnknownKind {
        /// The kind's number.
        kind: u32,
        /// The type record.
        type_id: u32,
    },
}

/// How many modifiers (`const`, typedefs...) are followed (`MAX_RESOLVE_DEPTH`, kernel/bpf/btf.c).
const MAX_CHAIN: u32 = 32;

struct Shared {
    /// What this BTF adds to: its types come first, and its strings.
    base: Option<Btf>,
    bytes: Box<dyn AsRef<[u8]> + Send + Sync>,
    /// Start of each type's record in the bytes; without a base, entry 0 stands for `void` and is unused.
    records: Vec<u32>,
    /// Start and end of the strings.
    strings: (usize, usize),
    types: OnceLock<NameIndex>,
    functions: OnceLock<NameIndex>,
    /// How many functions were looked for before there was an index of them.
    function_searches: AtomicU32,
    enumerators: OnceLock<Enumerators>,
}

impl Btf {
    /// Reads BTF. The holder keeps the bytes: a vector, a static slice, a mapped file.
    ///
    /// # Errors
    /// If the bytes are not whole, consistent BTF of this machine's byte order.
    pub fn parse(holder: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Btf, BtfError> {
        Btf::read(holder, None)
    }

    /// Reads BTF that adds to another one, as that of a kernel module does: type ids and names go on where
    /// the base ends. What is named here is found before what the base has of that name.
    ///
    /// # Errors
    /// As for [`Btf::parse`].
    pub fn parse_split(
        holder: impl AsRef<[u8]> + Send + Sync + 'static,
        base: &Btf,
    ) -> Result<Btf, BtfError> {
        Btf::read(holder, Some(base.clone()))
    }

    fn read(holder: impl AsRef<[u8]> + Send + Sync + 'static, base: Option<Btf>) -> Result<Btf, BtfError> {
        let before = base.as_ref().map(|base| (base.type_count(), base.string_bytes()));
        let layout = records::scan(holder.as_ref(), before)?;
        Ok(Btf {
            shared: Arc::new(Shared {
                base,
                bytes: Box::new(holder),
                records: layout.records,
                strings: layout.strings,
                types: OnceLock::new(),
                functions: OnceLock::new(),
                function_searches: AtomicU32::new(0),
                enumerators: OnceLock::new(),
            }),
        })
    }

    /// How many types there are, `void` included: ids are below it.
    pub fn type_count(&self) -> u32 {
        self.first_id() + self.shared.records.len() as u32
    }

    /// The BTF that this one adds to.
    fn base(&self) -> Option<&Btf> {
        self.shared.base.as_ref()
    }

    /// The id of the first record of this BTF itself.
    fn first_id(&self) -> u32 {
        self.base().map_or(0, Btf::type_count)
    }

    /// How many bytes the names take, those of the base included.
    fn string_bytes(&self) -> u32 {
        let (start, end) = self.shared.strings;
        self.base().map_or(0, Btf::string_bytes) + (end - start) as u32
    }

    /// The type without typedefs, `const`, `volatile`, `restrict` and type tags. 0 is `void`; a chain
    /// that does not end is also `void`.
    pub fn resolve(&self, mut id: u32) -> u32 {
        for _ in 0..MAX_CHAIN {
            match self.record(id) {
                Some(record) if record.kind.is_modifier() => id = record.size_or_type,
                Some(_) => return id,
                None => return 0,
            }
        }
        0
    }

    /// Size in bytes of a value of this type, if values of it have one: `void`, functions and
    /// declared-only structs have none.
    pub fn sizeof(&self, id: u32) -> Option<u32> {
        self.sizeof_within(id, MAX_CHAIN)
    }

    fn sizeof_within(&self, id: u32, depth: u32) -> Option<u32> {
        let record = self.record(self.resolve(id))?;
        match record.kind {
            Kind::Int
            | Kind::Struct
            | Kind::Union
            | Kind::Enum
            | Kind::Enum64
            | Kind::Float
            | Kind::DataSec => Some(record.size_or_type),
            Kind::Ptr => Some(8),
            Kind::Array => {
                let array = record.array();
                self.sizeof_within(array.element, depth.checked_sub(1)?)?.checked_mul(array.len)
            }
            Kind::Fwd | Kind::Func | Kind::FuncProto | Kind::Var | Kind::DeclTag => None,
            // `resolve` has removed them.
            Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => None,
        }
    }

    /// What addresses of values of this type are a multiple of, in bytes; 1 where that is not known. BTF does
    /// not say whether a struct is packed: its size and those of its members tell.
    pub fn alignof(&self, id: u32) -> u32 {
        self.alignof_within(id, MAX_CHAIN)
    }

    fn alignof_within(&self, id: u32, depth: u32) -> u32 {
        let (Some(record), Some(depth)) = (self.record(self.resolve(id)), depth.checked_sub(1)) else {
            return 1;
        };
        match record.kind {
            Kind::Int | Kind::Enum | Kind::Enum64 | Kind::Float => record.size_or_type.clamp(1, 16),
            Kind::Ptr => 8,
            Kind::Array => self.alignof_within(record.array().element, depth),
            Kind::Struct | Kind::Union => {
                let mut align = 1;
                for member in record.members() {
                    let wanted = self.alignof_within(member.ty, depth);
                    let (bit_offset, bits) = member.place(record.flag);
                    let placed = bits != 0 || bit_offset % (wanted * 8) == 0;
                    align = align.max(if placed { wanted } else { 1 });
                }
                while record.size_or_type % align != 0 {
                    align /= 2;
                }
                align
            }
            Kind::Fwd | Kind::Func | Kind::FuncProto | Kind::Var | Kind::DataSec | Kind::DeclTag => 1,
            // `resolve` has removed them.
            Kind::Typedef | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => 1,
        }
    }

    /// The name of a type as its record has it: without `struct`; empty for an anonymous one.
    pub fn name(&self, id: u32) -> &str {
        self.record(id).map_or("", |r| self.string(r.name))
    }

    fn record(&self, id: u32) -> Option<Record<'_>> {
        if let Some(base) = self.base().filter(|base| id < base.type_count()) {
            return base.record(id);
        }
        let own = (id - self.first_id()) as usize;
        let start = *self.shared.records.get(own).filter(|_| id != 0)?;
        Record::at(self.bytes(), start as usize)
    }

    fn bytes(&self) -> &[u8] {
        (*self.shared.bytes).as_ref()
    }

    /// The strings from this offset on, to the end of the table that it is in.
    fn tail(&self, offset: u32) -> &[u8] {
        if let Some(base) = self.base().filter(|base| offset < base.string_bytes()) {
            return base.tail(offset);
        }
        let own = (offset - self.base().map_or(0, Btf::string_bytes)) as usize;
        let (start, end) = self.shared.strings;
        self.bytes().get(start.saturating_add(own)..end).unwrap_or_default()
    }

    fn name_bytes(&self, offset: u32) -> &[u8] {
        CStr::from_bytes_until_nul(self.tail(offset)).map_or(&[], CStr::to_bytes)
    }

    /// Whether the string at this offset is that name, told without finding the string's end first.
    fn is_name(&self, offset: u32, name: &[u8]) -> bool {
        let tail = self.tail(offset);
        tail.starts_with(name) && tail.get(name.len()) == Some(&0)
    }

    /// A string of the table; one that is not UTF-8 reads as empty, as no C identifier is.
    fn string(&self, offset: u32) -> &str {
        std::str::from_utf8(self.name_bytes(offset)).unwrap_or_default()
    }
}

impl fmt::Debug for Btf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Btf").field("types", &self.type_count()).field("bytes", &self.bytes().len()).finish()
    }
}

impl fmt::Display for BtfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BtfError::NotBtf => f.write_str("these bytes are not BTF"),
            BtfError::OtherByteOrder => f.write_str("the BTF is of a machine with the other byte order"),
            BtfError::Version(version) => write!(f, "BTF version {version} is not known"),
            BtfError::Damaged { what, type_id: None } => write!(f, "the BTF is damaged: {what}"),
            BtfError::Damaged { what, type_id: Some(id) } => {
                write!(f, "the BTF is damaged at type {id}: {what}")
            }
            BtfError::UnknownKind { kind, type_id } => {
                write!(f, "the BTF has a kind of type that is not known: kind {kind} at type {type_id}")
            }
        }
    }
}

impl std::error::Error for BtfError {}
