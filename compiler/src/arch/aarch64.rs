//! ARMv8 in 64-bit mode: `struct user_pt_regs` of arch/arm64/include/uapi/asm/ptrace.h; arguments as the
//! AAPCS64 passes them.

use super::{Operand, Registers, assembler_number};

const FP: u32 = 29 * 8;
const SP: u32 = 31 * 8;
const PC: u32 = 32 * 8;

pub(super) const REGISTERS: Registers = Registers {
    arguments: &[0, 8, 16, 24, 32, 40, 48, 56],
    return_value: 0,
    first_stack_argument: 0,
    stack_pointer: SP,
    frame_pointer: FP,
    instruction_pointer: PC,
    named: &[
        ("r0", 0),
        ("r1", 8),
        ("r2", 16),
        ("r3", 24),
        ("r4", 32),
        ("r5", 40),
        ("r6", 48),
        ("r7", 56),
        ("r8", 64),
        ("r9", 72),
        ("r10", 80),
        ("r11", 88),
        ("r12", 96),
        ("r13", 104),
        ("r14", 112),
        ("r15", 120),
        ("r16", 128),
        ("r17", 136),
        ("r18", 144),
        ("r19", 152),
        ("r20", 160),
        ("r21", 168),
        ("r22", 176),
        ("r23", 184),
        ("r24", 192),
        ("r25", 200),
        ("r26", 208),
        ("r27", 216),
        ("r28", 224),
        ("r29", FP),
        ("r30", 240),
        ("sp", SP),
        ("pc", PC),
        ("pstate", 264),
    ],
    operand,
};

/// `5`, `x0`, `w0`, `[sp]`, `[sp, 12]`, `[x1, x2]`.
fn operand(text: &str) -> Option<Operand<'_>> {
    if let Some(number) = assembler_number(text.strip_prefix('#').unwrap_or(text)) {
        return Some(Operand::Constant(number));
    }
    let Some(inside) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return register(text).map(Operand::Register);
    };
    let (base, second) = inside.split_once(',').unwrap_or((inside, "0"));
    let (base, second) = (register(base.trim())?, second.trim());
    let number = assembler_number(second.strip_prefix('#').unwrap_or(second));
    let index = match number {
        Some(_) => None,
        None => Some((register(second)?, 1)),
    };
    Some(Operand::Memory { base: Some(base), index, displacement: number.unwrap_or(0), symbol: None })
}

fn register(name: &str) -> Option<u32> {
    match name.strip_prefix(['x', 'w']) {
        Some(number) => REGISTERS.named(&format!("r{number}")),
        None => REGISTERS.named(name).filter(|_| name == "sp"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_are_read_in_every_form_that_compilers_write() {
        let memory = |base, index, displacement| {
            Some(Operand::Memory { base: Some(base), index, displacement, symbol: None })
        };
        assert_eq!(operand("-5"), Some(Operand::Constant(-5)));
        assert_eq!(operand("w3"), Some(Operand::Register(24)));
        assert_eq!(operand("[sp]"), memory(SP, None, 0));
        assert_eq!(operand("[sp, 12]"), memory(SP, None, 12));
        assert_eq!(operand("[x1,x2]"), memory(8, Some((16, 1)), 0));
        assert_eq!(operand("d0"), None);
    }
}
