//! memql's compiler: an AST becomes an eBPF object and a plan to run it.
//!
//! Pure: no files, no system calls, no clock, no environment. What it needs to know of a kernel
//! reaches it as a [`target::Target`]. Same script, same target, same bytes.

pub mod alloc;
pub mod arch;
pub mod attach;
pub mod btf;
pub mod check;
pub mod compile;
mod constants;
pub mod debug_info;
pub mod diagnostic;
pub mod emit;
mod expand;
pub mod format;
pub mod helpers;
pub mod hir;
mod hir_walk;
pub mod import;
pub mod interpret;
pub mod ir;
pub mod lower;
pub mod passes;
mod placement;
pub mod plan;
pub mod printable;
pub mod providers;
pub mod scratch;
pub mod sources;
pub mod syscalls;
pub mod target;
pub mod testing;
pub mod types;
pub mod unwind;
pub mod usdt;
