//! Counters of what is lost: one `u64` in `.bss` for each way, made when first counted; under `-k` one more for
//! each place in the script.

use memql_grammar::ast::Span;

use crate::ir::{Global, Module, Width};
use crate::lower::add_global;
use crate::lower::builder::Builder;
use crate::plan::{HealthCounter, Loss, LostAt};

/// The counters of a script.
pub(super) struct Health {
    counters: Vec<(Loss, Global)>,
    /// Under `-k`, the counters of places.
    places: Option<Vec<(Loss, Span, Global)>>,
}

/// What is added to when something is lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    all: Global,
    here: Option<Global>,
}

impl Health {
    pub fn new(module: &mut Module, by_place: bool) -> Health {
        let mut health = Health { counters: Vec::new(), places: by_place.then(Vec::new) };
        health.all(module, Loss::ScratchBusy);
        health
    }

    /// The counters of a loss at a place.
    pub fn counter(&mut self, module: &mut Module, loss: Loss, place: Span) -> Counted {
        let all = self.all(module, loss.clone());
        let Some(places) = &mut self.places else { return Counted { all, here: None } };
        let known = places.iter().find(|(l, at, _)| *l == loss && *at == place).map(|(_, _, global)| *global);
        let here = known.unwrap_or_else(|| {
            let global = add_global(module, &format!("lost_at_{}", places.len()), 8, 8);
            places.push((loss, place, global));
            global
        });
        Counted { all, here: Some(here) }
    }

    fn all(&mut self, module: &mut Module, loss: Loss) -> Global {
        if let Some((_, global)) = self.counters.iter().find(|(l, _)| *l == loss) {
            return *global;
        }
        let global = add_global(module, &format!("lost_{}", self.counters.len()), 8, 8);
        self.counters.push((loss, global));
        global
    }

    /// The counter of runs that found scratch memory busy.
    pub fn scratch_busy(&mut self, module: &mut Module) -> Global {
        self.all(module, Loss::ScratchBusy)
    }

    /// All counters, for the plan.
    pub fn counters(&self, module: &Module) -> Vec<HealthCounter> {
        self.counters
            .iter()
            .map(|(loss, global)| HealthCounter {
                offset: module.globals[*global].offset,
                what: loss.clone(),
            })
            .collect()
    }

    /// The counters of places in the order of the script, for the plan.
    pub fn places(&self, module: &Module) -> Vec<LostAt> {
        let mut places: Vec<LostAt> = self
            .places
            .iter()
            .flatten()
            .map(|(loss, span, global)| LostAt {
                offset: module.globals[*global].offset,
                what: loss.clone(),
                span: *span,
            })
            .collect();
        places.sort_by_key(|place| (place.span.start, place.span.end));
        places
    }
}

/// Adds one to the counters. Several CPUs may do so at once.
pub(super) fn count_loss(builder: &mut Builder, counted: Counted) {
    for counter in [Some(counted.all), counted.here].into_iter().flatten() {
        let address = builder.global_addr(counter);
        let one = builder.int(1);
        builder.atomic_add(Width::W64, address, 0, one);
    }
}
