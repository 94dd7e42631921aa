//! One program: the process filter, the predicate and the body.

use std::collections::BTreeMap;

use cranelift_entity::{PrimaryMap, SecondaryMap};

use crate::attach::{AttachPoint, ProgramKind};
use crate::hir::{self, Builtin, ExprKind};
use crate::ir::{Block, Cond, FuncRef, Function, Slot, Type as IrType, Value, Width};
use crate::lower::SHARED;
use crate::lower::builder::Builder;
use crate::lower::frame::{Frame, Home};
use crate::lower::scan::Scan;
use crate::lower::{Lowering, frame};
use crate::types::Type;

/// State of lowering one program.
pub(super) struct ProgramLowering<'l, 'a> {
    pub lowering: &'l mut Lowering<'a>,
    pub probe: &'l hir::Probe,
    pub points: &'l [AttachPoint],
    pub kind: ProgramKind,
    /// The function that code goes into now: the entry or a callback.
    pub b: Builder,
    /// Callbacks finished so far; the entry takes its place at the end.
    pub functions: PrimaryMap<FuncRef, Function>,
    /// Where variables are.
    pub frame: Frame,
    /// In the current function: its variables' slots.
    pub slots: SecondaryMap<hir::VarId, Option<Slot>>,
    /// The loops around the current statement, innermost last; those of the current function only.
    pub loops: Vec<Loop>,
    /// Whether the current function is a callback.
    pub in_callback: bool,
    /// The functions of this program that scan strings.
    pub scans: BTreeMap<Scan, FuncRef>,
    /// The function of this program that goes from a frame to its caller's.
    pub unwind_step: Option<FuncRef>,
    /// The frame's slot in the entry.
    pub frame_slot: Option<Slot>,
    /// Of an iterator: the pointers of its context, by offset, in the entry.
    pub iterator_pointers: BTreeMap<i32, Value>,
}

/// Where `break` and `continue` go.
#[derive(Clone, Copy)]
pub(super) enum Loop {
    /// To blocks of this function.
    Inline {
        /// After the loop.
        after: Block,
        /// The next round.
        next: Block,
    },
    /// Out of the callback, with 1 for `break` and 0 for `continue`.
    Callback,
}

/// Lowers a probe's body for some of its attach points.
pub(super) fn lower_program(
    lowering: &mut Lowering<'_>,
    probe: &hir::Probe,
    points: &[AttachPoint],
    kind: ProgramKind,
) -> PrimaryMap<FuncRef, Function> {
    let frame = frame::analyse(probe, lowering.features());
    let mut functions = PrimaryMap::new();
    functions.push(Function::default());
    let b = Builder::new(&[IrType::Ctx], probe.span);
    let mut p = ProgramLowering {
        lowering,
        probe,
        points,
        kind,
        b,
        functions,
        frame,
        slots: SecondaryMap::new(),
        loops: Vec::new(),
        in_callback: false,
        scans: BTreeMap::new(),
        unwind_step: None,
        frame_slot: None,
        iterator_pointers: BTreeMap::new(),
    };
    p.prologue();
    p.stmts(&probe.body);
    let entry = p.b.finish();
    let mut functions = p.functions;
    functions[FuncRef::from_u32(0)] = entry;
    functions
}

impl ProgramLowering<'_, '_> {
    fn prologue(&mut self) {
        if self.kind == ProgramKind::Iter {
            self.iterator_prologue();
        } else if !matches!(self.kind, ProgramKind::TestRun | ProgramKind::Bench)
            && let Some(pid) = self.lowering.config.pid
        {
            let tgid = self.tgid();
            let (go, skip) = (self.b.block(), self.b.block());
            self.b.branch_int(Cond::Eq, tgid, i64::from(pid), go, skip);
            self.b.switch_to(skip);
            self.b.ret(0);
            self.b.switch_to(go);
        }
        if self.frame.size > 0 {
            let slot = self.b.slot(self.frame.size, 8, Some(SHARED));
            self.frame_slot = Some(slot);
            let base = self.b.slot_addr(slot);
            self.b.mem_zero(base, 0, self.frame.size);
            let ctx = self.b.param(0);
            self.b.store(Width::W64, base, frame::CTX_OFFSET, ctx);
            if self.frame.has_address() {
                let address = self.b.address(base);
                self.b.store(Width::W64, base, self.frame.address(), address);
            }
        }
        if let Some(predicate) = &self.probe.predicate {
            let (go, skip) = (self.b.block(), self.b.block());
            self.condition(predicate, go, skip);
            self.b.switch_to(skip);
            self.b.ret(0);
            self.b.switch_to(go);
        }
    }

    /// The program's context.
    pub fn ctx(&mut self) -> Value {
        if self.in_callback {
            let base = self.frame_base();
            self.b.load_as(IrType::Ctx, base, frame::CTX_OFFSET)
        } else {
            self.b.param(0)
        }
    }

    /// Address of the frame that callbacks share with the entry.
    pub fn frame_base(&mut self) -> Value {
        if self.in_callback {
            // The helper passes it as the callback's last parameter.
            let last = self.b.function.params.len() - 1;
            self.b.param(last)
        } else {
            let slot = self.frame_slot.expect("a program with callbacks has a frame");
            self.b.slot_addr(slot)
        }
    }

    /// Address of a variable, as a number.
    pub fn var_number(&mut self, var: hir::VarId) -> Value {
        let number = match self.frame.home(var) {
            Home::Shared { offset } => {
                let base = self.frame_base();
                let frame = self.b.load_as(IrType::Kernel, base, self.frame.address());
                self.b.offset_int(frame, i64::from(offset))
            }
            Home::Local => {
                let (ptr, off) = self.var_addr(var);
                let ptr = self.b.offset_int(ptr, i64::from(off));
                self.b.address(ptr)
            }
        };
        self.b.cast(number, IrType::I64)
    }

    /// Address of a variable.
    pub fn var_addr(&mut self, var: hir::VarId) -> (Value, i32) {
        match self.frame.home(var) {
            Home::Shared { offset } => (self.frame_base(), offset),
            Home::Local => {
                let slot = match self.slots[var] {
                    Some(slot) => slot,
                    None => {
                        let definition = &self.probe.vars[var];
                        let size = stored_size(&definition.ty);
                        let slot = self.b.slot(size, 8, Some(&definition.name));
                        self.slots[var] = Some(slot);
                        slot
                    }
                };
                (self.b.slot_addr(slot), 0)
            }
        }
    }
}

/// Bytes a variable takes: a register's worth for scalars.
pub(super) fn stored_size(ty: &Type) -> u32 {
    if ty.is_scalar() { 8 } else { ty.size().max(1).next_multiple_of(8) }
}

/// What the kernel binds a program to when it is loaded.
pub(super) fn load_target(point: &AttachPoint) -> Option<String> {
    match point {
        AttachPoint::Iter { name, .. } => Some(name.clone()),
        AttachPoint::RawTracepoint { module: None, name } => Some(name.clone()),
        AttachPoint::RawTracepoint { module: Some(module), name } => Some(format!("{module}:{name}")),
        AttachPoint::Fentry { module: None, function, .. } => Some(function.clone()),
        AttachPoint::Fentry { module: Some(module), function, .. } => Some(format!("{module}:{function}")),
        // The runtime gives libbpf the program itself.
        AttachPoint::BpfFunction { program, function, .. } => Some(format!("bpf:{program}:{function}")),
        _ => None,
    }
}

/// Whether a probe's body or predicate asks which attach point fired.
pub(super) fn uses_point(probe: &hir::Probe) -> bool {
    let mut found = false;
    let mut look = |e: &hir::Expr| {
        if matches!(e.kind, ExprKind::Builtin(Builtin::Point(_))) {
            found = true;
        }
    };
    if let Some(predicate) = &probe.predicate {
        predicate.for_each(&mut look);
    }
    for stmt in &probe.body {
        stmt.for_each_expr(&mut look);
    }
    found
}
