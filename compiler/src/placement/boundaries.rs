//! Whether a uprobe is on the first byte of an instruction.
//!
//! A breakpoint is one byte, written over what is there. Inside an instruction it makes another one of it,
//! which the program runs from then on:
//!
//! ```text
//! step+0:  test %rdi,%rdi       48 85 ff
//!     +3:  lea 0x8(%rdi),%r10   4c 8d 57 08      a breakpoint at +6: lea -0x34(%rdi),%r10
//! ```
//!
//! So the function is decoded from its first byte. Its entry, and lines of source, are known to be right.

use std::fmt;

use super::CodeReader;
use crate::attach::{AttachPoint, PlaceName};
use crate::target::{Arch, Target};

/// Why a place is none for a breakpoint, or may be none.
#[derive(Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// Inside an instruction: where that and the next one begin.
    Inside { before: Place, after: Place },
    /// Behind the last byte of a function of so many bytes.
    BehindEnd { size: u64 },
    /// In no function that is known.
    NoFunction,
    /// Nobody knows where the function ends.
    NoSize { symbol: String },
    /// What is there up to it is no code, or cannot be read.
    NotDecoded { upto: Place },
    /// Code for some other processor.
    UnknownCode,
}

/// A place as the script would have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Bytes past the function's first one.
    Offset(u64),
    /// An address, as the file has it.
    Address(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Offset(offset) => write!(f, "+{offset}"),
            Place::Address(address) => write!(f, "{address:#x}"),
        }
    }
}

impl Misplaced {
    /// Whether it is a risk that one may take, and not just wrong.
    pub fn may_be_forced(&self) -> bool {
        match self {
            Misplaced::BehindEnd { .. } => false,
            Misplaced::Inside { .. }
            | Misplaced::NoFunction
            | Misplaced::NoSize { .. }
            | Misplaced::NotDecoded { .. }
            | Misplaced::UnknownCode => true,
        }
    }
}

/// Whether the breakpoint of a point, if it is a uprobe, is on an instruction.
///
/// # Errors
/// What is wrong with the place, or why nobody can tell.
pub fn check(target: &dyn Target, point: &AttachPoint) -> Result<(), Misplaced> {
    let AttachPoint::Uprobe { path, symbol, named, file_offset, offset, .. } = point else { return Ok(()) };
    let shown = |at: u64| match named {
        PlaceName::Address(address) => Place::Address(address.wrapping_sub(*offset).wrapping_add(at)),
        PlaceName::Symbol | PlaceName::Demangled | PlaceName::Line(_) => Place::Offset(at),
    };
    if matches!(named, PlaceName::Line(_)) {
        return Ok(());
    }
    if symbol.is_empty() {
        return Err(Misplaced::NoFunction);
    }
    let extent = target.user_function_extent(path, *file_offset);
    let size = extent.map_or(0, |extent| extent.size);
    let Some(wanted) = file_offset.checked_add(*offset) else { return Err(Misplaced::BehindEnd { size }) };
    let Some(extent) = extent else { return Err(Misplaced::NoSize { symbol: symbol.clone() }) };
    if *offset >= size {
        return Err(Misplaced::BehindEnd { size });
    }
    if *offset == 0 {
        return Ok(());
    }
    match extent.arch {
        Some(Arch::X86_64) => {
            let mut code = CodeReader { target, path, start: 0, bytes: Vec::new() };
            let mut at = *file_offset;
            while at < wanted {
                let from_entry = at - file_offset;
                let Some(instruction) = code.instruction(at) else {
                    return Err(Misplaced::NotDecoded { upto: shown(from_entry) });
                };
                at = instruction.next_ip();
                if at > wanted {
                    let (before, after) = (shown(from_entry), shown(at - file_offset));
                    return Err(Misplaced::Inside { before, after });
                }
            }
            Ok(())
        }
        // All instructions have four bytes.
        Some(Arch::Aarch64) if offset % 4 == 0 => Ok(()),
        Some(Arch::Aarch64) => {
            let before = offset - offset % 4;
            Err(Misplaced::Inside { before: shown(before), after: shown(before + 4) })
        }
        None => Err(Misplaced::UnknownCode),
    }
}
