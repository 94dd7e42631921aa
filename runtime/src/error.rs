//! What can go wrong between a compiled script and its last line of output.
//!
//! Two kinds, never mixed: the system says no (operation, object, errno in words, remedy), or memql
//! is wrong (says so and how to report it). An error is a value first; its text is
//!
//! ```text
//! error: cannot attach `tracepoint:oom:mark_victim`: permission denied (EACCES)
//! help: run as root, or with the capabilities CAP_BPF and CAP_PERFMON
//! ```

use std::fmt;
use std::io;

use crate::errno;

/// Why a run ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunError {
    /// What was attempted and on what: ``cannot attach `interval:1s` ``.
    pub what: String,
    /// The system's answer in words, where there is one.
    pub cause: Option<Box<str>>,
    /// The errno behind it, where there is one.
    pub errno: Option<i32>,
    /// Lines that belong to it and are always shown: the decisive line of the kernel verifier...
    pub notes: Vec<String>,
    /// What to do about it, most likely remedy first.
    pub help: Vec<String>,
    /// Long text for `-v`: the kernel verifier's full log.
    pub log: Option<Box<str>>,
    /// Whether memql itself is at fault.
    pub internal: bool,
}

impl RunError {
    /// The system refused `what`.
    pub fn system(what: impl Into<String>, cause: &io::Error) -> Self {
        RunError {
            what: what.into(),
            cause: Some(errno::in_words(cause).into()),
            errno: cause.raw_os_error(),
            notes: Vec::new(),
            help: Vec::new(),
            log: None,
            internal: false,
        }
    }

    /// Something other than a system call says no.
    pub fn plain(what: impl Into<String>) -> Self {
        RunError {
            what: what.into(),
            cause: None,
            errno: None,
            notes: Vec::new(),
            help: Vec::new(),
            log: None,
            internal: false,
        }
    }

    /// memql is wrong.
    pub fn internal(what: impl Into<String>) -> Self {
        RunError { internal: true, ..RunError::plain(what) }.help(REPORT)
    }

    /// With a remedy.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// With a remedy, if there is one.
    pub fn help_if(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    /// What and why in one line, for a warning.
    pub fn in_one_line(&self) -> String {
        match &self.cause {
            Some(cause) => format!("{}: {cause}", self.what),
            None => self.what.clone(),
        }
    }

    /// With a line that is always shown.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

/// What a person is asked for when memql is at fault.
pub const REPORT: &str = "this is a fault in memql, not in the script: please report it with the script, the output of \
                          `memql --info` and of the same command with `-v`";

impl fmt::Display for RunError {
    /// All of it but the log, in lines; without a final line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RunError { what: _, cause: _, errno: _, notes, help, log: _, internal } = self;
        write!(f, "{}: {}", if *internal { "internal error" } else { "error" }, self.in_one_line())?;
        for note in notes {
            write!(f, "\n  {note}")?;
        }
        for help in help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RunError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_operation_object_errno_in_words_and_remedy() {
        let error =
            RunError::system("cannot attach `interval:1s`", &io::Error::from_raw_os_error(libc::EPERM))
                .help("run as root");
        assert_eq!(
            error.to_string(),
            "error: cannot attach `interval:1s`: operation not permitted (EPERM)\nhelp: run as root"
        );
    }

    #[test]
    fn an_internal_error_says_so_and_asks_for_a_report() {
        let text = RunError::internal("event 7 is not in the plan").to_string();
        assert!(
            text.starts_with("internal error: event 7 is not in the plan\nhelp: this is a fault in memql")
        );
    }
}
