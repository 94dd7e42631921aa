//! Running a program: functions, blocks, instructions.

use cranelift_entity::SecondaryMap;
use memql_grammar::ast::Span;

use super::arith;
use super::memory::{Address, Memory, ObjectId, ObjectKind, Val};
use super::trap::{Fault, Trap};
use super::{Machine, Store};
use crate::ir::text::{ValueNames, print_inst, print_terminator};
use crate::ir::{
    BinaryOp, Block, Cond, FuncRef, Function, Inst, InstId, Program, Slot, Target, Terminator, Type, Value,
    Width,
};

/// How many functions may be active at once (`MAX_CALL_FRAMES`, include/linux/bpf_verifier.h).
const MAX_FRAMES: usize = 8;

/// A run of a program.
pub(super) struct Run<'a, 'm> {
    pub machine: &'a mut Machine<'m>,
    pub program: &'m Program,
    pub context: ObjectId,
    frames: usize,
    steps: u64,
    /// Where the innermost fault happened; outer functions leave it alone.
    trap: Option<Trap>,
}

/// An active function.
pub(super) struct Frame<'m> {
    func: FuncRef,
    pub function: &'m Function,
    values: SecondaryMap<Value, Option<Val>>,
    slots: SecondaryMap<Slot, Option<ObjectId>>,
}

/// Where a function is.
#[derive(Clone, Copy)]
enum At {
    Inst(Block, InstId),
    End(Block),
}

/// Runs a program once.
pub(super) fn run(machine: &mut Machine<'_>, program: usize, context: &[u8]) -> Result<i64, Trap> {
    let module = machine.module;
    let Some(program) = module.programs.get(program) else {
        let fault = Fault::Malformed { what: format!("there is no program {program}") };
        let (program, span) = (program.to_string(), Span::default());
        return Err(Trap { program, function: FuncRef::from_u32(0), at: "header".into(), span, fault });
    };
    let context = machine.memory.add(ObjectKind::Context, context.to_vec(), 8);
    let mut run = Run { machine, program, context, frames: 0, steps: 0, trap: None };
    let entry = FuncRef::from_u32(0);
    let argument = Val::Address(Address { object: context, offset: 0 });
    let result = run.call_function(entry, &[argument]).and_then(|value| run.end(value));
    result.map_err(|fault| {
        let name = program.name.clone();
        run.trap.take().unwrap_or(Trap {
            program: name,
            function: entry,
            at: "end".into(),
            span: Span::default(),
            fault,
        })
    })
}

impl<'m> Run<'_, 'm> {
    /// Ends a run that returned.
    fn end(&mut self, value: i64) -> Result<i64, Fault> {
        let mut unreleased = false;
        for store in self.machine.stores.values_mut() {
            if let Store::Ring(ring) = store {
                unreleased |= ring.drop_unreleased();
            }
        }
        if unreleased { Err(Fault::Unreleased) } else { Ok(value) }
    }

    /// Calls a function; surplus arguments are dropped.
    pub fn call_function(&mut self, func: FuncRef, args: &[Val]) -> Result<i64, Fault> {
        let Some(function) = self.program.functions.get(func) else {
            return Err(Fault::Malformed { what: format!("{func} does not exist") });
        };
        if self.frames == MAX_FRAMES {
            return Err(Fault::TooDeep);
        }
        let mut frame = Frame { func, function, values: SecondaryMap::new(), slots: SecondaryMap::new() };
        for (slot, def) in &function.slots {
            let id = self.machine.memory.add_unwritten(ObjectKind::Slot(slot), def.size as usize, def.align);
            frame.slots[slot] = Some(id);
        }
        if args.len() < function.params.len() {
            return Err(Fault::Malformed { what: format!("{func} wants more arguments than it gets") });
        }
        for (param, arg) in function.blocks[function.entry()].params.iter().zip(args) {
            frame.values[*param] = Some(*arg);
        }
        self.frames += 1;
        let result = self.blocks(&mut frame);
        self.frames -= 1;
        for slot in function.slots.keys() {
            if let Some(id) = frame.slots[slot] {
                self.machine.memory.end(id);
            }
        }
        result
    }

    fn blocks(&mut self, frame: &mut Frame<'m>) -> Result<i64, Fault> {
        let function = frame.function;
        let mut block = function.entry();
        loop {
            for inst in &function.blocks[block].insts {
                let result = self.step().and_then(|()| self.inst(frame, *inst));
                self.located(frame, At::Inst(block, *inst), result)?;
            }
            let next = self.step().and_then(|()| self.terminator(frame, block));
            match self.located(frame, At::End(block), next)? {
                Next::Block(next) => block = next,
                Next::Return(value) => return Ok(value),
            }
        }
    }

    fn step(&mut self) -> Result<(), Fault> {
        self.steps += 1;
        if self.steps > self.machine.world.max_steps { Err(Fault::Endless) } else { Ok(()) }
    }

    /// Notes where a fault happened.
    fn located<T>(&mut self, frame: &Frame<'_>, at: At, result: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(fault) = &result
            && self.trap.is_none()
        {
            let (function, names) = (frame.function, ValueNames::new(frame.function));
            let (at, span) = match at {
                At::Inst(block, inst) => {
                    (format!("{block}: {}", print_inst(function, &names, inst)), function.spans[inst])
                }
                At::End(block) => {
                    let data = &function.blocks[block];
                    let text =
                        data.terminator.as_ref().map(|t| print_terminator(&names, t)).unwrap_or_default();
                    (format!("{block}: {text}"), data.terminator_span)
                }
            };
            let (program, fault) = (self.program.name.clone(), fault.clone());
            self.trap = Some(Trap { program, function: frame.func, at, span, fault });
        }
        result
    }

    fn terminator(&mut self, frame: &mut Frame<'m>, block: Block) -> Result<Next, Fault> {
        match &frame.function.blocks[block].terminator {
            None => Err(Fault::Malformed { what: format!("{block} has no end") }),
            Some(Terminator::Return(value)) => Ok(Next::Return(frame.number(*value)?)),
            Some(Terminator::Jump(target)) => frame.go(target),
            Some(Terminator::Branch { cond, left, right, then, otherwise }) => {
                let holds = compare(*cond, frame.get(*left)?, frame.get(*right)?)?;
                frame.go(if holds { then } else { otherwise })
            }
        }
    }

    fn inst(&mut self, frame: &mut Frame<'m>, id: InstId) -> Result<(), Fault> {
        let result = self.evaluate(frame, id)?;
        if let Some(value) = frame.function.results[id] {
            let Some(result) = result else {
                return Err(Fault::Malformed { what: "the instruction gives no value".into() });
            };
            self.check_type(result, frame.function.type_of(value))?;
            frame.values[value] = Some(result);
        }
        Ok(())
    }

    /// Fails if a value is not of a type. Null is a pointer of any type.
    pub fn check_type(&self, value: Val, ty: Type) -> Result<(), Fault> {
        let (fits, found) = match value {
            Val::Number(n) => {
                let null = n == 0 && ty.is_memory();
                (null || ty.is_number() || ty == Type::Btf, format!("the number {n:#x}"))
            }
            Val::Address(address) => {
                let found = self.machine.memory.type_of(address);
                (found == ty, found.name().to_owned())
            }
            Val::Map(map) => (ty == Type::MapObject, map.to_string()),
            Val::Callback(func) => (ty == Type::Callback, func.to_string()),
        };
        if fits { Ok(()) } else { Err(Fault::WrongType { expected: ty, found }) }
    }

    fn evaluate(&mut self, frame: &mut Frame<'m>, id: InstId) -> Result<Option<Val>, Fault> {
        let memory = &mut self.machine.memory;
        let value = match &frame.function.insts[id] {
            Inst::Const(n) => Val::Number(*n),
            Inst::Unary { op, arg } => Val::Number(arith::unary(*op, frame.number(*arg)?)),
            Inst::Binary { op, left, right } => binary(*op, frame.get(*left)?, frame.get(*right)?)?,
            Inst::Icmp { cond, left, right } => {
                Val::Number(i64::from(compare(*cond, frame.get(*left)?, frame.get(*right)?)?))
            }
            Inst::Select { cond, then, otherwise } => {
                let zero = Val::Number(0);
                frame.get(if compare(Cond::Ne, frame.get(*cond)?, zero)? { *then } else { *otherwise })?
            }
            Inst::Load { width, signed, ptr, off } => {
                let ty = frame.function.results[id].map_or(Type::I64, |value| frame.function.type_of(value));
                self.load(frame, ty, *width, *signed, (*ptr, *off))?
            }
            Inst::Store { width, ptr, off, value } => {
                let at = frame.address(*ptr, *off)?;
                memory.check_alignment(at, width.bytes(), false)?;
                match frame.get(*value)? {
                    Val::Number(n) => memory.write(at, &low_bytes(*width, n))?,
                    Val::Address(stored) if *width == Width::W64 => memory.store_address(at, stored)?,
                    other => return Err(operands(&[other])),
                }
                return Ok(None);
            }
            Inst::AtomicAdd { width, ptr, off, value } => {
                let addend = frame.number(*value)?;
                self.atomic(*width, frame.address(*ptr, *off)?, |old| Some(old.wrapping_add(addend)))?;
                return Ok(None);
            }
            Inst::AtomicFetchAdd { width, ptr, off, value } => {
                let addend = frame.number(*value)?;
                self.atomic(*width, frame.address(*ptr, *off)?, |old| Some(old.wrapping_add(addend)))?
            }
            Inst::AtomicXchg { width, ptr, off, value } => {
                let new = frame.number(*value)?;
                self.atomic(*width, frame.address(*ptr, *off)?, |_| Some(new))?
            }
            Inst::AtomicCmpXchg { width, ptr, off, expected, value } => {
                let (expected, new) = (frame.number(*expected)?, frame.number(*value)?);
                let expected = arith::zero_extend(*width, expected);
                self.atomic(*width, frame.address(*ptr, *off)?, |old| (old == expected).then_some(new))?
            }
            Inst::SlotAddr { slot, off } => {
                let Some(object) = frame.slots[*slot] else {
                    return Err(Fault::Malformed { what: format!("{slot} does not exist") });
                };
                Val::Address(Address { object, offset: i64::from(*off) })
            }
            Inst::GlobalAddr { global, off } => {
                let object = self.machine.globals[*global];
                Val::Address(Address { object, offset: i64::from(*off) })
            }
            Inst::MapObject(map) => Val::Map(*map),
            Inst::FnAddr(func) => Val::Callback(*func),
            Inst::MemZero { ptr, off, len } => {
                memory.write(frame.address(*ptr, *off)?, &vec![0; *len as usize])?;
                return Ok(None);
            }
            Inst::MemCopy { dst, dst_off, src, src_off, len, align } => {
                let from = frame.address(*src, *src_off)?;
                let to = frame.address(*dst, *dst_off)?;
                memory.check_alignment(from, *align, true)?;
                memory.check_alignment(to, *align, true)?;
                let distance = from.offset.abs_diff(to.offset);
                if from.object == to.object && distance < u64::from(*len) {
                    return Err(Fault::Argument { what: "the ranges of a copy overlap".into() });
                }
                let bytes = memory.read(from, *len as usize)?;
                memory.write(to, &bytes)?;
                return Ok(None);
            }
            Inst::Call { helper, args } => {
                let args = args.as_slice(&frame.function.pool);
                let mut values = Vec::with_capacity(args.len());
                for arg in args {
                    values.push(frame.get(*arg)?);
                }
                self.call(*helper, &values)?
            }
            Inst::Cast(value) => Val::Number(frame.number(*value)?),
            Inst::Address(value) => match frame.get(*value)? {
                Val::Address(address) => Val::Number(memory.number(address)),
                Val::Map(map) => Val::Number(Memory::map_number(map)),
                other => return Err(operands(&[other])),
            },
        };
        Ok(Some(value))
    }

    fn load(
        &mut self,
        frame: &Frame<'_>,
        ty: Type,
        width: Width,
        signed: bool,
        (ptr, off): (Value, i32),
    ) -> Result<Val, Fault> {
        if frame.function.type_of(ptr) == Type::Btf {
            // A load through a typed kernel pointer that faults gives 0.
            let address = frame.number(ptr)?.wrapping_add(i64::from(off)) as u64;
            let bytes = self.machine.world.kernel.read(address, width.bytes() as usize).unwrap_or_default();
            return Ok(Val::Number(extend(width, signed, &bytes)));
        }
        let (memory, at) = (&self.machine.memory, frame.address(ptr, off)?);
        memory.check_alignment(at, width.bytes(), false)?;
        if width == Width::W64
            && let Some(stored) = memory.stored_address(at)?
        {
            self.check_type(Val::Address(stored), ty)?;
            return Ok(Val::Address(stored));
        }
        let bytes = memory.read(at, width.bytes() as usize)?;
        Ok(Val::Number(extend(width, signed, &bytes)))
    }

    /// Replaces memory by what `f` makes of it; gives the old value.
    fn atomic(
        &mut self,
        width: Width,
        at: Address,
        f: impl FnOnce(i64) -> Option<i64>,
    ) -> Result<Val, Fault> {
        let memory = &mut self.machine.memory;
        memory.check_alignment(at, width.bytes(), true)?;
        let old = extend(width, false, &memory.read(at, width.bytes() as usize)?);
        memory.check_writable(at, width.bytes() as usize)?;
        if let Some(new) = f(old) {
            memory.write(at, &low_bytes(width, new))?;
        }
        Ok(Val::Number(old))
    }
}

/// Where a function goes on.
enum Next {
    Block(Block),
    Return(i64),
}

impl Frame<'_> {
    fn get(&self, value: Value) -> Result<Val, Fault> {
        self.values[value].ok_or(Fault::Undefined)
    }

    fn number(&self, value: Value) -> Result<i64, Fault> {
        number(self.get(value)?)
    }

    fn address(&self, value: Value, off: i32) -> Result<Address, Fault> {
        address(self.get(value)?).map(|a| Address { offset: a.offset.wrapping_add(i64::from(off)), ..a })
    }

    /// Goes to a block: all arguments are read before any parameter is written.
    fn go(&mut self, target: &Target) -> Result<Next, Fault> {
        let mut args = Vec::with_capacity(target.args.len());
        for arg in &target.args {
            args.push(self.get(*arg)?);
        }
        for (param, arg) in self.function.blocks[target.block].params.iter().zip(args) {
            self.values[*param] = Some(arg);
        }
        Ok(Next::Block(target.block))
    }
}

/// The value as a number.
pub(super) fn number(value: Val) -> Result<i64, Fault> {
    match value {
        Val::Number(n) => Ok(n),
        other => Err(operands(&[other])),
    }
}

/// The value as an address of memory.
pub(super) fn address(value: Val) -> Result<Address, Fault> {
    match value {
        Val::Address(address) => Ok(address),
        Val::Number(value) => Err(Fault::NoAddress { value }),
        other => Err(operands(&[other])),
    }
}

fn binary(op: BinaryOp, left: Val, right: Val) -> Result<Val, Fault> {
    match (op, left, right) {
        (_, Val::Number(a), Val::Number(b)) => Ok(Val::Number(arith::binary(op, a, b))),
        (BinaryOp::Add, Val::Address(a), Val::Number(by)) => {
            Ok(Val::Address(Address { offset: a.offset.wrapping_add(by), ..a }))
        }
        _ => Err(operands(&[left, right])),
    }
}

/// Whether a comparison holds. Addresses of different objects are different, and none is null.
fn compare(cond: Cond, left: Val, right: Val) -> Result<bool, Fault> {
    match (cond, left, right) {
        (_, Val::Number(a), Val::Number(b)) => Ok(arith::holds(cond, a, b)),
        (_, Val::Address(a), Val::Address(b)) if a.object == b.object => {
            Ok(arith::holds(cond, a.offset, b.offset))
        }
        (Cond::Eq, Val::Address(_), Val::Address(_) | Val::Number(0)) => Ok(false),
        (Cond::Ne, Val::Address(_), Val::Address(_) | Val::Number(0)) => Ok(true),
        (Cond::Eq | Cond::Ne, Val::Number(0), Val::Address(_)) => Ok(cond == Cond::Ne),
        _ => Err(operands(&[left, right])),
    }
}

fn operands(values: &[Val]) -> Fault {
    let words = values.iter().map(|value| match value {
        Val::Number(n) => format!("{n:#x}"),
        Val::Address(_) => "an address".into(),
        Val::Map(map) => map.to_string(),
        Val::Callback(func) => func.to_string(),
    });
    Fault::Operands { what: words.collect::<Vec<_>>().join(" and ") }
}

/// The low bytes of a number, as they lie in memory.
fn low_bytes(width: Width, n: i64) -> Vec<u8> {
    n.to_le_bytes()[..width.bytes() as usize].to_vec()
}

/// A number from its bytes; missing ones are zero.
fn extend(width: Width, signed: bool, bytes: &[u8]) -> i64 {
    let mut all = [0; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    let n = i64::from_le_bytes(all);
    if signed { arith::sign_extend(width, n) } else { n }
}
