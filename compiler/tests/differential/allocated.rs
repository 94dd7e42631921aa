//! An allocation as IR again: what a function does if its values are where the allocation says.
//!
//! Registers and spill slots are passed from block to block as parameters, so that each use takes what is in
//! the place that the allocation names, and not the value that the IR names:
//!
//! ```text
//! v5 = add v3, v4          uses r6, r2, result in r6; r1 holds what the block was given as its r1
//!                          r6' = add r6, r2
//! ```
//! A wrong allocation becomes a function that does something else, which the interpreter sees.

use std::collections::BTreeMap;

use memql_compiler::alloc::memory::origin;
use memql_compiler::alloc::select::Use;
use memql_compiler::alloc::{Allocation, Allocations, Move, Place, Reg, Source, SpillSlot};
use memql_compiler::ir::{Block, Function, Inst, Module, Target, Terminator, Type, Value};

/// What is in a place that nothing was put into.
const POISON: i64 = 0x5a5a_dead_beef_a5a5;

/// The module with all values where the allocations say.
pub fn as_allocated(module: &Module, allocations: &Allocations) -> Module {
    let mut module = module.clone();
    for (program, allocations) in module.programs.iter_mut().zip(&allocations.programs) {
        let functions = program.functions.iter();
        program.functions = functions.map(|(id, f)| function(f, &allocations[id])).collect();
    }
    module
}

/// A function with all values where the allocation says.
pub fn function(old: &Function, allocation: &Allocation) -> Function {
    let mut new = Function::new(&old.params);
    new.slots = old.slots.clone();
    new.pool = old.pool.clone();
    let spills = (0..allocation.spill_slots).map(|n| Place::Spill(SpillSlot::from_u32(n)));
    let places: Vec<Place> = Reg::all().map(Place::Reg).chain(spills).collect();
    // The entry keeps its number, and has its own parameters.
    for _ in old.blocks.keys().skip(1) {
        let block = new.add_block();
        for _ in &places {
            new.add_param(block, Type::I64);
        }
    }
    let mut writer = Writer { old, new, allocation, block: old.entry(), holds: BTreeMap::new() };
    for &block in &allocation.selection.order {
        writer.block(block, &places);
    }
    // What cannot be reached has no code.
    for block in old.blocks.keys().filter(|block| !allocation.selection.order.contains(block)) {
        writer.block = block;
        let zero = writer.append(Inst::Const(0), Type::I64);
        writer.new.blocks[block].terminator = Some(Terminator::Return(zero));
    }
    writer.new
}

struct Writer<'f> {
    old: &'f Function,
    new: Function,
    allocation: &'f Allocation,
    block: Block,
    /// What each place holds now.
    holds: BTreeMap<Place, Value>,
}

/// The operands of one operation by the values that the IR names.
type Operands = BTreeMap<Value, Value>;

impl Writer<'_> {
    fn append(&mut self, inst: Inst, ty: Type) -> Value {
        self.new.append(self.block, inst, Some(ty), Default::default()).expect("it has a type")
    }

    fn block(&mut self, block: Block, places: &[Place]) {
        let allocation = self.allocation;
        self.block = block;
        let params = self.new.blocks[block].params.clone();
        if block == self.old.entry() {
            let poison = self.append(Inst::Const(POISON), Type::I64);
            self.holds = places.iter().map(|place| (*place, poison)).collect();
            let arguments = (0..params.len()).map(|n| Place::Reg(Reg::argument(n)));
            self.holds.extend(arguments.zip(params));
        } else {
            self.holds = places.iter().copied().zip(params).collect();
        }
        self.moves(&allocation.at_start[block]);
        let data = &self.old.blocks[block];
        for &inst in &data.insts {
            let Some(selected) = &allocation.selection.insts[inst] else { continue };
            self.moves(&allocation.before[inst]);
            let registers = &allocation.insts[inst];
            let operands = self.operands(&selected.uses, &registers.uses);
            let operation = self.with_operands(&self.old.insts[inst].clone(), &operands);
            let ty = self.old.results[inst].map(|value| self.old.type_of(value));
            let result = self.new.append(block, operation, ty, self.old.spans[inst]);
            let poison = self.append(Inst::Const(POISON), Type::I64);
            for reg in registers.temps.iter().copied().chain(selected.clobbers.iter()) {
                self.holds.insert(Place::Reg(reg), poison);
            }
            if let (Some(reg), Some(result)) = (registers.result, result) {
                self.holds.insert(Place::Reg(reg), result);
            }
        }
        self.moves(&allocation.before_terminator[block]);
        let uses = allocation.selection.terminators[block].as_ref().map_or(&[][..], |end| &end.uses);
        let operands = self.operands(uses, &allocation.terminators[block]);
        let old = data.terminator.as_ref().expect("a block ends");
        let new = match old {
            Terminator::Return(value) => Terminator::Return(self.operand(*value, &operands)),
            Terminator::Jump(to) => Terminator::Jump(self.edge(block, 0, to, places)),
            Terminator::Branch { cond, left, right, then, otherwise } => Terminator::Branch {
                cond: *cond,
                left: self.operand(*left, &operands),
                right: self.operand(*right, &operands),
                then: self.edge(block, 0, then, places),
                otherwise: self.edge(block, 1, otherwise, places),
            },
        };
        self.new.blocks[block].terminator = Some(new);
    }

    /// An edge: its moves happen in the block before, since they change nothing that others see.
    fn edge(&mut self, block: Block, n: usize, to: &Target, places: &[Place]) -> Target {
        let before = self.holds.clone();
        let moves = self.allocation.edges[block].get(n).cloned().unwrap_or_default();
        self.moves(&moves);
        let args = places.iter().map(|place| self.holds[place]).collect();
        self.holds = before;
        Target { block: to.block, args }
    }

    fn moves(&mut self, moves: &[Move]) {
        for step in moves {
            let value = match step.from {
                Source::Place(place) => self.holds[&place],
                Source::Remat(value) => self.operand(value, &Operands::new()),
            };
            self.holds.insert(step.to, value);
        }
    }

    fn operands(&mut self, uses: &[Use], registers: &[Reg]) -> Operands {
        let mut operands = Operands::new();
        for (u, reg) in uses.iter().zip(registers) {
            let value = self.holds[&Place::Reg(*reg)];
            // Loads look at the type of what they go through.
            let ty = self.old.type_of(u.value);
            let value = if ty == Type::Btf { self.append(Inst::Cast(value), ty) } else { value };
            operands.insert(u.value, value);
        }
        operands
    }

    /// A value of the IR: an operand, or made here of operands.
    fn operand(&mut self, value: Value, operands: &Operands) -> Value {
        if let Some(operand) = operands.get(&value).or_else(|| operands.get(&origin(self.old, value))) {
            return *operand;
        }
        let inst = self.old.def(value).expect("a parameter is an operand where it is read").clone();
        let inst = self.with_operands(&inst, operands);
        self.append(inst, self.old.type_of(value))
    }

    fn with_operands(&mut self, inst: &Inst, operands: &Operands) -> Inst {
        let mut inst = inst.clone();
        // What is made again of operands has no list of arguments.
        let mut pool = std::mem::take(&mut self.new.pool);
        inst.map_args(&mut pool, |value| self.operand(value, operands));
        self.new.pool = pool;
        inst
    }
}
