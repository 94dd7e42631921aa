//! One process's code: its mappings as far as they were ever seen, and its resolved addresses.

use std::collections::HashMap;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::frame::{Frame, Symbol, Unresolved};
use super::mappings::{self, Mapping};
use super::module::{ModuleId, Modules, Place};
use super::perf_map::PerfMap;

/// Noted again sooner than this, a process is not looked at again.
const NOTE_INTERVAL: Duration = Duration::from_millis(100);

/// A process, or what is known of one that is gone.
#[derive(Debug)]
pub(super) struct Process {
    tgid: u32,
    /// Sorted by address, not overlapping: the newest view of each address.
    mappings: Vec<Mapped>,
    /// A hash of the text that `mappings` was last made from; most looks find nothing new.
    seen: Option<u64>,
    looked: Option<Instant>,
    perf_map: PerfMap,
    /// By address and whether it is a return address.
    frames: HashMap<(u64, bool), Rc<Frame>>,
}

/// A mapping and what is behind it.
#[derive(Clone, Debug)]
pub(super) struct Mapped {
    mapping: Mapping,
    backing: Backing,
}

/// What is behind a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backing {
    File(ModuleId),
    Vdso,
    /// Memory without a file.
    Anonymous,
}

impl Process {
    /// A process that was not looked at yet.
    pub fn new(tgid: u32) -> Process {
        Process {
            tgid,
            mappings: Vec::new(),
            seen: None,
            looked: None,
            perf_map: PerfMap::default(),
            frames: HashMap::new(),
        }
    }

    /// When it was last looked at.
    pub fn looked(&self) -> Option<Instant> {
        self.looked
    }

    /// Everything it was seen to have mapped.
    pub fn mapped_so_far(&self) -> &[Mapped] {
        &self.mappings
    }

    /// Begins as a copy of a process that had this mapped.
    pub fn begin_with(&mut self, mapped: Vec<Mapped>) {
        *self = Process { mappings: mapped, ..Process::new(self.tgid) };
    }

    /// Puts what it mapped over what was there.
    pub fn mapped(&mut self, mapping: Mapping, modules: &mut Modules) {
        self.absorb(vec![mapping], modules);
    }

    /// Looks at it, unless that was just done.
    pub fn note(&mut self, modules: &mut Modules) {
        if self.looked.is_none_or(|at| at.elapsed() >= NOTE_INTERVAL) {
            self.refresh(modules);
        }
    }

    /// Reads its mappings.
    pub fn refresh(&mut self, modules: &mut Modules) {
        self.looked = Some(Instant::now());
        // Not readable, or empty, once the process has ended.
        let Ok(text) = fs::read(format!("/proc/{}/maps", self.tgid)) else {
            return;
        };
        let hash = hash_of(&text);
        if !text.is_empty() && self.seen != Some(hash) {
            self.absorb(mappings::parse(&text), modules);
            self.seen = Some(hash);
        }
    }

    fn absorb(&mut self, mappings: Vec<Mapping>, modules: &mut Modules) {
        let mapped = |mapping: Mapping| {
            let backing = match &*mapping.path {
                "[vdso]" => Backing::Vdso,
                _ if mapping.inode != 0 => Backing::File(modules.open(self.tgid, &mapping)),
                _ => Backing::Anonymous,
            };
            Mapped { mapping, backing }
        };
        let fresh: Vec<Mapped> = mappings.into_iter().map(mapped).collect();
        if replaces(&self.mappings, &fresh) {
            self.frames.clear();
        }
        self.mappings = mappings::merge(std::mem::take(&mut self.mappings), fresh, |m| &m.mapping);
    }

    /// Resolves a stack, innermost frame first.
    pub fn frames(&mut self, addresses: &[u64], modules: &mut Modules) -> Vec<Rc<Frame>> {
        let keys: Vec<(u64, bool)> =
            addresses.iter().enumerate().map(|(i, address)| (*address, i > 0)).collect();
        if keys.iter().any(|key| !self.frames.contains_key(key)) {
            self.note(modules);
            if keys.iter().any(|(address, _)| self.find(*address).is_none()) {
                self.refresh_unless_just_done(modules);
            }
            let places: Vec<Place> =
                keys.iter().filter_map(|(address, returns)| self.place(*address, *returns)).collect();
            modules.resolve(places.into_iter());
        }
        keys.into_iter().map(|key| self.frame(key, modules)).collect()
    }

    /// A library may have been loaded since the last look.
    fn refresh_unless_just_done(&mut self, modules: &mut Modules) {
        /// Many stacks with unknown addresses do not read the mappings once each.
        const JUST: Duration = Duration::from_millis(10);
        if self.looked.is_none_or(|at| at.elapsed() >= JUST) {
            self.refresh(modules);
        }
    }

    fn frame(&mut self, (address, returns): (u64, bool), modules: &mut Modules) -> Rc<Frame> {
        if let Some(known) = self.frames.get(&(address, returns)) {
            return Rc::clone(known);
        }
        let frame = Rc::new(self.resolve(address, returns, modules));
        // What is not known now may be known once the process was looked at again.
        if !matches!(
            frame.symbol,
            Err(Unresolved::Unmapped | Unresolved::ProcessGone | Unresolved::Anonymous)
        ) {
            self.frames.insert((address, returns), Rc::clone(&frame));
        }
        frame
    }

    fn resolve(&mut self, address: u64, returns: bool, modules: &mut Modules) -> Frame {
        let Some(found) = self.find(address) else {
            let reason =
                if self.mappings.is_empty() { Unresolved::ProcessGone } else { Unresolved::Unmapped };
            return Frame { address, module: None, symbol: Err(reason), code_at: None };
        };
        let (backing, start, name) = (found.backing, found.mapping.range.start, found.mapping.path.clone());
        match backing {
            Backing::File(module) => {
                let place = Place { module, offset: address - start + found.mapping.offset, returns };
                Frame {
                    address,
                    module: Some(modules.path(module)),
                    symbol: modules.symbol(place),
                    code_at: Some(modules.file_offset(place)),
                }
            }
            Backing::Vdso => {
                let symbol = modules.vdso_symbol(address - start).map(Rc::new).ok_or(Unresolved::NoSymbol);
                Frame { address, module: Some("[vdso]".into()), symbol, code_at: None }
            }
            Backing::Anonymous => {
                self.perf_map.refresh(self.tgid);
                let symbol: Option<Symbol> = self.perf_map.find(address);
                let module = if name.is_empty() { None } else { Some(name.into()) };
                Frame {
                    address,
                    module,
                    symbol: symbol.map(Rc::new).ok_or(Unresolved::Anonymous),
                    code_at: None,
                }
            }
        }
    }

    fn place(&self, address: u64, returns: bool) -> Option<Place> {
        let found = self.find(address)?;
        match found.backing {
            Backing::File(module) => Some(Place {
                module,
                offset: address - found.mapping.range.start + found.mapping.offset,
                returns,
            }),
            Backing::Vdso | Backing::Anonymous => None,
        }
    }

    fn find(&self, address: u64) -> Option<&Mapped> {
        let after = self.mappings.partition_point(|m| m.mapping.range.start <= address);
        self.mappings[..after].last().filter(|m| address < m.mapping.range.end)
    }
}

fn hash_of(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.finish()
}

/// Whether fresh mappings put something else where old ones were, so that what was resolved may be wrong.
fn replaces(old: &[Mapped], fresh: &[Mapped]) -> bool {
    old.iter().any(|old| {
        let after = fresh.partition_point(|m| m.mapping.range.end <= old.mapping.range.start);
        fresh[after..]
            .iter()
            .take_while(|m| m.mapping.range.start < old.mapping.range.end)
            .any(|m| m.mapping != old.mapping)
    })
}
