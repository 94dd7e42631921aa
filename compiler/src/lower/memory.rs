//! Values that live in memory: strings, buffers, tuples, structs, arrays, stacks.
//!
//! A [`Place`] is where such a value is. [`ProgramLowering::write`] builds a value where it is
//! wanted (a key, a variable, an event), so that nothing is copied twice;
//! [`ProgramLowering::place`] gives the place a value already has, or a temporary one.
//!
//! Strings are always padded with zeros up to their capacity, except in events: their reader stops
//! at the NUL, so the padding is not worth writing.

use crate::attach::ProgramKind;
use crate::helpers;
use crate::hir::{Builtin, Expr, ExprKind};
use crate::ir::{BinaryOp as IrOp, Block, Cond, Type as IrType, Value, Width};
use crate::lower::expr::width;
use crate::lower::health::count_loss;
use crate::lower::probe::{ProgramLowering, stored_size};
use crate::plan::Loss;
use crate::types::{AF_INET, AF_INET6, AddrSpace, TupleField, Type, tuple_layout};

/// How much of a text is read where it has no NUL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    /// All bytes of its capacity, none of which is a NUL then: it was cut, which is counted.
    UpToCapacity,
    /// All bytes of an array of characters.
    Array,
    /// One byte less than was asked for, then a NUL.
    UpToLength,
}

/// Where a value is in memory that programs may address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Base address.
    pub ptr: Value,
    /// Added to it.
    pub off: i32,
    /// Known alignment of the place: 1, 2, 4 or 8.
    pub align: u32,
    /// Whether only a reader that stops at the NUL will look: strings need no padding.
    pub unpadded: bool,
}

impl Place {
    /// A place at the start of 8-byte aligned memory.
    pub fn at(ptr: Value, off: i32) -> Place {
        Place { ptr, off, align: 8, unpadded: false }
    }

    /// A part of the place.
    pub fn part(self, offset: u32) -> Place {
        let align =
            if offset == 0 { self.align } else { self.align.min(1 << offset.trailing_zeros().min(3)) };
        Place { off: self.off + offset as i32, align, ..self }
    }
}

impl ProgramLowering<'_, '_> {
    /// New memory for a value of a type.
    pub fn temporary(&mut self, ty: &Type, name: Option<&str>) -> Place {
        let slot = self.b.slot(stored_size(ty), 8, name);
        let ptr = self.b.slot_addr(slot);
        Place::at(ptr, 0)
    }

    /// Where an expression's value is in memory. It stays unchanged only until the next effect.
    pub fn place(&mut self, e: &Expr) -> Place {
        match &e.kind {
            ExprKind::Var(var) if !e.ty.is_scalar() => {
                let (ptr, off) = self.var_addr(*var);
                Place::at(ptr, off)
            }
            ExprKind::Extract { base, offset, bits: None } if !e.ty.is_scalar() => {
                self.place(base).part(*offset)
            }
            ExprKind::Map { map, key: None } if !e.ty.is_scalar() => self.global_place(*map),
            ExprKind::Block(stmts, value) => {
                self.stmts(stmts);
                self.place(value)
            }
            _ => {
                let place = self.temporary(&e.ty, None);
                self.write(e, place);
                place
            }
        }
    }

    /// Evaluates an expression into memory: all `e.ty.size()` bytes of it.
    pub fn write(&mut self, e: &Expr, to: Place) {
        let outer = std::mem::replace(&mut self.b.span, e.span);
        self.write_inner(e, to);
        self.b.span = outer;
    }

    fn write_inner(&mut self, e: &Expr, to: Place) {
        if e.ty.is_scalar() {
            let value = self.scalar(e);
            self.store_int(to, e.ty.size(), value);
            return;
        }
        let size = e.ty.size();
        match &e.kind {
            ExprKind::Text(text) => self.write_text(text, size, to),
            ExprKind::Var(_) | ExprKind::Extract { .. } => {
                let from = self.place(e);
                self.copy(to, from, size);
            }
            ExprKind::Map { map, key } => self.map_read(*map, key.as_deref(), &e.ty, to),
            ExprKind::Builtin(Builtin::Comm) => {
                // Some kernels write no further than the word with the NUL (6.1 does, 5.10 and 6.12 do not).
                if !to.unpadded {
                    self.b.mem_zero(to.ptr, to.off, size);
                }
                let address = self.b.offset_int(to.ptr, i64::from(to.off));
                let length = self.b.int(i64::from(size));
                self.b.call(helpers::GET_CURRENT_COMM, &[address, length]);
            }
            ExprKind::Builtin(Builtin::Stack) => self.stack(&e.ty, to, false),
            ExprKind::Builtin(Builtin::UnwoundStack) => self.stack(&e.ty, to, true),
            ExprKind::Load { addr, offset, bits: _ } => self.read_memory(addr, *offset, &e.ty, to),
            ExprKind::Index { base, index } => {
                let Type::Array { elem, len } = &base.ty else {
                    unreachable!("internal error: indexing {}", base.ty)
                };
                let from = self.place(base);
                self.b.mem_zero(to.ptr, to.off, size);
                let (after, ptr) = self.element(from, index, elem.size(), *len);
                self.copy(to, Place { ptr, align: elem.align(), ..from }, size);
                self.b.jump(after, &[]);
                self.b.switch_to(after);
            }
            ExprKind::Ternary { cond, then, otherwise } => {
                let (yes, no, after) = (self.b.block(), self.b.block(), self.b.block());
                self.condition(cond, yes, no);
                for (block, value) in [(yes, then), (no, otherwise)] {
                    self.b.switch_to(block);
                    self.write(value, to);
                    self.b.jump(after, &[]);
                }
                self.b.switch_to(after);
            }
            ExprKind::Cast(operand) => self.write_cast(operand, &e.ty, to),
            ExprKind::Tuple(values) => {
                let Type::Tuple(fields) = &e.ty else {
                    unreachable!("internal error: a tuple of type {}", e.ty)
                };
                let layout = tuple_layout(fields);
                if fields.iter().map(|f| f.ty.size()).sum::<u32>() != layout.size {
                    self.b.mem_zero(to.ptr, to.off, layout.size);
                }
                for (value, offset) in values.iter().zip(&layout.offsets) {
                    self.write(value, to.part(*offset));
                }
            }
            ExprKind::Block(stmts, value) => {
                self.stmts(stmts);
                self.write(value, to);
            }
            ExprKind::Str { addr, len } => self.read_string(addr, len.as_deref(), size, to),
            ExprKind::Buf { addr, len } => self.read_buffer(addr, len, &e.ty, to),
            ExprKind::StrConcat(a, b) => self.string_concat(a, b, size, to),
            ExprKind::Path(address) => self.path(address, size, to),
            ExprKind::NetAddress(bytes) => self.net_address(bytes, &e.ty, to),
            ExprKind::Int(_)
            | ExprKind::VarAddr(_)
            | ExprKind::MapAddr(_)
            | ExprKind::Builtin(_)
            | ExprKind::CtxLoad { .. }
            | ExprKind::ProgramResult
            | ExprKind::CtxAddr { .. }
            | ExprKind::DataLoc { .. }
            | ExprKind::DataLocLen { .. }
            | ExprKind::Binary { .. }
            | ExprKind::Compare { .. }
            | ExprKind::Equal { .. }
            | ExprKind::And(..)
            | ExprKind::Or(..)
            | ExprKind::Not(_)
            | ExprKind::Neg(_)
            | ExprKind::BitNot(_)
            | ExprKind::IncDecVar { .. }
            | ExprKind::IncDecMap { .. }
            | ExprKind::HasKey { .. }
            | ExprKind::Delete { .. }
            | ExprKind::MapLen(_)
            | ExprKind::StackLen(_)
            | ExprKind::StrLen(_)
            | ExprKind::StrIndex { .. }
            | ExprKind::MemCompare { .. }
            | ExprKind::Helper { .. }
            | ExprKind::Bswap(_) => unreachable!("internal error: `{}` lies in no memory", e.ty),
        }
    }

    /// The bytes of an address, in front of which an IP address has its family.
    fn net_address(&mut self, bytes: &Expr, ty: &Type, to: Place) {
        let size = bytes.ty.size();
        let to = match ty {
            Type::Inet => {
                let family = self.b.int(i64::from(if size == 16 { AF_INET6 } else { AF_INET }));
                self.b.store(Width::W32, to.ptr, to.off, family);
                if size < 16 {
                    self.b.mem_zero(to.ptr, to.off + 4 + size as i32, 16 - size);
                }
                to.part(4)
            }
            _ => to,
        };
        if bytes.ty.is_scalar() {
            let value = self.scalar(bytes);
            self.store_int(to, size, value);
        } else if let ExprKind::Load { addr, offset, bits: None } = &bytes.kind {
            // All of the bytes: text would end at its first zero.
            let base = self.scalar(addr);
            let address = self.b.offset_int(base, *offset);
            let dest = self.b.offset_int(to.ptr, i64::from(to.off));
            let length = self.b.int(i64::from(size));
            self.probe_read(false, addr.space(), dest, length, address);
        } else {
            let from = self.place(bytes);
            self.copy(to, from, size);
        }
    }

    /// Stores the low bytes of a number, in pieces where the place is aligned to less than their number.
    fn store_int(&mut self, to: Place, size: u32, value: Value) {
        let mut at = 0;
        while at < size {
            let step = self.step(to.align, at, size);
            let rest = if at == 0 { value } else { self.b.binary_int(IrOp::Lshr, value, i64::from(at) * 8) };
            let width = Width::of_bytes(step).expect("steps are 1, 2, 4 or 8");
            self.b.store(width, to.ptr, to.off + at as i32, rest);
            at += step;
        }
    }

    /// Loads a number of at most 8 bytes, zero-extended, in pieces where the place is aligned to less.
    pub fn load_pieces(&mut self, from: Place, size: u32) -> Value {
        let mut at = self.step(from.align, 0, size);
        let width = |step| Width::of_bytes(step).expect("steps are 1, 2, 4 or 8");
        let mut value = self.b.load(width(at), false, from.ptr, from.off);
        while at < size {
            let step = self.step(from.align, at, size);
            let piece = self.b.load(width(step), false, from.ptr, from.off + at as i32);
            let piece = self.b.binary_int(IrOp::Shl, piece, i64::from(at) * 8);
            value = self.b.binary(IrOp::Or, value, piece);
            at += step;
        }
        value
    }

    /// Copies bytes between places.
    pub fn copy(&mut self, to: Place, from: Place, size: u32) {
        self.b.mem_copy((to.ptr, to.off), (from.ptr, from.off), size, to.align.min(from.align));
    }

    fn write_text(&mut self, text: &[u8], size: u32, to: Place) {
        // Words of the text with its NUL; then zeros, which an event does not need.
        let mut at = 0u32;
        let end = if to.unpadded { (text.len() as u32 + 1).min(size) } else { size };
        while at < end {
            let left = end - at;
            let step = [8, 4, 2, 1].into_iter().find(|s| *s <= left && *s <= to.align).unwrap_or(1);
            if at as usize >= text.len() && left > 16 {
                self.b.mem_zero(to.ptr, to.off + at as i32, left);
                return;
            }
            let mut bytes = [0u8; 8];
            for (i, byte) in bytes.iter_mut().take(step as usize).enumerate() {
                *byte = text.get(at as usize + i).copied().unwrap_or(0);
            }
            let value = self.b.int(i64::from_le_bytes(bytes));
            let step_width = Width::of_bytes(step).expect("steps are 1, 2, 4 or 8");
            self.b.store(step_width, to.ptr, to.off + at as i32, value);
            at += step;
        }
    }

    fn write_cast(&mut self, operand: &Expr, ty: &Type, to: Place) {
        let size = ty.size();
        match (&operand.ty, ty) {
            (Type::Str { cap: from }, Type::Str { cap }) if from == cap => self.write(operand, to),
            (Type::Str { cap: from }, Type::Str { cap }) if from < cap => {
                self.write(operand, to);
                // Text of all the bytes it may have ends where the longer one goes on.
                let rest = if to.unpadded { 1 } else { cap - from };
                self.b.mem_zero(to.ptr, to.off + *from as i32, rest);
            }
            (Type::Str { .. }, Type::Str { cap }) => {
                let from = self.place(operand);
                self.copy(to, from, cap - 1);
                let nul = self.b.int(0);
                self.b.store(Width::W8, to.ptr, to.off + *cap as i32 - 1, nul);
            }
            (Type::Buf { cap: from }, Type::Buf { cap }) => {
                // Buffers only grow here: a slot holds the longest that is put into it.
                debug_assert!(from <= cap);
                self.write(operand, to);
                let written = operand.ty.size();
                if !to.unpadded {
                    self.b.mem_zero(to.ptr, to.off + written as i32, size - written);
                }
            }
            (Type::Tuple(old), Type::Tuple(new)) => {
                let from = self.place(operand);
                self.b.mem_zero(to.ptr, to.off, size);
                self.convert_fields(old, from, new, to);
            }
            (from, Type::Usym) if from.is_scalar() => {
                let address = self.scalar(operand);
                let tgid = self.tgid();
                self.b.store(Width::W64, to.ptr, to.off, address);
                self.b.store(Width::W64, to.ptr, to.off + 8, tgid);
            }
            (from, _) if from.is_scalar() && from.size() == size => {
                let value = self.scalar(operand);
                self.store_int(to, size, value);
            }
            _ if operand.ty.size() == size => self.write(operand, to),
            (from, _) => unreachable!("internal error: no conversion from `{from}` to `{ty}`"),
        }
    }

    /// Converts a tuple's fields that lie in memory to those of another type, in memory that is zero.
    fn convert_fields(&mut self, old: &[TupleField], from: Place, new: &[TupleField], to: Place) {
        let (old_layout, new_layout) = (tuple_layout(old), tuple_layout(new));
        for (index, (a, b)) in old.iter().zip(new).enumerate() {
            let from = from.part(old_layout.offsets[index]);
            self.convert_part(&a.ty, from, &b.ty, to.part(new_layout.offsets[index]));
        }
    }

    /// Converts one value that lies in memory to another type, in memory that is zero.
    fn convert_part(&mut self, old: &Type, from: Place, new: &Type, to: Place) {
        match (old, new) {
            _ if old == new => self.copy(to, from, new.size()),
            (Type::Str { cap: a }, Type::Str { cap: b }) => self.copy(to, from, (*a).min(b - 1)),
            (Type::Buf { .. }, Type::Buf { .. }) => self.copy(to, from, old.size().min(new.size())),
            (Type::Tuple(old), Type::Tuple(new)) => self.convert_fields(old, from, new, to),
            _ if old.is_scalar() && new.is_scalar() => {
                let value = self.load_field(from, 0, None, old);
                self.store_int(to, new.size(), value);
            }
            _ if old.size() == new.size() => self.copy(to, from, new.size()),
            _ => unreachable!("internal error: no conversion from `{old}` to `{new}`"),
        }
    }

    /// Which helper reads an address space, and which loss a failure is.
    pub fn reader(&self, space: AddrSpace) -> AddrSpace {
        match space {
            AddrSpace::Unknown if self.kind.is_user() => AddrSpace::User,
            AddrSpace::Unknown => AddrSpace::Kernel,
            known => known,
        }
    }

    /// Calls a probe-read helper and counts its failure; gives its result.
    fn probe_read(
        &mut self,
        string: bool,
        space: AddrSpace,
        to: Value,
        size: Value,
        address: Value,
    ) -> Value {
        let space = self.reader(space);
        let (helper, loss, ty) = match (space, string) {
            (AddrSpace::User, false) => (helpers::PROBE_READ_USER, Loss::UserRead, IrType::User),
            (AddrSpace::User, true) => (helpers::PROBE_READ_USER_STR, Loss::UserRead, IrType::User),
            (_, false) => (helpers::PROBE_READ_KERNEL, Loss::KernelRead, IrType::Kernel),
            (_, true) => (helpers::PROBE_READ_KERNEL_STR, Loss::KernelRead, IrType::Kernel),
        };
        let address = if space == AddrSpace::Context { address } else { self.b.cast(address, ty) };
        let status = self.b.call(helper, &[to, size, address]);
        let counter = self.loss_counter(loss);
        self.b.when(Cond::Slt, status, 0, |b| count_loss(b, counter));
        status
    }

    /// Loads a scalar through a pointer.
    pub fn load(&mut self, addr: &Expr, offset: i64, bits: Option<(u8, u8)>, ty: &Type) -> Value {
        if let ExprKind::CtxAddr { offset: base } = addr.kind {
            let offset = base as i32 + offset as i32;
            if let Some(pointer) = self.iterator_pointer(offset, ty) {
                return pointer;
            }
            let value = self.context_load(offset, ty, bits.is_some());
            return self.bit_field(value, bits, ty);
        }
        let base = self.scalar(addr);
        let address = self.b.offset_int(base, offset);
        let to = self.read_word(address, addr.space(), ty.size());
        let value = self.b.load(width(ty), bits.is_none() && ty.is_signed(), to, 0);
        self.bit_field(value, bits, ty)
    }

    /// Loads a scalar out of the context. Of a perf event's the kernel gives whole words only.
    fn context_load(&mut self, offset: i32, ty: &Type, bit_field: bool) -> Value {
        let ctx = self.ctx();
        if self.kind != ProgramKind::PerfEvent || width(ty) == Width::W64 {
            return self.b.load(width(ty), !bit_field && ty.is_signed(), ctx, offset);
        }
        let word = self.b.load(Width::W64, false, ctx, offset & !7);
        let shifted = self.b.binary_int(IrOp::Lshr, word, i64::from(offset & 7) * 8);
        self.extend(shifted, ty)
    }

    /// Reads up to 8 bytes into a slot; gives the slot's address.
    fn read_word(&mut self, address: Value, space: AddrSpace, bytes: u32) -> Value {
        let slot = self.b.slot(8, 8, None);
        let to = self.b.slot_addr(slot);
        let size = self.b.int(i64::from(bytes));
        self.probe_read(false, space, to, size, address);
        to
    }

    /// Loads a pointer at an address.
    pub fn load_pointer(&mut self, address: Value, space: AddrSpace) -> Value {
        let to = self.read_word(address, space, 8);
        self.b.load(Width::W64, false, to, 0)
    }

    /// Reads a string, struct or array through a pointer.
    fn read_memory(&mut self, addr: &Expr, offset: i64, ty: &Type, to: Place) {
        if let (ProgramKind::PerfEvent, ExprKind::CtxAddr { offset: base }) = (self.kind, &addr.kind) {
            return self.copy_perf_context(*base as i32 + offset as i32, ty.size(), to);
        }
        let base = self.scalar(addr);
        let address = self.b.offset_int(base, offset);
        let size = ty.size();
        if matches!(ty, Type::Str { .. }) {
            let length = self.b.int(i64::from(size));
            self.read_string_at(address, addr.space(), length, size, Whole::Array, to);
        } else {
            let dest = self.b.offset_int(to.ptr, i64::from(to.off));
            let length = self.b.int(i64::from(size));
            self.probe_read(false, addr.space(), dest, length, address);
        }
    }

    /// Copies a part of a perf event's context, which is not in memory as programs see it.
    fn copy_perf_context(&mut self, offset: i32, size: u32, to: Place) {
        let byte = Type::Int { bits: 8, signed: false };
        let mut at = 0;
        while at < size as i32 {
            let whole = (offset + at) % 8 == 0 && size as i32 - at >= 8 && to.part(at as u32).align == 8;
            let ty = if whole { &Type::U64 } else { &byte };
            let value = self.context_load(offset + at, ty, false);
            self.b.store(width(ty), to.ptr, to.off + at, value);
            at += ty.size() as i32;
        }
    }

    fn read_string(&mut self, addr: &Expr, len: Option<&Expr>, cap: u32, to: Place) {
        let address = self.scalar(addr);
        let most = i64::from(cap);
        let length = match len {
            None => self.b.int(most),
            Some(len) => match len.as_int() {
                Some(n) if (0..=most).contains(&n) => self.b.int(n),
                Some(_) => self.b.int(most),
                None => {
                    let wanted = self.scalar(len);
                    self.at_most(wanted, most)
                }
            },
        };
        let whole = if len.is_none() { Whole::UpToCapacity } else { Whole::UpToLength };
        self.read_string_at(address, addr.space(), length, cap, whole, to);
    }

    /// The smaller of a value (unsigned) and a bound, such that the kernel verifier sees the bound.
    pub fn at_most(&mut self, value: Value, bound: i64) -> Value {
        let (after, result) = self.b.block_with(IrType::I64);
        let (large, small) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Ugt, value, bound, large, small);
        self.b.switch_to(large);
        let limit = self.b.int(bound);
        self.b.jump(after, &[limit]);
        self.b.switch_to(small);
        self.b.jump(after, &[value]);
        self.b.switch_to(after);
        result
    }

    /// Reads text up to its NUL, at most `length` bytes.
    pub fn read_string_at(
        &mut self,
        address: Value,
        space: AddrSpace,
        length: Value,
        cap: u32,
        whole: Whole,
        to: Place,
    ) {
        if to.unpadded {
            // A failing read zeroes only what it was allowed to write, which may be nothing.
            let zero = self.b.int(0);
            self.b.store(Width::W8, to.ptr, to.off, zero);
        } else {
            self.b.mem_zero(to.ptr, to.off, cap);
        }
        let dest = self.b.offset_int(to.ptr, i64::from(to.off));
        let copied = self.probe_read(true, space, dest, length, address);
        if whole == Whole::UpToLength {
            return;
        }
        // The helper puts a NUL in the last byte's place: read what is there.
        let last = i64::from(cap) - 1;
        let (full, after) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Eq, copied, i64::from(cap), full, after);
        self.b.switch_to(full);
        let (at, from) = (self.b.offset_int(dest, last), self.b.offset_int(address, last));
        let one = self.b.int(1);
        self.probe_read(false, space, at, one, from);
        if whole == Whole::UpToCapacity {
            let byte = self.b.load(Width::W8, false, to.ptr, to.off + last as i32);
            let counter = self.loss_counter(Loss::StringCut);
            self.b.when(Cond::Ne, byte, 0, |b| count_loss(b, counter));
        }
        self.b.jump(after, &[]);
        self.b.switch_to(after);
    }

    fn read_buffer(&mut self, addr: &Expr, len: &Expr, ty: &Type, to: Place) {
        let Type::Buf { cap } = *ty else { unreachable!("internal error: a buffer of type {ty}") };
        if !to.unpadded {
            self.b.mem_zero(to.ptr, to.off, ty.size());
        }
        let wanted = self.scalar(len);
        let length = match len.as_int() {
            Some(n) => self.b.int(n.clamp(0, i64::from(cap))),
            None => self.at_most(wanted, i64::from(cap)),
        };
        self.b.store(Width::W32, to.ptr, to.off, length);
        if !addr.ty.is_scalar() {
            // The bytes of a value at hand (an array).
            let from = self.place(addr);
            self.copy(to.part(4), from, cap.min(addr.ty.size()));
            return;
        }
        let address = self.scalar(addr);
        let dest = self.b.offset_int(to.ptr, i64::from(to.off) + 4);
        self.probe_read(false, addr.space(), dest, length, address);
    }

    /// Goes on only when the index is inside; gives the block after, where an index outside goes
    /// straight to, and the element's address less the place's offset.
    fn element(&mut self, from: Place, index: &Expr, size: u32, len: u32) -> (Block, Value) {
        let index = self.scalar(index);
        let (inside, after) = (self.b.block(), self.b.block());
        self.b.branch_int(Cond::Ult, index, i64::from(len), inside, after);
        self.b.switch_to(inside);
        let bytes = self.b.binary_int(IrOp::Mul, index, i64::from(size));
        let address = self.b.offset(from.ptr, bytes);
        (after, address)
    }

    /// An array element with an index known only at run time.
    pub fn index_scalar(&mut self, base: &Expr, index: &Expr, ty: &Type) -> Value {
        let Type::Array { elem, len } = &base.ty else {
            unreachable!("internal error: indexing {}", base.ty)
        };
        let from = self.place(base);
        let result = self.temporary(&Type::I64, None);
        let zero = self.b.int(0);
        self.b.store(Width::W64, result.ptr, result.off, zero);
        let (after, address) = self.element(from, index, elem.size(), *len);
        let place = Place { ptr: address, align: from.align.min(elem.align()), ..from };
        let value = self.load_field(place, 0, None, ty);
        self.b.store(Width::W64, result.ptr, result.off, value);
        self.b.jump(after, &[]);
        self.b.switch_to(after);
        self.b.load(Width::W64, false, result.ptr, result.off)
    }

    /// Goes to `same` if two values are equal, else to `different`.
    pub fn branch_equal(
        &mut self,
        left: &Expr,
        right: &Expr,
        len: Option<u32>,
        same: Block,
        different: Block,
    ) {
        let strings = matches!((&left.ty, &right.ty), (Type::Str { .. }, Type::Str { .. }));
        let mut size = left.ty.size().min(right.ty.size());
        // A constant is compared as immediates, and no further than its NUL.
        for (text, other) in [(left, right), (right, left)] {
            if let ExprKind::Text(bytes) = &text.kind {
                let end = (bytes.len() as u32 + 1).min(other.ty.size());
                let end = len.map_or(end, |n| n.min(end));
                let place = self.place(other);
                self.compare_text(place, &bytes.clone(), end, different);
                self.b.jump(same, &[]);
                return;
            }
        }
        if strings && let Some(len) = len {
            size = size.min(len);
        }
        let (a, b) = (self.place(left), self.place(right));
        let mut at = 0;
        while at < size {
            let step = self.step(a.align.min(b.align), at, size);
            let step_width = Width::of_bytes(step).expect("steps are 1, 2, 4 or 8");
            let x = self.b.load(step_width, false, a.ptr, a.off + at as i32);
            let y = self.b.load(step_width, false, b.ptr, b.off + at as i32);
            let next = self.b.block();
            self.b.branch(Cond::Eq, x, y, next, different);
            self.b.switch_to(next);
            at += step;
        }
        self.b.jump(same, &[]);
    }

    fn compare_text(&mut self, place: Place, text: &[u8], end: u32, different: Block) {
        let mut at = 0;
        while at < end {
            let step = self.step(place.align, at, end);
            let mut bytes = [0u8; 8];
            for (i, byte) in bytes.iter_mut().take(step as usize).enumerate() {
                *byte = text.get(at as usize + i).copied().unwrap_or(0);
            }
            let step_width = Width::of_bytes(step).expect("steps are 1, 2, 4 or 8");
            let value = self.b.load(step_width, false, place.ptr, place.off + at as i32);
            let next = self.b.block();
            self.b.branch_int(Cond::Eq, value, i64::from_le_bytes(bytes), next, different);
            self.b.switch_to(next);
            at += step;
        }
    }

    /// The widest aligned step at an offset.
    fn step(&self, align: u32, at: u32, end: u32) -> u32 {
        let here = if at == 0 { 8 } else { 1 << at.trailing_zeros().min(3) };
        [8, 4, 2, 1].into_iter().find(|s| *s <= align && *s <= here && at + *s <= end).unwrap_or(1)
    }
}
