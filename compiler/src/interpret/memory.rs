//! Objects and addresses: what programs may load from and store to.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::trap::Fault;
use crate::ir::{FuncRef, Global, MapRef, Slot, Type};

/// A value while a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Val {
    /// An integer; a Kernel, User or Btf address; or a null pointer of any type.
    Number(i64),
    /// An address in an object.
    Address(Address),
    /// A map itself.
    Map(MapRef),
    /// A callback.
    Callback(FuncRef),
}

/// An object and an offset, which may be outside as long as nothing is accessed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub object: ObjectId,
    pub offset: i64,
}

/// An object's name; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ObjectId(u64);

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObjectKind {
    /// The program's context.
    Context,
    /// A function's memory.
    Slot(Slot),
    /// A variable in `.bss`, at this offset.
    Global { global: Global, offset: u32 },
    /// An element's value (one CPU's).
    MapValue(MapRef),
    /// An element's key, as `for_each_map_elem` shows it.
    MapKey(MapRef),
    /// What a function of the program is called with.
    Argument {
        /// It may write there.
        updates: bool,
    },
    /// A reserved ring buffer record.
    Record,
}

/// A piece of memory.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub kind: ObjectKind,
    pub bytes: Vec<u8>,
    /// Which bytes have been written.
    pub written: Vec<bool>,
    /// The addresses stored in it, by the offset of their eight bytes.
    addresses: BTreeMap<usize, Address>,
    /// Known alignment of its first byte.
    align: u32,
    gone: bool,
}

impl Object {
    fn name(&self) -> String {
        match self.kind {
            ObjectKind::Context => "the context".into(),
            ObjectKind::Slot(slot) => slot.to_string(),
            ObjectKind::Global { global, .. } => global.to_string(),
            ObjectKind::MapValue(map) => format!("a value of {map}"),
            ObjectKind::MapKey(map) => format!("a key of {map}"),
            ObjectKind::Argument { .. } => "a function's argument".into(),
            ObjectKind::Record => "a ring buffer record".into(),
        }
    }

    fn is_aligned(&self, start: i64, align: u32) -> bool {
        let base = match self.kind {
            ObjectKind::Global { offset, .. } => i64::from(offset),
            _ => 0,
        };
        base.wrapping_add(start) & i64::from(align - 1) == 0 && self.align >= align
    }

    fn stores_addresses(&self, range: &Range<usize>) -> bool {
        self.addresses.range(range.start.saturating_sub(7)..range.end).next().is_some()
    }

    /// Notes that the range holds plain bytes now.
    fn overwrite(&mut self, range: Range<usize>) {
        let overwritten: Vec<usize> =
            self.addresses.range(range.start.saturating_sub(7)..range.end).map(|(at, _)| *at).collect();
        for at in overwritten {
            self.addresses.remove(&at);
            // What is left of the address is not a value.
            let end = (at + 8).min(self.written.len());
            self.written[at..end].fill(false);
        }
        self.written[range].fill(true);
    }
}

/// All objects.
#[derive(Debug, Default)]
pub(super) struct Memory {
    objects: HashMap<ObjectId, Object>,
    next: u64,
    /// Objects that do not outlive the run.
    passing: Vec<ObjectId>,
    /// The objects whose addresses were asked for as numbers, by the number of their first byte.
    numbered: BTreeMap<u64, ObjectId>,
}

/// The number of the first object that is given one; the others' lie above.
const FIRST_NUMBER: u64 = 0xffff_c900_0000_0000;

/// The number of the first map, all of whose memory is out of a program's sight; the others' follow.
const FIRST_MAP: u64 = 0xffff_8880_0000_0000;

/// Bytes between the end of an object and the number of the next.
const NUMBER_GAP: u64 = 0x1000;

impl Memory {
    /// Adds an object whose bytes are all written. It outlives the run if it is a global or a map's value.
    pub fn add(&mut self, kind: ObjectKind, bytes: Vec<u8>, align: u32) -> ObjectId {
        let written = vec![true; bytes.len()];
        self.insert(Object { kind, bytes, written, addresses: BTreeMap::new(), align, gone: false })
    }

    /// Adds an object that nobody has written to.
    pub fn add_unwritten(&mut self, kind: ObjectKind, size: usize, align: u32) -> ObjectId {
        let (bytes, written) = (vec![0; size], vec![false; size]);
        self.insert(Object { kind, bytes, written, addresses: BTreeMap::new(), align, gone: false })
    }

    fn insert(&mut self, object: Object) -> ObjectId {
        let id = ObjectId(self.next);
        self.next += 1;
        if !matches!(object.kind, ObjectKind::Global { .. } | ObjectKind::MapValue(_)) {
            self.passing.push(id);
        }
        self.objects.insert(id, object);
        id
    }

    /// Ends an object: addresses of it are worth nothing any more.
    pub fn end(&mut self, id: ObjectId) {
        self.object_mut(id).gone = true;
        self.passing.push(id);
    }

    /// Drops what does not outlive a run.
    pub fn end_run(&mut self) {
        for id in self.passing.drain(..) {
            self.objects.remove(&id);
        }
        self.numbered.retain(|_, id| self.objects.contains_key(id));
    }

    /// An object. Ids come from here, and outside of a run only those of lasting objects are kept.
    pub fn object(&self, id: ObjectId) -> &Object {
        &self.objects[&id]
    }

    /// An object, to be changed.
    pub fn object_mut(&mut self, id: ObjectId) -> &mut Object {
        self.objects.get_mut(&id).expect("an object lasts as long as its id is known")
    }

    /// The type of an address in an object.
    pub fn type_of(&self, address: Address) -> Type {
        match self.object(address.object).kind {
            ObjectKind::Context => Type::Ctx,
            ObjectKind::Slot(_) => Type::Stack,
            ObjectKind::Global { .. }
            | ObjectKind::MapValue(_)
            | ObjectKind::MapKey(_)
            | ObjectKind::Argument { .. } => Type::Map,
            ObjectKind::Record => Type::Ring,
        }
    }

    /// The bytes of an access, if they are inside an object that is there.
    fn range(&self, address: Address, len: usize) -> Result<(&Object, Range<usize>), Fault> {
        let object = self.object(address.object);
        if object.gone {
            return Err(Fault::Gone { object: object.name() });
        }
        let (start, size) = (address.offset, object.bytes.len());
        let end = start.saturating_add(len as i64);
        if start < 0 || end > size as i64 {
            return Err(Fault::OutOfBounds { object: object.name(), start, end, size });
        }
        Ok((object, start as usize..end as usize))
    }

    /// The same, to be written.
    fn writable(&mut self, address: Address, len: usize) -> Result<(&mut Object, Range<usize>), Fault> {
        let (object, range) = self.range(address, len)?;
        if matches!(
            object.kind,
            ObjectKind::Context | ObjectKind::MapKey(_) | ObjectKind::Argument { updates: false }
        ) {
            return Err(Fault::ReadOnly { object: object.name() });
        }
        Ok((self.object_mut(address.object), range))
    }

    /// Fails if an access is not aligned. On the stack every load and store must be.
    pub fn check_alignment(&self, address: Address, align: u32, always: bool) -> Result<(), Fault> {
        let object = self.object(address.object);
        let matters = always || matches!(object.kind, ObjectKind::Slot(_));
        if matters && !object.is_aligned(address.offset, align) {
            return Err(Fault::Misaligned { object: object.name(), start: address.offset, align });
        }
        Ok(())
    }

    /// An address as a number. An object keeps the number that it has once.
    pub fn number(&mut self, address: Address) -> i64 {
        let known = self.numbered.iter().find(|(_, object)| **object == address.object);
        let start = match known {
            Some((start, _)) => *start,
            None => {
                let last = self.numbered.last_key_value();
                let start = last.map_or(FIRST_NUMBER, |(start, object)| {
                    let size = self.objects.get(object).map_or(0, |object| object.bytes.len() as u64);
                    (start + size + NUMBER_GAP).next_multiple_of(8)
                });
                self.numbered.insert(start, address.object);
                start
            }
        };
        (start as i64).wrapping_add(address.offset)
    }

    /// A map's address as a number.
    pub fn map_number(map: MapRef) -> i64 {
        (FIRST_MAP + u64::from(map.as_u32()) * NUMBER_GAP) as i64
    }

    /// The address that a number is of, if so many bytes are there.
    pub fn numbered(&self, number: u64, len: usize) -> Option<Address> {
        let (start, id) = self.numbered.range(..=number).next_back()?;
        let object = self.objects.get(id).filter(|object| !object.gone)?;
        let offset = number - start;
        let end = offset.checked_add(len as u64)?;
        (end <= object.bytes.len() as u64).then_some(Address { object: *id, offset: offset as i64 })
    }

    /// Reads bytes that have all been written and hold no addresses.
    pub fn read(&self, address: Address, len: usize) -> Result<Vec<u8>, Fault> {
        let (object, range) = self.range(address, len)?;
        if object.stores_addresses(&range) {
            return Err(Fault::PartOfAddress { object: object.name(), start: address.offset });
        }
        if let Some(unwritten) = object.written[range.clone()].iter().position(|written| !written) {
            return Err(Fault::Uninitialised { object: object.name(), byte: range.start + unwritten });
        }
        Ok(object.bytes[range].to_vec())
    }

    /// Writes bytes.
    pub fn write(&mut self, address: Address, bytes: &[u8]) -> Result<(), Fault> {
        let (object, range) = self.writable(address, bytes.len())?;
        object.bytes[range.clone()].copy_from_slice(bytes);
        object.overwrite(range);
        Ok(())
    }

    /// Fails if so many bytes cannot be written.
    pub fn check_writable(&mut self, address: Address, len: usize) -> Result<(), Fault> {
        self.writable(address, len).map(|_| ())
    }

    /// The address stored at an address, if one is.
    pub fn stored_address(&self, address: Address) -> Result<Option<Address>, Fault> {
        let (object, range) = self.range(address, 8)?;
        Ok(object.addresses.get(&range.start).copied())
    }

    /// Stores an address. Only slots may keep one.
    pub fn store_address(&mut self, at: Address, stored: Address) -> Result<(), Fault> {
        let (object, range) = self.writable(at, 8)?;
        if !matches!(object.kind, ObjectKind::Slot(_)) {
            return Err(Fault::KeptAddress { object: object.name() });
        }
        object.overwrite(range.clone());
        object.addresses.insert(range.start, stored);
        Ok(())
    }
}
