//! eBPF's registers and sets of them.
//!
//! ```text
//! r0        result of calls and of the function; clobbered by calls
//! r1 - r5   arguments; clobbered by calls
//! r6 - r9   survive calls
//! r10       the frame pointer; never allocated
//! ```
//! (Documentation/bpf/standardization/abi.rst)

use std::fmt;

/// A register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reg(u8);

impl Reg {
    /// Result of calls and of the function.
    pub const R0: Reg = Reg(0);
    /// The frame pointer.
    pub const FRAME: Reg = Reg(10);
    /// How many registers can be allocated: r0 to r9.
    pub const ALLOCATABLE: usize = 10;

    /// The register of the `n`-th argument, counted from 0. At most five arguments exist.
    pub fn argument(n: usize) -> Reg {
        debug_assert!(n < 5, "a call has at most five arguments");
        Reg(n as u8 + 1)
    }

    /// All allocatable registers.
    pub fn all() -> impl DoubleEndedIterator<Item = Reg> {
        (0..Reg::ALLOCATABLE as u8).map(Reg)
    }

    /// The register of a number from 0 to 10.
    pub fn from_number(n: u8) -> Option<Reg> {
        (n <= Reg::FRAME.0).then_some(Reg(n))
    }

    /// Its number, 0 to 10.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its place in a table of all allocatable registers.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// A set of registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegSet(u16);

impl RegSet {
    /// None.
    pub const EMPTY: RegSet = RegSet(0);
    /// What a helper call may change: r0 to r5.
    pub const CALL_CLOBBERED: RegSet = RegSet(0x3f);

    /// Adds a register.
    pub fn insert(&mut self, reg: Reg) {
        self.0 |= 1 << reg.0;
    }

    /// Whether there is nothing in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it is in the set.
    pub fn contains(self, reg: Reg) -> bool {
        self.0 & 1 << reg.0 != 0
    }

    /// The allocatable registers in it, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = Reg> {
        Reg::all().filter(move |reg| self.contains(*reg))
    }
}

impl FromIterator<Reg> for RegSet {
    fn from_iter<I: IntoIterator<Item = Reg>>(regs: I) -> RegSet {
        let mut set = RegSet::EMPTY;
        regs.into_iter().for_each(|reg| set.insert(reg));
        set
    }
}
