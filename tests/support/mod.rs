//! What the end-to-end tests share: running the built memql against real events, the programs that
//! cause them, and saying why a test could not run here.
//!
//! Nothing in here waits for time to pass. memql says through `--ready-fd` when everything is
//! attached, a trigger says when it is done; the deadlines only keep a hanging test from hanging
//! for ever.

#![allow(dead_code)] // each test binary uses its part

pub mod machine;
pub mod memql;
pub mod programs;
pub mod skip;
pub mod text;
pub mod tools;
pub mod trigger;

use std::time::Duration;

/// After so long without an answer a process under test is taken to hang. Far above what any takes.
pub const HANGS: Duration = Duration::from_secs(600);

/// Leaves the test if the machine lacks something: takes a `Result` whose error is the reason.
#[macro_export]
macro_rules! need {
    ($what:expr) => {
        match $what {
            Ok(it) => it,
            Err(reason) => return $crate::support::skip::skipped(&reason),
        }
    };
}
