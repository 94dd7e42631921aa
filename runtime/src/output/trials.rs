//! Results of tests and benchmarks, and output that is set aside while they run.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use memql_compiler::plan::Severity;

use super::messages::Messages;
use super::text::TextMessages;
use super::{Output, OutputError, Sink};

/// The result of a test.
#[derive(Clone, Copy, Debug)]
pub struct Tested<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it has passed.
    pub passed: bool,
    /// How long it took.
    pub took: Duration,
    /// What it printed.
    pub output: &'a [u8],
}

/// The result of a benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Benched<'a> {
    /// Its name.
    pub name: &'a str,
    /// How long one run took.
    pub average: Duration,
    /// Of how many.
    pub runs: u32,
}

/// What was printed while output was set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// The text, with what would have gone to stderr.
    pub text: Vec<u8>,
    /// How often `errorf` was called.
    pub errors: u64,
}

/// Bytes of a test's output that are kept: it is for people to read.
const KEPT_BYTES: usize = 1 << 20;

/// Where output went before, and where it goes now.
pub(super) struct Aside {
    messages: Box<dyn Messages>,
    sink: Sink,
    text: Rc<RefCell<Vec<u8>>>,
    errors: u64,
}

/// A writer that keeps what it is given.
struct Kept(Rc<RefCell<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = self.0.borrow_mut();
        let room = KEPT_BYTES.saturating_sub(text.len());
        text.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output<'_> {
    /// Sets output aside, as text, until [`Output::captured`].
    pub fn capture(&mut self) {
        let text = Rc::new(RefCell::new(Vec::new()));
        let kept = Sink::new(Box::new(Kept(text.clone())), Box::new(Kept(text.clone())), false);
        let sink = std::mem::replace(&mut self.sink, kept);
        let messages = std::mem::replace(&mut self.messages, Box::new(TextMessages { terminal: false }));
        self.aside = Some(Aside { messages, sink, text, errors: 0 });
    }

    /// Goes back to where output went before; gives what was printed meanwhile.
    pub fn captured(&mut self) -> Captured {
        // The sink for what is captured takes everything.
        let _ = self.sink.flush();
        match self.aside.take() {
            Some(Aside { messages, sink, text, errors }) => {
                (self.messages, self.sink) = (messages, sink);
                Captured { text: text.take(), errors }
            }
            None => Captured::default(),
        }
    }

    pub(super) fn count_error(&mut self, severity: Severity) {
        if let (Some(aside), Severity::Error) = (&mut self.aside, severity) {
            aside.errors += 1;
        }
    }

    /// Says that so many tests are going to be run.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn before_tests(&mut self, count: usize) -> Result<(), OutputError> {
        self.messages.before_tests(self.sink.buffer(), count);
        Ok(self.sink.pause()?)
    }

    /// Says how a test ended.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn tested(&mut self, tested: &Tested<'_>) -> Result<(), OutputError> {
        self.messages.tested(self.sink.buffer(), tested);
        Ok(self.sink.pause()?)
    }

    /// Sums the tests up.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn after_tests(&mut self, count: usize, failed: &[&str]) -> Result<(), OutputError> {
        self.messages.after_tests(self.sink.buffer(), count, failed);
        Ok(self.sink.pause()?)
    }

    /// Begins the table of benchmarks.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn before_benches(&mut self, names: &[&str]) -> Result<(), OutputError> {
        self.messages.before_benches(self.sink.buffer(), names);
        Ok(self.sink.pause()?)
    }

    /// Says what a benchmark took.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn benched(&mut self, names: &[&str], benched: &Benched<'_>) -> Result<(), OutputError> {
        self.messages.benched(self.sink.buffer(), names, benched);
        Ok(self.sink.pause()?)
    }
}
