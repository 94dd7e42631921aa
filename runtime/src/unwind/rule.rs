//! From a row of call frame information to the rule that programs follow.
//!
//! Registers are those of the AMD64 ABI. Rows say how each register is found in the caller; only the stack pointer (by
//! way of the canonical frame address), the frame pointer and the return address are looked at. Of expressions three are
//! understood, which are all that compilers, the C library and hand-written assembler commonly use:
//!
//! ```text
//! breg R off                                        a register and a number: signal frames
//! breg R off; deref [; plus_uconst n]               memory: signal frames, realigned stacks, assembler
//! breg rsp 8; breg rip 0; lit15; and; litN; ge;     entries of the procedure linkage table
//!     lit3; shl; plus
//! ```

use gimli::{
    CfaRule, Encoding, EndianSlice, LittleEndian, Operation, Register, RegisterRule, UnwindExpression,
    UnwindSection, UnwindTableRow,
};
use memql_compiler::unwind::{Base, Cfa, Place, Rule, Saved};

/// What is read.
pub(super) type Bytes<'d> = EndianSlice<'d, LittleEndian>;

/// Registers of the AMD64 ABI by their numbers in DWARF.
const FRAME_POINTER: Register = Register(6);
const STACK_POINTER: Register = Register(7);
pub(super) const RETURN_ADDRESS: Register = Register(16);

/// A function's information, and how to read its expressions.
pub(super) struct Reading<'s, S> {
    /// Where expressions are.
    pub section: &'s S,
    /// How they are encoded.
    pub encoding: Encoding,
    /// Whether the function is what a signal handler returns to.
    pub signal: bool,
}

impl<'d, S: UnwindSection<Bytes<'d>>> Reading<'_, S> {
    /// The rule of a row.
    pub fn rule(&self, row: &UnwindTableRow<usize>) -> Rule {
        let Some(return_address) = self.return_address(row) else {
            return Rule { cfa: Cfa::Outermost, ..Rule::UNKNOWN };
        };
        match (self.cfa(row.cfa()), return_address) {
            (Some(cfa), Some(return_address)) => {
                Rule { cfa, frame_pointer: self.frame_pointer(row), return_address, signal: self.signal }
            }
            _ => Rule::UNKNOWN,
        }
    }

    /// Where the return address is: `None` if there is no caller, `Some(None)` if that is not understood.
    fn return_address(&self, row: &UnwindTableRow<usize>) -> Option<Option<Place>> {
        match row.register(RETURN_ADDRESS) {
            Some(RegisterRule::Undefined) => None,
            Some(rule) => Some(self.place(rule)),
            None => Some(None),
        }
    }

    fn frame_pointer(&self, row: &UnwindTableRow<usize>) -> Saved {
        match row.register(FRAME_POINTER) {
            // A called function preserves it.
            None | Some(RegisterRule::SameValue) => Saved::Same,
            Some(rule) => self.place(rule).map_or(Saved::Lost, Saved::At),
        }
    }

    /// Where a register is, if it is in memory.
    fn place(&self, rule: RegisterRule<usize>) -> Option<Place> {
        match rule {
            RegisterRule::Offset(offset) => i32::try_from(offset).ok().map(Place::FromCfa),
            RegisterRule::Expression(expression) => match self.operations(expression)?.as_slice() {
                [Operation::RegisterOffset { register: STACK_POINTER, offset, .. }] => {
                    i32::try_from(*offset).ok().map(Place::FromStackPointer)
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn cfa(&self, rule: &CfaRule<usize>) -> Option<Cfa> {
        match *rule {
            CfaRule::RegisterAndOffset { register, offset } => {
                Some(Cfa::Register(base(register)?, i32::try_from(offset).ok()?))
            }
            CfaRule::Expression(expression) => computed(&self.operations(expression)?),
        }
    }

    /// The operations of an expression; `None` if they cannot be read.
    fn operations(&self, expression: UnwindExpression<usize>) -> Option<Vec<Operation<Bytes<'d>>>> {
        let mut operations = expression.get(self.section).ok()?.operations(self.encoding);
        let mut all = Vec::new();
        while let Some(operation) = operations.next().ok()? {
            all.push(operation);
        }
        Some(all)
    }
}

fn base(register: Register) -> Option<Base> {
    match register {
        STACK_POINTER => Some(Base::StackPointer),
        FRAME_POINTER => Some(Base::FramePointer),
        _ => None,
    }
}

/// A canonical frame address that an expression computes.
fn computed(operations: &[Operation<Bytes<'_>>]) -> Option<Cfa> {
    use Operation as O;
    let narrow = |offset: i64| i32::try_from(offset).ok();
    match *operations {
        [O::RegisterOffset { register, offset, .. }] => Some(Cfa::Register(base(register)?, narrow(offset)?)),
        [O::RegisterOffset { register, offset, .. }, O::Deref { size: 8, space: false, .. }] => {
            Some(Cfa::Memory(base(register)?, narrow(offset)?, 0))
        }
        [
            O::RegisterOffset { register, offset, .. },
            O::Deref { size: 8, space: false, .. },
            O::PlusConstant { value },
        ] => Some(Cfa::Memory(base(register)?, narrow(offset)?, i32::try_from(value).ok()?)),
        [
            O::RegisterOffset { register: STACK_POINTER, offset: 8, .. },
            O::RegisterOffset { register: RETURN_ADDRESS, offset: 0, .. },
            O::UnsignedConstant { value: 15 },
            O::And,
            O::UnsignedConstant { value: from @ ..16 },
            O::Ge,
            O::UnsignedConstant { value: 3 },
            O::Shl,
            O::Plus,
        ] => Some(Cfa::Linkage(from as i32)),
        _ => None,
    }
}
