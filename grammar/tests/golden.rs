//! Text in, text out: each `tests/cases/NAME.mq` is parsed, and the tree or the errors must be
//! `NAME.out`. A case shows one behaviour, and its name is the expectation.
//!
//! `MEMQL_BLESS=1 cargo test -p memql-grammar` writes the `.out` files anew; read the diff.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use memql_grammar::{SyntaxError, parse, print};

/// Parses a script; the tree or the errors as text.
fn check(source: &str) -> String {
    match parse(source) {
        Ok(script) => print(&script),
        Err(errors) => errors.iter().map(|error| describe(source, error)).collect(),
    }
}

/// An error with the piece of source it is about.
fn describe(source: &str, error: &SyntaxError) -> String {
    let SyntaxError { span, message, expected, help } = error;
    let before = &source[..span.start as usize];
    let line = before.matches('\n').count() + 1;
    let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1) + 1;
    let mut text = format!("error at {line}:{column} `{}`: {message}\n", &source[span.range()]);
    if !expected.is_empty() {
        writeln!(text, "  expected: {}", expected.join(" | ")).unwrap();
    }
    if let Some(help) = help {
        writeln!(text, "  help: {help}").unwrap();
    }
    text
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "mq"))
        .collect();
    cases.sort();
    cases
}

#[test]
fn every_case_parses_as_its_out_file_says() {
    let bless = std::env::var_os("MEMQL_BLESS").is_some();
    let mut failures = String::new();
    for case in cases() {
        let found = check(&fs::read_to_string(&case).unwrap());
        let expected_path = case.with_extension("out");
        if bless {
            fs::write(&expected_path, found).unwrap();
            continue;
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if found != expected {
            let name = case.file_stem().unwrap().to_string_lossy();
            writeln!(failures, "--- {name}: expected\n{expected}--- {name}: found\n{found}").unwrap();
        }
    }
    assert!(failures.is_empty(), "{failures}\nif this is right: MEMQL_BLESS=1 cargo test -p memql-grammar");
}
