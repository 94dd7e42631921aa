//! The IR verifier: what always holds between stages.
//!
//! It runs after lowering and, in tests and debug builds, after each pass. A violation is memql's own
//! error, never the user's. (The *kernel verifier* is the other one.)
//!
//! Declarations:
//! - A map's name is an identifier of at most 15 bytes, a global's and a program's are identifiers;
//!   each kind's names are unique.
//! - A ring buffer has neither key nor value and its size is a power of two; any other map has both; an
//!   array's key has 4 bytes; every map has room for at least one entry.
//! - A global's alignment is 1, 2, 4 or 8, its offset a multiple of it, and no two overlap.
//! - A slot has a size, and an alignment of 1, 2, 4 or 8.
//! - A program names its target exactly if its kind is bound to one at load time.
//! - A program has an entry function, whose one parameter is the context. Every function has at most 5
//!   parameters, which are those of its entry block.
//!
//! Structure:
//! - Every block ends in a terminator.
//! - Blocks, slots, maps, globals and functions that are named exist; `fn_addr` names a callback, not
//!   the entry.
//! - An instruction stands in one place; a value is defined once, by what it says defines it.
//! - The entry block has no predecessors, and every block can be reached: a pass that cuts a block off
//!   removes it.
//! - A definition dominates its uses.
//! - A jump gives its target as many arguments as it has parameters, of their types.
//!
//! Types:
//! - A constant is a number (an integer, a Kernel or a User address).
//! - Unary operations take and give integers; sizes of bytes to swap are 16, 32 and 64 bits.
//! - Binary operations take and give integers, except that adding an integer to an address of any kind, and
//!   subtracting one from a Kernel or User address, gives an address of that kind. An address of memory is
//!   the left operand.
//! - Comparisons take two values of one type, or any address and the constant 0. Maps and callbacks are
//!   never compared.
//! - `select` chooses between two values of its own type.
//! - Loads go through memory types only; one of less than 64 bits gives an integer. Maps and callbacks are
//!   never loaded.
//! - Stores, `mem_zero` and the destination of `mem_copy` are Stack, Map or Ring memory. An address of
//!   memory is stored with all its 64 bits; maps and callbacks are never stored.
//! - Atomics change Map memory, 32 or 64 bits wide, by numbers.
//! - A helper call has the arguments that [`super::effects`] says, and defines a value of the type that
//!   [`crate::helpers`] says, or none. So `probe_read_user` reads User addresses only, and
//!   `probe_read_kernel` never one.
//! - A callback's parameters are the first ones of what its helper passes.
//! - `cast` is among numbers. A function returns an integer.
//! - An instruction defines a value exactly if its opcode does (a call may do without).
//!
//! Memory, where the base of an access is a slot's or a global's address:
//! - The address and the access are inside it; helpers get no more bytes of it than it has.
//! - In a slot the access is aligned to its width: the kernel verifier insists on it for the stack.

use std::collections::HashSet;
use std::fmt;

use cranelift_entity::SecondaryMap;

use super::cfg::Cfg;
use super::dominators::Dominators;
use super::text::{ValueNames, print_inst, print_terminator};
use super::{Block, DefinedBy, FuncRef, Function, Inst, InstId, Module, Program, Target, Type, Value};

mod declarations;
mod memory;
mod typing;

/// One invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The program's name; `None` for the module's own declarations.
    pub program: Option<String>,
    /// The function, where it is one's.
    pub function: Option<FuncRef>,
    /// The offending line of the text form, with its block.
    pub at: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { program, function, at, message } = self;
        if let Some(program) = program {
            write!(f, "%{program} ")?;
        }
        if let Some(function) = function {
            write!(f, "{function} ")?;
        }
        write!(f, "{at}: {message}")
    }
}

/// Checks every invariant.
///
/// # Errors
/// All violations found, in the order of the text form. A function whose structure is broken is not
/// checked further.
pub fn verify(module: &Module) -> Result<(), Vec<Violation>> {
    let mut violations = Vec::new();
    declarations::check(module, &mut violations);
    for program in &module.programs {
        for (func, function) in &program.functions {
            let mut checker = Checker {
                module,
                program,
                func,
                function,
                names: ValueNames::new(function),
                defined: SecondaryMap::new(),
                violations: &mut violations,
            };
            checker.check();
        }
    }
    if violations.is_empty() { Ok(()) } else { Err(violations) }
}

/// One function being checked.
struct Checker<'a> {
    module: &'a Module,
    program: &'a Program,
    func: FuncRef,
    function: &'a Function,
    names: ValueNames,
    /// Where a block defines each value: block, and position in it (parameters are at 0).
    defined: SecondaryMap<Value, Option<(Block, usize)>>,
    violations: &'a mut Vec<Violation>,
}

/// What a violation is about.
#[derive(Clone, Copy)]
enum At {
    Function,
    Block(Block),
    Inst(Block, InstId),
    Terminator(Block),
}

impl Checker<'_> {
    fn check(&mut self) {
        let before = self.violations.len();
        self.check_signature();
        self.check_definitions();
        self.check_references();
        if self.violations.len() > before {
            return;
        }
        let cfg = Cfg::new(self.function);
        self.check_flow(&cfg);
        let dominators = Dominators::new(self.function, &cfg);
        for block in self.function.blocks.keys().filter(|&b| cfg.is_reachable(b)) {
            self.check_dominance(&dominators, block);
            self.check_types(block);
            self.check_memory(block);
        }
    }

    fn report(&mut self, at: At, message: impl Into<String>) {
        let at = match at {
            At::Function => "header".to_string(),
            At::Block(block) => block.to_string(),
            At::Inst(block, inst) => format!("{block}: {}", print_inst(self.function, &self.names, inst)),
            At::Terminator(block) => {
                let terminator = self.function.blocks[block].terminator.as_ref();
                format!(
                    "{block}: {}",
                    terminator.map(|t| print_terminator(&self.names, t)).unwrap_or_default()
                )
            }
        };
        let (program, function) = (Some(self.program.name.clone()), Some(self.func));
        self.violations.push(Violation { program, function, at, message: message.into() });
    }

    /// A value with its type, for messages.
    fn show(&self, value: Value) -> String {
        format!("{}: {}", self.names.of(value), self.function.type_of(value).name())
    }

    fn check_signature(&mut self) {
        let function = self.function;
        if function.params.len() > 5 {
            self.report(
                At::Function,
                format!("{} parameters, but there are 5 registers for them", function.params.len()),
            );
        }
        let is_entry = self.func == FuncRef::from_u32(0);
        if is_entry && function.params != [Type::Ctx] {
            self.report(At::Function, "a program's entry has one parameter, the context");
        }
        let Some(entry) = function.blocks.values().next() else {
            return self.report(At::Function, "a function without blocks");
        };
        let types: Option<Vec<Type>> =
            entry.params.iter().map(|&v| function.values.get(v).map(|def| def.ty)).collect();
        if types.as_deref() != Some(&function.params) {
            self.report(At::Function, "the entry block's parameters are not the function's");
        }
        for (slot, def) in &function.slots {
            if def.size == 0 || !matches!(def.align, 1 | 2 | 4 | 8) {
                self.report(
                    At::Function,
                    format!("{slot} has size {} and alignment {}", def.size, def.align),
                );
            }
        }
    }

    fn check_definitions(&mut self) {
        let function = self.function;
        let mut placed: HashSet<InstId> = HashSet::new();
        for (block, data) in &function.blocks {
            for (index, &param) in data.params.iter().enumerate() {
                self.define(At::Block(block), param, DefinedBy::Param(block, index as u32), (block, 0));
            }
            for (index, &inst) in data.insts.iter().enumerate() {
                if !function.insts.is_valid(inst) {
                    self.report(At::Block(block), format!("{inst} does not exist"));
                } else if !placed.insert(inst) {
                    self.report(At::Inst(block, inst), "the instruction stands in two places");
                } else if let Some(value) = function.results[inst] {
                    self.define(At::Inst(block, inst), value, DefinedBy::Inst(inst), (block, index + 1));
                }
            }
            if data.terminator.is_none() {
                self.report(At::Block(block), "the block has no terminator");
            }
        }
    }

    fn define(&mut self, at: At, value: Value, by: DefinedBy, place: (Block, usize)) {
        match self.function.values.get(value) {
            None => self.report(at, format!("{value} does not exist")),
            Some(def) if def.by != by => {
                self.report(
                    at,
                    format!("{} is defined elsewhere, says its definition", self.names.of(value)),
                );
            }
            Some(_) if self.defined[value].is_some() => {
                self.report(at, format!("{} is defined twice", self.names.of(value)));
            }
            Some(_) => self.defined[value] = Some(place),
        }
    }

    fn check_references(&mut self) {
        let function = self.function;
        for (block, data) in &function.blocks {
            for &inst in data.insts.iter().filter(|&&inst| function.insts.is_valid(inst)) {
                let at = At::Inst(block, inst);
                let mut args = Vec::new();
                function.insts[inst].for_each_arg(&function.pool, |arg| args.push(arg));
                self.check_defined(at, &args);
                self.check_entities(at, &function.insts[inst]);
            }
            let Some(terminator) = &data.terminator else { continue };
            let mut args = Vec::new();
            terminator.for_each_arg(|arg| args.push(arg));
            self.check_defined(At::Terminator(block), &args);
            for target in terminator.targets().filter(|t| !function.blocks.is_valid(t.block)) {
                self.report(At::Terminator(block), format!("{} does not exist", target.block));
            }
        }
    }

    fn check_defined(&mut self, at: At, args: &[Value]) {
        for &arg in args {
            if self.defined[arg].is_none() {
                self.report(at, format!("{} is not defined in any block", self.names.of(arg)));
            }
        }
    }

    fn check_entities(&mut self, at: At, inst: &Inst) {
        let missing = match inst {
            Inst::SlotAddr { slot, .. } if !self.function.slots.is_valid(*slot) => slot.to_string(),
            Inst::GlobalAddr { global, .. } if !self.module.globals.is_valid(*global) => global.to_string(),
            Inst::MapObject(map) if !self.module.maps.is_valid(*map) => map.to_string(),
            Inst::FnAddr(func) if !self.program.functions.is_valid(*func) => func.to_string(),
            Inst::FnAddr(func) if *func == FuncRef::from_u32(0) => {
                return self.report(at, format!("{func} is the program's entry, not a callback"));
            }
            _ => return,
        };
        self.report(at, format!("{missing} does not exist"));
    }

    fn check_flow(&mut self, cfg: &Cfg) {
        let function = self.function;
        if !cfg.preds(function.entry()).is_empty() {
            self.report(At::Block(function.entry()), "the entry block has predecessors");
        }
        for (block, data) in &function.blocks {
            if !cfg.is_reachable(block) {
                self.report(At::Block(block), "the block cannot be reached");
            }
            for target in data.terminator.iter().flat_map(|t| t.targets()) {
                self.check_block_args(block, target);
            }
        }
    }

    fn check_block_args(&mut self, block: Block, target: &Target) {
        let (at, params) = (At::Terminator(block), &self.function.blocks[target.block].params);
        if params.len() != target.args.len() {
            let (target, expected, found) = (target.block, params.len(), target.args.len());
            return self.report(at, format!("{target} takes {expected} arguments, found {found}"));
        }
        for (&param, &arg) in params.iter().zip(&target.args) {
            if self.function.type_of(param) != self.function.type_of(arg) {
                let (expected, found) = (self.show(param), self.show(arg));
                self.report(at, format!("{} has the parameter {expected}, found {found}", target.block));
            }
        }
    }

    fn check_dominance(&mut self, dominators: &Dominators, block: Block) {
        let (function, data) = (self.function, &self.function.blocks[block]);
        for (index, &inst) in data.insts.iter().enumerate() {
            let mut args = Vec::new();
            function.insts[inst].for_each_arg(&function.pool, |arg| args.push(arg));
            self.check_uses(dominators, At::Inst(block, inst), (block, index + 1), &args);
        }
        let mut args = Vec::new();
        data.terminator.iter().for_each(|t| t.for_each_arg(|arg| args.push(arg)));
        self.check_uses(dominators, At::Terminator(block), (block, data.insts.len() + 1), &args);
    }

    fn check_uses(
        &mut self,
        dominators: &Dominators,
        at: At,
        (block, position): (Block, usize),
        args: &[Value],
    ) {
        for &arg in args {
            let Some((defined_in, defined_at)) = self.defined[arg] else { continue };
            let dominates = match defined_in == block {
                true => defined_at < position,
                false => dominators.dominates(defined_in, block),
            };
            if !dominates {
                self.report(
                    at,
                    format!("the definition of {} does not dominate this use", self.names.of(arg)),
                );
            }
        }
    }
}
