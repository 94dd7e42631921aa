//! What the operators compute, as the passes fold them.
//!
//! eBPF's edge cases are the meaning: see [`super::BinaryOp`]. The reference interpreter has its own
//! ([`crate::interpret`]), so that a mistake here does not hide itself.

use super::{BinaryOp, Cond, UnaryOp, Width};

/// The value of a one-operand operation.
pub fn unary(op: UnaryOp, arg: i64) -> i64 {
    match op {
        UnaryOp::Neg => arg.wrapping_neg(),
        UnaryOp::Sext(width) => sext(width, arg),
        UnaryOp::Zext(width) => zext(width, arg),
        UnaryOp::Bswap(Width::W8) => zext(Width::W8, arg),
        UnaryOp::Bswap(Width::W16) => i64::from((arg as u16).swap_bytes()),
        UnaryOp::Bswap(Width::W32) => i64::from((arg as u32).swap_bytes()),
        UnaryOp::Bswap(Width::W64) => arg.swap_bytes(),
        UnaryOp::Hide => arg,
    }
}

/// The low bits of a value, sign-extended.
pub fn sext(width: Width, value: i64) -> i64 {
    match width {
        Width::W8 => i64::from(value as i8),
        Width::W16 => i64::from(value as i16),
        Width::W32 => i64::from(value as i32),
        Width::W64 => value,
    }
}

/// The low bits of a value, zero-extended.
pub fn zext(width: Width, value: i64) -> i64 {
    match width {
        Width::W8 => i64::from(value as u8),
        Width::W16 => i64::from(value as u16),
        Width::W32 => i64::from(value as u32),
        Width::W64 => value,
    }
}

/// The value of a two-operand operation.
pub fn binary(op: BinaryOp, left: i64, right: i64) -> i64 {
    let (uleft, uright) = (left as u64, right as u64);
    match op {
        BinaryOp::Add => left.wrapping_add(right),
        BinaryOp::Sub => left.wrapping_sub(right),
        BinaryOp::Mul => left.wrapping_mul(right),
        BinaryOp::Udiv => uleft.checked_div(uright).unwrap_or(0) as i64,
        BinaryOp::Umod => uleft.checked_rem(uright).unwrap_or(uleft) as i64,
        BinaryOp::Sdiv if right == 0 => 0,
        BinaryOp::Sdiv => left.wrapping_div(right),
        BinaryOp::Smod if right == 0 => left,
        BinaryOp::Smod => left.wrapping_rem(right),
        BinaryOp::And => left & right,
        BinaryOp::Or => left | right,
        BinaryOp::Xor => left ^ right,
        // The count is taken modulo 64, which is what `wrapping_shl` does with its low bits.
        BinaryOp::Shl => left.wrapping_shl(right as u32),
        BinaryOp::Lshr => uleft.wrapping_shr(right as u32) as i64,
        BinaryOp::Ashr => left.wrapping_shr(right as u32),
    }
}

/// Whether a comparison holds.
pub fn compare(cond: Cond, left: i64, right: i64) -> bool {
    let (uleft, uright) = (left as u64, right as u64);
    match cond {
        Cond::Eq => left == right,
        Cond::Ne => left != right,
        Cond::Ult => uleft < uright,
        Cond::Ule => uleft <= uright,
        Cond::Ugt => uleft > uright,
        Cond::Uge => uleft >= uright,
        Cond::Slt => left < right,
        Cond::Sle => left <= right,
        Cond::Sgt => left > right,
        Cond::Sge => left >= right,
    }
}

/// The comparison of `b` with `a` that says what this one says of `a` with `b`.
pub fn swapped(cond: Cond) -> Cond {
    match cond {
        Cond::Eq => Cond::Eq,
        Cond::Ne => Cond::Ne,
        Cond::Ult => Cond::Ugt,
        Cond::Ule => Cond::Uge,
        Cond::Ugt => Cond::Ult,
        Cond::Uge => Cond::Ule,
        Cond::Slt => Cond::Sgt,
        Cond::Sle => Cond::Sge,
        Cond::Sgt => Cond::Slt,
        Cond::Sge => Cond::Sle,
    }
}

/// Whether the operands may change places.
pub fn is_commutative(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Add | BinaryOp::Mul | BinaryOp::And | BinaryOp::Or | BinaryOp::Xor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_by_zero_and_overflow_are_those_of_ebpf() {
        assert_eq!(binary(BinaryOp::Udiv, -7, 0), 0);
        assert_eq!(binary(BinaryOp::Umod, -7, 0), -7);
        assert_eq!(binary(BinaryOp::Sdiv, -7, 0), 0);
        assert_eq!(binary(BinaryOp::Smod, -7, 0), -7);
        assert_eq!(binary(BinaryOp::Sdiv, i64::MIN, -1), i64::MIN);
        assert_eq!(binary(BinaryOp::Smod, i64::MIN, -1), 0);
        assert_eq!(binary(BinaryOp::Sdiv, -7, 2), -3);
        assert_eq!(binary(BinaryOp::Smod, -7, 2), -1);
    }

    #[test]
    fn shift_counts_are_taken_modulo_64() {
        assert_eq!(binary(BinaryOp::Shl, 1, 65), 2);
        assert_eq!(binary(BinaryOp::Lshr, -1, -1), 1);
        assert_eq!(binary(BinaryOp::Ashr, -4, 65), -2);
    }

    #[test]
    fn swapping_bytes_clears_the_rest() {
        assert_eq!(unary(UnaryOp::Bswap(Width::W16), 0x7777_1234), 0x3412);
        assert_eq!(unary(UnaryOp::Bswap(Width::W32), -2), 0xfeff_ffff);
    }
}
