//! Text in, text out: each `tests/check/NAME.mq` is checked for a frozen kernel, and the checked tree, or
//! the findings as a user reads them, must be `NAME.out`. A case shows one behaviour, and its name is the
//! expectation. Comments at the top say what the run is given:
//!
//! ```text
//! // args: 42 hello        positional parameters
//! // named: a=1 b          named parameters
//! // option: top=3         a declared option
//! // child: 77   pid: 5    `-c` and `-p`
//! // env: BPFTRACE_X=1     the environment
//! // unsafe                `--unsafe`
//! // test   bench          `--test`, `--bench`
//! // kernel: bare          no kprobes, no fentry, no BTF
//! // kernel: small keys    keys of at most 512 bytes
//! // kernel: aarch64        of that processor
//! // compile               the whole compiler, whose errors are shown
//! ```
//!
//! `MEMQL_BLESS=1 cargo test -p memql-compiler --test check` writes the `.out` files anew; read the diff.

#[path = "check_support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use memql_compiler::check::{self, OptionValue, Purpose, RunConfig, script_options, syntax_diagnostics};
use memql_compiler::diagnostic::{Diagnostic, render};
use memql_compiler::sources::Sources;
use memql_compiler::target::{Arch, Frozen};

/// Checks a script; the tree with the warnings before it, or the findings, as text.
fn check(source: &str) -> String {
    let (kernel, run) = setup(source);
    let show = |findings: &[Diagnostic]| render("script.mq", source, findings, false);
    let script = match memql_grammar::parse(source) {
        Ok(script) => script,
        Err(errors) => return show(&syntax_diagnostics(&errors)),
    };
    if source.lines().any(|line| line == "// compile") {
        let sources = Sources::new("script.mq", source);
        return match memql_compiler::compile::compile(&sources, &script, &kernel, &run) {
            Ok(compilation) => show(&compilation.warnings),
            Err(findings) => show(&findings),
        };
    }
    match check::check(&script, &kernel, &run) {
        Ok((tree, warnings)) => format!("{}{}", show(&warnings), check::text::print(&tree)),
        Err(findings) => show(&findings),
    }
}

/// The kernel and the run that a script's first comments ask for.
fn setup(source: &str) -> (Frozen, RunConfig) {
    let (mut run, mut kernel) = (RunConfig::default(), support::kernel());
    let pair = |word: &str| {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        (name.to_owned(), value.to_owned())
    };
    for line in source.lines().map_while(|l| l.strip_prefix("// ")) {
        let (what, rest) = line.split_once(':').unwrap_or((line, ""));
        let words = rest.split_whitespace();
        match what {
            "args" => run.positional = words.map(str::to_owned).collect(),
            "named" => run.named = words.map(pair).collect(),
            "env" => run.environment = words.map(pair).collect(),
            "child" => run.child = rest.trim().parse().ok(),
            "pid" => run.pid = rest.trim().parse().ok(),
            "unsafe" => run.allow_unsafe = true,
            "kernel" if rest.trim() == "bare" => (kernel.btf, kernel.functions) = (None, Vec::new()),
            "kernel" if rest.trim() == "aarch64" => kernel.features.arch = Arch::Aarch64,
            "kernel" if rest.trim() == "small keys" => kernel.features.large_keys = false,
            "test" => run.purpose = Purpose::Test,
            "bench" => run.purpose = Purpose::Bench,
            "option" => {
                let specs = memql_grammar::parse(source)
                    .ok()
                    .and_then(|s| script_options(&s).ok())
                    .unwrap_or_default();
                for (name, value) in words.map(pair) {
                    let spec = specs.iter().find(|s| s.name == name).expect("the option is declared");
                    let value: OptionValue = spec.parse(&value).expect("the value is one of the option's");
                    run.options.insert(name, value);
                }
            }
            _ => {}
        }
    }
    (kernel, run)
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check");
    let entries = fs::read_dir(folder).expect("the folder of cases is there");
    let mut cases: Vec<PathBuf> = entries.map(|e| e.expect("its entries can be read").path()).collect();
    cases.retain(|path| path.extension().is_some_and(|e| e == "mq"));
    cases.sort();
    cases
}

#[test]
fn every_case_gives_its_output() {
    let bless = std::env::var_os("MEMQL_BLESS").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let source = fs::read_to_string(&case).expect("a case is text");
        let found = check(&source);
        let expected_path = case.with_extension("out");
        if bless {
            fs::write(&expected_path, &found).expect("the output can be written");
            continue;
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- found\n{found}", case.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n\nto accept: MEMQL_BLESS=1 cargo test -p memql-compiler --test check",
        wrong.join("\n")
    );
}

#[test]
fn every_case_that_expects_an_error_is_named_after_its_code() {
    for case in cases() {
        let name = case.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_owned();
        let code =
            name.get(..5).filter(|c| c.starts_with(['E', 'W']) && c[1..].bytes().all(|b| b.is_ascii_digit()));
        let expected = fs::read_to_string(case.with_extension("out")).unwrap_or_default();
        match code {
            Some(code) => assert!(expected.contains(&format!("[{code}]")), "{name} does not give {code}"),
            None => assert!(!expected.contains("error["), "{name} fails, but its name has no code"),
        }
    }
}

/// Codes that no script can bring about here, and why.
const WITHOUT_CASE: &[(&str, &str)] = &[
    ("E0899", "says that memql is wrong, and is looked for by `no_broken_script_panics_or_loses_a_part`"),
    ("E0921", "of imports, which cases here have none of: the tests of `import.rs` have it"),
    ("E0922", "of imports, as above"),
    ("E0923", "of imports, as above"),
    ("E0924", "of imports, as above"),
    ("E0925", "of imports, as above"),
    ("E0957", "says that memql is wrong, or that a test asks for what tests cannot do"),
    ("W0901", "says where something was lost when a run ends: the command's tests have it"),
];

/// Each code in the compiler's and the grammar's source is in a case's output, here or of `memql test`.
#[test]
fn every_code_has_a_case() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the compiler has a folder above it");
    let mut codes: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for folder in ["compiler/src", "grammar/src", "src"] {
        for_each_file(&top.join(folder), "rs", &mut |path, text| {
            // A list of codes is no place where they are given.
            for line in text.lines().filter(|line| !line.contains("const CODES")) {
                for word in line.split('"').filter(|word| is_code(word)) {
                    codes.entry(word.to_owned()).or_default().insert(path.to_owned());
                }
            }
        });
    }
    assert!(codes.len() > 100, "only {} codes are found", codes.len());
    let mut shown = String::new();
    for folder in ["compiler/tests/check", "tests/test_command"] {
        for_each_file(&top.join(folder), "out", &mut |_, text| shown.push_str(text));
    }
    let exempt = |code: &str| WITHOUT_CASE.iter().any(|(c, _)| *c == code);
    let missing: Vec<&String> =
        codes.keys().filter(|code| !exempt(code) && !shown.contains(&format!("[{code}]"))).collect();
    assert!(missing.is_empty(), "no case shows {missing:?}: add one to tests/check");
    // A code means one thing: it is given for diagnostics of one family only.
    let families = |files: &BTreeSet<PathBuf>| -> BTreeSet<bool> {
        files.iter().map(|f| f.components().any(|c| c.as_os_str() == "testing")).collect()
    };
    let twice: Vec<&String> =
        codes.iter().filter(|(_, files)| families(files).len() > 1).map(|(c, _)| c).collect();
    assert!(twice.is_empty(), "{twice:?} mean one thing in scripts and another in their tests");
}

fn is_code(word: &str) -> bool {
    word.len() == 5 && word.starts_with(['E', 'W']) && word[1..].bytes().all(|b| b.is_ascii_digit())
}

fn for_each_file(folder: &Path, extension: &str, f: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            for_each_file(&path, extension, f);
        } else if path.extension().is_some_and(|e| e == extension) {
            f(&path, &fs::read_to_string(&path).expect("it is text"));
        }
    }
}

#[test]
fn checking_is_repeatable() {
    for case in cases() {
        let source = fs::read_to_string(&case).expect("a case is text");
        assert_eq!(check(&source), check(&source), "{}", case.display());
    }
}

/// Scripts that are nearly right: cases with words taken out, doubled or swapped. None of them may panic, and
/// none may be accepted with a part of it left out ([`check::check`] reports that as `E0899`). `MEMQL_ROUNDS` says
/// how many are made of each case.
#[test]
fn no_broken_script_panics_or_loses_a_part() {
    let (mut tried, mut parsed, mut valid) = (0u32, 0u32, 0u32);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let rounds = std::env::var("MEMQL_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(10);
    for case in cases() {
        let source = fs::read_to_string(&case).expect("a case is text");
        let words = words(&source);
        for _ in 0..rounds {
            let mut broken: Vec<&str> = words.clone();
            for _ in 0..=random(3) {
                let (a, b) = (random(broken.len()), random(words.len()));
                match random(4) {
                    0 => drop(broken.remove(a)),
                    1 => broken.insert(a, words[b]),
                    2 => broken[a] = words[b],
                    _ => {
                        let c = random(broken.len());
                        broken.swap(a, c);
                    }
                }
                if broken.is_empty() {
                    break;
                }
            }
            let text = broken.concat();
            tried += 1;
            if memql_grammar::parse(&text).is_ok() {
                parsed += 1;
                let found = check(&text);
                valid += u32::from(!found.contains("error["));
                assert!(!found.contains("E0899"), "{text}\n{found}");
            }
        }
    }
    // A generator of nothing but nonsense would test nothing.
    assert!(parsed * 5 > tried && valid * 40 > tried, "{tried} tried, {parsed} parsed, {valid} valid");
}

/// A script's words and what is between them, which together are the script.
fn words(source: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = match word(first) {
            true => rest.find(|c| !word(c)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (head, tail) = rest.split_at(end);
        words.push(head);
        rest = tail;
    }
    words
}
