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
//! Rounds are repeated until one changes nothing, at most [`MAX_ROUNDS`] times.

use cranelift_entity::PrimaryMap;

use crate::ir::compact::compact;
use crate::ir::text::print_module;
use crate::ir::verify::verify;
use crate::ir::{Function, Global, GlobalDef, MapDef, MapRef, Module};

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
    for _ in 0..MAX_ROUNDS {
        let mut changed = false;
        for pass in PASSES {
            changed |= run_pass(pass, module);
            if cfg!(debug_assertions) {
                assert_valid(pass, module);
            }
        }
        if !changed {
            break;
        }
    }
}

/// Runs one pass on all functions of a module; says whether it changed anything.
pub fn run_pass(pass: &Pass, module: &mut Module) -> bool {
    let Module { maps, globals, programs, license: _ } = module;
    let facts = Facts { maps, globals };
    let mut changed = false;
    for function in programs.iter_mut().flat_map(|program| program.functions.values_mut()) {
        if (pass.run)(&facts, function) {
            compact(function);
            changed = true;
        }
    }
    changed
}

fn assert_valid(pass: &Pass, module: &Module) {
    if let Err(violations) = verify(module) {
        let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
        panic!("the pass `{}` broke the IR:\n{}\nin\n{}", pass.name, list.join("\n"), print_module(module));
    }
}
