//! C definitions of the script: structs, unions, enums and typedefs become types beside the kernel's.
//!
//! They are laid out as C does on 64-bit Linux and written as BTF that goes on where the kernel's ends
//! ([`btf::Builder`]), so that fields, casts and printing treat both alike, and a script's struct may contain
//! the kernel's. What the script defines is found first.

use std::collections::{HashMap, HashSet};

use memql_grammar::ast::{
    self, CAttribute, CBase, CDeclarator, CEnum, CMember, CModifier, CRecord, ExprKind as Ast, Item, Name,
    Span, UnaryOp,
};

use super::Checker;
use super::constant::{self, Folded};
use super::diagnostics::c_types as errors;
use super::type_expr::{c_integer, integer_named};
use crate::btf::{self, Btf};
use crate::diagnostic::{Diagnostic, similar};
use crate::types::Type;

/// The largest type, in bytes: bit offsets of members must fit the 24 bits that BTF has for them beside a
/// bit-field's width.
const MAX_BYTES: u64 = (1 << 24) / 8;
/// The most members of a record that BTF can count.
const MAX_MEMBERS: usize = 0xffff;

/// Defines the types of a script; nothing where it has none, so that the kernel's are not read for it.
pub(crate) fn define_all(checker: &mut Checker<'_>, script: &ast::Script) {
    let defines = |item: &Item| matches!(item, Item::Record(_) | Item::Enum(_) | Item::Typedef(_));
    if !script.items.iter().any(defines) {
        return;
    }
    let base = checker.target.btf().ok().cloned();
    let mut definer = Definer {
        builder: btf::Builder::over(base.clone()),
        base,
        layouts: HashMap::new(),
        defined: HashSet::new(),
        tags: HashMap::new(),
        typedefs: HashMap::new(),
        scalars: HashMap::new(),
        constants: HashMap::new(),
        findings: Vec::new(),
    };
    for item in &script.items {
        match item {
            Item::Record(record) => definer.note_record(record),
            Item::Typedef(typedef) => definer.note_base(&typedef.names.base),
            Item::Enum(named) => definer.note_enum(named),
            _ => {}
        }
    }
    for item in &script.items {
        match item {
            Item::Record(record) => {
                definer.record(record);
            }
            Item::Enum(named) => {
                definer.enumeration(named);
            }
            Item::Typedef(typedef) => definer.typedef(&typedef.names),
            // No other item defines a type.
            _ => {}
        }
    }
    let Definer { builder, findings, .. } = definer;
    for finding in findings {
        let finding = checker.after_includes(finding);
        checker.report(finding);
    }
    match builder.finish() {
        Ok(types) => checker.types = Some(types),
        Err(error) => checker.report(errors::unreadable(&error, script_span(script))),
    }
}

fn script_span(script: &ast::Script) -> Span {
    script.items.first().map(Item::span).unwrap_or_default()
}

/// The keyword that a tag is named with; tags of each have names of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Tag {
    Struct,
    Union,
    Enum,
}

impl Tag {
    fn word(self) -> &'static str {
        match self {
            Tag::Struct => "struct",
            Tag::Union => "union",
            Tag::Enum => "enum",
        }
    }
}

/// How much room a type takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    size: u64,
    align: u64,
}

/// A type: its id in the BTF, and its layout unless it is incomplete.
#[derive(Clone, Copy, Debug)]
struct Made {
    id: u32,
    layout: Option<Layout>,
}

struct Definer {
    builder: btf::Builder,
    base: Option<Btf>,
    /// Layouts of the types made here.
    layouts: HashMap<u32, Layout>,
    /// Tags that the script defines anywhere.
    defined: HashSet<(Tag, String)>,
    tags: HashMap<(Tag, String), (u32, Span)>,
    typedefs: HashMap<String, (Made, Span)>,
    /// Integers, `char` and the like, by name.
    scalars: HashMap<String, Made>,
    constants: HashMap<String, i128>,
    findings: Vec<Diagnostic>,
}

impl Definer {
    /// Notes which tags a definition has, those in it included.
    fn note_record(&mut self, record: &CRecord) {
        let tag = if record.is_union { Tag::Union } else { Tag::Struct };
        let Some(members) = &record.members else { return };
        self.defined.extend(record.name.iter().map(|name| (tag, name.text.clone())));
        members.iter().for_each(|member| self.note_base(&member.base));
    }

    fn note_enum(&mut self, named: &CEnum) {
        if named.values.is_some() {
            self.defined.extend(named.name.iter().map(|name| (Tag::Enum, name.text.clone())));
        }
    }

    fn note_base(&mut self, base: &CBase) {
        match base {
            CBase::Record(record) => self.note_record(record),
            CBase::Enum(named) => self.note_enum(named),
            CBase::Named(_) => {}
        }
    }

    fn made(&mut self, id: u32, layout: Layout) -> Made {
        self.layouts.insert(id, layout);
        Made { id, layout: Some(layout) }
    }

    /// `struct name { ... }`, or only its name.
    fn record(&mut self, record: &CRecord) -> Option<Made> {
        let tag = if record.is_union { Tag::Union } else { Tag::Struct };
        let Some(members) = &record.members else {
            return record.name.as_ref().map(|name| self.tagged(tag, name));
        };
        let (packed, aligned) = self.attributes(&record.attributes);
        let (mut laid_out, mut place) = (Vec::new(), Place::new(record.is_union, packed));
        for member in members {
            self.member(member, &mut place, &mut laid_out);
        }
        let align = place.align.max(aligned);
        let size = place.end_bits.div_ceil(8).next_multiple_of(align);
        if size > MAX_BYTES || laid_out.len() > MAX_MEMBERS {
            self.findings.push(errors::too_large(record.span));
            return None;
        }
        let name = record.name.as_ref().map_or("", |n| n.text.as_str());
        let id = self.builder.aggregate(name, record.is_union, size as u32, &laid_out);
        if let Some(name) = &record.name {
            self.tag(tag, name, id);
        }
        Some(self.made(id, Layout { size, align }))
    }

    /// Notes a definition under its tag.
    fn tag(&mut self, tag: Tag, name: &Name, id: u32) {
        match self.tags.get(&(tag, name.text.clone())) {
            Some((_, first)) => self.findings.push(errors::defined_twice(tag.word(), name, *first)),
            None => {
                self.tags.insert((tag, name.text.clone()), (id, name.span));
            }
        }
    }

    /// A type that is only named: the script's, the kernel's, or one that is not known yet.
    fn tagged(&mut self, tag: Tag, name: &Name) -> Made {
        if let Some((id, _)) = self.tags.get(&(tag, name.text.clone())) {
            return Made { id: *id, layout: self.layouts.get(id).copied() };
        }
        let base = self.base.as_ref().filter(|_| !self.defined.contains(&(tag, name.text.clone())));
        let kernel = base.and_then(|base| match tag {
            Tag::Struct => base.struct_named(&name.text),
            Tag::Union => base.union_named(&name.text),
            Tag::Enum => base.enum_named(&name.text),
        });
        match kernel {
            Some(id) => Made { id, layout: self.kernel_layout(id) },
            // Found by its name when it is followed: what is defined below has one then.
            None => Made { id: self.builder.forward(&name.text, tag == Tag::Union), layout: None },
        }
    }

    fn kernel_layout(&self, id: u32) -> Option<Layout> {
        let base = self.base.as_ref()?;
        Some(Layout { size: u64::from(base.sizeof(id)?), align: u64::from(base.alignof(id)) })
    }

    fn enumeration(&mut self, named: &CEnum) -> Option<Made> {
        let Some(values) = &named.values else {
            return named.name.as_ref().map(|name| self.tagged(Tag::Enum, name));
        };
        let (mut next, mut known) = (0i128, Vec::with_capacity(values.len()));
        for (name, value) in values {
            if let Some(value) = value {
                match self.constant(value).filter(|v| i64::try_from(*v).is_ok()) {
                    Some(value) => next = value,
                    None => self.findings.push(errors::not_a_size("the value of an enumerator", value.span)),
                }
            }
            self.constants.insert(name.text.clone(), next);
            known.push((name.text.clone(), next as i64));
            next += 1;
        }
        let name = named.name.as_ref().map_or("", |n| n.text.as_str());
        if known.len() > MAX_MEMBERS {
            self.findings.push(errors::too_large(named.span));
            return None;
        }
        let (id, size) = self.builder.enumeration(name, &known);
        if let Some(name) = &named.name {
            self.tag(Tag::Enum, name, id);
        }
        Some(self.made(id, Layout { size: u64::from(size), align: u64::from(size) }))
    }

    fn typedef(&mut self, names: &CMember) {
        let Some(base) = self.base_type(&names.base) else { return };
        for declarator in &names.declarators {
            let (Some(made), Some(name)) = (self.declared(base, declarator), &declarator.name) else {
                continue;
            };
            let id = self.builder.typedef(&name.text, made.id);
            let made = Made { id, ..made };
            match self.typedefs.get(&name.text) {
                Some((_, first)) => self.findings.push(errors::defined_twice("type", name, *first)),
                None => {
                    self.typedefs.insert(name.text.clone(), (made, name.span));
                }
            }
        }
    }

    fn base_type(&mut self, base: &CBase) -> Option<Made> {
        match base {
            CBase::Named(name) => self.named(name),
            CBase::Record(record) => self.record(record),
            CBase::Enum(named) => self.enumeration(named),
        }
    }

    fn named(&mut self, name: &Name) -> Option<Made> {
        let text = name.text.as_str();
        if let Some((made, _)) = self.typedefs.get(text) {
            return Some(*made);
        }
        if let Some(made) = self.scalars.get(text) {
            return Some(*made);
        }
        let made = if text == "void" {
            Made { id: 0, layout: None }
        } else if let Some(Type::Int { bits, signed }) = c_integer(text).or_else(|| integer_named(text)) {
            let bytes = u32::from(bits) / 8;
            let id = self.builder.int(text, bytes, signed);
            self.made(id, Layout { size: u64::from(bytes), align: u64::from(bytes) })
        } else if let "bool" | "_Bool" = text {
            let id = self.builder.bool();
            self.made(id, Layout { size: 1, align: 1 })
        } else if let Some(bytes) = float_bytes(text) {
            let id = self.builder.float(text, bytes);
            self.made(id, Layout { size: u64::from(bytes), align: u64::from(bytes) })
        } else if let Some(id) = self.base.as_ref().and_then(|base| base.typedef_named(text)) {
            Made { id, layout: self.kernel_layout(id) }
        } else {
            let kernel = self.base.as_ref().map(|base| base.similar_typedefs(text)).unwrap_or_default();
            let own = similar(text, self.typedefs.keys().map(String::as_str));
            self.findings.push(errors::unknown_c_type(name, &[own, kernel].concat()));
            return None;
        };
        self.scalars.insert(text.to_owned(), made);
        Some(made)
    }

    /// The type that a declarator makes of its base.
    fn declared(&mut self, base: Made, declarator: &CDeclarator) -> Option<Made> {
        let mut made = base;
        for modifier in &declarator.modifiers {
            made = match modifier {
                CModifier::Pointer => {
                    let id = self.builder.ptr(made.id);
                    self.made(id, Layout { size: 8, align: 8 })
                }
                // A function has no value; a pointer to it is one to `void`.
                CModifier::Function => Made { id: 0, layout: None },
                CModifier::Array(size) => {
                    let Some(element) = made.layout else {
                        return self.no_size(declarator.span, "an element of this array");
                    };
                    let len = match size {
                        Some(size) => match self.constant(size).map(u32::try_from) {
                            Some(Ok(len)) => len,
                            _ => {
                                self.findings.push(errors::not_a_size("the size of an array", size.span));
                                return None;
                            }
                        },
                        None => 0,
                    };
                    let size = element.size.saturating_mul(u64::from(len));
                    if size > MAX_BYTES {
                        self.findings.push(errors::too_large(declarator.span));
                        return None;
                    }
                    let id = self.builder.array(made.id, len);
                    self.made(id, Layout { size, align: element.align })
                }
            };
        }
        Some(made)
    }

    fn no_size<T>(&mut self, span: Span, what: &str) -> Option<T> {
        self.findings.push(errors::incomplete(what, span));
        None
    }

    /// Places what a member declares.
    fn member(&mut self, member: &CMember, place: &mut Place, into: &mut Vec<btf::Member>) {
        let Some(base) = self.base_type(&member.base) else { return };
        if member.declarators.is_empty() {
            // An anonymous struct or union; one that is only defined here has no room of its own.
            if let (CBase::Record(CRecord { name: None, .. }), Some(layout)) = (&member.base, base.layout) {
                let bit_offset = place.put(layout, None);
                into.push(btf::Member { name: String::new(), type_id: base.id, bit_offset, bits: 0 });
            }
            return;
        }
        for declarator in &member.declarators {
            let Some(made) = self.declared(base, declarator) else { continue };
            let Some(layout) = made.layout else {
                let name = base_name(&member.base);
                self.findings.push(errors::incomplete(&name, member.span));
                continue;
            };
            let (packed, aligned) = self.attributes(&declarator.attributes);
            let align = if packed { 1 } else { layout.align };
            let layout = Layout { align: align.max(aligned), ..layout };
            let Some(bits) = self.bits(declarator, layout) else { continue };
            let bit_offset = place.put(layout, bits);
            // Padding has no name.
            if let Some(name) = &declarator.name {
                let bits = bits.unwrap_or(0) as u32;
                into.push(btf::Member { name: name.text.clone(), type_id: made.id, bit_offset, bits });
            }
        }
    }

    /// The width of a bit-field, if it is one; nothing if it is a wrong one.
    fn bits(&mut self, declarator: &CDeclarator, layout: Layout) -> Option<Option<u64>> {
        let Some(width) = &declarator.bits else { return Some(None) };
        let Some(bits) = self.constant(width) else {
            self.findings.push(errors::not_a_size("the width of a bit-field", width.span));
            return None;
        };
        let named = i128::from(declarator.name.is_some());
        let scalar = declarator.modifiers.is_empty() && layout.size <= 8;
        if !scalar || !(named..=i128::from(layout.size * 8)).contains(&bits) {
            self.findings.push(errors::bad_bit_field(width.span));
            return None;
        }
        Some(Some(bits as u64))
    }

    /// Whether it is packed, and the least alignment that is asked for.
    fn attributes(&mut self, attributes: &[CAttribute]) -> (bool, u64) {
        let (mut packed, mut aligned) = (false, 1);
        for CAttribute { name, argument } in attributes {
            match (name.text.trim_matches('_'), argument) {
                ("packed", None) => packed = true,
                ("aligned", None) => aligned = 16,
                ("aligned", Some(argument)) => match self.constant(argument) {
                    Some(n @ 1..=4096) if (n as u64).is_power_of_two() => aligned = aligned.max(n as u64),
                    _ => self.findings.push(errors::not_a_size("the alignment", argument.span)),
                },
                _ => self.findings.push(errors::unknown_attribute(name)),
            }
        }
        (packed, aligned)
    }

    /// The value of a constant expression.
    fn constant(&mut self, expr: &ast::Expr) -> Option<i128> {
        match &expr.kind {
            Ast::Int(value) => Some(i128::from(*value)),
            Ast::Bool(value) => Some(i128::from(*value)),
            Ast::Ident(name) => match self.constants.get(&name.text) {
                Some(value) => Some(*value),
                None => self.base.as_ref()?.enumerator(&name.text).map(|(value, _)| i128::from(value)),
            },
            Ast::Unary { op, operand } => {
                let value = self.constant(operand)?;
                match op {
                    UnaryOp::Neg => Some(-value),
                    UnaryOp::BitNot => Some(!value),
                    UnaryOp::Not => Some(i128::from(value == 0)),
                    UnaryOp::Comptime => Some(value),
                    UnaryOp::Deref | UnaryOp::AddressOf => None,
                }
            }
            Ast::Binary { op, left, right } => {
                let (a, b) = (self.constant(left)?, self.constant(right)?);
                let value = match constant::compare(*op, a, b) {
                    Some(truth) => i128::from(truth),
                    None => match constant::fold(*op, a, b)? {
                        Folded::Value(value) => value,
                        Folded::ZeroDivisor | Folded::BadShift | Folded::Overflow => return None,
                    },
                };
                // Far from where 128 bits end, however long the expression is.
                (value.unsigned_abs() < 1 << 64).then_some(value)
            }
            // A `#define` whose value is put in its place.
            Ast::Block(block) if block.stmts.is_empty() => self.constant(block.value.as_deref()?),
            _ => None,
        }
    }
}

/// Where the next member of a record goes.
struct Place {
    is_union: bool,
    packed: bool,
    /// Bits that are taken; of a union always the start.
    at: u64,
    /// The end of the farthest member, in bits.
    end_bits: u64,
    align: u64,
}

impl Place {
    fn new(is_union: bool, packed: bool) -> Place {
        Place { is_union, packed, at: 0, end_bits: 0, align: 1 }
    }

    /// Takes room for a member, or a bit-field of so many bits; its first bit.
    fn put(&mut self, layout: Layout, bits: Option<u64>) -> u32 {
        let align = if self.packed { 1 } else { layout.align };
        let unit = layout.size * 8;
        let start = match bits {
            // A width of zero ends the unit.
            Some(0) => self.at.next_multiple_of(unit.max(8)),
            Some(bits) if !self.packed && self.at % unit + bits > unit => self.at.next_multiple_of(align * 8),
            Some(_) => self.at,
            None => self.at.next_multiple_of(align * 8),
        };
        if bits != Some(0) {
            self.align = self.align.max(align);
        }
        let end = start.saturating_add(bits.unwrap_or(unit));
        self.end_bits = self.end_bits.max(end);
        self.at = if self.is_union { 0 } else { end };
        // What does not fit is reported when the record ends.
        u32::try_from(start).unwrap_or(u32::MAX)
    }
}

fn base_name(base: &CBase) -> String {
    match base {
        CBase::Named(name) => name.text.clone(),
        CBase::Record(CRecord { is_union, name, .. }) => {
            let word = if *is_union { "union" } else { "struct" };
            name.as_ref().map_or(word.to_owned(), |n| format!("{word} {}", n.text))
        }
        CBase::Enum(CEnum { name, .. }) => {
            name.as_ref().map_or("enum".to_owned(), |n| format!("enum {}", n.text))
        }
    }
}

fn float_bytes(name: &str) -> Option<u32> {
    match name {
        "float" => Some(4),
        "double" => Some(8),
        "long double" => Some(16),
        _ => None,
    }
}

impl Checker<'_> {
    /// A finding about an unknown name, with what is to be known of headers.
    pub(crate) fn after_includes(&self, finding: Diagnostic) -> Diagnostic {
        if matches!(finding.code, "E0305" | "E0307") {
            errors::after_includes(finding, &self.includes)
        } else {
            finding
        }
    }
}
