//! Types as C writes them, for listings.

use std::cell::Cell;

use super::Btf;
use super::records::Kind;

/// So many pointers, arrays and modifiers are written around a name.
const MAX_DEPTH: u32 = 16;
/// So many types are written for one question, so that types that contain themselves end.
const MAX_WRITTEN: u32 = 20_000;

impl Btf {
    /// A type as C writes it in a declaration, without a name: `const char *`, `struct sock *`,
    /// `char[16]`, `void (*)(struct work_struct *)`.
    pub fn c_name(&self, id: u32) -> String {
        self.c_declaration(id, "")
    }

    /// A declaration as C writes it: `char comm[16]`, `struct list_head *next`.
    pub fn c_declaration(&self, id: u32, name: &str) -> String {
        self.declare(id, name.to_owned(), MAX_DEPTH, &Cell::new(MAX_WRITTEN))
    }

    /// A struct, union or enum with its members, as C writes it; `None` for other types. Members that
    /// are bit-fields end in `: bits`.
    pub fn c_definition(&self, id: u32) -> Option<String> {
        let record = self.record(self.resolve(id))?;
        let mut text = format!("{} {{\n", self.tagged(self.resolve(id))?);
        match record.kind {
            Kind::Struct | Kind::Union => {
                self.members_text(self.resolve(id), 1, &Cell::new(MAX_WRITTEN), &mut text)
            }
            Kind::Enum | Kind::Enum64 => {
                for (name, value) in record.enumerators() {
                    text.push_str(&format!("\t{} = {value},\n", self.string(name)));
                }
            }
            _ => return None,
        }
        text.push_str("};");
        Some(text)
    }

    fn members_text(&self, id: u32, depth: u32, budget: &Cell<u32>, text: &mut String) {
        let Some(record) = self.record(id) else { return };
        let indent = "\t".repeat(depth as usize);
        for member in record.members() {
            let inner = self.resolve(member.ty);
            let bits = match member.place(record.flag).1 {
                0 => String::new(),
                bits => format!(": {bits}"),
            };
            let anonymous = self.record(inner).is_some_and(|r| {
                matches!(r.kind, Kind::Struct | Kind::Union)
                    && self.name_bytes(r.name).is_empty()
                    && member.ty == inner
            });
            let name = self.string(member.name);
            if anonymous && depth < MAX_DEPTH {
                text.push_str(&format!("{indent}{} {{\n", self.tagged(inner).unwrap_or_default().trim_end()));
                self.members_text(inner, depth + 1, budget, text);
                let space = if name.is_empty() { "" } else { " " };
                text.push_str(&format!("{indent}}}{space}{name};\n"));
            } else {
                text.push_str(&format!(
                    "{indent}{}{bits};\n",
                    self.declare(member.ty, name.to_owned(), MAX_DEPTH, budget)
                ));
            }
        }
    }

    /// `struct name`, `union name`, `enum name`; nothing for other types.
    fn tagged(&self, id: u32) -> Option<String> {
        let record = self.record(id)?;
        let keyword = match record.kind {
            Kind::Struct => "struct",
            Kind::Union => "union",
            Kind::Fwd if record.flag => "union",
            Kind::Fwd => "struct",
            Kind::Enum | Kind::Enum64 => "enum",
            _ => return None,
        };
        Some(format!("{keyword} {}", self.string(record.name)).trim_end().to_owned())
    }

    /// Writes the type around what is declared with it, from the inside out as C does.
    fn declare(&self, id: u32, inner: String, depth: u32, budget: &Cell<u32>) -> String {
        let joined = |base: &str, inner: &str| match inner {
            "" => base.to_owned(),
            _ if inner.starts_with('[') => format!("{base}{inner}"),
            _ => format!("{base} {inner}"),
        };
        let Some(record) = self.record(id) else { return joined("void", &inner) };
        let (Some(depth), Some(left)) = (depth.checked_sub(1), budget.get().checked_sub(1)) else {
            return joined("...", &inner);
        };
        budget.set(left);
        match record.kind {
            Kind::Ptr => {
                let below = self.record(record.size_or_type).map(|r| r.kind);
                let inner = match below {
                    Some(Kind::Array | Kind::FuncProto) => format!("(*{inner})"),
                    _ => format!("*{inner}"),
                };
                self.declare(record.size_or_type, inner, depth, budget)
            }
            Kind::Array => {
                let array = record.array();
                self.declare(array.element, format!("{inner}[{}]", array.len), depth, budget)
            }
            Kind::FuncProto => {
                let params: Vec<String> = record
                    .params()
                    .map(|(name, ty)| match (ty, self.string(name)) {
                        (0, "") => "...".to_owned(),
                        (_, name) => self.declare(ty, name.to_owned(), depth, budget),
                    })
                    .collect();
                let params = if params.is_empty() { "void".to_owned() } else { params.join(", ") };
                self.declare(record.size_or_type, format!("{inner}({params})"), depth, budget)
            }
            Kind::Const | Kind::Volatile | Kind::Restrict => {
                let word = match record.kind {
                    Kind::Const => "const",
                    Kind::Volatile => "volatile",
                    _ => "restrict",
                };
                // After a pointer the word belongs to the pointer, before a name to the type.
                if self.record(record.size_or_type).is_some_and(|r| r.kind == Kind::Ptr) {
                    self.declare(record.size_or_type, joined(word, &inner), depth, budget)
                } else {
                    format!("{word} {}", self.declare(record.size_or_type, inner, depth, budget))
                }
            }
            Kind::TypeTag => self.declare(record.size_or_type, inner, depth, budget),
            Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Fwd => {
                let tag = self.tagged(id).unwrap_or_default();
                let anonymous = self.name_bytes(record.name).is_empty();
                joined(&if anonymous { format!("{tag} {{...}}") } else { tag }, &inner)
            }
            Kind::Int
            | Kind::Typedef
            | Kind::Float
            | Kind::Func
            | Kind::Var
            | Kind::DataSec
            | Kind::DeclTag => joined(self.string(record.name), &inner),
        }
    }
}
