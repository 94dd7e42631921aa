//! From allocated IR to an eBPF object.
//!
//! ```text
//! legalise     what eBPF cannot do in one operation is rewritten, before allocation
//! hide         what rounds of a loop hand on is hidden from the kernel verifier
//! function     each function's operations become instructions with labels
//! code         labels become offsets
//! elf, btf     the object that libbpf opens; lines and columns of the script go along
//! asm          the same as text
//! ```

use std::fmt;

use crate::alloc::{Allocations, allocate};
use crate::ir::{FuncRef, Global, Inst, Module, Program};
use crate::scratch::{MAX_SCRATCH_BYTES, SPILL_BYTES, move_to_scratch};
use crate::sources::Sources;
use crate::target::Features;

pub mod asm;
pub mod btf;
pub mod code;
pub mod elf;
pub mod encode;
pub mod function;
pub mod hide;
pub mod legalise;
pub mod lines;

pub use hide::hide;
pub use legalise::legalise;

/// Stack the kernel gives a program and the callbacks it is in, in bytes (`MAX_BPF_STACK`,
/// include/linux/filter.h).
pub const STACK_BYTES: u32 = 512;

/// What the kernel verifier rounds each frame of a call chain up to (`check_max_stack_depth`,
/// kernel/bpf/verifier.c; newer kernels round to 16).
pub const FRAME_ROUNDING_BYTES: u32 = 32;

/// An emitted module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// The ELF relocatable.
    pub object: Vec<u8>,
    /// The instructions as text.
    pub asm: String,
}

/// Why a module cannot be emitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EmitError {
    /// A program needs more stack than there is.
    Stack {
        /// The program.
        program: String,
        /// Bytes that it and its callbacks need.
        bytes: u32,
        /// The variables that take most, largest first, with their bytes.
        variables: Vec<(String, u32)>,
    },
    /// What a program moved to scratch memory is more than an entry can hold.
    Scratch {
        /// The program.
        program: String,
        /// Bytes that it needs.
        bytes: u32,
        /// The variables that take most, largest first, with their bytes.
        variables: Vec<(String, u32)>,
    },
    /// The ELF writer refused something: a bug of memql.
    Object(String),
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EmitError::Stack { program, bytes, variables } => {
                write!(f, "`{program}` needs {bytes} bytes of stack, the kernel gives {STACK_BYTES}")?;
                write_variables(f, variables)
            }
            EmitError::Scratch { program, bytes, variables } => {
                write!(
                    f,
                    "`{program}` needs {bytes} bytes of scratch memory, the kernel gives {MAX_SCRATCH_BYTES}"
                )?;
                write_variables(f, variables)
            }
            EmitError::Object(message) => write!(f, "internal error: cannot write the object: {message}"),
        }
    }
}

fn write_variables(f: &mut fmt::Formatter<'_>, variables: &[(String, u32)]) -> fmt::Result {
    for (n, (name, bytes)) in variables.iter().enumerate() {
        write!(f, "{} {name} ({bytes} bytes)", if n == 0 { ":" } else { "," })?;
    }
    Ok(())
}

impl std::error::Error for EmitError {}

/// The whole back end: an optimised module becomes an object. Afterwards `module` is the IR as it was emitted.
///
/// `busy_counter` is a `u64` that counts runs which found their scratch memory in use.
///
/// # Errors
/// If a program's variables fit neither the stack nor scratch memory.
pub fn back_end(
    module: &mut Module,
    features: &Features,
    busy_counter: Global,
    sources: &Sources,
) -> Result<Emitted, EmitError> {
    let mut spill_bytes = SPILL_BYTES;
    loop {
        let mut attempt = module.clone();
        move_to_scratch(&mut attempt, features, busy_counter, spill_bytes)?;
        legalise(&mut attempt, features);
        hide(&mut attempt);
        let allocations = allocate(&attempt, features);
        match emit(&attempt, &allocations, sources) {
            // More was spilled than there was room for: move more variables away.
            Err(EmitError::Stack { .. }) if spill_bytes < STACK_BYTES => spill_bytes *= 2,
            result => {
                *module = attempt;
                return result;
            }
        }
    }
}

/// Emits a module. It must be legal ([`legalise()`]) and `allocations` be made of it.
///
/// `sources` are the script's texts; spans of the IR point into them.
///
/// # Errors
/// If a program needs too much stack.
pub fn emit(module: &Module, allocations: &Allocations, sources: &Sources) -> Result<Emitted, EmitError> {
    let mut asm = String::new();
    let mut code = Vec::new();
    for (program, allocations) in module.programs.iter().zip(&allocations.programs) {
        let frames: Vec<u32> = allocations.values().map(|a| a.frame.size).collect();
        check_stack(program, &frames)?;
        let mut functions = Vec::new();
        for (id, function) in &program.functions {
            let emitted = function::emit(module, function, &allocations[id]);
            let name = elf::function_name(program, id);
            let section = if id.as_u32() == 0 { elf::section_name(program) } else { ".text".to_owned() };
            let heading = asm::Heading { name: &name, section: &section, stack: allocations[id].frame.size };
            asm::print(&mut asm, module, heading, &emitted, sources);
            functions.push(emitted);
        }
        code.push(functions);
    }
    let object = elf::write(module, &code, sources)?;
    Ok(Emitted { object, asm })
}

/// Fails if a program's deepest chain of callbacks does not fit the stack.
fn check_stack(program: &Program, frames: &[u32]) -> Result<(), EmitError> {
    let bytes = chain_bytes(program, frames, FuncRef::from_u32(0), program.functions.len());
    if bytes <= STACK_BYTES {
        return Ok(());
    }
    Err(EmitError::Stack { program: program.name.clone(), bytes, variables: largest_variables(program) })
}

/// What a slot without a name is called.
pub const TEMPORARY: &str = "a temporary";

/// The five largest variables of a program with their bytes, for messages.
pub fn largest_variables(program: &Program) -> Vec<(String, u32)> {
    let slots = program.functions.values().flat_map(|f| f.slots.values());
    let mut variables: Vec<(String, u32)> =
        slots.map(|s| (s.name.clone().unwrap_or_else(|| TEMPORARY.into()), s.size)).collect();
    variables.sort_by_key(|(name, size)| (std::cmp::Reverse(*size), name.clone()));
    variables.truncate(5);
    variables
}

/// Bytes of stack of a function and the deepest chain of callbacks below it; `depth` bounds the chain,
/// which the kernel verifier would refuse if it were circular.
pub fn chain_bytes(program: &Program, frames: &[u32], function: FuncRef, depth: usize) -> u32 {
    let own = frames[function.as_u32() as usize].max(1).next_multiple_of(FRAME_ROUNDING_BYTES);
    if depth == 0 {
        return own;
    }
    let callbacks = program.functions[function].insts.values().filter_map(|inst| match inst {
        Inst::FnAddr(callback) => Some(*callback),
        _ => None,
    });
    own + callbacks.map(|c| chain_bytes(program, frames, c, depth - 1)).max().unwrap_or(0)
}
