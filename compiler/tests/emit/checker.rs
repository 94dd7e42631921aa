//! The allocation checker notices what it is there for.

use cranelift_entity::SecondaryMap;
use memql_compiler::alloc::check::check;
use memql_compiler::alloc::{Allocation, Move, allocate_function};
use memql_compiler::emit::legalise;
use memql_compiler::ir::{Block, Function, InstId};

use crate::kernel::{new_kernel, parse};
use crate::random::Generator;

/// The entry of a random program, made legal, and its allocation.
fn allocated(seed: u64) -> (Function, Allocation) {
    let mut module = Generator::new(seed, true).generate();
    legalise(&mut module, &new_kernel());
    let function = module.programs[0].functions.values().next().expect("an entry").clone();
    let allocation = allocate_function(&function, &new_kernel());
    (function, allocation)
}

/// Every gap of an allocation.
fn gaps(function: &Function, allocation: &mut Allocation) -> Vec<Vec<Move>> {
    let mut all = Vec::new();
    each_gap(function, allocation, &mut |gap| all.push(gap.clone()));
    all
}

fn each_gap(function: &Function, allocation: &mut Allocation, f: &mut dyn FnMut(&mut Vec<Move>)) {
    let blocks: Vec<Block> = function.blocks.keys().collect();
    let insts: Vec<InstId> = function.insts.keys().collect();
    let per_block = |map: &mut SecondaryMap<Block, Vec<Move>>, f: &mut dyn FnMut(&mut Vec<Move>)| {
        blocks.iter().for_each(|block| f(&mut map[*block]));
    };
    per_block(&mut allocation.at_start, f);
    per_block(&mut allocation.before_terminator, f);
    insts.iter().for_each(|inst| f(&mut allocation.before[*inst]));
    blocks.iter().for_each(|block| allocation.edges[*block].iter_mut().for_each(&mut *f));
}

#[test]
fn missing_moves_are_noticed() {
    let (mut removed, mut noticed) = (0, 0);
    for seed in 1..=40 {
        let (function, mut allocation) = allocated(seed);
        assert_eq!(check(&function, &allocation), Ok(()), "seed {seed}");
        for (n, gap) in gaps(&function, &mut allocation).iter().enumerate() {
            for step in 0..gap.len() {
                let mut broken = allocation.clone();
                let mut at = 0;
                each_gap(&function, &mut broken, &mut |gap| {
                    if at == n {
                        gap.remove(step);
                    }
                    at += 1;
                });
                removed += 1;
                noticed += usize::from(check(&function, &broken).is_err());
            }
        }
    }
    // The others bring a value to a register on an edge behind which, on every path, it is left again.
    assert!(removed > 1000 && noticed * 100 > removed * 85, "{noticed} of {removed}");
}

#[test]
fn a_wrong_register_is_noticed() {
    let module = parse(
        "
        license \"GPL\"
        program %p on test_run {
        fn0(ptr.ctx):
        block0(v0: ptr.ctx):
            v1 = load.u64 v0
            v2 = load.u64 v0+8
            v3 = sub v1, v2
            return v3
        }",
    );
    let function = module.programs[0].functions.values().next().expect("an entry");
    let allocation = allocate_function(function, &new_kernel());
    let subtraction = function.insts.keys().nth(2).expect("three instructions");
    let mut broken = allocation.clone();
    broken.insts[subtraction].uses.swap(0, 1);
    let error = check(function, &broken).expect_err("operands are exchanged");
    assert!(error.to_string().starts_with("block0, inst2: "), "{error}");
    let mut broken = allocation;
    broken.insts[subtraction].result = Some(broken.insts[subtraction].uses[1]);
    check(function, &broken).expect_err("the result overwrites an operand");
}
