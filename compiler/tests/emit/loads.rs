//! Whole programs.

use crate::kernel::{loadable, run_ir};

#[test]
fn returns_a_constant() {
    for features in loadable() {
        let ir = "
            license \"GPL\"
            program %p on test_run {
            fn0(ptr.ctx):
            block0(v0: ptr.ctx):
                v1 = const 42
                return v1
            }";
        assert_eq!(run_ir(ir, &features, &[]).returned, 42);
    }
}

#[test]
fn counts_down_in_a_loop_and_adds_to_a_global() {
    let ir = "
        license \"GPL\"
        global0 = \"pad\", size 8, align 8, offset 0
        global1 = \"total\", size 8, align 8, offset 8
        program %p on test_run {
        fn0(ptr.ctx):
        block0(v0: ptr.ctx):
            v1 = const 10
            v2 = const 0
            jump block1(v1, v2)
        block1(v3: i64, v4: i64):
            v5 = const 1
            v6 = sub v3, v5
            v7 = add v4, v3
            v8 = const 0
            brif ne v6, v8, block1(v6, v7), block2(v7)
        block2(v9: i64):
            v10: ptr.map = global_addr global1
            atomic_add.64 v10, v9
            return v9
        }";
    for features in loadable() {
        let outcome = run_ir(ir, &features, &[]);
        assert_eq!((outcome.returned, outcome.word(1)), (55, 55));
    }
}

#[test]
fn looks_up_and_updates_maps_and_calls_back() {
    let ir = "
        license \"GPL\"
        map0 = hash \"at_x\", key 8, value 8, max_entries 64
        map1 = ring_buffer \"ring\", key 0, value 0, max_entries 4096
        global0 = \"seen\", size 8, align 8, offset 0
        program %p on test_run {
        fn0(ptr.ctx):
            ss0 = stack 8, align 8, for \"key of @x\"
            ss1 = stack 8, align 8
        block0(v0: ptr.ctx):
            v1 = load.u64 v0+8
            v2: ptr.stack = slot_addr ss0
            store.64 v2, v1
            v3: ptr.stack = slot_addr ss1
            v4 = const 7
            store.64 v3, v4
            v5: map = map_object map0
            v6 = const 0
            v7 = call map_update_elem(v5, v2, v3, v6)
            v8: ptr.map = call map_lookup_elem(v5, v2)
            brif eq v8, v6, block1, block2
        block1:
            return v6
        block2:
            v9 = load.u64 v8
            v10 = add v9, v7
            v11: fn = fn_addr fn1
            v12 = call for_each_map_elem(v5, v11, v3, v6)
            return v10
        fn1(i64, ptr.stack, ptr.map, ptr.stack):
        block0(v0: i64, v1: ptr.stack, v2: ptr.map, v3: ptr.stack):
            v4 = load.u64 v2
            v5: ptr.map = global_addr global0
            atomic_add.64 v5, v4
            v6 = const 0
            return v6
        }";
    // Callbacks came with Linux 5.13, between fetching atomics and cpu v4.
    for features in loadable().into_iter().filter(|f| f.for_each_map_elem) {
        let outcome = run_ir(ir, &features, &[1, 2, 3]);
        assert_eq!((outcome.returned, outcome.word(0)), (7, 7));
    }
}
