//! Moves that happen at once, put in order.

use std::collections::BTreeMap;

use cranelift_entity::EntityRef;
use memql_compiler::alloc::moves::{ParallelMoves, Spare};
use memql_compiler::alloc::{Move, Place, Reg, RegSet, Source, SpillSlot};
use memql_compiler::ir::Value;

use crate::random::Random;

/// Executes steps on places that hold numbers.
fn execute(steps: &[Move], places: &mut BTreeMap<Place, u32>) {
    for step in steps {
        let value = match step.from {
            Source::Place(place) => places.get(&place).copied().unwrap_or(u32::MAX),
            Source::Remat(value) => 1000 + value.as_u32(),
        };
        let has_register = |place: Place| matches!(place, Place::Reg(_));
        let direct = match step.from {
            Source::Place(from) => has_register(from) || has_register(step.to),
            // Even numbers stand for constants that can be stored.
            Source::Remat(value) => has_register(step.to) || value.as_u32() % 2 == 0,
        };
        assert!(direct, "{step:?} needs a register");
        places.insert(step.to, value);
    }
}

#[test]
fn ordered_steps_do_what_the_moves_do_at_once() {
    let mut random = Random::new(7);
    let mut with_cycle = 0;
    for _ in 0..20_000 {
        // Few places, so that cycles are frequent, and sometimes no free register at all.
        let place = |n: usize| match n {
            0..6 => Place::Reg(Reg::from_number(n as u8).expect("a register")),
            n => Place::Spill(SpillSlot::new(n - 6)),
        };
        let mut before: BTreeMap<Place, u32> = (0..10).map(|n| (place(n), n as u32)).collect();
        let free: RegSet = if random.chance(50) { Reg::all().skip(6).collect() } else { RegSet::EMPTY };
        let kept: Vec<Reg> = Reg::all().skip(6).filter(|reg| !free.contains(*reg)).collect();
        before.extend(kept.iter().map(|reg| (Place::Reg(*reg), 100 + u32::from(reg.number()))));
        let mut moves = ParallelMoves::default();
        let mut after = before.clone();
        for to in (0..10).map(place) {
            if random.chance(60) {
                let (from, value) = if random.chance(20) {
                    let value = Value::new(random.below(4));
                    (Source::Remat(value), 1000 + value.as_u32())
                } else {
                    let from = place(random.below(10));
                    (Source::Place(from), before[&from])
                };
                moves.add(from, to);
                after.insert(to, value);
            }
        }
        let mut extra = 100;
        let mut spill = || {
            extra += 1;
            SpillSlot::new(extra)
        };
        let storable = |from: Source| matches!(from, Source::Remat(value) if value.as_u32() % 2 == 0);
        let steps = moves.order(Spare { free: &|| free, spill: &mut spill, storable: &storable });
        with_cycle += usize::from(extra > 100);
        let mut places = before;
        execute(&steps, &mut places);
        for (place, value) in after {
            assert_eq!(places[&place], value, "{place:?} after {steps:?}");
        }
    }
    assert!(with_cycle > 100, "{with_cycle}");
}
