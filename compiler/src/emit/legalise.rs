//! Rewrites what one eBPF operation cannot do into instructions that it can.
//!
//! ```text
//! load.u64 v1+40000              v2 = add v1, 40000; load.u64 v2
//! load.u64 global3+8             load.u64 global0+(offset of global3 + 8): one base for all globals
//! sdiv v1, v2                    signs taken off, udiv, signs put back (see below)
//! udiv v1, 0                     0; umod v1, 0 is v1: the kernel verifier refuses a constant zero
//! sdiv v1, -1                    neg v1; smod v1, -1 is 0
//! mem_copy d, s, 4096            call probe_read_kernel(d, 4096, s)
//! mem_zero d, 4096               call probe_read_kernel(d, 4096, 0), which fails and clears d
//! v1 = call map_update_elem(..)  v2 = call map_update_elem(..); v1 = sext.32 v2
//! ```
//!
//! Relies on nothing; keeps every value's meaning. Runs after the passes and before allocation. What
//! cpu v4 has is left alone where `features` says so, except division by a variable: on kernels without commit
//! 7dd34d7b7dcf ("bpf: Fix a sdiv overflow issue") `i64::MIN / -1` traps.
//!
//! The last rewrite: before commit d7ba4cc900bf ("bpf: return long from bpf_map_ops funcs", Linux 6.4) the
//! operations of maps return an `int` that the program gets without its upper half extended, so -2 arrives as
//! 4294967294. Kernels with cpu v4 (6.6) have the commit.

use memql_grammar::ast::Span;

use crate::alloc::memory::{origin, pieces, widest};
use crate::helpers;
use crate::ir::{
    BinaryOp, Block, DefinedBy, Function, Global, GlobalDef, Helper, Inst, InstId, Module, Type, UnaryOp,
    Value, ValueList, Width,
};
use crate::target::Features;

/// Copies of more accesses than this become calls.
const INLINE_COPY_PIECES: usize = 32;

/// Clearing by more stores than this becomes a call.
const INLINE_ZERO_PIECES: usize = 64;

/// Makes all functions legal.
pub fn legalise(module: &mut Module, features: &Features) {
    let Module { globals, programs, .. } = module;
    let globals: Vec<(Global, &GlobalDef)> = globals.iter().collect();
    for function in programs.iter_mut().flat_map(|p| p.functions.values_mut()) {
        let mut legaliser = Legaliser { function, features, globals: &globals, bases: Vec::new() };
        for block in legaliser.function.blocks.keys().collect::<Vec<_>>() {
            legaliser.block(block);
        }
        let Legaliser { function, bases, .. } = legaliser;
        let entry = function.entry();
        let bases = bases.into_iter().filter_map(|(_, value)| defining(function, value)).collect::<Vec<_>>();
        function.blocks[entry].insts.splice(0..0, bases);
    }
}

/// Whether older kernels leave the upper half of this helper's result undefined.
fn returns_int(helper: Helper) -> bool {
    matches!(helper, helpers::MAP_UPDATE_ELEM | helpers::MAP_DELETE_ELEM | helpers::FOR_EACH_MAP_ELEM)
}

fn defining(function: &Function, value: Value) -> Option<InstId> {
    match function.values[value].by {
        DefinedBy::Inst(inst) => Some(inst),
        DefinedBy::Param(..) => None,
    }
}

struct Legaliser<'a> {
    function: &'a mut Function,
    features: &'a Features,
    globals: &'a [(Global, &'a GlobalDef)],
    /// Address of the 32 kB window of `.bss` with this number.
    bases: Vec<(i64, Value)>,
}

/// The instructions that take the place of one.
struct Sequence {
    insts: Vec<InstId>,
    span: Span,
}

impl Legaliser<'_> {
    fn block(&mut self, block: Block) {
        let old = std::mem::take(&mut self.function.blocks[block].insts);
        let mut sequence = Sequence { insts: Vec::with_capacity(old.len()), span: Span::default() };
        for inst in old {
            sequence.span = self.function.spans[inst];
            self.inst(inst, &mut sequence);
            sequence.insts.push(inst);
        }
        self.function.blocks[block].insts = sequence.insts;
    }

    /// Rewrites one instruction in place, after what it needs before it.
    fn inst(&mut self, inst: InstId, out: &mut Sequence) {
        let new = match self.function.insts[inst].clone() {
            Inst::Load { width, signed, ptr, off } => {
                let (ptr, off) = self.address(out, ptr, off, width.bytes());
                Inst::Load { width, signed, ptr, off }
            }
            Inst::Store { width, ptr, off, value } => {
                let (ptr, off) = self.address(out, ptr, off, width.bytes());
                Inst::Store { width, ptr, off, value }
            }
            Inst::AtomicAdd { width, ptr, off, value } => {
                let (ptr, off) = self.address(out, ptr, off, width.bytes());
                Inst::AtomicAdd { width, ptr, off, value }
            }
            Inst::AtomicFetchAdd { width, ptr, off, value } => {
                let (ptr, off) = self.address(out, ptr, off, width.bytes());
                Inst::AtomicFetchAdd { width, ptr, off, value }
            }
            Inst::AtomicXchg { width, ptr, off, value } => {
                let (ptr, off) = self.address(out, ptr, off, width.bytes());
                Inst::AtomicXchg { width, ptr, off, value }
            }
            Inst::AtomicCmpXchg { width, ptr, off, expected, value } => {
                let (ptr, off) = self.address(out, ptr, off, width.bytes());
                Inst::AtomicCmpXchg { width, ptr, off, expected, value }
            }
            Inst::MemZero { ptr, off, len } => self.zero(out, ptr, off, len),
            Inst::MemCopy { dst, dst_off, src, src_off, len, align } => {
                self.copy(out, (dst, dst_off), (src, src_off), len, align)
            }
            Inst::Binary { op, left, right } => self.binary(out, op, left, right),
            Inst::Call { helper, args } if returns_int(helper) && !self.features.cpu_v4 => {
                let call = Inst::Call { helper, args };
                match self.function.results[inst] {
                    Some(_) => {
                        let arg = self.add(out, call, Type::I64);
                        Inst::Unary { op: UnaryOp::Sext(Width::W32), arg }
                    }
                    None => call,
                }
            }
            other => other,
        };
        self.function.insts[inst] = new;
    }

    fn add(&mut self, out: &mut Sequence, inst: Inst, ty: Type) -> Value {
        let (id, value) = self.function.make_inst(inst, Some(ty), out.span);
        out.insts.push(id);
        value.expect("made with a type")
    }

    fn constant(&mut self, out: &mut Sequence, imm: i64) -> Value {
        self.add(out, Inst::Const(imm), Type::I64)
    }

    fn op(&mut self, out: &mut Sequence, op: BinaryOp, left: Value, right: Value) -> Value {
        self.add(out, Inst::Binary { op, left, right }, Type::I64)
    }

    /// A base and an offset of 16 bits for an access of so many bytes.
    fn address(&mut self, out: &mut Sequence, ptr: Value, off: i32, bytes: u32) -> (Value, i32) {
        let root = origin(self.function, ptr);
        if let Some(Inst::GlobalAddr { global, off: inner }) = self.function.def(root) {
            let offset =
                self.globals.iter().find(|(g, _)| g == global).map_or(0, |(_, def)| i64::from(def.offset));
            let place = offset + i64::from(*inner) + i64::from(off);
            let window = place.div_euclid(WINDOW_BYTES);
            let inside = place.rem_euclid(WINDOW_BYTES);
            if let Some(base) = self.window(window) {
                return (base, inside as i32);
            }
        }
        if matches!(self.function.def(root), Some(Inst::SlotAddr { .. })) {
            return (ptr, off);
        }
        let last = i64::from(off) + i64::from(bytes);
        if i16::try_from(off).is_ok() && i16::try_from(last).is_ok() {
            return (ptr, off);
        }
        (self.plus(out, ptr, off), 0)
    }

    /// The address of a window of `.bss`; defined at the function's start, which costs nothing since
    /// addresses are made where they are needed.
    fn window(&mut self, window: i64) -> Option<Value> {
        if let Some((_, value)) = self.bases.iter().find(|(w, _)| *w == window) {
            return Some(*value);
        }
        let (global, def) = self.globals.first()?;
        let off = i32::try_from(window * WINDOW_BYTES - i64::from(def.offset)).ok()?;
        let inst = Inst::GlobalAddr { global: *global, off };
        let (_, value) = self.function.make_inst(inst, Some(Type::Map), Span::default());
        self.bases.push((window, value?));
        value
    }

    /// `ptr + off` as a value.
    fn plus(&mut self, out: &mut Sequence, ptr: Value, off: i32) -> Value {
        let (ty, root) = (self.function.type_of(ptr), origin(self.function, ptr));
        match self.function.def(root).cloned() {
            _ if off == 0 => ptr,
            Some(Inst::SlotAddr { slot, off: inner }) => {
                self.add(out, Inst::SlotAddr { slot, off: inner.wrapping_add(off) }, ty)
            }
            Some(Inst::GlobalAddr { global, off: inner }) => {
                self.add(out, Inst::GlobalAddr { global, off: inner.wrapping_add(off) }, ty)
            }
            _ => {
                let right = self.constant(out, i64::from(off));
                self.add(out, Inst::Binary { op: BinaryOp::Add, left: ptr, right }, ty)
            }
        }
    }

    fn zero(&mut self, out: &mut Sequence, ptr: Value, off: i32, len: u32) -> Inst {
        if pieces(len, widest(self.function, ptr, off, 1)).take(INLINE_ZERO_PIECES + 1).count()
            <= INLINE_ZERO_PIECES
        {
            let (ptr, off) = self.address(out, ptr, off, len);
            return Inst::MemZero { ptr, off, len };
        }
        let src = self.add(out, Inst::Const(0), Type::Kernel);
        self.read(out, (ptr, off), src, len)
    }

    fn copy(
        &mut self,
        out: &mut Sequence,
        dst: (Value, i32),
        src: (Value, i32),
        len: u32,
        align: u32,
    ) -> Inst {
        let widest =
            widest(self.function, dst.0, dst.1, align).min(widest(self.function, src.0, src.1, align));
        if pieces(len, widest).take(INLINE_COPY_PIECES + 1).count() <= INLINE_COPY_PIECES {
            let (dst, dst_off) = self.address(out, dst.0, dst.1, len);
            let (src, src_off) = self.address(out, src.0, src.1, len);
            return Inst::MemCopy { dst, dst_off, src, src_off, len, align };
        }
        let src = self.plus(out, src.0, src.1);
        self.read(out, dst, src, len)
    }

    /// `probe_read_kernel(dst, len, src)`
    fn read(&mut self, out: &mut Sequence, dst: (Value, i32), src: Value, len: u32) -> Inst {
        let dst = self.plus(out, dst.0, dst.1);
        let len = self.constant(out, i64::from(len));
        let args = ValueList::from_slice(&[dst, len, src], &mut self.function.pool);
        Inst::Call { helper: helpers::PROBE_READ_KERNEL, args }
    }

    fn binary(&mut self, out: &mut Sequence, op: BinaryOp, left: Value, right: Value) -> Inst {
        let divisor = self.function.as_const(origin(self.function, right));
        match (op, divisor) {
            (BinaryOp::Udiv | BinaryOp::Sdiv, Some(0)) => Inst::Const(0),
            (BinaryOp::Umod | BinaryOp::Smod, Some(0)) => Inst::Cast(left),
            (BinaryOp::Sdiv, Some(-1)) => Inst::Unary { op: UnaryOp::Neg, arg: left },
            (BinaryOp::Smod, Some(-1)) => Inst::Const(0),
            (BinaryOp::Sdiv | BinaryOp::Smod, Some(_)) if self.features.cpu_v4 => {
                Inst::Binary { op, left, right }
            }
            (BinaryOp::Sdiv, divisor) => self.signed_division(out, left, right, divisor),
            (BinaryOp::Smod, divisor) => self.signed_remainder(out, left, right, divisor),
            _ => Inst::Binary { op, left, right },
        }
    }

    /// A number's sign as 0 or -1, and its magnitude: `(x ^ sign) - sign`.
    fn magnitude(&mut self, out: &mut Sequence, value: Value) -> (Value, Value) {
        let bits = self.constant(out, 63);
        let sign = self.op(out, BinaryOp::Ashr, value, bits);
        let flipped = self.op(out, BinaryOp::Xor, value, sign);
        (sign, self.op(out, BinaryOp::Sub, flipped, sign))
    }

    /// `(|a| udiv |b|)` with the sign of `a ^ b`. By zero: 0, since `udiv` gives 0; `i64::MIN / -1`: the
    /// magnitudes are 2^63 and 1 and the signs cancel.
    fn signed_division(
        &mut self,
        out: &mut Sequence,
        left: Value,
        right: Value,
        divisor: Option<i64>,
    ) -> Inst {
        let (left_sign, left) = self.magnitude(out, left);
        let (sign, quotient) = match divisor {
            Some(d) => {
                let magnitude = self.constant(out, d.unsigned_abs() as i64);
                let quotient = self.op(out, BinaryOp::Udiv, left, magnitude);
                if d > 0 {
                    (left_sign, quotient)
                } else {
                    let all = self.constant(out, -1);
                    (self.op(out, BinaryOp::Xor, left_sign, all), quotient)
                }
            }
            None => {
                let (right_sign, right) = self.magnitude(out, right);
                let quotient = self.op(out, BinaryOp::Udiv, left, right);
                (self.op(out, BinaryOp::Xor, left_sign, right_sign), quotient)
            }
        };
        let flipped = self.op(out, BinaryOp::Xor, quotient, sign);
        Inst::Binary { op: BinaryOp::Sub, left: flipped, right: sign }
    }

    /// `(|a| umod |b|)` with the sign of `a`. By zero: `a`, since `umod` leaves the dividend.
    fn signed_remainder(
        &mut self,
        out: &mut Sequence,
        left: Value,
        right: Value,
        divisor: Option<i64>,
    ) -> Inst {
        let (sign, left) = self.magnitude(out, left);
        let right = match divisor {
            Some(d) => self.constant(out, d.unsigned_abs() as i64),
            None => self.magnitude(out, right).1,
        };
        let remainder = self.op(out, BinaryOp::Umod, left, right);
        let flipped = self.op(out, BinaryOp::Xor, remainder, sign);
        Inst::Binary { op: BinaryOp::Sub, left: flipped, right: sign }
    }
}

/// How much of `.bss` one base reaches: the non-negative offsets of 16 bits, less what an access of a
/// few words may need beyond.
const WINDOW_BYTES: i64 = 0x4000;
