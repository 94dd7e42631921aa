//! A small evaluator for the IR that the generator makes: what programs must compute.

use std::collections::HashMap;

use memql_compiler::helpers;
use memql_compiler::ir::{
    BinaryOp, Cond, Function, Inst, InstId, Module, Target, Terminator, UnaryOp, Value, Width,
};

/// Where addresses point: a memory and a byte offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Number(u64),
    Context,
    Slot(usize, i64),
    Global(i64),
    /// A map or callback.
    Opaque,
}

/// Runs the first program's entry; gives its return value and leaves globals in `bss`.
pub fn evaluate(module: &Module, context: &[u64], bss: &mut [u8]) -> u64 {
    let function = module.programs[0].functions.values().next().expect("an entry");
    let slots = function.slots.values().map(|s| vec![0xa5; s.size as usize]).collect();
    Machine { module, function, context, bss, slots, values: HashMap::new() }.run()
}

struct Machine<'a> {
    module: &'a Module,
    function: &'a Function,
    context: &'a [u64],
    bss: &'a mut [u8],
    slots: Vec<Vec<u8>>,
    values: HashMap<Value, Word>,
}

impl Machine<'_> {
    fn run(mut self) -> u64 {
        let mut block = self.function.entry();
        self.values.insert(self.function.blocks[block].params[0], Word::Context);
        for _ in 0..100_000 {
            for &inst in &self.function.blocks[block].insts {
                self.inst(inst);
            }
            let target = match self.function.blocks[block].terminator.as_ref().expect("ended") {
                Terminator::Return(value) => return self.number(*value),
                Terminator::Jump(target) => target,
                Terminator::Branch { cond, left, right, then, otherwise } => {
                    if compare(*cond, self.number(*left), self.number(*right)) { then } else { otherwise }
                }
            };
            self.pass(target);
            block = target.block;
        }
        panic!("does not end");
    }

    fn pass(&mut self, target: &Target) {
        let args: Vec<Word> = target.args.iter().map(|a| self.values[a]).collect();
        for (param, word) in self.function.blocks[target.block].params.iter().zip(args) {
            self.values.insert(*param, word);
        }
    }

    fn number(&self, value: Value) -> u64 {
        match self.values[&value] {
            Word::Number(n) => n,
            other => panic!("{value} is {other:?}, not a number"),
        }
    }

    fn bytes(&mut self, ptr: Value, off: i32, len: usize) -> &mut [u8] {
        let (memory, at) = match self.values[&ptr] {
            Word::Slot(slot, at) => (self.slots[slot].as_mut_slice(), at),
            Word::Global(at) => (&mut *self.bss, at),
            other => panic!("{ptr} is {other:?}, not memory"),
        };
        let at = (at + i64::from(off)) as usize;
        &mut memory[at..at + len]
    }

    fn load(&mut self, ptr: Value, off: i32, width: Width) -> u64 {
        if self.values[&ptr] == Word::Context {
            return self.context[off as usize / 8];
        }
        let mut word = [0; 8];
        let len = width.bytes() as usize;
        word[..len].copy_from_slice(self.bytes(ptr, off, len));
        u64::from_le_bytes(word)
    }

    fn store(&mut self, ptr: Value, off: i32, width: Width, value: u64) {
        let len = width.bytes() as usize;
        self.bytes(ptr, off, len).copy_from_slice(&value.to_le_bytes()[..len]);
    }

    fn inst(&mut self, id: InstId) {
        let result = match self.function.insts[id].clone() {
            Inst::Const(imm) => Some(Word::Number(imm as u64)),
            Inst::Cast(value) | Inst::Address(value) => Some(self.values[&value]),
            Inst::SlotAddr { slot, off } => Some(Word::Slot(slot.as_u32() as usize, i64::from(off))),
            Inst::GlobalAddr { global, off } => {
                Some(Word::Global(i64::from(self.module.globals[global].offset) + i64::from(off)))
            }
            Inst::MapObject(_) | Inst::FnAddr(_) => Some(Word::Opaque),
            Inst::Unary { op, arg } => Some(Word::Number(unary(op, self.number(arg)))),
            Inst::Binary { op, left, right } => {
                Some(Word::Number(binary(op, self.number(left), self.number(right))))
            }
            Inst::Icmp { cond, left, right } => {
                Some(Word::Number(compare(cond, self.number(left), self.number(right)).into()))
            }
            Inst::Select { cond, then, otherwise } => {
                Some(self.values[&if self.number(cond) != 0 { then } else { otherwise }])
            }
            Inst::Load { width, signed, ptr, off } => {
                let word = self.load(ptr, off, width);
                Some(Word::Number(if signed { sign_extend(word, width) } else { word }))
            }
            Inst::Store { width, ptr, off, value } => {
                let value = self.number(value);
                self.store(ptr, off, width, value);
                None
            }
            Inst::AtomicAdd { width, ptr, off, value } | Inst::AtomicFetchAdd { width, ptr, off, value } => {
                let (old, addend) = (self.load(ptr, off, width), self.number(value));
                self.store(ptr, off, width, old.wrapping_add(addend));
                Some(Word::Number(old))
            }
            Inst::AtomicXchg { width, ptr, off, value } => {
                let (old, new) = (self.load(ptr, off, width), self.number(value));
                self.store(ptr, off, width, new);
                Some(Word::Number(old))
            }
            Inst::AtomicCmpXchg { width, ptr, off, expected, value } => {
                let (old, new) = (self.load(ptr, off, width), self.number(value));
                if old == self.number(expected) {
                    self.store(ptr, off, width, new);
                }
                Some(Word::Number(old))
            }
            Inst::MemZero { ptr, off, len } => {
                self.bytes(ptr, off, len as usize).fill(0);
                None
            }
            Inst::MemCopy { dst, dst_off, src, src_off, len, .. } => {
                let copy = self.bytes(src, src_off, len as usize).to_vec();
                self.bytes(dst, dst_off, len as usize).copy_from_slice(&copy);
                None
            }
            // The generator deletes keys that are not there.
            Inst::Call { helper: helpers::MAP_DELETE_ELEM, .. } => Some(Word::Number(-2i64 as u64)),
            Inst::Call { helper, .. } => panic!("{helper:?} is not evaluated"),
        };
        if let (Some(value), Some(word)) = (self.function.results[id], result) {
            self.values.insert(value, word);
        }
    }
}

fn sign_extend(word: u64, width: Width) -> u64 {
    let shift = 64 - width.bits();
    ((word << shift) as i64 >> shift) as u64
}

fn unary(op: UnaryOp, a: u64) -> u64 {
    match op {
        UnaryOp::Neg => a.wrapping_neg(),
        UnaryOp::Sext(width) => sign_extend(a, width),
        UnaryOp::Zext(width) => a & u64::MAX >> (64 - width.bits()),
        UnaryOp::Bswap(Width::W16) => (a as u16).swap_bytes().into(),
        UnaryOp::Bswap(Width::W32) => (a as u32).swap_bytes().into(),
        UnaryOp::Bswap(_) => a.swap_bytes(),
        UnaryOp::Hide => a,
    }
}

fn binary(op: BinaryOp, a: u64, b: u64) -> u64 {
    let (signed_a, signed_b) = (a as i64, b as i64);
    match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Udiv => a.checked_div(b).unwrap_or(0),
        BinaryOp::Umod => a.checked_rem(b).unwrap_or(a),
        BinaryOp::Sdiv if b == 0 => 0,
        BinaryOp::Sdiv => signed_a.wrapping_div(signed_b) as u64,
        BinaryOp::Smod if b == 0 => a,
        BinaryOp::Smod => signed_a.wrapping_rem(signed_b) as u64,
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
        BinaryOp::Shl => a.wrapping_shl(b as u32),
        BinaryOp::Lshr => a.wrapping_shr(b as u32),
        BinaryOp::Ashr => signed_a.wrapping_shr(b as u32) as u64,
    }
}

fn compare(cond: Cond, a: u64, b: u64) -> bool {
    let (signed_a, signed_b) = (a as i64, b as i64);
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Ult => a < b,
        Cond::Ule => a <= b,
        Cond::Ugt => a > b,
        Cond::Uge => a >= b,
        Cond::Slt => signed_a < signed_b,
        Cond::Sle => signed_a <= signed_b,
        Cond::Sgt => signed_a > signed_b,
        Cond::Sge => signed_a >= signed_b,
    }
}
