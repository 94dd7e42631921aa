//! Counters of what is lost: one `u64` in `.bss` for each way, made when first counted.

use crate::ir::{Global, Module, Width};
use crate::lower::add_global;
use crate::lower::builder::Builder;
use crate::plan::{HealthCounter, Loss};

/// The counters of a script.
pub(super) struct Health {
    counters: Vec<(Loss, Global)>,
}

impl Health {
    pub fn new(module: &mut Module) -> Health {
        let mut health = Health { counters: Vec::new() };
        health.counter(module, Loss::ScratchBusy);
        health
    }

    /// The counter of a loss.
    pub fn counter(&mut self, module: &mut Module, loss: Loss) -> Global {
        if let Some((_, global)) = self.counters.iter().find(|(l, _)| *l == loss) {
            return *global;
        }
        let global = add_global(module, &format!("lost_{}", self.counters.len()), 8, 8);
        self.counters.push((loss, global));
        global
    }

    /// The counter of runs that found scratch memory busy.
    pub fn scratch_busy(&mut self, module: &mut Module) -> Global {
        self.counter(module, Loss::ScratchBusy)
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
}

/// Adds one to a counter. Several CPUs may do so at once.
pub(super) fn count_loss(builder: &mut Builder, counter: Global) {
    let address = builder.global_addr(counter);
    let one = builder.int(1);
    builder.atomic_add(Width::W64, address, 0, one);
}
