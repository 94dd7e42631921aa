//! Rules for addresses: constant distances go where they cost nothing.

use super::Folder;
use crate::ir::{BinaryOp, Inst, Value};

impl Folder<'_> {
    /// The address of a slot or global plus a constant, as long as that stays inside.
    pub(super) fn fold_address(&self, base: Value, imm: i64) -> Option<Inst> {
        let moved = |off: i32, size: u32| {
            let off = i32::try_from(i64::from(off).checked_add(imm)?).ok()?;
            (0..=i64::from(size)).contains(&i64::from(off)).then_some(off)
        };
        match *self.function.def(base)? {
            Inst::SlotAddr { slot, off } => {
                Some(Inst::SlotAddr { slot, off: moved(off, self.function.slots[slot].size)? })
            }
            Inst::GlobalAddr { global, off } => {
                Some(Inst::GlobalAddr { global, off: moved(off, self.facts.globals[global].size)? })
            }
            _ => None,
        }
    }

    /// `p` and `off` where `p` is a sum with a constant that fits into the offset, which instructions
    /// encode in 16 bits.
    fn fold_offset(&self, ptr: &mut Value, off: &mut i32, bytes: u32) -> bool {
        let Some(&Inst::Binary { op: BinaryOp::Add, left, right }) = self.function.def(*ptr) else {
            return false;
        };
        let Some(imm) = self.function.as_const(right) else { return false };
        let Some(sum) = i64::from(*off).checked_add(imm) else { return false };
        let last = sum.saturating_add(i64::from(bytes));
        match (i16::try_from(sum), i16::try_from(last)) {
            (Ok(sum), Ok(_)) => {
                (*ptr, *off) = (left, i32::from(sum));
                true
            }
            _ => false,
        }
    }

    /// A memory access with the value's needless extension, and the address's constant sum, removed.
    pub(super) fn fold_access(&mut self, mut inst: Inst) -> Option<Inst> {
        let folded = match &mut inst {
            Inst::Store { width, ptr, off, value } => {
                let low = self.low_bits(*value, *width);
                let simpler = low != *value;
                *value = low;
                self.fold_offset(ptr, off, width.bytes()) || simpler
            }
            Inst::Load { width, ptr, off, .. }
            | Inst::AtomicAdd { width, ptr, off, .. }
            | Inst::AtomicFetchAdd { width, ptr, off, .. }
            | Inst::AtomicXchg { width, ptr, off, .. }
            | Inst::AtomicCmpXchg { width, ptr, off, .. } => self.fold_offset(ptr, off, width.bytes()),
            Inst::MemZero { ptr, off, len } => self.fold_offset(ptr, off, *len),
            Inst::MemCopy { dst, dst_off, src, src_off, len, .. } => {
                let dst_folded = self.fold_offset(dst, dst_off, *len);
                self.fold_offset(src, src_off, *len) || dst_folded
            }
            _ => return None,
        };
        folded.then_some(inst)
    }
}
