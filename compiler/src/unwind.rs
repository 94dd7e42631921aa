//! Unwind tables: how they lie in the maps from which programs read them and into which the runtime writes them.
//!
//! A table says for each range of code how a function's caller is found from there. It is what `.eh_frame` says,
//! worked out beforehand: rows sorted by the address at which they begin, each with the number of a rule.
//!
//! ```text
//! PROCESSES  hash   u32 process         ->  u32 first mapping, u32 mappings
//! MAPPINGS   array  sorted by address       u64 start, u64 end, u64 bias, u32 first row, u32 rows
//! ROWS       array  sorted by place         u32 place, u32 rule        from here to the next row's place
//! RULES      array                          [`Rule`]
//!
//! place of an instruction = its address - the mapping's bias
//! ```
//!
//! The runtime sizes the arrays before they are made, and fills them through a mapping. What a process's entry
//! names is written before the entry and not changed afterwards.

/// The map of processes.
pub const PROCESSES: &str = "unwind_procs";
/// The map of what they have mapped.
pub const MAPPINGS: &str = "unwind_maps";
/// The map of rows.
pub const ROWS: &str = "unwind_rows";
/// The map of rules.
pub const RULES: &str = "unwind_rules";

/// The most mappings of code that one process's table has; a power of two.
pub const MOST_MAPPINGS: u32 = 1 << 12;
/// The most rows that one file's table has; a power of two.
pub const MOST_ROWS: u32 = 1 << 22;

/// Bytes of an entry of [`PROCESSES`].
pub const PROCESS_BYTES: u32 = 8;
/// Bytes of an entry of [`MAPPINGS`].
pub const MAPPING_BYTES: u32 = 32;
/// Bytes of an entry of [`ROWS`].
pub const ROW_BYTES: u32 = 8;
/// Bytes of an entry of [`RULES`].
pub const RULE_BYTES: u32 = 24;

/// A part of a process's memory that holds a file's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its first address.
    pub start: u64,
    /// The address behind its last.
    pub end: u64,
    /// What an address is less to be a place in the file's table.
    pub bias: u64,
    /// The number of the file's first row.
    pub first_row: u32,
    /// How many it has.
    pub rows: u32,
}

impl Mapping {
    /// As it lies in [`MAPPINGS`].
    pub fn bytes(&self) -> [u8; MAPPING_BYTES as usize] {
        let Mapping { start, end, bias, first_row, rows } = *self;
        let mut bytes = [0; MAPPING_BYTES as usize];
        put(&mut bytes, offsets::START, &start.to_le_bytes());
        put(&mut bytes, offsets::END, &end.to_le_bytes());
        put(&mut bytes, offsets::BIAS, &bias.to_le_bytes());
        put(&mut bytes, offsets::FIRST_ROW, &first_row.to_le_bytes());
        put(&mut bytes, offsets::MAPPING_ROWS, &rows.to_le_bytes());
        bytes
    }
}

/// How a function's caller is found from a place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The canonical frame address: what the stack pointer is in the caller.
    pub cfa: Cfa,
    /// What the frame pointer is there.
    pub frame_pointer: Saved,
    /// Where the return address is.
    pub return_address: Place,
    /// The caller was interrupted where it is, by a signal: what looks like a return address is none.
    pub signal: bool,
}

/// How the canonical frame address is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cfa {
    /// It is not known, or in a way that programs do not follow.
    Unknown,
    /// There is no caller.
    Outermost,
    /// A register and a number.
    Register(Base, i32),
    /// What is in memory there, and another number.
    Memory(Base, i32, i32),
    /// In the entries of a procedure linkage table, which take 16 bytes each: the stack pointer and 8, and 8 more from
    /// this byte of the entry on.
    Linkage(i32),
}

/// A register that frames are found from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// The stack pointer.
    StackPointer,
    /// The frame pointer.
    FramePointer,
}

/// What a register is in the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Saved {
    /// What it is here.
    Same,
    /// What is in memory there.
    At(Place),
    /// That cannot be told.
    Lost,
}

/// A place in the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// So many bytes from the canonical frame address.
    FromCfa(i32),
    /// So many bytes from the stack pointer.
    FromStackPointer(i32),
}

/// What [`Rule`]s and [`Mapping`]s are made of: byte offsets.
pub(crate) mod offsets {
    pub const START: u32 = 0;
    pub const END: u32 = 8;
    pub const BIAS: u32 = 16;
    pub const FIRST_ROW: u32 = 24;
    pub const MAPPING_ROWS: u32 = 28;

    pub const KIND: u32 = 0;
    pub const BASE: u32 = 1;
    pub const FRAME_POINTER: u32 = 2;
    pub const FLAGS: u32 = 3;
    pub const CFA_OFFSET: u32 = 4;
    pub const CFA_ADDEND: u32 = 8;
    pub const FRAME_POINTER_OFFSET: u32 = 12;
    pub const RETURN_ADDRESS_OFFSET: u32 = 16;
}

/// What byte [`offsets::KIND`] says.
pub(crate) mod kind {
    pub const UNKNOWN: u8 = 0;
    pub const OUTERMOST: u8 = 1;
    pub const REGISTER: u8 = 2;
    pub const MEMORY: u8 = 3;
    pub const LINKAGE: u8 = 4;
}

/// What byte [`offsets::FRAME_POINTER`] says.
pub(crate) mod saved {
    pub const SAME: u8 = 0;
    pub const FROM_CFA: u8 = 1;
    pub const FROM_STACK_POINTER: u8 = 2;
    pub const LOST: u8 = 3;
}

/// The bits of byte [`offsets::FLAGS`].
pub(crate) mod flags {
    /// The return address is found from the stack pointer.
    pub const FROM_STACK_POINTER: u8 = 1;
    pub const SIGNAL: u8 = 2;
}

impl Rule {
    /// The rule with number 0: nothing is known.
    pub const UNKNOWN: Rule = Rule {
        cfa: Cfa::Unknown,
        frame_pointer: Saved::Same,
        return_address: Place::FromCfa(0),
        signal: false,
    };

    /// As it lies in [`RULES`].
    pub fn bytes(&self) -> [u8; RULE_BYTES as usize] {
        let Rule { cfa, frame_pointer, return_address, signal } = *self;
        let stack = Base::StackPointer;
        let (kind, base, offset, addend) = match cfa {
            Cfa::Unknown => (kind::UNKNOWN, stack, 0, 0),
            Cfa::Outermost => (kind::OUTERMOST, stack, 0, 0),
            Cfa::Register(base, offset) => (kind::REGISTER, base, offset, 0),
            Cfa::Memory(base, offset, addend) => (kind::MEMORY, base, offset, addend),
            Cfa::Linkage(from) => (kind::LINKAGE, stack, 8, from),
        };
        let (saved, saved_at) = match frame_pointer {
            Saved::Same => (saved::SAME, 0),
            Saved::At(Place::FromCfa(offset)) => (saved::FROM_CFA, offset),
            Saved::At(Place::FromStackPointer(offset)) => (saved::FROM_STACK_POINTER, offset),
            Saved::Lost => (saved::LOST, 0),
        };
        let (from, return_address_at) = match return_address {
            Place::FromCfa(offset) => (0, offset),
            Place::FromStackPointer(offset) => (flags::FROM_STACK_POINTER, offset),
        };
        let mut bytes = [0; RULE_BYTES as usize];
        put(&mut bytes, offsets::KIND, &[kind]);
        put(&mut bytes, offsets::BASE, &[u8::from(base == Base::FramePointer)]);
        put(&mut bytes, offsets::FRAME_POINTER, &[saved]);
        put(&mut bytes, offsets::FLAGS, &[from | if signal { flags::SIGNAL } else { 0 }]);
        put(&mut bytes, offsets::CFA_OFFSET, &offset.to_le_bytes());
        put(&mut bytes, offsets::CFA_ADDEND, &addend.to_le_bytes());
        put(&mut bytes, offsets::FRAME_POINTER_OFFSET, &saved_at.to_le_bytes());
        put(&mut bytes, offsets::RETURN_ADDRESS_OFFSET, &return_address_at.to_le_bytes());
        bytes
    }
}

fn put(bytes: &mut [u8], at: u32, what: &[u8]) {
    bytes[at as usize..at as usize + what.len()].copy_from_slice(what);
}
