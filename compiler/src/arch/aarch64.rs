//! ARMv8 in 64-bit mode: `struct user_pt_regs` of arch/arm64/include/uapi/asm/ptrace.h; arguments as the
//! AAPCS64 passes them.

use super::Registers;

const SP: u32 = 31 * 8;
const PC: u32 = 32 * 8;

pub(super) const REGISTERS: Registers = Registers {
    arguments: &[0, 8, 16, 24, 32, 40, 48, 56],
    return_value: 0,
    first_stack_argument: 0,
    stack_pointer: SP,
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
        ("r29", 232),
        ("r30", 240),
        ("sp", SP),
        ("pc", PC),
        ("pstate", 264),
    ],
};
