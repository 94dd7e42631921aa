//! Where a function of a program finds its arguments when it is entered, by the types that debug
//! information gives: the System V ABI of AMD64 and the AAPCS64 of ARM.

use super::{Registers, registers};
use crate::debug_info::{DebugType, DebugTypes, Signature, TypeRef};
use crate::target::Arch;

/// So many names, and members of members, are followed.
const MAX_DEPTH: u32 = 32;

/// Registers that carry floating-point arguments, on both.
const FLOAT_REGISTERS: u32 = 8;

/// Where an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentPlace {
    /// In a register, at this offset in `struct pt_regs`.
    Register(u32),
    /// Its address is in a register.
    Behind(u32),
    /// On the stack, so many bytes from the stack pointer.
    Stack(u32),
    /// Its address is on the stack.
    BehindStack(u32),
    /// Where a probe cannot read it: a floating-point register, or in pieces.
    Unreadable(&'static str),
}

/// The places of a function's arguments.
pub fn argument_places(arch: Arch, signature: &Signature) -> Vec<ArgumentPlace> {
    let mut call = Call { arch, registers: registers(arch), integers: 0, floats: 0, stack: 0 };
    let types = &signature.types;
    if arch == Arch::X86_64 && in_memory(types, signature.result) {
        // The caller says where the result goes.
        call.integers = 1;
    }
    signature.parameters.iter().map(|parameter| call.place(types, parameter.type_ref)).collect()
}

struct Call {
    arch: Arch,
    registers: &'static Registers,
    /// Registers that are taken, of each kind.
    integers: usize,
    floats: u32,
    /// Bytes of the stack that are taken.
    stack: u32,
}

impl Call {
    fn place(&mut self, types: &DebugTypes, of: TypeRef) -> ArgumentPlace {
        let of = types.plain(of);
        match types.get(of) {
            Some(DebugType::Float { bytes, .. }) => self.float(*bytes),
            Some(DebugType::Int { bytes, .. }) if *bytes > 8 => self.several(*bytes, 16),
            Some(DebugType::Aggregate { by_reference: true, .. }) => self.behind(),
            Some(DebugType::Aggregate { bytes, .. }) => self.aggregate(types, of, *bytes),
            _ => match self.integer() {
                Some(register) => ArgumentPlace::Register(register),
                None => ArgumentPlace::Stack(self.on_stack(8, 8)),
            },
        }
    }

    /// The next register for integers.
    fn integer(&mut self) -> Option<u32> {
        let register = self.registers.argument(self.integers)?;
        self.integers += 1;
        Some(register)
    }

    fn on_stack(&mut self, bytes: u32, align: u32) -> u32 {
        self.stack = self.stack.next_multiple_of(align);
        let at = self.registers.first_stack_argument + self.stack;
        self.stack += bytes.next_multiple_of(8);
        at
    }

    fn float(&mut self, bytes: u32) -> ArgumentPlace {
        if bytes > 8 && self.arch == Arch::X86_64 {
            return ArgumentPlace::Stack(self.on_stack(bytes, 16));
        }
        if self.floats < FLOAT_REGISTERS {
            self.floats += 1;
            return ArgumentPlace::Unreadable("it is in a floating-point register");
        }
        ArgumentPlace::Stack(self.on_stack(bytes, 8))
    }

    /// A value of several registers for integers; all of it is on the stack if they do not suffice.
    fn several(&mut self, bytes: u32, align: u32) -> ArgumentPlace {
        let words = bytes.div_ceil(8) as usize;
        if self.integers + words > self.registers.arguments.len() {
            if self.arch == Arch::Aarch64 {
                self.integers = self.registers.arguments.len();
            }
            return ArgumentPlace::Stack(self.on_stack(bytes, align));
        }
        let first = self.registers.arguments[self.integers];
        self.integers += words;
        match words {
            1 => ArgumentPlace::Register(first),
            _ => ArgumentPlace::Unreadable("it is in several registers"),
        }
    }

    fn behind(&mut self) -> ArgumentPlace {
        match self.integer() {
            Some(register) => ArgumentPlace::Behind(register),
            None => ArgumentPlace::BehindStack(self.on_stack(8, 8)),
        }
    }

    fn aggregate(&mut self, types: &DebugTypes, of: TypeRef, bytes: u32) -> ArgumentPlace {
        if bytes > 16 {
            return match self.arch {
                Arch::X86_64 => ArgumentPlace::Stack(self.on_stack(bytes, 8)),
                Arch::Aarch64 => self.behind(),
            };
        }
        let mut words = [Word::Empty; 2];
        classify(types, of, 0, &mut words, MAX_DEPTH);
        let floats = words.iter().filter(|word| **word == Word::Float).count() as u32;
        let integers = words.iter().filter(|word| **word == Word::Integer).count();
        match (floats, integers) {
            (0, _) => self.several(bytes.max(1), 8),
            (floats, integers)
                if self.floats + floats <= FLOAT_REGISTERS
                    && self.integers + integers <= self.registers.arguments.len() =>
            {
                self.floats += floats;
                self.integers += integers;
                ArgumentPlace::Unreadable("it is in a floating-point register")
            }
            _ => ArgumentPlace::Stack(self.on_stack(bytes, 8)),
        }
    }
}

/// What 8 bytes of a struct hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Empty,
    Float,
    Integer,
}

fn classify(types: &DebugTypes, of: TypeRef, at_bits: u32, words: &mut [Word; 2], depth: u32) {
    let Some(depth) = depth.checked_sub(1) else { return };
    let of = types.plain(of);
    match types.get(of) {
        Some(DebugType::Aggregate { members, .. }) => {
            for member in members {
                classify(types, member.type_ref, at_bits.saturating_add(member.bit_offset), words, depth);
            }
        }
        Some(DebugType::Array { element, len }) => {
            let size = types.bytes(*element).saturating_mul(8).max(1);
            for index in 0..(*len).min(16) {
                classify(types, *element, at_bits.saturating_add(index * size), words, depth);
            }
        }
        scalar => {
            let float = matches!(scalar, Some(DebugType::Float { .. }));
            if let Some(word) = words.get_mut(at_bits as usize / 64) {
                *word = match (*word, float) {
                    (Word::Empty | Word::Float, true) => Word::Float,
                    _ => Word::Integer,
                };
            }
        }
    }
}

/// Whether a result goes to memory that the caller names.
fn in_memory(types: &DebugTypes, result: TypeRef) -> bool {
    matches!(
        types.get(types.plain(result)),
        Some(DebugType::Aggregate { bytes, by_reference, .. }) if *bytes > 16 || *by_reference
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debug_info::{DebugMember, Parameter};

    /// The places of parameters of these types, in letters: `i` int, `d` double, `s` a struct of 4 bytes, `m` one of
    /// 16, `b` one of 24, `f` one of a double, `r` a class that goes by reference; the first letter is the result.
    fn places(arch: Arch, letters: &str) -> Vec<ArgumentPlace> {
        let mut types = DebugTypes::default();
        let mut add = |of: DebugType| {
            let at = types.reserve();
            types.define(at, of);
            at
        };
        let int = add(DebugType::Int { name: "int".into(), bytes: 4, signed: true });
        let long = add(DebugType::Int { name: "long".into(), bytes: 8, signed: true });
        let double = add(DebugType::Float { name: "double".into(), bytes: 8 });
        let mut aggregate = |bytes: u32, of: &[TypeRef], by_reference: bool| {
            let member = |(n, of): (usize, &TypeRef)| DebugMember {
                name: format!("m{n}"),
                type_ref: *of,
                bit_offset: n as u32 * 64,
                bits: 0,
            };
            let members = of.iter().enumerate().map(member).collect();
            add(DebugType::Aggregate { name: String::new(), is_union: false, bytes, members, by_reference })
        };
        let small = aggregate(4, &[int], false);
        let middle = aggregate(16, &[long, long], false);
        let big = aggregate(24, &[long, long, long], false);
        let floating = aggregate(8, &[double], false);
        let class = aggregate(8, &[long], true);
        let mut all = letters.chars().map(|letter| match letter {
            'd' => double,
            's' => small,
            'm' => middle,
            'b' => big,
            'f' => floating,
            'r' => class,
            'v' => TypeRef::VOID,
            _ => int,
        });
        let result = all.next().expect("a result");
        let parameters = all.map(|type_ref| Parameter { name: String::new(), type_ref }).collect();
        argument_places(arch, &Signature { types, parameters, result })
    }

    #[test]
    fn integers_go_in_registers_then_on_the_stack() {
        use ArgumentPlace::{Register, Stack};
        let found = places(Arch::X86_64, "viiiiiiii");
        let registers = [112, 104, 96, 88, 72, 64].map(Register);
        assert_eq!(found[..6], registers);
        assert_eq!(found[6..], [Stack(8), Stack(16)]);
    }

    #[test]
    fn floating_point_takes_no_register_of_integers() {
        use ArgumentPlace::{Register, Unreadable};
        let float = Unreadable("it is in a floating-point register");
        assert_eq!(places(Arch::X86_64, "vdifi"), [float, Register(112), float, Register(104)]);
    }

    #[test]
    fn structs_go_in_registers_on_the_stack_or_by_address() {
        use ArgumentPlace::{Behind, Register, Stack, Unreadable};
        let pieces = Unreadable("it is in several registers");
        let expected = [Register(112), pieces, Stack(8), Behind(88), Register(72)];
        assert_eq!(places(Arch::X86_64, "vsmbri"), expected);
        assert_eq!(places(Arch::X86_64, "bi"), [Register(104)], "the result's address is the first");
        assert_eq!(places(Arch::Aarch64, "bib"), [Register(0), Behind(8)]);
    }
}
