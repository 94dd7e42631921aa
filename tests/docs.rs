//! Every example of the documentation compiles: the blocks marked `memql` in `docs/*.md`. The reference of
//! functions is what their table says; `MEMQL_BLESS=1` writes it anew.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The blocks of a page that are marked so, each with the line it starts at.
fn examples(page: &str, mark: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim().strip_prefix("```") == Some(mark) {
            let text: Vec<&str> = lines.by_ref().map(|(_, l)| l).take_while(|l| l.trim() != "```").collect();
            found.push((number + 2, text.join("\n") + "\n"));
        }
    }
    found
}

fn pages() -> Vec<PathBuf> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut pages: Vec<PathBuf> = std::fs::read_dir(docs)
        .expect("the repository has docs/")
        .map(|entry| entry.expect("docs/ can be listed").path())
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .collect();
    pages.sort();
    pages
}

#[test]
fn every_example_of_the_documentation_compiles() {
    // SAFETY: no memory is touched.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped: the examples use tracepoints, whose formats only root can read");
        return;
    }
    let mut count = 0;
    let mut failures = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a page of docs/ is text");
        for (line, example) in examples(&text, "memql") {
            count += 1;
            let script = std::env::temp_dir().join(format!("memql-docs-{}-{line}.mq", std::process::id()));
            std::fs::write(&script, &example).expect("the temporary folder can be written to");
            let output = Command::new(env!("CARGO_BIN_EXE_memql"))
                .arg("--check")
                .arg(&script)
                .output()
                .expect("memql starts");
            std::fs::remove_file(&script).expect("it was just written");
            if !output.status.success() {
                let error = String::from_utf8_lossy(&output.stderr).into_owned();
                failures.push(format!("{}:{line}:\n{example}{error}", page.display()));
            }
        }
    }
    assert!(count > 0, "docs/ has no examples marked `memql`");
    assert!(
        failures.is_empty(),
        "{} of {count} examples do not compile:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// `docs/functions.md`, from the table of builtins and functions.
fn function_reference() -> String {
    let mut page = String::from(
        "<!-- Written by tests/docs.rs from the tables in compiler/src/check/functions: do not edit. -->\n\n\
         # Builtins and functions\n\n\
         Those without parentheses in their signature can be written with and without. `const` is an argument that is\n\
         known when the script is compiled. Functions marked *unsafe* need `--unsafe`.\n",
    );
    for family in memql_compiler::check::FAMILIES {
        page.push_str(&format!("\n## {}\n\n| signature | |\n| --- | --- |\n", family.title));
        for entry in family.entries {
            let signature = entry.signature.replace('|', "\\|");
            let mark = if entry.is_unsafe { " (*unsafe*)" } else { "" };
            page.push_str(&format!("| `{signature}` | {}{mark} |\n", entry.doc.replace('|', "\\|")));
        }
    }
    page
}

#[test]
fn the_reference_of_functions_is_what_their_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/functions.md");
    let wanted = function_reference();
    if std::env::var_os("MEMQL_BLESS").is_some() {
        std::fs::write(&path, &wanted).expect("docs/ can be written to");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == wanted, "docs/functions.md is out of date: run this test with MEMQL_BLESS=1");
}

#[test]
fn the_tests_of_the_documentation_pass() {
    let mut count = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a page of docs/ is text");
        for (line, example) in examples(&text, "memql-test") {
            count += 1;
            let script =
                std::env::temp_dir().join(format!("memql-docs-test-{}-{line}.mq", std::process::id()));
            std::fs::write(&script, &example).expect("the temporary folder can be written to");
            let output = Command::new(env!("CARGO_BIN_EXE_memql"))
                .arg("test")
                .arg(&script)
                .output()
                .expect("memql starts");
            std::fs::remove_file(&script).expect("it was just written");
            let found = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{}:{line}:\n{example}{found}", page.display());
        }
    }
    assert!(count > 0, "docs/ has no examples marked `memql-test`");
}

/// The first cells of the tables of a page's section, headings left out.
fn rows<'p>(page: &'p str, section: &str) -> Vec<&'p str> {
    let from = page.split_once(section).expect("the page has the section").1;
    let section = from.split("\n## ").next().unwrap_or(from);
    let lines: Vec<&str> = section.lines().collect();
    let is_rule = |line: &str| line.starts_with("| ---");
    let cell = |line: &'p str| line.strip_prefix("| ")?.split(" |").next();
    let heads: Vec<bool> = lines.iter().skip(1).map(|next| is_rule(next)).chain([false]).collect();
    let body = lines.iter().zip(heads).filter(|(line, head)| !head && !is_rule(line));
    body.filter_map(|(line, _)| cell(line)).collect()
}

/// Whether a test is there: a file, or a function in it.
fn there(test: &str) -> bool {
    let (file, function) = test.split_once("::").map_or((test, None), |(file, name)| (file, Some(name)));
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file));
    text.is_ok_and(|text| function.is_none_or(|name| text.contains(&format!("fn {name}("))))
}

#[test]
fn every_row_of_the_compatibility_table_names_its_tests() {
    let read = |name: &str| {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("it is there")
    };
    let (page, list) = (read("docs/compatibility.md"), read("tests/compatibility.txt"));
    let rows = rows(&page, "## Row by row");
    assert!(rows.len() > 30, "{rows:?}");
    let lines: Vec<&str> = list.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()).collect();
    let (tests, names): (Vec<&str>, Vec<&str>) = lines.iter().partition(|line| line.starts_with(' '));
    let is_of =
        |row: &str, name: &str| row == name || row.strip_prefix(name).is_some_and(|r| r.starts_with(','));
    let without_tests: Vec<&&str> = rows.iter().filter(|row| !names.iter().any(|n| is_of(row, n))).collect();
    let without_row: Vec<&&str> = names.iter().filter(|n| !rows.iter().any(|row| is_of(row, n))).collect();
    let gone: Vec<&&str> = tests.iter().filter(|test| !there(test.trim())).collect();
    let unnamed = lines.windows(2).filter(|w| !w[0].starts_with(' ') && !w[1].starts_with(' ')).count();
    assert!(
        without_tests.is_empty() && without_row.is_empty() && gone.is_empty() && unnamed == 0,
        "tests/compatibility.txt: rows without tests {without_tests:?}; names that are no row {without_row:?}; \
         tests that are not there {gone:?}; names without a test below: {unnamed}"
    );
}
