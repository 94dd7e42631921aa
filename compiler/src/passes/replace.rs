//! Replacing values by others, all at once at the end of a pass.

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;

use crate::ir::{Function, Value};

/// Values that are to be replaced, and by what. A replacement may itself be replaced.
#[derive(Default)]
pub(super) struct Replacements {
    by: SecondaryMap<Value, PackedOption<Value>>,
    any: bool,
}

impl Replacements {
    /// Replaces `old` by `new`, which is (after earlier replacements) another value.
    pub(super) fn set(&mut self, old: Value, new: Value) {
        let new = self.get(new);
        debug_assert_ne!(old, new, "a value cannot replace itself");
        self.by[old] = new.into();
        self.any = true;
    }

    /// What stands for a value now.
    pub(super) fn get(&mut self, value: Value) -> Value {
        let mut end = value;
        while let Some(next) = self.by[end].expand() {
            end = next;
        }
        // Shorten the chain, so that long ones are walked once.
        let mut at = value;
        while let Some(next) = self.by[at].expand() {
            self.by[at] = end.into();
            at = next;
        }
        end
    }

    /// Rewrites every operand in the function's blocks; says whether there was anything to replace.
    pub(super) fn apply(mut self, function: &mut Function) -> bool {
        if !self.any {
            return false;
        }
        let Function { blocks, insts, pool, .. } = function;
        for data in blocks.values_mut() {
            for &inst in &data.insts {
                insts[inst].map_args(pool, |arg| self.get(arg));
            }
            data.terminator.iter_mut().for_each(|t| t.map_args(|arg| self.get(arg)));
        }
        true
    }
}
