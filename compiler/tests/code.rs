//! How much code scripts become: `benches/code.tsv`, so that a change of it shows in the diff.
//!
//! `MEMQL_BLESS=1` writes the file anew. The benchmark's rows are compiled for a kernel which has everything, shipped scripts
//! for the kernel that their own tests state; what they become on the running kernel is among what `cargo bench` prints.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use memql_compiler::check::RunConfig;
use memql_compiler::compile::compile;
use memql_compiler::sources::Sources;
use memql_compiler::target::{Target, TracepointFormat};
use memql_compiler::testing;
use memql_grammar::ast::{Item, KernelFacts, Script, TestStepKind};

mod check_support;

/// Scripts of which most is about a process, and so compiled under `-p`.
const OF_A_PROCESS: &[&str] = &["memleak"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn scripts_take_as_many_instructions_as_noted() {
    let mut target = check_support::kernel();
    for name in ["sys_enter_getppid", "sys_exit_getppid"] {
        target.tracepoints.insert(("syscalls".into(), name.into()), TracepointFormat::default());
    }
    let mut table = String::from("script\tinstructions\tstack bytes\n");
    for (name, script) in read("benches/rows.tsv").lines().filter_map(|line| line.split_once('\t')) {
        add(&mut table, name, script, &target, None);
    }
    for name in shipped() {
        let stated = memql_grammar::parse(&read(&format!("tests/scripts/{name}.mq")));
        let stated = stated.unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        let kernel = testing::kernel(&facts(&stated)).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        let script = read(&format!("scripts/{name}.mq"));
        add(&mut table, &format!("{name}.mq"), &script, &kernel.target, None);
        if OF_A_PROCESS.contains(&&*name) {
            add(&mut table, &format!("{name}.mq -p PID"), &script, &kernel.target, Some(1));
        }
    }
    if std::env::var_os("MEMQL_BLESS").is_some() {
        std::fs::write(path("benches/code.tsv"), &table).expect("the folder can be written");
    }
    assert_eq!(table, read("benches/code.tsv"), "if this is meant: MEMQL_BLESS=1");
}

/// The names of the shipped scripts.
fn shipped() -> Vec<String> {
    let entries = std::fs::read_dir(path("scripts")).expect("scripts/ is there");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let mut names: Vec<String> =
        files.filter_map(|file| Some(file.file_name()?.to_str()?.strip_suffix(".mq")?.to_owned())).collect();
    names.sort();
    names
}

/// What a file of tests states for all of its tests, and for the first alone.
fn facts(stated: &Script) -> Vec<&KernelFacts> {
    let of_all = stated
        .items
        .iter()
        .filter_map(|item| if let Item::Kernel(facts) = item { Some(facts) } else { None });
    let first =
        stated.items.iter().find_map(|item| if let Item::Test(test) = item { Some(test) } else { None });
    let steps = first.into_iter().flat_map(|test| &test.steps);
    let of_first = steps
        .filter_map(|step| if let TestStepKind::Kernel(facts) = &step.kind { Some(facts) } else { None });
    of_all.chain(of_first).collect()
}

/// Adds a script's row: the instructions of all its programs, and the stack of the one that takes most.
fn add(table: &mut String, name: &str, script: &str, target: &dyn Target, pid: Option<u32>) {
    let tree = memql_grammar::parse(script).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
    let run = RunConfig { pid, ..RunConfig::default() };
    let compiled = compile(&Sources::new(name, script), &tree, target, &run);
    let assembly = compiled.unwrap_or_else(|errors| panic!("{name}: {errors:?}")).assembly;
    // `p0_sys_enter_ge: tp, 33 instructions, stack 24`
    let heads = assembly.lines().filter(|line| line.contains(" instructions, stack "));
    let sizes = heads.map(|head| head.rsplit_once(": ").map_or(head, |(_, sizes)| sizes));
    let numbers = sizes.map(|sizes| -> Vec<usize> {
        sizes.split([' ', ',']).filter_map(|word| word.parse().ok()).collect()
    });
    let (mut instructions, mut stack) = (0, 0);
    for of_program in numbers {
        let [code, bytes] = of_program[..] else { panic!("{name}: {assembly}") };
        instructions += code;
        stack = stack.max(bytes);
    }
    writeln!(table, "{name}\t{instructions}\t{stack}").expect("a string takes all text");
}
