//! Arithmetic and comparisons of numbers, as eBPF defines them.

use crate::ir::{BinaryOp, Cond, UnaryOp, Width};

/// `op a`
pub(super) fn unary(op: UnaryOp, a: i64) -> i64 {
    match op {
        UnaryOp::Neg => a.wrapping_neg(),
        UnaryOp::Sext(width) => sign_extend(width, a),
        UnaryOp::Zext(width) => zero_extend(width, a),
        UnaryOp::Bswap(Width::W8) => zero_extend(Width::W8, a),
        UnaryOp::Bswap(Width::W16) => i64::from((a as u16).swap_bytes()),
        UnaryOp::Bswap(Width::W32) => i64::from((a as u32).swap_bytes()),
        UnaryOp::Bswap(Width::W64) => a.swap_bytes(),
        UnaryOp::Hide => a,
    }
}

/// `op a, b`
pub(super) fn binary(op: BinaryOp, a: i64, b: i64) -> i64 {
    let (ua, ub) = (a as u64, b as u64);
    match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Udiv => ua.checked_div(ub).unwrap_or(0) as i64,
        BinaryOp::Umod => ua.checked_rem(ub).unwrap_or(ua) as i64,
        BinaryOp::Sdiv if b == 0 => 0,
        BinaryOp::Sdiv => a.wrapping_div(b),
        BinaryOp::Smod if b == 0 => a,
        BinaryOp::Smod => a.wrapping_rem(b),
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
        BinaryOp::Shl => a << (ub % 64),
        BinaryOp::Lshr => (ua >> (ub % 64)) as i64,
        BinaryOp::Ashr => a >> (ub % 64),
    }
}

/// Whether `a cc b`.
pub(super) fn holds(cond: Cond, a: i64, b: i64) -> bool {
    let (ua, ub) = (a as u64, b as u64);
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Ult => ua < ub,
        Cond::Ule => ua <= ub,
        Cond::Ugt => ua > ub,
        Cond::Uge => ua >= ub,
        Cond::Slt => a < b,
        Cond::Sle => a <= b,
        Cond::Sgt => a > b,
        Cond::Sge => a >= b,
    }
}

/// The low bits of this width, extended by their sign.
pub(super) fn sign_extend(width: Width, a: i64) -> i64 {
    let unused = 64 - width.bits();
    a << unused >> unused
}

/// The low bits of this width, extended by zeros.
pub(super) fn zero_extend(width: Width, a: i64) -> i64 {
    let unused = 64 - width.bits();
    ((a as u64) << unused >> unused) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_has_no_exceptions() {
        assert_eq!(binary(BinaryOp::Udiv, 7, 0), 0);
        assert_eq!(binary(BinaryOp::Umod, 7, 0), 7);
        assert_eq!(binary(BinaryOp::Sdiv, -7, 0), 0);
        assert_eq!(binary(BinaryOp::Smod, -7, 0), -7);
        assert_eq!(binary(BinaryOp::Sdiv, i64::MIN, -1), i64::MIN);
        assert_eq!(binary(BinaryOp::Smod, i64::MIN, -1), 0);
    }

    #[test]
    fn signed_division_rounds_towards_zero_and_the_remainder_has_the_dividends_sign() {
        assert_eq!(binary(BinaryOp::Sdiv, -7, 2), -3);
        assert_eq!(binary(BinaryOp::Smod, -7, 2), -1);
        assert_eq!(binary(BinaryOp::Smod, 7, -2), 1);
    }

    #[test]
    fn shift_counts_are_taken_modulo_64() {
        assert_eq!(binary(BinaryOp::Shl, 1, 65), 2);
        assert_eq!(binary(BinaryOp::Lshr, -1, 127), 1);
        assert_eq!(binary(BinaryOp::Ashr, -8, -62), -2);
    }

    #[test]
    fn extension_and_byte_swaps_use_the_low_bits() {
        assert_eq!(unary(UnaryOp::Sext(Width::W8), 0x1ff), -1);
        assert_eq!(unary(UnaryOp::Zext(Width::W16), -1), 0xffff);
        assert_eq!(unary(UnaryOp::Bswap(Width::W32), -0x55443323), 0xdd_cc_bb_aa);
    }
}
