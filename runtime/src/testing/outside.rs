//! The world around a test: a clock that stands where the last event put it, files with given content.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;

use memql_compiler::testing::{Scene, Symbol};

use crate::output::{Clocks, Outside};
use crate::symbols::{SymbolOptions, Symbols};

/// A test's.
#[derive(Debug, Default)]
pub(super) struct TestOutside {
    /// On all of the kernel's clocks.
    pub now_ns: Cell<u64>,
    /// Files by path.
    pub files: RefCell<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// What can be resolved.
    pub symbols: RefCell<Vec<Symbol>>,
}

impl Outside for TestOutside {
    fn clocks(&self) -> Clocks {
        let to_wall = Scene::clock_to_wall_ns();
        Clocks {
            boot_to_realtime_ns: to_wall,
            monotonic_to_realtime_ns: to_wall,
            tai_to_realtime_ns: to_wall,
            utc: true,
        }
    }

    fn wall_ns(&self) -> i64 {
        Scene::clock_to_wall_ns().wrapping_add_unsigned(self.now_ns.get())
    }

    fn symbols(&self, options: SymbolOptions) -> Symbols {
        let symbols = self.symbols.borrow();
        let given =
            symbols.iter().map(|Symbol { name, address, file }| (name.clone(), *address, file.clone()));
        Symbols::given(options, given.collect())
    }

    fn read_file(&self, path: &[u8], most: u32) -> io::Result<Vec<u8>> {
        match self.files.borrow().get(path) {
            Some(content) => Ok(content.iter().copied().take(most as usize).collect()),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "the test has no such `file`")),
        }
    }

    fn run_shell(&self, _command: &[u8]) -> io::Result<(Vec<u8>, Option<String>)> {
        Ok((Vec::new(), Some("was not run: tests run no commands".into())))
    }
}
