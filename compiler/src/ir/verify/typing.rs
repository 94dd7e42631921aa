//! Invariants of operands' and results' types.

use super::super::effects::{self, Arg};
use super::super::{BinaryOp, Block, Helper, Inst, InstId, Terminator, Type, UnaryOp, Value, Width};
use super::{At, Checker};
use crate::helpers;

impl Checker<'_> {
    pub(super) fn check_types(&mut self, block: Block) {
        let data = &self.function.blocks[block];
        for &inst in &data.insts {
            self.check_inst(At::Inst(block, inst), inst);
        }
        match &data.terminator {
            Some(Terminator::Branch { left, right, .. }) => {
                self.check_comparison(At::Terminator(block), *left, *right)
            }
            Some(Terminator::Return(value)) => self.expect(At::Terminator(block), *value, Type::I64),
            Some(Terminator::Jump(_)) | None => {}
        }
    }

    fn check_inst(&mut self, at: At, id: InstId) {
        let function = self.function;
        match &function.insts[id] {
            Inst::Const(_) => self.expect_result(at, id, "a number", Type::is_number),
            Inst::Unary { op, arg } => {
                self.expect(at, *arg, Type::I64);
                if *op == UnaryOp::Bswap(Width::W8) {
                    self.report(at, "a single byte cannot be swapped");
                }
                self.result_is(at, id, Some(Type::I64));
            }
            Inst::Binary { op, left, right } => match self.binary_type(*op, *left, *right) {
                Some(ty) => self.result_is(at, id, Some(ty)),
                None => {
                    let (left, right) = (self.show(*left), self.show(*right));
                    self.report(at, format!("the operation does not take {left} and {right}"));
                }
            },
            Inst::Icmp { left, right, .. } => {
                self.check_comparison(at, *left, *right);
                self.result_is(at, id, Some(Type::I64));
            }
            Inst::Select { cond, then, otherwise } => {
                self.expect_that(at, *cond, "a number or an address", |ty| ty.is_number() || ty.is_memory());
                let ty = function.type_of(*then);
                self.expect(at, *otherwise, ty);
                self.result_is(at, id, Some(ty));
            }
            Inst::Load { width, ptr, .. } => {
                self.expect_that(at, *ptr, "an address of memory", Type::is_memory);
                match width {
                    Width::W64 => self.expect_result(at, id, "a number or an address", is_storable),
                    Width::W8 | Width::W16 | Width::W32 => self.result_is(at, id, Some(Type::I64)),
                }
            }
            Inst::Store { width, ptr, value, .. } => {
                self.expect_writable(at, *ptr);
                self.expect_that(at, *value, "a number or an address", is_storable);
                if *width != Width::W64 && function.type_of(*value).is_memory() {
                    let value = self.show(*value);
                    self.report(at, format!("an address of memory is stored with 64 bits, found {value}"));
                }
                self.result_is(at, id, None);
            }
            Inst::AtomicAdd { width, ptr, value, .. } => {
                self.check_atomic(at, *width, *ptr, &[*value]);
                self.result_is(at, id, None);
            }
            Inst::AtomicFetchAdd { width, ptr, value, .. } | Inst::AtomicXchg { width, ptr, value, .. } => {
                self.check_atomic(at, *width, *ptr, &[*value]);
                self.result_is(at, id, Some(Type::I64));
            }
            Inst::AtomicCmpXchg { width, ptr, expected, value, .. } => {
                self.check_atomic(at, *width, *ptr, &[*expected, *value]);
                self.result_is(at, id, Some(Type::I64));
            }
            Inst::SlotAddr { .. } => self.result_is(at, id, Some(Type::Stack)),
            Inst::GlobalAddr { .. } => self.result_is(at, id, Some(Type::Map)),
            Inst::MapObject(_) => self.result_is(at, id, Some(Type::MapObject)),
            Inst::FnAddr(_) => self.result_is(at, id, Some(Type::Callback)),
            Inst::MemZero { ptr, .. } => {
                self.expect_writable(at, *ptr);
                self.result_is(at, id, None);
            }
            Inst::MemCopy { dst, src, align, .. } => {
                self.expect_writable(at, *dst);
                self.expect_that(at, *src, "an address of memory", Type::is_memory);
                if !matches!(align, 1 | 2 | 4 | 8) {
                    self.report(at, format!("an alignment is 1, 2, 4 or 8, found {align}"));
                }
                self.result_is(at, id, None);
            }
            Inst::Call { helper, args } => self.check_call(at, id, *helper, args.as_slice(&function.pool)),
            Inst::Cast(value) => {
                self.expect_that(at, *value, "a number", Type::is_number);
                self.expect_result(at, id, "a number", Type::is_number);
            }
            Inst::Address(value) => {
                let has_address = |ty: Type| ty.is_memory() || ty == Type::MapObject;
                self.expect_that(at, *value, "an address of memory or a map", has_address);
                self.result_is(at, id, Some(Type::Kernel));
            }
        }
    }

    /// The type of a binary operation's result, if it takes these operands.
    fn binary_type(&self, op: BinaryOp, left: Value, right: Value) -> Option<Type> {
        let (left, right) = (self.function.type_of(left), self.function.type_of(right));
        match (op, left, right) {
            (_, Type::I64, Type::I64) => Some(Type::I64),
            (BinaryOp::Add | BinaryOp::Sub, Type::Kernel | Type::User, Type::I64) => Some(left),
            (BinaryOp::Add, Type::I64, Type::Kernel | Type::User) => Some(right),
            (BinaryOp::Add, left, Type::I64) if left.is_memory() => Some(left),
            _ => None,
        }
    }

    fn check_comparison(&mut self, at: At, left: Value, right: Value) {
        let function = self.function;
        let is_zero = |value| function.type_of(value) == Type::I64 && function.as_const(value) == Some(0);
        let (left_type, right_type) = (function.type_of(left), function.type_of(right));
        let one_type = left_type == right_type && is_storable(left_type);
        let with_zero =
            (is_zero(left) && is_storable(right_type)) || (is_zero(right) && is_storable(left_type));
        if !one_type && !with_zero {
            let (left, right) = (self.show(left), self.show(right));
            self.report(at, format!("{left} and {right} cannot be compared"));
        }
    }

    fn check_atomic(&mut self, at: At, width: Width, ptr: Value, values: &[Value]) {
        self.expect(at, ptr, Type::Map);
        if !matches!(width, Width::W32 | Width::W64) {
            self.report(at, format!("atomic operations are 32 or 64 bits wide, found {}", width.bits()));
        }
        for &value in values {
            self.expect_that(at, value, "a number", Type::is_number);
        }
    }

    fn check_call(&mut self, at: At, id: InstId, helper: Helper, args: &[Value]) {
        let (Some(signature), Some(kinds)) = (helpers::signature(helper), effects::args(helper)) else {
            return self.report(at, format!("helper {} is not known", helper.0));
        };
        if args.len() != kinds.len() {
            return self
                .report(at, format!("the helper takes {} arguments, found {}", kinds.len(), args.len()));
        }
        for (&arg, &kind) in args.iter().zip(kinds) {
            self.expect_that(at, arg, kind.describe(), |ty| kind.admits(ty));
            match kind {
                Arg::Callback(params) => self.check_callback(at, arg, params),
                Arg::CallbackCtx
                    if self.function.type_of(arg) == Type::I64 && self.function.as_const(arg) != Some(0) =>
                {
                    let found = self.show(arg);
                    self.report(at, format!("expected {}, found {found}", kind.describe()));
                }
                _ => {}
            }
        }
        if self.function.results[id].is_some() {
            self.result_is(at, id, Some(signature.result));
        }
    }

    /// A callback may leave out parameters at the end, and take a null context as an integer.
    fn check_callback(&mut self, at: At, callback: Value, passed: &[Type]) {
        let Some(Inst::FnAddr(func)) = self.function.def(callback) else {
            return self.report(at, "the callback is not named here with `fn_addr`");
        };
        let params = &self.program.functions[*func].params;
        let fits =
            |(param, given): (&Type, &Type)| param == given || (*given == Type::Stack && *param == Type::I64);
        if params.len() > passed.len() || !params.iter().zip(passed).all(fits) {
            let list = |types: &[Type]| types.iter().map(|ty| ty.name()).collect::<Vec<_>>().join(", ");
            let (params, passed) = (list(params), list(passed));
            self.report(at, format!("the helper passes ({passed}), but {func} takes ({params})"));
        }
    }

    fn expect(&mut self, at: At, value: Value, ty: Type) {
        self.expect_that(at, value, ty.name(), |found| found == ty);
    }

    fn expect_writable(&mut self, at: At, ptr: Value) {
        let writable = |ty| matches!(ty, Type::Stack | Type::Map | Type::Ring);
        self.expect_that(at, ptr, "an address of writable memory", writable);
    }

    fn expect_that(&mut self, at: At, value: Value, what: &str, admits: impl Fn(Type) -> bool) {
        if !admits(self.function.type_of(value)) {
            let found = self.show(value);
            self.report(at, format!("expected {what}, found {found}"));
        }
    }

    fn result_is(&mut self, at: At, id: InstId, ty: Option<Type>) {
        let found = self.function.results[id].map(|value| self.function.type_of(value));
        if found != ty {
            let name = |ty: Option<Type>| ty.map_or("no result", Type::name);
            self.report(at, format!("expected {}, found {}", name(ty), name(found)));
        }
    }

    fn expect_result(&mut self, at: At, id: InstId, what: &str, admits: impl Fn(Type) -> bool) {
        let found = self.function.results[id].map(|value| self.function.type_of(value));
        if !found.is_some_and(admits) {
            self.report(at, format!("expected {what}, found {}", found.map_or("no result", Type::name)));
        }
    }
}

/// Whether values of a type may be in memory and be compared.
fn is_storable(ty: Type) -> bool {
    ty.is_number() || ty.is_memory()
}
