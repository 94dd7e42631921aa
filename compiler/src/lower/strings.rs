//! Functions of text and bytes: searching, joining, comparing, paths.
//!
//! All loops are bounded by the values' capacities, so that the kernel verifier sees them end. Constant texts are found
//! by words ([`super::scan`]).

use crate::helpers;
use crate::hir::{Expr, ExprKind};
use crate::ir::{BinaryOp as IrOp, Block, Cond, Type as IrType, Value, Width};
use crate::lower::memory::Place;
use crate::lower::probe::ProgramLowering;
use crate::types::Type;

impl ProgramLowering<'_, '_> {
    /// Where a text is in another, -1 if nowhere: tried at each place up to the NUL.
    pub fn string_index(&mut self, haystack: &Expr, needle: &Expr) -> Value {
        let hay = self.place(haystack);
        let wanted = match &needle.kind {
            ExprKind::Text(text) if text.is_empty() => return self.b.int(0),
            ExprKind::Text(text) => Needle::Constant(text.clone()),
            _ => Needle::At(self.place(needle), needle.ty.size()),
        };
        if let Needle::Constant(text) = &wanted
            && let Some(found) = self.scan_for(hay, haystack.ty.size(), text)
        {
            return found;
        }
        let capacity = i64::from(haystack.ty.size());
        // Text that was cut has no NUL, so a needle may end with the last byte.
        let places = match &wanted {
            Needle::Constant(text) => capacity - text.len() as i64 + 1,
            Needle::At(..) => capacity,
        };
        let (after, result) = self.b.block_with(IrType::I64);
        let (head, start) = self.b.block_with(IrType::I64);
        let (inside, here, next, missing) = (self.b.block(), self.b.block(), self.b.block(), self.b.block());
        let zero = self.b.int(0);
        self.b.jump(head, &[zero]);
        self.b.switch_to(head);
        self.b.branch_int(Cond::Slt, start, places, inside, missing);
        self.b.switch_to(inside);
        let at = self.b.offset(hay.ptr, start);
        let at = Place { ptr: at, align: 1, ..hay };
        match &wanted {
            Needle::Constant(text) => self.matches_constant(at, text, here, next),
            Needle::At(place, size) => {
                // At the NUL only the empty text is found.
                self.matches(at, start, capacity, *place, i64::from(*size), here, next);
            }
        }
        self.b.switch_to(here);
        self.b.jump(after, &[start]);
        self.b.switch_to(next);
        let more = self.b.binary_int(IrOp::Add, start, 1);
        let (ended, going) = (self.b.block(), self.b.block());
        let byte = self.b.load(Width::W8, false, at.ptr, at.off);
        self.b.branch_int(Cond::Eq, byte, 0, ended, going);
        self.b.switch_to(ended);
        self.b.jump(missing, &[]);
        self.b.switch_to(going);
        self.b.jump(head, &[more]);
        self.b.switch_to(missing);
        let nowhere = self.b.int(-1);
        self.b.jump(after, &[nowhere]);
        self.b.switch_to(after);
        result
    }

    /// Goes to `here` if the constant text is at the place.
    fn matches_constant(&mut self, at: Place, text: &[u8], here: Block, next: Block) {
        for (i, wanted) in text.iter().enumerate() {
            let byte = self.b.load(Width::W8, false, at.ptr, at.off + i as i32);
            let same = self.b.block();
            self.b.branch_int(Cond::Eq, byte, i64::from(*wanted), same, next);
            self.b.switch_to(same);
        }
        self.b.jump(here, &[]);
    }

    /// Goes to `here` if the text at `needle` is at the place, which is `start` bytes into `capacity`.
    #[allow(clippy::too_many_arguments)]
    fn matches(
        &mut self,
        at: Place,
        start: Value,
        capacity: i64,
        needle: Place,
        size: i64,
        here: Block,
        next: Block,
    ) {
        let (head, index) = self.b.block_with(IrType::I64);
        let (more, look, compare, same) = (self.b.block(), self.b.block(), self.b.block(), self.b.block());
        let zero = self.b.int(0);
        self.b.jump(head, &[zero]);
        self.b.switch_to(head);
        self.b.branch_int(Cond::Slt, index, size, more, here);
        self.b.switch_to(more);
        let wanted_at = self.b.offset(needle.ptr, index);
        let wanted = self.b.load(Width::W8, false, wanted_at, needle.off);
        self.b.branch_int(Cond::Eq, wanted, 0, here, look);
        self.b.switch_to(look);
        let position = self.b.binary(IrOp::Add, start, index);
        self.b.branch_int(Cond::Ult, position, capacity, compare, next);
        self.b.switch_to(compare);
        let byte_at = self.b.offset(at.ptr, index);
        let byte = self.b.load(Width::W8, false, byte_at, at.off);
        self.b.branch(Cond::Eq, byte, wanted, same, next);
        self.b.switch_to(same);
        let following = self.b.binary_int(IrOp::Add, index, 1);
        self.b.jump(head, &[following]);
    }

    /// One text after the other, in a place that has room for both.
    pub fn string_concat(&mut self, first: &Expr, second: &Expr, size: u32, to: Place) {
        let to = Place { unpadded: false, ..to };
        self.b.mem_zero(to.ptr, to.off, size);
        let from = self.place(second);
        self.write(first, to);
        let length = self.string_length(first);
        let (inside, after) = (self.b.block(), self.b.block());
        // Within the first's capacity by construction; the kernel verifier wants to see it.
        self.b.branch_int(Cond::Ule, length, i64::from(first.ty.size()), inside, after);
        self.b.switch_to(inside);
        let end = self.b.offset(to.ptr, length);
        self.b.mem_copy((end, to.off), (from.ptr, from.off), second.ty.size(), 1);
        self.b.jump(after, &[]);
        self.b.switch_to(after);
    }

    /// The difference of the first two bytes that differ, 0 if none of the first `count` do.
    pub fn mem_compare(&mut self, left: &Expr, right: &Expr, count: &Expr) -> Value {
        let bytes = |ty: &Type| match ty {
            Type::Buf { cap } => (4, *cap),
            other => (0, other.size()),
        };
        let ((left_at, left_size), (right_at, right_size)) = (bytes(&left.ty), bytes(&right.ty));
        let most = i64::from(left_size.min(right_size));
        let count = self.scalar(count);
        let (a, b) = (self.place(left).part(left_at), self.place(right).part(right_at));
        let (after, result) = self.b.block_with(IrType::I64);
        let (head, index) = self.b.block_with(IrType::I64);
        let (bounded, inside, differ, same, equal) =
            (self.b.block(), self.b.block(), self.b.block(), self.b.block(), self.b.block());
        let zero = self.b.int(0);
        self.b.jump(head, &[zero]);
        self.b.switch_to(head);
        self.b.branch_int(Cond::Ult, index, most, bounded, equal);
        self.b.switch_to(bounded);
        self.b.branch(Cond::Ult, index, count, inside, equal);
        self.b.switch_to(inside);
        let (x_at, y_at) = (self.b.offset(a.ptr, index), self.b.offset(b.ptr, index));
        let x = self.b.load(Width::W8, false, x_at, a.off);
        let y = self.b.load(Width::W8, false, y_at, b.off);
        self.b.branch(Cond::Eq, x, y, same, differ);
        self.b.switch_to(same);
        let next = self.b.binary_int(IrOp::Add, index, 1);
        self.b.jump(head, &[next]);
        self.b.switch_to(differ);
        let difference = self.b.binary(IrOp::Sub, x, y);
        self.b.jump(after, &[difference]);
        self.b.switch_to(equal);
        let zero = self.b.int(0);
        self.b.jump(after, &[zero]);
        self.b.switch_to(after);
        result
    }

    /// The path of the `struct path` at an address; empty where the kernel gives none.
    pub fn path(&mut self, address: &Expr, size: u32, to: Place) {
        self.b.mem_zero(to.ptr, to.off, size);
        let nothing = self.b.block();
        let address = match self.typed_address(address, nothing) {
            Some(address) => address,
            None => self.scalar(address),
        };
        let dest = self.b.offset_int(to.ptr, i64::from(to.off));
        let length = self.b.int(i64::from(size));
        self.b.call(helpers::D_PATH, &[address, dest, length]);
        self.b.jump(nothing, &[]);
        self.b.switch_to(nothing);
    }
}

/// The text that is looked for.
enum Needle {
    /// Known when compiling.
    Constant(Vec<u8>),
    /// In memory, with its capacity.
    At(Place, u32),
}
