//! In QEMU guests: what the machine's own kernel cannot do, or must not be made to do.
//!
//! The guests run Debian kernels (`tests/vm`). A machine without QEMU, busybox or a way to fetch the
//! kernels skips these tests; skipped ones are counted.

#[path = "../support/mod.rs"]
mod support;

mod drsnoop;
mod facts;
mod features;
mod goldens;
mod guest;
mod matrix;
mod oomkill;
mod probes;
