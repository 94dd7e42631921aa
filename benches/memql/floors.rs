//! What a script cannot do without: helpers and map operations, each measured alone.
//!
//! An event of a script costs at least an empty program and the operations that it consists of. Each is in a program
//! written by hand here, which runs as the rows' programs do, under the same statistics; the cost of the
//! empty program is taken off.

use std::os::fd::{AsRawFd, OwnedFd};

use libbpf_rs::libbpf_sys as sys;

use crate::events::{calls_traced, statistics};
use crate::links::{self, EXIT, MOV_R0_0, op};
use crate::startup::left_out;
use crate::table::Table;

const KEY: i16 = -8;
const VALUE: i16 = -64;

const fn call(helper: i32) -> u64 {
    op(0x85, 0, 0, 0, helper)
}

/// `rN = imm`
const fn set(register: u8, imm: i32) -> u64 {
    op(0xb7, register, 0, 0, imm)
}

/// `rN = r10 + offset`
const fn stack(register: u8, offset: i16) -> [u64; 2] {
    [op(0xbf, register, 10, 0, 0), op(0x07, register, 0, 0, offset as i32)]
}

/// `rN = map`
fn map(register: u8, map: &OwnedFd) -> [u64; 2] {
    [op(0x18, register, 1, 0, map.as_raw_fd()), 0]
}

/// The thread's number as a key.
fn thread_key() -> [u64; 2] {
    [call(14), op(0x63, 10, 0, KEY, 0)]
}

fn key_and_map(on: &OwnedFd) -> Vec<u64> {
    [map(1, on).to_vec(), stack(2, KEY).to_vec()].concat()
}

pub fn measure(rounds: usize) -> Table {
    let mut table = Table::new("floors: an operation alone, in eBPF", "ns", &["kernel"]);
    let hash = links::map(sys::BPF_MAP_TYPE_HASH, 4, 16, 4096);
    let per_cpu = links::map(sys::BPF_MAP_TYPE_PERCPU_HASH, 4, 16, 4096);
    let ring = links::map(sys::BPF_MAP_TYPE_RINGBUF, 0, 0, 1 << 22);
    let (Ok(hash), Ok(per_cpu), Ok(ring)) = (hash, per_cpu, ring) else {
        left_out("kernel", "floors", "no maps");
        return table;
    };
    let read_16 = [stack(1, VALUE).to_vec(), vec![set(2, 8), op(0xbf, 3, 0, 0, 0), call(113)]].concat();
    let programs: Vec<(&str, Vec<u64>)> = vec![
        ("pid and tid", vec![call(14)]),
        ("clock", vec![call(125)]),
        ("comm", [stack(1, VALUE).to_vec(), vec![set(2, 16), call(16)]].concat()),
        ("read of kernel memory", [vec![call(35)], read_16].concat()),
        ("pid, lookup in a hash", [thread_key().to_vec(), key_and_map(&hash), vec![call(1)]].concat()),
        (
            "pid, lookup in a per-CPU hash",
            [thread_key().to_vec(), key_and_map(&per_cpu), vec![call(1)]].concat(),
        ),
        ("pid, update of a hash", [thread_key().to_vec(), update(&hash)].concat()),
        (
            "pid, update, lookup, delete",
            [
                thread_key().to_vec(),
                update(&hash),
                key_and_map(&hash),
                vec![call(1)],
                key_and_map(&hash),
                vec![call(3)],
            ]
            .concat(),
        ),
        (
            "record reserved and sent, nobody woken",
            [
                map(1, &ring).to_vec(),
                vec![set(2, 32), set(3, 0), call(131), op(0x15, 0, 0, 3, 0)],
                // Discarded, for nobody reads: it does the same.
                vec![op(0xbf, 1, 0, 0, 0), set(2, 1), call(133)],
            ]
            .concat(),
        ),
    ];
    let Some(empty) = alone(&[]) else {
        left_out("kernel", "floors", "an empty program cannot be attached");
        return table;
    };
    table.add("empty program", "kernel", empty);
    for _ in 0..rounds {
        for (name, code) in &programs {
            // Each beside an empty one, for the machine is not the same all the time.
            match (alone(&[]), alone(code)) {
                (Some(empty), Some(time)) => table.add(name, "kernel", time - empty),
                _ => left_out("kernel", name, "the kernel does not take the program"),
            }
        }
    }
    table
}

/// `update(map, key, 16 zeros)`
fn update(on: &OwnedFd) -> Vec<u64> {
    let zero = |offset| op(0x7a, 10, 0, offset, 0);
    [vec![zero(VALUE), zero(VALUE + 8)], key_and_map(on), stack(3, VALUE).to_vec(), vec![set(4, 0), call(2)]]
        .concat()
}

/// Nanoseconds of a run.
fn alone(code: &[u64]) -> Option<f64> {
    let code = [code, &[MOV_R0_0, EXIT]].concat();
    let program = links::load(sys::BPF_PROG_TYPE_TRACEPOINT, 0, &code).ok()?;
    let _link = links::tracepoint(&program, "syscalls", "sys_enter_getppid").ok()?;
    let statistics = statistics();
    calls_traced();
    drop(statistics);
    // SAFETY: zeros are valid for the information, which is as long as said.
    unsafe {
        let mut info: sys::bpf_prog_info = std::mem::zeroed();
        let mut size = size_of_val(&info) as u32;
        let failed = sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &mut info, &mut size);
        (failed == 0 && info.run_cnt > 0).then(|| info.run_time_ns as f64 / info.run_cnt as f64)
    }
}
