//! What is known of a value's bits.
//!
//! Only what the kernel verifier derives too: constants, widths of loads, masks, shifts, sums. It does not
//! follow division and remainder, so a test of what they give may be there for its sake and must stay.

use crate::ir::{BinaryOp, Function, Inst, UnaryOp, Value, Width};

/// Definitions followed from one value.
const MAX_DEPTH: u32 = 6;

/// A number of bits that the value, unsigned, surely fits: its upper bits are 0.
pub(super) fn unsigned_bits(function: &Function, value: Value) -> u32 {
    unsigned_bits_within(function, value, MAX_DEPTH)
}

fn unsigned_bits_within(function: &Function, value: Value, depth: u32) -> u32 {
    let Some(depth) = depth.checked_sub(1) else { return 64 };
    let bits = |value| unsigned_bits_within(function, value, depth);
    let count = |value| function.as_const(value).map(|imm| (imm & 63) as u32);
    match function.def(value) {
        Some(Inst::Const(imm)) => 64 - imm.leading_zeros(),
        Some(Inst::Icmp { .. }) => 1,
        Some(Inst::Load { width, signed: false, .. }) => width.bits(),
        Some(Inst::Unary { op: UnaryOp::Zext(width), arg }) => width.bits().min(bits(*arg)),
        Some(Inst::Unary { op: UnaryOp::Bswap(width), .. }) => width.bits(),
        Some(Inst::Select { then, otherwise, .. }) => bits(*then).max(bits(*otherwise)),
        Some(Inst::Binary { op, left, right }) => match op {
            BinaryOp::And => bits(*left).min(bits(*right)),
            BinaryOp::Or | BinaryOp::Xor => bits(*left).max(bits(*right)),
            BinaryOp::Add => (bits(*left).max(bits(*right)) + 1).min(64),
            BinaryOp::Shl => count(*right).map_or(64, |count| (bits(*left) + count).min(64)),
            BinaryOp::Lshr => count(*right).map_or(64, |count| bits(*left).saturating_sub(count)),
            BinaryOp::Sub
            | BinaryOp::Mul
            | BinaryOp::Udiv
            | BinaryOp::Umod
            | BinaryOp::Sdiv
            | BinaryOp::Smod
            | BinaryOp::Ashr => 64,
        },
        _ => 64,
    }
}

/// The number whose so many low bits are set.
pub(super) fn low_mask(bits: u32) -> i64 {
    u64::MAX.checked_shr(64 - bits).unwrap_or(0) as i64
}

/// Whether sign-extending the low bits of this width gives the value back.
pub(super) fn is_sign_extended(function: &Function, value: Value, width: Width) -> bool {
    if width == Width::W64 || unsigned_bits(function, value) < width.bits() {
        return true;
    }
    match function.def(value) {
        Some(Inst::Load { width: loaded, signed: true, .. }) => loaded.bits() <= width.bits(),
        Some(Inst::Unary { op: UnaryOp::Sext(from), .. }) => from.bits() <= width.bits(),
        Some(Inst::Const(imm)) => crate::ir::eval::sext(width, *imm) == *imm,
        _ => false,
    }
}
