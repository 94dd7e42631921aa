//! How much code the benchmark's scripts become: `benches/code.tsv`, so that a change of it shows in the diff.
//!
//! `MEMQL_BLESS=1` writes the file anew. The code is that for a kernel which has everything; shipped scripts
//! depend on the kernel's types and are measured by `cargo bench`.

use std::fmt::Write;
use std::path::Path;

use memql_compiler::check::RunConfig;
use memql_compiler::compile::compile;
use memql_compiler::sources::Sources;
use memql_compiler::target::TracepointFormat;

mod check_support;

#[test]
fn the_benchmarks_scripts_take_as_many_instructions_as_noted() {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches");
    let read = |name: &str| {
        std::fs::read_to_string(benches.join(name)).unwrap_or_else(|e| panic!("benches/{name}: {e}"))
    };
    let mut target = check_support::kernel();
    for name in ["sys_enter_getppid", "sys_exit_getppid"] {
        target.tracepoints.insert(("syscalls".into(), name.into()), TracepointFormat::default());
    }
    let mut table = String::from("script\tinstructions\tstack bytes\n");
    for (name, script) in read("rows.tsv").lines().filter_map(|line| line.split_once('\t')) {
        let tree = memql_grammar::parse(script).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        let compiled = compile(&Sources::new(name, script), &tree, &target, &RunConfig::default());
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
    if std::env::var_os("MEMQL_BLESS").is_some() {
        std::fs::write(benches.join("code.tsv"), &table).expect("the folder can be written");
    }
    assert_eq!(table, read("code.tsv"), "if this is meant: MEMQL_BLESS=1");
}
