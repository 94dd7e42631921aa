//! Instructions as 64-bit words: what `bpf-ins` builds, and the forms it has no constructor for.
//!
//! Those are atomics, byte swaps, cpu v4 (signed division, sign-extending moves and loads) and the
//! `ld_imm64` whose source register says what its immediate is (Documentation/bpf/standardization/
//! instruction-set.rst, include/uapi/linux/bpf.h).

use bpf_ins::{ArithmeticOperation, Instruction, JumpOperation, MemoryOpLoadType, MemoryOpSize, Register};

use crate::alloc::Reg;
use crate::alloc::select::{AtomicOp, Test};
use crate::ir::{BinaryOp, Cond, Width};

/// An encoded instruction: one word, or two for `ld_imm64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words(pub u64, pub Option<u64>);

impl From<Instruction> for Words {
    fn from(instruction: Instruction) -> Words {
        let (first, second) = instruction.encode();
        Words(first, second)
    }
}

/// The right operand of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    /// An immediate, sign-extended.
    Imm(i32),
    /// A register.
    Reg(Reg),
}

fn register(reg: Reg) -> Register {
    match reg.number() {
        0 => Register::R0,
        1 => Register::R1,
        2 => Register::R2,
        3 => Register::R3,
        4 => Register::R4,
        5 => Register::R5,
        6 => Register::R6,
        7 => Register::R7,
        8 => Register::R8,
        9 => Register::R9,
        _ => Register::R10,
    }
}

fn size(width: Width) -> MemoryOpSize {
    match width {
        Width::W8 => MemoryOpSize::Byte,
        Width::W16 => MemoryOpSize::HalfWord,
        Width::W32 => MemoryOpSize::Word,
        Width::W64 => MemoryOpSize::DoubleWord,
    }
}

/// `BPF_B`, `BPF_H`, `BPF_W`, `BPF_DW`.
fn size_bits(width: Width) -> u64 {
    size(width) as u64
}

/// Builds a word from its fields (`struct bpf_insn`).
fn word(code: u64, dst: Reg, src: Reg, off: i16, imm: i32) -> Words {
    let (dst, src) = (u64::from(dst.number()), u64::from(src.number()));
    Words(code | dst << 8 | src << 12 | u64::from(off as u16) << 16 | u64::from(imm as u32) << 32, None)
}

/// Adds an offset to an instruction that has none: how cpu v4 tells its forms from the old ones.
fn with_offset(instruction: Instruction, off: i16) -> Words {
    let (first, second) = instruction.encode();
    Words(first | u64::from(off as u16) << 16, second)
}

/// `dst = src`
pub fn mov(dst: Reg, src: Operand) -> Words {
    alu64(ArithmeticOperation::Mov, dst, src).into()
}

/// `dst = (u32)src`
pub fn mov32(dst: Reg, src: Operand) -> Words {
    match src {
        Operand::Imm(imm) => Instruction::mov32(register(dst), imm).into(),
        Operand::Reg(src) => Instruction::movx32(register(dst), register(src)).into(),
    }
}

/// `dst = constant`, in the shortest form.
pub fn load_const(dst: Reg, value: i64) -> Words {
    if let Ok(imm) = i32::try_from(value) {
        mov(dst, Operand::Imm(imm))
    } else if let Ok(low) = u32::try_from(value) {
        mov32(dst, Operand::Imm(low as i32))
    } else {
        Instruction::load(register(dst), value, MemoryOpSize::DoubleWord).into()
    }
}

/// `dst = address of a symbol + addend`: `ld_imm64`, to be completed by a relocation. The kind is what
/// it becomes; the loader sets it.
pub fn load_address(dst: Reg, addend: i32, kind: MemoryOpLoadType) -> Words {
    Instruction::loadtype(register(dst), i64::from(addend as u32), kind).into()
}

fn alu64(op: ArithmeticOperation, dst: Reg, src: Operand) -> Instruction {
    match src {
        Operand::Imm(imm) => Instruction::alu64(register(dst), imm, op),
        Operand::Reg(src) => Instruction::alux64(register(dst), register(src), op),
    }
}

/// `dst = dst op src`, 64 bits wide. Signed division needs cpu v4.
pub fn alu(op: BinaryOp, dst: Reg, src: Operand) -> Words {
    let op = match op {
        BinaryOp::Add => ArithmeticOperation::Add,
        BinaryOp::Sub => ArithmeticOperation::Sub,
        BinaryOp::Mul => ArithmeticOperation::Mul,
        BinaryOp::Udiv => ArithmeticOperation::Div,
        BinaryOp::Umod => ArithmeticOperation::Mod,
        BinaryOp::And => ArithmeticOperation::And,
        BinaryOp::Or => ArithmeticOperation::Or,
        BinaryOp::Xor => ArithmeticOperation::Xor,
        BinaryOp::Shl => ArithmeticOperation::Lhs,
        BinaryOp::Lshr => ArithmeticOperation::Rhs,
        BinaryOp::Ashr => ArithmeticOperation::Ash,
        BinaryOp::Sdiv => return with_offset(alu64(ArithmeticOperation::Div, dst, src), 1),
        BinaryOp::Smod => return with_offset(alu64(ArithmeticOperation::Mod, dst, src), 1),
    };
    alu64(op, dst, src).into()
}

/// `dst = -dst`
pub fn neg(reg: Reg) -> Words {
    Instruction::alu64(register(reg), 0, ArithmeticOperation::Neg).into()
}

/// `dst = sign-extended low bits of src` (cpu v4).
pub fn mov_signed(dst: Reg, src: Reg, width: Width) -> Words {
    with_offset(Instruction::movx64(register(dst), register(src)), width.bits() as i16)
}

/// `reg = byte-reversed low part of reg`, zero-extended: conversion to big endian (`BPF_ALU | BPF_END | BPF_TO_BE`).
pub fn byte_swap(reg: Reg, width: Width) -> Words {
    word(0xdc, reg, Reg::R0, 0, width.bits() as i32)
}

/// `dst = *(base + off)`, zero-extended.
pub fn load(dst: Reg, base: Reg, off: i16, width: Width) -> Words {
    Instruction::loadx(register(dst), register(base), off, size(width)).into()
}

/// `dst = *(base + off)`, sign-extended (cpu v4: `BPF_LDX | BPF_MEMSX`).
pub fn load_signed(dst: Reg, base: Reg, off: i16, width: Width) -> Words {
    word(0x81 | size_bits(width), dst, base, off, 0)
}

/// `*(base + off) = value`
pub fn store(base: Reg, off: i16, value: Operand, width: Width) -> Words {
    match value {
        Operand::Imm(imm) => Instruction::store(register(base), off, i64::from(imm), size(width)).into(),
        Operand::Reg(src) => Instruction::storex(register(base), off, register(src), size(width)).into(),
    }
}

/// An atomic operation of `src` on `*(base + off)` (`BPF_STX | BPF_ATOMIC`).
pub fn atomic(op: AtomicOp, base: Reg, off: i16, src: Reg, width: Width) -> Words {
    let imm = match op {
        AtomicOp::Add => 0x00,
        AtomicOp::FetchAdd => 0x01,
        AtomicOp::Xchg => 0xe1,
        AtomicOp::CmpXchg => 0xf1,
    };
    word(0xc3 | size_bits(width), base, src, off, imm)
}

/// `goto +off`
pub fn jump(off: i16) -> Words {
    Instruction::jmp_abs(off).into()
}

/// `if left test right goto +off`
pub fn jump_if(test: Test, left: Reg, right: Operand, off: i16) -> Words {
    let op = match test {
        Test::AnyBits => JumpOperation::IfAnd,
        Test::Compare(Cond::Eq) => JumpOperation::IfEqual,
        Test::Compare(Cond::Ne) => JumpOperation::IfNotEqual,
        Test::Compare(Cond::Ult) => JumpOperation::IfLessThan,
        Test::Compare(Cond::Ule) => JumpOperation::IfLessThanOrEqual,
        Test::Compare(Cond::Ugt) => JumpOperation::IfGreater,
        Test::Compare(Cond::Uge) => JumpOperation::IfGreaterOrEqual,
        Test::Compare(Cond::Slt) => JumpOperation::IfSignedLessThan,
        Test::Compare(Cond::Sle) => JumpOperation::IfSignedLessThanOrEqual,
        Test::Compare(Cond::Sgt) => JumpOperation::IfSignedGreater,
        Test::Compare(Cond::Sge) => JumpOperation::IfSignedGreaterOrEqual,
    };
    match right {
        Operand::Imm(imm) => Instruction::jmp_if(register(left), op, i64::from(imm), off).into(),
        Operand::Reg(right) => Instruction::jmp_ifx(register(left), op, register(right), off).into(),
    }
}

/// `call helper`
pub fn call(helper: u32) -> Words {
    Instruction::call(helper).into()
}

/// `call` of a function of the program (`BPF_PSEUDO_CALL`), to be completed by a relocation.
pub fn call_function() -> Words {
    word(0x85, Reg::R0, Reg::argument(0), 0, -1)
}

/// `exit`
pub fn exit() -> Words {
    Instruction::exit().into()
}
