//! Proof that an allocation is right: on every path, each operand reads the value that the IR names.
//!
//! Forward data flow over what each place holds, to a fixed point. It looks at the selection, the
//! registers and the moves only, not at how they were found. What paths disagree about is unknown; an
//! instruction forgets what it clobbers; a value that is defined again in a loop makes all its old copies
//! unknown; an edge gives parameters to the places that hold their arguments.

use std::collections::BTreeMap;
use std::fmt;

use cranelift_entity::SecondaryMap;

use super::memory::origin;
use super::select::{DefAt, Use, UseAt};
use super::{Allocation, Move, Place, Reg, Registers, Source};
use crate::ir::{Block, Function, InstId, Value};

/// What is wrong with an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckError {
    /// Where.
    pub at: String,
    /// What.
    pub what: String,
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

impl std::error::Error for CheckError {}

/// The values that each place is known to hold. A place that is not in it holds something unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    places: BTreeMap<Place, Vec<Value>>,
}

/// Checks an allocation.
///
/// # Errors
/// The first operand found that may read something else than its value, or that is not where its
/// operation wants it.
pub fn check(function: &Function, allocation: &Allocation) -> Result<(), CheckError> {
    let checker = Checker { function, allocation };
    let mut states: SecondaryMap<Block, Option<State>> = SecondaryMap::new();
    states[function.entry()] = Some(checker.entry());
    let mut open = vec![function.entry()];
    while let Some(block) = open.pop() {
        let state = states[block].clone().unwrap_or_default();
        for (target, state) in checker.block(block, state)? {
            let merged = match &states[target] {
                None => state,
                Some(old) => old.merged(&state),
            };
            if states[target].as_ref() != Some(&merged) {
                states[target] = Some(merged);
                open.push(target);
            }
        }
    }
    Ok(())
}

impl State {
    fn holds(&self, place: Place, value: Value) -> bool {
        self.places.get(&place).is_some_and(|values| values.contains(&value))
    }

    fn forget(&mut self, place: Place) {
        self.places.remove(&place);
    }

    fn apply(&mut self, step: &Move) {
        let values = match step.from {
            Source::Place(from) => self.places.get(&from).cloned(),
            Source::Remat(value) => Some(vec![value]),
        };
        match values {
            Some(values) => self.places.insert(step.to, values),
            None => self.places.remove(&step.to),
        };
    }

    fn define(&mut self, value: Value, reg: Reg) {
        for values in self.places.values_mut() {
            values.retain(|v| *v != value);
        }
        self.places.insert(Place::Reg(reg), vec![value]);
    }

    /// What holds on both of two paths.
    fn merged(&self, other: &State) -> State {
        let both = |(place, values): (&Place, &Vec<Value>)| {
            let values: Vec<Value> = values.iter().copied().filter(|v| other.holds(*place, *v)).collect();
            (!values.is_empty()).then_some((*place, values))
        };
        State { places: self.places.iter().filter_map(both).collect() }
    }
}

struct Checker<'a> {
    function: &'a Function,
    allocation: &'a Allocation,
}

impl Checker<'_> {
    fn entry(&self) -> State {
        let params = &self.function.blocks[self.function.entry()].params;
        let places = params.iter().enumerate().map(|(n, p)| (Place::Reg(Reg::argument(n)), vec![*p]));
        State { places: places.collect() }
    }

    /// Follows a block; gives the state at the end of each edge.
    fn block(&self, block: Block, mut state: State) -> Result<Vec<(Block, State)>, CheckError> {
        let (function, allocation) = (self.function, self.allocation);
        let data = &function.blocks[block];
        allocation.at_start[block].iter().for_each(|step| state.apply(step));
        for &inst in &data.insts {
            if allocation.selection.insts[inst].is_some() {
                allocation.before[inst].iter().for_each(|step| state.apply(step));
                self.inst(inst, &mut state)
                    .map_err(|what| CheckError { at: format!("{block}, {inst}"), what })?;
            }
        }
        allocation.before_terminator[block].iter().for_each(|step| state.apply(step));
        let uses = allocation.selection.terminators[block].as_ref().map_or(&[][..], |t| &t.uses);
        let registers = Registers { uses: allocation.terminators[block].clone(), ..Registers::default() };
        let at_end = |what| CheckError { at: format!("end of {block}"), what };
        check_uses(uses, &registers, &state).map_err(at_end)?;
        let targets = data.terminator.iter().flat_map(|t| t.targets());
        let mut out = Vec::new();
        for (n, target) in targets.enumerate() {
            let mut state = state.clone();
            allocation.edges[block].get(n).into_iter().flatten().for_each(|step| state.apply(step));
            self.pass(&mut state, &target.args, &function.blocks[target.block].params);
            out.push((target.block, state));
        }
        Ok(out)
    }

    fn inst(&self, inst: InstId, state: &mut State) -> Result<(), String> {
        let Some(selected) = &self.allocation.selection.insts[inst] else { return Ok(()) };
        let registers = &self.allocation.insts[inst];
        check_uses(&selected.uses, registers, state)?;
        if registers.temps.len() != usize::from(selected.temps) {
            return Err("a temporary register is missing".to_owned());
        }
        let any = |reg: &Reg| {
            selected.uses.iter().zip(&registers.uses).any(|(u, r)| u.at == UseAt::Any && r == reg)
        };
        if let Some(temp) = registers.temps.iter().find(|t| any(t) || registers.result == Some(**t)) {
            return Err(format!("temporary {temp} is an operand"));
        }
        registers.temps.iter().for_each(|reg| state.forget(Place::Reg(*reg)));
        selected.clobbers.iter().for_each(|reg| state.forget(Place::Reg(reg)));
        for (u, reg) in selected.uses.iter().zip(&registers.uses) {
            if u.at == UseAt::Result {
                state.forget(Place::Reg(*reg));
            }
        }
        match (selected.result, registers.result) {
            (Some(def), Some(reg)) => {
                if def.at == DefAt::Early && any(&reg) {
                    return Err(format!("{reg} is written before it is read"));
                }
                state.define(def.value, reg);
                Ok(())
            }
            (None, None) => Ok(()),
            (Some(def), None) => Err(format!("{} has no register", def.value)),
            (None, Some(reg)) => Err(format!("{reg} holds no result")),
        }
    }

    /// Gives parameters to the places that hold their arguments.
    fn pass(&self, state: &mut State, args: &[Value], params: &[Value]) {
        for values in state.places.values_mut() {
            let passed =
                args.iter().zip(params).filter(|(arg, _)| values.contains(&origin(self.function, **arg)));
            let passed: Vec<Value> = passed.map(|(_, param)| *param).collect();
            values.retain(|v| !params.contains(v));
            values.extend(passed);
        }
    }
}

fn check_uses(uses: &[Use], registers: &Registers, state: &State) -> Result<(), String> {
    if uses.len() != registers.uses.len() {
        return Err(format!("{} operands, {} registers", uses.len(), registers.uses.len()));
    }
    for (u, reg) in uses.iter().zip(&registers.uses) {
        let wanted = match u.at {
            UseAt::Any => *reg,
            UseAt::Fixed(wanted) => wanted,
            UseAt::Result => registers.result.unwrap_or(*reg),
        };
        if wanted != *reg {
            return Err(format!("{} is in {reg} but wanted in {wanted}", u.value));
        }
        if !state.holds(Place::Reg(*reg), u.value) {
            let held = state.places.get(&Place::Reg(*reg));
            return Err(format!("{reg} should hold {} but holds {held:?}", u.value));
        }
    }
    Ok(())
}
