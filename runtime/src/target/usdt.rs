//! Static probes (USDT) of programs and libraries, from the notes in `.note.stapsdt`.
//!
//! Only section headers and the notes are read. The file is input like any other: a damaged one gives an
//! error. The format of a note's description, in words of the file's size and byte order:
//!
//! ```text
//! location  address of .stapsdt.base when it was linked  semaphore (0: none)  "provider\0name\0arguments\0"
//! ```
//!
//! A file that was moved after linking (prelink) has `.stapsdt.base` elsewhere than the notes say; all of
//! their addresses are off by the same distance.

use memql_compiler::target::{FactError, UserFile};
use memql_compiler::usdt::UsdtNote;
use object::elf::{FileHeader32, FileHeader64, NoteType, PF_X, PT_LOAD, SHT_NOTE};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::read::{ReadCache, ReadRef};
use object::{Endian, Endianness, FileKind};

use super::{archive, refused};

/// `NT_STAPSDT`, of notes whose owner is `stapsdt`.
const NOTE_TYPE: NoteType = NoteType(3);

/// The static probes of a file, each of their locations, sorted.
///
/// # Errors
/// If the file cannot be read or is not ELF.
pub fn probes(file: &UserFile) -> Result<Vec<UsdtNote>, FactError> {
    let shown = &file.shown_path;
    let (opened, within) =
        archive::open(&file.path).map_err(|e| refused(&format!("cannot read `{shown}`"), &e))?;
    let whole = ReadCache::new(opened);
    let data = whole.range(within.start, within.end - within.start);
    let parsed = match FileKind::parse(data) {
        Ok(FileKind::Elf64) => parse::<FileHeader64<Endianness>, _>(data),
        Ok(FileKind::Elf32) => parse::<FileHeader32<Endianness>, _>(data),
        Ok(_) | Err(_) => {
            return Err(FactError {
                message: format!("`{shown}` is not a program or library (ELF)"),
                help: Some("name the program itself, not a script that starts it".into()),
            });
        }
    };
    let mut notes = parsed.map_err(|error| FactError {
        message: format!("the static probes of `{shown}` cannot be read: {error}"),
        help: Some("compare it with the package that it comes from".into()),
    })?;
    for note in &mut notes {
        note.file_offset = note.file_offset.saturating_add(within.start);
        note.semaphore = note.semaphore.map(|offset| offset.saturating_add(within.start));
    }
    notes.sort_by(|a, b| (&a.provider, &a.name, a.file_offset).cmp(&(&b.provider, &b.name, b.file_offset)));
    notes.dedup();
    Ok(notes)
}

/// A loadable part of a file.
struct Segment {
    address: u64,
    offset: u64,
    size: u64,
    code: bool,
}

fn parse<'d, E, R>(data: R) -> Result<Vec<UsdtNote>, String>
where
    E: FileHeader<Endian = Endianness>,
    R: ReadRef<'d>,
{
    let (notes, file) = notes::<E, R>(data).map_err(|error| error.to_string())?;
    notes.iter().map(|bytes| file.read(bytes).map_err(str::to_owned)).collect()
}

/// The descriptions of a file's notes, and what it takes to read them.
fn notes<'d, E, R>(data: R) -> object::read::Result<(Vec<&'d [u8]>, Layout)>
where
    E: FileHeader<Endian = Endianness>,
    R: ReadRef<'d>,
{
    let header = E::parse(data)?;
    let endian = header.endian()?;
    let loadable = header.program_headers(endian, data)?.iter().filter(|h| h.p_type(endian) == PT_LOAD);
    let segments = loadable.map(|h| Segment {
        address: h.p_vaddr(endian).into(),
        offset: h.p_offset(endian).into(),
        size: h.p_filesz(endian).into(),
        code: h.p_flags(endian).contains(PF_X),
    });
    let segments: Vec<Segment> = segments.collect();
    let sections = header.sections(endian, data)?;
    let base = sections.section_by_name(endian, b".stapsdt.base").map(|(_, s)| s.sh_addr(endian).into());
    let word = if header.is_class_64() { 8 } else { 4 };
    let mut found = Vec::new();
    for section in sections.iter().filter(|s| s.sh_type(endian) == SHT_NOTE) {
        if sections.section_name(endian, section)? != b".note.stapsdt" {
            continue;
        }
        let Some(mut notes) = section.notes(endian, data)? else { continue };
        while let Some(note) = notes.next()? {
            if note.name() == b"stapsdt" && note.n_type(endian) == NOTE_TYPE {
                found.push(note.desc());
            }
        }
    }
    Ok((found, Layout { word, endian, base, segments }))
}

/// What it takes to read a file's notes.
struct Layout {
    /// Bytes of an address.
    word: usize,
    endian: Endianness,
    /// Where `.stapsdt.base` is.
    base: Option<u64>,
    segments: Vec<Segment>,
}

impl Layout {
    fn read(&self, bytes: &[u8]) -> Result<UsdtNote, &'static str> {
        const CUT: &str = "a note is cut short";
        let (location, linked_base, semaphore) = (
            self.number(bytes, 0).ok_or(CUT)?,
            self.number(bytes, 1).ok_or(CUT)?,
            self.number(bytes, 2).ok_or(CUT)?,
        );
        let moved = self.base.map_or(0, |base| base.wrapping_sub(linked_base));
        let mut texts = bytes.get(3 * self.word..).unwrap_or_default().split(|b| *b == 0);
        let mut text = || texts.next().map(|text| String::from_utf8_lossy(text).into_owned()).ok_or(CUT);
        let (provider, name, arguments) = (text()?, text()?, text()?);
        let address = location.wrapping_add(moved);
        Ok(UsdtNote {
            provider,
            name,
            address,
            file_offset: self.file_offset(address, true).ok_or("a location is outside of the code")?,
            semaphore: match semaphore {
                0 => None,
                address => {
                    let offset = self.file_offset(address.wrapping_add(moved), false);
                    Some(offset.ok_or("a semaphore is outside of the file")?)
                }
            },
            arguments,
        })
    }

    /// The n-th address of a note.
    fn number(&self, bytes: &[u8], n: usize) -> Option<u64> {
        let bytes = bytes.get(n * self.word..(n + 1) * self.word)?;
        Some(match self.word {
            8 => self.endian.read_u64(bytes.try_into().ok()?),
            _ => self.endian.read_u32(bytes.try_into().ok()?).into(),
        })
    }

    /// Where an address of the program lies in its file; in a part of the kind asked for if parts overlap.
    fn file_offset(&self, address: u64, code: bool) -> Option<u64> {
        let mut found = self.segments.iter().filter(|s| address >= s.address && address - s.address < s.size);
        let segment = found.clone().find(|s| s.code == code).or_else(|| found.next())?;
        segment.offset.checked_add(address - segment.address)
    }
}
