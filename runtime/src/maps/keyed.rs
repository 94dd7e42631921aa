//! One keyed eBPF map: read all of it, look one key up, clear, zero.
//!
//! ```text
//! batch reads      the kernel walks whole buckets: each key at most once, whatever happens meanwhile
//! key by key       `get_next_key` starts over when the current key was deleted: keys seen are
//!                  skipped, and the walk ends after a bounded number of steps
//! ```

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::raw::{self, Batch, Shape};
use super::{Entries, MapError};

/// Elements read by one batch at first.
const BATCH: usize = 4096;
/// A batch's buffers are kept below this many bytes as long as that leaves room for an element.
const BATCH_BYTES: usize = 16 << 20;

/// A keyed map of the object.
#[derive(Debug)]
pub(super) struct KeyedMap {
    /// As the script names it.
    name: String,
    fd: OwnedFd,
    shape: Shape,
}

impl KeyedMap {
    /// Takes a map whose keys and values should have these sizes.
    pub fn new(name: &str, fd: OwnedFd, key_size: usize, value_size: usize) -> Result<KeyedMap, MapError> {
        let map = KeyedMap::of_any_size(name, fd)?;
        let Shape { key_size: keys, value_size: values, .. } = map.shape;
        if keys != key_size || values < value_size {
            return Err(MapError::Internal(format!(
                "map `{name}` has keys of {keys} and values of {values} bytes, the plan says {key_size} and {value_size}"
            )));
        }
        Ok(map)
    }

    /// Takes a map with the sizes that it has.
    pub fn of_any_size(name: &str, fd: OwnedFd) -> Result<KeyedMap, MapError> {
        let shape = raw::shape(fd.as_fd()).map_err(|source| MapError::System {
            operation: "describe",
            map: name.to_owned(),
            source,
        })?;
        Ok(KeyedMap { name: name.to_owned(), fd, shape })
    }

    /// Its sizes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// All elements.
    pub fn entries(&self) -> Result<Entries, MapError> {
        match self.batches(false) {
            Err(error) if raw::lacks_batches(&error) => self.walk(),
            answer => answer,
        }
        .map_err(|e| self.error("read", e))
    }

    /// The element with this key.
    pub fn lookup(&self, key: &[u8]) -> Result<Entries, MapError> {
        if key.len() != self.shape.key_size {
            return Err(MapError::Internal(format!("a key of {} bytes for map `{}`", key.len(), self.name)));
        }
        let mut entries = self.empty();
        let mut value = vec![0; self.shape.value_bytes()];
        if raw::lookup(self.fd(), self.shape, key, &mut value).map_err(|e| self.error("read", e))? {
            entries.extend(1, key, &value);
        }
        Ok(entries)
    }

    /// Deletes all elements.
    pub fn clear(&self) -> Result<(), MapError> {
        match self.batches(true) {
            Err(error) if raw::lacks_batches(&error) => self.delete_each(),
            answer => answer.map(drop),
        }
        .map_err(|e| self.error("clear", e))
    }

    /// Sets all values to zero. An element that is deleted meanwhile stays deleted.
    pub fn zero(&self) -> Result<(), MapError> {
        let entries = self.entries()?;
        let zeros = vec![0; self.shape.value_bytes()];
        for i in 0..entries.len() {
            raw::update_existing(self.fd(), self.shape, entries.key(i), &zeros)
                .map_err(|e| self.error("zero", e))?;
        }
        Ok(())
    }

    /// Reads, and deletes if `take` is set, bucket by bucket.
    fn batches(&self, take: bool) -> io::Result<Entries> {
        let Shape { key_size, max_entries, .. } = self.shape;
        let value_bytes = self.shape.value_bytes();
        let most = (max_entries as usize).max(1);
        let mut room = BATCH.min(BATCH_BYTES / (key_size + value_bytes).max(1)).clamp(1, most);
        let mut entries = self.empty();
        let mut token = None;
        let (mut keys, mut values) = (vec![0; room * key_size], vec![0; room * value_bytes]);
        loop {
            let batch = raw::lookup_batch(self.fd(), self.shape, &mut token, &mut keys, &mut values, take)?;
            let (count, last) = match batch {
                Batch::More(count) => (count, false),
                Batch::Last(count) => (count, true),
                Batch::TooSmall if room < most => {
                    room = (room * 4).min(most);
                    keys.resize(room * key_size, 0);
                    values.resize(room * value_bytes, 0);
                    continue;
                }
                Batch::TooSmall => return Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            };
            if !take {
                entries.extend(count, &keys[..count * key_size], &values[..count * value_bytes]);
            }
            if last {
                return Ok(entries);
            }
        }
    }

    /// Reads key by key, for kernels without batches.
    pub(super) fn walk(&self) -> io::Result<Entries> {
        let mut entries = self.empty();
        let mut seen = HashSet::new();
        let mut current: Option<Vec<u8>> = None;
        let (mut next, mut value) = (vec![0; self.shape.key_size], vec![0; self.shape.value_bytes()]);
        let mut steps_left = 4 * u64::from(self.shape.max_entries) + 1000;
        while raw::next_key(self.fd(), self.shape, current.as_deref(), &mut next)? {
            if steps_left == 0 {
                entries.complete = false;
                break;
            }
            steps_left -= 1;
            if seen.insert(next.clone()) && raw::lookup(self.fd(), self.shape, &next, &mut value)? {
                entries.extend(1, &next, &value);
            }
            current.get_or_insert_with(Vec::new).clone_from(&next);
        }
        Ok(entries)
    }

    /// Deletes key by key, for kernels without batches. Keys that come back faster than they are
    /// deleted end it too.
    pub(super) fn delete_each(&self) -> io::Result<()> {
        let mut key = vec![0; self.shape.key_size];
        for _ in 0..4 * u64::from(self.shape.max_entries) {
            if !raw::next_key(self.fd(), self.shape, None, &mut key)? {
                break;
            }
            raw::delete(self.fd(), self.shape, &key)?;
        }
        Ok(())
    }

    fn empty(&self) -> Entries {
        Entries::new(self.shape.key_size, self.shape.stride, self.shape.copies)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn error(&self, operation: &'static str, source: io::Error) -> MapError {
        MapError::System { operation, map: self.name.clone(), source }
    }
}
