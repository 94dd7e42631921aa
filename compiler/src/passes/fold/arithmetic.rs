//! Rules for one- and two-operand operations and `select`.

use super::bits::{is_sign_extended, low_mask, unsigned_bits};
use super::{Folded, Folder};
use crate::ir::eval;
use crate::ir::{BinaryOp, Cond, Inst, Type, UnaryOp, Value, Width};

impl Folder<'_> {
    pub(super) fn fold_unary(&mut self, op: UnaryOp, arg: Value) -> Option<Folded> {
        if let Some(imm) = self.function.as_const(arg)
            && op != UnaryOp::Hide
        {
            return Some(Folded::Const(eval::unary(op, imm)));
        }
        match op {
            UnaryOp::Hide => None,
            UnaryOp::Neg => match self.function.def(arg)? {
                Inst::Unary { op: UnaryOp::Neg, arg: inner } => Some(Folded::Value(*inner)),
                _ => None,
            },
            UnaryOp::Zext(width) => {
                if unsigned_bits(self.function, arg) <= width.bits() {
                    return Some(Folded::Value(arg));
                }
                let inner = self.low_bits(arg, width);
                (inner != arg).then_some(Folded::Inst(Inst::Unary { op, arg: inner }))
            }
            UnaryOp::Sext(width) => {
                if is_sign_extended(self.function, arg, width) {
                    return Some(Folded::Value(arg));
                }
                let inner = self.low_bits(arg, width);
                (inner != arg).then_some(Folded::Inst(Inst::Unary { op, arg: inner }))
            }
            UnaryOp::Bswap(width) => match self.function.def(arg)? {
                Inst::Unary { op: UnaryOp::Bswap(inner), arg } if *inner == width => {
                    Some(Folded::Inst(Inst::Unary { op: UnaryOp::Zext(width), arg: *arg }))
                }
                _ => {
                    let inner = self.low_bits(arg, width);
                    (inner != arg).then_some(Folded::Inst(Inst::Unary { op, arg: inner }))
                }
            },
        }
    }

    /// A value with the same low bits that takes less to compute: extensions of as many bits or more,
    /// and masks that keep them all, do not matter.
    pub(super) fn low_bits(&self, value: Value, width: Width) -> Value {
        match self.function.def(value) {
            Some(Inst::Unary { op: UnaryOp::Sext(from) | UnaryOp::Zext(from), arg })
                if from.bits() >= width.bits() =>
            {
                *arg
            }
            Some(Inst::Binary { op: BinaryOp::And, left, right }) => match self.function.as_const(*right) {
                Some(mask) if eval::sext(width, mask) == -1 => *left,
                _ => value,
            },
            _ => value,
        }
    }

    pub(super) fn fold_binary(
        &mut self,
        op: BinaryOp,
        left: Value,
        right: Value,
        ty: Type,
    ) -> Option<Folded> {
        if let (Some(a), Some(b)) = (self.function.as_const(left), self.function.as_const(right)) {
            return Some(Folded::Const(eval::binary(op, a, b)));
        }
        // A constant address next to an integer is left alone: the sum's type would be lost with it.
        match (self.integer(left), self.integer(right)) {
            (Some(_), None) if eval::is_commutative(op) => {
                Some(Folded::Inst(Inst::Binary { op, left: right, right: left }))
            }
            (Some(imm), _) => self.fold_constant_left(op, imm, right),
            (None, Some(imm)) => {
                self.fold_constant_right(op, left, imm).or_else(|| self.fold_chain(op, left, imm, ty))
            }
            (None, None) => self.fold_values(op, left, right),
        }
    }

    /// The constant of type I64 that a value is, if it is one.
    fn integer(&self, value: Value) -> Option<i64> {
        self.function.as_const(value).filter(|_| self.function.type_of(value) == Type::I64)
    }

    fn fold_constant_left(&self, op: BinaryOp, imm: i64, right: Value) -> Option<Folded> {
        match (op, imm) {
            (BinaryOp::Sub, 0) => Some(Folded::Inst(Inst::Unary { op: UnaryOp::Neg, arg: right })),
            (BinaryOp::Shl | BinaryOp::Lshr | BinaryOp::Udiv | BinaryOp::Sdiv, 0) => Some(Folded::Const(0)),
            (BinaryOp::Ashr, 0 | -1) => Some(Folded::Const(imm)),
            // 0 modulo anything, 0 included, is 0.
            (BinaryOp::Umod | BinaryOp::Smod, 0) => Some(Folded::Const(0)),
            _ => None,
        }
    }

    fn fold_constant_right(&mut self, op: BinaryOp, left: Value, imm: i64) -> Option<Folded> {
        let power = (imm as u64).is_power_of_two().then(|| i64::from(imm.trailing_zeros()));
        match (op, imm) {
            (BinaryOp::Add | BinaryOp::Sub | BinaryOp::Or | BinaryOp::Xor, 0)
            | (BinaryOp::Mul | BinaryOp::Udiv | BinaryOp::Sdiv, 1)
            | (BinaryOp::And, -1)
            // Modulo by zero leaves the dividend.
            | (BinaryOp::Umod | BinaryOp::Smod, 0) => Some(Folded::Value(left)),
            (BinaryOp::Mul | BinaryOp::And | BinaryOp::Udiv | BinaryOp::Sdiv, 0)
            | (BinaryOp::Umod, 1)
            | (BinaryOp::Smod, 1 | -1) => Some(Folded::Const(0)),
            (BinaryOp::Or, -1) => Some(Folded::Const(-1)),
            (BinaryOp::Mul | BinaryOp::Sdiv, -1) => Some(Folded::Inst(Inst::Unary { op: UnaryOp::Neg, arg: left })),
            (BinaryOp::Sub, _) => Some(self.with_constant(BinaryOp::Add, left, imm.wrapping_neg())),
            (BinaryOp::Mul, _) => power.map(|power| self.with_constant(BinaryOp::Shl, left, power)),
            (BinaryOp::Udiv, _) => power.map(|power| self.with_constant(BinaryOp::Lshr, left, power)),
            (BinaryOp::Umod, _) => power.map(|_| self.with_constant(BinaryOp::And, left, imm.wrapping_sub(1))),
            (BinaryOp::Sdiv | BinaryOp::Smod, _) => self.fold_signed_division(op, left, imm),
            (BinaryOp::Shl | BinaryOp::Lshr | BinaryOp::Ashr, _) if imm & 63 != imm => {
                Some(self.with_constant(op, left, imm & 63))
            }
            (BinaryOp::Shl | BinaryOp::Lshr | BinaryOp::Ashr, 0) => Some(Folded::Value(left)),
            (BinaryOp::And, _) => self.fold_mask(left, imm),
            (BinaryOp::Xor, 1) => match *self.function.def(left)? {
                Inst::Icmp { cond, left, right } => {
                    Some(Folded::Inst(Inst::Icmp { cond: cond.negated(), left, right }))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Dividing what is not negative by what is not negative is unsigned; by a power of two it takes
    /// shifts and an addition that makes negative dividends round towards zero.
    fn fold_signed_division(&mut self, op: BinaryOp, left: Value, imm: i64) -> Option<Folded> {
        if imm > 0 && unsigned_bits(self.function, left) < 64 {
            let op = if op == BinaryOp::Sdiv { BinaryOp::Udiv } else { BinaryOp::Umod };
            return Some(self.with_constant(op, left, imm));
        }
        if imm < 2 || !(imm as u64).is_power_of_two() {
            return None;
        }
        let power = i64::from(imm.trailing_zeros());
        let sign = self.binary_constant(BinaryOp::Ashr, left, 63);
        let bias = self.binary_constant(BinaryOp::Lshr, sign, 64 - power);
        let biased = self.emit(Inst::Binary { op: BinaryOp::Add, left, right: bias }, Type::I64);
        if op == BinaryOp::Sdiv {
            return Some(self.with_constant(BinaryOp::Ashr, biased, power));
        }
        let multiple = self.binary_constant(BinaryOp::And, biased, imm.wrapping_neg());
        Some(Folded::Inst(Inst::Binary { op: BinaryOp::Sub, left, right: multiple }))
    }

    /// `and` with a mask that keeps every bit there may be.
    fn fold_mask(&mut self, left: Value, mask: i64) -> Option<Folded> {
        let bits = unsigned_bits(self.function, left);
        let possible = low_mask(bits);
        match (mask & possible, mask) {
            (0, _) => Some(Folded::Const(0)),
            (kept, _) if kept == possible => Some(Folded::Value(left)),
            (_, 0xffff_ffff) => Some(Folded::Inst(Inst::Unary { op: UnaryOp::Zext(Width::W32), arg: left })),
            _ => match *self.function.def(left)? {
                // Bits above the mask do not matter.
                Inst::Unary { op: UnaryOp::Sext(width) | UnaryOp::Zext(width), arg }
                    if eval::zext(width, mask) == mask =>
                {
                    Some(self.with_constant(BinaryOp::And, arg, mask))
                }
                _ => None,
            },
        }
    }

    /// `(x op a) op imm` as one operation.
    fn fold_chain(&mut self, op: BinaryOp, left: Value, imm: i64, ty: Type) -> Option<Folded> {
        if op == BinaryOp::Add
            && let Some(address) = self.fold_address(left, imm)
        {
            return Some(Folded::Inst(address));
        }
        let Inst::Binary { op: inner, left: x, right } = *self.function.def(left)? else { return None };
        let before = self.integer(right)?;
        // The kernel verifier knows how far an address of memory has moved; keep its steps few and typed.
        if self.function.type_of(x) != ty {
            return None;
        }
        let fits = |count: i64| count < 64;
        match (inner, op) {
            (BinaryOp::Add, BinaryOp::Add) => Some(self.with_constant(op, x, before.wrapping_add(imm))),
            (BinaryOp::And, BinaryOp::And) => Some(self.with_constant(op, x, before & imm)),
            (BinaryOp::Or, BinaryOp::Or) => Some(self.with_constant(op, x, before | imm)),
            (BinaryOp::Xor, BinaryOp::Xor) => Some(self.with_constant(op, x, before ^ imm)),
            (BinaryOp::Mul, BinaryOp::Mul) => Some(self.with_constant(op, x, before.wrapping_mul(imm))),
            (BinaryOp::Shl, BinaryOp::Shl) | (BinaryOp::Lshr, BinaryOp::Lshr) => {
                let count = (before & 63) + imm;
                Some(if fits(count) { self.with_constant(op, x, count) } else { Folded::Const(0) })
            }
            (BinaryOp::Ashr, BinaryOp::Ashr) => {
                let count = (before & 63) + imm;
                Some(self.with_constant(op, x, count.min(63)))
            }
            (BinaryOp::Shl, BinaryOp::Lshr | BinaryOp::Ashr) if before == imm => {
                let width = Width::of_bytes(u32::try_from(64 - imm).ok()? / 8)
                    .filter(|w| i64::from(w.bits()) == 64 - imm)?;
                let op = if op == BinaryOp::Lshr { UnaryOp::Zext(width) } else { UnaryOp::Sext(width) };
                Some(Folded::Inst(Inst::Unary { op, arg: x }))
            }
            _ => None,
        }
    }

    fn fold_values(&mut self, op: BinaryOp, left: Value, right: Value) -> Option<Folded> {
        let function = &*self.function;
        if left == right && function.type_of(left) == Type::I64 {
            match op {
                BinaryOp::Sub | BinaryOp::Xor => return Some(Folded::Const(0)),
                BinaryOp::And | BinaryOp::Or => return Some(Folded::Value(left)),
                _ => {}
            }
        }
        let fits_unsigned = |value| unsigned_bits(function, value) < 64;
        match op {
            BinaryOp::Sdiv if fits_unsigned(left) && fits_unsigned(right) => {
                Some(Folded::Inst(Inst::Binary { op: BinaryOp::Udiv, left, right }))
            }
            BinaryOp::Smod if fits_unsigned(left) && fits_unsigned(right) => {
                Some(Folded::Inst(Inst::Binary { op: BinaryOp::Umod, left, right }))
            }
            BinaryOp::Add => match *function.def(right)? {
                Inst::Unary { op: UnaryOp::Neg, arg } if function.type_of(left).is_number() => {
                    Some(Folded::Inst(Inst::Binary { op: BinaryOp::Sub, left, right: arg }))
                }
                _ => None,
            },
            BinaryOp::Sub => match *function.def(right)? {
                Inst::Unary { op: UnaryOp::Neg, arg } => {
                    Some(Folded::Inst(Inst::Binary { op: BinaryOp::Add, left, right: arg }))
                }
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn fold_select(&mut self, cond: Value, then: Value, otherwise: Value) -> Option<Folded> {
        if then == otherwise {
            return Some(Folded::Value(then));
        }
        if let Some(imm) = self.function.as_const(cond) {
            return Some(Folded::Value(if imm != 0 { then } else { otherwise }));
        }
        if let Some(Inst::Icmp { cond: test @ (Cond::Eq | Cond::Ne), left, right }) = self.function.def(cond)
            && self.function.as_const(*right) == Some(0)
        {
            let (cond, equal) = (*left, *test == Cond::Eq);
            let (then, otherwise) = if equal { (otherwise, then) } else { (then, otherwise) };
            return Some(Folded::Inst(Inst::Select { cond, then, otherwise }));
        }
        let integers = self.function.type_of(then) == Type::I64;
        match (self.function.as_const(then), self.function.as_const(otherwise)) {
            (Some(1), Some(0)) if integers => Some(self.select_test(Cond::Ne, cond)),
            (Some(0), Some(1)) if integers => Some(self.select_test(Cond::Eq, cond)),
            _ => None,
        }
    }

    fn select_test(&mut self, cond: Cond, value: Value) -> Folded {
        let zero = self.constant(0);
        Folded::Inst(Inst::Icmp { cond, left: value, right: zero })
    }

    fn with_constant(&mut self, op: BinaryOp, left: Value, imm: i64) -> Folded {
        let right = self.constant(imm);
        Folded::Inst(Inst::Binary { op, left, right })
    }

    fn binary_constant(&mut self, op: BinaryOp, left: Value, imm: i64) -> Value {
        let right = self.constant(imm);
        self.emit(Inst::Binary { op, left, right }, Type::I64)
    }
}
