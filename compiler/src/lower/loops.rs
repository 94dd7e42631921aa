//! Loops. `while` and short ranges run in place, and the kernel verifier walks their rounds. Loops
//! over maps, and over ranges that are long or of unknown length, are callbacks that a helper calls
//! once per round (`bpf_for_each_map_elem`, `bpf_loop`).

use cranelift_entity::SecondaryMap;
use memql_grammar::ast::Span;

use crate::attach::AttachPoint;
use crate::helpers;
use crate::hir::{Expr, MapId, Stmt, VarId};
use crate::ir::{BinaryOp as IrOp, Cond, FuncRef, Type as IrType, Value, Width};
use crate::lower::builder::Builder;
use crate::lower::expr::width;
use crate::lower::frame;
use crate::lower::map::MapHome;
use crate::lower::memory::Place;
use crate::lower::probe::{Loop, ProgramLowering};
use crate::target::Features;
use crate::types::{Type, tuple_layout};

/// Ranges of at most so many rounds run in place.
const MAX_INLINE_ROUNDS: i64 = 32;

/// Whether a range loop becomes a callback.
pub(super) fn is_callback(start: &Expr, end: &Expr, features: &Features) -> bool {
    let short = match (start.as_int(), end.as_int()) {
        (Some(start), Some(end)) => end.saturating_sub(start) <= MAX_INLINE_ROUNDS,
        _ => false,
    };
    features.bpf_loop && !short
}

impl ProgramLowering<'_, '_> {
    /// `while (cond) { body }`
    pub fn while_loop(&mut self, cond: &Expr, body: &[Stmt]) {
        let (head, inside, after) = (self.b.block(), self.b.block(), self.b.block());
        self.b.jump(head, &[]);
        self.b.switch_to(head);
        self.condition(cond, inside, after);
        self.b.switch_to(inside);
        self.loops.push(Loop::Inline { after, next: head });
        self.stmts(body);
        self.loops.pop();
        self.b.jump(head, &[]);
        self.b.switch_to(after);
    }

    /// `for ($var : start..end) { body }`
    pub fn for_range(&mut self, var: VarId, start: &Expr, end: &Expr, body: &[Stmt]) {
        let callback = is_callback(start, end, self.lowering.features());
        let (first, last) = (self.scalar(start), self.scalar(end));
        if callback {
            self.range_callback(var, first, last, body);
        } else {
            self.range_inline(var, first, last, body);
        }
    }

    fn range_inline(&mut self, var: VarId, first: Value, last: Value, body: &[Stmt]) {
        // The counter is apart from the variable, which the body may change.
        let (head, counter) = self.b.block_with(IrType::I64);
        let (next, step) = self.b.block_with(IrType::I64);
        let (inside, again, after) = (self.b.block(), self.b.block(), self.b.block());
        self.b.jump(head, &[first]);
        self.b.switch_to(head);
        self.b.branch(Cond::Slt, counter, last, inside, after);
        self.b.switch_to(inside);
        let (ptr, off) = self.var_addr(var);
        self.b.store(Width::W64, ptr, off, counter);
        self.loops.push(Loop::Inline { after, next: again });
        self.stmts(body);
        self.loops.pop();
        self.b.jump(again, &[]);
        self.b.switch_to(again);
        self.b.jump(next, &[counter]);
        self.b.switch_to(next);
        let more = self.b.binary_int(IrOp::Add, step, 1);
        self.b.jump(head, &[more]);
        self.b.switch_to(after);
    }

    fn range_callback(&mut self, var: VarId, first: Value, last: Value, body: &[Stmt]) {
        // The first value goes through the frame's own memory: the callback adds its round to it.
        let (run, after) = (self.b.block(), self.b.block());
        self.b.branch(Cond::Slt, first, last, run, after);
        self.b.switch_to(run);
        let start_at = self.frame.range_start(var);
        let base = self.frame_base();
        self.b.store(Width::W64, base, start_at, first);
        let rounds = self.b.binary(IrOp::Sub, last, first);
        let callback = self.callback(&[IrType::I64, IrType::Stack], |p| {
            let base = p.frame_base();
            let start = p.b.load(Width::W64, false, base, start_at);
            let round = p.b.param(0);
            let value = p.b.binary(IrOp::Add, start, round);
            let (ptr, off) = p.var_addr(var);
            p.b.store(Width::W64, ptr, off, value);
            p.stmts(body);
        });
        let (function, base, flags) = (self.b.fn_addr(callback), self.frame_base(), self.b.int(0));
        self.b.call(helpers::LOOP, &[rounds, function, base, flags]);
        self.after_callback(after);
    }

    /// `for ($var : @map) { body }`
    pub fn for_map(&mut self, var: VarId, map: MapId, body: &[Stmt], span: Span) {
        if !self.need_for_each(span, "a loop over a map") {
            return;
        }
        let MapHome::Keyed { map: object } = self.home(map) else {
            unreachable!("internal error: a loop over a map without a key")
        };
        let Type::Tuple(fields) = self.probe.vars[var].ty.clone() else {
            unreachable!("internal error: the variable of a loop over a map is a tuple")
        };
        let layout = tuple_layout(&fields);
        let (key_ty, value_ty) = (fields[0].ty.clone(), fields[1].ty.clone());
        let aggregation = match self.lowering.script.maps[map].value {
            Type::Agg(agg) => Some(agg),
            _ => None,
        };
        let params = [IrType::MapObject, IrType::Map, IrType::Map, IrType::Stack];
        let callback = self.callback(&params, |p| {
            let (ptr, off) = p.var_addr(var);
            let element = Place::at(ptr, off);
            p.b.mem_zero(element.ptr, element.off, layout.size);
            let (key_at, value_at) = (element.part(layout.offsets[0]), element.part(layout.offsets[1]));
            let key = Place::at(p.b.param(1), 0);
            p.copy(key_at, Place { align: key_ty.align(), ..key }, key_ty.size());
            match aggregation {
                Some(agg) => {
                    // The helper shows this CPU's share only: all CPUs' are read by the key.
                    let key = p.b.offset_int(key_at.ptr, i64::from(key_at.off));
                    let result = p.aggregate_by_key(map, agg, key);
                    p.b.store(width(&value_ty), value_at.ptr, value_at.off, result);
                }
                None => {
                    let value = Place::at(p.b.param(2), 0);
                    p.copy(value_at, Place { align: value_ty.align(), ..value }, value_ty.size());
                }
            }
            p.stmts(body);
        });
        let args = [self.b.map_object(object), self.b.fn_addr(callback), self.frame_base(), self.b.int(0)];
        self.b.call(helpers::FOR_EACH_MAP_ELEM, &args);
        let after = self.b.block();
        self.after_callback(after);
    }

    /// Whether somebody looks at what the program returns.
    fn has_result(&self) -> bool {
        self.points.iter().any(|point| matches!(point, AttachPoint::Test { .. } | AttachPoint::Bench { .. }))
    }

    /// A callback that does nothing: for counting rounds.
    pub fn empty_callback(&mut self) -> FuncRef {
        let params = [IrType::MapObject, IrType::Map, IrType::Map, IrType::Stack];
        self.functions.push(Builder::new(&params, self.b.span).finish())
    }

    /// Lowers a callback; its last parameter is the frame's address.
    fn callback(&mut self, params: &[IrType], body: impl FnOnce(&mut Self)) -> FuncRef {
        let inner = Builder::new(params, self.b.span);
        let outer = std::mem::replace(&mut self.b, inner);
        let outer_slots = std::mem::replace(&mut self.slots, SecondaryMap::new());
        let outer_loops = std::mem::replace(&mut self.loops, vec![Loop::Callback]);
        let was_in_callback = std::mem::replace(&mut self.in_callback, true);
        body(self);
        let function = std::mem::replace(&mut self.b, outer).finish();
        self.slots = outer_slots;
        self.loops = outer_loops;
        self.in_callback = was_in_callback;
        self.functions.push(function)
    }

    /// After a helper ran a callback: ends the probe if the callback's body did.
    fn after_callback(&mut self, after: crate::ir::Block) {
        let base = self.frame_base();
        let returned = self.b.load(Width::W64, false, base, frame::RETURNED_OFFSET);
        let leave = self.b.block();
        self.b.branch_int(Cond::Ne, returned, 0, leave, after);
        self.b.switch_to(leave);
        if self.in_callback {
            self.b.ret(1);
        } else if self.has_result() {
            let value = self.b.binary_int(IrOp::Lshr, returned, 1);
            self.b.ret_value(value);
        } else {
            self.b.ret(0);
        }
        self.b.switch_to(after);
    }
}
