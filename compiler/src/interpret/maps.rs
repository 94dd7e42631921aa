//! Maps as the kernel keeps them: which operations succeed, and with which error they do not.
//!
//! Hash maps: kernel/bpf/hashtab.c; arrays: kernel/bpf/arraymap.c. An update of a shared hash map
//! makes a new element, so that addresses of the old value are worth nothing afterwards; per-CPU
//! maps and arrays are written in place. An LRU map that is full drops the element that was not
//! used for longest (the kernel drops one of the oldest).

use std::collections::BTreeMap;

use super::Element as Contents;
use super::memory::{Memory, ObjectId, ObjectKind};
use crate::ir::{MapDef, MapKind, MapRef};

/// Errors of helpers (include/uapi/asm-generic/errno-base.h).
pub(super) const ENOENT: i64 = -2;
pub(super) const E2BIG: i64 = -7;
pub(super) const EAGAIN: i64 = -11;
pub(super) const EFAULT: i64 = -14;
pub(super) const EEXIST: i64 = -17;
pub(super) const EINVAL: i64 = -22;

/// Flags of updates (include/uapi/linux/bpf.h).
const BPF_NOEXIST: u64 = 1;
const BPF_EXIST: u64 = 2;

#[derive(Debug)]
struct Element {
    /// One value, or one per CPU.
    values: Vec<ObjectId>,
    /// When it was last used.
    used: u64,
}

/// A map that is not a ring buffer.
#[derive(Debug)]
pub(super) struct MapState {
    map: MapRef,
    kind: MapKind,
    value_size: usize,
    max_entries: usize,
    cpus: u32,
    elements: BTreeMap<Vec<u8>, Element>,
    /// Counts uses.
    now: u64,
}

impl MapState {
    pub fn new(map: MapRef, def: &MapDef, cpus: u32, memory: &mut Memory) -> MapState {
        let mut state = MapState {
            map,
            kind: def.kind,
            value_size: def.value_size as usize,
            max_entries: def.max_entries as usize,
            cpus,
            elements: BTreeMap::new(),
            now: 0,
        };
        if state.is_array() {
            for index in 0..def.max_entries {
                state.insert(index.to_ne_bytes().to_vec(), memory);
            }
        }
        state
    }

    fn is_array(&self) -> bool {
        matches!(self.kind, MapKind::Array | MapKind::PerCpuArray)
    }

    fn is_lru(&self) -> bool {
        matches!(self.kind, MapKind::LruHash | MapKind::LruPerCpuHash)
    }

    fn is_per_cpu(&self) -> bool {
        matches!(self.kind, MapKind::PerCpuHash | MapKind::PerCpuArray | MapKind::LruPerCpuHash)
    }

    /// Puts a new element of zeros there.
    fn insert(&mut self, key: Vec<u8>, memory: &mut Memory) {
        let copies = if self.is_per_cpu() { self.cpus } else { 1 };
        let value = |_| memory.add(ObjectKind::MapValue(self.map), vec![0; self.value_size], 8);
        let values = (0..copies).map(value).collect();
        self.now += 1;
        self.elements.insert(key, Element { values, used: self.now });
    }

    fn remove(&mut self, key: &[u8], memory: &mut Memory) -> bool {
        let removed = self.elements.remove(key);
        for value in removed.iter().flat_map(|e| &e.values) {
            memory.end(*value);
        }
        removed.is_some()
    }

    /// The value of a key on a CPU.
    pub fn lookup(&mut self, key: &[u8], cpu: u32) -> Option<ObjectId> {
        if self.is_per_cpu() && cpu >= self.cpus {
            return None;
        }
        self.now += 1;
        let (now, cpu) = (self.now, if self.is_per_cpu() { cpu as usize } else { 0 });
        let element = self.elements.get_mut(key)?;
        element.used = now;
        element.values.get(cpu).copied()
    }

    /// `bpf_map_lookup_percpu_elem`: only per-CPU maps have it.
    pub fn has_values_by_cpu(&self) -> bool {
        self.is_per_cpu()
    }

    /// Sets a key's value (on one CPU; a new element is zero on the others). 0 or an error.
    pub fn update(&mut self, key: &[u8], value: &[u8], flags: u64, cpu: u32, memory: &mut Memory) -> i64 {
        let exists = self.elements.contains_key(key);
        if flags > BPF_EXIST {
            return EINVAL;
        }
        if self.is_array() && !exists {
            return E2BIG;
        }
        if flags == BPF_NOEXIST && exists {
            return EEXIST;
        }
        if flags == BPF_EXIST && !exists {
            return ENOENT;
        }
        if !exists && self.elements.len() >= self.max_entries {
            if !self.is_lru() {
                return E2BIG;
            }
            self.drop_oldest(memory);
        }
        if !exists || !(self.is_array() || self.is_per_cpu()) {
            self.remove(key, memory);
            self.insert(key.to_vec(), memory);
        }
        if let Some(id) = self.lookup(key, cpu) {
            memory.object_mut(id).bytes.copy_from_slice(value);
        }
        0
    }

    fn drop_oldest(&mut self, memory: &mut Memory) {
        let oldest = self.elements.iter().min_by_key(|(_, e)| e.used).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.remove(&key, memory);
        }
    }

    /// Deletes a key. 0 or an error.
    pub fn delete(&mut self, key: &[u8], memory: &mut Memory) -> i64 {
        if self.is_array() {
            return EINVAL;
        }
        if self.remove(key, memory) { 0 } else { ENOENT }
    }

    /// The keys, in the order in which they are walked here.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.elements.keys().cloned().collect()
    }

    pub fn elements(&self, memory: &Memory) -> Vec<Contents> {
        let bytes = |id: &ObjectId| memory.object(*id).bytes.clone();
        self.elements.iter().map(|(key, e)| (key.clone(), e.values.iter().map(bytes).collect())).collect()
    }

    pub fn zero(&mut self, memory: &mut Memory) {
        for id in self.elements.values().flat_map(|e| &e.values) {
            memory.object_mut(*id).bytes.fill(0);
        }
    }

    pub fn clear(&mut self, memory: &mut Memory) {
        if self.is_array() {
            return self.zero(memory);
        }
        for key in self.keys() {
            self.remove(&key, memory);
        }
        memory.end_run();
    }
}
