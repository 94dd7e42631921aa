//! Iterators: the kernel calls a program for each object, and once more without one at the end.
//!
//! ```text
//! context of `iter:task_vma`: struct bpf_iter__task_vma
//!   0   meta   struct bpf_iter_meta *, whose first member is the file that is being read
//!   8   task   the object; null in the last call
//!  16   vma    what goes with it
//! ```
//!
//! The body sees objects only: a program whose object, or another pointer of the context that the body reads, is null
//! returns at once. From then on the kernel verifier knows these pointers as such, and lets the program
//! compute with them.
//!
//! What a script prints goes through the ring buffer as everywhere. Memql reads the iterator's file to make the kernel
//! go on, and empties the ring buffer between two reads. So that a read ends after a number of objects, whatever the body
//! prints, each object writes one byte to the file; what comes out of it is thrown away. A pinned iterator is read by
//! others when memql has ended: its `printf` writes to the file itself ([`super::seq_printf`]).

use std::collections::BTreeSet;

use memql_grammar::ast::BinaryOp;

use crate::attach::{AttachPoint, ProgramKind};
use crate::helpers;
use crate::hir::{self, Expr, ExprKind};
use crate::ir::{Block, Cond, Type as IrType, Value, Width};
use crate::lower::probe::ProgramLowering;
use crate::types::{AddrSpace, Type};

/// Offset of the object in the context: the second argument of `bpf_iter_NAME` (include/linux/bpf.h).
const OBJECT_OFFSET: i32 = 8;

impl ProgramLowering<'_, '_> {
    /// Leaves the call without an object, and says to whoever reads that there was one.
    pub fn iterator_prologue(&mut self) {
        let mut offsets = pointers_read(self.probe);
        offsets.insert(OBJECT_OFFSET);
        for offset in offsets {
            let ctx = self.ctx();
            let mut pointer = self.b.load(Width::W64, false, ctx, offset);
            let (go, skip) = (self.b.block(), self.b.block());
            self.b.branch_int(Cond::Ne, pointer, 0, go, skip);
            self.b.switch_to(skip);
            self.b.ret(0);
            self.b.switch_to(go);
            if self.frame.size > 0 {
                pointer = self.pointer_as_number(offset);
            }
            self.iterator_pointers.insert(offset, pointer);
        }
        if !self.is_pinned() {
            let byte = self.b.slot(1, 1, None);
            let (address, one, zero) = (self.b.slot_addr(byte), self.b.int(1), self.b.int(0));
            self.b.store(Width::W8, address, 0, zero);
            let file = self.iterator_file();
            self.b.call(helpers::SEQ_WRITE, &[file, address, one]);
        }
    }

    /// The file that is being read.
    pub fn iterator_file(&mut self) -> Value {
        let ctx = self.ctx();
        let meta = self.b.load_as(IrType::Btf, ctx, 0);
        self.b.load_as(IrType::Btf, meta, 0)
    }

    /// Whether what this iterator prints is read from a file by others.
    pub fn is_pinned(&self) -> bool {
        self.points.iter().any(|point| matches!(point, AttachPoint::Iter { pin: Some(_), .. }))
    }

    /// A pointer that an iterator's context holds; `None` in other programs.
    pub fn iterator_pointer(&mut self, offset: i32, ty: &Type) -> Option<Value> {
        if self.kind != ProgramKind::Iter || !matches!(ty, Type::Ptr { .. }) {
            return None;
        }
        if let Some(pointer) = self.iterator_pointers.get(&offset).filter(|_| !self.in_callback) {
            return Some(*pointer);
        }
        Some(self.pointer_as_number(offset))
    }

    /// A pointer of the context, read as memory is: for the kernel verifier it is a number, which may be kept
    /// where callbacks look and where numbers are hidden from it.
    fn pointer_as_number(&mut self, offset: i32) -> Value {
        let ctx = self.ctx();
        let address = self.b.offset_int(ctx, i64::from(offset));
        self.load_pointer(address, AddrSpace::Context)
    }

    /// The address of something that the context leads to, such that the kernel verifier knows what is there; goes to
    /// `null` where a pointer on the way is null. `None` for an address that comes from elsewhere.
    pub fn typed_address(&mut self, e: &Expr, null: Block) -> Option<Value> {
        if self.kind != ProgramKind::Iter || !leads_from_context(e) {
            return None;
        }
        Some(self.follow(e, null))
    }

    fn follow(&mut self, e: &Expr, null: Block) -> Value {
        match &e.kind {
            ExprKind::Load { addr, offset, .. } => {
                let base = self.follow(addr, null);
                let pointer = self.b.load_as(IrType::Btf, base, *offset as i32);
                let go = self.b.block();
                self.b.branch_int(Cond::Ne, pointer, 0, go, null);
                self.b.switch_to(go);
                pointer
            }
            ExprKind::Binary { left, right, .. } => {
                let base = self.follow(left, null);
                self.b.offset_int(base, right.as_int().unwrap_or(0))
            }
            ExprKind::Cast(operand) => self.follow(operand, null),
            _ => self.scalar(e),
        }
    }
}

/// Whether an address is the context's, or is found from there by loads of pointers at constant offsets.
fn leads_from_context(e: &Expr) -> bool {
    match &e.kind {
        ExprKind::CtxAddr { .. } => true,
        ExprKind::Load { addr, offset, bits: None } => {
            matches!(e.ty, Type::Ptr { .. }) && i32::try_from(*offset).is_ok() && leads_from_context(addr)
        }
        ExprKind::Binary { op: BinaryOp::Add, left, right } => {
            right.as_int().is_some() && leads_from_context(left)
        }
        ExprKind::Cast(operand) => matches!(operand.ty, Type::Ptr { .. }) && leads_from_context(operand),
        _ => false,
    }
}

/// Offsets of the pointers in the context that a probe reads.
fn pointers_read(probe: &hir::Probe) -> BTreeSet<i32> {
    let mut offsets = BTreeSet::new();
    let mut look = |e: &Expr| {
        if let (ExprKind::Load { addr, offset, bits: None }, Type::Ptr { .. }) = (&e.kind, &e.ty)
            && let ExprKind::CtxAddr { offset: base } = addr.kind
        {
            offsets.insert(base as i32 + *offset as i32);
        }
    };
    if let Some(predicate) = &probe.predicate {
        predicate.for_each(&mut look);
    }
    for stmt in &probe.body {
        stmt.for_each_expr(&mut look);
    }
    offsets
}
