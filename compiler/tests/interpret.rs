//! The interpreter's tests: IR text in, what it returns or how it traps out.

use memql_compiler::interpret::{Machine, World};
use memql_compiler::ir::{MapRef, text, verify};

/// Maps and globals of all tests.
const DECLARATIONS: &str = r#"
    license "GPL"
    map0 = hash "hash", key 8, value 8, max_entries 2
    map1 = per_cpu_hash "per_cpu", key 8, value 8, max_entries 2
    map2 = ring_buffer "ring", key 0, value 0, max_entries 64
    map3 = array "array", key 4, value 8, max_entries 3
    map4 = lru_hash "lru", key 8, value 8, max_entries 2
    global0 = "total", size 8, align 8, offset 0
"#;

/// Makes a module of functions' text, the first one's header and braces left out.
fn module(functions: &str) -> memql_compiler::ir::Module {
    let text = format!("{DECLARATIONS}\nprogram %p on test_run {{\nfn0(ptr.ctx):\n{functions}\n}}\n");
    let module = text::parse_module(&text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    if let Err(violations) = verify::verify(&module) {
        panic!("{}\n{text}", violations.iter().map(|v| format!("{v}\n")).collect::<String>());
    }
    module
}

/// What the program returns, or how it traps.
fn run_in(world: World, functions: &str) -> Result<i64, String> {
    let module = module(functions);
    Machine::new(&module, world).run(0, &[1, 2, 3, 4, 5, 6, 7, 8]).map_err(|trap| trap.to_string())
}

fn run(functions: &str) -> Result<i64, String> {
    run_in(World::default(), functions)
}

#[track_caller]
fn traps(functions: &str, expected: &str) {
    match run(functions) {
        Err(trap) if trap.ends_with(expected) => {}
        other => panic!("expected a trap that ends in `{expected}`, found {other:?}"),
    }
}

#[test]
fn loops_carry_values_in_block_parameters() {
    let sum = run("block0(v0: ptr.ctx):
            v1 = const 10
            v2 = const 0
            jump block1(v1, v2)
        block1(v3: i64, v4: i64):
            v5 = const 1
            v6 = sub v3, v5
            v7 = add v4, v3
            brif ne v6, v2, block1(v6, v7), block2(v7)
        block2(v9: i64):
            return v9");
    assert_eq!(sum, Ok(55));
}

#[test]
fn block_arguments_are_read_before_any_parameter_is_written() {
    let swapped = run("block0(v0: ptr.ctx):
            v1 = const 1
            v2 = const 2
            v3 = const 0
            jump block1(v1, v2, v3)
        block1(v4: i64, v5: i64, v6: i64):
            v7 = add v6, v1
            brif ult v6, v1, block1(v5, v4, v7), block2
        block2:
            v8 = const 10
            v9 = mul v4, v8
            v10 = add v9, v5
            return v10");
    assert_eq!(swapped, Ok(21));
}

#[test]
fn context_is_read_but_not_beyond_its_end() {
    let load = |off| format!("block0(v0: ptr.ctx):\nv1 = load.u32 v0{off}\nreturn v1");
    assert_eq!(run(&load("+4")), Ok(0x0807_0605));
    traps(&load("+5"), "bytes 5..9 of the context, which has 8");
    traps(&load("-1"), "bytes -1..3 of the context, which has 8");
}

#[test]
fn narrow_loads_extend_as_they_say() {
    let load = |how| {
        format!(
            "ss0 = stack 8, align 8
            block0(v0: ptr.ctx):
            v1: ptr.stack = slot_addr ss0
            v2 = const -2
            store.64 v1, v2
            v3 = load.{how} v1+2
            return v3"
        )
    };
    assert_eq!(run(&load("s16")), Ok(-1));
    assert_eq!(run(&load("u16")), Ok(0xffff));
}

#[test]
fn unwritten_bytes_of_a_slot_cannot_be_read() {
    traps(
        "ss0 = stack 8, align 8
        block0(v0: ptr.ctx):
            v1: ptr.stack = slot_addr ss0
            v2 = const 1
            store.32 v1, v2
            v3 = load.u64 v1
            return v3",
        "byte 4 of ss0 was never written",
    );
}

#[test]
fn each_run_finds_its_slots_unwritten() {
    let module = module(
        "ss0 = stack 8, align 8
        block0(v0: ptr.ctx):
            v1: ptr.map = global_addr global0
            v2: ptr.stack = slot_addr ss0
            v3 = load.u64 v1
            v4 = const 0
            brif eq v3, v4, block1, block2
        block1:
            v5 = const 1
            store.64 v2, v5
            atomic_add.64 v1, v5
            return v5
        block2:
            v6 = load.u64 v2
            return v6",
    );
    let mut machine = Machine::new(&module, World::default());
    assert_eq!(machine.run(0, &[]), Ok(1));
    assert!(machine.run(0, &[]).unwrap_err().to_string().ends_with("byte 0 of ss0 was never written"));
    assert_eq!(machine.bss(), 1u64.to_le_bytes());
}

#[test]
fn stack_accesses_must_be_aligned() {
    traps(
        "ss0 = stack 16, align 8
        block0(v0: ptr.ctx):
            v1: ptr.stack = slot_addr ss0
            v2 = load.u8 v0+3
            v3: ptr.stack = add v1, v2
            store.64 v3, v2
            return v2",
        "byte 4 of ss0 is not aligned to 8",
    );
}

#[test]
fn a_spilled_address_comes_back_as_the_same_and_only_whole() {
    let spill = |load| {
        format!(
            "ss0 = stack 8, align 8
            block0(v0: ptr.ctx):
            v1: ptr.stack = slot_addr ss0
            store.64 v1, v0
            {load}
            return v3"
        )
    };
    assert_eq!(run(&spill("v2: ptr.ctx = load.u64 v1\nv3 = load.u8 v2")), Ok(1));
    traps(&spill("v3 = load.u8 v1"), "what is at byte 0 of ss0 is not what was stored there whole");
    traps(&spill("v3 = load.u64 v1"), "expected i64, found ptr.ctx");
}

#[test]
fn addresses_may_not_be_kept_in_globals() {
    traps(
        "block0(v0: ptr.ctx):
            v1: ptr.map = global_addr global0
            store.64 v1, v0
            v2 = const 0
            return v2",
        "an address is stored in global0",
    );
}

/// Text of a program with the keys 1, 2 and 3 (`v10`, `v11`, `v12`) and the value 7 (`v13`) in slots.
fn with_keys(map: &str, rest: &str) -> String {
    format!(
        "ss0 = stack 8, align 8
        ss1 = stack 8, align 8
        ss2 = stack 8, align 8
        ss3 = stack 8, align 8
        block0(v0: ptr.ctx):
        v1 = const 1
        v2 = const 2
        v3 = const 3
        v4 = const 7
        v5 = const 0
        v10: ptr.stack = slot_addr ss0
        v11: ptr.stack = slot_addr ss1
        v12: ptr.stack = slot_addr ss2
        v13: ptr.stack = slot_addr ss3
        store.64 v10, v1
        store.64 v11, v2
        store.64 v12, v3
        store.64 v13, v4
        v20: map = map_object {map}
        {rest}"
    )
}

#[test]
fn a_full_hash_map_refuses_new_keys_but_not_old_ones() {
    let refused = with_keys(
        "map0",
        "v21 = call map_update_elem(v20, v10, v13, v5)
        v22 = call map_update_elem(v20, v11, v13, v5)
        v23 = call map_update_elem(v20, v10, v13, v5)
        v24 = call map_update_elem(v20, v12, v13, v5)
        v25 = mul v24, v4
        v26 = add v25, v23
        return v26",
    );
    assert_eq!(run(&refused), Ok(-7 * 7));
}

#[test]
fn update_flags_decide_whether_the_key_may_exist() {
    let errors = with_keys(
        "map0",
        "v21 = call map_update_elem(v20, v10, v13, v2)
        v22 = call map_update_elem(v20, v10, v13, v1)
        v23 = call map_update_elem(v20, v10, v13, v1)
        v24 = call map_update_elem(v20, v10, v13, v3)
        v30 = const 100
        v31 = mul v21, v30
        v32 = add v31, v22
        v33 = mul v32, v30
        v34 = add v33, v23
        v35 = mul v34, v30
        v36 = add v35, v24
        return v36",
    );
    // -ENOENT, 0, -EEXIST, -EINVAL
    assert_eq!(run(&errors), Ok(-2_001_722));
}

#[test]
fn an_lru_map_makes_room_for_new_keys() {
    let full = with_keys(
        "map4",
        "v21 = call map_update_elem(v20, v10, v13, v5)
        v22 = call map_update_elem(v20, v11, v13, v5)
        v23: ptr.map = call map_lookup_elem(v20, v10)
        v24 = call map_update_elem(v20, v12, v13, v5)
        return v24",
    );
    let module = module(&full);
    let mut machine = Machine::new(&module, World::default());
    assert_eq!(machine.run(0, &[]), Ok(0));
    let keys: Vec<u8> = machine.elements(MapRef::from_u32(4)).iter().map(|(key, _)| key[0]).collect();
    assert_eq!(keys, [1, 3]);
}

#[test]
fn the_value_of_a_replaced_or_deleted_element_cannot_be_used() {
    let replaced = with_keys(
        "map0",
        "v21 = call map_update_elem(v20, v10, v13, v5)
        v22: ptr.map = call map_lookup_elem(v20, v10)
        v23 = call map_update_elem(v20, v10, v13, v5)
        v24 = load.u64 v22
        return v24",
    );
    traps(&replaced, "a value of map0 is gone");
    let deleted = replaced
        .replace("map_update_elem(v20, v10, v13, v5)\n        v24", "map_delete_elem(v20, v10)\n        v24");
    assert_ne!(deleted, replaced);
    traps(&deleted, "a value of map0 is gone");
}

#[test]
fn a_null_pointer_cannot_be_loaded_through() {
    traps(
        &with_keys("map0", "v22: ptr.map = call map_lookup_elem(v20, v10)\nv24 = load.u64 v22\nreturn v24"),
        "0x0 is no address of memory",
    );
}

#[test]
fn per_cpu_maps_keep_a_value_for_each_cpu() {
    let update = with_keys("map1", "v21 = call map_update_elem(v20, v10, v13, v5)\nreturn v21");
    let module = module(&update);
    let mut machine = Machine::new(&module, World { cpus: 3, cpu: 1, ..World::default() });
    assert_eq!(machine.run(0, &[]), Ok(0));
    let seven = 7u64.to_le_bytes().to_vec();
    let values = vec![vec![0; 8], seven.clone(), vec![0; 8]];
    assert_eq!(machine.elements(MapRef::from_u32(1)), [(1u64.to_le_bytes().to_vec(), values)]);
    machine.world.cpu = 2;
    assert_eq!(machine.run(0, &[]), Ok(0));
    let values = vec![vec![0; 8], seven.clone(), seven];
    assert_eq!(machine.elements(MapRef::from_u32(1)), [(1u64.to_le_bytes().to_vec(), values)]);
}

#[test]
fn arrays_have_all_elements_from_the_start_and_no_others() {
    let lookups = with_keys(
        "map3",
        "v21: ptr.map = call map_lookup_elem(v20, v11)
        v22 = load.u64 v21
        v23: ptr.map = call map_lookup_elem(v20, v12)
        v24 = icmp.eq v23, v5
        v25 = call map_delete_elem(v20, v10)
        v26 = call map_update_elem(v20, v12, v13, v5)
        v27 = add v22, v24
        v28 = add v27, v25
        v29 = add v28, v26
        return v29",
    );
    // 0 + 1 - EINVAL - E2BIG
    assert_eq!(run(&lookups), Ok(1 - 22 - 7));
}

#[test]
fn walking_a_map_counts_the_elements_visited_until_the_callback_stops() {
    let walk = |answer| {
        with_keys(
            "map0",
            &format!(
                "v21 = call map_update_elem(v20, v10, v13, v5)
                v22 = call map_update_elem(v20, v11, v13, v5)
                v23: fn = fn_addr fn1
                v24 = call for_each_map_elem(v20, v23, v13, v5)
                v25: ptr.map = global_addr global0
                v26 = load.u64 v25
                v27 = const 100
                v28 = mul v24, v27
                v29 = add v28, v26
                return v29
            fn1(map, ptr.map, ptr.map, ptr.stack):
            block0(v0: map, v1: ptr.map, v2: ptr.map, v3: ptr.stack):
                v4 = load.u64 v1
                v5: ptr.map = global_addr global0
                atomic_add.64 v5, v4
                v6 = const {answer}
                return v6"
            ),
        )
    };
    assert_eq!(run(&walk(0)), Ok(203));
    assert_eq!(run(&walk(1)), Ok(101));
    traps(&walk(2), "a callback gives 0 or 1, found 2");
}

#[test]
fn loops_of_callbacks_share_the_callers_memory() {
    let count = |rounds: i64| {
        run(&format!(
            "ss0 = stack 8, align 8
            block0(v0: ptr.ctx):
                v1: ptr.stack = slot_addr ss0
                v2 = const 0
                store.64 v1, v2
                v3 = const {rounds}
                v4: fn = fn_addr fn1
                v5 = call loop(v3, v4, v1, v2)
                v6 = load.u64 v1
                v7 = add v5, v6
                return v7
            fn1(i64, ptr.stack):
            block0(v0: i64, v1: ptr.stack):
                v2 = load.u64 v1
                v3 = add v2, v0
                store.64 v1, v3
                v4 = const 0
                return v4"
        ))
    };
    assert_eq!(count(5), Ok(5 + 10));
    assert_eq!(count((8 << 20) + 1), Ok(-7));
}

#[test]
fn a_record_is_gone_once_it_is_submitted() {
    traps(
        "block0(v0: ptr.ctx):
            v1: map = map_object map2
            v2 = const 8
            v3 = const 0
            v4: ptr.ring = call ringbuf_reserve(v1, v2, v3)
            v5 = call ringbuf_submit(v4, v3)
            store.64 v4, v2
            return v3",
        "a ring buffer record is gone",
    );
}

#[test]
fn a_record_must_be_released() {
    traps(
        "block0(v0: ptr.ctx):
            v1: map = map_object map2
            v2 = const 8
            v3 = const 0
            v4: ptr.ring = call ringbuf_reserve(v1, v2, v3)
            return v3",
        "a ring buffer record was neither submitted nor discarded",
    );
}

#[test]
fn a_full_ring_buffer_has_room_again_once_it_is_read() {
    let module = module(
        "block0(v0: ptr.ctx):
            v1: map = map_object map2
            v2 = const 24
            v3 = const 0
            v4: ptr.ring = call ringbuf_reserve(v1, v2, v3)
            brif eq v4, v3, block1, block2
        block1:
            return v2
        block2:
            store.64 v4+8, v2
            v5 = call ringbuf_submit(v4, v3)
            return v3",
    );
    let mut machine = Machine::new(&module, World::default());
    assert_eq!(machine.run(0, &[]), Ok(0));
    assert_eq!(machine.run(0, &[]), Ok(24));
    let events = machine.take_events();
    let written: Vec<bool> = (0..24).map(|n| (8..16).contains(&n)).collect();
    assert_eq!((events.len(), events[0].bytes[8], &events[0].written), (1, 24, &written));
    assert_eq!(machine.run(0, &[]), Ok(0));
}

/// Text of a program that reads a string of at most `size` bytes at 0x1000 and returns
/// `100 * status + byte`, where byte is one of the eight of the destination.
fn read_string(space: &str, size: u32, byte: u32) -> String {
    format!(
        "ss0 = stack 8, align 8
        block0(v0: ptr.ctx):
            v1: ptr.stack = slot_addr ss0
            v2 = const 9
            store.8 v1+{byte}, v2
            v3 = const {size}
            v4: ptr.{space} = const 4096
            v5 = call probe_read_{space}_str(v1, v3, v4)
            v6 = load.u8 v1+{byte}
            v7 = const 100
            v8 = mul v5, v7
            v9 = add v8, v6
            return v9"
    )
}

#[test]
fn strings_are_read_up_to_their_nul_or_cut() {
    let mut world = World::default();
    world.user.put(0x1000, &[5, 6, 7, 0]);
    let read = |size, byte| run_in(world.clone(), &read_string("user", size, byte));
    assert_eq!(read(8, 2), Ok(407));
    assert_eq!(read(8, 3), Ok(400));
    assert_eq!(read(8, 4), Ok(409), "what follows the NUL is left alone");
    assert_eq!(read(3, 2), Ok(300), "a cut string ends in a NUL");
}

#[test]
fn memory_that_is_not_there_gives_an_error_and_zeros() {
    let mut world = World::default();
    world.user.put(0x1000, &[5, 6]);
    assert_eq!(run_in(world.clone(), &read_string("user", 8, 7)), Ok(-1400));
    assert_eq!(run_in(world.clone(), &read_string("kernel", 8, 0)), Ok(-1400));
    assert_eq!(run_in(world, &read_string("user", 2, 0)), Ok(205));
}

#[test]
fn stacks_are_cut_to_the_buffer_or_filled_up_with_zeros() {
    let take = |flags, word: u32| {
        let world = World { kernel_stack: Some(vec![1, 2, 3, 4]), ..World::default() };
        run_in(
            world,
            &format!(
                "ss0 = stack 24, align 8
                block0(v0: ptr.ctx):
                    v1: ptr.stack = slot_addr ss0
                    v2 = const 24
                    v3 = const {flags}
                    v4 = call get_stack(v0, v1, v2, v3)
                    v5 = load.u64 v1+{}
                    v6 = const 100
                    v7 = mul v4, v6
                    v8 = add v7, v5
                    return v8",
                word * 8
            ),
        )
    };
    assert_eq!(take(0, 2), Ok(2403));
    assert_eq!(take(2, 1), Ok(1604));
    assert_eq!(take(2, 2), Ok(1600));
    assert_eq!(take(256, 0), Ok(-1400), "there is no user stack");
}

#[test]
fn clocks_move_as_the_world_says() {
    let world = World { boot_ns: 500, clock_step_ns: 3, ..World::default() };
    let difference = run_in(
        world,
        "block0(v0: ptr.ctx):
            v1 = call ktime_get_boot_ns()
            v2 = call ktime_get_boot_ns()
            v3 = sub v2, v1
            v4 = add v1, v3
            return v4",
    );
    assert_eq!(difference, Ok(503));
}

#[test]
fn an_endless_loop_is_ended() {
    traps(
        "block0(v0: ptr.ctx):\njump block1\nblock1:\njump block1",
        "block1: jump block1: the program does not end",
    );
}
