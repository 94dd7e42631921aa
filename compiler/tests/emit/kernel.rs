//! Running emitted objects in the kernel.

use crate::skip::skipped;
use std::collections::BTreeMap;

use libbpf_rs::{MapCore, MapFlags, ObjectBuilder, ProgramInput, ProgramMut, set_print};
use memql_compiler::emit::{self, EmitError, Emitted};
use memql_compiler::ir::{GlobalDef, Module, text};
use memql_compiler::sources::Sources;
use memql_compiler::target::{Arch, Features};

/// Features of a kernel that has nothing beyond 5.10.
pub fn old_kernel() -> Features {
    Features {
        arch: Arch::X86_64,
        cpus: 2,
        pid_ns: None,
        atomic_fetch: false,
        cpu_v4: false,
        bpf_loop: false,
        for_each_map_elem: false,
        lookup_percpu_elem: false,
        attach_cookie: false,
        func_ip: false,
        ktime_tai: false,
        current_task_btf: false,
        task_pt_regs: false,
        large_keys: false,
        kprobe_multi: false,
        uprobe_multi: false,
        boot_to_realtime_ns: 0,
        boot_to_tai_ns: 0,
        max_stack: 127,
    }
}

/// Features of a kernel that has everything.
pub fn new_kernel() -> Features {
    Features::all(Arch::X86_64, 2)
}

/// Parses IR text.
pub fn parse(ir: &str) -> Module {
    text::parse_module(ir).unwrap_or_else(|e| panic!("{e:?}\n{ir}"))
}

/// The whole back end, which must succeed.
pub fn back_end(module: Module, features: &Features) -> Emitted {
    try_back_end(module, features).unwrap_or_else(|e| panic!("{e}"))
}

/// The whole back end. The counter of busy scratch memory is added to the module's globals.
pub fn try_back_end(mut module: Module, features: &Features) -> Result<Emitted, EmitError> {
    let offset = module.globals.values().map(|g| g.offset + g.size).max().unwrap_or(0).next_multiple_of(8);
    let busy = module.globals.push(GlobalDef { name: "busy".into(), size: 8, align: 8, offset });
    emit::back_end(&mut module, features, busy, &Sources::new("test.mq", SOURCE))
}

/// What spans in the tests' IR point into.
const SOURCE: &str = "begin {\n  @x = 1;\n}\n";

/// Whether programs can be loaded here; says why a test is skipped if not.
pub fn can_load() -> bool {
    let ir = "license \"GPL\"\nprogram %probe on test_run {\nfn0(ptr.ctx):\nblock0(v0: ptr.ctx):\nv1 = const 0\nreturn v1\n}\n";
    match load(&back_end(parse(ir), &old_kernel()).object) {
        Ok(_) => true,
        Err(error) => {
            skipped(&format!("cannot load eBPF programs: {error}"));
            false
        }
    }
}

/// Features of a kernel between the two: callbacks and fetching atomics, but not cpu v4.
pub fn middle_kernel() -> Features {
    Features { cpu_v4: false, ..new_kernel() }
}

/// The feature sets that this kernel can run; what it cannot run is skipped with a word why.
pub fn loadable() -> Vec<Features> {
    if !can_load() {
        return Vec::new();
    }
    let ir = "
        license \"GPL\"
        global0 = \"x\", size 8, align 8, offset 0
        program %probe on test_run {
        fn0(ptr.ctx):
        block0(v0: ptr.ctx):
            v1: ptr.map = global_addr global0
            v2 = const 1
            v3 = atomic_fetch_add.64 v1, v2
            v4 = sext.8 v3
            return v4
        }";
    let mut sets = vec![old_kernel()];
    // What is refused here is no failure.
    let print = set_print(None);
    for (features, what) in [(middle_kernel(), "fetching atomics"), (new_kernel(), "cpu v4")] {
        match load(&back_end(parse(ir), &features).object) {
            Ok(_) => sets.push(features),
            Err(error) => println!("skipped in part: this kernel lacks {what}: {error}"),
        }
    }
    set_print(print);
    sets
}

/// Loads an object.
pub fn load(object: &[u8]) -> libbpf_rs::Result<libbpf_rs::Object> {
    ObjectBuilder::default().open_memory(object)?.load()
}

/// What a run left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What the program returned.
    pub returned: u32,
    /// The contents of `.bss`.
    pub bss: Vec<u8>,
}

impl Outcome {
    /// The n-th 64-bit word of `.bss`.
    pub fn word(&self, n: usize) -> u64 {
        u64::from_le_bytes(self.bss[n * 8..n * 8 + 8].try_into().expect("eight bytes"))
    }
}

/// Loads an object and runs its programs once each in order with these arguments as context.
pub fn run(emitted: &Emitted, context: &[u64]) -> Outcome {
    let object =
        load(&emitted.object).unwrap_or_else(|e| panic!("the kernel refuses it: {e}\n{}", emitted.asm));
    let mut returned = 0;
    let mut programs: BTreeMap<String, u32> = BTreeMap::new();
    for program in object.progs_mut() {
        let code = test_run(&program, context);
        programs.insert(program.name().to_string_lossy().into_owned(), code);
        returned = code;
    }
    let bss = object
        .maps()
        .find(|m| m.name().to_string_lossy().ends_with(".bss"))
        .and_then(|m| m.lookup(&0u32.to_le_bytes(), MapFlags::ANY).expect("reads .bss"))
        .unwrap_or_default();
    Outcome { returned, bss }
}

fn test_run(program: &ProgramMut<'_>, context: &[u64]) -> u32 {
    let mut bytes: Vec<u8> = context.iter().flat_map(|w| w.to_le_bytes()).collect();
    let context_in = (!bytes.is_empty()).then_some(bytes.as_mut_slice());
    let input = ProgramInput { context_in, ..ProgramInput::default() };
    program.test_run(input).expect("runs").return_value
}

/// Emits, loads and runs IR text.
pub fn run_ir(ir: &str, features: &Features, context: &[u64]) -> Outcome {
    run(&back_end(parse(ir), features), context)
}
