//! The back end's tests: IR is allocated, emitted, loaded into the running kernel and run.

mod checker;
mod evaluate;
mod golden;
mod islands;
mod kernel;
mod kinds;
mod loads;
mod moves;
mod random;
mod scratch;
#[path = "../../../tests/support/skip.rs"]
mod skip;
mod work;
