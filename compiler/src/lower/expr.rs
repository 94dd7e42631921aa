//! Scalar expressions: what fits a register.
//!
//! A scalar of fewer than 64 bits is always held extended by its type's sign, so that comparing,
//! widening and printing need nothing more.

use memql_grammar::ast::BinaryOp;

use crate::hir::{Expr, ExprKind};
use crate::ir::effects;
use crate::ir::{BinaryOp as IrOp, Block, Cond, Type as IrType, UnaryOp, Value, Width};
use crate::lower::memory::Place;
use crate::lower::probe::ProgramLowering;
use crate::types::{AddrSpace, Type};

/// The IR type of a scalar in a register.
pub(super) fn ir_type(ty: &Type) -> IrType {
    match ty {
        Type::Ptr { space: AddrSpace::Context, .. } => IrType::Ctx,
        _ => IrType::I64,
    }
}

/// The width of a scalar in memory.
pub(super) fn width(ty: &Type) -> Width {
    Width::of_bytes(ty.size()).expect("scalars are 1, 2, 4 or 8 bytes")
}

impl ProgramLowering<'_, '_> {
    /// Evaluates a scalar expression.
    pub fn scalar(&mut self, e: &Expr) -> Value {
        let outer = std::mem::replace(&mut self.b.span, e.span);
        let value = self.scalar_inner(e);
        self.b.span = outer;
        value
    }

    fn scalar_inner(&mut self, e: &Expr) -> Value {
        match &e.kind {
            ExprKind::Int(value) => self.b.int(*value),
            ExprKind::Var(var) => {
                let (ptr, off) = self.var_addr(*var);
                self.b.load_as(ir_type(&e.ty), ptr, off)
            }
            ExprKind::VarAddr(var) => self.var_number(*var),
            ExprKind::MapAddr(map) => self.map_number(*map),
            ExprKind::Map { map, key } => self.map_scalar(*map, key.as_deref(), &e.ty),
            ExprKind::Builtin(builtin) => self.builtin(*builtin, &e.ty),
            ExprKind::CtxLoad { offset, bytes, signed } => {
                let ctx = self.ctx();
                let width = Width::of_bytes(*bytes).expect("context loads are 1, 2, 4 or 8 bytes");
                let value = self.b.load(width, *signed, ctx, *offset as i32);
                if u32::from(*bytes as u8) > e.ty.size() { self.extend(value, &e.ty) } else { value }
            }
            ExprKind::ProgramResult => self.program_result(&e.ty),
            ExprKind::CtxAddr { offset } => {
                let ctx = self.ctx();
                self.b.offset_int(ctx, i64::from(*offset))
            }
            ExprKind::DataLoc { offset, relative } => {
                let ctx = self.ctx();
                let word = self.b.load(Width::W32, false, ctx, *offset as i32);
                let start = self.b.binary_int(IrOp::And, word, 0xffff);
                let base = if *relative { i64::from(*offset) + 4 } else { 0 };
                let start = self.b.binary_int(IrOp::Add, start, base);
                self.b.offset(ctx, start)
            }
            ExprKind::DataLocLen { offset } => {
                let ctx = self.ctx();
                self.b.load(Width::W16, false, ctx, *offset as i32 + 2)
            }
            ExprKind::Load { addr, offset, bits } => self.load(addr, *offset, *bits, &e.ty),
            ExprKind::Extract { base, offset, bits } => {
                if let ExprKind::Map { map, key: Some(key) } = &base.kind {
                    return self.map_field(*map, key, *offset, *bits, &e.ty);
                }
                let place = self.place(base);
                self.load_field(place, *offset as i32, *bits, &e.ty)
            }
            ExprKind::Index { base, index } => self.index_scalar(base, index, &e.ty),
            ExprKind::Binary { op, left, right } => self.arithmetic(*op, left, right, &e.ty),
            ExprKind::Compare { op, left, right } => {
                let cond = condition_code(*op, left.ty.is_signed());
                let (left, right) = (self.scalar(left), self.scalar(right));
                self.b.icmp(cond, left, right)
            }
            ExprKind::Equal { .. } | ExprKind::And(..) | ExprKind::Or(..) => self.truth(e),
            ExprKind::Not(operand) => {
                let value = self.scalar(operand);
                let zero = self.b.int(0);
                self.b.icmp(Cond::Eq, value, zero)
            }
            ExprKind::Neg(operand) => {
                let value = self.scalar(operand);
                let value = self.b.unary(UnaryOp::Neg, value);
                self.extend(value, &e.ty)
            }
            ExprKind::BitNot(operand) => {
                let value = self.scalar(operand);
                let value = self.b.binary_int(IrOp::Xor, value, -1);
                self.extend(value, &e.ty)
            }
            ExprKind::Ternary { cond, then, otherwise } => {
                let (then_block, else_block) = (self.b.block(), self.b.block());
                let (after, result) = self.b.block_with(ir_type(&e.ty));
                self.condition(cond, then_block, else_block);
                for (block, value) in [(then_block, then), (else_block, otherwise)] {
                    self.b.switch_to(block);
                    let value = self.scalar(value);
                    self.b.jump(after, &[value]);
                }
                self.b.switch_to(after);
                result
            }
            ExprKind::Cast(operand) => self.cast_scalar(operand, &e.ty),
            ExprKind::IncDecVar { var, delta, postfix } => {
                let (ptr, off) = self.var_addr(*var);
                let ty = ir_type(&e.ty);
                let old = self.b.load_as(ty, ptr, off);
                let new = if ty == IrType::Ctx {
                    self.b.offset_int(old, *delta)
                } else {
                    let sum = self.b.binary_int(IrOp::Add, old, *delta);
                    self.extend(sum, &e.ty)
                };
                self.b.store(Width::W64, ptr, off, new);
                if *postfix { old } else { new }
            }
            ExprKind::IncDecMap { map, key, delta, postfix } => {
                let amount = self.b.int(*delta);
                let old = self.add_to_map(*map, key.as_deref(), amount, true);
                let old = old.expect("the old value was asked for");
                if *postfix {
                    return old;
                }
                let new = self.b.binary_int(IrOp::Add, old, *delta);
                self.extend(new, &e.ty)
            }
            ExprKind::Block(stmts, value) => {
                self.stmts(stmts);
                self.scalar(value)
            }
            ExprKind::HasKey { map, key } => self.has_key(*map, key),
            ExprKind::Delete { map, key } => self.delete(*map, key.as_deref()),
            ExprKind::MapLen(map) => self.map_len(*map, e.span),
            ExprKind::StackLen(stack) => {
                let place = self.place(stack);
                self.b.load(Width::W32, false, place.ptr, place.off + 12)
            }
            ExprKind::StrLen(string) => self.string_length(string),
            ExprKind::StrIndex { haystack, needle } => self.string_index(haystack, needle),
            ExprKind::MemCompare { left, right, count } => self.mem_compare(left, right, count),
            ExprKind::Bswap(operand) => {
                let value = self.scalar(operand);
                let swapped = self.b.unary(UnaryOp::Bswap(width(&operand.ty)), value);
                self.extend(swapped, &e.ty)
            }
            ExprKind::Helper { helper, context, args } => {
                let mut values = Vec::with_capacity(args.len() + 1);
                if *context {
                    values.push(self.ctx());
                }
                let wanted = effects::args(*helper).unwrap_or_default();
                for arg in args {
                    let value = if arg.ty.is_scalar() {
                        self.scalar(arg)
                    } else {
                        let place = self.place(arg);
                        self.b.offset_int(place.ptr, i64::from(place.off))
                    };
                    values.push(match wanted.get(values.len()) {
                        Some(effects::Arg::UserAddr) => self.b.cast(value, IrType::User),
                        _ => value,
                    });
                }
                let value = self.b.call(*helper, &values);
                self.extend(value, &e.ty)
            }
            ExprKind::Text(_)
            | ExprKind::Tuple(_)
            | ExprKind::Str { .. }
            | ExprKind::Buf { .. }
            | ExprKind::StrConcat(..)
            | ExprKind::Path(_)
            | ExprKind::NetAddress(_) => {
                unreachable!("internal error: `{}` is not a scalar", e.ty)
            }
        }
    }

    /// Extends the low bits of a value by a type's width and sign.
    pub fn extend(&mut self, value: Value, ty: &Type) -> Value {
        let narrow = match ty {
            Type::Bool => {
                let zero = self.b.int(0);
                return self.b.icmp(Cond::Ne, value, zero);
            }
            Type::Int { bits, .. } | Type::Enum { bits, .. } if *bits < 64 => width(ty),
            _ => return value,
        };
        self.b.unary(if ty.is_signed() { UnaryOp::Sext(narrow) } else { UnaryOp::Zext(narrow) }, value)
    }

    fn arithmetic(&mut self, op: BinaryOp, left: &Expr, right: &Expr, ty: &Type) -> Value {
        let (l, r) = (self.scalar(left), self.scalar(right));
        if ir_type(&left.ty) == IrType::Ctx {
            let by = if op == BinaryOp::Sub { self.b.unary(UnaryOp::Neg, r) } else { r };
            return self.b.offset(l, by);
        }
        self.apply(op, l, r, ty)
    }

    /// Applies an arithmetic operator to values at hand; the result is of type `ty`.
    pub fn apply(&mut self, op: BinaryOp, left: Value, right: Value, ty: &Type) -> Value {
        let op = match (op, ty.is_signed()) {
            (BinaryOp::Add, _) => IrOp::Add,
            (BinaryOp::Sub, _) => IrOp::Sub,
            (BinaryOp::Mul, _) => IrOp::Mul,
            (BinaryOp::Div, true) => IrOp::Sdiv,
            (BinaryOp::Div, false) => IrOp::Udiv,
            (BinaryOp::Mod, true) => IrOp::Smod,
            (BinaryOp::Mod, false) => IrOp::Umod,
            (BinaryOp::BitAnd, _) => IrOp::And,
            (BinaryOp::BitOr, _) => IrOp::Or,
            (BinaryOp::BitXor, _) => IrOp::Xor,
            (BinaryOp::Shl, _) => IrOp::Shl,
            (BinaryOp::Shr, true) => IrOp::Ashr,
            (BinaryOp::Shr, false) => IrOp::Lshr,
            (other, _) => unreachable!("internal error: {other:?} is not arithmetic"),
        };
        let value = self.b.binary(op, left, right);
        self.extend(value, ty)
    }

    fn cast_scalar(&mut self, operand: &Expr, to: &Type) -> Value {
        if !operand.ty.is_scalar() {
            // The bytes of an array or usym as an integer.
            let place = self.place(operand);
            return self.load_field(place, 0, None, to);
        }
        let value = self.scalar(operand);
        let (from_bits, to_bits) = (operand.ty.size() * 8, to.size() * 8);
        if matches!(to, Type::Bool) && !matches!(operand.ty, Type::Bool) {
            return self.extend(value, to);
        }
        // Widening keeps the register: it is already extended by the old type. A sign change of the
        // same width, or narrowing, extends anew by the new one.
        if to_bits > from_bits
            || (to_bits == from_bits && (to_bits == 64 || to.is_signed() == operand.ty.is_signed()))
        {
            if to_bits < 64 && operand.ty.is_signed() && !to.is_signed() {
                return self.extend(value, to);
            }
            return value;
        }
        self.extend(value, to)
    }

    /// Loads a scalar field of a value in memory. In a packed struct it need not be aligned, and what a
    /// bit-field shares with others may end before its type would.
    pub fn load_field(&mut self, place: Place, offset: i32, bits: Option<(u8, u8)>, ty: &Type) -> Value {
        let place = place.part(offset as u32);
        match bits {
            Some((first, count)) => {
                let value = self.load_pieces(place, (u32::from(first) + u32::from(count)).div_ceil(8));
                self.bit_field(value, bits, ty)
            }
            None if place.align >= ty.size() => self.b.load(width(ty), ty.is_signed(), place.ptr, place.off),
            None => {
                let value = self.load_pieces(place, ty.size());
                self.extend(value, ty)
            }
        }
    }

    /// Cuts a bit-field out of the storage unit it is in.
    pub fn bit_field(&mut self, value: Value, bits: Option<(u8, u8)>, ty: &Type) -> Value {
        let Some((first, count)) = bits else {
            return value;
        };
        let up = 64 - i64::from(first) - i64::from(count);
        let shifted = self.b.binary_int(IrOp::Shl, value, up);
        let op = if ty.is_signed() { IrOp::Ashr } else { IrOp::Lshr };
        self.b.binary_int(op, shifted, 64 - i64::from(count))
    }

    /// Evaluates a condition to 0 or 1 by way of its branches.
    fn truth(&mut self, e: &Expr) -> Value {
        let (yes, no) = (self.b.block(), self.b.block());
        let (after, result) = self.b.block_with(IrType::I64);
        self.condition(e, yes, no);
        for (block, value) in [(yes, 1), (no, 0)] {
            self.b.switch_to(block);
            let value = self.b.int(value);
            self.b.jump(after, &[value]);
        }
        self.b.switch_to(after);
        result
    }

    /// Goes to `yes` if the scalar is not zero, else to `no`.
    pub fn condition(&mut self, e: &Expr, yes: Block, no: Block) {
        let outer = std::mem::replace(&mut self.b.span, e.span);
        match &e.kind {
            ExprKind::And(left, right) => {
                let next = self.b.block();
                self.condition(left, next, no);
                self.b.switch_to(next);
                self.condition(right, yes, no);
            }
            ExprKind::Or(left, right) => {
                let next = self.b.block();
                self.condition(left, yes, next);
                self.b.switch_to(next);
                self.condition(right, yes, no);
            }
            ExprKind::Not(operand) => self.condition(operand, no, yes),
            ExprKind::Compare { op, left, right } => {
                let cond = condition_code(*op, left.ty.is_signed());
                let (left, right) = (self.scalar(left), self.scalar(right));
                self.b.branch(cond, left, right, yes, no);
            }
            ExprKind::Equal { left, right, len, negate } => {
                let (same, different) = if *negate { (no, yes) } else { (yes, no) };
                self.branch_equal(left, right, *len, same, different);
            }
            _ => {
                let value = self.scalar(e);
                self.b.branch_int(Cond::Ne, value, 0, yes, no);
            }
        }
        self.b.span = outer;
    }

    /// Evaluates an expression for its effect only.
    pub fn discard(&mut self, e: &Expr) {
        match &e.kind {
            ExprKind::IncDecMap { map, key, delta, .. } => {
                let amount = self.b.int(*delta);
                self.add_to_map(*map, key.as_deref(), amount, false);
            }
            ExprKind::Block(stmts, value) => {
                self.stmts(stmts);
                self.discard(value);
            }
            _ if e.ty.is_scalar() => {
                self.scalar(e);
            }
            _ if e.ty == Type::Void || !e.has_effects() => {}
            _ => {
                self.place(e);
            }
        }
    }
}

/// The comparison that an operator is.
fn condition_code(op: BinaryOp, signed: bool) -> Cond {
    match (op, signed) {
        (BinaryOp::Eq, _) => Cond::Eq,
        (BinaryOp::Ne, _) => Cond::Ne,
        (BinaryOp::Lt, true) => Cond::Slt,
        (BinaryOp::Lt, false) => Cond::Ult,
        (BinaryOp::Le, true) => Cond::Sle,
        (BinaryOp::Le, false) => Cond::Ule,
        (BinaryOp::Gt, true) => Cond::Sgt,
        (BinaryOp::Gt, false) => Cond::Ugt,
        (BinaryOp::Ge, true) => Cond::Sge,
        (BinaryOp::Ge, false) => Cond::Uge,
        (other, _) => unreachable!("internal error: {other:?} is not a comparison"),
    }
}
