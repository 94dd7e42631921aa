//! A script through the whole compiler, with the IR kept after each stage.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use memql_compiler::alloc::allocate;
use memql_compiler::check::{self, RunConfig};
use memql_compiler::diagnostic;
use memql_compiler::ir::{Global, GlobalDef, Inst, Module, text, verify};
use memql_compiler::plan::Plan;
use memql_compiler::sources::Sources;
use memql_compiler::target::{Arch, Features, Frozen};
use memql_compiler::{emit, lower, passes};

use crate::allocated::as_allocated;

/// What came of each stage.
pub struct Stages {
    /// As lowered.
    pub plain: Module,
    /// After all passes.
    pub optimised: Module,
    /// As emitted: with scratch memory, and without what eBPF cannot do.
    pub emitted: Module,
    /// The same with its globals apart, of which allocations are made.
    pub module: Module,
    /// The same with all values in registers and spill slots.
    pub allocated: Module,
    pub object: Vec<u8>,
    /// How what it sends is printed.
    pub plan: Plan,
    /// The kernel it is compiled for.
    pub target: Frozen,
}

/// Why there is no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The script is refused: the generator was wrong, or the checker. What is said, and where each error is.
    Invalid(String, Vec<u32>),
    /// It needs more stack than there is.
    TooLarge(String),
    /// memql is wrong.
    Bug(String),
}

/// A kernel that has everything, or one that has nothing beyond Linux 5.10.
pub fn features(new: bool, cpus: u32) -> Features {
    Features {
        arch: Arch::X86_64,
        cpus,
        pid_ns: None,
        atomic_fetch: new,
        cpu_v4: new,
        bpf_loop: true,
        for_each_map_elem: true,
        lookup_percpu_elem: true,
        attach_cookie: new,
        func_ip: new,
        ktime_tai: new,
        current_task_btf: new,
        task_pt_regs: new,
        large_keys: true,
        kprobe_multi: new,
        uprobe_multi: new,
        boot_to_realtime_ns: 0,
        boot_to_tai_ns: 0,
        max_stack: 127,
    }
}

thread_local! {
    /// Whether a panic of this thread is caught and reported by itself.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Keeps panics of the compiler, which are counted as failures, off the screen.
pub fn keep_panics_quiet() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !QUIET.get() {
            usual(panic);
        }
    }));
}

/// Compiles a script; `$1` is the address of user memory.
pub fn compile(source: &str, features: &Features, user_address: u64) -> Result<Stages, Failure> {
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| compile_inner(source, features, user_address)));
    QUIET.set(false);
    result.unwrap_or_else(|panic| {
        let text =
            panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(Failure::Bug(format!("the compiler panics: {}", text.unwrap_or("(no text)"))))
    })
}

fn compile_inner(source: &str, features: &Features, user_address: u64) -> Result<Stages, Failure> {
    let tree = memql_grammar::parse(source).map_err(|errors| {
        let places = errors.iter().map(|e| e.span.start).collect();
        Failure::Invalid(format!("{errors:?}"), places)
    })?;
    let target = Frozen {
        features: features.clone(),
        tracepoints: BTreeMap::new(),
        btf: None,
        functions: Vec::new(),
        usdt_probes: Default::default(),
        signatures: Default::default(),
        source_lines: Default::default(),
        code: Default::default(),
        modules: Default::default(),
        bpf_programs: Default::default(),
        user_files: BTreeMap::new(),
        symbols: BTreeMap::new(),
    };
    let run = RunConfig { positional: vec![user_address.to_string()], ..RunConfig::default() };
    let invalid = |findings: Vec<diagnostic::Diagnostic>| {
        let errors: Vec<_> =
            findings.into_iter().filter(|d| d.severity == diagnostic::Severity::Error).collect();
        let places = errors.iter().map(|d| d.primary.0.start).collect();
        Failure::Invalid(diagnostic::render("generated.mq", source, &errors, false), places)
    };
    let (script, _) = check::check(&tree, &target, &run).map_err(invalid)?;
    let config =
        lower::Config { pid: None, features: features.clone(), lost_by_place: false, return_instances: None };
    let lowered = lower::lower(&script, &config).map_err(invalid)?;
    verified("lowering", &lowered.module)?;
    let plain = lowered.module;
    let mut optimised = plain.clone();
    passes::optimise(&mut optimised);
    verified("optimising", &optimised)?;
    let mut emitted = optimised.clone();
    let object =
        emit::back_end(&mut emitted, features, lowered.scratch_busy, &Sources::new("generated.mq", source))
            .map_err(|error| match error {
                emit::EmitError::Object(message) => Failure::Bug(message),
                other => Failure::TooLarge(other.to_string()),
            })?
            .object;
    let allocated = with_one_global(as_allocated(&emitted, &allocate(&emitted, features)));
    let module = emitted.clone();
    let emitted = with_one_global(emitted);
    verified("the back end", &emitted)?;
    Ok(Stages { plain, optimised, emitted, module, allocated, object, plan: lowered.plan, target })
}

/// The back end reaches globals from each other's addresses: the same module with `.bss` as one global.
pub fn with_one_global(mut module: Module) -> Module {
    let size = module.globals.values().map(|g| g.offset + g.size).max().unwrap_or(0);
    let offsets: Vec<u32> = module.globals.values().map(|g| g.offset).collect();
    for function in module.programs.iter_mut().flat_map(|p| p.functions.values_mut()) {
        for inst in function.insts.values_mut() {
            if let Inst::GlobalAddr { global, off } = inst {
                *off += offsets[global.as_u32() as usize] as i32;
                *global = Global::from_u32(0);
            }
        }
    }
    module.globals.clear();
    if size > 0 {
        module.globals.push(GlobalDef { name: "bss".into(), size, align: 8, offset: 0 });
    }
    module
}

fn verified(stage: &str, module: &Module) -> Result<(), Failure> {
    verify::verify(module).map_err(|violations| {
        let list: String = violations.iter().take(5).map(|v| format!("{v}\n")).collect();
        Failure::Bug(format!("after {stage} the IR is broken:\n{list}{}", text::print_module(module)))
    })
}
