//! The script's maps in a loaded object.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use libbpf_rs::MapCore;
use memql_compiler::plan::{MapStorage, Plan};

use super::keyed::KeyedMap;
use super::{Bss, Entries, MapAccess, MapError};

/// The maps of a loaded object, as the plan describes them.
#[derive(Debug)]
pub struct KernelMaps {
    maps: Vec<Store>,
    stacks: Option<KeyedMap>,
    bss: Option<Bss>,
}

/// Where one of the script's maps is.
#[derive(Debug)]
enum Store {
    Keyed(KeyedMap),
    Global(Global),
}

/// A map without a key: see [`MapStorage::Global`].
#[derive(Debug)]
struct Global {
    name: String,
    offset: u32,
    copies: usize,
    stride: usize,
    value_size: usize,
    /// `None`: assigned if any byte is not zero.
    set_flag: Option<u32>,
    /// Without a flag: it was assigned when it was zeroed, so it counts as assigned though it is zero.
    zeroed: Cell<bool>,
}

impl KernelMaps {
    /// Takes the maps of a loaded object. They stay readable when the object is dropped.
    ///
    /// # Errors
    /// If the object lacks a map of the plan, or the kernel refuses to describe or map one.
    pub fn of(plan: &Plan, object: &libbpf_rs::Object) -> Result<KernelMaps, MapError> {
        let mut fds = Vec::new();
        for map in object.maps() {
            let name = map.name().to_string_lossy().into_owned();
            let fd = map.as_fd().try_clone_to_owned().map_err(|e| system("share", &name, e))?;
            fds.push((name, fd));
        }
        KernelMaps::new(plan, fds)
    }

    /// Takes maps by their names in the object; the section's name ends in `.bss`.
    ///
    /// # Errors
    /// As [`KernelMaps::of`].
    pub fn new(plan: &Plan, mut fds: Vec<(String, OwnedFd)>) -> Result<KernelMaps, MapError> {
        let mut take = |wanted: &dyn Fn(&str) -> bool| {
            fds.iter().position(|(name, _)| wanted(name)).map(|i| fds.swap_remove(i))
        };
        let bss = match take(&|name| name.ends_with(".bss")) {
            Some((name, fd)) => {
                let shape =
                    KeyedMap::of_any_size(&name, fd.try_clone().map_err(|e| system("share", &name, e))?)?
                        .shape();
                Some(
                    Bss::map(fd.as_fd(), shape.value_size)
                        .map_err(|e| system("map into memory", &name, e))?,
                )
            }
            None => None,
        };
        let stacks = match &plan.stacks {
            Some((elf_name, _)) => {
                let (name, fd) = take(&|name| name == elf_name).ok_or_else(|| missing(elf_name))?;
                Some(KeyedMap::of_any_size(&name, fd)?)
            }
            None => None,
        };
        let mut maps = Vec::with_capacity(plan.maps.len());
        for map in &plan.maps {
            let value_size = map.value.size() as usize;
            maps.push(match &map.storage {
                MapStorage::Keyed { elf_name, .. } => {
                    let (_, fd) = take(&|name| name == elf_name).ok_or_else(|| missing(elf_name))?;
                    let key_size = map.key.as_ref().map_or(0, |k| k.size() as usize);
                    Store::Keyed(KeyedMap::new(&map.name, fd, key_size, value_size)?)
                }
                MapStorage::Global { offset, copies, stride, set_flag } => Store::Global(Global {
                    name: map.name.clone(),
                    offset: *offset,
                    copies: *copies as usize,
                    stride: (*stride as usize).max(value_size),
                    value_size,
                    set_flag: *set_flag,
                    zeroed: Cell::new(false),
                }),
            });
        }
        Ok(KernelMaps { maps, stacks, bss })
    }

    /// The `.bss` section, where the counters of [`memql_compiler::plan::HealthCounter`] are; `None`
    /// if the object has none.
    pub fn bss(&self) -> Option<&Bss> {
        self.bss.as_ref()
    }

    fn store(&self, map: usize) -> Result<&Store, MapError> {
        self.maps.get(map).ok_or_else(|| MapError::Internal(format!("no map with index {map}")))
    }

    fn section(&self, global: &Global) -> Result<&Bss, MapError> {
        self.bss
            .as_ref()
            .ok_or_else(|| MapError::Internal(format!("`{}` has no section to be in", global.name)))
    }

    /// A map without a key as an element with an empty key.
    fn global(&self, global: &Global) -> Result<Entries, MapError> {
        let bss = self.section(global)?;
        // The last copy need not be padded to a whole stride in the section, but is here.
        let len = global.stride * global.copies.saturating_sub(1) + global.value_size;
        let mut value = bss.read(global.offset, len).ok_or_else(|| outside(global))?;
        value.resize(global.stride * global.copies, 0);
        let mut entries = Entries::new(0, global.stride, global.copies);
        entries.extend(1, &[], &value);
        Ok(entries)
    }
}

impl MapAccess for KernelMaps {
    fn entries(&self, map: usize) -> Result<Entries, MapError> {
        match self.store(map)? {
            Store::Keyed(keyed) => keyed.entries(),
            Store::Global(global) => {
                let entries = self.global(global)?;
                let is_set = match global.set_flag {
                    Some(flag) => self.section(global)?.read_u64(flag).ok_or_else(|| outside(global))? != 0,
                    None => {
                        let is_zero = |copy: &[u8]| copy[..global.value_size].iter().all(|b| *b == 0);
                        global.zeroed.get() || !entries.value(0).iter().all(is_zero)
                    }
                };
                Ok(if is_set { entries } else { Entries::new(0, global.stride, global.copies) })
            }
        }
    }

    fn lookup(&self, map: usize, key: &[u8]) -> Result<Entries, MapError> {
        match self.store(map)? {
            Store::Keyed(keyed) => keyed.lookup(key),
            Store::Global(global) => self.global(global),
        }
    }

    fn clear(&self, map: usize) -> Result<(), MapError> {
        match self.store(map)? {
            Store::Keyed(keyed) => keyed.clear(),
            Store::Global(global) => {
                if let Some(flag) = global.set_flag
                    && !self.section(global)?.write_u64(flag, 0)
                {
                    return Err(outside(global));
                }
                self.zero(map)?;
                global.zeroed.set(false);
                Ok(())
            }
        }
    }

    fn zero(&self, map: usize) -> Result<(), MapError> {
        match self.store(map)? {
            Store::Keyed(keyed) => keyed.zero(),
            Store::Global(global) => {
                global.zeroed.set(!self.entries(map)?.is_empty());
                let bss = self.section(global)?;
                let whole = (0..global.copies).all(|copy| {
                    let at = global.offset as usize + copy * global.stride;
                    u32::try_from(at).is_ok_and(|at| bss.zero(at, global.value_size))
                });
                if whole { Ok(()) } else { Err(outside(global)) }
            }
        }
    }

    fn stack(&self, id: u64) -> Result<Option<Vec<u64>>, MapError> {
        let Some(stacks) = &self.stacks else {
            return Err(MapError::Internal("a stack, but no map of stacks".into()));
        };
        // A stack map of the kernel's own (`BPF_MAP_TYPE_STACK_TRACE`) has 4-byte ids.
        let key = match stacks.shape().key_size {
            4 => match u32::try_from(id) {
                Ok(id) => id.to_ne_bytes().to_vec(),
                Err(_) => return Ok(None),
            },
            _ => id.to_ne_bytes().to_vec(),
        };
        let found = stacks.lookup(&key)?;
        if found.is_empty() {
            return Ok(None);
        }
        let words = found.value(0).first().as_chunks::<8>().0;
        Ok(Some(words.iter().map(|word| u64::from_ne_bytes(*word)).collect()))
    }
}

fn system(operation: &'static str, map: &str, source: io::Error) -> MapError {
    MapError::System { operation, map: map.to_owned(), source }
}

fn missing(elf_name: &str) -> MapError {
    MapError::Internal(format!("the object has no map `{elf_name}`"))
}

fn outside(global: &Global) -> MapError {
    MapError::Internal(format!("`{}` lies outside the `.bss` section", global.name))
}
