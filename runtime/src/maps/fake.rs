//! Maps in memory, for tests of what is printed.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{Entries, MapAccess, MapError};

/// Maps with given elements.
#[derive(Debug, Default)]
pub(crate) struct FakeMaps {
    /// The maps by index.
    pub maps: RefCell<Vec<FakeMap>>,
    /// Stacks by id.
    pub stacks: BTreeMap<u64, Vec<u64>>,
}

/// One of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeMap {
    /// Bytes of a key.
    pub key_size: usize,
    /// Bytes of a copy of a value.
    pub stride: usize,
    /// Copies of a value.
    pub copies: usize,
    /// Key and all copies of the value.
    pub elements: Vec<(Vec<u8>, Vec<u8>)>,
}

impl FakeMaps {
    fn with<T>(&self, map: usize, f: impl FnOnce(&mut FakeMap) -> T) -> Result<T, MapError> {
        match self.maps.borrow_mut().get_mut(map) {
            Some(map) => Ok(f(map)),
            None => Err(MapError::Internal(format!("no map {map}"))),
        }
    }
}

impl FakeMap {
    fn entries(&self, wanted: impl Fn(&[u8]) -> bool) -> Entries {
        let mut entries = Entries::new(self.key_size, self.stride, self.copies);
        for (key, value) in self.elements.iter().filter(|(key, _)| wanted(key)) {
            entries.extend(1, key, value);
        }
        entries
    }
}

impl MapAccess for FakeMaps {
    fn entries(&self, map: usize) -> Result<Entries, MapError> {
        self.with(map, |map| map.entries(|_| true))
    }

    fn lookup(&self, map: usize, key: &[u8]) -> Result<Entries, MapError> {
        self.with(map, |map| {
            let mut found = map.entries(|k| k == key);
            if map.key_size == 0 && found.is_empty() {
                found.extend(1, &[], &vec![0; map.stride * map.copies]);
            }
            found
        })
    }

    fn clear(&self, map: usize) -> Result<(), MapError> {
        self.with(map, |map| map.elements.clear())
    }

    fn zero(&self, map: usize) -> Result<(), MapError> {
        self.with(map, |map| map.elements.iter_mut().for_each(|(_, value)| value.fill(0)))
    }

    fn stack(&self, id: u64) -> Result<Option<Vec<u64>>, MapError> {
        Ok(self.stacks.get(&id).cloned())
    }
}
