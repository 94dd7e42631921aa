//! The ring buffer: records in the order in which they were reserved, and how much room there is.
//!
//! Sizes and answers are those of kernel/bpf/ringbuf.c: a record takes its bytes and a header of 8,
//! rounded up to 8, until the reader has taken it; discarded ones too.

use super::memory::{Memory, ObjectId, ObjectKind};

/// Bytes of a record's header (`BPF_RINGBUF_HDR_SZ`, include/uapi/linux/bpf.h).
const HEADER_BYTES: u64 = 8;

/// A submitted record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its bytes; those that the program did not write are zero here and anything in a kernel.
    pub bytes: Vec<u8>,
    /// Which bytes the program wrote.
    pub written: Vec<bool>,
}

/// What became of a record.
#[derive(Debug)]
enum Record {
    Reserved(ObjectId),
    Submitted(Event),
    Discarded,
}

/// A ring buffer.
#[derive(Debug)]
pub(super) struct RingState {
    size: u64,
    used: u64,
    records: Vec<Record>,
}

impl RingState {
    /// An empty one of so many bytes.
    pub fn new(size: u32) -> RingState {
        RingState { size: u64::from(size), used: 0, records: Vec::new() }
    }

    fn make_room(&mut self, len: u64) -> bool {
        let needed = (len + HEADER_BYTES).next_multiple_of(8);
        // One byte always stays free, so that full and empty differ.
        let fits = self.used + needed < self.size;
        if fits {
            self.used += needed;
        }
        fits
    }

    /// Reserves a record; `None` if there is no room.
    pub fn reserve(&mut self, len: u64, memory: &mut Memory) -> Option<ObjectId> {
        if !self.make_room(len) {
            return None;
        }
        let id = memory.add_unwritten(ObjectKind::Record, len as usize, 8);
        self.records.push(Record::Reserved(id));
        Some(id)
    }

    /// Submits or discards a record; whether it was one of this ring buffer's.
    pub fn release(&mut self, id: ObjectId, submit: bool, memory: &Memory) -> bool {
        let reserved = |r: &&mut Record| matches!(r, Record::Reserved(other) if *other == id);
        let Some(record) = self.records.iter_mut().find(reserved) else { return false };
        *record = if submit {
            let object = memory.object(id);
            Record::Submitted(Event { bytes: object.bytes.clone(), written: object.written.clone() })
        } else {
            Record::Discarded
        };
        true
    }

    /// Copies bytes into a record of its own; whether there was room.
    pub fn output(&mut self, bytes: Vec<u8>) -> bool {
        let fits = self.make_room(bytes.len() as u64);
        if fits {
            let written = vec![true; bytes.len()];
            self.records.push(Record::Submitted(Event { bytes, written }));
        }
        fits
    }

    /// Whether a record is neither submitted nor discarded; such are dropped.
    pub fn drop_unreleased(&mut self) -> bool {
        let before = self.records.len();
        self.records.retain(|r| !matches!(r, Record::Reserved(_)));
        self.records.len() < before
    }

    /// Takes all events out.
    pub fn take(&mut self) -> Vec<Event> {
        self.used = 0;
        let records = std::mem::take(&mut self.records);
        records
            .into_iter()
            .filter_map(|r| if let Record::Submitted(event) = r { Some(event) } else { None })
            .collect()
    }
}
