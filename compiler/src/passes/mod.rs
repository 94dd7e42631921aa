//! IR to IR: the same observable behaviour with less work.
//!
//! Observable is what a program leaves behind: stores to maps and globals, records, and helper calls with
//! effects, in their order and under their conditions, and the value it returns. Passes keep the IR
//! verifier's invariants, the spans of what they keep, and everything that the kernel verifier needs to
//! know: they drop a test only where it follows from what the kernel verifier tracks itself (constants,
//! loads' widths, masks, shifts, and branches taken before).
//!
//! Probe bodies are straight code, so a few rounds of simple passes are enough. A round is, in order:
//!
//! ```text
//! promote   slots become values                      feeds all others
//! fold      constants and algebra                    makes branches constant
//! blocks    branches, jumps, merging of blocks       makes code straight for what follows
//! common    the same computation once                pid and tid are one helper call
//! loads     what memory is known to hold             map lookups shared by predicate and body
//! dead      what nobody looks at
//! ```
//!
//! Rounds are repeated for a function until one changes nothing, at most [`MAX_ROUNDS`] times.
//!
//! What each is worth, in IR instructions of shipped scripts (when this was written), and in time: about
//! two microseconds an instruction for all rounds together, in proportion to the script's size.
//!
//! ```text
//!                    drsnoop  memleak (kernel)  shmsnoop
//! as lowered             170               464       826
//! optimised              111               331       521
//! without promote        111               337       541
//! without fold           115               341       543
//! without blocks         124               347       575
//! without common         149               424       690
//! without loads          118               331       542
//! without dead           118               339       552
//! ```

use cranelift_entity::PrimaryMap;

use crate::ir::compact::compact;
use crate::ir::text::print_module;
use crate::ir::verify::verify;
use crate::ir::{FuncRef, Function, Global, GlobalDef, MapDef, MapRef, Module};

mod blocks;
mod byte_set;
mod common;
mod dead;
mod fold;
mod loads;
mod promote;
mod replace;

/// Rounds of all passes. What is left to gain after so many is not worth the compile time.
pub const MAX_ROUNDS: usize = 4;

/// What passes may know of the module around a function.
pub struct Facts<'a> {
    /// The maps.
    pub maps: &'a PrimaryMap<MapRef, MapDef>,
    /// The globals.
    pub globals: &'a PrimaryMap<Global, GlobalDef>,
}

/// One pass.
pub struct Pass {
    /// Its name: that of its file, and of the folder of its tests.
    pub name: &'static str,
    /// Rewrites a function; says whether it changed anything.
    run: fn(&Facts, &mut Function) -> bool,
}

/// The passes in the order of a round.
pub const PASSES: &[Pass] = &[
    Pass { name: "promote", run: promote::run },
    Pass { name: "fold", run: fold::run },
    Pass { name: "blocks", run: blocks::run },
    Pass { name: "common", run: common::run },
    Pass { name: "loads", run: loads::run },
    Pass { name: "dead", run: dead::run },
];

/// Optimises all programs of a module.
///
/// # Panics
/// In debug builds, if a pass leaves IR that the IR verifier refuses: an error in memql.
pub fn optimise(module: &mut Module) {
    let mut unsettled = all_functions(module);
    for _ in 0..MAX_ROUNDS {
        let mut changed = vec![false; unsettled.len()];
        for pass in PASSES {
            for (&function, changed) in unsettled.iter().zip(&mut changed) {
                *changed |= run_on(pass, module, function);
            }
            if cfg!(debug_assertions) {
                assert_valid(pass, module);
            }
        }
        let mut changed = changed.into_iter();
        unsettled.retain(|_| changed.next().unwrap_or(false));
        if unsettled.is_empty() {
            break;
        }
    }
}

/// Runs one pass on all functions of a module; says whether it changed anything.
pub fn run_pass(pass: &Pass, module: &mut Module) -> bool {
    all_functions(module).into_iter().filter(|&function| run_on(pass, module, function)).count() > 0
}

/// A function by its program's place and its own.
type FunctionPlace = (usize, FuncRef);

fn all_functions(module: &Module) -> Vec<FunctionPlace> {
    let programs = module.programs.iter().enumerate();
    programs.flat_map(|(index, program)| program.functions.keys().map(move |func| (index, func))).collect()
}

fn run_on(pass: &Pass, module: &mut Module, (program, func): FunctionPlace) -> bool {
    let Module { maps, globals, programs, license: _ } = module;
    let function = &mut programs[program].functions[func];
    let changed = (pass.run)(&Facts { maps, globals }, function);
    if changed {
        compact(function);
    }
    changed
}

fn assert_valid(pass: &Pass, module: &Module) {
    if let Err(violations) = verify(module) {
        let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
        panic!("the pass `{}` broke the IR:\n{}\nin\n{}", pass.name, list.join("\n"), print_module(module));
    }
}
