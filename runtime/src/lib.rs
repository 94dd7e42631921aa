//! memql's runtime: the only part that talks to a kernel.
//!
//! ```text
//! Compiled ──open──► Opened ──load──► Loaded ──attach──► Attached ──events──► Outcome
//! ```
//!
//! [`session::run`] is all of it; each phase is a type whose drop undoes it.

pub mod attach;
mod clock;
mod cpus;
mod epoll;
mod errno;
pub mod error;
pub mod event_loop;
mod failure;
pub mod health;
pub mod info;
mod iterate;
mod kernel_info;
pub mod list;
pub mod load;
pub mod maps;
pub mod output;
pub mod probe_filter;
pub mod process;
mod receiver;
mod remedies;
mod ring;
mod service;
pub mod session;
mod signals;
pub mod symbols;
pub mod target;
mod test_run;
pub mod testing;
mod timers;
mod trials;
mod triggers;
mod unwind;
mod verbose;
pub mod words;
mod world;

#[cfg(test)]
#[path = "../../tests/support/skip.rs"]
mod skip;

pub use error::RunError;
pub use load::Logs;
pub use output::{Buffering, OutputFormat};
pub use process::{Child, Process};
pub use session::{Outcome, RunOptions, run};
pub use target::Without;
