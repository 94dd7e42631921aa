//! One probe: the state of checking it, its predicate and its body.

use cranelift_entity::PrimaryMap;
use memql_grammar::ast::Span;

use super::points::Variant;
use super::scope::Scopes;
use super::{Checker, Walk, constant};
use crate::attach::{AttachPoint, ProgramKind};
use crate::hir::{self, VarId};

/// The state of checking one variant of a probe.
#[derive(Debug, Default)]
pub(crate) struct ProbeState {
    /// The variant's index: part of the identity of its variables.
    pub index: usize,
    /// Where it runs; empty while a predicate is tried before expansion.
    pub points: Vec<AttachPoint>,
    /// Whether its points' types may be asked for: not for probes that will never run.
    pub live: bool,
    /// The attach points in the source.
    pub span: Span,
    pub vars: PrimaryMap<VarId, hir::Var>,
    pub scopes: Scopes,
    /// Loops around the place, innermost last: whether `break` and `continue` mean it.
    pub loops: Vec<Loop>,
    /// Statements that unrolling has made so far.
    pub unrolled: usize,
}

/// A loop around a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loop {
    /// `for` or `while`
    Runtime,
    /// `unroll`: copies, not a loop.
    Unrolled,
}

impl ProbeState {
    /// The program type; `None` for a probe without attach points.
    pub(crate) fn kind(&self) -> Option<ProgramKind> {
        self.points.first().map(AttachPoint::kind)
    }
}

impl<'a> Checker<'a> {
    /// Checks one variant: no probe if its predicate is never true, several if the kernel wants one
    /// program per point.
    pub(crate) fn probe(&mut self, variant: &Variant<'a>, index: usize) -> Vec<hir::Probe> {
        self.enter(variant, index);
        let predicate = variant.probe.predicate.as_ref().and_then(|p| {
            let checked = self.condition(p);
            if checked.is_none() {
                self.left_out(p.span);
            }
            checked
        });
        let constant = predicate.as_ref().and_then(constant::truth_of);
        let body = self.unless_dead(constant == Some(false), |checker| checker.block(&variant.probe.body));
        if constant == Some(false) {
            return Vec::new();
        }
        let state = std::mem::take(&mut self.probe);
        let probe = hir::Probe {
            points: variant.points.clone(),
            vars: state.vars,
            predicate: if constant == Some(true) { None } else { predicate },
            body,
            span: state.span,
        };
        if self.walk == Walk::Final {
            self.pinned(&probe);
        }
        match state.points.first() {
            Some(point) if point.kind().one_point_each() => {
                state.points.into_iter().map(|p| hir::Probe { points: vec![p], ..probe.clone() }).collect()
            }
            _ => vec![probe],
        }
    }

    fn enter(&mut self, variant: &Variant<'a>, index: usize) {
        self.probe = ProbeState {
            index,
            points: variant.points.clone(),
            live: variant.live,
            span: variant.span,
            ..ProbeState::default()
        };
    }
}
