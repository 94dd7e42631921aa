//! End to end: the built memql on this machine's kernel, real events, exact answers.
//!
//! Each test starts memql, waits until it is attached, lets a trigger program do something countable
//! and compares everything that memql printed. What a machine lacks skips a test, which is counted.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod bpftrace_tools;
mod command_line;
mod drsnoop;
mod fallbacks;
mod faults;
mod files;
mod golden;
mod imports;
mod iterators;
mod load;
mod losses;
mod memleak;
mod oomkill;
mod page_faults;
mod placement;
mod processes;
mod script_options;
mod security;
mod service;
mod shmsnoop;
mod timers;
mod tracepoints;
mod trials;
mod unwind;
mod uprobes;
mod usdt;
mod watchpoints;
