//! Executables and libraries: opened once, looked up through blazesym.
//!
//! A file stays open from when a process that maps it is first seen, so that it can be read after
//! the process is gone, after a package update replaced it, and when it lives in another mount
//! namespace. blazesym is given its path under `/proc/self/fd`.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::rc::Rc;

use blazesym::symbolize::source::{Elf, Process, Source};
use blazesym::symbolize::{CodeInfo, Input, Sym, Symbolized, Symbolizer};

use super::SymbolOptions;
use super::build_id;
use super::demangle::demangle;
use super::frame::{Code, FileOffset, Inlined, Symbol, Unresolved};
use super::mappings::{FileKey, Mapping};
use super::open::open_mapped;

/// So many files are held open at most, to leave descriptors for everything else: processes may have
/// 1024 by default, and blazesym opens each file once more when it reads it.
const MOST_FILES: usize = 320;

/// A file that code is mapped from, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ModuleId(usize);

/// An address in a file, and whether it is a return address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The file.
    pub module: ModuleId,
    /// Byte offset in it.
    pub offset: u64,
    /// It is the instruction after a call.
    pub returns: bool,
}

/// All files seen.
pub(super) struct Modules {
    options: SymbolOptions,
    symbolizer: Option<Symbolizer>,
    modules: Vec<Module>,
    by_file: HashMap<FileKey, ModuleId>,
    resolved: HashMap<Place, Result<Rc<Symbol>, Unresolved>>,
}

/// One file.
#[derive(Debug)]
struct Module {
    /// As the process that mapped it first knows it.
    path: Rc<str>,
    file: Result<File, String>,
    /// Read when first asked for.
    build_id: Option<Option<Rc<str>>>,
}

impl Modules {
    /// No files yet.
    pub fn new(options: SymbolOptions) -> Modules {
        Modules {
            options,
            symbolizer: None,
            modules: Vec::new(),
            by_file: HashMap::new(),
            resolved: HashMap::new(),
        }
    }

    /// The file behind a process's mapping, opened if it is new and not among those that are open.
    pub fn open(&mut self, tgid: u32, mapping: &Mapping) -> ModuleId {
        let key = mapping.file_key();
        let known = self.by_file.get(&key).copied();
        if let Some(id) = known
            && self.modules[id.0].file.is_ok()
        {
            return id;
        }
        let file = if self.modules.len() < MOST_FILES || known.is_some() {
            open_mapped(tgid, mapping)
        } else {
            Err(format!("memql holds {MOST_FILES} files open already"))
        };
        if let Some(id) = known {
            // It could not be opened through another process; perhaps through this one.
            if file.is_ok() {
                self.modules[id.0].file = file;
                self.resolved.retain(|place, _| place.module != id);
            }
            return id;
        }
        let id = ModuleId(self.modules.len());
        let path = mapping.path.strip_suffix(" (deleted)").unwrap_or(&mapping.path);
        self.modules.push(Module { path: path.into(), file, build_id: None });
        self.by_file.insert(key, id);
        id
    }

    /// A file's path, as the first process that mapped it knows it.
    pub fn path(&self, id: ModuleId) -> Rc<str> {
        Rc::clone(&self.modules[id.0].path)
    }

    /// Where a place is, for those who want to resolve it themselves.
    pub fn file_offset(&mut self, place: Place) -> FileOffset {
        let module = &mut self.modules[place.module.0];
        let build_id =
            module.build_id.get_or_insert_with(|| module.file.as_ref().ok().and_then(build_id::read));
        FileOffset { build_id: build_id.clone(), offset: place.offset }
    }

    /// The symbol at a place that [`Modules::resolve`] was asked for.
    pub fn symbol(&self, place: Place) -> Result<Rc<Symbol>, Unresolved> {
        self.resolved.get(&place).cloned().unwrap_or(Err(Unresolved::NoSymbol))
    }

    /// Resolves many places, each file's in one go. What is known is not looked up again.
    pub fn resolve(&mut self, places: impl Iterator<Item = Place>) {
        let mut wanted: HashMap<ModuleId, Vec<Place>> = HashMap::new();
        for place in places.filter(|place| !self.resolved.contains_key(place)) {
            wanted.entry(place.module).or_default().push(place);
        }
        for (module, mut places) in wanted {
            places.sort_by_key(|place| (place.offset, place.returns));
            places.dedup();
            let symbols = self.look_up(module, &places);
            self.resolved.extend(places.into_iter().zip(symbols));
        }
    }

    fn look_up(&mut self, module: ModuleId, places: &[Place]) -> Vec<Result<Rc<Symbol>, Unresolved>> {
        let path = match &self.modules[module.0].file {
            Ok(file) => PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())),
            Err(error) => return vec![Err(Unresolved::File(error.clone())); places.len()],
        };
        let symbolizer = self.symbolizer.get_or_insert_with(|| new_symbolizer(self.options));
        let source = |debug_syms| {
            let mut elf = Elf::new(&path);
            elf.debug_syms = debug_syms;
            Source::Elf(elf)
        };
        let mut symbols = look_up_in(symbolizer, self.options, &source(self.options.debug_info), places);
        if self.options.debug_info {
            // Debug information has the names of the source (`__GI___libc_malloc`); people know those
            // that the file gives to others (`malloc`).
            let exported = look_up_in(symbolizer, self.options, &source(false), places);
            for (symbol, exported) in symbols.iter_mut().zip(exported) {
                match (symbol, exported) {
                    (Ok(found), Ok(Found { symbol: Symbol { name, offset, .. }, size: Some(_) })) => {
                        (found.symbol.name, found.symbol.offset) = (name, offset);
                    }
                    (symbol @ Err(_), exported @ Ok(_)) => *symbol = exported,
                    (Ok(_), Ok(Found { size: None, .. }) | Err(_)) | (Err(_), Err(_)) => {}
                }
            }
        }
        symbols.into_iter().map(|found| found.map(|found| Rc::new(found.symbol))).collect()
    }

    /// The symbol at an offset of the vDSO, which is the same memory in every process.
    pub fn vdso_symbol(&mut self, offset: u64) -> Option<Symbol> {
        let maps = fs::read("/proc/self/maps").ok()?;
        let own = super::mappings::parse(&maps).into_iter().find(|m| m.path == "[vdso]")?;
        let symbolizer = self.symbolizer.get_or_insert_with(|| new_symbolizer(self.options));
        let mut own_process = Process::new(blazesym::Pid::Slf);
        own_process.debug_syms = false;
        own_process.perf_map = false;
        let address = own.range.start.checked_add(offset)?;
        match symbolizer.symbolize_single(&Source::Process(own_process), Input::AbsAddr(address)).ok()? {
            Symbolized::Sym(sym) => {
                Some(symbol_of(sym, SymbolOptions { debug_info: false, ..self.options }).symbol)
            }
            Symbolized::Unknown(_) => None,
        }
    }
}

impl fmt::Debug for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Modules { options, symbolizer, modules, by_file: _, resolved } = self;
        f.debug_struct("Modules")
            .field("options", options)
            .field("symbolizer", &symbolizer.is_some())
            .field("modules", modules)
            .field("resolved", &resolved.len())
            .finish()
    }
}

/// A symbol with its size, if known.
struct Found {
    symbol: Symbol,
    size: Option<u64>,
}

fn new_symbolizer(options: SymbolOptions) -> Symbolizer {
    Symbolizer::builder()
        // Files are held open: they do not change under their descriptor's path.
        .enable_auto_reload(false)
        .enable_code_info(options.debug_info)
        .enable_inlined_fns(options.debug_info)
        // It takes a C function called `a` for a mangled `signed char`; see `demangle`.
        .enable_demangling(false)
        .build()
}

/// Looks places up in one source.
fn look_up_in(
    symbolizer: &Symbolizer,
    options: SymbolOptions,
    source: &Source<'_>,
    places: &[Place],
) -> Vec<Result<Found, Unresolved>> {
    let offsets: Vec<u64> = places.iter().map(|p| p.offset.saturating_sub(u64::from(p.returns))).collect();
    let mut symbols = symbolize_offsets(symbolizer, options, source, &offsets);
    // A return address whose call is in no symbol, or in one that it lies beyond: the place that
    // is returned to decides (a signal's trampoline is "returned" to without a call).
    for (place, symbol) in places.iter().zip(&mut symbols).filter(|(place, _)| place.returns) {
        match symbol {
            Ok(found) if found.size.is_none_or(|size| found.symbol.offset < size) => found.symbol.offset += 1,
            Ok(_) | Err(_) => {
                let again = symbolize_offsets(symbolizer, options, source, &[place.offset]).pop();
                *symbol = again.unwrap_or(Err(Unresolved::NoSymbol));
            }
        }
    }
    symbols
}

fn symbolize_offsets(
    symbolizer: &Symbolizer,
    options: SymbolOptions,
    source: &Source<'_>,
    offsets: &[u64],
) -> Vec<Result<Found, Unresolved>> {
    match symbolizer.symbolize(source, Input::FileOffset(offsets)) {
        Ok(symbols) => symbols
            .into_iter()
            .map(|symbol| match symbol {
                Symbolized::Sym(sym) => Ok(symbol_of(sym, options)),
                Symbolized::Unknown(_) => Err(Unresolved::NoSymbol),
            })
            .collect(),
        Err(error) => {
            let error = format!("cannot read its symbols: {error}");
            (0..offsets.len()).map(|_| Err(Unresolved::File(error.clone()))).collect()
        }
    }
}

fn symbol_of(sym: Sym<'_>, options: SymbolOptions) -> Found {
    let Sym { name, module: _, addr: _, offset, size, code_info, inlined, .. } = sym;
    let inlined = Vec::from(inlined)
        .into_iter()
        .map(|f| Inlined { name: shown_name(&f.name, options), code: f.code_info.as_ref().map(code_of) })
        .collect();
    let symbol = Symbol {
        name: shown_name(&name, options),
        offset: offset as u64,
        code: code_info.filter(|_| options.debug_info).map(|info| code_of(&info)),
        inlined,
    };
    Found { symbol, size: size.map(|s| s as u64).filter(|s| *s > 0) }
}

fn shown_name(name: &str, options: SymbolOptions) -> String {
    if options.demangle { demangle(name) } else { name.to_owned() }
}

fn code_of(info: &CodeInfo<'_>) -> Code {
    Code { path: info.to_path().to_string_lossy().into_owned(), line: info.line }
}
