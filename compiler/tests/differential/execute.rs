//! Executes a module: in the interpreter, or its object in the kernel.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use libbpf_rs::{MapCore, MapFlags, ObjectBuilder, ProgramInput, RingBufferBuilder};
use memql_compiler::interpret::{Element, Event, Machine, Task, World};
use memql_compiler::ir::{MapKind, Module};

use crate::generate::USER_BYTES;

/// What programs left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What each program returned.
    pub returned: Vec<u32>,
    /// The events of each program.
    pub events: Vec<Vec<Event>>,
    /// The elements of each map, sorted by key.
    pub maps: BTreeMap<String, Vec<Element>>,
    pub bss: Vec<u8>,
}

/// The place and time that all executions see.
pub struct Scene {
    pub world: World,
    /// Where [`USER_BYTES`] are in this process; after them there is nothing.
    pub user_address: u64,
    /// Time spent: compiling, interpreting, in the kernel.
    pub seconds: Cell<[f64; 3]>,
}

impl Scene {
    /// The current thread on a CPU, to which it is bound from now on.
    pub fn new(cpu: usize) -> Scene {
        bind_to(cpu);
        let comm = std::fs::read_to_string("/proc/thread-self/comm").expect("a thread knows its name");
        // SAFETY: these calls take nothing and cannot fail.
        let (tid, uid, gid) = unsafe { (libc::gettid() as u32, libc::getuid(), libc::getgid()) };
        let pid = std::process::id();
        let task = Task { pid, tid, uid, gid, comm: comm.trim_end().to_owned(), ..Task::default() };
        let cpus = libbpf_rs::num_possible_cpus().expect("the kernel tells its CPUs") as u32;
        let world = World { task, cpus, cpu: cpu as u32, ..World::default() };
        let mut scene = Scene { world, user_address: 0, seconds: Cell::new([0.0; 3]) };
        scene.place_user_bytes(0);
        scene
    }

    /// Puts [`USER_BYTES`] elsewhere: at the address of a seed, since programs compute with it.
    pub fn place_user_bytes(&mut self, seed: u64) {
        self.user_address = place_user_bytes(seed);
        self.world.user = Default::default();
        self.world.user.put(self.user_address, USER_BYTES);
    }

    /// What programs see that is not the same in each run.
    pub fn facts(&self) -> String {
        let Task { pid, tid, uid, gid, comm, .. } = &self.world.task;
        let (cpu, address) = (self.world.cpu, self.user_address);
        format!("pid {pid}, tid {tid}, uid {uid}, gid {gid}, comm {comm}, cpu {cpu}, $1 {address:#x}")
    }

    /// Does something and adds the time it takes.
    pub fn timed<T>(&self, what: usize, f: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = f();
        let mut seconds = self.seconds.get();
        seconds[what] += start.elapsed().as_secs_f64();
        self.seconds.set(seconds);
        result
    }
}

/// Puts [`USER_BYTES`] before memory that cannot be read; gives their address, which is the same for the same seed
/// unless something else is there. They stay until the end, two pages for each batch.
fn place_user_bytes(seed: u64) -> u64 {
    let page = 4096;
    // Where programs and libraries are not loaded: from 16 TiB on, in one of the 2 TiB from there.
    let wanted = (1 << 44) + (seed % (1 << 29)) as usize * page;
    // SAFETY: two new pages of this process's own, of which the first is written within its bounds.
    unsafe {
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let pages = libc::mmap(std::ptr::without_provenance_mut(wanted), 2 * page, access, flags, -1, 0);
        assert_ne!(pages, libc::MAP_FAILED, "there are two pages of memory");
        let start = pages.cast::<u8>().add(page - USER_BYTES.len());
        start.copy_from_nonoverlapping(USER_BYTES.as_ptr(), USER_BYTES.len());
        assert_eq!(libc::mprotect(pages.cast::<u8>().add(page).cast(), page, libc::PROT_NONE), 0);
        start as u64
    }
}

/// The CPUs that this process may run on.
pub fn cpus() -> Vec<usize> {
    // SAFETY: the set is plain data and lives during the calls; the numbers asked for are within it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let result = libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
        assert_eq!(result, 0, "the kernel tells where this process may run");
        (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect()
    }
}

fn bind_to(cpu: usize) {
    // SAFETY: the set is plain data and lives during the call.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    assert_eq!(result, 0, "a thread may be bound to one of its CPUs");
}

/// Runs all programs of a module in order in the interpreter.
pub fn interpret(module: &Module, world: &World) -> Result<Outcome, String> {
    let mut machine = Machine::new(module, world.clone());
    let mut outcome = Outcome::default();
    for program in 0..module.programs.len() {
        let returned = machine.run(program, &[]).map_err(|trap| format!("{trap}\n"))?;
        outcome.returned.push(returned as u32);
        outcome.events.push(machine.take_events());
    }
    for (map, def) in &module.maps {
        if def.kind != MapKind::RingBuf {
            outcome.maps.insert(def.name.clone(), machine.elements(map));
        }
    }
    outcome.bss = machine.bss();
    Ok(outcome)
}

/// Why the kernel did not execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The kernel verifier gave up, or the program has too many instructions.
    TooComplex(String),
    /// The kernel verifier or libbpf refuses the object, with the end of the log.
    Rejected(String),
}

/// `BPF_LOG_STATS` (include/linux/bpf_verifier.h): of a refusal, the kernel verifier tells the reason only.
/// The whole log of a program that is too complex takes longer than all the rest.
const REASON_ONLY: u32 = 4;
const WHOLE_LOG: u32 = 1;

/// Loads an object and runs all programs of its module in order.
pub fn execute(object: &[u8], module: &Module) -> Result<Outcome, Refused> {
    match execute_with_log(object, module, REASON_ONLY) {
        Err(Refused::Rejected(_)) => execute_with_log(object, module, WHOLE_LOG),
        other => other,
    }
}

fn execute_with_log(object: &[u8], module: &Module, log_level: u32) -> Result<Outcome, Refused> {
    LOG.take();
    let refused = |error: libbpf_rs::Error| {
        let log = LOG.with_borrow(String::clone);
        let tail: Vec<&str> = log.lines().rev().take(40).collect();
        let tail: String = tail.into_iter().rev().map(|line| format!("{line}\n")).collect();
        let complex = ["too large", "too complex", "too many", "Argument list too long"];
        match complex.iter().any(|words| log.contains(words)) {
            true => Refused::TooComplex(tail),
            false => Refused::Rejected(format!("{error}\n{tail}")),
        }
    };
    let mut open = ObjectBuilder::default().open_memory(object).map_err(refused)?;
    for mut program in open.progs_mut() {
        program.set_log_level(log_level);
    }
    let loaded = open.load().map_err(refused)?;
    let events: Rc<RefCell<Vec<Event>>> = Rc::default();
    let rings: Vec<_> = loaded.maps().filter(|m| m.map_type() == libbpf_rs::MapType::RingBuf).collect();
    let mut builder = RingBufferBuilder::new();
    for ring in &rings {
        let events = Rc::clone(&events);
        let keep = move |bytes: &[u8]| {
            events.borrow_mut().push(Event { bytes: bytes.to_vec(), written: vec![true; bytes.len()] });
            0
        };
        builder.add(ring, keep).map_err(refused)?;
    }
    let consumer = if rings.is_empty() { None } else { Some(builder.build().map_err(refused)?) };
    let mut outcome = Outcome::default();
    for program in &module.programs {
        let found = loaded.progs_mut().find(|p| p.name().to_string_lossy() == program.name);
        let found =
            found.ok_or_else(|| Refused::Rejected(format!("there is no program {}", program.name)))?;
        let output = found.test_run(ProgramInput::default()).map_err(refused)?;
        outcome.returned.push(output.return_value);
        if let Some(consumer) = &consumer {
            consumer.consume().map_err(refused)?;
        }
        outcome.events.push(std::mem::take(&mut *events.borrow_mut()));
    }
    for map in loaded.maps() {
        let name = map.name().to_string_lossy().into_owned();
        if name.ends_with(".bss") {
            outcome.bss =
                map.lookup(&0u32.to_le_bytes(), MapFlags::ANY).map_err(refused)?.unwrap_or_default();
        } else if map.map_type() != libbpf_rs::MapType::RingBuf {
            outcome.maps.insert(name, elements(&map).map_err(refused)?);
        }
    }
    Ok(outcome)
}

fn elements(map: &libbpf_rs::Map<'_>) -> libbpf_rs::Result<Vec<Element>> {
    let mut elements: Vec<Element> = Vec::new();
    for key in map.keys() {
        let values = if map.map_type().is_percpu() {
            map.lookup_percpu(&key, MapFlags::ANY)?
        } else {
            map.lookup(&key, MapFlags::ANY)?.map(|value| vec![value])
        };
        elements.extend(values.map(|values| (key, values)));
    }
    elements.sort();
    Ok(elements)
}

thread_local! {
    /// What libbpf said to this thread.
    static LOG: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps what libbpf says, for [`Refused`].
pub fn keep_libbpf_quiet() {
    libbpf_rs::set_print(Some((libbpf_rs::PrintLevel::Warn, |_, text| {
        LOG.with_borrow_mut(|log| log.push_str(&text));
    })));
}
