//! Real maps in the running kernel; skipped where the kernel lets us make none.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use memql_compiler::plan::{MapPlan, MapStorage, Plan};
use memql_compiler::types::Type;

use super::*;

/// Makes a map; `None`, with a reason printed, if the kernel refuses.
fn create(map_type: u32, key_size: u32, value_size: u32, max_entries: u32, flags: u32) -> Option<OwnedFd> {
    let opts = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as _,
        map_flags: flags,
        ..Default::default()
    };
    let name = CString::new("memql_test").expect("no NUL");
    // SAFETY: the name and the options outlive the call.
    let fd = unsafe {
        libbpf_sys::bpf_map_create(
            map_type,
            name.as_ptr(),
            key_size,
            value_size,
            max_entries,
            &raw const opts,
        )
    };
    if fd < 0 {
        let error = std::io::Error::from_raw_os_error(-fd);
        crate::skip::skipped(&format!("no maps can be made here: {error}"));
        return None;
    }
    // SAFETY: a new descriptor that nobody else has.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn put(fd: &OwnedFd, key: &[u8], value: &[u8]) {
    // SAFETY: tests pass keys and values of the map's sizes.
    let answer = unsafe {
        libbpf_sys::bpf_map_update_elem(fd.as_raw_fd(), key.as_ptr().cast(), value.as_ptr().cast(), 0)
    };
    assert_eq!(answer, 0, "the map takes it");
}

fn keyed(fd: &OwnedFd, value: Type) -> KernelMaps {
    let plan = Plan {
        maps: vec![MapPlan {
            name: "@x".into(),
            key: Some(Type::U64),
            value,
            storage: MapStorage::Keyed { elf_name: "x".into(), per_cpu: false, max_entries: 0 },
        }],
        ..Plan::default()
    };
    KernelMaps::new(&plan, vec![("x".into(), fd.try_clone().expect("a descriptor"))])
        .expect("the maps of the plan")
}

fn sorted(entries: &Entries) -> Vec<(u64, Vec<u64>)> {
    let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
    let mut all: Vec<_> = (0..entries.len())
        .map(|i| (number(entries.key(i)), entries.value(i).iter().map(number).collect()))
        .collect();
    all.sort();
    all
}

#[test]
fn all_elements_are_read_however_many_there_are() {
    const COUNT: u64 = 200_000;
    let Some(fd) = create(libbpf_sys::BPF_MAP_TYPE_HASH, 8, 8, COUNT as u32, 0) else { return };
    for i in 0..COUNT {
        put(&fd, &i.to_ne_bytes(), &(i * 3).to_ne_bytes());
    }
    let maps = keyed(&fd, Type::U64);
    let start = std::time::Instant::now();
    let entries = maps.entries(0).expect("they are read");
    println!("{COUNT} elements: {:?}", start.elapsed());
    assert!(entries.complete);
    assert!(sorted(&entries).into_iter().eq((0..COUNT).map(|i| (i, vec![i * 3]))));
    let found = maps.lookup(0, &7u64.to_ne_bytes()).expect("one is looked up");
    assert_eq!(sorted(&found), [(7, vec![21])]);
    assert!(maps.lookup(0, &COUNT.to_ne_bytes()).expect("none is looked up").is_empty());

    maps.zero(0).expect("they are zeroed");
    let zeroed = maps.entries(0).expect("they are read");
    assert!(zeroed.len() == COUNT as usize && (0..zeroed.len()).all(|i| zeroed.value(i).first() == [0; 8]));
    maps.clear(0).expect("they are cleared");
    assert!(maps.entries(0).expect("nothing is read").is_empty());
}

#[test]
fn values_per_cpu_have_a_copy_each() {
    let Some(fd) = create(libbpf_sys::BPF_MAP_TYPE_PERCPU_HASH, 8, 8, 100, 0) else { return };
    let shape = raw::shape(fd.as_fd()).expect("its sizes");
    let value: Vec<u8> = (0..shape.copies as u64).flat_map(|cpu| (cpu + 10).to_ne_bytes()).collect();
    put(&fd, &1u64.to_ne_bytes(), &value);
    let maps = keyed(&fd, Type::U64);
    let expected: Vec<u64> = (0..shape.copies as u64).map(|cpu| cpu + 10).collect();
    assert_eq!(sorted(&maps.entries(0).expect("it is read")), [(1, expected.clone())]);
    assert_eq!(sorted(&maps.lookup(0, &1u64.to_ne_bytes()).expect("it is found")), [(1, expected)]);
    maps.zero(0).expect("it is zeroed");
    assert_eq!(sorted(&maps.entries(0).expect("it is read")), [(1, vec![0; shape.copies])]);
}

#[test]
fn walking_key_by_key_gives_the_same_and_ends_under_deletion() {
    let Some(fd) = create(libbpf_sys::BPF_MAP_TYPE_HASH, 8, 8, 5000, 0) else { return };
    for i in 0..5000u64 {
        put(&fd, &i.to_ne_bytes(), &i.to_ne_bytes());
    }
    let map = keyed::KeyedMap::new("@x", fd.try_clone().expect("a descriptor"), 8, 8).expect("a map");
    assert_eq!(sorted(&map.walk().expect("it is walked")), sorted(&map.entries().expect("it is read")));
    let churn = std::thread::spawn(move || {
        for i in 0..20_000u64 {
            let key = (i * 7 % 5000).to_ne_bytes();
            // SAFETY: a key of the map's size.
            unsafe { libbpf_sys::bpf_map_delete_elem(fd.as_raw_fd(), key.as_ptr().cast()) };
            put(&fd, &key, &i.to_ne_bytes());
        }
    });
    for _ in 0..5 {
        let entries = map.walk().expect("it ends");
        let mut keys: Vec<u64> = sorted(&entries).into_iter().map(|(key, _)| key).collect();
        let all = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), all, "no key twice");
    }
    churn.join().expect("the other thread ends");
    map.delete_each().expect("it is emptied");
    assert!(map.entries().expect("nothing is read").is_empty());
}

#[test]
fn sizes_that_the_plan_does_not_expect_are_internal_errors() {
    let Some(fd) = create(libbpf_sys::BPF_MAP_TYPE_HASH, 4, 8, 10, 0) else { return };
    let error = keyed::KeyedMap::new("@x", fd, 8, 8).expect_err("the key is too small").to_string();
    assert_eq!(error, "internal error: map `@x` has keys of 4 and values of 8 bytes, the plan says 8 and 8");
}

#[test]
fn maps_without_a_key_live_in_the_section() {
    const MMAPABLE: u32 = libbpf_sys::BPF_F_MMAPABLE;
    let Some(fd) = create(libbpf_sys::BPF_MAP_TYPE_ARRAY, 4, 64, 1, MMAPABLE) else { return };
    let section: Vec<u8> = [0u64, 1, 5, 7, 0, 0, 0, 9].iter().flat_map(|word| word.to_ne_bytes()).collect();
    put(&fd, &[0; 4], &section);
    let global = |name: &str, offset, copies, set_flag| MapPlan {
        name: name.into(),
        key: None,
        value: Type::U64,
        storage: MapStorage::Global { offset, copies, stride: 8, set_flag },
    };
    let plan = Plan {
        maps: vec![
            global("@set", 16, 2, Some(8)),
            global("@unset", 24, 1, Some(0)),
            global("@by_value", 56, 1, None),
            global("@never", 40, 1, None),
            global("@outside", 64, 1, None),
        ],
        ..Plan::default()
    };
    let maps = KernelMaps::new(&plan, vec![("memql.bss".into(), fd)]).expect("the section");
    let values = |map| -> Vec<u64> {
        let entries = maps.entries(map).expect("it is read");
        let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
        if entries.is_empty() { Vec::new() } else { entries.value(0).iter().map(number).collect() }
    };
    assert_eq!(values(0), [5, 7]);
    assert_eq!(values(1), []);
    assert_eq!(maps.lookup(1, &[]).expect("it is read").value(0).first(), 7u64.to_ne_bytes());
    assert_eq!((values(2), values(3)), (vec![9], vec![]));
    maps.zero(0).expect("it is zeroed");
    assert_eq!(values(0), [0, 0]);
    maps.clear(0).expect("it is cleared");
    assert_eq!(values(0), []);
    assert_eq!(maps.bss().and_then(|bss| bss.read_u64(56)), Some(9));
    maps.zero(2).expect("it is zeroed");
    assert_eq!(values(2), [0], "zeroed is not unassigned");
    maps.clear(2).expect("it is cleared");
    assert_eq!(values(2), []);
    maps.zero(2).expect("it is zeroed");
    assert_eq!(values(2), []);
    assert_eq!(maps.bss().and_then(|bss| bss.read_u64(57)), None);
    assert_eq!(maps.bss().and_then(|bss| bss.read_u64(64)), None);
    assert_eq!(
        maps.entries(4).expect_err("it is not in the section").to_string(),
        "internal error: `@outside` lies outside the `.bss` section"
    );
}

#[test]
fn stacks_are_found_by_their_ids() {
    let Some(fd) = create(libbpf_sys::BPF_MAP_TYPE_HASH, 8, 24, 10, 0) else { return };
    let frames: Vec<u8> = [0x10u64, 0x20, 0].iter().flat_map(|f| f.to_ne_bytes()).collect();
    put(&fd, &77u64.to_ne_bytes(), &frames);
    let plan = Plan { stacks: Some(("stacks".into(), 3)), ..Plan::default() };
    let maps = KernelMaps::new(&plan, vec![("stacks".into(), fd)]).expect("the map of stacks");
    assert_eq!(maps.stack(77).expect("it is read"), Some(vec![0x10, 0x20, 0]));
    assert_eq!(maps.stack(78).expect("it is read"), None);
}
