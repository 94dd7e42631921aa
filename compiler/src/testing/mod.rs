//! What `memql test` needs of the compiler: a kernel made of stated facts, and events made of stated values.
//!
//! A test never looks at the machine it runs on. What its kernel has, with which types, the test says in `kernel`
//! blocks ([`kernel`] makes a frozen target of them), and an event is the context and the world that its program
//! finds ([`Scene`]), for the reference interpreter.
//!
//! ```text
//! kernel      kernel { ... } blocks -> Kernel: a Frozen target, with BTF of the declared structs
//! shape       types as facts write them: sizes, alignment, members
//! value       literals -> bytes of a shape
//! scene       memory ..., fire POINT (...) -> the interpreter's world and a program's context
//! steps       conditions as probes of their own
//! diagnostics what can be wrong with a test, and how one fails (E09xx)
//! ```

pub mod diagnostics;
mod kernel;
mod scene;
mod shape;
mod steps;
mod value;

pub use kernel::{Kernel, kernel};
pub use scene::{Scene, Symbol};
pub use steps::{Conditions, with_conditions};
