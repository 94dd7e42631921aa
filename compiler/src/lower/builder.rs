//! Builds one IR function: a current block, a current source span, and a method per instruction.
//!
//! Code that follows a `return` in the source goes into a fresh block that nothing jumps to; such
//! blocks are dropped when the function is finished.

use memql_grammar::ast::Span;

use crate::ir::compact::compact;
use crate::ir::{
    BinaryOp, Block, Cond, FuncRef, Function, Global, Helper, Inst, MapRef, Slot, SlotDef, Target,
    Terminator, Type, UnaryOp, Value, ValueList, Width,
};

/// A function under construction.
pub(super) struct Builder {
    /// The function.
    pub function: Function,
    block: Block,
    /// The source text that the next instructions come from.
    pub span: Span,
}

impl Builder {
    /// A function with these parameters; its entry block is current.
    pub fn new(params: &[Type], span: Span) -> Builder {
        let function = Function::new(params);
        let block = function.entry();
        Builder { function, block, span }
    }

    /// The n-th parameter of the function.
    pub fn param(&self, n: usize) -> Value {
        self.function.blocks[self.function.entry()].params[n]
    }

    fn value(&mut self, inst: Inst, ty: Type) -> Value {
        self.function
            .append(self.block, inst, Some(ty), self.span)
            .expect("the instruction was given a result type")
    }

    fn effect(&mut self, inst: Inst) {
        self.function.append(self.block, inst, None, self.span);
    }

    /// A new block, not yet current.
    pub fn block(&mut self) -> Block {
        self.function.add_block()
    }

    /// A new block with one parameter.
    pub fn block_with(&mut self, ty: Type) -> (Block, Value) {
        let block = self.function.add_block();
        let value = self.function.add_param(block, ty);
        (block, value)
    }

    /// A new block that returns a number.
    pub fn block_returning(&mut self, value: i64) -> Block {
        let (block, here) = (self.block(), self.block);
        self.switch_to(block);
        let value = self.int(value);
        self.terminate(Terminator::Return(value));
        self.switch_to(here);
        block
    }

    /// Goes on in this block.
    pub fn switch_to(&mut self, block: Block) {
        self.block = block;
    }

    /// New memory of the function.
    pub fn slot(&mut self, size: u32, align: u32, name: Option<&str>) -> Slot {
        self.function.add_slot(SlotDef { size: size.max(1), align, name: name.map(str::to_owned) })
    }

    /// An integer.
    pub fn int(&mut self, value: i64) -> Value {
        self.value(Inst::Const(value), Type::I64)
    }

    /// `op a`
    pub fn unary(&mut self, op: UnaryOp, arg: Value) -> Value {
        self.value(Inst::Unary { op, arg }, Type::I64)
    }

    /// `op a, b` of integers.
    pub fn binary(&mut self, op: BinaryOp, left: Value, right: Value) -> Value {
        self.value(Inst::Binary { op, left, right }, Type::I64)
    }

    /// `op a, constant`
    pub fn binary_int(&mut self, op: BinaryOp, left: Value, right: i64) -> Value {
        let right = self.int(right);
        self.binary(op, left, right)
    }

    /// A pointer plus an integer: of the pointer's type.
    pub fn offset(&mut self, pointer: Value, by: Value) -> Value {
        let ty = self.function.type_of(pointer);
        self.value(Inst::Binary { op: BinaryOp::Add, left: pointer, right: by }, ty)
    }

    /// A pointer plus a constant.
    pub fn offset_int(&mut self, pointer: Value, by: i64) -> Value {
        if by == 0 {
            return pointer;
        }
        let by = self.int(by);
        self.offset(pointer, by)
    }

    /// 1 if the comparison holds, else 0.
    pub fn icmp(&mut self, cond: Cond, left: Value, right: Value) -> Value {
        self.value(Inst::Icmp { cond, left, right }, Type::I64)
    }

    /// `then` if the condition is not 0, else `otherwise`.
    pub fn select(&mut self, cond: Value, then: Value, otherwise: Value) -> Value {
        self.value(Inst::Select { cond, then, otherwise }, Type::I64)
    }

    /// Loads an integer.
    pub fn load(&mut self, width: Width, signed: bool, ptr: Value, off: i32) -> Value {
        self.value(Inst::Load { width, signed, ptr, off }, Type::I64)
    }

    /// Loads 64 bits of a given type.
    pub fn load_as(&mut self, ty: Type, ptr: Value, off: i32) -> Value {
        self.value(Inst::Load { width: Width::W64, signed: false, ptr, off }, ty)
    }

    /// Stores the low bits of a value.
    pub fn store(&mut self, width: Width, ptr: Value, off: i32, value: Value) {
        self.effect(Inst::Store { width, ptr, off, value });
    }

    /// Adds to memory in one step.
    pub fn atomic_add(&mut self, width: Width, ptr: Value, off: i32, value: Value) {
        self.effect(Inst::AtomicAdd { width, ptr, off, value });
    }

    /// Adds to memory in one step and gives the old value.
    pub fn atomic_fetch_add(&mut self, width: Width, ptr: Value, off: i32, value: Value) -> Value {
        self.value(Inst::AtomicFetchAdd { width, ptr, off, value }, Type::I64)
    }

    /// The address of a slot.
    pub fn slot_addr(&mut self, slot: Slot) -> Value {
        self.value(Inst::SlotAddr { slot, off: 0 }, Type::Stack)
    }

    /// The address of a global.
    pub fn global_addr(&mut self, global: Global) -> Value {
        self.value(Inst::GlobalAddr { global, off: 0 }, Type::Map)
    }

    /// A map, as helpers take it.
    pub fn map_object(&mut self, map: MapRef) -> Value {
        self.value(Inst::MapObject(map), Type::MapObject)
    }

    /// A callback, as helpers take it.
    pub fn fn_addr(&mut self, function: FuncRef) -> Value {
        self.value(Inst::FnAddr(function), Type::Callback)
    }

    /// Sets memory to zero.
    pub fn mem_zero(&mut self, ptr: Value, off: i32, len: u32) {
        if len > 0 {
            self.effect(Inst::MemZero { ptr, off, len });
        }
    }

    /// Copies memory.
    pub fn mem_copy(
        &mut self,
        (dst, dst_off): (Value, i32),
        (src, src_off): (Value, i32),
        len: u32,
        align: u32,
    ) {
        if len > 0 {
            self.effect(Inst::MemCopy { dst, dst_off, src, src_off, len, align });
        }
    }

    /// Calls a helper.
    pub fn call(&mut self, helper: Helper, args: &[Value]) -> Value {
        let signature = crate::helpers::signature(helper).expect("lowering only calls helpers of the table");
        let args = ValueList::from_slice(args, &mut self.function.pool);
        self.value(Inst::Call { helper, args }, signature.result)
    }

    /// The same bits as another type of number.
    pub fn cast(&mut self, value: Value, ty: Type) -> Value {
        if self.function.type_of(value) == ty { value } else { self.value(Inst::Cast(value), ty) }
    }

    /// An address of memory, or of a map, as a number.
    pub fn address(&mut self, value: Value) -> Value {
        self.value(Inst::Address(value), Type::Kernel)
    }

    fn terminate(&mut self, terminator: Terminator) {
        let data = &mut self.function.blocks[self.block];
        debug_assert!(data.terminator.is_none(), "a block ends once");
        data.terminator = Some(terminator);
        data.terminator_span = self.span;
    }

    /// Ends the block by going to another.
    pub fn jump(&mut self, block: Block, args: &[Value]) {
        self.terminate(Terminator::Jump(Target { block, args: args.to_vec() }));
    }

    /// Ends the block by a comparison; the targets take no arguments.
    pub fn branch(&mut self, cond: Cond, left: Value, right: Value, then: Block, otherwise: Block) {
        self.terminate(Terminator::Branch {
            cond,
            left,
            right,
            then: Target { block: then, args: Vec::new() },
            otherwise: Target { block: otherwise, args: Vec::new() },
        });
    }

    /// Ends the block by comparing with a constant.
    pub fn branch_int(&mut self, cond: Cond, left: Value, right: i64, then: Block, otherwise: Block) {
        let right = self.int(right);
        self.branch(cond, left, right, then, otherwise);
    }

    /// Ends the function. What follows goes into a block that nothing reaches.
    pub fn ret(&mut self, value: i64) {
        let value = self.int(value);
        self.ret_value(value);
    }

    /// The same with a value.
    pub fn ret_value(&mut self, value: Value) {
        self.terminate(Terminator::Return(value));
        let dead = self.block();
        self.switch_to(dead);
    }

    /// Ends the block; what follows goes into a block that nothing reaches.
    pub fn jump_away(&mut self, block: Block) {
        self.jump(block, &[]);
        let dead = self.block();
        self.switch_to(dead);
    }

    /// The finished function.
    pub fn finish(mut self) -> Function {
        if self.function.blocks[self.block].terminator.is_none() {
            let zero = self.int(0);
            self.terminate(Terminator::Return(zero));
        }
        // A block opened after the last `return` and never filled.
        for block in self.function.blocks.keys().collect::<Vec<_>>() {
            if self.function.blocks[block].terminator.is_none() {
                self.switch_to(block);
                let zero = self.int(0);
                self.terminate(Terminator::Return(zero));
            }
        }
        compact(&mut self.function);
        self.function
    }

    /// Runs `body` only if the comparison with a constant holds; what is rarely taken.
    pub fn when(&mut self, cond: Cond, left: Value, right: i64, body: impl FnOnce(&mut Builder)) {
        let (then, after) = (self.block(), self.block());
        self.branch_int(cond, left, right, then, after);
        self.switch_to(then);
        body(self);
        self.jump(after, &[]);
        self.switch_to(after);
    }
}
