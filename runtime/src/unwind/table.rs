//! A file's unwind table, from its call frame information.
//!
//! `.eh_frame` describes each function by a small program that a debugger or an exception would run. All of them are
//! run here, once, and give rows: from this place on, this rule. What lies between functions gets a row that says that
//! nothing is known, as does the end, so that a row holds up to the next one's place.
//!
//! Go's and some other compilers' programs have `.debug_frame` only, which says the same in another form.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::ops::Range;

use gimli::{
    BaseAddresses, CieOrFde, CommonInformationEntry, DebugFrame, EhFrame, LittleEndian, UnwindContext,
    UnwindOffset, UnwindSection,
};
use memql_compiler::unwind::{MOST_ROWS, Rule};
use object::elf::{EM_X86_64, FileHeader64, PF_X, PT_LOAD};
use object::read::ReadCache;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable};
use object::{Endianness, ReadRef};

use super::rule::{Bytes, Reading};

/// The largest call frame information that is read, in bytes: several times that of the largest programs. What a traced
/// process maps is its own choice.
const MOST_BYTES: u64 = 256 << 20;

/// One file's rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// Sorted by place, which are all different; the last one's rule is that nothing is known.
    pub rows: Vec<Row>,
    /// The address as the file has it of place 0.
    pub base: u64,
    /// The parts of the file that hold code.
    pub segments: Vec<Segment>,
}

/// From a place on, a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Bytes from [`Table::base`].
    pub place: u32,
    /// How the caller is found.
    pub rule: Rule,
}

/// A part of a file that is mapped as code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The bytes of the file.
    pub file: Range<u64>,
    /// The address as the file has it of the first.
    pub address: u64,
}

/// Part of a function with one rule.
struct Piece {
    addresses: Range<u64>,
    rule: Rule,
}

impl Table {
    /// Reads a file's table.
    ///
    /// # Errors
    /// Why it has none, in words that follow "no unwind table of FILE: ".
    pub fn of_file(file: &File) -> Result<Table, String> {
        Table::read(&ReadCache::new(file))
    }

    /// Reads the table of a file whose bytes are at hand.
    ///
    /// # Errors
    /// See [`Table::of_file`].
    pub fn of_bytes(bytes: &[u8]) -> Result<Table, String> {
        Table::read(bytes)
    }

    fn read<'d, R: ReadRef<'d>>(data: R) -> Result<Table, String> {
        let damaged = |error: object::read::Error| format!("it cannot be read: {error}");
        let header =
            FileHeader64::<Endianness>::parse(data).map_err(|_| "it is not 64-bit ELF".to_owned())?;
        let endian = header.endian().map_err(damaged)?;
        if header.e_machine(endian) != EM_X86_64 {
            return Err("it is not x86-64 code".into());
        }
        let mut segments = Vec::new();
        for part in header.program_headers(endian, data).map_err(damaged)? {
            if part.p_type(endian) == PT_LOAD && part.p_flags(endian).0 & PF_X.0 != 0 {
                let (start, size) = part.file_range(endian);
                let file = start..start.saturating_add(size);
                segments.push(Segment { file, address: part.p_vaddr(endian) });
            }
        }
        let sections = header.sections(endian, data).map_err(damaged)?;
        let section = |name: &str| read_section(&sections, endian, data, name);
        let mut bases = BaseAddresses::default();
        if let Some((_, text)) = sections.section_by_name(endian, b".text") {
            bases = bases.set_text(text.sh_addr(endian));
        }
        let (rows, base) = match section(".eh_frame")?.filter(|(bytes, _)| bytes.len() > 4) {
            Some((bytes, address)) => {
                of_section(&EhFrame::from(Bytes::new(bytes, LittleEndian)), &bases.set_eh_frame(address))?
            }
            None => match section(".debug_frame")? {
                Some((bytes, _)) => {
                    let mut frames = DebugFrame::from(Bytes::new(bytes, LittleEndian));
                    frames.set_address_size(8);
                    of_section(&frames, &bases)?
                }
                None => return Err("it has neither `.eh_frame` nor `.debug_frame`".into()),
            },
        };
        Ok(Table { rows, base, segments })
    }

    /// The place, in the table's terms, of the file's byte at an offset; it may be below 0, and wraps then.
    pub fn place_of(&self, file_offset: u64) -> Option<u64> {
        let within = |segment: &&Segment| segment.file.contains(&file_offset);
        let segment = self.segments.iter().find(within)?;
        let address = segment.address.wrapping_add(file_offset - segment.file.start);
        Some(address.wrapping_sub(self.base))
    }
}

/// A section's bytes and address, if the file has it.
fn read_section<'d, R: ReadRef<'d>>(
    sections: &SectionTable<'d, FileHeader64<Endianness>, R>,
    endian: Endianness,
    data: R,
    name: &str,
) -> Result<Option<(&'d [u8], u64)>, String> {
    let Some((_, section)) = sections.section_by_name(endian, name.as_bytes()) else { return Ok(None) };
    if section.sh_size(endian) > MOST_BYTES {
        return Err(format!("`{name}` has more than {} MiB", MOST_BYTES >> 20));
    }
    let bytes = section.data(endian, data).map_err(|error| format!("`{name}` cannot be read: {error}"))?;
    Ok(Some((bytes, section.sh_addr(endian))))
}

/// The rows of a section, and the address of place 0.
pub(super) fn of_section<'d, S: UnwindSection<Bytes<'d>>>(
    section: &S,
    bases: &BaseAddresses,
) -> Result<(Vec<Row>, u64), String> {
    rows(pieces(section, bases)?)
}

/// All pieces of all functions, sorted by address.
fn pieces<'d, S: UnwindSection<Bytes<'d>>>(section: &S, bases: &BaseAddresses) -> Result<Vec<Piece>, String> {
    let damaged = |error: gimli::Error| format!("its call frame information is damaged: {error}");
    let mut pieces: Vec<Piece> = Vec::new();
    let mut parents = HashMap::new();
    let mut context = UnwindContext::new();
    let mut entries = section.entries(bases);
    while let Some(entry) = entries.next().map_err(damaged)? {
        let CieOrFde::Fde(partial) = entry else { continue };
        let function = partial.parse(|_, bases, offset| match parents.entry(UnwindOffset::into(offset)) {
            Entry::Occupied(parent) => Ok(CommonInformationEntry::clone(parent.get())),
            Entry::Vacant(place) => Ok(place.insert(section.cie_from_offset(bases, offset)?).clone()),
        });
        let function = function.map_err(damaged)?;
        if function.len() == 0 || function.initial_address() == 0 {
            // What the linker threw away.
            continue;
        }
        let encoding = function.cie().encoding();
        let reading = Reading { section, encoding, signal: function.is_signal_trampoline() };
        let end = function.initial_address().saturating_add(function.len());
        let before = pieces.len();
        let mut rows = || {
            let mut table = function.rows(section, bases, &mut context)?;
            while let Some(row) = table.next_row()? {
                let addresses = row.start_address()..row.end_address().min(end);
                if !addresses.is_empty() {
                    pieces.push(Piece { addresses, rule: reading.rule(row) });
                }
            }
            Ok::<(), gimli::Error>(())
        };
        if rows().is_err() {
            // Nothing is known of this function; others are as good as they were.
            pieces.truncate(before);
        }
        if pieces.len() > MOST_ROWS as usize {
            return Err(format!("it has more than {MOST_ROWS} rows"));
        }
    }
    pieces.sort_by_key(|piece| piece.addresses.start);
    Ok(pieces)
}

/// The rows of pieces that are sorted, and the address of place 0.
fn rows(pieces: Vec<Piece>) -> Result<(Vec<Row>, u64), String> {
    let Some(base) = pieces.first().map(|piece| piece.addresses.start) else {
        return Err("its call frame information describes no function".into());
    };
    let mut rows: Vec<Row> = Vec::with_capacity(pieces.len() + 1);
    let mut add = |address: u64, rule: Rule| {
        let place = u32::try_from(address - base).map_err(|_| "its code spans more than 4 GiB".to_owned())?;
        match rows.last_mut() {
            Some(last) if last.rule == rule => {}
            Some(last) if last.place == place => last.rule = rule,
            _ => rows.push(Row { place, rule }),
        }
        Ok::<(), String>(())
    };
    let mut end = base;
    for piece in pieces {
        if piece.addresses.start > end {
            add(end, Rule::UNKNOWN)?;
        }
        add(piece.addresses.start, piece.rule)?;
        end = end.max(piece.addresses.end);
    }
    add(end, Rule::UNKNOWN)?;
    Ok((rows, base))
}
