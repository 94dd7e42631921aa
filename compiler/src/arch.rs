//! What depends on the processor's architecture: where `struct pt_regs` keeps registers, and which
//! registers a call passes its arguments in. One file per architecture; everything else asks here.

mod aarch64;
mod calls;
mod x86_64;

use crate::target::Arch;

pub use calls::{ArgumentPlace, argument_places};

/// One architecture's registers, as a probe on a function sees them in its context.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    /// Offsets in `struct pt_regs` of the registers that carry the integer arguments, first to last.
    pub arguments: &'static [u32],
    /// Offset of the register that carries the return value.
    pub return_value: u32,
    /// Where a function finds the first argument that no register carries, in bytes from the stack pointer
    /// that it is entered with.
    pub first_stack_argument: u32,
    /// Offset of the stack pointer.
    pub stack_pointer: u32,
    /// Offset of the register that compilers use as frame pointer.
    pub frame_pointer: u32,
    /// Offset of the instruction pointer.
    pub instruction_pointer: u32,
    /// Register names and their offsets.
    pub named: &'static [(&'static str, u32)],
    /// Reads an operand of the assembler, as the arguments of static probes are written.
    pub operand: fn(&str) -> Option<Operand<'_>>,
}

/// Where an argument of a static probe is, in the assembler's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand<'a> {
    /// A number.
    Constant(i64),
    /// A register: its value starts at this offset in `struct pt_regs`.
    Register(u32),
    /// Memory at the sum of the parts.
    Memory {
        /// Offset of a register in `struct pt_regs`.
        base: Option<u32>,
        /// Offset of another, and what it is multiplied by.
        index: Option<(u32, u8)>,
        /// A number.
        displacement: i64,
        /// A symbol; its address counts from the base where that is the instruction pointer.
        symbol: Option<&'a str>,
    },
}

/// A number as assemblers write it: decimal or hexadecimal, with a sign.
fn assembler_number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None if digits.starts_with(|c: char| c.is_ascii_digit()) => digits.parse().ok()?,
        None => return None,
    };
    Some(if negative { (value as i64).wrapping_neg() } else { value as i64 })
}

/// The registers of an architecture.
pub fn registers(arch: Arch) -> &'static Registers {
    match arch {
        Arch::X86_64 => &x86_64::REGISTERS,
        Arch::Aarch64 => &aarch64::REGISTERS,
    }
}

impl Registers {
    /// Where the `n`th argument (from 0) is, if it is passed in a register.
    pub fn argument(&self, n: usize) -> Option<u32> {
        self.arguments.get(n).copied()
    }

    /// Where the register of this name is, if there is one.
    pub fn named(&self, name: &str) -> Option<u32> {
        self.named.iter().find(|(n, _)| *n == name).map(|(_, offset)| *offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_argument_and_return_value_of_x86_64_are_di_and_ax() {
        let regs = registers(Arch::X86_64);
        assert_eq!(regs.argument(0), regs.named("di"));
        assert_eq!(Some(regs.return_value), regs.named("ax"));
        assert_eq!(regs.argument(6), None);
    }

    #[test]
    fn first_argument_and_return_value_of_aarch64_share_x0() {
        let regs = registers(Arch::Aarch64);
        assert_eq!(regs.argument(0), Some(regs.return_value));
        assert_eq!(regs.argument(8), None);
    }
}
