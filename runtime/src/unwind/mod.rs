//! Unwind tables of the processes that `dw_ustack` is asked of, for as long as a run goes on.
//!
//! ```text
//! before loading   read what the processes have mapped, and the files' tables; say how large the maps are to be
//! after loading    fill the maps
//! meanwhile        when the kernel tells that a process has mapped code, or forked: read it again, and add
//! ```
//!
//! Of a process that is started by memql nothing but itself and its loader is mapped before it runs. It is let go to its
//! entry point first, where its loader has mapped all libraries that it is linked with.

mod arrays;
mod rule;
mod table;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::fs;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use libbpf_rs::{MapCore, MapFlags};
use memql_compiler::unwind::{self, MAPPING_BYTES, Mapping as MappedTable, PROCESSES, ROW_BYTES, RULE_BYTES};

use crate::error::RunError;
use crate::health::Lost;
use crate::load::{Loaded, Opened};
use crate::symbols::{Change, FileKey, Mapping, Wake, Watch, open_mapped, own_vdso, parse_mappings};
use arrays::Array;
use table::Table;
use tables::{Placed, Room, Tables};

/// So many rows at most, of all files: 64 MiB.
const MOST_ROWS: u32 = 8 << 20;
/// Room for what processes that are there may still load: 2 MiB of rows.
const SPARE_ROWS: u32 = 256 << 10;
/// The same for a process that begins with the run, which has yet to load its libraries.
const SPARE_ROWS_AT_START: u32 = 1 << 20;
const SPARE_RULES: u32 = 8 << 10;
const SPARE_MAPPINGS: u32 = 8 << 10;
/// So many processes, with their children, have tables at once.
const MOST_PROCESSES: u32 = 1024;

/// The tables of a run.
pub(crate) struct Unwinding {
    tables: Tables,
    files: HashMap<FileKey, Result<Placed, String>>,
    processes: BTreeMap<u32, Process>,
    pids: Vec<u32>,
    watches: Vec<Watch>,
    /// Files that found no room.
    without_room: u64,
    took: Duration,
}

/// A process's part of the tables.
#[derive(Debug)]
struct Process {
    /// What it had mapped when it was last looked at.
    mapped: Vec<Mapping>,
    /// Its mappings' place in the array.
    range: Range<u32>,
}

impl Unwinding {
    /// Reads the tables of these processes, of which the last is about to begin if `starts`.
    pub fn read(pids: &[u32], starts: bool) -> Unwinding {
        let started = Instant::now();
        let room = Room { mappings: u32::MAX, rows: MOST_ROWS, rules: u32::MAX };
        let mut unwinding = Unwinding {
            tables: Tables::new(room),
            files: HashMap::new(),
            processes: BTreeMap::new(),
            pids: pids.to_vec(),
            watches: pids.iter().filter_map(|pid| Watch::of_process(*pid, Wake::Always)).collect(),
            without_room: 0,
            took: Duration::ZERO,
        };
        let mut mappings = 0;
        for pid in pids {
            let mapped = mapped_by(*pid);
            mappings += mapped.len() as u32;
            mapped.iter().for_each(|mapping| unwinding.add_file(*pid, mapping));
        }
        let spare = if starts { SPARE_ROWS_AT_START } else { SPARE_ROWS };
        unwinding.tables.set_room(Room {
            mappings: mappings * 2 + SPARE_MAPPINGS,
            rows: (unwinding.tables.rows.len() as u32 + spare).min(MOST_ROWS),
            rules: unwinding.tables.rules.len() as u32 + SPARE_RULES,
        });
        unwinding.took = started.elapsed();
        unwinding
    }

    /// Says how large the maps are to be.
    ///
    /// # Errors
    /// An internal error if the object lacks one.
    pub fn size_maps(&self, opened: &mut Opened<'_>) -> Result<(), RunError> {
        let Room { mappings, rows, rules } = self.tables.room();
        opened.size_map(unwind::MAPPINGS, mappings)?;
        opened.size_map(unwind::ROWS, rows)?;
        opened.size_map(unwind::RULES, rules)?;
        opened.size_map(PROCESSES, MOST_PROCESSES)
    }

    /// Fills the maps, which stay up to date with [`Filled::catch_up`].
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn fill(self, loaded: &Loaded) -> Result<Filled<'_>, RunError> {
        let refused = |error| RunError::system("cannot fill the unwind tables", &error);
        let Room { mappings, rows, rules } = self.tables.room();
        let array = |name: &str, elements, bytes| {
            Array::map(loaded.map(name)?.as_fd(), elements, bytes).map_err(refused)
        };
        let mut filled = Filled {
            mappings: array(unwind::MAPPINGS, mappings, MAPPING_BYTES)?,
            rows: array(unwind::ROWS, rows, ROW_BYTES)?,
            rules: array(unwind::RULES, rules, RULE_BYTES)?,
            written: (0, 0),
            processes: loaded.map(PROCESSES)?,
            unwinding: self,
        };
        filled.unwinding.pids.clone().into_iter().for_each(|tgid| filled.look_at(tgid));
        Ok(filled)
    }

    /// Reads a file's table unless that was done.
    fn add_file(&mut self, tgid: u32, mapping: &Mapping) {
        if self.files.contains_key(&mapping.file_key()) {
            return;
        }
        let table = match &*mapping.path {
            "[vdso]" => {
                own_vdso().ok_or_else(|| "it cannot be read".into()).and_then(|b| Table::of_bytes(&b))
            }
            _ if mapping.inode != 0 => open_mapped(tgid, mapping).and_then(|file| Table::of_file(&file)),
            _ => return,
        };
        let placed = table.and_then(|table| {
            self.tables.add(table).ok_or_else(|| {
                self.without_room += 1;
                "there is no room for it".into()
            })
        });
        self.files.insert(mapping.file_key(), placed);
    }
}

/// Tables that programs read.
pub(crate) struct Filled<'l> {
    unwinding: Unwinding,
    mappings: Array,
    rows: Array,
    rules: Array,
    /// How many rows and rules were written.
    written: (usize, usize),
    processes: libbpf_rs::Map<'l>,
}

impl Filled<'_> {
    /// What wakes whoever waits when there is something to [`Filled::catch_up`] with.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.unwinding.watches.iter().flat_map(Watch::fds)
    }

    /// How much of what processes mapped the kernel had to drop.
    pub fn lost_mappings(&self) -> u64 {
        self.unwinding.watches.iter().map(Watch::lost).sum()
    }

    /// Takes what the kernel told of processes.
    pub fn catch_up(&mut self) {
        let mut changed: Vec<u32> = Vec::new();
        for change in self.unwinding.watches.iter_mut().flat_map(Watch::take) {
            changed.push(match change {
                Change::Mapped { tgid, .. } => tgid,
                Change::Forked { child, .. } => child,
            });
        }
        changed.sort_unstable();
        changed.dedup();
        changed.into_iter().for_each(|tgid| self.look_at(tgid));
    }

    /// Looks at a process and brings its part of the tables up to date.
    pub fn look_at(&mut self, tgid: u32) {
        let mapped = mapped_by(tgid);
        let unwinding = &mut self.unwinding;
        let before = unwinding.processes.get(&tgid);
        if before.is_some_and(|before| before.mapped == mapped) {
            return;
        }
        let started = Instant::now();
        for mapping in &mapped {
            unwinding.add_file(tgid, mapping);
        }
        self.write_files();
        self.write_process(tgid, mapped);
        self.unwinding.took += started.elapsed();
    }

    fn write_files(&mut self) {
        let tables = &self.unwinding.tables;
        let (rows, rules) = self.written;
        self.rows.write(rows as u32, &tables.rows[rows..]);
        self.rules.write(rules as u32, &tables.rules[rules..]);
        self.written = (tables.rows.len(), tables.rules.len());
    }

    fn write_process(&mut self, tgid: u32, mapped: Vec<Mapping>) {
        let Unwinding { tables, files, processes, .. } = &mut self.unwinding;
        let mappings: Vec<[u8; MAPPING_BYTES as usize]> = mapped
            .iter()
            .filter_map(|mapping| {
                let placed = files.get(&mapping.file_key())?.as_ref().ok()?;
                placed.mapping(&mapping.range, mapping.offset).as_ref().map(MappedTable::bytes)
            })
            .collect();
        let old = processes.remove(&tgid);
        let range = if mappings.is_empty() { None } else { tables.take_range(mappings.len()) };
        // Without mappings it has ended, or there is no room: programs then count that they have no tables.
        let stored = range.filter(|range| {
            self.mappings.write(range.start, &mappings);
            let mut value = range.start.to_le_bytes().to_vec();
            value.extend((range.end - range.start).to_le_bytes());
            self.processes.update(&tgid.to_le_bytes(), &value, MapFlags::ANY).is_ok()
        });
        match stored {
            Some(range) => {
                processes.insert(tgid, Process { mapped, range });
            }
            None if old.is_some() => {
                // It may have gone with its process already.
                let _ = self.processes.delete(&tgid.to_le_bytes());
            }
            None => {}
        }
        if let Some(old) = old {
            tables.give_back(&old.range);
        }
    }

    /// Files that found no room.
    pub fn without_room(&self) -> Option<Lost> {
        let count = self.unwinding.without_room;
        let text = || {
            let files = if count == 1 { "file".into() } else { format!("{count} files") };
            format!("the unwind tables were full: there are none of {files}")
        };
        (count > 0).then(|| Lost {
            kind: "unwind_tables_full",
            subject: None,
            limit: None,
            count,
            text: text(),
        })
    }

    /// What `-v` says of the tables.
    pub fn verbose(&self) -> String {
        let Unwinding { tables, files, processes, took, .. } = &self.unwinding;
        let mut text = format!(
            "read unwind tables of {} files, {} processes: {} rows, {} rules, {:.1} MiB of maps, in {:.1} ms\n",
            files.values().filter(|file| file.is_ok()).count(),
            processes.len(),
            tables.rows.len(),
            tables.rules.len(),
            tables.room().bytes() as f64 / f64::from(1 << 20),
            took.as_secs_f64() * 1000.0
        );
        let mut lines: Vec<String> = files
            .iter()
            .map(|(file, placed)| match placed {
                Ok(placed) => format!("  {}: {} rows", file.path(), placed.rows()),
                Err(why) => format!("  no unwind table of {}: {why}", file.path()),
            })
            .collect();
        lines.sort();
        for line in lines {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        }
        text
    }
}

/// The code that a process has mapped; nothing once it has ended.
fn mapped_by(tgid: u32) -> Vec<Mapping> {
    fs::read(format!("/proc/{tgid}/maps")).map(|maps| parse_mappings(&maps)).unwrap_or_default()
}
