//! Wrong allocations: those of generated programs, each broken in one place in one of the ways in which an
//! allocator can be wrong. The checker finds every one that changes what the program does: of those that it lets
//! pass, the function is run with its values where the allocation says, and must do the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use memql_compiler::alloc::check::check;
use memql_compiler::alloc::{Allocation, Allocations, Move, Place, Reg, Source, SpillSlot, allocate};
use memql_compiler::ir::{Block, FuncRef, Function, InstId, Module, Value};

use crate::allocated::as_allocated;
use crate::compare::difference;
use crate::execute::{self, Outcome, Scene};
use crate::pipeline;
use crate::random::Random;
use crate::{generate, quiet, tree};

const PROGRAMS: u64 = 100;
const MUTANTS_OF_EACH: usize = 60;

/// So many mistakes of a kind that were found are run, to see that they would have mattered.
const ENOUGH_HARM: usize = 3;

/// How an allocator can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mistake {
    MissingMove,
    MissingReload,
    MissingSpill,
    MissingConstant,
    MovesInTheWrongOrder,
    MoveFromElsewhere,
    MoveToElsewhere,
    OtherSpillSlot,
    OtherConstant,
    OperandInAnotherRegister,
    OperandsExchanged,
    ResultInAnotherRegister,
    ResultOverAnOperand,
    NoTemporary,
    OperandOfAnEnd,
    MovesOfTheOtherEdge,
    OneRegisterForAnother,
    ClobberedByCalls,
}

use Mistake::*;

const MISTAKES: [Mistake; 18] = [
    MissingMove,
    MissingReload,
    MissingSpill,
    MissingConstant,
    MovesInTheWrongOrder,
    MoveFromElsewhere,
    MoveToElsewhere,
    OtherSpillSlot,
    OtherConstant,
    OperandInAnotherRegister,
    OperandsExchanged,
    ResultInAnotherRegister,
    ResultOverAnOperand,
    NoTemporary,
    OperandOfAnEnd,
    MovesOfTheOtherEdge,
    OneRegisterForAnother,
    ClobberedByCalls,
];

/// What became of the mutants of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    made: usize,
    found: usize,
    /// Of those found, the ones that did something else when they were run.
    harmful: usize,
}

#[test]
fn the_allocation_checker_finds_every_mistake_that_matters() {
    quiet();
    let scene = Scene::new(execute::cpus()[0]);
    let mut counts: BTreeMap<Mistake, Count> = BTreeMap::new();
    let mut missed = String::new();
    for seed in 1..=PROGRAMS {
        let mut random = Random::new(seed);
        let features = pipeline::features(random.once_in(2), scene.world.cpus);
        let source = tree::script(&generate::config(seed), &[generate::program(random.bits())]);
        let Ok(stages) = pipeline::compile(&source, &features, scene.user_address) else { continue };
        // As the back end leaves it, before globals become one.
        let (module, allocations) = (&stages.module, allocate(&stages.module, &features));
        let reference = execute::interpret(&stages.plain, &scene.world).expect("a program runs");
        let run = |allocations: &Allocations| run(module, allocations, &reference, &scene);
        assert_eq!(run(&allocations), None, "{source}");
        for _ in 0..MUTANTS_OF_EACH {
            let mistake = *random.of(&MISTAKES);
            let functions = &module.programs[0].functions;
            let id = FuncRef::from_u32(random.below(functions.len()) as u32);
            let mut wrong = allocations.clone();
            if !make(mistake, &functions[id], &mut wrong.programs[0][id], &mut random) {
                continue;
            }
            let is_found = check(&functions[id], &wrong.programs[0][id]).is_err();
            let count = counts.entry(mistake).or_default();
            count.made += 1;
            count.found += usize::from(is_found);
            if is_found && count.harmful >= ENOUGH_HARM {
                continue;
            }
            let difference = run(&wrong);
            count.harmful += usize::from(is_found && difference.is_some());
            if let (false, Some(words)) = (is_found, difference) {
                writeln!(missed, "seed {seed}, {mistake:?} in {id}: {words}\n{source}")
                    .expect("a string takes all");
            }
        }
    }
    println!("{counts:#?}");
    assert!(missed.is_empty(), "the checker lets pass what changes a program:\n{missed}");
    for mistake in MISTAKES {
        let Count { made, found, harmful } = counts.get(&mistake).copied().unwrap_or_default();
        // One that never did any harm would show nothing of the checker.
        let enough = found >= 5 && harmful >= 1;
        assert!(enough, "{mistake:?}: {made} made, {found} found, {harmful} of them harmful");
    }
}

/// In what a run with these allocations differs from the reference.
fn run(module: &Module, allocations: &Allocations, reference: &Outcome, scene: &Scene) -> Option<String> {
    let allocated = pipeline::with_one_global(as_allocated(module, allocations));
    match execute::interpret(&allocated, &scene.world) {
        Ok(outcome) => difference(reference, &outcome, &[true]),
        Err(trap) => Some(trap),
    }
}

/// Breaks an allocation; whether there was something to break.
fn make(mistake: Mistake, function: &Function, allocation: &mut Allocation, random: &mut Random) -> bool {
    match mistake {
        MissingMove => remove(function, allocation, random, |_| true),
        MissingReload => remove(function, allocation, random, |step| {
            matches!(step, Move { from: Source::Place(Place::Spill(_)), .. })
        }),
        MissingSpill => remove(function, allocation, random, |step| matches!(step.to, Place::Spill(_))),
        MissingConstant => remove(function, allocation, random, |step| matches!(step.from, Source::Remat(_))),
        MovesInTheWrongOrder => change_gap(function, allocation, random, |gap| {
            // One writes what the other reads.
            let depend = |pair: &[Move]| {
                pair[1].from == Source::Place(pair[0].to) || pair[0].from == Source::Place(pair[1].to)
            };
            let first = gap.windows(2).position(depend);
            first.is_some_and(|first| {
                gap.swap(first, first + 1);
                true
            })
        }),
        MoveFromElsewhere => {
            let place = any_place(allocation, random);
            change_move(function, allocation, random, |_| true, |step| step.from = Source::Place(place))
        }
        MoveToElsewhere => {
            let place = any_place(allocation, random);
            change_move(function, allocation, random, |_| true, |step| step.to = place)
        }
        OtherSpillSlot => {
            if allocation.spill_slots < 2 {
                return false;
            }
            let other = SpillSlot::from_u32(random.below(allocation.spill_slots as usize) as u32);
            let spills = |step: &Move| {
                matches!(step.to, Place::Spill(_)) || matches!(step.from, Source::Place(Place::Spill(_)))
            };
            change_move(function, allocation, random, spills, |step| match step.to {
                Place::Spill(_) => step.to = Place::Spill(other),
                Place::Reg(_) => step.from = Source::Place(Place::Spill(other)),
            })
        }
        OtherConstant => {
            let mut constants: Vec<Value> = Vec::new();
            each_gap(function, allocation, &mut |gap| {
                constants.extend(gap.iter().filter_map(|step| match step.from {
                    Source::Remat(value) => Some(value),
                    Source::Place(_) => None,
                }));
            });
            if constants.is_empty() {
                return false;
            }
            let other = *random.of(&constants);
            let is_constant = |step: &Move| matches!(step.from, Source::Remat(_));
            change_move(function, allocation, random, is_constant, |step| step.from = Source::Remat(other))
        }
        OperandInAnotherRegister => change_inst(function, allocation, random, |_, registers, random| {
            let reg = any_reg(random);
            !registers.uses.is_empty() && {
                let n = random.below(registers.uses.len());
                std::mem::replace(&mut registers.uses[n], reg) != reg
            }
        }),
        OperandsExchanged => change_inst(function, allocation, random, |_, registers, _| {
            registers.uses.len() > 1 && registers.uses[0] != registers.uses[1] && {
                registers.uses.swap(0, 1);
                true
            }
        }),
        ResultInAnotherRegister => change_inst(function, allocation, random, |_, registers, random| {
            let reg = any_reg(random);
            registers.result.is_some_and(|old| old != reg) && {
                registers.result = Some(reg);
                true
            }
        }),
        ResultOverAnOperand => change_inst(function, allocation, random, |_, registers, random| {
            registers.result.is_some() && !registers.uses.is_empty() && {
                let reg = *random.of(&registers.uses);
                registers.result.replace(reg) != Some(reg)
            }
        }),
        NoTemporary => change_inst(function, allocation, random, |_, registers, random| {
            !registers.temps.is_empty() && {
                // Another one, which may be in use.
                let reg = any_reg(random);
                std::mem::replace(&mut registers.temps[0], reg) != reg
            }
        }),
        OperandOfAnEnd => {
            let ends: Vec<Block> =
                function.blocks.keys().filter(|b| !allocation.terminators[*b].is_empty()).collect();
            if ends.is_empty() {
                return false;
            }
            let (block, reg) = (*random.of(&ends), any_reg(random));
            let n = random.below(allocation.terminators[block].len());
            std::mem::replace(&mut allocation.terminators[block][n], reg) != reg
        }
        MovesOfTheOtherEdge => {
            let differs = |b: &Block| {
                let edges = &allocation.edges[*b];
                edges.len() == 2 && edges[0] != edges[1]
            };
            let blocks: Vec<Block> = function.blocks.keys().filter(differs).collect();
            if blocks.is_empty() {
                return false;
            }
            allocation.edges[*random.of(&blocks)].swap(0, 1);
            true
        }
        OneRegisterForAnother => {
            let (from, to) = (any_reg(random), any_reg(random));
            from != to && rename(function, allocation, from, to)
        }
        ClobberedByCalls => {
            let survives = Reg::from_number(6 + random.below(4) as u8).expect("r6 to r9");
            let clobbered = Reg::from_number(random.below(6) as u8).expect("r0 to r5");
            rename(function, allocation, survives, clobbered)
        }
    }
}

fn any_reg(random: &mut Random) -> Reg {
    Reg::from_number(random.below(Reg::ALLOCATABLE) as u8).expect("there are so many")
}

fn any_place(allocation: &Allocation, random: &mut Random) -> Place {
    match allocation.spill_slots as usize {
        n @ 1.. if random.once_in(2) => Place::Spill(SpillSlot::from_u32(random.below(n) as u32)),
        _ => Place::Reg(any_reg(random)),
    }
}

fn each_gap(function: &Function, allocation: &mut Allocation, f: &mut dyn FnMut(&mut Vec<Move>)) {
    for block in function.blocks.keys() {
        f(&mut allocation.at_start[block]);
        f(&mut allocation.before_terminator[block]);
        allocation.edges[block].iter_mut().for_each(&mut *f);
    }
    function.insts.keys().for_each(|inst| f(&mut allocation.before[inst]));
}

/// Changes the first gap that can be changed, from one of them on.
fn change_gap(
    function: &Function,
    allocation: &mut Allocation,
    random: &mut Random,
    change: impl Fn(&mut Vec<Move>) -> bool,
) -> bool {
    let mut gaps = 0;
    each_gap(function, allocation, &mut |_| gaps += 1);
    let from = random.below(gaps);
    let mut changed = false;
    for (least, most) in [(from, gaps), (0, from)] {
        let mut at = 0;
        each_gap(function, allocation, &mut |gap| {
            changed = changed || ((least..most).contains(&at) && change(gap));
            at += 1;
        });
    }
    changed
}

/// Does something to one of the moves of a kind.
fn at_move(
    function: &Function,
    allocation: &mut Allocation,
    random: &mut Random,
    is_meant: impl Fn(&Move) -> bool,
    mut act: impl FnMut(&mut Vec<Move>, usize),
) -> bool {
    let mut meant = 0;
    each_gap(function, allocation, &mut |gap| meant += gap.iter().filter(|step| is_meant(step)).count());
    if meant == 0 {
        return false;
    }
    let (wanted, mut at) = (random.below(meant), 0);
    each_gap(function, allocation, &mut |gap| {
        let mut found = None;
        for (n, _) in gap.iter().enumerate().filter(|(_, step)| is_meant(step)) {
            if at == wanted {
                found = Some(n);
            }
            at += 1;
        }
        if let Some(n) = found {
            act(gap, n);
        }
    });
    true
}

fn remove(
    function: &Function,
    allocation: &mut Allocation,
    random: &mut Random,
    is_meant: impl Fn(&Move) -> bool,
) -> bool {
    at_move(function, allocation, random, is_meant, |gap, n| {
        gap.remove(n);
    })
}

fn change_move(
    function: &Function,
    allocation: &mut Allocation,
    random: &mut Random,
    is_meant: impl Fn(&Move) -> bool,
    change: impl Fn(&mut Move),
) -> bool {
    let mut changed = false;
    at_move(function, allocation, random, is_meant, |gap, n| {
        let before = gap[n];
        change(&mut gap[n]);
        changed = gap[n] != before;
    });
    changed
}

fn change_inst(
    function: &Function,
    allocation: &mut Allocation,
    random: &mut Random,
    change: impl Fn(InstId, &mut memql_compiler::alloc::Registers, &mut Random) -> bool,
) -> bool {
    let selected: Vec<InstId> =
        function.insts.keys().filter(|inst| allocation.selection.insts[*inst].is_some()).collect();
    // Some have nothing of the kind.
    !selected.is_empty()
        && (0..8).any(|_| {
            let inst = *random.of(&selected);
            change(inst, &mut allocation.insts[inst], random)
        })
}

/// Puts all that is in one register into another one; whether anything was.
fn rename(function: &Function, allocation: &mut Allocation, from: Reg, to: Reg) -> bool {
    let mut renamed = 0;
    let mut reg = |reg: &mut Reg| {
        if *reg == from {
            *reg = to;
            renamed += 1;
        }
    };
    for inst in function.insts.keys() {
        let registers = &mut allocation.insts[inst];
        registers.uses.iter_mut().for_each(&mut reg);
        registers.result.iter_mut().for_each(&mut reg);
        registers.temps.iter_mut().for_each(&mut reg);
    }
    function.blocks.keys().for_each(|block| allocation.terminators[block].iter_mut().for_each(&mut reg));
    each_gap(function, allocation, &mut |gap| {
        for step in gap {
            if let Source::Place(Place::Reg(place)) = &mut step.from {
                reg(place);
            }
            if let Place::Reg(place) = &mut step.to {
                reg(place);
            }
        }
    });
    renamed > 0
}
