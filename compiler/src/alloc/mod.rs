//! Register allocation: where each value is at each moment.
//!
//! An [`Allocation`] is a value beside the function; the IR is unchanged.
//!
//! ```text
//! layout      the order of the blocks
//! select      which operation does each instruction's work, and what it asks of its operands
//! liveness    which values are live at the ends of blocks
//! intervals   when each value is live, and where it must be in a register
//! scan        a register, or memory, for each interval (linear scan with splitting)
//! spill       which values in memory share a spill slot
//! resolve     the moves that connect all this
//! moves       moves that happen at once, put in order
//! slots       which of the function's slots share memory
//! frame       the stack frame
//! check       proves, however the answer was found, that each use reads the value the IR names
//! ```
//!
//! A *gap* is where moves happen: before an instruction or a terminator, at a block's start, or on an edge
//! between blocks. Constants and addresses of slots, globals, maps and callbacks are made again where
//! they are needed. A cast has the place of what it casts.

use cranelift_entity::{PrimaryMap, SecondaryMap, entity_impl};

use crate::ir::{Block, FuncRef, Function, InstId, Module, Value};
use crate::target::Features;

pub mod check;
pub mod frame;
pub mod intervals;
pub mod layout;
pub mod liveness;
pub mod memory;
pub mod moves;
pub mod register;
pub mod resolve;
pub mod scan;
pub mod select;
pub mod slots;
pub mod spill;

pub use frame::Frame;
pub use register::{Reg, RegSet};
pub use select::Selection;

/// Eight bytes of the stack that hold a value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpillSlot(u32);
entity_impl!(SpillSlot, "spill");

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// In a register.
    Reg(Reg),
    /// On the stack.
    Spill(SpillSlot),
}

/// Where a move takes its value from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A place.
    Place(Place),
    /// Nowhere: the constant or address is made anew.
    Remat(Value),
}

/// One step of a gap. The steps of a gap happen one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Move {
    /// What is moved.
    pub from: Source,
    /// Where it goes. Only constants of 32 signed bits are made in a spill slot; all other moves have
    /// a register at one end.
    pub to: Place,
}

/// The registers of one instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Of each of its [`select::Selected::uses`], in order. A use tied to the result has the result's.
    pub uses: Vec<Reg>,
    /// Of its result.
    pub result: Option<Reg>,
    /// That it may overwrite.
    pub temps: Vec<Reg>,
}

/// Where everything of one function is.
#[derive(Clone, Debug)]
pub struct Allocation {
    /// What each instruction asks.
    pub selection: Selection,
    /// Each instruction's registers.
    pub insts: SecondaryMap<InstId, Registers>,
    /// Registers of each terminator's operands.
    pub terminators: SecondaryMap<Block, Vec<Reg>>,
    /// The gap before each instruction.
    pub before: SecondaryMap<InstId, Vec<Move>>,
    /// The gap before each terminator.
    pub before_terminator: SecondaryMap<Block, Vec<Move>>,
    /// The gap at the start of each block, after the gap of the edge that led there.
    pub at_start: SecondaryMap<Block, Vec<Move>>,
    /// The gap of each edge out of a block, in the order of the terminator's targets.
    pub edges: SecondaryMap<Block, Vec<Vec<Move>>>,
    /// How many spill slots there are.
    pub spill_slots: u32,
    /// The stack.
    pub frame: Frame,
}

/// The allocations of all functions: by the program's place in the module, then by function.
#[derive(Clone, Debug, Default)]
pub struct Allocations {
    /// The programs, as in [`Module::programs`].
    pub programs: Vec<PrimaryMap<FuncRef, Allocation>>,
}

/// Allocates all functions of a module that has been made legal ([`crate::emit::legalise()`]).
///
/// In debug builds every allocation is checked; a failed check is a bug of memql and panics with the
/// function and what is wrong.
pub fn allocate(module: &Module, features: &Features) -> Allocations {
    let programs = module.programs.iter();
    Allocations {
        programs: programs
            .map(|p| p.functions.values().map(|f| allocate_function(f, features)).collect())
            .collect(),
    }
}

/// Allocates one function.
pub fn allocate_function(function: &Function, features: &Features) -> Allocation {
    let selection = select::select(function, features);
    let allocation = resolve::allocate(function, selection);
    if cfg!(debug_assertions)
        && let Err(error) = check::check(function, &allocation)
    {
        panic!("internal error: allocation: {error}");
    }
    allocation
}
