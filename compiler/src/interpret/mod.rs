//! The reference interpreter: what IR means, executed.
//!
//! Simple, slow and strict. It exists to be compared with: passes must not change what it shows, and
//! the kernel running the emitted code must show the same. It is also how scripts are tested without
//! a kernel. Always holds:
//!
//! - Pure: whatever a program learns of the world comes from a [`World`] value.
//! - Memory is made of objects (a slot, a map's value, a global, a ring buffer record, the context),
//!   and an address is an object and an offset. Reading a byte that nobody wrote, leaving an object,
//!   using one that is gone, writing what is read-only, mixing addresses and numbers, and misaligned
//!   access to the stack are [`Trap`]s that say where, never a value.
//! - Maps, globals and events outlive a run; everything else is gone when it ends.
//!
//! ```text
//! mod       the machine: what outlives runs, and its contents as bytes
//! world     time, process, memory, stacks: given by the caller
//! trap      what a program did wrong, and where
//! run       functions, blocks, instructions        arith   numbers
//! call      helpers: which does what               probe   reading fake memory, stacks, comm
//! memory    objects and addresses                  maps    map types as the kernel keeps them
//! ring      the ring buffer
//! ```
//!
//! Deliberately absent: concurrency (atomics are plain), and the order in which the kernel walks a
//! hash map, which is random there and the order of the keys' bytes here.

use cranelift_entity::PrimaryMap;

use crate::ir::{Global, MapKind, MapRef, Module};

mod arith;
mod call;
mod maps;
mod memory;
mod probe;
mod ring;
mod run;
mod trap;
mod world;

pub use ring::Event;
pub use trap::{Fault, Trap};
pub use world::{FakeMemory, Task, World};

use maps::MapState;
use memory::{Memory, ObjectId, ObjectKind};
use ring::RingState;

/// A map's or ring buffer's contents.
#[derive(Debug)]
enum Store {
    Map(MapState),
    Ring(RingState),
}

/// A module with its maps, globals and events, ready to run programs one after another.
#[derive(Debug)]
pub struct Machine<'m> {
    module: &'m Module,
    /// What the next run finds. May be changed between runs: another task, a later time.
    pub world: World,
    memory: Memory,
    stores: PrimaryMap<MapRef, Store>,
    globals: PrimaryMap<Global, ObjectId>,
}

/// A key of a map and its value, or its values by CPU.
pub type Element = (Vec<u8>, Vec<Vec<u8>>);

impl<'m> Machine<'m> {
    /// A machine with empty maps and globals of zeros. The module must pass the IR verifier.
    pub fn new(module: &'m Module, world: World) -> Machine<'m> {
        let mut memory = Memory::default();
        let mut stores = PrimaryMap::new();
        for (map, def) in &module.maps {
            stores.push(match def.kind {
                MapKind::RingBuf => Store::Ring(RingState::new(def.max_entries)),
                MapKind::Hash
                | MapKind::Array
                | MapKind::PerCpuHash
                | MapKind::PerCpuArray
                | MapKind::LruHash
                | MapKind::LruPerCpuHash => Store::Map(MapState::new(map, def, world.cpus, &mut memory)),
            });
        }
        let mut globals = PrimaryMap::new();
        for (global, def) in &module.globals {
            let kind = ObjectKind::Global { global, offset: def.offset };
            globals.push(memory.add(kind, vec![0; def.size as usize], 8));
        }
        Machine { module, world, memory, stores, globals }
    }

    /// Runs a program once; gives what it returns. `context` is the bytes of its context.
    ///
    /// # Errors
    /// What the program did wrong and where. Maps, globals and events are then as they were at that
    /// instruction.
    pub fn run(&mut self, program: usize, context: &[u8]) -> Result<i64, Trap> {
        let result = run::run(self, program, context);
        self.memory.end_run();
        result
    }

    /// A map's elements, sorted by the bytes of their keys; none of a ring buffer.
    pub fn elements(&self, map: MapRef) -> Vec<Element> {
        match &self.stores[map] {
            Store::Map(state) => state.elements(&self.memory),
            Store::Ring(_) => Vec::new(),
        }
    }

    /// Gives a key of a map a value, as the runtime does; `false` if there is no room, or no such map.
    pub fn put(&mut self, map: MapRef, key: &[u8], value: &[u8]) -> bool {
        match &mut self.stores[map] {
            Store::Map(state) => state.update(key, value, 0, self.world.cpu, &mut self.memory) == 0,
            Store::Ring(_) => false,
        }
    }

    /// Deletes all elements of a map (of an array: sets them to zero).
    pub fn clear(&mut self, map: MapRef) {
        if let Store::Map(state) = &mut self.stores[map] {
            state.clear(&mut self.memory);
        }
    }

    /// Sets all values of a map to zero.
    pub fn zero(&mut self, map: MapRef) {
        if let Store::Map(state) = &mut self.stores[map] {
            state.zero(&mut self.memory);
        }
    }

    /// The events since they were last taken, which makes room for others; in the order in which
    /// they were reserved.
    pub fn take_events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for store in self.stores.values_mut() {
            if let Store::Ring(ring) = store {
                events.append(&mut ring.take());
            }
        }
        events
    }

    /// The `.bss` section: every global at its offset.
    pub fn bss(&self) -> Vec<u8> {
        let mut bss = Vec::new();
        for (global, def) in &self.module.globals {
            let (start, end) = (def.offset as usize, (def.offset + def.size) as usize);
            if bss.len() < end {
                bss.resize(end, 0);
            }
            bss[start..end].copy_from_slice(&self.memory.object(self.globals[global]).bytes);
        }
        bss
    }

    /// Writes to the `.bss` section, as the runtime does. Bytes between globals are ignored.
    pub fn write_bss(&mut self, offset: u32, bytes: &[u8]) {
        for (n, byte) in bytes.iter().enumerate() {
            let at = offset as usize + n;
            for (global, def) in &self.module.globals {
                let start = def.offset as usize;
                if (start..start + def.size as usize).contains(&at) {
                    self.memory.object_mut(self.globals[global]).bytes[at - start] = *byte;
                }
            }
        }
    }
}
