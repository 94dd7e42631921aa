//! How wide the pieces of a block copy or clear may be.
//!
//! The kernel verifier wants accesses to the stack aligned on every architecture; map values and ring
//! buffer records may be accessed at any address on the architectures memql runs on, which have
//! efficient unaligned access (`check_ptr_alignment`, kernel/bpf/verifier.c).

use super::slots::slot_align;
use crate::ir::{Function, Inst, Type, Value, Width};

/// Bytes of the widest access at `ptr + off` that the kernel verifier takes, when the script's types
/// promise alignment to `known` bytes: 1, 2, 4 or 8.
pub fn widest(function: &Function, ptr: Value, off: i32, known: u32) -> u32 {
    let ptr = origin(function, ptr);
    match (function.type_of(ptr), function.def(ptr)) {
        (Type::Map | Type::Ring, _) => 8,
        (_, Some(Inst::SlotAddr { slot, off: inner })) => {
            let offset = (i64::from(*inner) + i64::from(off)).unsigned_abs();
            slot_align(&function.slots[*slot]).min(1 << offset.trailing_zeros().min(3))
        }
        _ => known,
    }
}

/// The value that a value has its bits from: casts undone.
pub fn origin(function: &Function, mut value: Value) -> Value {
    while let Some(Inst::Cast(inner)) = function.def(value) {
        value = *inner;
    }
    value
}

/// Cuts `len` bytes into accesses of at most `widest` bytes: offset and width of each.
pub fn pieces(len: u32, widest: u32) -> impl Iterator<Item = (u32, Width)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let width = [Width::W64, Width::W32, Width::W16, Width::W8]
            .into_iter()
            .find(|w| w.bytes() <= widest && w.bytes() <= len - at)?;
        at += width.bytes();
        Some((at - width.bytes(), width))
    })
}
