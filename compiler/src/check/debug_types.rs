//! Types of programs and libraries, from their debug information.
//!
//! They become BTF that goes on where the kernel's types and the script's own end ([`btf::Builder`]), so that
//! fields, casts and printing treat all alike. A struct that was met before in the same file keeps its id,
//! so that values of several functions have one type. Names are looked up among them only in probes on that
//! file: elsewhere `struct file` is the kernel's.

use std::collections::HashMap;

use memql_grammar::ast::{Name, Span};

use super::Checker;
use super::diagnostics::points;
use crate::attach::AttachPoint;
use crate::btf::{self, Btf, BtfError};
use crate::debug_info::{DebugType, DebugTypes, Signature, TypeRef};
use crate::target::FactError;
use crate::types::{AddrSpace, Type};

/// So many names for a type, qualifiers included, are followed.
const MAX_NAMES: usize = 64;

/// The largest offset of a member in bits that BTF can hold.
const MAX_BIT_OFFSET: u32 = 1 << 24;

/// What is known from debug information so far.
#[derive(Default)]
pub(crate) struct DebugLayers {
    /// The kernel's types, the script's, and those of all files and modules; `None` while there are no such.
    pub all: Option<Btf>,
    files: HashMap<String, FileTypes>,
}

#[derive(Default)]
struct FileTypes {
    /// Structs, unions and enums by keyword and name.
    tagged: HashMap<(&'static str, String), u32>,
    /// Names that were asked for and are not there.
    absent: Vec<(&'static str, String)>,
    /// Functions by the offset of their first byte.
    functions: HashMap<u64, Option<Known>>,
}

/// A function's signature and the ids of its types.
#[derive(Clone)]
pub(crate) struct Known {
    /// As the target gave it.
    pub signature: Signature,
    /// The ids of its types, by their places.
    ids: Vec<u32>,
}

impl Known {
    /// The id of a type; 0 for `void`.
    pub(crate) fn id(&self, of: TypeRef) -> u32 {
        of.index().and_then(|index| self.ids.get(index)).copied().unwrap_or(0)
    }
}

impl Checker<'_> {
    /// What debug information says of the function at a place; `None` where it says nothing.
    pub(crate) fn debug_signature(&mut self, path: &str, entry: u64, span: Span) -> Option<Option<Known>> {
        if let Some(known) = self.debug.files.get(path).and_then(|file| file.functions.get(&entry)) {
            return Some(known.clone());
        }
        let signature = match self.target.user_signature(path, entry) {
            Ok(signature) => signature,
            Err(error) => return self.fail(|| points::fact(span, &error)),
        };
        let known = match signature {
            Some(signature) => {
                let ids = self.add_debug_types(path, &signature.types, span)?;
                Some(Known { signature, ids })
            }
            None => None,
        };
        let file = self.debug.files.entry(path.to_owned()).or_default();
        file.functions.insert(entry, known.clone());
        Some(known)
    }

    /// A type by its keyword and name in the program that the probe is on; `None` elsewhere, and where the
    /// program's debug information has none.
    pub(crate) fn debug_type(&mut self, keyword: &'static str, name: &Name) -> Option<Type> {
        let path = match self.probe.points.first().filter(|_| self.probe.live)? {
            AttachPoint::Uprobe { path, .. } | AttachPoint::Usdt { path, .. } => path.clone(),
            _ => return None,
        };
        let key = (keyword, name.text.clone());
        let file = self.debug.files.entry(path.clone()).or_default();
        if file.absent.contains(&key) {
            return None;
        }
        let id = match file.tagged.get(&key) {
            Some(id) => *id,
            None => match self.target.user_type(&path, keyword, &name.text) {
                Ok(Some((types, found))) => {
                    let ids = self.add_debug_types(&path, &types, name.span)?;
                    *ids.get(found.index()?)?
                }
                Ok(None) => {
                    file.absent.push(key);
                    return None;
                }
                Err(error) => return self.fail(|| points::fact(name.span, &error)),
            },
        };
        Some(self.debug.all.as_ref()?.lang_type(id, AddrSpace::User))
    }

    /// Puts types on top of all others; gives their ids, by their places.
    fn add_debug_types(&mut self, path: &str, types: &DebugTypes, span: Span) -> Option<Vec<u32>> {
        let base = self.types().ok().cloned();
        let file = self.debug.files.entry(path.to_owned()).or_default();
        match layer(base, file, types) {
            Ok((all, ids)) => {
                self.debug.all = Some(all);
                Some(ids)
            }
            Err(error) => {
                let message = format!("the types of `{path}` do not make sense together: {error}");
                let error = FactError { message, help: Some("please report it with the program".into()) };
                self.fail(|| points::fact(span, &error))
            }
        }
    }
}

/// The types on top of a base, and their ids.
fn layer(base: Option<Btf>, file: &mut FileTypes, types: &DebugTypes) -> Result<(Btf, Vec<u32>), BtfError> {
    let first = base.as_ref().map_or(1, Btf::type_count);
    let ids = number(first, file, types);
    let id = |of: TypeRef| of.index().and_then(|index| ids.get(index)).copied().unwrap_or(0);
    let mut builder = btf::Builder::over(base);
    let mut next = first;
    for (of, own) in types.iter().zip(&ids) {
        // Qualifiers have no ids of their own, and what the file had before is there.
        if is_transparent(of) || *own != next {
            continue;
        }
        next += 1;
        match of {
            DebugType::Int { name, bytes, signed } => builder.int(name, *bytes, *signed),
            DebugType::Bool { bytes: 1, .. } => builder.bool(),
            DebugType::Bool { name, bytes } => builder.int(name, *bytes, false),
            DebugType::Float { name, bytes } => builder.float(name, *bytes),
            DebugType::Pointer(to) => builder.ptr(id(*to)),
            DebugType::Typedef { name, to } => builder.typedef(name, id(*to)),
            DebugType::Array { element, len } => builder.array(id(*element), *len),
            DebugType::Aggregate { name, is_union, bytes, members, by_reference: _ } => {
                let placed = members.iter().filter(|member| member.bit_offset < MAX_BIT_OFFSET);
                let members: Vec<btf::Member> = placed
                    .take(usize::from(u16::MAX))
                    .map(|member| btf::Member {
                        name: member.name.clone(),
                        type_id: id(member.type_ref),
                        bit_offset: member.bit_offset,
                        bits: member.bits & 0xff,
                    })
                    .collect();
                builder.aggregate(name, *is_union, *bytes, &members)
            }
            DebugType::Forward { name, is_union } => builder.forward(name, *is_union),
            DebugType::Enum { name, bytes, values } => match values.as_slice() {
                values if *bytes == 4 && values.len() <= usize::from(u16::MAX) => {
                    builder.enumeration(name, values).0
                }
                values => builder.int(name, *bytes, values.iter().any(|(_, v)| *v < 0)),
            },
            DebugType::Const(_) | DebugType::Volatile(_) | DebugType::Opaque => continue,
        };
    }
    Ok((builder.finish()?, ids))
}

/// The ids of types: those that the file had before keep theirs, qualifiers have that of what they qualify.
fn number(first: u32, file: &mut FileTypes, types: &DebugTypes) -> Vec<u32> {
    let mut next = first;
    let mut fresh = || {
        next += 1;
        next - 1
    };
    let mut ids: Vec<u32> = types
        .iter()
        .map(|of| match of {
            of if is_transparent(of) => 0,
            DebugType::Aggregate { name, is_union, .. } if !name.is_empty() => {
                let key = (if *is_union { "union" } else { "struct" }, name.clone());
                *file.tagged.entry(key).or_insert_with(&mut fresh)
            }
            DebugType::Enum { name, .. } if !name.is_empty() => {
                *file.tagged.entry(("enum", name.clone())).or_insert_with(&mut fresh)
            }
            _ => fresh(),
        })
        .collect();
    for at in 0..ids.len() {
        ids[at] = followed(at, types, &ids);
    }
    ids
}

/// Whether it stands for what it refers to, or for nothing.
fn is_transparent(of: &DebugType) -> bool {
    match of {
        DebugType::Const(_) | DebugType::Volatile(_) | DebugType::Opaque => true,
        DebugType::Typedef { name, .. } => name.is_empty(),
        _ => false,
    }
}

/// The id of the type that a qualifier qualifies; that of any other type.
fn followed(at: usize, types: &DebugTypes, ids: &[u32]) -> u32 {
    let mut at = at;
    for _ in 0..MAX_NAMES {
        let to = match types.iter().nth(at) {
            Some(DebugType::Const(to) | DebugType::Volatile(to)) => *to,
            Some(DebugType::Typedef { name, to }) if name.is_empty() => *to,
            Some(DebugType::Opaque) | None => return 0,
            Some(_) => return ids[at],
        };
        match to.index() {
            Some(next) => at = next,
            None => return 0,
        }
    }
    0
}
