//! A kernel made of facts.

use std::collections::{BTreeMap, HashMap};

use memql_grammar::ast::{FactField, KernelFact, KernelFactKind, KernelFacts, Span, TypeBase};

use super::diagnostics::{self, Finding};
use super::shape::{RecordName, Records, Shape, c_text};
use super::value;
use crate::btf::fixture::Builder;
use crate::diagnostic::Diagnostic;
use crate::providers;
use crate::target::{Arch, Features, FieldForm, Frozen, TracepointField, TracepointFormat, UserFile};
use crate::usdt::UsdtNote;

/// What the wall clock shows when a test's clocks are zero: the start of the year 2000, in nanoseconds since 1970.
pub(super) const WALL_NS_AT_ZERO: i64 = 946_684_800_000_000_000;

/// Bytes before the fields of a tracepoint's record: `struct trace_entry` (include/linux/trace_events.h).
const RECORD_HEAD: u32 = 8;

/// Where the fields of a syscall's record begin; each takes a word (kernel/trace/trace_syscalls.c).
const SYSCALL_HEAD: u32 = 16;

/// A kernel that tests run on.
#[derive(Debug)]
pub struct Kernel<'a> {
    /// For the compiler.
    pub target: Frozen,
    pub(super) records: Records<'a>,
    /// Arguments by what is attached to: `tracepoint:oom:mark_victim`, `fentry:vfs_read`.
    pub(super) fields: BTreeMap<String, &'a [FactField]>,
    /// Addresses of symbols.
    pub(super) symbols: Vec<(String, u64)>,
}

/// Makes a kernel of all facts.
///
/// # Errors
/// What of them cannot be.
pub fn kernel<'a>(facts: &[&'a KernelFacts]) -> Result<Kernel<'a>, Vec<Diagnostic>> {
    let facts: Vec<&KernelFact> = facts.iter().flat_map(|block| &block.facts).collect();
    let mut made = Making::default();
    // Types first: a fact may use what is declared behind it.
    for fact in &facts {
        made.declare_type(fact);
    }
    for fact in &facts {
        if let Err(finding) = made.fact(fact) {
            made.findings.push(*finding);
        }
    }
    made.finish()
}

#[derive(Default)]
struct Making<'a> {
    records: Records<'a>,
    fields: BTreeMap<String, &'a [FactField]>,
    tracepoints: BTreeMap<(String, String), TracepointFormat>,
    functions: Vec<String>,
    /// Functions that BTF describes, and raw tracepoints.
    described: Vec<(Described, &'a [FactField])>,
    files: BTreeMap<String, (UserFile, Vec<(String, u64)>)>,
    static_probes: BTreeMap<String, Vec<UsdtNote>>,
    symbols: Vec<(String, u64)>,
    declared: BTreeMap<String, Span>,
    findings: Vec<Diagnostic>,
}

enum Described {
    Function(String),
    RawTracepoint(String),
}

impl<'a> Making<'a> {
    /// Notes a declaration; whether it is the first of its name.
    fn first(&mut self, what: String, span: Span) -> bool {
        match self.declared.get(&what) {
            Some(first) => {
                self.findings.push(*diagnostics::declared_twice(span, &format!("`{what}`"), *first));
                false
            }
            None => {
                self.declared.insert(what, span);
                true
            }
        }
    }

    fn declare_type(&mut self, fact: &'a KernelFact) {
        match &fact.kind {
            KernelFactKind::Record { tag: TypeBase::Struct(tag) | TypeBase::Union(tag), fields } => {
                let is_union = matches!(&fact.kind, KernelFactKind::Record { tag: TypeBase::Union(_), .. });
                let keyword = if is_union { "union" } else { "struct" };
                if self.first(format!("{keyword} {}", tag.text), fact.span) {
                    let name = RecordName { tag: tag.text.clone(), is_union };
                    self.records.records.insert(name, (fields, fact.span));
                }
            }
            KernelFactKind::Enum { tag: TypeBase::Enum(tag), values } => {
                if self.first(format!("enum {}", tag.text), fact.span) {
                    self.records.enums.insert(tag.text.clone(), (values, fact.span));
                }
            }
            // `enum x (a: int32)`, `struct x (a = 1)`
            KernelFactKind::Record { .. } => self.findings.push(*diagnostics::fact_type(
                fact.span,
                "an `enum` has enumerators, `enum zone (NORMAL = 1)`",
            )),
            KernelFactKind::Enum { .. } => self.findings.push(*diagnostics::fact_type(
                fact.span,
                "a `struct` has members with types, `struct page (flags: uint64)`",
            )),
            KernelFactKind::Point { .. } | KernelFactKind::Symbol { .. } => {}
        }
    }

    fn fact(&mut self, fact: &'a KernelFact) -> Result<(), Finding> {
        match &fact.kind {
            KernelFactKind::Record { .. } | KernelFactKind::Enum { .. } => Ok(()),
            KernelFactKind::Symbol { name, address } => {
                if self.first(format!("symbol {}", name.text), fact.span) {
                    self.symbols.push((name.text.clone(), *address));
                }
                Ok(())
            }
            KernelFactKind::Point { spec, fields } => {
                let texts: Vec<&str> = spec.parts.iter().map(|p| p.text.as_str()).collect();
                let written = texts.join(":");
                let provider = texts.first().and_then(|name| providers::provider(name)).map(|p| p.name);
                let wild =
                    texts.iter().any(|text| text.is_empty() || text.contains(['*', '?', '[', '+', '$']));
                let (Some(provider), false) = (provider, wild) else {
                    return Err(diagnostics::no_fact(spec.span, &written));
                };
                match (provider, &texts[1..]) {
                    ("tracepoint", [category, name]) => {
                        let format = self.format(category, fields)?;
                        let key = format!("tracepoint:{category}:{name}");
                        if self.first(key.clone(), fact.span) {
                            self.fields.insert(key, fields);
                            self.tracepoints.insert(((*category).into(), (*name).into()), format);
                        }
                        Ok(())
                    }
                    ("rawtracepoint", [name]) => {
                        let key = format!("rawtracepoint:{name}");
                        if self.first(key.clone(), fact.span) {
                            self.fields.insert(key, fields);
                            self.described.push((Described::RawTracepoint((*name).into()), fields));
                        }
                        Ok(())
                    }
                    ("fentry" | "fexit", [function]) => {
                        let key = format!("fentry:{function}");
                        if self.first(key.clone(), fact.span) {
                            self.fields.insert(key, fields);
                            self.described.push((Described::Function((*function).into()), fields));
                            self.function(function);
                        }
                        Ok(())
                    }
                    ("kprobe" | "kretprobe", [function]) if fields.is_empty() => {
                        self.function(function);
                        Ok(())
                    }
                    ("usdt", [file, provider, name]) => self.static_probe(file, provider, name, fields),
                    ("uprobe" | "uretprobe", [file, function]) if fields.is_empty() => {
                        self.user_function(file, function);
                        Ok(())
                    }
                    ("kprobe" | "kretprobe" | "uprobe" | "uretprobe", _) if !fields.is_empty() => {
                        Err(diagnostics::no_fields(spec.span.to(fact.span), provider))
                    }
                    _ => Err(diagnostics::no_fact(spec.span, &written)),
                }
            }
        }
    }

    fn function(&mut self, name: &str) {
        if !self.functions.iter().any(|f| f == name) {
            self.functions.push(name.to_owned());
        }
    }

    /// The functions of a file.
    fn file(&mut self, file: &str) -> &mut Vec<(String, u64)> {
        let user_file = || UserFile { path: file.to_owned(), shown_path: file.to_owned() };
        &mut self.files.entry(file.to_owned()).or_insert_with(|| (user_file(), Vec::new())).1
    }

    /// A static probe whose arguments are in the registers of a function's.
    fn static_probe(
        &mut self,
        file: &str,
        provider: &str,
        name: &str,
        fields: &[FactField],
    ) -> Result<(), Finding> {
        const REGISTERS: [&str; 6] = ["di", "si", "dx", "cx", "8", "9"];
        let mut arguments = Vec::new();
        for (n, FactField { name, ty }) in fields.iter().enumerate() {
            let (bytes, signed) = match self.records.shape(ty)? {
                Shape::Int { bytes, signed, .. } => (bytes, signed),
                Shape::Pointer(_) | Shape::Text => (8, false),
                _ => {
                    return Err(diagnostics::fact_type(
                        ty.span,
                        "a static probe passes integers and pointers",
                    ));
                }
            };
            let register = REGISTERS.get(n);
            let register =
                register.ok_or_else(|| diagnostics::fact_type(name.span, "a test passes at most six"))?;
            let sign = if signed { "-" } else { "" };
            arguments.push(format!("{sign}{bytes}@%r{register}"));
        }
        self.file(file);
        let probes = self.static_probes.entry(file.to_owned()).or_default();
        let file_offset = 0x100_0000 + 16 * probes.len() as u64;
        probes.push(UsdtNote {
            provider: provider.to_owned(),
            name: name.to_owned(),
            file_offset,
            semaphore: None,
            address: file_offset,
            arguments: arguments.join(" "),
        });
        Ok(())
    }

    fn user_function(&mut self, file: &str, function: &str) {
        let functions = self.file(file);
        if !functions.iter().any(|(name, _)| name == function) {
            functions.push((function.to_owned(), 0x1000 + 16 * functions.len() as u64));
        }
    }

    /// The record of a tracepoint, as tracefs would describe it.
    fn format(&self, category: &str, fields: &[FactField]) -> Result<TracepointFormat, Finding> {
        let syscall = category == "syscalls";
        let mut end = if syscall { SYSCALL_HEAD } else { RECORD_HEAD };
        let mut format = TracepointFormat::default();
        for FactField { name, ty } in fields {
            let shape = self.records.shape(ty)?;
            let (ctype, form, size, align, signed) = match &shape {
                Shape::Int { bytes, signed, name } => (name.clone(), FieldForm::Int, *bytes, *bytes, *signed),
                Shape::Bool => ("bool".into(), FieldForm::Int, 1, 1, false),
                Shape::Enum(name) => (format!("enum {name}"), FieldForm::Int, 4, 4, false),
                Shape::Text => {
                    ("__data_loc char[]".into(), FieldForm::DataLoc { is_char: true }, 4, 4, false)
                }
                Shape::Pointer(_) => (c_text(ty), FieldForm::Pointer, 8, 8, false),
                Shape::Chars(len) => {
                    ("char".into(), FieldForm::Array { len: *len, is_char: true }, *len, 1, false)
                }
                Shape::Array(elem, len) => match &**elem {
                    Shape::Int { bytes, signed, name } => {
                        let form = FieldForm::Array { len: *len, is_char: false };
                        (name.clone(), form, bytes * len, *bytes, *signed)
                    }
                    _ => {
                        return Err(diagnostics::fact_type(
                            ty.span,
                            "a tracepoint has arrays of integers only",
                        ));
                    }
                },
                Shape::Record(_) => {
                    return Err(diagnostics::fact_type(
                        ty.span,
                        "a tracepoint has no structs, only pointers to them",
                    ));
                }
            };
            let (size, align) = if syscall && form == FieldForm::Int { (8, 8) } else { (size, align) };
            let offset = end.next_multiple_of(align);
            end = offset + size;
            format.fields.push(TracepointField {
                name: name.text.clone(),
                ctype,
                offset,
                size,
                signed,
                form,
            });
        }
        Ok(format)
    }

    fn finish(mut self) -> Result<Kernel<'a>, Vec<Diagnostic>> {
        let btf = match Types::of(&self.records, &self.described) {
            Ok(builder) => builder.btf(),
            Err(finding) => {
                self.findings.push(*finding);
                return Err(self.findings);
            }
        };
        if !self.findings.is_empty() {
            self.findings.sort_by_key(|finding| finding.primary.0);
            return Err(self.findings);
        }
        for (_, functions) in self.files.values_mut() {
            functions.sort();
        }
        let target = Frozen {
            features: features(),
            tracepoints: self.tracepoints,
            btf: Some(btf),
            functions: self.functions,
            signatures: BTreeMap::new(),
            source_lines: BTreeMap::new(),
            code: BTreeMap::new(),
            modules: BTreeMap::new(),
            bpf_programs: BTreeMap::new(),
            user_files: self.files,
            usdt_probes: self.static_probes,
            symbols: self.symbols.iter().cloned().collect(),
        };
        Ok(Kernel { target, records: self.records, fields: self.fields, symbols: self.symbols })
    }
}

/// Everything that eBPF can do; what a kernel lacks is no matter of a script's tests.
fn features() -> Features {
    Features { boot_to_realtime_ns: WALL_NS_AT_ZERO, ..Features::all(Arch::X86_64, 2) }
}

/// A type record, by what it is made of. Ids count from 1 in the order in which they are first asked for, so that a
/// struct can refer to one that comes later.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Node {
    Int { name: String, bytes: u32, signed: bool },
    Bool,
    Pointer(u32),
    Array(u32, u32),
    Record { tag: String, is_union: bool },
    Enum(String),
    Forward { tag: String, is_union: bool },
    Proto { ret: u32, params: Vec<(String, u32)> },
    Function { name: String, proto: u32 },
    Typedef { name: String, of: u32 },
}

/// BTF under construction.
struct Types<'r, 'a> {
    records: &'r Records<'a>,
    nodes: Vec<Node>,
    ids: HashMap<Node, u32>,
}

impl Types<'_, '_> {
    fn of(records: &Records<'_>, described: &[(Described, &[FactField])]) -> Result<Builder, Finding> {
        let mut types = Types { records, nodes: Vec::new(), ids: HashMap::new() };
        for RecordName { tag, is_union } in records.records.keys() {
            types.id(Node::Record { tag: tag.clone(), is_union: *is_union });
        }
        for name in records.enums.keys() {
            types.id(Node::Enum(name.clone()));
        }
        for (what, fields) in described {
            types.described(what, fields)?;
        }
        types.emit()
    }

    fn id(&mut self, node: Node) -> u32 {
        let next = self.nodes.len() as u32 + 1;
        let nodes = &mut self.nodes;
        *self.ids.entry(node).or_insert_with_key(|node| {
            nodes.push(node.clone());
            next
        })
    }

    fn shape(&mut self, shape: &Shape) -> u32 {
        match shape {
            Shape::Int { bytes, signed, name } => {
                self.id(Node::Int { name: name.clone(), bytes: *bytes, signed: *signed })
            }
            Shape::Bool => self.id(Node::Bool),
            Shape::Text => {
                let char_type = self.char();
                self.id(Node::Pointer(char_type))
            }
            Shape::Pointer(to) => {
                let to = match self.records.shape(to) {
                    Ok(Shape::Text) => self.char(),
                    Ok(shape) => self.shape(&shape),
                    // What is not declared can be pointed to, but not looked into.
                    Err(_) => match &to.base {
                        TypeBase::Struct(tag) => {
                            self.id(Node::Forward { tag: tag.text.clone(), is_union: false })
                        }
                        TypeBase::Union(tag) => {
                            self.id(Node::Forward { tag: tag.text.clone(), is_union: true })
                        }
                        TypeBase::Enum(_)
                        | TypeBase::Named(_)
                        | TypeBase::Typeof(_)
                        | TypeBase::TypeofExpr(_) => 0,
                    },
                };
                self.id(Node::Pointer(to))
            }
            Shape::Array(elem, len) => {
                let elem = self.shape(elem);
                self.id(Node::Array(elem, *len))
            }
            Shape::Chars(len) => {
                let char_type = self.char();
                self.id(Node::Array(char_type, *len))
            }
            Shape::Record(RecordName { tag, is_union }) => {
                self.id(Node::Record { tag: tag.clone(), is_union: *is_union })
            }
            Shape::Enum(name) => self.id(Node::Enum(name.clone())),
        }
    }

    fn char(&mut self) -> u32 {
        self.id(Node::Int { name: "char".into(), bytes: 1, signed: true })
    }

    fn described(&mut self, what: &Described, fields: &[FactField]) -> Result<(), Finding> {
        let (mut params, mut ret) = (Vec::new(), 0);
        for FactField { name, ty } in fields {
            let shape = self.records.shape(ty)?;
            let id = self.shape(&shape);
            if name.text == "retval" {
                ret = id;
            } else {
                params.push((name.text.clone(), id));
            }
        }
        match what {
            Described::Function(name) => {
                let proto = self.id(Node::Proto { ret, params });
                self.id(Node::Function { name: name.clone(), proto });
            }
            Described::RawTracepoint(name) => {
                let private = self.id(Node::Pointer(0));
                params.insert(0, ("__data".into(), private));
                let proto = self.id(Node::Proto { ret: 0, params });
                let pointer = self.id(Node::Pointer(proto));
                self.id(Node::Typedef { name: format!("btf_trace_{name}"), of: pointer });
            }
        }
        Ok(())
    }

    /// Writes all records; members are looked at while it goes on, and may ask for more of them.
    fn emit(mut self) -> Result<Builder, Finding> {
        let mut builder = Builder::new();
        let mut at = 0;
        while let Some(node) = self.nodes.get(at).cloned() {
            at += 1;
            match node {
                Node::Int { name, bytes, signed } => builder.int(&name, bytes, signed),
                Node::Bool => builder.bool(),
                Node::Pointer(to) => builder.ptr(to),
                Node::Array(elem, len) => builder.array(elem, len),
                Node::Forward { tag, is_union } => builder.forward(&tag, is_union),
                Node::Function { name, proto } => builder.function(&name, proto),
                Node::Typedef { name, of } => builder.typedef(&name, of),
                Node::Proto { ret, params } => {
                    let params: Vec<(&str, u32)> = params.iter().map(|(n, t)| (n.as_str(), *t)).collect();
                    builder.proto(ret, &params)
                }
                Node::Enum(name) => {
                    let values = self.records.enums.get(&name).map_or(&[][..], |(values, _)| *values);
                    let mut known = Vec::new();
                    for named in values {
                        let number = value::number(&named.value).and_then(|n| i32::try_from(n).ok());
                        let wrong =
                            || diagnostics::wrong_value(named.value.span, "a number of at most 32 bits");
                        known.push((named.name.text.as_str(), number.ok_or_else(wrong)?));
                    }
                    builder.enumeration(&name, known.iter().any(|(_, n)| *n < 0), &known)
                }
                Node::Record { tag, is_union } => {
                    let name = RecordName { tag, is_union };
                    let span = self.records.records.get(&name).map_or_else(Span::default, |(_, span)| *span);
                    let members = self.records.members(&name, span)?;
                    let (size, _) = self.records.size(&Shape::Record(name.clone()), span)?;
                    let mut known = Vec::new();
                    for member in &members {
                        known.push((member.name.as_str(), self.shape(&member.shape), member.offset * 8, 0));
                    }
                    if is_union {
                        builder.union(&name.tag, size, &known)
                    } else {
                        builder.structure(&name.tag, size, &known)
                    }
                }
            };
        }
        Ok(builder)
    }
}
