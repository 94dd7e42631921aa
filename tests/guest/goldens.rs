//! The programs that the other tests are made of, judged by a real kernel: it accepts every one that memql
//! compiles for it, and computes with them what their tables say.
//!
//! These tests run on the machine's own kernel and, as the very same binary, in a guest of every kernel of
//! the matrix ([`in_a_guest`]).

use super::guest::{self, Size};
use crate::need;
use crate::support::machine;
use libbpf_rs::ObjectBuilder;
use memql_compiler::check::{RunConfig, script_options, syntax_diagnostics};
use memql_compiler::compile::{Compilation, compile};
use memql_compiler::diagnostic::{Diagnostic, render_in};
use memql_compiler::emit;
use memql_compiler::ir::{GlobalDef, text};
use memql_compiler::sources::Sources;
use memql_compiler::target::{Features, Target};
use memql_runtime::load::{Logs, Opened};
use memql_runtime::target::Running;
use std::fs;
use std::path::{Path, PathBuf};

/// Runs this file's tests of scripts in a guest. (Hand-written IR does not ask what the kernel has.)
pub fn in_a_guest(kernel: &str) -> Result<(), String> {
    let mut files = guest::programs(&["calls"])?; // brings the C library, which scripts name
    files.push(guest::stripped(&std::env::current_exe().expect("this test binary has a path"), "goldens")?);
    files.extend(FOLDERS.map(|folder| root().join(folder)));
    let out = guest::run(
        kernel,
        Size::default(),
        "goldens goldens::every_golden_script goldens::expressions --test-threads 1 --show-output",
        &files,
    )?;
    println!("{kernel}: {}", out.output());
    Ok(())
}

/// Where the programs are.
const FOLDERS: [&str; 5] =
    ["scripts", "docs", "compiler/tests/check", "compiler/tests/meaning", "compiler/tests/emit/cases"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A script and what its run is given.
struct Golden {
    name: String,
    text: String,
    run: RunConfig,
}

impl Golden {
    fn sources(&self) -> Sources {
        Sources::new(&self.name, &self.text)
    }
}

fn golden(name: impl Into<String>, text: impl Into<String>) -> Golden {
    Golden { name: name.into(), text: text.into(), run: RunConfig::default() }
}

/// The files of a folder with an extension, in order.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = root().join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("can be listed").path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == extension));
    files.sort();
    assert!(!files.is_empty(), "no *.{extension} in {}", folder.display());
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Scripts of the golden tests, of the documentation, and the shipped ones.
fn scripts() -> Vec<Golden> {
    let mut all: Vec<Golden> = files("scripts", "mq").iter().map(|p| golden(short(p), read(p))).collect();
    for page in files("docs", "md") {
        let text = read(&page);
        for (number, example) in text.split("```memql\n").skip(1).enumerate() {
            let example = example.split("```").next().unwrap_or_default();
            all.push(golden(format!("{}, example {}", short(&page), number + 1), example));
        }
    }
    let is_accepted =
        |path: &Path| read(&path.with_extension("out")).lines().all(|l| !l.starts_with("error["));
    for path in files("compiler/tests/check", "mq").into_iter().filter(|path| is_accepted(path)) {
        let text = read(&path);
        all.push(Golden { run: run_of(&text), ..golden(short(&path), text) });
    }
    all
}

/// What the first comments of a case of `compiler/tests/check` ask for; its frozen kernel is not meant here.
fn run_of(source: &str) -> RunConfig {
    let mut run = RunConfig { allow_unsafe: true, ..RunConfig::default() };
    let pair = |word: &str| {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        (name.to_owned(), value.to_owned())
    };
    for line in source.lines().map_while(|line| line.strip_prefix("// ")) {
        let (what, rest) = line.split_once(':').unwrap_or((line, ""));
        let words = rest.split_whitespace();
        match what {
            "args" => run.positional = words.map(str::to_owned).collect(),
            "named" => run.named = words.map(pair).collect(),
            "env" => run.environment = words.map(pair).collect(),
            "child" => run.child = rest.trim().parse().ok(),
            "pid" => run.pid = rest.trim().parse().ok(),
            "option" => {
                let tree = memql_grammar::parse(source).ok();
                let specs = tree.and_then(|tree| script_options(&tree).ok()).unwrap_or_default();
                for (name, value) in words.map(pair) {
                    let spec = specs.iter().find(|spec| spec.name == name);
                    if let Some(value) = spec.and_then(|spec| spec.parse(&value).ok()) {
                        run.options.insert(name, value);
                    }
                }
            }
            _ => {} // prose
        }
    }
    run
}

fn compiled(golden: &Golden, target: &Running) -> Result<Compilation, Vec<Diagnostic>> {
    let tree = memql_grammar::parse(&golden.text).map_err(|errors| syntax_diagnostics(&errors))?;
    compile(&golden.sources(), &tree, target, &golden.run)
}

/// Whether a finding is about the kernel at hand (others in the same script may follow from it): it has no such attach point, argument, enumerator, field or type, or its
/// eBPF lacks something.
fn is_about_the_kernel(finding: &Diagnostic) -> bool {
    ["E02", "E0305", "E0307", "E0308", "E0611", "E08"].iter().any(|codes| finding.code.starts_with(codes))
}

#[test]
fn every_golden_script_loads() {
    need!(machine::root());
    let target = Running::new(None);
    let (mut loaded, mut lacking, mut wrong) = (0, Vec::new(), Vec::new());
    for golden in scripts() {
        let compilation = match compiled(&golden, &target) {
            Ok(compilation) => compilation,
            Err(findings) if findings.iter().any(is_about_the_kernel) => {
                lacking.push(format!("{}: {}", golden.name, findings[0].title));
                continue;
            }
            Err(findings) => {
                wrong.push(format!("{}\n{}", golden.name, render_in(&golden.sources(), &findings, false)));
                continue;
            }
        };
        match Opened::open(&compilation.compiled, target.features(), Logs::default()).and_then(Opened::load) {
            Ok(_) => loaded += 1,
            Err(error) => wrong.push(format!("{}: {error}\n{}", golden.name, golden.text)),
        }
    }
    println!("{loaded} scripts load; this kernel has not all that {} others name:", lacking.len());
    lacking.iter().for_each(|line| println!("  {line}"));
    assert!(wrong.is_empty(), "{} are refused:\n{}", wrong.len(), wrong.join("\n"));
    assert!(loaded > 50, "only {loaded} of the scripts loaded");
}

#[test]
fn every_golden_ir_program_loads() {
    need!(machine::root());
    let features = Running::new(None).features().clone();
    // What the lowering chooses by feature is written into the IR already; these choose in the back end.
    let old = Features { cpu_v4: false, atomic_fetch: false, ..features.clone() };
    for path in files("compiler/tests/emit/cases", "ir") {
        for features in [&old, &features] {
            let mut module = text::parse_module(&read(&path)).unwrap_or_else(|e| panic!("{e:?}"));
            let offset = module.globals.values().map(|g| g.offset + g.size).max().unwrap_or(0);
            let busy =
                GlobalDef { name: "busy".into(), size: 8, align: 8, offset: offset.next_multiple_of(8) };
            let busy = module.globals.push(busy);
            let emitted = emit::back_end(&mut module, features, busy, &Sources::new("golden.mq", ""));
            let object = emitted.unwrap_or_else(|e| panic!("{}: {e}", short(&path))).object;
            let loaded = ObjectBuilder::default().open_memory(&object).and_then(|object| object.load());
            loaded.unwrap_or_else(|error| panic!("{}: {error:#}", short(&path)));
        }
    }
}

#[test]
fn expressions_have_their_values_in_the_kernel() {
    need!(machine::root());
    let target = Running::new(None);
    let table = read(&root().join("compiler/tests/meaning/expressions.txt"));
    let (mut right, mut lacking, mut wrong) = (0, Vec::new(), Vec::new());
    let mut items = String::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        if let Some(item) = line.strip_prefix("> ") {
            items.push_str(item);
            items.push('\n');
            continue;
        }
        if line.is_empty() {
            items.clear();
            continue;
        }
        let (program, expected) = line.rsplit_once(" => ").unwrap_or_else(|| panic!("no value in `{line}`"));
        let end = program.rfind("; ").map(|at| at + 2).max(program.rfind("} ").map(|at| at + 2)).unwrap_or(0);
        let (statements, expression) = program.split_at(end);
        let expected = match expected {
            "nothing" => String::new(),
            text if text.starts_with('"') => {
                let inner = text.trim_matches('"').replace("\\\"", "\"").replace("\\n", "\n");
                format!("{inner}\n")
            }
            value => format!("{value}\n"),
        };
        let script = golden(
            line,
            format!(
                "config = {{ print_maps_on_exit = false }}\n{items}
                 begin {{ {statements} $result = {expression}; print($result); }} begin {{ exit(); }}"
            ),
        );
        match printed(&script, &target) {
            // Blank lines part what was printed from what follows.
            Ok(found) if found.trim_end() == expected.trim_end() => right += 1,
            Ok(found) => wrong.push(format!("{line}\n    {found}")),
            Err(findings) if findings.iter().any(is_about_the_kernel) => {
                lacking.push(format!("{line}: {}", findings[0].title));
            }
            Err(findings) => wrong.push(render_in(&script.sources(), &findings, false)),
        }
    }
    println!("{right} expressions are right; this kernel has not all that {} others need:", lacking.len());
    lacking.iter().for_each(|line| println!("  {line}"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(right > 50, "only {right} of the expressions ran");
}

/// What a script prints that runs to its end by itself.
fn printed(golden: &Golden, target: &Running) -> Result<String, Vec<Diagnostic>> {
    let compilation = compiled(golden, target)?;
    let file = std::env::temp_dir().join(format!("memql-golden-{}", std::process::id()));
    let options = memql_runtime::RunOptions { output: Some(file.clone()), quiet: true, ..Default::default() };
    memql_runtime::run(compilation.compiled, target, options)
        .unwrap_or_else(|error| panic!("{}: {error}", golden.name));
    let text = read(&file);
    fs::remove_file(&file).expect("it was just written");
    Ok(text)
}
