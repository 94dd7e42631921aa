//! What printing asks the world outside of the kernel's maps: the time, files, commands, symbols.
//!
//! [`System`] is the real one. Tests of scripts have one where nothing happens but what they say.

use std::io;

use super::Clocks;
use super::command;
use super::time;
use crate::symbols::{SymbolOptions, Symbols};

/// The world around a run.
pub trait Outside {
    /// How the kernel's clocks relate to the wall clock.
    fn clocks(&self) -> Clocks;

    /// The wall clock, in nanoseconds since 1970.
    fn wall_ns(&self) -> i64;

    /// What resolves addresses.
    fn symbols(&self, options: SymbolOptions) -> Symbols;

    /// The first bytes of a file, at most `most`.
    ///
    /// # Errors
    /// If it cannot be opened or read.
    fn read_file(&self, path: &[u8], most: u32) -> io::Result<Vec<u8>>;

    /// Runs a command in a shell: what it printed, and in words how it failed, if it did.
    ///
    /// # Errors
    /// If it cannot be run.
    fn run_shell(&self, command: &[u8]) -> io::Result<(Vec<u8>, Option<String>)>;
}

/// The machine that memql runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Outside for System {
    fn clocks(&self) -> Clocks {
        Clocks::measure()
    }

    fn wall_ns(&self) -> i64 {
        time::wall_ns()
    }

    fn symbols(&self, options: SymbolOptions) -> Symbols {
        Symbols::new(options)
    }

    fn read_file(&self, path: &[u8], most: u32) -> io::Result<Vec<u8>> {
        command::read_file(path, most)
    }

    fn run_shell(&self, command: &[u8]) -> io::Result<(Vec<u8>, Option<String>)> {
        let (text, status) = command::run_shell(command)?;
        Ok((text, (!status.success()).then(|| super::ending(status))))
    }
}
