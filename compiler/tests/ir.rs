//! Tests of the IR in text form: the text form itself, the IR verifier, and the passes.
//!
//! A test is a file in `tests/ir`: IR, a line `----`, and what is expected of it. `MEMQL_BLESS=1`
//! rewrites what is expected with what is found; read the diff before committing it.
//!
//! ```text
//! tests/ir/text/*.ir            prints as itself (nothing after the line)
//! tests/ir/parse/*.ir           the parse error
//! tests/ir/verify/*.ir          the violations, or `ok`
//! tests/ir/passes/PASS/*.ir     the IR after the pass, or after all of them in `passes/optimise`
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use memql_compiler::ir::Module;
use memql_compiler::ir::text::{parse_module, print_module};
use memql_compiler::ir::verify::verify;
use memql_compiler::passes;

const SEPARATOR: &str = "----\n";

/// Checks every test of a folder: `stage` gives what is found for the text above the line.
fn check(folder: &str, stage: impl Fn(&str) -> String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ir").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&root)
        .unwrap_or_else(|e| panic!("{}: {e}", root.display()))
        .map(|entry| entry.expect("a folder's entry can be read").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "ir"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no tests", root.display());
    let bless = std::env::var_os("MEMQL_BLESS").is_some();
    let mut failures = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("a test is UTF-8");
        let (input, expected) = text.split_once(SEPARATOR).unwrap_or((&text, ""));
        let found = stage(input);
        if found == expected {
            continue;
        }
        if bless {
            fs::write(file, format!("{input}{SEPARATOR}{found}")).expect("a test can be written");
        } else {
            failures.push(format!("{}\n--- expected\n{expected}\n--- found\n{found}", file.display()));
        }
    }
    let advice = "to accept what is found: MEMQL_BLESS=1 cargo test -p memql-compiler --test ir";
    assert!(failures.is_empty(), "{}\n{advice}", failures.join("\n"));
}

fn parse(text: &str) -> Module {
    parse_module(text).unwrap_or_else(|e| panic!("{e} in\n{text}"))
}

fn assert_valid(module: &Module) {
    if let Err(violations) = verify(module) {
        let list: Vec<String> = violations.iter().map(ToString::to_string).collect();
        panic!("{}\nin\n{}", list.join("\n"), print_module(module));
    }
}

#[test]
fn print_then_parse_is_the_identity() {
    check("text", |text| {
        let printed = print_module(&parse(text));
        let without_comments: String =
            text.lines().filter(|l| !l.trim_start().starts_with(';')).map(|l| format!("{l}\n")).collect();
        assert_eq!(printed, without_comments);
        assert_eq!(print_module(&parse(&printed)), printed);
        String::new()
    });
}

#[test]
fn text_that_is_not_ir_is_refused_with_line_and_reason() {
    check("parse", |text| match parse_module(text) {
        Ok(module) => format!("parsed:\n{}", print_module(&module)),
        Err(error) => format!("{error}\n"),
    });
}

#[test]
fn each_invariant_is_reported_where_it_is_broken() {
    check("verify", |text| match verify(&parse(text)) {
        Ok(()) => "ok\n".into(),
        Err(violations) => violations.iter().map(|v| format!("{v}\n")).collect(),
    });
}

#[test]
fn passes_rewrite_as_shown() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ir/passes");
    for pass in passes::PASSES {
        assert!(root.join(pass.name).is_dir(), "the pass {} has no tests", pass.name);
        check(&format!("passes/{}", pass.name), |text| {
            let mut module = parse(text);
            assert_valid(&module);
            passes::run_pass(pass, &mut module);
            assert_valid(&module);
            print_module(&module)
        });
    }
}

#[test]
fn all_passes_together_rewrite_as_shown() {
    check("passes/optimise", |text| {
        let mut module = parse(text);
        assert_valid(&module);
        passes::optimise(&mut module);
        print_module(&module)
    });
}
