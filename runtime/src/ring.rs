//! The ring buffer through which probes send events.
//!
//! Reading goes in batches, so that a flood of events does not keep signals and timers waiting, and it
//! knows positions: what was sent before some moment can be read to the last event, however much is
//! being sent after it.

use std::cell::Cell;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use libbpf_rs::libbpf_sys as sys;
use libbpf_rs::{AsRawLibbpf, MapCore, RingBuffer, RingBufferBuilder};

use crate::error::RunError;

/// A mapped ring buffer and what is done with its events.
pub struct Ring<'a> {
    buffer: RingBuffer<'a>,
    batch: Rc<Batch>,
    /// When everything had been read the last time that there was something.
    emptied: Cell<Option<Instant>>,
}

/// A place in the stream of events: all events before it were begun before it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position(u64);

/// What reading a batch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many events were read at least, and there may be more.
    Some(usize),
    /// There was nothing more.
    All,
    /// The receiver wants no more.
    Stopped,
}

/// An event whose sender was interrupted in the middle of writing it is waited for so long at the end.
const PATIENCE: Duration = Duration::from_millis(50);

/// Events that come closer than `CLOSE` one after another are left to gather for so long.
const GATHER: Duration = Duration::from_millis(3);
const CLOSE: Duration = Duration::from_millis(6);
/// Unless this part of the ring buffer is full.
const GATHER_UP_TO: u64 = 8;

/// Events per batch.
const BATCH: usize = 4096;
/// A batch also ends after so long: what an event asks for can take its time.
pub const BATCH_TIME: Duration = Duration::from_millis(50);
/// The clock is looked at once in so many events.
const EVENTS_PER_LOOK: u32 = 8;

/// The batch that is being read.
struct Batch {
    started: Cell<Instant>,
    events: Cell<u32>,
}

impl Batch {
    fn start(&self) {
        self.started.set(Instant::now());
        self.events.set(0);
    }

    /// Notes an event; whether the batch has taken its time.
    fn takes_long(&self) -> bool {
        self.events.set(self.events.get().wrapping_add(1));
        self.events.get().is_multiple_of(EVENTS_PER_LOOK) && self.started.get().elapsed() > BATCH_TIME
    }
}

impl<'a> Ring<'a> {
    /// Maps the ring buffer. `receive` gets each event's bytes and says whether to go on.
    ///
    /// # Errors
    /// If the kernel refuses to map it.
    pub fn map(
        map: &'a dyn MapCore,
        mut receive: impl FnMut(&[u8]) -> bool + 'a,
    ) -> Result<Ring<'a>, RunError> {
        let failed =
            |error: libbpf_rs::Error| RunError::plain(format!("cannot map the ring buffer: {error:#}"));
        let mut builder = RingBufferBuilder::new();
        let batch = Rc::new(Batch { started: Cell::new(Instant::now()), events: Cell::new(0) });
        let current = Rc::clone(&batch);
        let one = move |bytes: &[u8]| match receive(bytes) {
            false => -libc::ECANCELED,
            true if current.takes_long() => -libc::EAGAIN,
            true => 0,
        };
        builder.add(map, one).map_err(failed)?;
        Ok(Ring { buffer: builder.build().map_err(failed)?, batch, emptied: Cell::new(None) })
    }

    /// Readable when there are events.
    pub fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is the buffer's and lives as long as it.
        unsafe { BorrowedFd::borrow_raw(self.buffer.epoll_fd()) }
    }

    /// Lets a stream of events gather for a moment. The kernel wakes a reader that has read everything with the next
    /// event, and the probe that sends it pays for that: a reader who is as fast as the events come would be woken by each.
    /// Events that come now and then are not kept waiting.
    pub fn gather(&self) {
        let close = self.emptied.get().is_some_and(|emptied| emptied.elapsed() < CLOSE);
        // SAFETY: `raw` is valid as long as the buffer.
        let size = unsafe { sys::ring__size(self.raw()) } as u64;
        let waiting = self.end().0.saturating_sub(self.consumed());
        if close && (1..size / GATHER_UP_TO).contains(&waiting) {
            std::thread::sleep(GATHER);
        }
    }

    /// Reads a batch of events.
    ///
    /// # Errors
    /// If the ring buffer cannot be read.
    pub fn read(&self) -> io::Result<Read> {
        self.batch.start();
        match self.buffer.consume_raw_n(BATCH) {
            read if read as usize >= BATCH && read > 0 => Ok(Read::Some(read as usize)),
            0 => Ok(Read::All),
            1.. => {
                self.emptied.set(Some(Instant::now()));
                Ok(Read::All)
            }
            error if -error == libc::ECANCELED => Ok(Read::Stopped),
            error if -error == libc::EAGAIN => Ok(Read::Some(1)),
            error => Err(io::Error::from_raw_os_error(-error)),
        }
    }

    /// Reads all events that were sent before `end`. What is sent meanwhile is read too, at most a batch of it.
    /// Gives up at the deadline, if there is one: then there may be more.
    ///
    /// # Errors
    /// If the ring buffer cannot be read.
    pub fn read_until(&self, end: Position, deadline: Option<Instant>) -> io::Result<Read> {
        let mut idle_since = None;
        while self.consumed() < end.0 {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(Read::Some(0));
            }
            match self.read()? {
                Read::Stopped => return Ok(Read::Stopped),
                Read::Some(_) => idle_since = None,
                Read::All if self.consumed() >= end.0 => break,
                Read::All => {
                    if idle_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                        break;
                    }
                    std::thread::yield_now();
                }
            }
        }
        Ok(Read::All)
    }

    /// The end of what has been sent up to now.
    pub fn end(&self) -> Position {
        // SAFETY: `raw` is valid as long as the buffer.
        Position(unsafe { sys::ring__producer_pos(self.raw()) })
    }

    fn consumed(&self) -> u64 {
        // SAFETY: as above.
        unsafe { sys::ring__consumer_pos(self.raw()) }
    }

    fn raw(&self) -> *const sys::ring {
        // SAFETY: the buffer has exactly one ring, number 0.
        unsafe { sys::ring_buffer__ring(self.buffer.as_libbpf_object().as_ptr(), 0) }
    }
}
