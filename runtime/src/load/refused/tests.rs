//! Answers of real kernels, and what is said of them: `NAME_KERNEL.log` has the errno and libbpf's messages, with
//! the kernel verifier's log in one of them, `NAME_KERNEL.out` what a user reads. `MEMQL_BLESS=1` writes the latter.

use std::fs;
use std::path::{Path, PathBuf};

use memql_compiler::attach::{AttachPoint, ProgramKind};
use memql_compiler::plan::{MapPlan, ProgramPlan};
use memql_compiler::types::Type;

use super::*;

/// A plan with what the logs are about.
fn plan() -> Plan {
    let program = |name: &str| ProgramPlan {
        name: name.to_owned(),
        kind: ProgramKind::TestRun,
        points: vec![(AttachPoint::Begin, 0)],
        uses_cookie: false,
        events: 0..0,
    };
    let storage = MapStorage::Keyed { elf_name: "m0_".into(), per_cpu: true, max_entries: 4096 };
    let map = MapPlan { name: "@".into(), key: Some(Type::Str { cap: 1024 }), value: Type::U64, storage };
    Plan {
        programs: vec![program("p0_begin"), program("p0_vfs_read")],
        maps: vec![map],
        ring: Some("events".into()),
        ..Plan::default()
    }
}

/// libbpf's messages: a log is one, and so is each other line.
fn messages(text: &str) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    let mut in_log = false;
    for line in text.lines() {
        match messages.last_mut() {
            Some(log) if in_log => log.extend(["\n", line]),
            _ => messages.push(line.to_owned()),
        }
        in_log = (in_log || line.ends_with("-- BEGIN PROG LOAD LOG --")) && line != "-- END PROG LOAD LOG --";
    }
    messages
}

fn said(log: &str) -> String {
    let (errno, text) = log.split_once('\n').expect("the errno has a line");
    let errno = errno.strip_prefix("errno ").and_then(|n| n.parse().ok()).expect("the errno is a number");
    let error = io::Error::from_raw_os_error(errno);
    format!("{}\n", refused(&error, &plan(), &messages(text), &Remedies::default()))
}

#[test]
fn real_refusals_are_told_in_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/load/refused");
    let entries = fs::read_dir(folder).expect("the folder is there");
    let mut logs: Vec<PathBuf> = entries.map(|e| e.expect("its entries can be read").path()).collect();
    logs.retain(|path| path.extension().is_some_and(|e| e == "log"));
    assert!(logs.len() > 10, "{logs:?}");
    let mut wrong = Vec::new();
    for log in logs {
        let found = said(&fs::read_to_string(&log).expect("a log is text"));
        let expected = log.with_extension("out");
        if std::env::var_os("MEMQL_BLESS").is_some() {
            fs::write(&expected, &found).expect("the output can be written");
        } else if fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong.push(format!("{}:\n{found}", log.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\nto accept: MEMQL_BLESS=1", wrong.join("\n"));
}

#[test]
fn a_log_that_is_cut_off_has_no_reason_and_its_last_words_are_not_taken_for_one() {
    let log = "errno 28\nprog 'p0_begin': BPF program load failed: -ENOSPC\n\
        prog 'p0_begin': -- BEGIN PROG LOAD LOG --\n; begin {\n0: (b7) r0 = 0\n1: R0=0\n-- END PROG LOAD LOG --";
    let said = said(log);
    assert!(
        said.starts_with("internal error: the kernel verifier refuses the program of `begin`: no space"),
        "{said}"
    );
    assert!(
        said.contains("\n  its reasons are not known: its log ends early\n")
            && !said.contains("kernel verifier: "),
        "{said}"
    );
}

#[test]
fn a_kernel_that_is_locked_down_is_told_as_such() {
    let log =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/load/refused/locked_down_6.12.log"));
    let (log, error) = (log.expect("a log is text"), io::Error::from_raw_os_error(libc::EINVAL));
    let remedies = Remedies::of("", "none integrity [confidentiality]\n");
    let said = refused(&error, &plan(), &messages(log.split_once('\n').expect("it has lines").1), &remedies);
    assert!(
        !said.internal && said.help[0].starts_with("the kernel is locked down (confidentiality)"),
        "{said}"
    );
}
