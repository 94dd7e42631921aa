//! The back end's tests: IR is allocated, emitted, loaded into the running kernel and run.

mod checker;
mod evaluate;
mod golden;
mod kernel;
mod kinds;
mod loads;
mod random;
mod scratch;
