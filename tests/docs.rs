//! Every example of the documentation compiles: the blocks marked `memql` in `docs/*.md`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The `memql` blocks of a page, each with the line it starts at.
fn examples(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line.trim() == "```memql" {
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
        for (line, example) in examples(&text) {
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
