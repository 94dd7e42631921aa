//! The sections of debug information, wherever they are: in the file itself, in a file of its own that
//! packages install under `/usr/lib/debug`, or split off into `.dwo` files and `.dwp` packages.

use std::fmt;
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gimli::{Dwarf, DwarfPackage, RunTimeEndian, SectionId};
use object::{Object, ObjectSection};

use crate::target::mapped::Mapped;

/// What gimli reads.
pub type Reader = gimli::EndianReader<RunTimeEndian, Section>;

/// A section: a part of a mapped file, or what was decompressed.
#[derive(Clone)]
pub enum Section {
    /// Bytes of a mapped file.
    Mapped(Rc<Mapped>, Range<usize>),
    /// Bytes of its own.
    Owned(Rc<[u8]>),
}

impl Deref for Section {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Section::Mapped(file, range) => (**file).as_ref().get(range.clone()).unwrap_or_default(),
            Section::Owned(bytes) => bytes,
        }
    }
}

// SAFETY: the bytes belong to a mapping or an allocation that moving the section does not move.
unsafe impl gimli::StableDeref for Section {}
// SAFETY: a clone shares the same mapping or allocation.
unsafe impl gimli::CloneStableDeref for Section {}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// An ELF file in memory.
pub struct ElfFile {
    file: Rc<Mapped>,
    /// Where it is.
    pub path: PathBuf,
}

impl ElfFile {
    /// Maps a file; `None` if there is none, or it is empty.
    pub fn open(path: &Path) -> Option<ElfFile> {
        let file = File::open(path).ok()?;
        let bytes = file.metadata().ok()?.len() as usize;
        Some(ElfFile { file: Rc::new(Mapped::new(&file, bytes)?), path: path.to_owned() })
    }

    fn parsed(&self) -> Option<object::File<'_>> {
        object::File::parse((*self.file).as_ref()).ok()
    }

    /// Whether it has debug information of its own, a skeleton of it included.
    pub fn has_debug_info(&self) -> bool {
        let has = |file: &object::File<'_>| {
            [".debug_info", ".zdebug_info"].iter().any(|name| file.section_by_name(name).is_some())
        };
        self.parsed().as_ref().is_some_and(has)
    }

    /// A section by its name; empty if there is none or it cannot be decompressed.
    fn section(&self, name: &str) -> Section {
        let nothing = || Section::Owned(Rc::from([]));
        let Some(file) = self.parsed() else { return nothing() };
        let Some(section) = file.section_by_name(name) else { return nothing() };
        let whole: &[u8] = (*self.file).as_ref();
        match section.uncompressed_data() {
            Ok(std::borrow::Cow::Borrowed(bytes)) => {
                let start = (bytes.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
                Section::Mapped(self.file.clone(), start..start + bytes.len())
            }
            Ok(std::borrow::Cow::Owned(bytes)) => Section::Owned(bytes.into()),
            Err(_) => nothing(),
        }
    }

    fn reader(&self, name: Option<&str>) -> Reader {
        let little = self.parsed().is_none_or(|file| file.is_little_endian());
        let endian = if little { RunTimeEndian::Little } else { RunTimeEndian::Big };
        let section = name.map_or_else(|| Section::Owned(Rc::from([])), |name| self.section(name));
        Reader::new(section, endian)
    }

    /// Its debug information.
    pub fn dwarf(&self) -> Result<Dwarf<Reader>, gimli::Error> {
        let mut dwarf = Dwarf::load(|id: SectionId| Ok::<_, gimli::Error>(self.reader(Some(id.name()))))?;
        // What several packages' debug information has in common (dwz).
        if let Some(shared) = self.shared() {
            dwarf.set_sup(shared.dwarf()?);
        }
        Ok(dwarf)
    }

    /// As a `.dwo` file: debug information that belongs to a unit of another file.
    pub fn split_dwarf(&self, parent: &Dwarf<Reader>) -> Result<Dwarf<Reader>, gimli::Error> {
        let mut dwarf = Dwarf::load(|id: SectionId| Ok::<_, gimli::Error>(self.reader(id.dwo_name())))?;
        dwarf.make_dwo(parent);
        Ok(dwarf)
    }

    /// As a `.dwp` file: many `.dwo` files in one.
    pub fn package(&self) -> Result<DwarfPackage<Reader>, gimli::Error> {
        DwarfPackage::load(|id| Ok::<_, gimli::Error>(self.reader(id.dwo_name())), self.reader(None))
    }

    fn shared(&self) -> Option<ElfFile> {
        let file = self.parsed()?;
        let (name, _) = file.gnu_debugaltlink().ok()??;
        let name = Path::new(std::str::from_utf8(name).ok()?);
        let folder = self.path.parent()?;
        ElfFile::open(&folder.join(name))
    }

    /// The file that has its debug information if it has none itself: by build id, by the name in
    /// `.gnu_debuglink`, and by its own name with `.debug`; in its own folder and in those where debug
    /// files are kept. Of those that the user names, relative ones count from its own folder too.
    pub fn separate(&self, root: &Path, named: &[PathBuf], system: &[PathBuf]) -> Option<ElfFile> {
        let file = self.parsed()?;
        let build_id = self.build_id();
        let own = self.path.parent().map(Path::to_owned).unwrap_or_default();
        let named: Vec<PathBuf> =
            named.iter().flat_map(|folder| [folder.clone(), own.join(folder)]).collect();
        let folders = || named.iter().chain(system);
        let mut candidates = Vec::new();
        if let Some([first, rest @ ..]) = build_id.as_deref() {
            let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
            let name = format!(".build-id/{first:02x}/{}.debug", hex(rest));
            candidates.extend(folders().map(|folder| folder.join(&name)));
        }
        let mut names: Vec<PathBuf> = Vec::new();
        if let Ok(Some((name, _))) = file.gnu_debuglink() {
            names.extend(std::str::from_utf8(name).map(PathBuf::from));
        }
        if let Some(name) = self.path.file_name() {
            let mut with_suffix = name.to_owned();
            with_suffix.push(".debug");
            names.extend([with_suffix.into(), name.into()]);
        }
        let absolute = std::path::absolute(&own).unwrap_or_else(|_| own.clone());
        let inside = absolute.strip_prefix(root).unwrap_or(&absolute);
        let inside = inside.strip_prefix("/").unwrap_or(inside);
        for name in &names {
            candidates.extend([own.join(name), own.join(".debug").join(name)]);
            candidates
                .extend(folders().flat_map(|folder| [folder.join(inside).join(name), folder.join(name)]));
        }
        let belongs =
            |other: &ElfFile| other.has_debug_info() && (build_id.is_none() || other.build_id() == build_id);
        let others = candidates.iter().filter(|path| **path != self.path);
        others.filter_map(|path| ElfFile::open(path)).find(belongs)
    }

    fn build_id(&self) -> Option<Vec<u8>> {
        Some(self.parsed()?.build_id().ok()??.to_vec())
    }
}
