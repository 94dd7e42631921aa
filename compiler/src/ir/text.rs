//! The IR's text form: what `--emit ir` prints and tests are written in.
//!
//! Print-then-parse is the identity, but for value numbers: values are numbered on printing in the
//! order of their definitions, so that equal functions print equally. Maps, globals, functions,
//! slots and blocks keep their numbers, which are their places.
//!
//! ```text
//! license "GPL"                                          ; a comment ends the line
//! map0 = hash "at_start", key 8, value 8, max_entries 10240
//! global0 = "lost", size 8, align 8, offset 0
//!
//! program %vfs_read_1 on kprobe {
//! fn0(ptr.ctx):
//!     ss0 = stack 8, align 8, for "key of @start"
//! block0(v0: ptr.ctx):
//!     v1 = call get_current_pid_tgid()                   ; 12..15
//!     v2: ptr.stack = slot_addr ss0
//!     store.64 v2, v1
//!     v3: ptr.map = map_object map0
//!     ...
//!     brif eq v4, v5, block2, block1(v1)
//! }
//! ```
//!
//! - A value's type stands at its definition unless it is `i64`.
//! - A comment that is a range of bytes (`; 12..15`) is the span of the source its instruction or
//!   terminator comes from; it is read back.
//! - `p+8` and `p-8` in an operand are an address and an offset in bytes.
//! - Names that are not identifiers are quoted: `program %"a b"`.
//! - A block without a terminator and a reference to a block, slot, map, global or function that is
//!   not there can be written and read; the IR verifier says what is wrong with them.

mod parse;
mod print;

pub use parse::{ParseError, parse_module};
pub use print::{ValueNames, print_function, print_inst, print_module, print_program, print_terminator};

use super::{BinaryOp, Cond, MapKind, Type, Width};
use crate::attach::ProgramKind;

/// Two-operand operations by name.
const BINARY_OPS: &[(BinaryOp, &str)] = &[
    (BinaryOp::Add, "add"),
    (BinaryOp::Sub, "sub"),
    (BinaryOp::Mul, "mul"),
    (BinaryOp::Udiv, "udiv"),
    (BinaryOp::Umod, "umod"),
    (BinaryOp::Sdiv, "sdiv"),
    (BinaryOp::Smod, "smod"),
    (BinaryOp::And, "and"),
    (BinaryOp::Or, "or"),
    (BinaryOp::Xor, "xor"),
    (BinaryOp::Shl, "shl"),
    (BinaryOp::Lshr, "lshr"),
    (BinaryOp::Ashr, "ashr"),
];

/// Comparisons by name.
const CONDS: &[(Cond, &str)] = &[
    (Cond::Eq, "eq"),
    (Cond::Ne, "ne"),
    (Cond::Ult, "ult"),
    (Cond::Ule, "ule"),
    (Cond::Ugt, "ugt"),
    (Cond::Uge, "uge"),
    (Cond::Slt, "slt"),
    (Cond::Sle, "sle"),
    (Cond::Sgt, "sgt"),
    (Cond::Sge, "sge"),
];

/// Map types by name.
const MAP_KINDS: &[(MapKind, &str)] = &[
    (MapKind::Hash, "hash"),
    (MapKind::Array, "array"),
    (MapKind::PerCpuHash, "per_cpu_hash"),
    (MapKind::PerCpuArray, "per_cpu_array"),
    (MapKind::LruHash, "lru_hash"),
    (MapKind::LruPerCpuHash, "lru_per_cpu_hash"),
    (MapKind::RingBuf, "ring_buffer"),
];

/// Program types by name.
const PROGRAM_KINDS: &[(ProgramKind, &str)] = &[
    (ProgramKind::TestRun, "test_run"),
    (ProgramKind::PerfEvent, "perf_event"),
    (ProgramKind::Tracepoint, "tracepoint"),
    (ProgramKind::RawTracepoint, "raw_tracepoint"),
    (ProgramKind::Kprobe, "kprobe"),
    (ProgramKind::Kretprobe, "kretprobe"),
    (ProgramKind::Fentry, "fentry"),
    (ProgramKind::Fexit, "fexit"),
    (ProgramKind::Uprobe, "uprobe"),
    (ProgramKind::Uretprobe, "uretprobe"),
    (ProgramKind::Usdt, "usdt"),
    (ProgramKind::Iter, "iter"),
    (ProgramKind::Bench, "bench"),
];

/// Types by [`Type::name`].
const TYPES: &[Type] = &[
    Type::I64,
    Type::Ctx,
    Type::Stack,
    Type::Map,
    Type::Ring,
    Type::MapObject,
    Type::Callback,
    Type::Kernel,
    Type::User,
    Type::Btf,
];

/// Widths by their bits.
const WIDTHS: &[(Width, &str)] =
    &[(Width::W8, "8"), (Width::W16, "16"), (Width::W32, "32"), (Width::W64, "64")];

/// The name of an entry of one of the tables above.
fn name_of<T: PartialEq>(table: &[(T, &'static str)], entry: &T) -> &'static str {
    // Every variant stands in its table (a test walks them), so the marker is never printed.
    table.iter().find(|(candidate, _)| candidate == entry).map_or("?", |(_, name)| name)
}

/// The entry of a name in one of the tables above.
fn by_name<T: Copy>(table: &[(T, &'static str)], name: &str) -> Option<T> {
    table.iter().find(|(_, candidate)| *candidate == name).map(|(entry, _)| *entry)
}

/// Whether a name can be written without quotes, and be the name of a symbol of an object.
pub(crate) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
