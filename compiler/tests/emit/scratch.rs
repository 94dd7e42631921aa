//! Slots that do not fit the stack.

use std::os::unix::process::parent_id;

use libbpf_rs::{MapCore, MapFlags, Object, UprobeOpts};
use memql_compiler::attach::ProgramKind;
use memql_compiler::ir::verify::verify;
use memql_compiler::ir::{GlobalDef, text};
use memql_compiler::scratch::move_to_scratch;

use crate::kernel::{back_end, load, loadable, new_kernel, old_kernel, parse, run, try_back_end};
use crate::random::Generator;

/// Writes 0, 1, 2... into a slot's words and returns the last one, through an address and by copies.
fn big_slot(kind: &str) -> String {
    format!(
        "
        license \"GPL\"
        global0 = \"out\", size 8, align 8, offset 0
        program %p on {kind} {{
        fn0(ptr.ctx):
            ss0 = stack 1024, align 8, for \"$big\"
            ss1 = stack 64, align 1, for \"$small\"
        block0(v0: ptr.ctx):
            v1: ptr.stack = slot_addr ss0
            mem_zero v1, 1024
            v2 = const 5
            store.64 v1+1016, v2
            v3: ptr.stack = slot_addr ss0+960
            v4: ptr.stack = slot_addr ss1
            mem_copy v4, v3, 64, align 1
            v5 = load.u64 v4+56
            v6 = const 8
            v7: ptr.kernel = const 0
            v8: ptr.stack = slot_addr ss0+8
            v9 = const 600
            v10 = call probe_read_kernel(v8, v9, v7)
            v11 = load.u64 v1+1016
            v12 = add v11, v5
            v13: ptr.map = global_addr global0
            store.64 v13, v12
            return v12
        }}"
    )
}

#[test]
fn big_slots_move_to_a_per_cpu_map() {
    for features in loadable() {
        let emitted = back_end(parse(&big_slot("test_run")), &features);
        assert!(emitted.asm.contains("map scratch ll"), "{}", emitted.asm);
        assert_eq!(run(&emitted, &[]).returned, 10);
    }
}

/// Counts its runs in `out`, with a big variable between reading and writing the count, on one of two ways to
/// its end.
const COUNTS: &str = "
    license \"GPL\"
    global0 = \"out\", size 8, align 8, offset 0
    program %p on uprobe {
    fn0(ptr.ctx):
        ss0 = stack 1024, align 8, for \"$big\"
    block0(v0: ptr.ctx):
        v1: ptr.map = global_addr global0
        v2 = load.u64 v1
        v3 = const 1000
        brif ult v2, v3, block1, block2
    block1:
        v4: ptr.stack = slot_addr ss0
        store.64 v4+512, v2
        v5 = load.u64 v4+512
        v6 = const 1
        v7 = add v5, v6
        store.64 v1, v7
        jump block2
    block2:
        v8 = const 0
        return v8
    }";

#[test]
fn programs_that_can_be_preempted_own_their_memory_or_count_a_loss() {
    for features in loadable() {
        let object = load(&back_end(parse(COUNTS), &features).object).expect("loads");
        let program = object.progs_mut().next().expect("one program");
        // Nothing else in this process asks for its parent.
        let options = UprobeOpts { func_name: Some("getppid".into()), ..UprobeOpts::default() };
        let libc = std::fs::read_to_string("/proc/self/maps").expect("is read");
        let libc = libc.split_whitespace().find(|word| word.contains("libc.so")).expect("a C library");
        let pid = std::process::id() as i32;
        let _link = match program.attach_uprobe_with_opts(pid, libc, 0, options) {
            Ok(link) => link,
            Err(error) => return crate::skip::skipped(&format!("no uprobes: {error}")),
        };
        let fire = || {
            (0..10).for_each(|_| assert_ne!(parent_id(), 0));
            (word(&object, 0), word(&object, 1))
        };
        assert_eq!(fire(), (10, 0), "all entries are given back");
        let scratch = object.maps().find(|m| m.name() == "scratch").expect("a scratch map");
        for key in 0..scratch.max_entries() {
            let mut values =
                scratch.lookup_percpu(&key.to_le_bytes(), MapFlags::ANY).expect("reads").expect("is there");
            values.iter_mut().for_each(|value| value[0] = u8::from(key < 2));
            scratch.update_percpu(&key.to_le_bytes(), &values, MapFlags::ANY).expect("writes");
        }
        assert_eq!(fire(), (20, 0), "two entries are in use, the third is taken");
        for key in 2..scratch.max_entries() {
            let mut values =
                scratch.lookup_percpu(&key.to_le_bytes(), MapFlags::ANY).expect("reads").expect("is there");
            values.iter_mut().for_each(|value| value[0] = 1);
            scratch.update_percpu(&key.to_le_bytes(), &values, MapFlags::ANY).expect("writes");
        }
        assert_eq!(fire(), (20, 10), "all entries are in use, and that is counted");
    }
}

/// A word of `.bss`.
fn word(object: &Object, n: usize) -> u64 {
    let bss = object.maps().find(|m| m.name().to_string_lossy().ends_with(".bss")).expect("has globals");
    let bytes = bss.lookup(&0u32.to_le_bytes(), MapFlags::ANY).expect("reads").expect("is there");
    u64::from_le_bytes(bytes[n * 8..n * 8 + 8].try_into().expect("eight bytes"))
}

#[test]
fn events_that_a_filter_turns_away_do_not_look_up_scratch_memory() {
    let ir = "
        license \"GPL\"
        program %p on uprobe {
        fn0(ptr.ctx):
            ss0 = stack 1024, align 8
        block0(v0: ptr.ctx):
            v1: ptr.stack = slot_addr ss0
            v2 = call get_current_pid_tgid()
            v3 = const 7
            brif eq v2, v3, block1, block2
        block1:
            store.64 v1, v2
            jump block2
        block2:
            v4 = const 0
            return v4
        }";
    let asm = back_end(parse(ir), &new_kernel()).asm;
    let turned_away = asm.lines().position(|l| l.contains(" != 7 goto")).expect("a filter");
    let looked_up = asm.lines().position(|l| l.contains("map scratch")).expect("scratch memory");
    assert!(turned_away < looked_up, "{asm}");
}

#[test]
fn what_fits_the_stack_stays_there() {
    let ir = big_slot("test_run")
        .replace("1024", "256")
        .replace("960", "192")
        .replace("1016", "248")
        .replace("600", "100");
    assert!(!back_end(parse(&ir), &new_kernel()).asm.contains("scratch"));
}

#[test]
fn too_much_scratch_memory_is_an_error_that_names_the_variable() {
    let ir = big_slot("test_run").replace("stack 1024", "stack 40000");
    let error = try_back_end(parse(&ir), &new_kernel()).expect_err("too big");
    assert_eq!(
        error.to_string(),
        "`p` needs 40000 bytes of scratch memory, the kernel gives 32768: $big (40000 bytes), $small (64 bytes)"
    );
}

#[test]
fn scratch_memory_leaves_ir_that_passes_the_ir_verifier() {
    let mut moved = 0;
    for seed in 1..=200 {
        for features in [old_kernel(), new_kernel()] {
            let mut module = Generator::new(seed, features.atomic_fetch).generate();
            if seed % 2 == 0 {
                module.programs[0].kind = ProgramKind::Uprobe;
            }
            let busy =
                module.globals.push(GlobalDef { name: "busy".into(), size: 8, align: 8, offset: 1024 });
            assert_eq!(verify(&module), Ok(()), "seed {seed}");
            let maps = module.maps.len();
            // Little room, so that even small variables move.
            move_to_scratch(&mut module, &features, busy, 400).expect("fits");
            moved += module.maps.len() - maps;
            assert_eq!(verify(&module), Ok(()), "seed {seed}\n{}", text::print_module(&module));
        }
    }
    assert!(moved > 200, "{moved}");
}
