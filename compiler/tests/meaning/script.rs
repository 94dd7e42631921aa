//! Compiles a script and runs its programs once each in the interpreter.

use std::collections::BTreeMap;

use memql_compiler::check::{self, RunConfig};
use memql_compiler::interpret::{Element, Event, Machine, World};
use memql_compiler::ir::Module;
use memql_compiler::plan::Plan;
use memql_compiler::target::{Arch, Features, Frozen};
use memql_compiler::{diagnostic, lower, passes};

/// What a script left behind.
pub struct Ran {
    pub plan: Plan,
    pub events: Vec<Event>,
    /// Elements by the map's name in the object.
    pub elements: BTreeMap<String, Vec<Element>>,
}

/// Runs a script as lowered and as optimised.
pub fn run(source: &str) -> [(&'static str, Ran); 2] {
    let (plain, plan) = lowered(source);
    let mut optimised = plain.clone();
    passes::optimise(&mut optimised);
    [("lowered", execute(source, &plain, &plan)), ("optimised", execute(source, &optimised, &plan))]
}

fn lowered(source: &str) -> (Module, Plan) {
    let tree = memql_grammar::parse(source).unwrap_or_else(|errors| panic!("{source}\n{errors:?}"));
    let features = Features::all(Arch::X86_64, 2);
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
    let wrong = |findings: Vec<diagnostic::Diagnostic>| -> ! {
        panic!("{}", diagnostic::render("test.mq", source, &findings, false))
    };
    let (script, _) = check::check(&tree, &target, &RunConfig::default()).unwrap_or_else(|f| wrong(f));
    let lowered = lower::lower(
        &script,
        &lower::Config { pid: None, features, lost_by_place: false, return_instances: None },
    )
    .unwrap_or_else(|f| wrong(f));
    (lowered.module, lowered.plan)
}

fn execute(source: &str, module: &Module, plan: &Plan) -> Ran {
    let mut machine = Machine::new(module, World::default());
    for program in 0..module.programs.len() {
        machine.run(program, &[]).unwrap_or_else(|trap| panic!("{source}\n{trap}"));
    }
    let events = machine.take_events();
    let elements = module.maps.iter().map(|(map, def)| (def.name.clone(), machine.elements(map))).collect();
    Ran { plan: plan.clone(), events, elements }
}
