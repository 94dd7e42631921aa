//! What can go wrong while printing.

use std::fmt;
use std::io;

use crate::maps::MapError;

/// Why an event or a map could not be printed.
#[derive(Debug)]
pub enum OutputError {
    /// The output could not be written. Of kind [`io::ErrorKind::BrokenPipe`] where the reader went
    /// away: the run then ends quietly.
    Write(io::Error),
    /// A map could not be read or changed.
    Map(MapError),
    /// The event and the plan do not agree. This is memql's fault.
    Internal(String),
}

impl OutputError {
    /// Whether the reader of the output went away.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, OutputError::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutputError::Write(error) => write!(f, "cannot write the output: {error}"),
            OutputError::Map(error) => error.fmt(f),
            OutputError::Internal(what) => write!(f, "internal error: {what}"),
        }
    }
}

impl std::error::Error for OutputError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OutputError::Write(error) => Some(error),
            OutputError::Map(error) => Some(error),
            OutputError::Internal(_) => None,
        }
    }
}

impl From<MapError> for OutputError {
    fn from(error: MapError) -> Self {
        OutputError::Map(error)
    }
}

impl From<io::Error> for OutputError {
    fn from(error: io::Error) -> Self {
        OutputError::Write(error)
    }
}
