//! The object's BTF: types of maps, variables and functions, and `.BTF.ext` with the table from
//! instructions to script lines.
//!
//! The formats are those of include/uapi/linux/btf.h and Documentation/bpf/btf.rst; only what the
//! object needs is here. Types are numbered from 1 in the order they are added; 0 is `void`.

use std::collections::HashMap;

/// The name of a type or line, as an offset into the strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Name(u32);

/// A type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TypeId(u32);

/// Who sees a variable or function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// The object's own: `BTF_FUNC_STATIC`.
    Static,
    /// Everybody: `BTF_FUNC_GLOBAL`, `BTF_VAR_GLOBAL_ALLOCATED`.
    Global,
}

/// `BTF_KIND_*`
#[derive(Clone, Copy)]
enum Kind {
    Int = 1,
    Ptr = 2,
    Array = 3,
    Struct = 4,
    Func = 12,
    FuncProto = 13,
    Var = 14,
    Datasec = 15,
}

/// `BTF_MAGIC`
const MAGIC: u16 = 0xeb9f;

/// The largest column that a line entry can hold (`BPF_LINE_INFO_LINE_COL`).
const MAX_COLUMN: u32 = 1023;

/// BTF under construction.
#[derive(Clone, Debug)]
pub struct Builder {
    types: Vec<u8>,
    next: u32,
    strings: Vec<u8>,
    names: HashMap<String, Name>,
}

impl Default for Builder {
    fn default() -> Self {
        Builder { types: Vec::new(), next: 1, strings: vec![0], names: HashMap::new() }
    }
}

impl Builder {
    /// The name of this text; the same for the same text.
    pub fn name(&mut self, text: &str) -> Name {
        if text.is_empty() {
            return Name(0);
        }
        // A NUL would end the text early.
        let text = text.replace('\0', " ");
        *self.names.entry(text).or_insert_with_key(|text| {
            let name = Name(self.strings.len() as u32);
            self.strings.extend(text.as_bytes());
            self.strings.push(0);
            name
        })
    }

    /// Adds `struct btf_type`.
    fn add(&mut self, name: Name, kind: Kind, vlen: u32, size_or_type: u32, rest: &[u32]) -> TypeId {
        let info = (kind as u32) << 24 | vlen;
        for word in [name.0, info, size_or_type].iter().chain(rest) {
            self.types.extend(word.to_le_bytes());
        }
        self.next += 1;
        TypeId(self.next - 1)
    }

    /// An unsigned integer of so many bytes.
    pub fn int(&mut self, bytes: u32) -> TypeId {
        let name = self.name(&format!("u{}", bytes * 8));
        self.add(name, Kind::Int, 0, bytes, &[bytes * 8])
    }

    /// A pointer.
    pub fn ptr(&mut self, to: TypeId) -> TypeId {
        self.add(Name(0), Kind::Ptr, 0, to.0, &[])
    }

    /// An array.
    pub fn array(&mut self, elem: TypeId, index: TypeId, len: u32) -> TypeId {
        self.add(Name(0), Kind::Array, 0, 0, &[elem.0, index.0, len])
    }

    /// A struct of pointers, eight bytes each: how a map is described.
    pub fn struct_of_pointers(&mut self, members: &[(&str, TypeId)]) -> TypeId {
        let mut rest = Vec::new();
        for (n, (name, ty)) in members.iter().enumerate() {
            rest.extend([self.name(name).0, ty.0, n as u32 * 64]);
        }
        self.add(Name(0), Kind::Struct, members.len() as u32, members.len() as u32 * 8, &rest)
    }

    /// A function.
    pub fn func(
        &mut self,
        name: &str,
        params: &[(&str, TypeId)],
        result: TypeId,
        linkage: Linkage,
    ) -> TypeId {
        let rest: Vec<u32> = params.iter().flat_map(|(name, ty)| [self.name(name).0, ty.0]).collect();
        let proto = self.add(Name(0), Kind::FuncProto, params.len() as u32, result.0, &rest);
        let name = self.name(name);
        self.add(name, Kind::Func, linkage as u32, proto.0, &[])
    }

    /// A global variable.
    pub fn var(&mut self, name: &str, ty: TypeId) -> TypeId {
        let name = self.name(name);
        self.add(name, Kind::Var, 0, ty.0, &[Linkage::Global as u32])
    }

    /// A section with variables: type, offset and size in bytes of each, by offset.
    pub fn datasec(&mut self, name: &str, size: u32, vars: &[(TypeId, u32, u32)]) -> TypeId {
        let name = self.name(name);
        let rest: Vec<u32> = vars.iter().flat_map(|(ty, offset, size)| [ty.0, *offset, *size]).collect();
        self.add(name, Kind::Datasec, vars.len() as u32, size, &rest)
    }

    /// The contents of `.BTF`.
    pub fn finish(&self) -> Vec<u8> {
        let mut out = header(24);
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [0, types, types, strings] {
            out.extend(word.to_le_bytes());
        }
        out.extend(&self.types);
        out.extend(&self.strings);
        out
    }
}

/// Magic number, version, flags, length of the header.
fn header(len: u32) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(MAGIC.to_le_bytes());
    out.extend([1, 0]);
    out.extend(len.to_le_bytes());
    out
}

/// The entries of one section in `.BTF.ext`.
#[derive(Clone, Debug)]
pub struct SectionExt {
    /// The section's name.
    pub section: Name,
    /// Byte offset and type of each function.
    pub functions: Vec<(u32, TypeId)>,
    /// Byte offset and source of each instruction that begins a new piece of source.
    pub lines: Vec<(u32, Line)>,
}

/// A place in the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The script's name.
    pub file: Name,
    /// The line's text.
    pub text: Name,
    /// Line number, from 1.
    pub line: u32,
    /// Column in bytes, from 1.
    pub column: u32,
}

/// The contents of `.BTF.ext`.
pub fn ext(sections: &[SectionExt]) -> Vec<u8> {
    let functions = ext_part(sections, 8, |s| s.functions.iter().map(|(off, ty)| vec![*off, ty.0]).collect());
    let lines = ext_part(sections, 16, |s| {
        let entry = |(off, line): &(u32, Line)| {
            vec![*off, line.file.0, line.text.0, line.line << 10 | line.column.min(MAX_COLUMN)]
        };
        s.lines.iter().map(entry).collect()
    });
    let mut out = header(24);
    let (functions_len, lines_len) = (functions.len() as u32, lines.len() as u32);
    for word in [0, functions_len, functions_len, lines_len] {
        out.extend(word.to_le_bytes());
    }
    out.extend(functions);
    out.extend(lines);
    out
}

fn ext_part(
    sections: &[SectionExt],
    entry_bytes: u32,
    entries: impl Fn(&SectionExt) -> Vec<Vec<u32>>,
) -> Vec<u8> {
    let mut out = entry_bytes.to_le_bytes().to_vec();
    for section in sections {
        let entries = entries(section);
        for word in [section.section.0, entries.len() as u32].iter().chain(entries.iter().flatten()) {
            out.extend(word.to_le_bytes());
        }
    }
    out
}
