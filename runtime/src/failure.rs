//! Why events cannot be handled any more: an error, or nobody is there to read.

use crate::error::RunError;
use crate::event_loop::Ended;
use crate::output::OutputError;

/// What stopped the handling of events.
#[derive(Debug)]
pub enum Failure {
    /// The reader of the output has gone: the run ends quietly.
    ReaderGone,
    /// The run ends with this error.
    Error(RunError),
}

impl Failure {
    /// That the reader has gone is an end like others; an error is an error.
    ///
    /// # Errors
    /// The error.
    pub fn reader_gone_or_error(self) -> Result<Ended, RunError> {
        match self {
            Failure::ReaderGone => Ok(Ended::ReaderGone),
            Failure::Error(error) => Err(error),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Failure::Error(error)
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        match error.is_broken_pipe() {
            true => Failure::ReaderGone,
            false => Failure::Error(error.into()),
        }
    }
}

impl From<OutputError> for RunError {
    fn from(error: OutputError) -> Self {
        match error {
            OutputError::Write(error) => RunError::system("cannot write the output", &error),
            OutputError::Map(error) => RunError::plain(error.to_string()),
            OutputError::Internal(what) => RunError::internal(what),
        }
    }
}
