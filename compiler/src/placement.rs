//! Where the breakpoint of a uprobe on a function's entry goes.
//!
//! A uprobe costs one trap if the kernel can emulate the instruction under it (arch/x86/kernel/uprobes.c:
//! a push of a register, a one-byte nop, relative jumps and calls) and far more if it has to
//! single-step a copy of it. A function often begins with one or two of the latter (`endbr64`,
//! `test %rdi,%rdi`), so the breakpoint goes past them where nobody can tell:
//!
//! ```text
//! free:    test %rdi,%rdi      passed: leaves arguments, stack and memory alone and cannot fault
//!     +3   je   ...            here: emulated
//! ```
//!
//! An instruction is passed if it is plain arithmetic on registers that carry no argument, or a load that
//! cannot fault. The place must be reached exactly once for each call, so nothing may jump behind the
//! entry: no jump of the function or of what it jumps to, no indirect jump in the function, no other symbol.
//! Where a script reads a register that may have changed (`reg("ax")`), its probe stays on the first byte.

pub mod boundaries;

use std::collections::HashSet;

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register,
};

use crate::target::{Arch, Target};

/// Functions with more bytes are left alone.
const LARGEST_FUNCTION: u64 = 1 << 16;

/// No more bytes than this are passed.
const FARTHEST: usize = 64;

/// Instructions outside of the function that are searched for jumps into it; with more, it is left alone.
const SEARCHED_ELSEWHERE: usize = 20_000;

/// How many bytes past the entry of the function at `entry` in a file its breakpoint goes; 0 where
/// it stays on the first one.
///
/// `takes_user_stack`: the kernel (since 6.11, `is_uprobe_at_func_entry` in arch/x86/events/core.c) adds the
/// caller's frame if the instruction under the breakpoint is `push %rbp` or, where it is built with
/// CONFIG_X86_KERNEL_IBT, `endbr64`; so the breakpoint leaves neither of them and does not go on one.
pub fn skip(target: &dyn Target, path: &str, entry: u64, takes_user_stack: bool) -> u32 {
    match target.features().arch {
        Arch::X86_64 => skip_x86_64(target, path, entry, takes_user_stack).unwrap_or(0),
        Arch::Aarch64 => 0,
    }
}

fn skip_x86_64(target: &dyn Target, path: &str, entry: u64, takes_user_stack: bool) -> Option<u32> {
    let first = target.user_code(path, entry, FARTHEST)?;
    let skip = first_emulated(&first, entry).filter(|skip| *skip > 0)?;
    if takes_user_stack && (may_be_known_as_entry(&first) || may_be_known_as_entry(&first[skip..])) {
        return None;
    }
    let extent = target.user_function_extent(path, entry)?;
    let place = entry + skip as u64;
    let alone = extent.next_symbol.is_none_or(|next| next > place);
    if extent.arch != Some(Arch::X86_64)
        || !alone
        || extent.size <= skip as u64
        || extent.size > LARGEST_FUNCTION
    {
        return None;
    }
    let body = target.user_code(path, entry, extent.size as usize)?;
    let whole = body.len() as u64 == extent.size;
    (whole && !is_jumped_into(target, path, entry, place, &body)).then_some(skip as u32)
}

/// The offset of the first instruction that the kernel emulates, if all before it can be passed.
fn first_emulated(code: &[u8], entry: u64) -> Option<usize> {
    let mut info = InstructionInfoFactory::new();
    let mut decoder = Decoder::with_ip(64, code, entry, DecoderOptions::NONE);
    while decoder.can_decode() {
        let at = decoder.position();
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            return None;
        }
        if is_emulated(&code[at..decoder.position()]) {
            return Some(at);
        }
        if !can_be_passed(&instruction, &mut info) {
            return None;
        }
    }
    None
}

/// Whether the kernel emulates this instruction under a uprobe, on all kernels since 5.0.
fn is_emulated(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [0x50..=0x57]               // push %rax ... %rdi
        | [0x41, 0x50..=0x57]       // push %r8 ... %r15
        | [0x90]                    // nop
        | [0xeb | 0x70..=0x7f, _]   // jmp, jcc, short
        | [0xe8 | 0xe9, _, _, _, _] // call, jmp
        | [0x0f, 0x80..=0x8f, _, _, _, _] // jcc
    )
}

/// Whether the kernel may take this for a function's first instruction: `push %rbp` or `endbr64`.
fn may_be_known_as_entry(code: &[u8]) -> bool {
    matches!(code, [0x55, ..] | [0xf3, 0x0f, 0x1e, 0xfa, ..])
}

/// Registers that must be at the breakpoint what they are at the entry: arguments, stack, frame.
const KEPT: [Register; 8] = [
    Register::RDI,
    Register::RSI,
    Register::RDX,
    Register::RCX,
    Register::R8,
    Register::R9,
    Register::RSP,
    Register::RBP,
];

/// Whether a register, by the name that `reg()` takes, is at the breakpoint what it is at the entry.
pub fn keeps_register(name: &str) -> bool {
    matches!(name, "di" | "si" | "dx" | "cx" | "r8" | "r9" | "sp" | "bp")
}

fn can_be_passed(instruction: &Instruction, info: &mut InstructionInfoFactory) -> bool {
    let plain = matches!(
        instruction.mnemonic(),
        Mnemonic::Endbr64
            | Mnemonic::Nop
            | Mnemonic::Mov
            | Mnemonic::Movzx
            | Mnemonic::Movsx
            | Mnemonic::Movsxd
            | Mnemonic::Lea
            | Mnemonic::Test
            | Mnemonic::Cmp
            | Mnemonic::Xor
            | Mnemonic::Or
            | Mnemonic::And
            | Mnemonic::Add
            | Mnemonic::Sub
            | Mnemonic::Not
            | Mnemonic::Neg
            | Mnemonic::Shl
            | Mnemonic::Shr
            | Mnemonic::Sar
            | Mnemonic::Pxor
            | Mnemonic::Xorps
    );
    if !plain || instruction.flow_control() != FlowControl::Next {
        return false;
    }
    let used = info.info(instruction);
    let keeps_registers = used.used_registers().iter().all(|r| {
        !writes(r.access()) || !KEPT.contains(&r.register().full_register()) && is_ordinary(r.register())
    });
    // The program's own variables and the thread's block are always there; anything else may fault, and a call
    // that ends so is one that the entry would have seen.
    let keeps_memory = used.used_memory().iter().all(|m| match m.access() {
        OpAccess::NoMemAccess => true,
        OpAccess::Read => {
            let is_fixed = m.base() == Register::None && m.index() == Register::None;
            instruction.is_ip_rel_memory_operand() || m.segment() == Register::FS && is_fixed
        }
        OpAccess::None
        | OpAccess::CondRead
        | OpAccess::Write
        | OpAccess::CondWrite
        | OpAccess::ReadWrite
        | OpAccess::ReadCondWrite => false,
    });
    keeps_registers && keeps_memory
}

fn writes(access: OpAccess) -> bool {
    !matches!(access, OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess)
}

/// Registers that hold data: not segments or control registers.
fn is_ordinary(register: Register) -> bool {
    register.is_gpr() || register.is_vector_register()
}

/// Whether a jump leads behind the entry, up to the place of the breakpoint.
fn is_jumped_into(target: &dyn Target, path: &str, entry: u64, place: u64, body: &[u8]) -> bool {
    let own = entry..entry + body.len() as u64;
    let is_behind_entry = |to: u64| to > entry && to <= place;
    // Where the function goes on elsewhere: parts that the compiler put aside, functions called at its end.
    let mut elsewhere = Vec::new();
    for instruction in Decoder::with_ip(64, body, entry, DecoderOptions::NONE).iter() {
        if instruction.is_invalid() {
            return true;
        }
        match instruction.flow_control() {
            FlowControl::Next
            | FlowControl::Return
            | FlowControl::IndirectCall
            | FlowControl::Interrupt
            | FlowControl::Exception => {}
            FlowControl::IndirectBranch | FlowControl::XbeginXabortXend => return true,
            FlowControl::Call if is_behind_entry(instruction.near_branch_target()) => return true,
            FlowControl::Call => {}
            FlowControl::UnconditionalBranch | FlowControl::ConditionalBranch => {
                elsewhere.push(instruction.near_branch_target());
            }
        }
    }
    let mut code = CodeReader { target, path, start: 0, bytes: Vec::new() };
    let mut seen = HashSet::new();
    while let Some(mut at) = elsewhere.pop() {
        if is_behind_entry(at) {
            return true;
        }
        while !own.contains(&at) && seen.insert(at) {
            if seen.len() > SEARCHED_ELSEWHERE {
                return true;
            }
            let Some(instruction) = code.instruction(at) else { break };
            at = instruction.next_ip();
            match instruction.flow_control() {
                FlowControl::ConditionalBranch => elsewhere.push(instruction.near_branch_target()),
                FlowControl::UnconditionalBranch => {
                    elsewhere.push(instruction.near_branch_target());
                    break;
                }
                FlowControl::Next
                | FlowControl::Call
                | FlowControl::IndirectCall
                | FlowControl::Interrupt
                | FlowControl::XbeginXabortXend => {}
                FlowControl::Return | FlowControl::IndirectBranch | FlowControl::Exception => break,
            }
        }
    }
    false
}

/// The longest instruction, in bytes.
const LONGEST_INSTRUCTION: u64 = 15;

/// Reads instructions anywhere in a file.
struct CodeReader<'a> {
    target: &'a dyn Target,
    path: &'a str,
    /// The offset in the file of what was read last.
    start: u64,
    bytes: Vec<u8>,
}

impl CodeReader<'_> {
    /// The instruction at an offset of the file, if there is one.
    fn instruction(&mut self, at: u64) -> Option<Instruction> {
        let end = self.start + self.bytes.len() as u64;
        if at < self.start || at.saturating_add(LONGEST_INSTRUCTION) > end {
            self.bytes = self.target.user_code(self.path, at, 1024)?;
            self.start = at;
        }
        let rest = self.bytes.get((at - self.start) as usize..)?;
        let instruction = Decoder::with_ip(64, rest, at, DecoderOptions::NONE).iter().next()?;
        (!instruction.is_invalid()).then_some(instruction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offset at which a probe on this code goes.
    fn place(code: &[u8]) -> Option<usize> {
        first_emulated(code, 0x1000).filter(|skip| *skip > 0)
    }

    #[test]
    fn a_test_before_a_jump_is_passed() {
        // test %rdi,%rdi; je
        assert_eq!(place(&[0x48, 0x85, 0xff, 0x74, 0x10]), Some(3));
        // endbr64; push %rbx
        assert_eq!(place(&[0xf3, 0x0f, 0x1e, 0xfa, 0x53]), Some(4));
        // xor %eax,%eax; mov %fs:0x28,%rbx; nop
        assert_eq!(place(&[0x31, 0xc0, 0x64, 0x48, 0x8b, 0x1c, 0x25, 0x28, 0, 0, 0, 0x90]), Some(11));
        // mov 0x100(%rip),%rax; lea 8(%rdi),%r10; jmp
        assert_eq!(place(&[0x48, 0x8b, 0x05, 0, 1, 0, 0, 0x4c, 0x8d, 0x57, 8, 0xeb, 5]), Some(11));
    }

    #[test]
    fn what_a_probe_could_see_is_not_passed() {
        let push = 0x55;
        for (what, code) in [
            ("sub $8,%rsp", &[0x48, 0x83, 0xec, 8, push][..]),
            ("mov %rsi,%rdi", &[0x48, 0x89, 0xf7, push]),
            ("xor %edx,%edx", &[0x31, 0xd2, push]),
            ("mov %rax,(%rdi)", &[0x48, 0x89, 0x07, push]),
            ("mov (%rdi),%rax, which may fault", &[0x48, 0x8b, 0x07, push]),
            ("mov %fs:(%rax),%rax", &[0x64, 0x48, 0x8b, 0x00, push]),
            ("mov %rsp,%rbp", &[0x48, 0x89, 0xe5, push]),
            ("xchg %rax,%rdi", &[0x48, 0x97, push]),
            ("rdtsc", &[0x0f, 0x31, push]),
            ("syscall", &[0x0f, 0x05, push]),
            ("ret", &[0xc3, push]),
            ("jmp *%rax", &[0xff, 0xe0, push]),
            ("hlt", &[0xf4, push]),
            ("nothing", &[0x06, push]),
        ] {
            assert_eq!(place(code), None, "{what}");
        }
    }

    #[test]
    fn what_is_emulated_already_stays() {
        for code in [&[0x55][..], &[0x41, 0x57], &[0x90], &[0xe8, 0, 0, 0, 0], &[0x0f, 0x84, 0, 0, 0, 0]] {
            assert_eq!(first_emulated(code, 0), Some(0));
        }
        // A push with a prefix is not: data16 push
        assert_eq!(first_emulated(&[0x66, 0x55], 0), None);
    }
}
