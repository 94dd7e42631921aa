//! Reading, clearing and zeroing the script's maps while a run is going on or at its end.
//!
//! [`MapAccess`] is all that printing needs to know of maps. [`KernelMaps`] is the real one: keyed
//! maps are read through `bpf()` in batches where the kernel has them, maps without a key live in
//! the `.bss` section, which is mapped memory. Values come back as raw bytes, one copy per CPU
//! where the map has one; [`crate::output`] combines and prints them.
//!
//! Programs go on writing while a map is read: what is read is some state between the begin and
//! the end of the reading, every key at most once.

mod bss;
mod error;
mod kernel;
mod keyed;
mod raw;

#[cfg(test)]
pub(crate) mod fake;

pub use bss::Bss;
pub use error::MapError;
pub use kernel::KernelMaps;

/// What printing needs of the script's maps. Maps are named by their index in
/// [`memql_compiler::plan::Plan::maps`].
pub trait MapAccess {
    /// All elements of a map. A map without a key has one element with an empty key, or none if it
    /// was never assigned.
    ///
    /// # Errors
    /// If the kernel refuses.
    fn entries(&self, map: usize) -> Result<Entries, MapError>;

    /// The element with this key: one or none. A map without a key has the empty key, and is found
    /// even if it was never assigned; its bytes are then zero.
    ///
    /// # Errors
    /// If the kernel refuses or the key has the wrong size.
    fn lookup(&self, map: usize, key: &[u8]) -> Result<Entries, MapError>;

    /// Deletes all elements; a map without a key counts as never assigned afterwards.
    ///
    /// # Errors
    /// If the kernel refuses.
    fn clear(&self, map: usize) -> Result<(), MapError>;

    /// Sets all values to zero and keeps the keys.
    ///
    /// # Errors
    /// If the kernel refuses.
    fn zero(&self, map: usize) -> Result<(), MapError>;

    /// The frames kept under a stack id, innermost first; `None` if the id is not there any more.
    ///
    /// # Errors
    /// If the kernel refuses.
    fn stack(&self, id: u64) -> Result<Option<Vec<u64>>, MapError>;
}

/// Elements of a map, in no particular order: keys and values lie one after another in two buffers,
/// so that a million elements are two allocations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    key_size: usize,
    stride: usize,
    copies: usize,
    len: usize,
    keys: Vec<u8>,
    values: Vec<u8>,
    /// Whether every element was seen. Not so where the kernel has no batch reads and the map
    /// changed faster than it could be walked.
    pub complete: bool,
}

impl Entries {
    /// No elements yet, of keys of `key_size` bytes and values of `copies` times `stride` bytes.
    pub fn new(key_size: usize, stride: usize, copies: usize) -> Entries {
        Entries { key_size, stride, copies, len: 0, keys: Vec::new(), values: Vec::new(), complete: true }
    }

    /// Adds elements: `keys` and `values` hold a whole number of them.
    pub fn extend(&mut self, count: usize, keys: &[u8], values: &[u8]) {
        debug_assert_eq!(keys.len(), count * self.key_size);
        debug_assert_eq!(values.len(), count * self.stride * self.copies);
        self.keys.extend_from_slice(keys);
        self.values.extend_from_slice(values);
        self.len += count;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key of element `i`.
    ///
    /// # Panics
    /// If there are not so many elements.
    pub fn key(&self, i: usize) -> &[u8] {
        &self.keys[i * self.key_size..(i + 1) * self.key_size]
    }

    /// The value of element `i`.
    ///
    /// # Panics
    /// If there are not so many elements.
    pub fn value(&self, i: usize) -> Copies<'_> {
        let size = self.stride * self.copies;
        Copies { bytes: &self.values[i * size..(i + 1) * size], stride: self.stride }
    }
}

/// A map's value: one copy, or one per possible CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies<'a> {
    bytes: &'a [u8],
    stride: usize,
}

impl<'a> Copies<'a> {
    /// A value with copies of `stride` bytes each.
    pub fn new(bytes: &'a [u8], stride: usize) -> Copies<'a> {
        Copies { bytes, stride: stride.max(1) }
    }

    /// The copies, padding included.
    pub fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        self.bytes.chunks_exact(self.stride.max(1))
    }

    /// The first copy: the value of a map that is not per CPU.
    pub fn first(self) -> &'a [u8] {
        &self.bytes[..self.stride.min(self.bytes.len())]
    }

    /// How many copies there are.
    pub fn count(self) -> usize {
        self.bytes.len() / self.stride.max(1)
    }
}

#[cfg(test)]
mod tests;
