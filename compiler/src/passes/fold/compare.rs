//! Rules for comparisons, the same for `icmp` and for branches.

use super::bits::{low_mask, unsigned_bits};
use super::{Comparison, Folder};
use crate::ir::eval::{compare, swapped};
use crate::ir::{BinaryOp, Cond, Inst, Type, UnaryOp, Value};

impl Folder<'_> {
    pub(super) fn fold_comparison(&mut self, cond: Cond, left: Value, right: Value) -> Option<Comparison> {
        match (self.function.as_const(left), self.function.as_const(right)) {
            (Some(a), Some(b)) => Some(Comparison::Known(compare(cond, a, b))),
            (Some(_), None) => Some(Comparison::Of(swapped(cond), right, left)),
            (None, Some(imm)) => self
                .fold_bound(cond, left, right, imm)
                .or_else(|| self.fold_range(cond, left, imm))
                .or_else(|| self.fold_operand(cond, left, imm)),
            (None, None) if left == right => Some(Comparison::Known(compare(cond, 0, 0))),
            (None, None) => None,
        }
    }

    /// Comparisons with the ends of the unsigned numbers: never, always, or equality.
    fn fold_bound(&mut self, cond: Cond, left: Value, right: Value, imm: i64) -> Option<Comparison> {
        match (cond, imm) {
            (Cond::Ult, 0) | (Cond::Ugt, -1) | (Cond::Slt, i64::MIN) | (Cond::Sgt, i64::MAX) => {
                Some(Comparison::Known(false))
            }
            (Cond::Uge, 0) | (Cond::Ule, -1) | (Cond::Sge, i64::MIN) | (Cond::Sle, i64::MAX) => {
                Some(Comparison::Known(true))
            }
            (Cond::Ule, 0) => Some(Comparison::Of(Cond::Eq, left, right)),
            (Cond::Ugt, 0) => Some(Comparison::Of(Cond::Ne, left, right)),
            (Cond::Ult, 1) => Some(self.with_zero(Cond::Eq, left)),
            (Cond::Uge, 1) => Some(self.with_zero(Cond::Ne, left)),
            _ => None,
        }
    }

    /// Comparisons that a value of few bits always or never passes.
    fn fold_range(&self, cond: Cond, left: Value, imm: i64) -> Option<Comparison> {
        let bits = unsigned_bits(self.function, left);
        if bits >= 64 {
            return None;
        }
        // The value is from 0 to `max`, where signed and unsigned order agree.
        let max = low_mask(bits);
        match cond {
            Cond::Eq | Cond::Ne => {
                let possible = (0..=max).contains(&imm);
                (!possible).then_some(Comparison::Known(cond == Cond::Ne))
            }
            _ => {
                let (lowest, highest) = (compare(cond, 0, imm), compare(cond, max, imm));
                // An ordering that gives the same at both ends gives it between them.
                (lowest == highest).then_some(Comparison::Known(lowest))
            }
        }
    }

    /// Looks into how the left operand was computed.
    fn fold_operand(&mut self, cond: Cond, left: Value, imm: i64) -> Option<Comparison> {
        let def = self.function.def(left)?.clone();
        if let Inst::Select { cond: chosen, then, otherwise } = def {
            let (then, otherwise) = (self.function.as_const(then)?, self.function.as_const(otherwise)?);
            return Some(match (compare(cond, then, imm), compare(cond, otherwise, imm)) {
                (true, false) => self.with_zero(Cond::Ne, chosen),
                (false, true) => self.with_zero(Cond::Eq, chosen),
                (same, _) => Comparison::Known(same),
            });
        }
        let equal = match cond {
            Cond::Eq => true,
            Cond::Ne => false,
            _ => return None,
        };
        match def {
            // The only values of a comparison are 0 and 1 (others were dealt with by range).
            Inst::Icmp { cond: inner, left, right } => {
                let holds = (imm == 1) == equal;
                Some(Comparison::Of(if holds { inner } else { inner.negated() }, left, right))
            }
            Inst::Binary { op: BinaryOp::Sub | BinaryOp::Xor, left: a, right: b }
                if imm == 0 && self.function.type_of(a) == self.function.type_of(b) =>
            {
                Some(Comparison::Of(cond, a, b))
            }
            Inst::Binary { op: BinaryOp::Add, left: x, right } if self.function.type_of(x) == Type::I64 => {
                let added = self.function.as_const(right)?;
                let imm = self.constant(imm.wrapping_sub(added));
                Some(Comparison::Of(cond, x, imm))
            }
            Inst::Unary { op: UnaryOp::Neg, arg } if imm == 0 => Some(self.with_zero(cond, arg)),
            Inst::Cast(value) if imm == 0 => Some(self.with_zero(cond, value)),
            _ => None,
        }
    }

    fn with_zero(&mut self, cond: Cond, left: Value) -> Comparison {
        let zero = self.constant(0);
        Comparison::Of(cond, left, zero)
    }
}
