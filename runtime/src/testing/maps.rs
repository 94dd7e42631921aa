//! A test's maps: those of the interpreter, read as the kernel's are.

use std::cell::{Cell, RefCell};

use memql_compiler::interpret::Machine;
use memql_compiler::ir::{MapRef, Module};
use memql_compiler::plan::{MapPlan, MapStorage, Plan};

use crate::maps::{Entries, MapAccess, MapError};

/// The maps of an interpreter.
pub(super) struct MachineMaps<'m> {
    module: &'m Module,
    plan: &'m Plan,
    /// The interpreter.
    pub machine: RefCell<Machine<'m>>,
    /// By map: it was assigned when it was zeroed, and counts as assigned though it is zero.
    zeroed: Vec<Cell<bool>>,
}

/// A map without a key, in `.bss`.
struct Place {
    offset: usize,
    copies: usize,
    stride: usize,
    value_size: usize,
    set_flag: Option<u32>,
}

impl<'m> MachineMaps<'m> {
    pub fn new(module: &'m Module, plan: &'m Plan, machine: Machine<'m>) -> MachineMaps<'m> {
        let zeroed = plan.maps.iter().map(|_| Cell::new(false)).collect();
        MachineMaps { module, plan, machine: RefCell::new(machine), zeroed }
    }

    /// A `u64` of `.bss`.
    pub fn word(&self, offset: u32) -> u64 {
        let bss = self.machine.borrow().bss();
        bss.get(offset as usize..offset as usize + 8)
            .map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("the range is 8 bytes long")))
    }

    fn map(&self, map: usize) -> Result<&'m MapPlan, MapError> {
        self.plan.maps.get(map).ok_or_else(|| MapError::Internal(format!("no map with index {map}")))
    }

    fn keyed(&self, elf_name: &str) -> Result<MapRef, MapError> {
        let found = self.module.maps.iter().find(|(_, def)| def.name == elf_name);
        found.map(|(map, _)| map).ok_or_else(|| MapError::Internal(format!("no map `{elf_name}`")))
    }

    fn place(plan: &MapPlan) -> Option<Place> {
        let MapStorage::Global { offset, copies, stride, set_flag } = &plan.storage else { return None };
        let value_size = plan.value.size() as usize;
        Some(Place {
            offset: *offset as usize,
            copies: *copies as usize,
            stride: (*stride as usize).max(value_size),
            value_size,
            set_flag: *set_flag,
        })
    }

    /// A map without a key, as an element with an empty key.
    fn global(&self, place: &Place) -> Entries {
        let bss = self.machine.borrow().bss();
        let mut value: Vec<u8> =
            bss.into_iter().skip(place.offset).take(place.stride * place.copies).collect();
        // What follows the last copy is another variable's.
        value.truncate(place.stride * (place.copies - 1) + place.value_size);
        value.resize(place.stride * place.copies, 0);
        let mut entries = Entries::new(0, place.stride, place.copies);
        entries.extend(1, &[], &value);
        entries
    }

    /// The elements of a map with keys that are wanted; each copy takes a multiple of 8 bytes, as in the kernel.
    fn elements(&self, elf_name: &str, wanted: impl Fn(&[u8]) -> bool) -> Result<Entries, MapError> {
        let map = self.keyed(elf_name)?;
        let def = &self.module.maps[map];
        let machine = self.machine.borrow();
        let found = machine.elements(map);
        let copies = found.first().map_or(1, |(_, values)| values.len());
        let stride = (def.value_size as usize).next_multiple_of(8);
        let mut entries = Entries::new(def.key_size as usize, stride, copies);
        for (key, values) in found.iter().filter(|(key, _)| wanted(key)) {
            let mut bytes = Vec::with_capacity(stride * copies);
            for value in values {
                bytes.extend_from_slice(value);
                bytes.resize(bytes.len().next_multiple_of(stride.max(1)), 0);
            }
            entries.extend(1, key, &bytes);
        }
        Ok(entries)
    }
}

impl MapAccess for MachineMaps<'_> {
    fn entries(&self, map: usize) -> Result<Entries, MapError> {
        let plan = self.map(map)?;
        if let MapStorage::Keyed { elf_name, .. } = &plan.storage {
            return self.elements(elf_name, |_| true);
        }
        let Some(place) = Self::place(plan) else { return Ok(Entries::default()) };
        let entries = self.global(&place);
        let is_set = match place.set_flag {
            Some(flag) => self.word(flag) != 0,
            None => {
                let is_zero = |copy: &[u8]| copy[..place.value_size].iter().all(|b| *b == 0);
                self.zeroed[map].get() || !entries.value(0).iter().all(is_zero)
            }
        };
        Ok(if is_set { entries } else { Entries::new(0, place.stride, place.copies) })
    }

    fn lookup(&self, map: usize, key: &[u8]) -> Result<Entries, MapError> {
        let plan = self.map(map)?;
        match (&plan.storage, Self::place(plan)) {
            (MapStorage::Keyed { elf_name, .. }, _) => self.elements(elf_name, |k| k == key),
            (_, Some(place)) => Ok(self.global(&place)),
            (MapStorage::Global { .. }, None) => Ok(Entries::default()),
        }
    }

    fn clear(&self, map: usize) -> Result<(), MapError> {
        let plan = self.map(map)?;
        if let MapStorage::Keyed { elf_name, .. } = &plan.storage {
            let map = self.keyed(elf_name)?;
            self.machine.borrow_mut().clear(map);
            return Ok(());
        }
        if let Some(Place { set_flag: Some(flag), .. }) = Self::place(plan) {
            self.machine.borrow_mut().write_bss(flag, &0u64.to_le_bytes());
        }
        self.zero(map)?;
        self.zeroed[map].set(false);
        Ok(())
    }

    fn zero(&self, map: usize) -> Result<(), MapError> {
        let plan = self.map(map)?;
        if let MapStorage::Keyed { elf_name, .. } = &plan.storage {
            let map = self.keyed(elf_name)?;
            self.machine.borrow_mut().zero(map);
            return Ok(());
        }
        let Some(place) = Self::place(plan) else { return Ok(()) };
        self.zeroed[map].set(!self.entries(map)?.is_empty());
        for copy in 0..place.copies {
            let at = place.offset + copy * place.stride;
            self.machine.borrow_mut().write_bss(at as u32, &vec![0; place.value_size]);
        }
        Ok(())
    }

    fn stack(&self, id: u64) -> Result<Option<Vec<u64>>, MapError> {
        let Some((elf_name, _)) = &self.plan.stacks else {
            return Err(MapError::Internal("a stack, but no map of stacks".into()));
        };
        let found = self.elements(elf_name, |key| key == id.to_ne_bytes())?;
        if found.is_empty() {
            return Ok(None);
        }
        let words = found.value(0).first().as_chunks::<8>().0;
        Ok(Some(words.iter().map(|word| u64::from_ne_bytes(*word)).collect()))
    }
}
