//! Types made by code: those that a script defines, added to the kernel's.
//!
//! A builder writes BTF whose ids and names go on where the base ends, so that a script's struct may contain
//! the kernel's, and everything that reads types reads both alike.

use super::{Btf, BtfError};

/// BTF under construction; each method returns the new type's id.
#[derive(Debug)]
pub struct Builder {
    base: Option<Btf>,
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Where the own strings begin.
    first_string: u32,
    next: u32,
}

/// A member of a struct or union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name; empty for an anonymous one.
    pub name: String,
    /// Its type.
    pub type_id: u32,
    /// Bits from the start.
    pub bit_offset: u32,
    /// Size in bits of a bit-field, else 0.
    pub bits: u32,
}

/// `BTF_KIND_*`
mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const FWD: u32 = 7;
    pub const TYPEDEF: u32 = 8;
    pub const FLOAT: u32 = 16;
    pub const ENUM64: u32 = 19;
}

impl Builder {
    /// No types yet beside those of the base.
    pub fn over(base: Option<Btf>) -> Builder {
        let (next, first_string) = base.as_ref().map_or((1, 0), |b| (b.type_count(), b.string_bytes()));
        // Offset 0 is the empty name, in the first table of strings.
        Builder { base, types: Vec::new(), strings: vec![0], first_string, next }
    }

    /// All types, as they are read.
    ///
    /// # Errors
    /// If the types do not make sense together.
    pub fn finish(self) -> Result<Btf, BtfError> {
        let mut bytes = Vec::with_capacity(24 + self.types.len() + self.strings.len());
        bytes.extend(0xeb9fu16.to_ne_bytes());
        bytes.extend([1, 0]);
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [24, 0, types, types, strings] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        Btf::read(bytes, self.base)
    }

    fn record(&mut self, kind: u32, flag: bool, name: &str, vlen: usize, word: u32, tail: &[u32]) -> u32 {
        let name = self.name(name);
        let info = (u32::from(flag) << 31) | (kind << 24) | vlen as u32;
        for word in [name, info, word].iter().chain(tail) {
            self.types.extend(word.to_ne_bytes());
        }
        self.next += 1;
        self.next - 1
    }

    fn name(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.first_string + self.strings.len() as u32;
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        at
    }

    /// An integer.
    pub fn int(&mut self, name: &str, bytes: u32, signed: bool) -> u32 {
        self.record(kind::INT, false, name, 0, bytes, &[(u32::from(signed) << 24) | (bytes * 8)])
    }

    /// `_Bool`
    pub fn bool(&mut self) -> u32 {
        self.record(kind::INT, false, "_Bool", 0, 1, &[(4 << 24) | 8])
    }

    /// A floating-point number.
    pub fn float(&mut self, name: &str, bytes: u32) -> u32 {
        self.record(kind::FLOAT, false, name, 0, bytes, &[])
    }

    /// A pointer; 0 is `void`.
    pub fn ptr(&mut self, to: u32) -> u32 {
        self.record(kind::PTR, false, "", 0, to, &[])
    }

    /// An array.
    pub fn array(&mut self, element: u32, len: u32) -> u32 {
        self.record(kind::ARRAY, false, "", 0, 0, &[element, element, len])
    }

    /// A struct or union; the format counts at most 65535 members.
    pub fn aggregate(&mut self, name: &str, is_union: bool, bytes: u32, members: &[Member]) -> u32 {
        let mut tail = Vec::with_capacity(members.len() * 3);
        for Member { name, type_id, bit_offset, bits } in members {
            tail.extend([self.name(name), *type_id, (bits << 24) | bit_offset]);
        }
        let kind = if is_union { kind::UNION } else { kind::STRUCT };
        self.record(kind, true, name, members.len(), bytes, &tail)
    }

    /// A struct or union that is declared only.
    pub fn forward(&mut self, name: &str, is_union: bool) -> u32 {
        self.record(kind::FWD, is_union, name, 0, 0, &[])
    }

    /// An enum of 4 bytes, or 8 where a value needs them; and which it is.
    pub fn enumeration(&mut self, name: &str, values: &[(String, i64)]) -> (u32, u32) {
        let signed = values.iter().any(|(_, v)| *v < 0);
        let narrow = |v: i64| {
            if signed { i32::try_from(v).is_ok() } else { u32::try_from(v).is_ok() }
        };
        if values.iter().all(|(_, v)| narrow(*v)) {
            let tail: Vec<u32> = values.iter().flat_map(|(n, v)| [self.name(n), *v as u32]).collect();
            return (self.record(kind::ENUM, signed, name, values.len(), 4, &tail), 4);
        }
        let tail: Vec<u32> =
            values.iter().flat_map(|(n, v)| [self.name(n), *v as u32, (*v >> 32) as u32]).collect();
        (self.record(kind::ENUM64, signed, name, values.len(), 8, &tail), 8)
    }

    /// A typedef.
    pub fn typedef(&mut self, name: &str, to: u32) -> u32 {
        self.record(kind::TYPEDEF, false, name, 0, to, &[])
    }
}
