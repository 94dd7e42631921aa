//! AMD64: `struct pt_regs` of arch/x86/include/asm/ptrace.h; arguments as the System V ABI passes them.

use super::Registers;

const DI: u32 = 112;
const SI: u32 = 104;
const DX: u32 = 96;
const CX: u32 = 88;
const R8: u32 = 72;
const R9: u32 = 64;
const AX: u32 = 80;
const IP: u32 = 128;
const SP: u32 = 152;

pub(super) const REGISTERS: Registers = Registers {
    arguments: &[DI, SI, DX, CX, R8, R9],
    return_value: AX,
    // The return address lies between.
    first_stack_argument: 8,
    stack_pointer: SP,
    instruction_pointer: IP,
    named: &[
        ("r15", 0),
        ("r14", 8),
        ("r13", 16),
        ("r12", 24),
        ("bp", 32),
        ("bx", 40),
        ("r11", 48),
        ("r10", 56),
        ("r9", R9),
        ("r8", R8),
        ("ax", AX),
        ("cx", CX),
        ("dx", DX),
        ("si", SI),
        ("di", DI),
        ("orig_ax", 120),
        ("ip", IP),
        ("cs", 136),
        ("flags", 144),
        ("sp", SP),
        ("ss", 160),
    ],
};
