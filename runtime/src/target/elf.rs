//! Functions of programs and libraries, from their ELF symbol tables.
//!
//! The file is input like any other: a damaged one gives an error.

use std::collections::BTreeMap;

use memql_compiler::target::{FactError, UserFile};
use object::elf::{PT_LOAD, STT_FUNC, STT_GNU_IFUNC, SymbolType};
use object::read::elf::ProgramHeader;
use object::{Object, ObjectSymbol, ObjectSymbolTable, SymbolFlags};

use super::refused;

/// Functions and the offsets of their first bytes in the file, sorted by name.
///
/// Symbols that pick an implementation at load time (`memcpy` of the C library) are left out: a
/// probe there would fire once, in the loader.
///
/// # Errors
/// If the file cannot be read or is not ELF.
pub fn functions(file: &UserFile) -> Result<Vec<(String, u64)>, FactError> {
    let image = Image::open(&file.path, &file.shown_path)?;
    let mut all = BTreeMap::new();
    image.each_symbol(|name, kind, address| {
        if kind == STT_FUNC
            && let Some(offset) = image.file_offset(address)
        {
            all.entry(name.to_owned()).or_insert(offset);
        }
    })?;
    Ok(all.into_iter().collect())
}

/// A symbol's address as the file has it (before the loader moves it).
///
/// # Errors
/// If the file cannot be read or is not ELF.
pub fn symbol_address(path: &str, name: &str) -> Result<Option<u64>, FactError> {
    let image = Image::open(path, path)?;
    let mut found = None;
    image.each_symbol(|symbol, _, address| {
        if symbol == name && found.is_none() {
            found = Some(address);
        }
    })?;
    Ok(found)
}

/// An ELF file in memory.
struct Image {
    bytes: Vec<u8>,
    shown: String,
    /// Loadable segments: address, offset in the file, bytes in the file.
    segments: Vec<(u64, u64, u64)>,
}

impl Image {
    fn open(path: &str, shown: &str) -> Result<Image, FactError> {
        let bytes = std::fs::read(path).map_err(|e| refused(&format!("cannot read `{shown}`"), &e))?;
        let mut image = Image { bytes, shown: shown.to_owned(), segments: Vec::new() };
        let segments = match image.parse()? {
            object::File::Elf64(elf) => segments(elf.elf_program_headers(), elf.endian()),
            object::File::Elf32(elf) => segments(elf.elf_program_headers(), elf.endian()),
            _ => return Err(image.not_elf()),
        };
        image.segments = segments;
        Ok(image)
    }

    fn parse(&self) -> Result<object::File<'_>, FactError> {
        object::File::parse(&*self.bytes).map_err(|_| self.not_elf())
    }

    fn not_elf(&self) -> FactError {
        FactError {
            message: format!("`{}` is not a program or library (ELF) that can be read", self.shown),
            help: Some("name the program itself, not a script that starts it".into()),
        }
    }

    /// Calls `f` with each defined symbol's name without its version, type and address; the full
    /// table first, then the dynamic one.
    fn each_symbol(&self, mut f: impl FnMut(&str, SymbolType, u64)) -> Result<(), FactError> {
        let file = self.parse()?;
        for table in [file.symbol_table(), file.dynamic_symbol_table()].into_iter().flatten() {
            for symbol in table.symbols() {
                let SymbolFlags::Elf { st_info, .. } = symbol.flags() else { continue };
                let kind = st_info.st_type();
                let Ok(name) = symbol.name() else { continue };
                if symbol.is_undefined() || name.is_empty() || (kind == STT_GNU_IFUNC) {
                    continue;
                }
                f(name.split('@').next().unwrap_or(name), kind, symbol.address());
            }
        }
        Ok(())
    }

    /// Where an address of the program lies in its file.
    fn file_offset(&self, address: u64) -> Option<u64> {
        let (start, offset, _) =
            self.segments.iter().find(|(start, _, size)| address >= *start && address - start < *size)?;
        offset.checked_add(address - start)
    }
}

fn segments<P: ProgramHeader>(headers: &[P], endian: P::Endian) -> Vec<(u64, u64, u64)> {
    headers
        .iter()
        .filter(|h| h.p_type(endian) == PT_LOAD)
        .map(|h| (h.p_vaddr(endian).into(), h.p_offset(endian).into(), h.p_filesz(endian).into()))
        .collect()
}
