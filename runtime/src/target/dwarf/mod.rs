//! What the debug information (DWARF) of programs and libraries says: lines, functions' arguments, types.
//!
//! ```text
//! sections   where it is: the file itself, /usr/lib/debug, .dwo and .dwp files
//! lines      the code of a line of source
//! functions  a function's parameters and result
//! types      types as the compiler reads them
//! ```
//!
//! It is input like any other: what is damaged gives an error, what refers to itself meets a limit.

mod functions;
mod lines;
mod sections;
mod types;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gimli::{AttributeValue, Dwarf, DwarfPackage, Unit, UnitHeader};
use memql_compiler::debug_info::{DebugTypes, LinePlaces, Signature, TypeRef};
use memql_compiler::target::{FactError, UserFile};

use sections::{ElfFile, Reader};

/// Folders of debug files that packages install.
const DEBUG_FOLDERS: [&str; 1] = ["/usr/lib/debug"];

/// The debug information of the files that were asked about.
#[derive(Default)]
pub struct DebugInfo {
    by_path: RefCell<HashMap<String, Option<Rc<Info>>>>,
    /// Folders of debug files that the user names (`--debuginfo`).
    folders: Vec<PathBuf>,
}

/// Why debug information cannot be read.
#[derive(Debug)]
pub struct Failed(String);

impl From<gimli::Error> for Failed {
    fn from(error: gimli::Error) -> Failed {
        Failed(error.to_string())
    }
}

impl DebugInfo {
    /// With more folders to look for debug files in, before those of the system.
    pub fn with_folders(folders: &[PathBuf]) -> DebugInfo {
        DebugInfo { folders: folders.to_owned(), ..DebugInfo::default() }
    }

    /// Addresses, as the file has them, of the code of a line.
    ///
    /// # Errors
    /// If there is no debug information, or it is damaged.
    pub fn line(
        &self,
        file: &UserFile,
        source: &str,
        line: u64,
        column: Option<u64>,
    ) -> Result<LinePlaces, FactError> {
        let shown = &file.shown_path;
        let Some(info) = self.of(&file.path, shown)? else {
            return Err(FactError {
                message: format!("`{shown}` has no debug information"),
                help: Some("compile it with `-g`, or install the package with its debug files".into()),
            });
        };
        let found = lines::find(&info, source, line, column).map_err(|error| damaged(shown, &error))?;
        Ok(LinePlaces {
            addresses: found.addresses.into_iter().collect(),
            file_known: found.file_known,
            others: found.others.into_iter().collect(),
        })
    }

    /// The parameters and result of the function whose first byte has this address.
    ///
    /// # Errors
    /// If the debug information is damaged.
    pub fn signature(&self, path: &str, address: u64) -> Result<Option<Signature>, FactError> {
        let Some(info) = self.of(path, path)? else { return Ok(None) };
        functions::signature(&info, address).map_err(|error| damaged(path, &error))
    }

    /// A type by its keyword (`struct`, `union`, `enum`, or nothing for a typedef) and name.
    ///
    /// # Errors
    /// If the debug information is damaged.
    pub fn type_named(
        &self,
        path: &str,
        keyword: &str,
        name: &str,
    ) -> Result<Option<(DebugTypes, TypeRef)>, FactError> {
        let Some(info) = self.of(path, path)? else { return Ok(None) };
        types::named(&info, keyword, name).map_err(|error| damaged(path, &error))
    }

    fn of(&self, path: &str, shown: &str) -> Result<Option<Rc<Info>>, FactError> {
        if let Some(known) = self.by_path.borrow().get(path) {
            return Ok(known.clone());
        }
        let info = self.read(path).map_err(|error| damaged(shown, &error))?.map(Rc::new);
        self.by_path.borrow_mut().insert(path.to_owned(), info.clone());
        Ok(info)
    }

    fn read(&self, path: &str) -> Result<Option<Info>, Failed> {
        let Some(file) = ElfFile::open(Path::new(path)) else { return Ok(None) };
        let root = process_root(path);
        let system = DEBUG_FOLDERS.iter().flat_map(|folder| {
            let inside = root.join(folder.strip_prefix('/').unwrap_or(folder));
            [inside, PathBuf::from(folder)]
        });
        let mut system: Vec<PathBuf> = system.collect();
        system.dedup();
        if file.has_debug_info() {
            return Info::of(file).map(Some);
        }
        file.separate(&root, &self.folders, &system).map(Info::of).transpose()
    }
}

/// The root folder of a path through `/proc/PID/root`; else `/`.
fn process_root(path: &str) -> PathBuf {
    let parts: Vec<&str> = path.splitn(5, '/').collect();
    match parts[..] {
        ["", "proc", pid, "root", _] => ["/proc", pid, "root"].iter().collect(),
        _ => "/".into(),
    }
}

fn damaged(shown: &str, Failed(error): &Failed) -> FactError {
    FactError {
        message: format!("the debug information of `{shown}` cannot be read: {error}"),
        help: Some("compile the program again, or install the debug files that belong to it".into()),
    }
}

/// Addresses of code, and which of the file's units it belongs to.
type UnitRange = (Range<u64>, usize);

/// A unit, and what its entries refer to.
type SplitUnit = (Dwarf<Reader>, Unit<Reader>);

/// The debug information of one file.
pub struct Info {
    file: ElfFile,
    dwarf: Rc<Dwarf<Reader>>,
    headers: Vec<UnitHeader<Reader>>,
    units: RefCell<HashMap<usize, Rc<LoadedUnit>>>,
    /// The addresses of each unit's code, once they were asked for.
    ranges: RefCell<Option<Rc<[UnitRange]>>>,
    package: Option<DwarfPackage<Reader>>,
}

/// A unit, with what was split off from it.
pub struct LoadedUnit {
    /// Which it is in its file.
    index: usize,
    /// The unit in the file itself.
    skeleton: Unit<Reader>,
    /// The unit of a `.dwo` file in whose place it stands.
    split: Option<SplitUnit>,
    /// The file's.
    main: Rc<Dwarf<Reader>>,
}

impl Info {
    fn of(file: ElfFile) -> Result<Info, Failed> {
        let dwarf = Rc::new(file.dwarf()?);
        let mut headers = Vec::new();
        let mut units = dwarf.units();
        while let Some(header) = units.next()? {
            headers.push(header);
        }
        let mut package = file.path.clone().into_os_string();
        package.push(".dwp");
        let package = ElfFile::open(Path::new(&package)).map(|file| file.package()).transpose()?;
        Ok(Info { file, dwarf, headers, units: RefCell::default(), ranges: RefCell::default(), package })
    }

    /// All units, one after the other.
    fn all_units(&self) -> impl Iterator<Item = Result<LoadedUnit, Failed>> {
        (0..self.headers.len()).map(|index| self.load(index))
    }

    /// A unit by its place among those of the file.
    fn unit(&self, index: usize) -> Result<Rc<LoadedUnit>, Failed> {
        if let Some(known) = self.units.borrow().get(&index) {
            return Ok(known.clone());
        }
        let unit = Rc::new(self.load(index)?);
        self.units.borrow_mut().insert(index, unit.clone());
        Ok(unit)
    }

    fn load(&self, index: usize) -> Result<LoadedUnit, Failed> {
        let header = self.headers.get(index).ok_or_else(|| Failed(format!("there is no unit {index}")))?;
        let skeleton = self.dwarf.unit(header.clone())?;
        let split = self.split(&skeleton)?;
        Ok(LoadedUnit { index, skeleton, split, main: self.dwarf.clone() })
    }

    /// The unit that was split off from a skeleton.
    fn split(&self, skeleton: &Unit<Reader>) -> Result<Option<SplitUnit>, Failed> {
        let Some(id) = skeleton.dwo_id else { return Ok(None) };
        let packed = self.package.as_ref().map(|p| p.find_cu(id, &self.dwarf)).transpose()?.flatten();
        let dwarf = match packed {
            Some(dwarf) => dwarf,
            None => match self.split_file(skeleton)? {
                Some(file) => file.split_dwarf(&self.dwarf)?,
                None => return Ok(None),
            },
        };
        let mut units = dwarf.units();
        while let Some(header) = units.next()? {
            let mut unit = dwarf.unit(header)?;
            if unit.dwo_id == Some(id) {
                unit.copy_relocated_attributes(skeleton);
                return Ok(Some((dwarf, unit)));
            }
        }
        Ok(None)
    }

    /// The `.dwo` file of a skeleton: where it was made, or beside the program.
    fn split_file(&self, skeleton: &Unit<Reader>) -> Result<Option<ElfFile>, Failed> {
        let Some(name) = skeleton.dwo_name()? else { return Ok(None) };
        let name = PathBuf::from(text(&self.dwarf.attr_string(skeleton, name)?));
        let folder = skeleton.comp_dir.as_ref().map(|dir| PathBuf::from(text(dir))).unwrap_or_default();
        let beside = self.file.path.parent().zip(name.file_name()).map(|(dir, name)| dir.join(name));
        Ok([Some(folder.join(&name)), beside].into_iter().flatten().find_map(|path| ElfFile::open(&path)))
    }

    /// The unit that an address of code belongs to.
    fn unit_at(&self, address: u64) -> Result<Option<Rc<LoadedUnit>>, Failed> {
        let known = self.ranges.borrow().clone();
        let ranges = match known {
            Some(ranges) => ranges,
            None => {
                let mut all = Vec::new();
                for (index, header) in self.headers.iter().enumerate() {
                    let unit = self.dwarf.unit(header.clone())?;
                    all.extend(self.unit_ranges(&unit)?.into_iter().map(|range| (range, index)));
                }
                self.ranges.borrow_mut().insert(all.into()).clone()
            }
        };
        let found = ranges.iter().find(|(range, _)| range.contains(&address));
        found.map(|(_, index)| self.unit(*index)).transpose()
    }

    /// Where the code of a unit is.
    fn unit_ranges(&self, unit: &Unit<Reader>) -> Result<Vec<Range<u64>>, Failed> {
        let mut entries = unit.entries();
        entries.next_dfs()?;
        for attribute in entries.current().iter().flat_map(|root| root.attrs()) {
            // gimli adds them without looking.
            if let (gimli::DW_AT_high_pc, AttributeValue::Udata(size)) = (attribute.name(), attribute.value())
                && unit.low_pc.checked_add(size).is_none()
            {
                return Err(Failed("the code of a unit ends behind all addresses".to_owned()));
            }
        }
        let mut all = Vec::new();
        let mut ranges = self.dwarf.unit_ranges(unit)?;
        while let Some(range) = ranges.next()? {
            all.push(range.begin..range.end);
        }
        Ok(all)
    }

    /// The unit whose entries are around an offset of the file's `.debug_info`.
    fn unit_around(&self, offset: usize) -> Result<Option<Rc<LoadedUnit>>, Failed> {
        let start = |header: &UnitHeader<Reader>| header.debug_info_offset().map_or(0, |at| at.0);
        let after = self.headers.partition_point(|header| start(header) <= offset);
        after.checked_sub(1).map(|index| self.unit(index)).transpose()
    }
}

impl LoadedUnit {
    /// Where its entries and strings are.
    fn dwarf(&self) -> &Dwarf<Reader> {
        self.split.as_ref().map_or(&self.main, |(dwarf, _)| dwarf)
    }

    /// Its entries.
    fn unit(&self) -> &Unit<Reader> {
        self.split.as_ref().map_or(&self.skeleton, |(_, unit)| unit)
    }
}

/// Text of debug information; what is not UTF-8 is replaced.
fn text(reader: &Reader) -> String {
    use gimli::Reader as _;
    reader.to_string_lossy().map(|text| text.into_owned()).unwrap_or_default()
}
