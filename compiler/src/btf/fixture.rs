//! BTF made by code, for tests, memql's own and those of scripts: a vector of bytes with the records that are named.

/// Builds BTF bytes type by type; each method returns the new type's id.
pub(crate) struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// How many bytes of names come before.
    first_string: u32,
    next: u32,
}

impl Builder {
    /// No types yet.
    pub(crate) fn new() -> Builder {
        Builder { types: Vec::new(), strings: vec![0], first_string: 0, next: 1 }
    }

    /// No types yet beside those of another builder, as a kernel module has it: ids and names go on.
    #[cfg(test)]
    pub(crate) fn over(base: &Builder) -> Builder {
        let first_string = base.first_string + base.strings.len() as u32;
        Builder { types: Vec::new(), strings: Vec::new(), first_string, next: base.next }
    }

    /// The types on top of their base.
    #[cfg(test)]
    pub(crate) fn btf_over(&self, base: &super::Btf) -> super::Btf {
        super::Btf::parse_split(self.bytes(), base).expect("a fixture is good BTF")
    }

    /// The bytes of all of it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = vec![];
        out.extend(0xeb9fu16.to_ne_bytes());
        out.extend([1, 0]);
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [24, 0, types, types, strings] {
            out.extend(word.to_ne_bytes());
        }
        out.extend(&self.types);
        out.extend(&self.strings);
        out
    }

    /// The types as the compiler has them.
    pub(crate) fn btf(&self) -> super::Btf {
        super::Btf::parse(self.bytes()).expect("a fixture is good BTF")
    }

    /// A record as it is.
    pub(crate) fn record(
        &mut self,
        kind: u32,
        flag: bool,
        name: &str,
        vlen: usize,
        word: u32,
        tail: &[u32],
    ) -> u32 {
        let name = self.string(name);
        let info = (u32::from(flag) << 31) | (kind << 24) | vlen as u32;
        for word in [name, info, word].iter().chain(tail) {
            self.types.extend(word.to_ne_bytes());
        }
        self.next += 1;
        self.next - 1
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.first_string + self.strings.len() as u32;
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        at
    }

    /// An integer.
    pub(crate) fn int(&mut self, name: &str, bytes: u32, signed: bool) -> u32 {
        self.record(1, false, name, 0, bytes, &[(u32::from(signed) << 24) | (bytes * 8)])
    }

    /// `bool`
    pub(crate) fn bool(&mut self) -> u32 {
        self.record(1, false, "_Bool", 0, 1, &[(4 << 24) | 8])
    }

    /// A pointer.
    pub(crate) fn ptr(&mut self, to: u32) -> u32 {
        self.record(2, false, "", 0, to, &[])
    }

    /// An array.
    pub(crate) fn array(&mut self, element: u32, len: u32) -> u32 {
        self.record(3, false, "", 0, 0, &[element, element, len])
    }

    /// A struct whose members are (name, type, bit offset, bit-field size or 0).
    pub(crate) fn structure(&mut self, name: &str, bytes: u32, members: &[(&str, u32, u32, u32)]) -> u32 {
        self.aggregate(4, name, bytes, members)
    }

    /// A union.
    pub(crate) fn union(&mut self, name: &str, bytes: u32, members: &[(&str, u32, u32, u32)]) -> u32 {
        self.aggregate(5, name, bytes, members)
    }

    fn aggregate(&mut self, kind: u32, name: &str, bytes: u32, members: &[(&str, u32, u32, u32)]) -> u32 {
        let mut tail = Vec::new();
        for (name, ty, offset, bits) in members {
            tail.extend([self.string(name), *ty, (bits << 24) | offset]);
        }
        self.record(kind, true, name, members.len(), bytes, &tail)
    }

    /// A struct of the old encoding, whose members carry no bit-field sizes.
    #[cfg(test)]
    pub(crate) fn plain_structure(&mut self, name: &str, bytes: u32, members: &[(&str, u32, u32)]) -> u32 {
        let mut tail = Vec::new();
        for (name, ty, offset) in members {
            tail.extend([self.string(name), *ty, *offset]);
        }
        self.record(4, false, name, members.len(), bytes, &tail)
    }

    /// A declared struct whose name starts at this byte of the strings.
    #[cfg(test)]
    pub(crate) fn record_named_at(&mut self, name: u32) -> u32 {
        let id = self.forward("", false);
        let at = self.types.len() - 12;
        self.types[at..at + 4].copy_from_slice(&name.to_ne_bytes());
        id
    }

    /// An enum of 4 bytes.
    pub(crate) fn enumeration(&mut self, name: &str, signed: bool, values: &[(&str, i32)]) -> u32 {
        let tail: Vec<u32> =
            values.iter().flat_map(|(name, value)| [self.string(name), *value as u32]).collect();
        self.record(6, signed, name, values.len(), 4, &tail)
    }

    /// An enum of 8 bytes.
    #[cfg(test)]
    pub(crate) fn enumeration64(&mut self, name: &str, signed: bool, values: &[(&str, i64)]) -> u32 {
        let words = |v: i64| [v as u32, (v >> 32) as u32];
        let mut tail = Vec::new();
        for (name, value) in values {
            tail.push(self.string(name));
            tail.extend(words(*value));
        }
        self.record(19, signed, name, values.len(), 8, &tail)
    }

    /// A declared-only struct, or union.
    pub(crate) fn forward(&mut self, name: &str, is_union: bool) -> u32 {
        self.record(7, is_union, name, 0, 0, &[])
    }

    /// A typedef.
    pub(crate) fn typedef(&mut self, name: &str, ty: u32) -> u32 {
        self.record(8, false, name, 0, ty, &[])
    }

    /// `const`
    #[cfg(test)]
    pub(crate) fn constant(&mut self, ty: u32) -> u32 {
        self.record(10, false, "", 0, ty, &[])
    }

    /// A type tag: `user`, `percpu`, `rcu`.
    #[cfg(test)]
    pub(crate) fn type_tag(&mut self, tag: &str, ty: u32) -> u32 {
        self.record(18, false, tag, 0, ty, &[])
    }

    /// A function's type.
    pub(crate) fn proto(&mut self, ret: u32, params: &[(&str, u32)]) -> u32 {
        let tail: Vec<u32> = params.iter().flat_map(|(name, ty)| [self.string(name), *ty]).collect();
        self.record(13, false, "", params.len(), ret, &tail)
    }

    /// A function.
    pub(crate) fn function(&mut self, name: &str, proto: u32) -> u32 {
        self.record(12, false, name, 0, proto, &[])
    }
}
