//! The object: one ELF relocatable in the form that libbpf opens.
//!
//! ```text
//! raw_tp, tp, ...   one section per program type; programs are global functions in it
//! .text             callbacks, local functions, referred to by the section's symbol and an offset; functions that are
//!                   called, which are global so that the kernel verifier walks each once
//! .maps             a variable per map, described by BTF
//! .bss              the globals
//! license           the license's text
//! .BTF, .BTF.ext    types, functions, lines
//! ```

use object::write::{
    Object, Relocation, SectionId, StandardSection, Symbol as ObjectSymbol, SymbolId, SymbolSection,
};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind,
    SymbolScope,
};

use super::EmitError;
use super::btf::{self, Builder, Linkage, SectionExt};
use super::code::{Code, Symbol};
use super::lines::Lines;
use crate::attach::ProgramKind;
use crate::helpers;
use crate::ir::{FuncRef, Inst, MapDef, Module, Program};
use crate::sources::Sources;

/// Bytes of an instruction.
const INSN_BYTES: u64 = 8;

/// The section that makes libbpf load a program of this kind.
pub fn section_name(program: &Program) -> String {
    let bound = |prefix: &str| match &program.attach_to {
        Some(target) => format!("{prefix}/{target}"),
        None => prefix.to_owned(),
    };
    match program.kind {
        ProgramKind::TestRun => "raw_tp".to_owned(),
        ProgramKind::PerfEvent => "perf_event".to_owned(),
        ProgramKind::Tracepoint => "tp".to_owned(),
        ProgramKind::RawTracepoint => bound("tp_btf"),
        ProgramKind::Kprobe => "kprobe".to_owned(),
        ProgramKind::Kretprobe => "kretprobe".to_owned(),
        ProgramKind::Fentry => bound("fentry"),
        ProgramKind::Fexit => bound("fexit"),
        ProgramKind::Uprobe | ProgramKind::Usdt => "uprobe".to_owned(),
        ProgramKind::Uretprobe => "uretprobe".to_owned(),
        ProgramKind::Iter => bound("iter"),
        ProgramKind::Bench => "xdp".to_owned(),
    }
}

/// The name of a program's function in the object.
pub fn function_name(program: &Program, function: FuncRef) -> String {
    match function.as_u32() {
        0 => program.name.clone(),
        n => format!("{}_fn{n}", program.name),
    }
}

/// Writes the object. `code` holds each program's functions in order.
///
/// # Errors
/// If the ELF writer refuses something.
pub fn write(module: &Module, code: &[Vec<Code>], sources: &Sources) -> Result<Vec<u8>, EmitError> {
    let mut writer = Writer::new(module, sources);
    // Callbacks first: relocations to them need their offsets.
    for (program, code) in module.programs.iter().zip(code) {
        let mut offsets = Vec::new();
        for (n, code) in code.iter().enumerate().skip(1) {
            offsets.push(writer.function(program, FuncRef::from_u32(n as u32), code));
        }
        writer.callbacks.push(offsets);
    }
    let mut entries = Vec::new();
    for (program, code) in module.programs.iter().zip(code) {
        entries.push(code.first().map(|code| writer.function(program, FuncRef::from_u32(0), code)));
    }
    for (n, (code, entry)) in code.iter().zip(entries).enumerate() {
        for (code, place) in code.iter().zip(entry.into_iter().chain(writer.callbacks[n].clone())) {
            writer.relocations(n, place, code)?;
        }
    }
    writer.finish(module)
}

/// Where a function went.
#[derive(Clone, Copy)]
struct Place {
    section: SectionId,
    /// Byte offset in it.
    offset: u64,
    symbol: SymbolId,
}

/// Bytes of memory that a function gets the address of, if it is called ([`helpers::calls_function`]).
fn called_with(program: &Program, callee: FuncRef) -> Option<u32> {
    let calls = program.functions.values().flat_map(|f| f.insts.values().map(move |inst| (f, inst)));
    calls.into_iter().find_map(|(caller, inst)| match inst {
        Inst::Call { helper, args } if helpers::calls_function(*helper) => {
            let args = args.as_slice(&caller.pool);
            let named = matches!(caller.def(args[0]), Some(Inst::FnAddr(f)) if *f == callee);
            caller.as_const(args[2]).filter(|_| named).and_then(|bytes| u32::try_from(bytes).ok())
        }
        _ => None,
    })
}

struct Writer<'a> {
    object: Object<'a>,
    btf: Builder,
    lines: Lines<'a>,
    ext: Vec<(SectionId, SectionExt)>,
    maps: Vec<SymbolId>,
    bss: Option<SectionId>,
    /// Places of each program's callbacks.
    callbacks: Vec<Vec<Place>>,
    u64_type: btf::TypeId,
    u32_type: btf::TypeId,
}

impl<'a> Writer<'a> {
    fn new(module: &Module, sources: &'a Sources) -> Writer<'a> {
        let mut btf = Builder::default();
        let lines = Lines::new(sources);
        let (u64_type, u32_type) = (btf.int(8), btf.int(4));
        let mut writer = Writer {
            object: Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little),
            btf,
            lines,
            ext: Vec::new(),
            maps: Vec::new(),
            bss: None,
            callbacks: Vec::new(),
            u64_type,
            u32_type,
        };
        writer.license(&module.license);
        writer.maps(module);
        writer.globals(module);
        writer
    }

    fn license(&mut self, license: &str) {
        let section = self.object.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
        let mut text = license.as_bytes().to_vec();
        text.push(0);
        let size = text.len() as u64;
        self.object.append_section_data(section, &text, 1);
        self.symbol("_license", section, 0, size, SymbolKind::Data, SymbolScope::Dynamic);
    }

    fn symbol(
        &mut self,
        name: &str,
        section: SectionId,
        value: u64,
        size: u64,
        kind: SymbolKind,
        scope: SymbolScope,
    ) -> SymbolId {
        self.object.add_symbol(ObjectSymbol {
            name: name.as_bytes().to_vec(),
            value,
            size,
            kind,
            scope,
            weak: false,
            section: SymbolSection::Section(section),
            flags: SymbolFlags::None,
        })
    }

    /// A variable per map whose type says what to create: `type`, `key_size`... are pointers to arrays
    /// of so many elements.
    fn maps(&mut self, module: &Module) {
        if module.maps.is_empty() {
            return;
        }
        let section = self.object.add_section(Vec::new(), b".maps".to_vec(), SectionKind::Data);
        let mut vars = Vec::new();
        for def in module.maps.values() {
            let fields = map_fields(def);
            let members: Vec<(&str, btf::TypeId)> = fields
                .iter()
                .map(|(name, value)| {
                    let array = self.btf.array(self.u32_type, self.u32_type, *value);
                    (*name, self.btf.ptr(array))
                })
                .collect();
            let ty = self.btf.struct_of_pointers(&members);
            let size = members.len() as u64 * 8;
            let offset = self.object.append_section_data(section, &vec![0; size as usize], 8);
            let symbol =
                self.symbol(&def.name, section, offset, size, SymbolKind::Data, SymbolScope::Dynamic);
            self.maps.push(symbol);
            vars.push((self.btf.var(&def.name, ty), offset as u32, size as u32));
        }
        let size = vars.last().map_or(0, |(_, offset, size)| offset + size);
        self.btf.datasec(".maps", size, &vars);
    }

    fn globals(&mut self, module: &Module) {
        let size = module.globals.values().map(|g| g.offset + g.size).max().unwrap_or(0);
        if size == 0 {
            return;
        }
        let section = self.object.add_section(Vec::new(), b".bss".to_vec(), SectionKind::UninitializedData);
        self.object.append_section_bss(section, u64::from(size), 8);
        self.bss = Some(section);
        let mut sorted: Vec<_> = module.globals.values().filter(|g| g.size > 0).collect();
        sorted.sort_by_key(|g| g.offset);
        let mut vars = Vec::new();
        for global in sorted {
            let ty = match global.size {
                8 => self.u64_type,
                4 => self.u32_type,
                1 | 2 => self.btf.int(global.size),
                bytes if bytes % 8 == 0 => self.btf.array(self.u64_type, self.u32_type, bytes / 8),
                bytes => {
                    let byte = self.btf.int(1);
                    self.btf.array(byte, self.u32_type, bytes)
                }
            };
            let (offset, bytes) = (u64::from(global.offset), u64::from(global.size));
            self.symbol(&global.name, section, offset, bytes, SymbolKind::Data, SymbolScope::Dynamic);
            vars.push((self.btf.var(&global.name, ty), global.offset, global.size));
        }
        self.btf.datasec(".bss", size, &vars);
    }

    /// Appends a function to its section.
    fn function(&mut self, program: &Program, function: FuncRef, code: &Code) -> Place {
        let is_entry = function.as_u32() == 0;
        let (name, params) = (function_name(program, function), program.functions[function].params.len());
        let memory = called_with(program, function);
        let is_global = is_entry || memory.is_some();
        let section_name = if is_entry { section_name(program) } else { ".text".to_owned() };
        let section = self.section(&section_name, is_entry);
        let bytes: Vec<u8> = code.words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let offset = self.object.append_section_data(section, &bytes, INSN_BYTES);
        let scope = if is_global { SymbolScope::Dynamic } else { SymbolScope::Compilation };
        let symbol = self.symbol(&name, section, offset, bytes.len() as u64, SymbolKind::Text, scope);

        // The kernel knows what a context is; a type that it does not expect would only add to its log.
        let names = if is_entry { &["ctx"][..] } else { &["a", "b", "c", "d", "e"] };
        let param = match memory {
            Some(bytes) => {
                let byte = self.btf.int(1);
                let array = self.btf.array(byte, self.u32_type, bytes);
                self.btf.ptr(array)
            }
            None => self.u64_type,
        };
        let params: Vec<_> = names.iter().take(params).map(|name| (*name, param)).collect();
        let linkage = if is_global { Linkage::Global } else { Linkage::Static };
        let ty = self.btf.func(&name, &params, self.u64_type, linkage);
        let lines = self.lines.of(&mut self.btf, code);
        if let Some((_, ext)) = self.ext.iter_mut().find(|(id, _)| *id == section) {
            ext.functions.push((offset as u32, ty));
            ext.lines
                .extend(lines.into_iter().map(|(at, line)| (offset as u32 + at * INSN_BYTES as u32, line)));
        }
        Place { section, offset, symbol }
    }

    /// The section of this name, made when it is first asked for.
    fn section(&mut self, name: &str, is_entry: bool) -> SectionId {
        let text = self.btf.name(name);
        if let Some((id, _)) = self.ext.iter().find(|(_, ext)| ext.section == text) {
            return *id;
        }
        let id = if is_entry {
            self.object.add_section(Vec::new(), name.as_bytes().to_vec(), SectionKind::Text)
        } else {
            self.object.section_id(StandardSection::Text)
        };
        self.ext.push((id, SectionExt { section: text, functions: Vec::new(), lines: Vec::new() }));
        id
    }

    fn relocations(
        &mut self,
        program: usize,
        Place { section, offset, .. }: Place,
        code: &Code,
    ) -> Result<(), EmitError> {
        for (word, symbol) in &code.relocations {
            let at = offset + *word as u64 * INSN_BYTES;
            let find = |function: &FuncRef| {
                let index = function.as_u32().checked_sub(1);
                let place = index.and_then(|n| self.callbacks[program].get(n as usize)).copied();
                place.ok_or_else(|| EmitError::Object(format!("no function {function}")))
            };
            // The immediate of a `ld_imm64`, or of a call (Documentation/bpf/llvm_reloc.rst).
            let r_type = match symbol {
                Symbol::Call(_) => object::elf::R_BPF_64_32,
                Symbol::Map(_) | Symbol::Bss(_) | Symbol::Function(_) => object::elf::R_BPF_64_64,
            };
            let symbol = match symbol {
                Symbol::Call(function) => find(function)?.symbol,
                Symbol::Map(map) => self.maps[map.as_u32() as usize],
                Symbol::Bss(_) => {
                    let bss = self.bss.ok_or_else(|| EmitError::Object("a global without size".into()))?;
                    self.object.section_symbol(bss)
                }
                Symbol::Function(function) => {
                    let Place { section: text, offset: target, .. } = find(function)?;
                    // libbpf takes the offset from the instruction.
                    let imm = (target as u32).to_le_bytes();
                    let data = self.object.section_mut(section).data_mut();
                    data[at as usize + 4..at as usize + 8].copy_from_slice(&imm);
                    self.object.section_symbol(text)
                }
            };
            let flags = RelocationFlags::Elf { r_type };
            let relocation = Relocation { offset: at, symbol, addend: 0, flags };
            self.object.add_relocation(section, relocation).map_err(|e| EmitError::Object(e.to_string()))?;
        }
        Ok(())
    }

    fn finish(mut self, module: &Module) -> Result<Vec<u8>, EmitError> {
        debug_assert_eq!(self.callbacks.len(), module.programs.len());
        let ext: Vec<SectionExt> = self.ext.into_iter().map(|(_, ext)| ext).collect();
        for (name, data) in [(".BTF", self.btf.finish()), (".BTF.ext", btf::ext(&ext))] {
            let section =
                self.object.add_section(Vec::new(), name.as_bytes().to_vec(), SectionKind::Metadata);
            self.object.append_section_data(section, &data, 4);
        }
        self.object.write().map_err(|e| EmitError::Object(e.to_string()))
    }
}

/// What libbpf reads of a map definition. Sizes of zero are left out: ring buffers have neither keys nor values.
fn map_fields(def: &MapDef) -> Vec<(&'static str, u32)> {
    let MapDef { name: _, kind, key_size, value_size, max_entries, flags } = def;
    let all = [
        ("type", *kind as u32),
        ("key_size", *key_size),
        ("value_size", *value_size),
        ("max_entries", *max_entries),
        ("map_flags", *flags),
    ];
    all.into_iter().filter(|(_, value)| *value != 0).collect()
}
