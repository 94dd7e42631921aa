//! Gets the events of a run: prints them, keeps them for a moment, or, once the script has called
//! `exit()`, lets them go.

use std::time::Instant;

use crate::maps::KernelMaps;
use crate::output::{Action, Output, OutputError};

/// Where events go.
pub struct Receiver<'a> {
    /// What prints them.
    pub output: Output<'a>,
    maps: &'a KernelMaps,
    exit: Option<i32>,
    mode: Mode,
    kept: Kept,
    let_go: u64,
    failed: Option<OutputError>,
}

impl<'a> Receiver<'a> {
    /// Prints through `output`, which reads and clears `maps`.
    pub fn new(output: Output<'a>, maps: &'a KernelMaps) -> Receiver<'a> {
        Receiver {
            output,
            maps,
            exit: None,
            mode: Mode::Print,
            kept: Kept::default(),
            let_go: 0,
            failed: None,
        }
    }

    /// Takes an event; false if no more are wanted.
    pub fn receive(&mut self, event: &[u8]) -> bool {
        match self.mode {
            Mode::Print => self.print(event),
            Mode::Keep => {
                self.kept.push(event);
                true
            }
            Mode::Of { first, end } => match self.output.id(event) {
                Some(id) if first <= id && id < end => self.print(event),
                Some(_) | None => true,
            },
            Mode::Iterate { first, end } => {
                let own = self.output.id(event).is_some_and(|id| first <= id && id < end);
                match self.exit.is_none() || (own && self.output.is_printf(event)) {
                    true => self.print(event),
                    false => self.let_one_go(),
                }
            }
            Mode::LetGo => self.let_one_go(),
        }
    }

    fn let_one_go(&mut self) -> bool {
        self.let_go += 1;
        true
    }

    fn print(&mut self, event: &[u8]) -> bool {
        match self.output.event(event, self.maps) {
            Ok(Action::Continue) => true,
            Ok(Action::Exit(code)) => {
                // `exit()` ends the run at this event: what other CPUs sent after it is not printed.
                self.exit.get_or_insert(code);
                if !matches!(self.mode, Mode::Iterate { .. }) {
                    self.mode = Mode::LetGo;
                }
                true
            }
            Err(error) => {
                self.failed = Some(error);
                false
            }
        }
    }

    /// What is done with events from now on.
    pub fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Whether the script calls `exit()` in what is kept.
    pub fn kept_exit(&self) -> bool {
        self.kept.iter().any(|event| self.output.is_exit(event))
    }

    /// Whether something that was kept is still to be printed: it comes before whatever is in the ring buffer.
    pub fn has_kept(&self) -> bool {
        self.kept.remains()
    }

    /// Prints what was kept, if there is anything, until the deadline if there is one; from then on whatever
    /// comes. After `exit()` it is let go.
    pub fn print_kept(&mut self, deadline: Option<Instant>) {
        if !self.has_kept() {
            return;
        }
        if self.exit.is_some() {
            return self.let_kept_go();
        }
        self.mode = Mode::Print;
        let mut kept = std::mem::take(&mut self.kept);
        // `exit()` among them changes the mode.
        while let Some(event) = kept.next() {
            if !self.receive(event) {
                return;
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.kept = kept;
                return;
            }
        }
    }

    /// Lets go what was kept; from now on events are let go.
    pub fn let_kept_go(&mut self) {
        self.mode = Mode::LetGo;
        self.let_go += std::mem::take(&mut self.kept).left();
    }

    /// Goes back to printing after an iterator, or to letting go if the script has called `exit()`.
    pub fn end_of_iteration(&mut self) {
        self.mode = if self.exit.is_some() { Mode::LetGo } else { Mode::Print };
    }

    /// The code of `exit()`, once the script has called it.
    pub fn exit(&self) -> Option<i32> {
        self.exit
    }

    /// The code of `exit()`, which is forgotten: what comes next is another run.
    pub fn take_exit(&mut self) -> Option<i32> {
        self.mode = Mode::Print;
        self.exit.take()
    }

    /// How many events were let go up to now.
    pub fn let_go(&self) -> u64 {
        self.let_go
    }

    /// What went wrong with an event, told once.
    pub fn take_failure(&mut self) -> Option<OutputError> {
        self.failed.take()
    }
}

/// What is done with events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Printed.
    Print,
    /// Kept for later: taken from the ring buffer as fast as can be.
    Keep,
    /// Printed if it is one of the events with these ids, else let go.
    Of {
        /// The first id.
        first: u64,
        /// One more than the last.
        end: u64,
    },
    /// Printed, while an iterator goes over its objects. `exit()` ends the run after the last of them; from then on only what
    /// the iterator's `printf` prints is, as in bpftrace, where that is the text of a file.
    Iterate {
        /// The iterator's first id.
        first: u64,
        /// One more than its last.
        end: u64,
    },
    /// Not printed.
    LetGo,
}

/// Events one after another.
#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// How many were taken.
    taken: usize,
}

impl Kept {
    fn push(&mut self, event: &[u8]) {
        self.bytes.extend_from_slice(event);
        self.ends.push(self.bytes.len());
    }

    /// Takes the first that was not taken.
    fn next(&mut self) -> Option<&[u8]> {
        let start = self.taken.checked_sub(1).map_or(0, |last| self.ends[last]);
        let end = *self.ends.get(self.taken)?;
        self.taken += 1;
        Some(&self.bytes[start..end])
    }

    fn remains(&self) -> bool {
        self.taken < self.ends.len()
    }

    fn left(&self) -> u64 {
        (self.ends.len() - self.taken) as u64
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[*start..*end])
    }
}
