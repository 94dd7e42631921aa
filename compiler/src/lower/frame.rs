//! Which variables loop callbacks share with the function around them.
//!
//! A `for` over a map (and over a long range) runs its body as a callback: another eBPF function that
//! gets one pointer. Variables used on both sides therefore live in a frame in the entry's stack,
//! whose address every callback gets; all others stay local, where the optimiser turns them into
//! SSA values.
//!
//! ```text
//! offset 0    u64  set when a `return` inside a callback ends the whole probe
//! offset 8    ctx  the program's context
//! offset 16   shared variables and first values of ranges, 8-byte aligned
//! at the end  u64  the frame's own address as a number, where the address of a shared variable is taken
//! ```

use cranelift_entity::SecondaryMap;

use crate::hir::{self, ExprKind, Stmt, StmtKind, VarId};
use crate::lower::loops;
use crate::lower::probe::stored_size;
use crate::target::Features;

/// Offset of the word that says that the probe is to end.
pub(super) const RETURNED_OFFSET: i32 = 0;
/// Offset of the context.
pub(super) const CTX_OFFSET: i32 = 8;
const FIRST_VARIABLE: i32 = 16;

/// The number of the function that is no callback.
const ENTRY: u32 = 0;

/// Where the variables of a probe are.
pub(super) struct Frame {
    homes: SecondaryMap<VarId, Home>,
    /// For the variable of a range loop that is a callback: offset of the range's first value.
    range_starts: SecondaryMap<VarId, Option<i32>>,
    /// Offset of the frame's own address, if the address of a variable in it is taken.
    address: Option<i32>,
    /// Bytes of the frame; 0 if the probe has no callbacks.
    pub size: u32,
}

/// Where a variable is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Home {
    /// In a slot of the function that uses it.
    #[default]
    Local,
    /// In the frame.
    Shared {
        /// Byte offset.
        offset: i32,
    },
}

impl Frame {
    /// Where a variable is.
    pub fn home(&self, var: VarId) -> Home {
        self.homes[var]
    }

    /// Whether the frame keeps its own address.
    pub fn has_address(&self) -> bool {
        self.address.is_some()
    }

    /// Where the frame keeps its own address.
    pub fn address(&self) -> i32 {
        self.address.expect("the address of a shared variable is taken")
    }

    /// Where a range loop that is a callback keeps its first value.
    pub fn range_start(&self, var: VarId) -> i32 {
        self.range_starts[var].expect("analysed as a callback")
    }
}

/// Finds the variables that more than one function of the probe uses.
pub(super) fn analyse(probe: &hir::Probe, features: &Features) -> Frame {
    let mut walk = Walk {
        features,
        probe,
        users: SecondaryMap::new(),
        regions: 1,
        homes: SecondaryMap::new(),
        range_starts: SecondaryMap::new(),
        addressed: Vec::new(),
        next: FIRST_VARIABLE,
    };
    if let Some(predicate) = &probe.predicate {
        walk.expr(predicate, ENTRY);
    }
    walk.stmts(&probe.body, ENTRY);
    let mut address = None;
    if walk.addressed.iter().any(|var| walk.homes[*var] != Home::Local) {
        address = Some(walk.next);
        walk.next += 8;
    }
    let size = if walk.regions > 1 { walk.next as u32 } else { 0 };
    Frame { homes: walk.homes, range_starts: walk.range_starts, address, size }
}

struct Walk<'a> {
    features: &'a Features,
    probe: &'a hir::Probe,
    /// The function that uses a variable: the entry, then one number per callback.
    users: SecondaryMap<VarId, Option<u32>>,
    regions: u32,
    homes: SecondaryMap<VarId, Home>,
    range_starts: SecondaryMap<VarId, Option<i32>>,
    /// The variables whose address is taken.
    addressed: Vec<VarId>,
    next: i32,
}

impl Walk<'_> {
    fn uses(&mut self, var: VarId, region: u32) {
        match self.users[var] {
            None => self.users[var] = Some(region),
            Some(other) if other == region => {}
            Some(_) => self.share(var),
        }
    }

    fn share(&mut self, var: VarId) {
        if self.homes[var] == Home::Local {
            self.homes[var] = Home::Shared { offset: self.next };
            self.next += stored_size(&self.probe.vars[var].ty) as i32;
        }
    }

    fn expr(&mut self, e: &hir::Expr, region: u32) {
        // Loops inside block expressions are walked as statements, in regions of their own.
        match &e.kind {
            ExprKind::Block(stmts, value) => {
                self.stmts(stmts, region);
                self.expr(value, region);
            }
            ExprKind::Var(var) | ExprKind::IncDecVar { var, .. } => self.uses(*var, region),
            ExprKind::VarAddr(var) => {
                self.uses(*var, region);
                self.addressed.push(*var);
                // A callback's own memory is gone when it returns; the address may not be.
                if region != ENTRY {
                    self.share(*var);
                }
            }
            _ => e.children().into_iter().for_each(|child| self.expr(child, region)),
        }
    }

    fn stmts(&mut self, stmts: &[Stmt], region: u32) {
        for stmt in stmts {
            for e in stmt.exprs() {
                self.expr(e, region);
            }
            match &stmt.kind {
                StmtKind::AssignVar { var, .. } => self.uses(*var, region),
                StmtKind::ForMap { var, body, .. } => {
                    let inner = self.callback();
                    self.uses(*var, inner);
                    self.stmts(body, inner);
                    continue;
                }
                StmtKind::ForRange { var, start, end, body } => {
                    if loops::is_callback(start, end, self.features) {
                        let inner = self.callback();
                        self.range_starts[*var] = Some(self.next);
                        self.next += 8;
                        self.uses(*var, inner);
                        self.stmts(body, inner);
                        continue;
                    }
                    self.uses(*var, region);
                }
                _ => {}
            }
            for child in stmt.children() {
                self.stmts(std::slice::from_ref(child), region);
            }
        }
    }

    fn callback(&mut self) -> u32 {
        self.regions += 1;
        self.regions - 1
    }
}
