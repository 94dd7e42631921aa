//! memql's grammar: script text in, syntax tree with spans out.
//!
//! [`parse`] is the one way in. The language is written down in `memql.pest`; what it cannot say
//! (how deep a script may nest, what a number is, what can be assigned to) is checked beside it:
//!
//! ```text
//! text -> outline      brackets, strings and comments are closed, nothing nests too deeply
//!      -> preprocess   `#define`, `#include`, `#if`: read, and blanks in their place
//!      -> pest pairs   memql.pest
//!      -> ast::Script  build/: operators by precedence, literals decoded
//! ```
//!
//! What always holds: no input makes [`parse`] panic, hang, or overflow the stack; a tree that it
//! returns is at most [`MAX_TREE_DEPTH`] levels deep, so that later stages may recurse; every span
//! lies in the source, on character boundaries. Names stay text: whether they exist, and what type
//! they have, is the business of the compiler.

pub mod ast;
mod build;
mod error;
mod explain;
mod format;
mod outline;
mod parser;
mod preprocess;
mod print;

pub use build::MAX_TREE_DEPTH;
pub use error::SyntaxError;
pub use format::format;
pub use outline::{MAX_NESTING, MAX_SOURCE_BYTES};
pub use parser::{parse, parse_at, parse_attach_spec};
pub use print::print;
