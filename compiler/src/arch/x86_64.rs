//! AMD64: `struct pt_regs` of arch/x86/include/asm/ptrace.h; arguments as the System V ABI passes them.

use super::{Operand, Registers, assembler_number};

const DI: u32 = 112;
const SI: u32 = 104;
const DX: u32 = 96;
const CX: u32 = 88;
const R8: u32 = 72;
const R9: u32 = 64;
const AX: u32 = 80;
const BP: u32 = 32;
const IP: u32 = 128;
const SP: u32 = 152;

pub(super) const REGISTERS: Registers = Registers {
    arguments: &[DI, SI, DX, CX, R8, R9],
    return_value: AX,
    // The return address lies between.
    first_stack_argument: 8,
    stack_pointer: SP,
    frame_pointer: BP,
    instruction_pointer: IP,
    named: &[
        ("r15", 0),
        ("r14", 8),
        ("r13", 16),
        ("r12", 24),
        ("bp", BP),
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
        ("pc", IP),
        ("cs", 136),
        ("flags", 144),
        ("sp", SP),
        ("ss", 160),
    ],
    operand,
};

/// AT&T syntax: `$5`, `%eax`, `-4(%rbp)`, `table+8(,%rcx,4)`, `counter(%rip)`.
fn operand(text: &str) -> Option<Operand<'_>> {
    if let Some(number) = text.strip_prefix('$') {
        return assembler_number(number).map(Operand::Constant);
    }
    if let Some(name) = text.strip_prefix('%') {
        return part_of_register(name).map(Operand::Register);
    }
    let (outside, inside) = match text.split_once('(') {
        Some((outside, rest)) => (outside, rest.strip_suffix(')')?),
        None => (text, ""),
    };
    let register = |text: &str| match text.trim().strip_prefix('%') {
        Some(name) => part_of_register(name).map(Some),
        None => text.trim().is_empty().then_some(None),
    };
    let mut parts = inside.split(',');
    let base = register(parts.next().unwrap_or_default())?;
    let index = register(parts.next().unwrap_or_default())?;
    let scale = match parts.next().map(str::trim) {
        None | Some("") => 1,
        Some(text) => text.parse().ok().filter(|scale| matches!(scale, 1 | 2 | 4 | 8))?,
    };
    if parts.next().is_some() {
        return None;
    }
    let (symbol, displacement) = displacement(outside)?;
    Some(Operand::Memory { base, index: index.map(|index| (index, scale)), displacement, symbol })
}

/// `-4`, `counter`, `table+8`, `8+table`
fn displacement(text: &str) -> Option<(Option<&str>, i64)> {
    if text.is_empty() {
        return Some((None, 0));
    }
    if let Some(number) = assembler_number(text) {
        return Some((None, number));
    }
    let cut = text.char_indices().skip(1).filter(|(_, c)| matches!(c, '+' | '-')).map(|(at, _)| at).last();
    let Some(cut) = cut else { return Some((Some(text), 0)) };
    match (assembler_number(&text[cut..]), assembler_number(&text[..cut])) {
        (Some(number), _) => Some((Some(&text[..cut]), number)),
        (None, Some(number)) => Some((text[cut..].strip_prefix('+'), number)),
        (None, None) => None,
    }
}

/// Where a register's part of any width starts: `rax`, `eax`, `ax`, `al`, `ah`, `r8d`.
fn part_of_register(name: &str) -> Option<u32> {
    if let Some(number) = name.strip_prefix('r').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    {
        let number = number.strip_suffix(['d', 'w', 'b']).unwrap_or(number);
        return REGISTERS.named(&format!("r{number}"));
    }
    let wide = name.strip_prefix(['r', 'e']).unwrap_or(name);
    if let Some(offset) = REGISTERS.named(wide).filter(|_| wide.len() == 2 && !matches!(wide, "cs" | "ss")) {
        return Some(offset);
    }
    match name {
        "ah" => REGISTERS.named("ax").map(|at| at + 1),
        "bh" => REGISTERS.named("bx").map(|at| at + 1),
        "ch" => REGISTERS.named("cx").map(|at| at + 1),
        "dh" => REGISTERS.named("dx").map(|at| at + 1),
        "al" | "bl" | "cl" | "dl" => REGISTERS.named(&format!("{}x", &name[..1])),
        "sil" | "dil" | "bpl" | "spl" => REGISTERS.named(&name[..2]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_are_read_in_every_form_that_compilers_write() {
        let memory = |base: Option<u32>, index, displacement, symbol| {
            Some(Operand::Memory { base, index, displacement, symbol })
        };
        assert_eq!(operand("$-16"), Some(Operand::Constant(-16)));
        assert_eq!(operand("$0x10"), Some(Operand::Constant(16)));
        for name in ["%rax", "%eax", "%ax", "%al"] {
            assert_eq!(operand(name), Some(Operand::Register(AX)), "{name}");
        }
        assert_eq!(operand("%ah"), Some(Operand::Register(AX + 1)));
        assert_eq!(operand("%r10d"), Some(Operand::Register(56)));
        assert_eq!(operand("%sil"), Some(Operand::Register(SI)));
        assert_eq!(operand("-4(%rbp)"), memory(Some(32), None, -4, None));
        assert_eq!(operand("(%rax)"), memory(Some(AX), None, 0, None));
        assert_eq!(operand("-80(%rbp,%rax,8)"), memory(Some(32), Some((AX, 8)), -80, None));
        assert_eq!(operand("8(,%rcx,4)"), memory(None, Some((CX, 4)), 8, None));
        assert_eq!(operand("counter(%rip)"), memory(Some(IP), None, 0, Some("counter")));
        assert_eq!(operand("table+8(%rip)"), memory(Some(IP), None, 8, Some("table")));
        assert_eq!(operand("8+table(%rip)"), memory(Some(IP), None, 8, Some("table")));
        for wrong in ["", "%xmm0", "%", "$", "(%rax", "4(%rax,%rbx,3)", "4(%rax,%rbx,1,2)", "a-b(%rip)"] {
            assert!(!matches!(operand(wrong), Some(Operand::Register(_) | Operand::Constant(_))), "{wrong}");
        }
        assert_eq!(operand("4(%rax,%rbx,3)"), None);
        assert_eq!(operand("%xmm0"), None);
    }
}
