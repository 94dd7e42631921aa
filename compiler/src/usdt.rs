//! Static probes of programs and libraries (USDT): what their ELF notes say.
//!
//! A note gives each location of a probe and, as text of the assembler, where its arguments are there:
//! `-4@%eax 8@-16(%rbp) 1@$5`, the size in bytes (negative for signed) before the operand. Arguments
//! become plain reads of registers and of the process's memory.

use crate::arch::{Operand, Registers};

/// One location of a static probe, as its note gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsdtNote {
    /// The probe's provider, which names its namespace.
    pub provider: String,
    /// The probe's name.
    pub name: String,
    /// The location's address, as the file has it.
    pub address: u64,
    /// Its offset in the file.
    pub file_offset: u64,
    /// Offset in the file of the counter that says whether anybody listens (16 bits), if it has one.
    pub semaphore: Option<u64>,
    /// Where its arguments are, as written.
    pub arguments: String,
}

/// An argument at one location.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UsdtArg {
    /// Its size in bytes: 1, 2, 4 or 8.
    pub bytes: u8,
    /// Whether it is signed.
    pub signed: bool,
    /// Where it is.
    pub place: UsdtPlace,
}

/// Where an argument is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UsdtPlace {
    /// Nowhere: it is always this number.
    Constant(i64),
    /// In a register, at this offset in `struct pt_regs`.
    Register(u32),
    /// In the process's memory, at the sum of the parts.
    Memory {
        /// Offset of a register in `struct pt_regs`.
        base: Option<u32>,
        /// Offset of another, and what it is multiplied by.
        index: Option<(u32, u8)>,
        /// A number.
        displacement: i64,
    },
    /// Where memql cannot read it (a floating-point register, say): as written.
    Unreadable(String),
}

impl UsdtNote {
    /// The arguments at this location; `symbol` gives the address of a symbol of the file.
    pub fn args(&self, registers: &Registers, symbol: &dyn Fn(&str) -> Option<u64>) -> Vec<UsdtArg> {
        split(&self.arguments).map(|text| self.arg(text, registers, symbol)).collect()
    }

    fn arg(&self, text: &str, registers: &Registers, symbol: &dyn Fn(&str) -> Option<u64>) -> UsdtArg {
        let (size, operand) = text.split_once('@').unwrap_or(("", text));
        // Old notes leave out the size of arguments as wide as a register.
        let size = if size.is_empty() { Some(-8) } else { size.parse::<i8>().ok() };
        match size.filter(|size| matches!(size.unsigned_abs(), 1 | 2 | 4 | 8)) {
            Some(size) => UsdtArg {
                bytes: size.unsigned_abs(),
                signed: size < 0,
                place: self
                    .place(operand, registers, symbol)
                    .unwrap_or_else(|| UsdtPlace::Unreadable(text.to_owned())),
            },
            None => UsdtArg { bytes: 8, signed: true, place: UsdtPlace::Unreadable(text.to_owned()) },
        }
    }

    fn place(
        &self,
        operand: &str,
        registers: &Registers,
        address_of: &dyn Fn(&str) -> Option<u64>,
    ) -> Option<UsdtPlace> {
        Some(match (registers.operand)(operand)? {
            Operand::Constant(number) => UsdtPlace::Constant(number),
            Operand::Register(offset) => UsdtPlace::Register(offset),
            Operand::Memory { base, index, displacement, symbol: None } => {
                UsdtPlace::Memory { base, index, displacement }
            }
            // The loader moves the symbol and the location by the same distance.
            Operand::Memory { base, index, displacement, symbol: Some(symbol) }
                if base == Some(registers.instruction_pointer) =>
            {
                let distance = address_of(symbol)?.wrapping_sub(self.address) as i64;
                UsdtPlace::Memory { base, index, displacement: displacement.wrapping_add(distance) }
            }
            Operand::Memory { symbol: Some(_), .. } => return None,
        })
    }
}

/// The arguments of a note's text. Operands of some architectures have blanks between brackets.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    text.split(move |c: char| {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth -= 1,
            _ => {}
        }
        c.is_ascii_whitespace() && depth <= 0
    })
    .filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::registers;
    use crate::target::Arch;

    fn args(text: &str, arch: Arch) -> Vec<UsdtArg> {
        let note = UsdtNote {
            provider: "p".into(),
            name: "n".into(),
            address: 0x1000,
            file_offset: 0,
            semaphore: None,
            arguments: text.into(),
        };
        note.args(registers(arch), &|symbol| (symbol == "counter").then_some(0x4010))
    }

    fn arg(bytes: u8, signed: bool, place: UsdtPlace) -> UsdtArg {
        UsdtArg { bytes, signed, place }
    }

    #[test]
    fn sizes_signs_and_places_are_told() {
        let regs = registers(Arch::X86_64);
        let (ax, ip) = (regs.return_value, regs.instruction_pointer);
        let memory = UsdtPlace::Memory { base: Some(ip), index: None, displacement: 0x3014 };
        assert_eq!(
            args("-4@%eax 1@$5 8@counter+4(%rip)", Arch::X86_64),
            [
                arg(4, true, UsdtPlace::Register(ax)),
                arg(1, false, UsdtPlace::Constant(5)),
                arg(8, false, memory)
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_keeps_its_place_among_the_others() {
        let read = args("8f@%xmm0 4@nowhere(%rip) 16@%rax 2@$1", Arch::X86_64);
        let unreadable = |text: &str| UsdtPlace::Unreadable(text.to_owned());
        let places: Vec<_> = read.into_iter().map(|arg| arg.place).collect();
        let expected = [
            unreadable("8f@%xmm0"),
            unreadable("4@nowhere(%rip)"),
            unreadable("16@%rax"),
            UsdtPlace::Constant(1),
        ];
        assert_eq!(places, expected);
    }

    #[test]
    fn blanks_inside_of_an_operand_do_not_end_it() {
        let places: Vec<_> = args("-4@[sp, 12] 8@x0", Arch::Aarch64).into_iter().map(|a| a.place).collect();
        let sp = registers(Arch::Aarch64).stack_pointer;
        let memory = UsdtPlace::Memory { base: Some(sp), index: None, displacement: 12 };
        assert_eq!(places, [memory, UsdtPlace::Register(0)]);
    }
}
