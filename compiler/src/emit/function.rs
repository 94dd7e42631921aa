//! From an allocated function to code.

use std::collections::HashSet;

use cranelift_entity::SecondaryMap;

use super::code::{Buffer, Code, Label, Symbol};
use super::encode::{self, Operand};
use crate::alloc::layout::back_edges;
use crate::alloc::memory::pieces;
use crate::alloc::select::{Address, AtomicOp, Base, DefAt, End, Op, Rhs, Selected, Test};
use crate::alloc::{Allocation, Frame, Move, Place, Reg, Registers, Source};
use crate::ir::{BinaryOp, Block, Function, Inst, Module, Value, Width};

/// Emits one function.
pub fn emit(module: &Module, function: &Function, allocation: &Allocation) -> Code {
    let mut buffer = Buffer::default();
    let mut labels = SecondaryMap::with_default(buffer.new_label());
    for &block in &allocation.selection.order {
        labels[block] = buffer.new_label();
    }
    let back_edges = back_edges(function);
    let mut emitter = Emitter { module, function, allocation, buffer, labels, back_edges, stubs: Vec::new() };
    for (n, &block) in allocation.selection.order.iter().enumerate() {
        emitter.block(block, allocation.selection.order.get(n + 1).copied());
    }
    emitter.stubs();
    emitter.buffer.finish()
}

struct Emitter<'a> {
    module: &'a Module,
    function: &'a Function,
    allocation: &'a Allocation,
    buffer: Buffer,
    labels: SecondaryMap<Block, Label>,
    back_edges: HashSet<(Block, Block)>,
    /// Edges whose moves have no place between two blocks.
    stubs: Vec<Stub<'a>>,
}

/// An edge that is emitted after all blocks.
struct Stub<'a> {
    label: Label,
    from: Block,
    moves: &'a [Move],
    target: Block,
}

impl<'a> Emitter<'a> {
    fn block(&mut self, block: Block, next: Option<Block>) {
        let (function, allocation) = (self.function, self.allocation);
        let data = &function.blocks[block];
        let mut with_code = data.insts.iter().filter(|inst| allocation.selection.insts[**inst].is_some());
        let first = with_code.next().map_or(data.terminator_span, |inst| function.spans[*inst]);
        self.buffer.bind(self.labels[block]);
        self.buffer.set_span(first);
        self.moves(&allocation.at_start[block]);
        for &inst in &data.insts {
            if let Some(selected) = &allocation.selection.insts[inst] {
                self.buffer.set_span(function.spans[inst]);
                self.moves(&allocation.before[inst]);
                self.inst(selected, &allocation.insts[inst]);
            }
        }
        self.buffer.set_span(data.terminator_span);
        self.moves(&allocation.before_terminator[block]);
        self.terminator(block, next);
    }

    fn moves(&mut self, moves: &[Move]) {
        for step in moves {
            match (step.from, step.to) {
                (Source::Place(Place::Reg(from)), Place::Reg(to)) => {
                    self.buffer.push(encode::mov(to, Operand::Reg(from)));
                }
                (Source::Place(Place::Spill(slot)), Place::Reg(to)) => {
                    self.buffer.push(encode::load(to, Reg::FRAME, Frame::spill(slot) as i16, Width::W64));
                }
                (Source::Place(Place::Reg(from)), Place::Spill(slot)) => self.spill(slot, Operand::Reg(from)),
                (Source::Remat(value), Place::Reg(to)) => self.remat(value, to),
                (Source::Remat(value), Place::Spill(slot)) => {
                    let imm = self.function.as_const(value).and_then(|c| i32::try_from(c).ok());
                    let imm = imm.expect("moves store only constants of 32 bits");
                    self.spill(slot, Operand::Imm(imm));
                }
                (Source::Place(Place::Spill(_)), Place::Spill(_)) => {
                    unreachable!("moves from stack to stack go through a register")
                }
            }
        }
    }

    fn spill(&mut self, slot: crate::alloc::SpillSlot, value: Operand) {
        self.buffer.push(encode::store(Reg::FRAME, Frame::spill(slot) as i16, value, Width::W64));
    }

    /// Makes a constant or an address.
    fn remat(&mut self, value: Value, to: Reg) {
        match self.function.def(value) {
            Some(Inst::Const(value)) => self.buffer.push(encode::load_const(to, *value)),
            Some(Inst::SlotAddr { slot, off }) => {
                self.buffer.push(encode::mov(to, Operand::Reg(Reg::FRAME)));
                let off = self.allocation.frame.slot(*slot) + off;
                self.buffer.push(encode::alu(BinaryOp::Add, to, Operand::Imm(off)));
            }
            Some(Inst::GlobalAddr { global, off }) => {
                let offset = self.module.globals[*global].offset.wrapping_add_signed(*off);
                self.buffer.address(to, Symbol::Bss(offset));
            }
            Some(Inst::MapObject(map)) => self.buffer.address(to, Symbol::Map(*map)),
            Some(Inst::FnAddr(function)) => self.buffer.address(to, Symbol::Function(*function)),
            _ => unreachable!("only constants and addresses are made again"),
        }
    }

    fn address(&self, address: Address, regs: &Registers) -> (Reg, i16) {
        match address.base {
            Base::Slot(slot) => (Reg::FRAME, (self.allocation.frame.slot(slot) + address.off) as i16),
            Base::Use(n) => (regs.uses[usize::from(n)], address.off as i16),
        }
    }

    fn inst(&mut self, selected: &Selected, regs: &Registers) {
        let operand = |rhs: Rhs| match rhs {
            Rhs::Imm(imm) => Operand::Imm(imm),
            Rhs::Use(n) => Operand::Reg(regs.uses[usize::from(n)]),
        };
        let result = regs.result.unwrap_or(Reg::R0);
        match selected.op {
            Op::Alu(op, rhs) => self.buffer.push(encode::alu(op, result, operand(rhs))),
            Op::Neg => self.buffer.push(encode::neg(result)),
            // What is computed from an address other than by addition is a number of which the kernel verifier
            // knows nothing (`check_alu_op`, kernel/bpf/verifier.c).
            Op::Address => {
                self.buffer.push(encode::neg(result));
                self.buffer.push(encode::neg(result));
            }
            Op::ZeroExtend32 => self.buffer.push(encode::mov32(result, Operand::Reg(regs.uses[0]))),
            Op::SignExtend { width, native: true } => {
                self.buffer.push(encode::mov_signed(result, regs.uses[0], width));
            }
            Op::SignExtend { width, native: false } => self.sign_extend(result, width),
            Op::ByteSwap(width) => self.buffer.push(encode::byte_swap(result, width)),
            Op::Hide(rhs) => self.hide(result, operand(rhs)),
            Op::SetIf(test, rhs) => {
                self.buffer.push(encode::mov(result, Operand::Imm(1)));
                self.skip_if(test, regs.uses[0], operand(rhs), encode::mov(result, Operand::Imm(0)));
            }
            Op::Select { test, left, rhs, otherwise } => {
                let left = regs.uses[usize::from(left)];
                self.skip_if(test, left, operand(rhs), encode::mov(result, operand(otherwise)));
            }
            Op::Load { width, signed, native, address } => {
                let (base, off) = self.address(address, regs);
                match (signed, native) {
                    (false, _) => self.buffer.push(encode::load(result, base, off, width)),
                    (true, true) => self.buffer.push(encode::load_signed(result, base, off, width)),
                    (true, false) => {
                        self.buffer.push(encode::load(result, base, off, width));
                        self.sign_extend(result, width);
                    }
                }
            }
            Op::Store { width, address, value } => {
                let (base, off) = self.address(address, regs);
                self.buffer.push(encode::store(base, off, operand(value), width));
            }
            Op::Atomic { op, width, address, value } => {
                let (base, off) = self.address(address, regs);
                self.buffer.push(encode::atomic(op, base, off, regs.uses[usize::from(value)], width));
                if op == AtomicOp::CmpXchg {
                    self.take_result(selected, regs);
                }
            }
            Op::Zero { address, len, widest } => {
                let (base, off) = self.address(address, regs);
                for (at, width) in pieces(len, widest) {
                    self.buffer.push(encode::store(base, off + at as i16, Operand::Imm(0), width));
                }
            }
            Op::Copy { to, from, len, widest } => {
                let ((to, to_off), (from, from_off)) = (self.address(to, regs), self.address(from, regs));
                for (at, width) in pieces(len, widest) {
                    self.buffer.push(encode::load(regs.temps[0], from, from_off + at as i16, width));
                    self.buffer.push(encode::store(
                        to,
                        to_off + at as i16,
                        Operand::Reg(regs.temps[0]),
                        width,
                    ));
                }
            }
            Op::CallFunction(callee) => {
                self.buffer.call(callee);
                self.take_result(selected, regs);
            }
            Op::Call(helper) => {
                self.buffer.push(encode::call(helper.0));
                self.take_result(selected, regs);
            }
        }
    }

    /// Moves a result from the register where the instruction leaves it.
    fn take_result(&mut self, selected: &Selected, regs: &Registers) {
        if let (Some(def), Some(result)) = (selected.result, regs.result)
            && let DefAt::Fixed(from) = def.at
            && from != result
        {
            self.buffer.push(encode::mov(result, Operand::Reg(from)));
        }
    }

    /// The difference of two addresses is 0, but any number for the kernel verifier.
    fn hide(&mut self, result: Reg, value: Operand) {
        self.buffer.push(encode::mov(result, Operand::Reg(Reg::FRAME)));
        self.buffer.push(encode::alu(BinaryOp::Sub, result, Operand::Reg(Reg::FRAME)));
        if value != Operand::Imm(0) {
            self.buffer.push(encode::alu(BinaryOp::Add, result, value));
        }
    }

    fn sign_extend(&mut self, reg: Reg, width: Width) {
        let shift = Operand::Imm(64 - width.bits() as i32);
        if width != Width::W64 {
            self.buffer.push(encode::alu(BinaryOp::Shl, reg, shift));
            self.buffer.push(encode::alu(BinaryOp::Ashr, reg, shift));
        }
    }

    /// Executes one instruction unless the test holds.
    fn skip_if(&mut self, test: Test, left: Reg, right: Operand, skipped: encode::Words) {
        let over = self.buffer.new_label();
        self.buffer.jump_if(test, left, right, over);
        self.buffer.push(skipped);
        self.buffer.bind(over);
    }

    fn terminator(&mut self, block: Block, next: Option<Block>) {
        let (function, allocation) = (self.function, self.allocation);
        let Some(selected) = &allocation.selection.terminators[block] else { return };
        let targets: Vec<Block> =
            function.blocks[block].terminator.iter().flat_map(|t| t.targets()).map(|t| t.block).collect();
        let edges = &allocation.edges[block];
        let regs = &allocation.terminators[block];
        match selected.op {
            End::Return => self.buffer.push(encode::exit()),
            End::Jump => self.go(block, &edges[0], targets[0], next),
            End::Branch { taken, .. } if targets[0] == targets[1] && edges.iter().all(Vec::is_empty) => {
                self.go(block, &[], targets[taken], next);
            }
            End::Branch { test, rhs, taken } => {
                let other = 1 - taken;
                let inverted = match test {
                    Test::Compare(cond) => Some(Test::Compare(cond.negated())),
                    Test::AnyBits => None,
                };
                // The edge that falls through is the one to the next block; else one that has moves.
                let falls_through = |n: usize| (Some(targets[n]) == next, !edges[n].is_empty());
                let (test, jump, fall) = match inverted {
                    Some(inverted) if falls_through(taken) > falls_through(other) => (inverted, other, taken),
                    _ => (test, taken, other),
                };
                let right = match rhs {
                    Rhs::Imm(imm) => Operand::Imm(imm),
                    Rhs::Use(n) => Operand::Reg(regs[usize::from(n)]),
                };
                let label = self.edge_label(block, &edges[jump], targets[jump]);
                self.buffer.jump_if(test, regs[0], right, label);
                self.go(block, &edges[fall], targets[fall], next);
            }
        }
    }

    /// The end of an edge: its moves, and a jump unless the target comes next. A loop is closed by a jump
    /// in any case: older kernels take no other (`check_cfg`, kernel/bpf/verifier.c).
    fn go(&mut self, from: Block, moves: &[Move], target: Block, next: Option<Block>) {
        self.moves(moves);
        if Some(target) != next || self.back_edges.contains(&(from, target)) {
            self.buffer.jump(self.labels[target]);
        }
    }

    fn edge_label(&mut self, from: Block, moves: &'a [Move], target: Block) -> Label {
        if moves.is_empty() {
            return self.labels[target];
        }
        let label = self.buffer.new_label();
        self.stubs.push(Stub { label, from, moves, target });
        label
    }

    fn stubs(&mut self) {
        for Stub { label, from, moves, target } in std::mem::take(&mut self.stubs) {
            self.buffer.set_span(self.function.blocks[from].terminator_span);
            self.buffer.bind(label);
            self.go(from, moves, target, None);
        }
    }
}
