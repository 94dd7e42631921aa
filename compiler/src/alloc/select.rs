//! Selection: which machine operation does each instruction's work, and what it asks of its operands.
//!
//! ```text
//! v3 = add v1, v2         alu add, uses [v1 in the result's register, v2 anywhere]
//! v4 = load.u64 v0+8      load [use 0]+8
//! store.u32 v5+4, 7       nothing in a register but v5's base: 7 is an immediate, a slot is r10 + offset
//! v6 = call helper(v1)    uses [v1 in r1], result in r0, r0 - r5 clobbered
//! v7 = icmp slt v1, v2    no code if its only use is a branch or select in the same block
//! ```
//!
//! Relies on a legal function ([`crate::emit::legalise()`]): offsets fit 16 bits, no division by a
//! constant zero, big copies are calls. Instructions without effect whose result is unused, and
//! blocks that cannot be reached, get no code.

use cranelift_entity::{EntitySet, SecondaryMap};

use super::layout::layout;
use super::memory::{origin, widest};
use super::register::{Reg, RegSet};
use crate::helpers;
use crate::ir::{
    BinaryOp, Block, Cond, DefinedBy, FuncRef, Function, Helper, Inst, InstId, Slot, Terminator, Type,
    UnaryOp, Value, Width,
};
use crate::target::Features;

/// What a function's instructions became.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The blocks that can be reached, in layout order.
    pub order: Vec<Block>,
    /// The operation of each instruction that needs code.
    pub insts: SecondaryMap<InstId, Option<Selected>>,
    /// The operation that ends each reachable block.
    pub terminators: SecondaryMap<Block, Option<SelectedEnd>>,
    /// The slots whose address is used.
    pub slots: EntitySet<Slot>,
}

/// An instruction's operation and what it asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Selected {
    /// The operation.
    pub op: Op,
    /// The values it reads from registers.
    pub uses: Vec<Use>,
    /// The value it gives.
    pub result: Option<Def>,
    /// How many registers beside these it may overwrite before it reads its last use.
    pub temps: u8,
    /// Registers that it changes.
    pub clobbers: RegSet,
}

/// The operation that ends a block.
#[derive(Clone, Debug, PartialEq)]
pub struct SelectedEnd {
    /// The operation.
    pub op: End,
    /// The values it reads from registers.
    pub uses: Vec<Use>,
}

/// A value that is read from a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The value, casts undone.
    pub value: Value,
    /// Which register.
    pub at: UseAt,
}

/// In which register a use is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseAt {
    /// Any.
    Any,
    /// The result's; overwritten.
    Result,
    /// This one; overwritten.
    Fixed(Reg),
}

/// A value that is defined in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Def {
    /// The value.
    pub value: Value,
    /// Which register.
    pub at: DefAt,
}

/// In which register a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefAt {
    /// Any, an operand's included.
    Any,
    /// Any but those of [`UseAt::Any`] operands: it is written before they are read.
    Early,
    /// It appears in this one and is moved to its own.
    Fixed(Reg),
}

/// An operand that need not be in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rhs {
    /// An immediate, sign-extended.
    Imm(i32),
    /// The n-th use.
    Use(u8),
}

/// A memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// What the offset is added to.
    pub base: Base,
    /// Bytes.
    pub off: i32,
}

/// The base of a memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// A slot of the frame.
    Slot(Slot),
    /// The n-th use.
    Use(u8),
}

/// The atomic operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtomicOp {
    /// Add, no result.
    Add,
    /// Add, giving the old value.
    FetchAdd,
    /// Exchange.
    Xchg,
    /// Compare with r0 and exchange.
    CmpXchg,
}

/// A comparison that a jump can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Of two values.
    Compare(Cond),
    /// Whether two values have a bit in common (`JSET`).
    AnyBits,
}

/// Operations. `u0`, `u1`... are the uses, `d` is the result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// `d = u0 op rhs`, u0 tied.
    Alu(BinaryOp, Rhs),
    /// `d = -u0`, u0 tied.
    Neg,
    /// `d = u0`, an address that is a plain number from here on, u0 tied.
    Address,
    /// `d = u0 & rhs`, the low 32 bits, u0 free.
    ZeroExtend32,
    /// `d = sign-extended low bits of u0`; with `native` one instruction and u0 free, else two shifts and u0 tied.
    SignExtend {
        /// Bits that are kept.
        width: Width,
        /// Use cpu v4's move.
        native: bool,
    },
    /// `d = byte-reversed low part of u0`, u0 tied.
    ByteSwap(Width),
    /// `d = rhs`, which the kernel verifier does not see through, d early.
    Hide(Rhs),
    /// `d = u0 cond rhs ? 1 : 0`, d early.
    SetIf(Test, Rhs),
    /// `d = left test rhs ? u0 : otherwise`, u0 tied.
    Select {
        /// The comparison.
        test: Test,
        /// The use that is its left operand.
        left: u8,
        /// Its right operand.
        rhs: Rhs,
        /// The value if it does not hold.
        otherwise: Rhs,
    },
    /// `d = memory`
    Load {
        /// Width of the access.
        width: Width,
        /// Sign-extend.
        signed: bool,
        /// Use cpu v4's sign-extending load.
        native: bool,
        /// Where.
        address: Address,
    },
    /// `memory = value`
    Store {
        /// Width of the access.
        width: Width,
        /// Where.
        address: Address,
        /// What.
        value: Rhs,
    },
    /// An atomic operation with the n-th use; for those that give the old value it is tied, except for
    /// compare-exchange, where the old value is in r0.
    Atomic {
        /// Which.
        op: AtomicOp,
        /// Width of the access.
        width: Width,
        /// Where.
        address: Address,
        /// The use with the operand.
        value: u8,
    },
    /// Clear memory by stores.
    Zero {
        /// Where.
        address: Address,
        /// Bytes.
        len: u32,
        /// Bytes of the widest store.
        widest: u32,
    },
    /// Copy memory by loads and stores through the temporary register.
    Copy {
        /// To where.
        to: Address,
        /// From where.
        from: Address,
        /// Bytes.
        len: u32,
        /// Bytes of the widest access.
        widest: u32,
    },
    /// Call a helper.
    Call(Helper),
    /// Call a function of the program.
    CallFunction(FuncRef),
}

/// Operations that end a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    /// Go to the only target.
    Jump,
    /// If `u0 test rhs` go to target number `taken`, else to the other.
    Branch {
        /// The comparison.
        test: Test,
        /// Its right operand.
        rhs: Rhs,
        /// The target if it holds: 0 or 1.
        taken: usize,
    },
    /// Leave with the value in r0.
    Return,
}

/// Whether a value is made again wherever it is needed rather than kept.
pub fn is_remat(function: &Function, value: Value) -> bool {
    matches!(
        function.def(value),
        Some(
            Inst::Const(_)
                | Inst::SlotAddr { .. }
                | Inst::GlobalAddr { .. }
                | Inst::MapObject(_)
                | Inst::FnAddr(_)
        )
    )
}

/// Selects operations for a function.
pub fn select(function: &Function, features: &Features) -> Selection {
    let order = layout(function);
    let counts = use_counts(function, &order);
    let mut block_of: SecondaryMap<InstId, Option<Block>> = SecondaryMap::new();
    for &block in &order {
        function.blocks[block].insts.iter().for_each(|inst| block_of[*inst] = Some(block));
    }
    let (fused, selection) = (EntitySet::new(), Selection::default());
    let mut selector = Selector { function, features, counts, block_of, fused, selection };
    for &block in &order {
        selector.block(block);
    }
    Selection { order, ..selector.selection }
}

/// How often each value is read by code that is needed.
fn use_counts(function: &Function, order: &[Block]) -> SecondaryMap<Value, u32> {
    let mut counts: SecondaryMap<Value, u32> = SecondaryMap::new();
    for &block in order {
        if let Some(terminator) = &function.blocks[block].terminator {
            terminator.for_each_arg(|v| counts[v] += 1);
        }
        for &inst in &function.blocks[block].insts {
            function.insts[inst].for_each_arg(&function.pool, |v| counts[v] += 1);
        }
    }
    // Unused instructions give back what they read; going backwards, chains of them go at once.
    for &block in order.iter().rev() {
        for &inst in function.blocks[block].insts.iter().rev() {
            if is_unused(function, inst, &counts) {
                function.insts[inst].for_each_arg(&function.pool, |v| counts[v] -= 1);
            }
        }
    }
    counts
}

fn is_unused(function: &Function, inst: InstId, counts: &SecondaryMap<Value, u32>) -> bool {
    function.insts[inst].is_pure() && function.results[inst].is_none_or(|v| counts[v] == 0)
}

struct Selector<'a> {
    function: &'a Function,
    features: &'a Features,
    counts: SecondaryMap<Value, u32>,
    /// The block that each instruction stands in.
    block_of: SecondaryMap<InstId, Option<Block>>,
    /// Values computed by the instruction that uses them.
    fused: EntitySet<Value>,
    selection: Selection,
}

/// The uses of one operation while they are collected.
struct Uses(Vec<Use>);

impl Uses {
    fn add(&mut self, value: Value, at: UseAt) -> u8 {
        self.0.push(Use { value, at });
        self.0.len() as u8 - 1
    }
}

impl Selector<'_> {
    /// Goes backwards, so that a use decides about fusing before its definition is met.
    fn block(&mut self, block: Block) {
        let data = &self.function.blocks[block];
        if let Some(terminator) = &data.terminator {
            let end = self.terminator(block, terminator);
            for target in terminator.targets() {
                for &arg in &target.args {
                    self.note_slot(arg);
                }
            }
            self.selection.terminators[block] = Some(end);
        }
        for &inst in data.insts.iter().rev() {
            let unused = is_unused(self.function, inst, &self.counts);
            let fused = self.function.results[inst].is_some_and(|v| self.fused.contains(v));
            if !unused && !fused {
                self.selection.insts[inst] = self.inst(block, inst);
            }
        }
    }

    fn origin(&self, value: Value) -> Value {
        origin(self.function, value)
    }

    fn imm(&self, value: Value) -> Option<i32> {
        i32::try_from(self.function.as_const(self.origin(value))?).ok()
    }

    /// Remembers the slot that a value is the address of.
    fn note_slot(&mut self, value: Value) {
        if let Some(Inst::SlotAddr { slot, .. }) = self.function.def(self.origin(value)) {
            self.selection.slots.insert(*slot);
        }
    }

    fn use_at(&mut self, uses: &mut Uses, value: Value, at: UseAt) -> u8 {
        self.note_slot(value);
        let value = self.origin(value);
        uses.add(value, at)
    }

    fn rhs(&mut self, uses: &mut Uses, value: Value) -> Rhs {
        match self.imm(value) {
            Some(imm) => Rhs::Imm(imm),
            None => Rhs::Use(self.use_at(uses, value, UseAt::Any)),
        }
    }

    fn address(&mut self, uses: &mut Uses, ptr: Value, off: i32) -> Address {
        let ptr = self.origin(ptr);
        self.note_slot(ptr);
        match self.function.def(ptr) {
            Some(Inst::SlotAddr { slot, off: inner }) => {
                Address { base: Base::Slot(*slot), off: inner.wrapping_add(off) }
            }
            _ => Address { base: Base::Use(uses.add(ptr, UseAt::Any)), off },
        }
    }

    /// The instruction that defines `value`, if it stands in `block` and this is its only use.
    fn only_use_of(&self, block: Block, value: Value) -> Option<&Inst> {
        let DefinedBy::Inst(id) = self.function.values[value].by else { return None };
        let (once, here) = (self.counts[value] == 1, self.block_of[id] == Some(block));
        (once && here).then_some(&self.function.insts[id])
    }

    /// A comparison's test, its left operand (added to the uses) and its right one. What it compares
    /// is taken apart where that saves an instruction: a comparison's result with 0, an `and` with 0.
    fn test(
        &mut self,
        block: Block,
        uses: &mut Uses,
        cond: Cond,
        left: Value,
        right: Value,
    ) -> (Test, Rhs, bool) {
        let (cond, left, right) = match (self.imm(left), self.imm(right)) {
            (Some(_), None) => (swapped(cond), right, left),
            _ => (cond, left, right),
        };
        if matches!(cond, Cond::Eq | Cond::Ne) && self.imm(right) == Some(0) {
            let holds = cond == Cond::Ne;
            match self.only_use_of(block, left).cloned() {
                Some(Inst::Icmp { cond, left: a, right: b }) => {
                    self.fused.insert(left);
                    let (test, rhs, inner) = self.test(block, uses, cond, a, b);
                    return (test, rhs, inner == holds);
                }
                Some(Inst::Binary { op: BinaryOp::And, left: a, right: b }) => {
                    self.fused.insert(left);
                    let (a, b) = if self.imm(a).is_some() { (b, a) } else { (a, b) };
                    self.use_at(uses, a, UseAt::Any);
                    return (Test::AnyBits, self.rhs(uses, b), holds);
                }
                _ => {}
            }
        }
        self.use_at(uses, left, UseAt::Any);
        let rhs = self.rhs(uses, right);
        (Test::Compare(cond), rhs, true)
    }

    fn terminator(&mut self, block: Block, terminator: &Terminator) -> SelectedEnd {
        let mut uses = Uses(Vec::new());
        let op = match terminator {
            Terminator::Jump(_) => End::Jump,
            Terminator::Branch { cond, left, right, .. } => {
                let (test, rhs, holds) = self.test(block, &mut uses, *cond, *left, *right);
                End::Branch { test, rhs, taken: usize::from(!holds) }
            }
            Terminator::Return(value) => {
                self.use_at(&mut uses, *value, UseAt::Fixed(Reg::R0));
                End::Return
            }
        };
        SelectedEnd { op, uses: uses.0 }
    }

    fn inst(&mut self, block: Block, inst: InstId) -> Option<Selected> {
        let function = self.function;
        let result = function.results[inst];
        let mut uses = Uses(Vec::new());
        let (mut at, mut temps, mut clobbers) = (DefAt::Any, 0, RegSet::EMPTY);
        let op = match &function.insts[inst] {
            Inst::Const(_)
            | Inst::SlotAddr { .. }
            | Inst::GlobalAddr { .. }
            | Inst::MapObject(_)
            | Inst::FnAddr(_)
            | Inst::Cast(_) => return None,
            Inst::Unary { op, arg } => {
                if *op == UnaryOp::Hide {
                    at = DefAt::Early;
                }
                self.unary(&mut uses, *op, *arg)
            }
            Inst::Address(value) => {
                self.use_at(&mut uses, *value, UseAt::Result);
                Op::Address
            }
            Inst::Binary { op, left, right } => self.binary(&mut uses, *op, *left, *right),
            Inst::Icmp { cond, left, right } => {
                at = DefAt::Early;
                let (test, rhs, holds) = self.test(block, &mut uses, *cond, *left, *right);
                match test {
                    Test::Compare(cond) => {
                        Op::SetIf(Test::Compare(if holds { cond } else { cond.negated() }), rhs)
                    }
                    Test::AnyBits if holds => Op::SetIf(Test::AnyBits, rhs),
                    // There is no jump on "no bit in common": keep the `and`.
                    Test::AnyBits => {
                        self.fused.remove(*left);
                        self.fused.remove(*right);
                        uses.0.clear();
                        let (left, right) =
                            if self.imm(*left).is_some() { (*right, *left) } else { (*left, *right) };
                        self.use_at(&mut uses, left, UseAt::Any);
                        Op::SetIf(Test::Compare(*cond), self.rhs(&mut uses, right))
                    }
                }
            }
            Inst::Select { cond, then, otherwise } => self.select(block, &mut uses, *cond, *then, *otherwise),
            Inst::Load { width, signed, ptr, off } => {
                let signed = *signed && *width != Width::W64;
                let address = self.address(&mut uses, *ptr, *off);
                Op::Load { width: *width, signed, native: self.features.cpu_v4, address }
            }
            Inst::Store { width, ptr, off, value } => {
                let address = self.address(&mut uses, *ptr, *off);
                let value = match self.store_imm(*width, *value) {
                    Some(imm) => Rhs::Imm(imm),
                    None => Rhs::Use(self.use_at(&mut uses, *value, UseAt::Any)),
                };
                Op::Store { width: *width, address, value }
            }
            Inst::AtomicAdd { width, ptr, off, value } => {
                let address = self.address(&mut uses, *ptr, *off);
                let value = self.use_at(&mut uses, *value, UseAt::Any);
                Op::Atomic { op: AtomicOp::Add, width: *width, address, value }
            }
            Inst::AtomicFetchAdd { width, ptr, off, value } | Inst::AtomicXchg { width, ptr, off, value } => {
                let address = self.address(&mut uses, *ptr, *off);
                let value = self.use_at(&mut uses, *value, UseAt::Result);
                let xchg = matches!(&function.insts[inst], Inst::AtomicXchg { .. });
                let op = if xchg { AtomicOp::Xchg } else { AtomicOp::FetchAdd };
                Op::Atomic { op, width: *width, address, value }
            }
            Inst::AtomicCmpXchg { width, ptr, off, expected, value } => {
                let address = self.address(&mut uses, *ptr, *off);
                let value = self.use_at(&mut uses, *value, UseAt::Any);
                self.use_at(&mut uses, *expected, UseAt::Fixed(Reg::R0));
                at = DefAt::Fixed(Reg::R0);
                clobbers.insert(Reg::R0);
                Op::Atomic { op: AtomicOp::CmpXchg, width: *width, address, value }
            }
            Inst::MemZero { ptr, off, len } => {
                let widest = widest(function, *ptr, *off, 1);
                Op::Zero { address: self.address(&mut uses, *ptr, *off), len: *len, widest }
            }
            Inst::MemCopy { dst, dst_off, src, src_off, len, align } => {
                temps = 1;
                let widest =
                    widest(function, *dst, *dst_off, *align).min(widest(function, *src, *src_off, *align));
                let to = self.address(&mut uses, *dst, *dst_off);
                let from = self.address(&mut uses, *src, *src_off);
                Op::Copy { to, from, len: *len, widest }
            }
            Inst::Call { helper, args } if helpers::calls_function(*helper) => {
                let args = args.as_slice(&function.pool);
                let Some(Inst::FnAddr(callee)) = function.def(args[0]) else {
                    unreachable!("internal error: a call of a function that is not named")
                };
                self.use_at(&mut uses, args[1], UseAt::Fixed(Reg::argument(0)));
                at = DefAt::Fixed(Reg::R0);
                clobbers = RegSet::CALL_CLOBBERED;
                Op::CallFunction(*callee)
            }
            Inst::Call { helper, args } => {
                for (n, arg) in args.as_slice(&function.pool).iter().enumerate() {
                    self.use_at(&mut uses, *arg, UseAt::Fixed(Reg::argument(n)));
                }
                at = DefAt::Fixed(Reg::R0);
                clobbers = RegSet::CALL_CLOBBERED;
                Op::Call(*helper)
            }
        };
        let tied = uses.0.iter().any(|u| u.at == UseAt::Result);
        let kept = result.filter(|v| tied || at == DefAt::Early || self.counts[*v] > 0);
        let result = kept.map(|value| Def { value, at: if tied { DefAt::Early } else { at } });
        Some(Selected { op, uses: uses.0, result, temps, clobbers })
    }

    /// The immediate that stores these low bits, if there is one.
    fn store_imm(&self, width: Width, value: Value) -> Option<i32> {
        let imm = self.function.as_const(self.origin(value))?;
        match width {
            Width::W64 => i32::try_from(imm).ok(),
            Width::W32 | Width::W16 | Width::W8 => Some(imm as i32),
        }
    }

    fn unary(&mut self, uses: &mut Uses, op: UnaryOp, arg: Value) -> Op {
        let native = self.features.cpu_v4;
        let (op, at) = match op {
            UnaryOp::Hide => return Op::Hide(self.rhs(uses, arg)),
            UnaryOp::Neg => (Op::Neg, UseAt::Result),
            UnaryOp::Sext(width) => {
                (Op::SignExtend { width, native }, if native { UseAt::Any } else { UseAt::Result })
            }
            UnaryOp::Zext(Width::W32) => (Op::ZeroExtend32, UseAt::Any),
            UnaryOp::Zext(Width::W8) => (Op::Alu(BinaryOp::And, Rhs::Imm(0xff)), UseAt::Result),
            UnaryOp::Zext(Width::W16) => (Op::Alu(BinaryOp::And, Rhs::Imm(0xffff)), UseAt::Result),
            UnaryOp::Zext(Width::W64) => (Op::Alu(BinaryOp::Or, Rhs::Imm(0)), UseAt::Result),
            UnaryOp::Bswap(width) => (Op::ByteSwap(width), UseAt::Result),
        };
        self.use_at(uses, arg, at);
        op
    }

    fn binary(&mut self, uses: &mut Uses, op: BinaryOp, left: Value, right: Value) -> Op {
        // An address stays on the left: a number plus a stack address loses, for the kernel verifier, whose
        // frame the address is in.
        let commutes =
            matches!(op, BinaryOp::Add | BinaryOp::Mul | BinaryOp::And | BinaryOp::Or | BinaryOp::Xor)
                && self.function.type_of(left) == Type::I64;
        // The left operand is overwritten, so it is better one that nobody else reads.
        let better = self.imm(left).is_some() || (self.counts[left] > 1 && self.counts[right] == 1);
        let (left, right) =
            if commutes && better && self.imm(right).is_none() { (right, left) } else { (left, right) };
        self.use_at(uses, left, UseAt::Result);
        if self.origin(left) == self.origin(right) && self.imm(right).is_none() {
            return Op::Alu(op, Rhs::Use(0));
        }
        let rhs = match (op, self.rhs(uses, right)) {
            (BinaryOp::Shl | BinaryOp::Lshr | BinaryOp::Ashr, Rhs::Imm(count)) => Rhs::Imm(count & 63),
            (_, rhs) => rhs,
        };
        Op::Alu(op, rhs)
    }

    fn select(&mut self, block: Block, uses: &mut Uses, cond: Value, then: Value, otherwise: Value) -> Op {
        // Found first, since the tied use is use 0.
        let mut tested = Uses(Vec::new());
        let comparison = match self.only_use_of(block, cond).cloned() {
            Some(Inst::Icmp { cond: inner, left, right }) => {
                self.fused.insert(cond);
                Some(self.test(block, &mut tested, inner, left, right))
            }
            _ => None,
        };
        let (test, rhs, holds) = comparison.unwrap_or_else(|| {
            self.use_at(&mut tested, cond, UseAt::Any);
            (Test::Compare(Cond::Ne), Rhs::Imm(0), true)
        });
        let (then, otherwise) = if holds { (then, otherwise) } else { (otherwise, then) };
        self.use_at(uses, then, UseAt::Result);
        let otherwise = match self.imm(otherwise) {
            Some(imm) => Rhs::Imm(imm),
            None => Rhs::Use(self.reuse(uses, otherwise)),
        };
        let places: Vec<u8> = tested.0.iter().map(|u| self.reuse(uses, u.value)).collect();
        let rhs = match rhs {
            Rhs::Use(n) => Rhs::Use(places[usize::from(n)]),
            Rhs::Imm(imm) => Rhs::Imm(imm),
        };
        Op::Select { test, left: places[0], rhs, otherwise }
    }

    /// The use with this value, which is added unless there is one: what is tied to the result can be
    /// read until the result is written.
    fn reuse(&mut self, uses: &mut Uses, value: Value) -> u8 {
        let value = self.origin(value);
        match uses.0.iter().position(|u| u.value == value) {
            Some(n) => n as u8,
            None => self.use_at(uses, value, UseAt::Any),
        }
    }
}

/// The comparison with its operands exchanged.
fn swapped(cond: Cond) -> Cond {
    match cond {
        Cond::Eq => Cond::Eq,
        Cond::Ne => Cond::Ne,
        Cond::Ult => Cond::Ugt,
        Cond::Ule => Cond::Uge,
        Cond::Ugt => Cond::Ult,
        Cond::Uge => Cond::Ule,
        Cond::Slt => Cond::Sgt,
        Cond::Sle => Cond::Sge,
        Cond::Sgt => Cond::Slt,
        Cond::Sge => Cond::Sle,
    }
}
