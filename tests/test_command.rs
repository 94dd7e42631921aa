//! `memql test`: the shipped scripts' tests pass, and what fails or is wrong is said as `tests/test_command/*.out` has it.
//!
//! No root, no kernel. `MEMQL_BLESS=1 cargo test --test test_command` writes the `.out` files anew; read the diff.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn memql_test(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_memql"))
        .arg("test")
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .expect("memql starts")
}

fn scripts_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".mq"))
        .collect();
    names.sort();
    names
}

#[test]
fn the_tests_of_the_shipped_scripts_pass() {
    let folder = folder("scripts");
    for name in scripts_in(&folder) {
        let output = memql_test(&[&name], &folder);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}{err}");
        assert!(err.is_empty(), "{err}");
    }
}

#[test]
fn every_shipped_script_has_tests() {
    let tested = scripts_in(&folder("scripts"));
    for script in scripts_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")) {
        assert!(tested.contains(&script), "tests/scripts/{script} is missing");
    }
}

#[test]
fn failures_and_mistakes_read_as_they_should() {
    let folder = folder("test_command");
    let mut wrong = String::new();
    for name in scripts_in(&folder) {
        let output = memql_test(&[&name], &folder);
        let code = output.status.code().map_or("a signal".to_owned(), |code| code.to_string());
        let found = format!(
            "{}exit status: {code}\n\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let expected_path = folder.join(&name).with_extension("out");
        if std::env::var_os("MEMQL_BLESS").is_some() {
            std::fs::write(&expected_path, found).expect("the folder can be written to");
            continue;
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if found != expected {
            wrong.push_str(&format!("--- {name}: expected\n{expected}--- {name}: found\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nif this is right: MEMQL_BLESS=1 cargo test --test test_command");
}

#[test]
fn a_filter_leaves_the_other_tests_out() {
    let output = memql_test(&["failures.mq", "--filter", "passes"], &folder("test_command"));
    assert!(output.status.success());
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(out, "failures.mq\n  ok    passes\n1 passed, 0 failed, 11 filtered out\n");
}

#[test]
fn wrong_usage_has_an_exit_code_of_its_own() {
    let output = memql_test(&[], &folder("test_command"));
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(memql_test(&["--nope", "failures.mq"], &folder("test_command")).status.code(), Some(2));
}

#[test]
fn a_file_that_is_wrong_keeps_no_other_from_being_tested() {
    let output = memql_test(
        &["-q", "beside_missing.mq", "failures.mq", "--filter", "passes"],
        &folder("test_command"),
    );
    assert_eq!(output.status.code(), Some(1));
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        out,
        "beside_missing.mq\nfailures.mq\n1 passed, 0 failed, 11 filtered out, 1 file not tested\n"
    );
}
