//! The formatter: one style, nothing lost, and twice is once.

use std::fs;
use std::path::{Path, PathBuf};

use memql_grammar::{format, parse, print};

/// A tree without its places in the source.
fn tree(source: &str) -> String {
    let printed = print(&parse(source).unwrap_or_else(|errors| panic!("{errors:?} in:\n{source}")));
    let lines = printed.lines().map(|line| line.rsplit_once(" @").map_or(line, |(node, _)| node));
    lines.collect::<Vec<_>>().join("\n")
}

fn scripts(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "mq"));
    paths.sort();
    paths
}

/// The text of comments, without their places.
fn comments(source: &str) -> usize {
    source.matches("//").count() + source.matches("/*").count()
}

#[test]
fn formatting_changes_no_token_and_twice_is_once() {
    let mut formatted = 0;
    for path in ["tests/cases", "../scripts", "../tests/scripts"].into_iter().flat_map(scripts) {
        let source = fs::read_to_string(&path).expect("a script");
        // Some cases are about what is wrong.
        let Ok(once) = format(&source) else { continue };
        let name = path.display();
        assert_eq!(tree(&source), tree(&once), "{name} became:\n{once}");
        assert_eq!(comments(&source), comments(&once), "{name} became:\n{once}");
        assert_eq!(format(&once).as_deref(), Ok(&*once), "{name}");
        formatted += 1;
    }
    assert!(formatted > 40, "{formatted} scripts can be parsed");
}

#[test]
fn shipped_scripts_are_formatted() {
    for path in ["../scripts", "../tests/scripts"].into_iter().flat_map(scripts) {
        let source = fs::read_to_string(&path).expect("a script");
        assert_eq!(format(&source).as_deref(), Ok(&*source), "{}", path.display());
    }
}

#[test]
fn what_cannot_be_read_is_not_rewritten() {
    assert_eq!(format("begin { $x = ; }"), parse("begin { $x = ; }").map(|_| String::new()));
}

#[test]
fn one_style() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format");
    let source = fs::read_to_string(path.join("before.mq")).expect("the case");
    let after = format(&source).unwrap_or_else(|errors| panic!("{errors:?}"));
    if std::env::var_os("MEMQL_BLESS").is_some() {
        fs::write(path.join("after.mq"), &after).expect("the folder can be written");
    }
    assert_eq!(after, fs::read_to_string(path.join("after.mq")).expect("the case"));
}
