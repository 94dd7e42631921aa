//! What a program did wrong, and where.

use std::fmt;

use memql_grammar::ast::Span;

use crate::ir::{FuncRef, Type};

/// A program did something that has no meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// The program's name.
    pub program: String,
    /// The function.
    pub function: FuncRef,
    /// The line of the IR's text form, with its block.
    pub at: String,
    /// The source it comes from.
    pub span: Span,
    /// What it did.
    pub fault: Fault,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Trap { program, function, at, span: _, fault } = self;
        write!(f, "%{program} {function} {at}: {fault}")
    }
}

impl std::error::Error for Trap {}

/// The ways to do wrong. Objects are named as people know them: `ss0`, `a value of map1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An access outside of its object.
    OutOfBounds {
        /// The object.
        object: String,
        /// First byte of the access.
        start: i64,
        /// One past its last byte.
        end: i64,
        /// Bytes of the object.
        size: usize,
    },
    /// A byte that nobody wrote was read.
    Uninitialised {
        /// The object.
        object: String,
        /// The byte.
        byte: usize,
    },
    /// An access that is not aligned as it must be.
    Misaligned {
        /// The object.
        object: String,
        /// First byte of the access.
        start: i64,
        /// The alignment that it needs.
        align: u32,
    },
    /// A write to what can only be read.
    ReadOnly {
        /// The object.
        object: String,
    },
    /// An object was used that is gone: a deleted or replaced element, a submitted record, a slot
    /// of a function that returned.
    Gone {
        /// The object.
        object: String,
    },
    /// Memory was accessed through a null pointer or a number.
    NoAddress {
        /// The number.
        value: i64,
    },
    /// A value is not of the type that the IR says it is.
    WrongType {
        /// What the IR says.
        expected: Type,
        /// What it is.
        found: String,
    },
    /// A part of a stored address was read, or an address was read as a number or the reverse.
    PartOfAddress {
        /// The object.
        object: String,
        /// First byte of the access.
        start: i64,
    },
    /// An address was stored where programs must not keep one.
    KeptAddress {
        /// The object.
        object: String,
    },
    /// Arithmetic or a comparison of values that it does not take.
    Operands {
        /// The operands.
        what: String,
    },
    /// A helper got an argument that the kernel would refuse when the program is loaded.
    Argument {
        /// What is wrong with it.
        what: String,
    },
    /// A callback gave something other than 0 or 1.
    CallbackResult {
        /// What it gave.
        value: i64,
    },
    /// A record was neither submitted nor discarded.
    Unreleased,
    /// A value was used before its definition.
    Undefined,
    /// More functions are active than the kernel allows.
    TooDeep,
    /// The run took more steps than [`super::World::max_steps`].
    Endless,
    /// The program, function or block does not exist, or a block has no end.
    Malformed {
        /// What is missing.
        what: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::OutOfBounds { object, start, end, size } => {
                write!(f, "bytes {start}..{end} of {object}, which has {size}")
            }
            Fault::Uninitialised { object, byte } => write!(f, "byte {byte} of {object} was never written"),
            Fault::Misaligned { object, start, align } => {
                write!(f, "byte {start} of {object} is not aligned to {align}")
            }
            Fault::ReadOnly { object } => write!(f, "{object} cannot be written"),
            Fault::Gone { object } => write!(f, "{object} is gone"),
            Fault::NoAddress { value } => write!(f, "{value:#x} is no address of memory"),
            Fault::WrongType { expected, found } => write!(f, "expected {}, found {found}", expected.name()),
            Fault::PartOfAddress { object, start } => {
                write!(f, "what is at byte {start} of {object} is not what was stored there whole")
            }
            Fault::KeptAddress { object } => write!(f, "an address is stored in {object}"),
            Fault::Operands { what } => write!(f, "the operation does not take {what}"),
            Fault::Argument { what } => write!(f, "{what}"),
            Fault::CallbackResult { value } => write!(f, "a callback gives 0 or 1, found {value}"),
            Fault::Unreleased => f.write_str("a ring buffer record was neither submitted nor discarded"),
            Fault::Undefined => f.write_str("a value is used before it is defined"),
            Fault::TooDeep => f.write_str("too many functions call each other"),
            Fault::Endless => f.write_str("the program does not end"),
            Fault::Malformed { what } => write!(f, "{what}"),
        }
    }
}
