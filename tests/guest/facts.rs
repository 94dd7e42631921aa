//! What runs found out about each kernel of the matrix, kept in `tests/guest/kernels/NAME.txt`, and the page made
//! of it, `docs/kernels.md`.
//!
//! A run that finds something else than its kernel's file says fails. `MEMQL_BLESS=1` writes what was found,
//! and the page anew; read the difference.

use super::guest::MATRIX;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A thing that kernels differ in, and what one was found to do.
pub type Fact = (String, String);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file_of(kernel: &str) -> PathBuf {
    root().join("tests/guest/kernels").join(format!("{kernel}.txt"))
}

fn page() -> PathBuf {
    root().join("docs/kernels.md")
}

/// A part of the page: its title, and a kernel's facts.
type Section = (String, Vec<Fact>);

/// The sections of a kernel's file; none if there is no file yet.
fn known(kernel: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in fs::read_to_string(file_of(kernel)).unwrap_or_default().lines() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push((title.to_owned(), Vec::new()));
        } else if let (Some((what, answer)), Some((_, facts))) = (line.split_once(": "), sections.last_mut())
        {
            facts.push((what.to_owned(), answer.to_owned()));
        }
    }
    sections
}

/// Compares what a run found with what is known, or makes it known.
pub fn found(kernel: &str, section: &str, facts: &[Fact]) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|broken| broken.into_inner());
    let mut sections = known(kernel);
    let place = sections.iter().position(|(title, _)| title == section);
    if std::env::var_os("MEMQL_BLESS").is_some() {
        match place {
            Some(place) => sections[place].1 = facts.to_vec(),
            None => sections.push((section.to_owned(), facts.to_vec())),
        }
        sections.sort_by_key(|(title, _)| ORDER.iter().position(|known| known == title));
        let mut text = String::new();
        for (title, facts) in &sections {
            writeln!(text, "## {title}").expect("a string takes everything");
            facts.iter().for_each(|(what, answer)| writeln!(text, "{what}: {answer}").expect("as above"));
        }
        fs::write(file_of(kernel), text).expect("write what is known of a kernel");
        fs::write(page(), render()).expect("write docs/kernels.md");
        return;
    }
    let before = place.map(|place| sections[place].1.as_slice()).unwrap_or_default();
    let mut differences = String::new();
    for (what, answer) in facts {
        match before.iter().find(|(known, _)| known == what) {
            Some((_, known)) if known == answer => {}
            Some((_, known)) => {
                writeln!(differences, "{what}\n  known: {known}\n  found: {answer}").expect("as above")
            }
            None => writeln!(differences, "{what}\n  not known\n  found: {answer}").expect("as above"),
        }
    }
    for (what, answer) in before.iter().filter(|(known, _)| facts.iter().all(|(what, _)| what != known)) {
        writeln!(differences, "{what}\n  known: {answer}\n  not looked for").expect("as above");
    }
    assert!(
        differences.is_empty(),
        "{kernel} differs from docs/kernels.md in \"{section}\":\n{differences}\nto accept: MEMQL_BLESS=1 tests/vm/matrix {kernel}"
    );
}

/// The page's sections in order.
const ORDER: [&str; 4] = [PROBES, LANGUAGE, SCRIPTS, MEMORY];
/// What attaches and sees events.
pub const PROBES: &str = "Probes";
/// What programs can do.
pub const LANGUAGE: &str = "Language";
/// The shipped scripts.
pub const SCRIPTS: &str = "Scripts";
/// What happens to a whole system that is out of memory.
pub const MEMORY: &str = "Memory events";

const HEAD: &str = "# Kernels

*Made by the kernel matrix (`tests/vm/matrix`), which runs the same memql in a guest of each kernel: do not edit by hand.*

The kernels are the oldest that memql supports, Debian's long-term ones and the newest, each as Debian packages it. `yes` says
that a program did something so many times and that memql counted exactly so many. Words after it say how, where kernels
differ. Where it says `no`, memql says so and why: the words are below the tables.
";

/// The page.
fn render() -> String {
    let kernels: Vec<(&str, Vec<Section>)> = MATRIX.iter().map(|k| (*k, known(k))).collect();
    let mut text = HEAD.to_owned();
    let mut refusals: Vec<(String, Vec<&str>)> = Vec::new();
    for title in ORDER {
        write!(text, "\n## {title}\n\n|").expect("a string takes everything");
        for kernel in MATRIX {
            write!(text, " | {}", kernel.trim_end_matches("-cloud")).expect("as above");
        }
        writeln!(text, " |\n|---{}|", "|---".repeat(MATRIX.len())).expect("as above");
        let facts = |kernel: usize| {
            kernels[kernel].1.iter().find(|(known, _)| known == title).map(|(_, facts)| facts.as_slice())
        };
        for (what, _) in
            (0..MATRIX.len()).filter_map(facts).max_by_key(|facts| facts.len()).unwrap_or_default()
        {
            write!(text, "| {what}").expect("as above");
            for (kernel, name) in MATRIX.iter().enumerate() {
                let answer = facts(kernel).into_iter().flatten().find(|(known, _)| known == what);
                let answer = answer.map_or("not tried", |(_, answer)| answer);
                let shown = match answer.split_once(": ") {
                    Some(("no", why)) => {
                        let line = format!("{what}: {why}");
                        match refusals.iter_mut().find(|(known, _)| *known == line) {
                            Some((_, kernels)) => kernels.push(name),
                            None => refusals.push((line, vec![name])),
                        }
                        "no"
                    }
                    _ => answer,
                };
                write!(text, " | {shown}").expect("as above");
            }
            writeln!(text, " |").expect("as above");
        }
    }
    writeln!(text, "\n## What is said where it is `no`\n").expect("as above");
    for (line, kernels) in refusals {
        let kernels: Vec<&str> = kernels.iter().map(|kernel| kernel.trim_end_matches("-cloud")).collect();
        writeln!(text, "- {line} ({})", kernels.join(", ")).expect("as above");
    }
    text
}

#[test]
fn the_page_says_what_is_known() {
    if std::env::var_os("MEMQL_BLESS").is_some() {
        fs::write(page(), render()).expect("write docs/kernels.md");
    }
    assert_eq!(
        fs::read_to_string(page()).unwrap_or_default(),
        render(),
        "docs/kernels.md is not what the files of tests/guest/kernels give; to accept: MEMQL_BLESS=1"
    );
}
