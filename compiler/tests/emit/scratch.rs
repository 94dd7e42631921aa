//! Slots that do not fit the stack.

use crate::kernel::{back_end, load, loadable, new_kernel, parse, run, try_back_end};

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

#[test]
fn programs_that_can_be_preempted_take_one_of_several_entries() {
    for features in loadable() {
        let emitted = back_end(parse(&big_slot("uprobe")), &features);
        assert_eq!(emitted.asm.matches("map scratch ll").count(), 4, "{}", emitted.asm);
        load(&emitted.object).unwrap_or_else(|e| panic!("{e}\n{}", emitted.asm));
    }
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
