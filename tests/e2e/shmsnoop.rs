//! scripts/shmsnoop.mq: every System V shared memory call, with its arguments and its result.

use crate::need;
use crate::support::{machine, memql, programs, trigger::Trigger};
use std::collections::HashMap;

const HEADING: &str = "PID    COMM                SYS              RET ARGs";

/// Traces the program `shm`; gives what memql printed and what the program said of itself.
fn traced(more_args: &[&str]) -> Result<(String, HashMap<String, String>), String> {
    machine::root()?;
    let mut trigger = Trigger::start(&programs::program("shm")?, &[]);
    let pid = trigger.pid();
    let (script, filter) = (programs::script("shmsnoop.mq"), ["-p", pid.as_str()]);
    let tracing = memql::attached([script.as_str()].iter().chain(&filter).chain(more_args));
    let said = trigger.work();
    let out = tracing.stop().output();
    trigger.end();
    let said = said.lines().filter_map(|l| l.split_once(' ')).map(|(k, v)| (k.into(), v.into())).collect();
    Ok((out, said))
}

/// The lines that the calls of `shm` must give.
fn expected(said: &HashMap<String, String>) -> Vec<String> {
    let [pid, id, at, ro, stat] = ["pid", "id", "at", "ro", "stat"].map(|k| said[k].as_str());
    let line =
        |sys: &str, ret: &str, args: String| format!("{pid:<6} {:<16} {sys:>6} {ret:>16} {args}", "shm");
    vec![
        line("SHMGET", id, "key: 0x0, size: 49152, shmflg: 0x3ff (IPC_CREAT|0777)".into()),
        line("SHMAT", at, format!("shmid: 0x{id}, shmaddr: 0x0, shmflg: 0x0")),
        line("SHMAT", ro, format!("shmid: 0x{id}, shmaddr: 0x0, shmflg: 0x1000 (SHM_RDONLY)")),
        line("SHMCTL", "0", format!("shmid: 0x{id}, cmd: 2, buf: 0x{stat}")),
        line("SHMDT", "0", format!("shmaddr: 0x{ro}")),
        line("SHMDT", "0", format!("shmaddr: 0x{at}")),
        line("SHMCTL", "0", format!("shmid: 0x{id}, cmd: 0, buf: 0x0")),
        // ENOENT, then EINVAL three times: the segment is gone, the address was never attached, the id is none
        line("SHMGET", "fffffffffffffffe", "key: 0x4d656d71, size: 4096, shmflg: 0x180 (0600)".into()),
        line("SHMAT", "ffffffffffffffea", format!("shmid: 0x{id}, shmaddr: 0x0, shmflg: 0x0")),
        line("SHMDT", "ffffffffffffffea", "shmaddr: 0x1000".into()),
        line("SHMCTL", "ffffffffffffffea", format!("shmid: 0xffffffff, cmd: 2, buf: 0x{stat}")),
    ]
}

#[test]
fn every_call_is_a_line_with_its_arguments_and_result() {
    let (out, said) = need!(traced(&[]));
    let mut lines = vec![HEADING.to_string()];
    lines.extend(expected(&said));
    assert_eq!(out.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn a_time_column_comes_first_on_request() {
    let (out, said) = need!(traced(&["-T"]));
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some(format!("{:>14} {HEADING}", "TIME(s)").as_str()));
    let mut last = 0.0;
    for (line, expected) in lines.zip(expected(&said)) {
        let (time, rest) = line.split_at(15);
        let time: f64 = time.trim().parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(time > last, "times go up: {line}");
        assert_eq!(rest, expected);
        last = time;
    }
}

#[test]
fn names_select_threads_by_a_part_of_their_name() {
    let (out, said) = need!(traced(&["-n", "sh"]));
    assert_eq!(out.lines().count(), 1 + expected(&said).len(), "{out}");
    let (out, _) = need!(traced(&["-n", "shmoo"]));
    assert_eq!(out.trim_end(), HEADING);
}

#[test]
fn a_thread_id_selects_one_thread() {
    let (out, _) = need!(traced(&["-t", "1"]));
    assert_eq!(out.trim_end(), HEADING);
}

#[test]
fn a_duration_ends_the_run() {
    need!(machine::root());
    let out = memql::run([&programs::script("shmsnoop.mq"), "-d", "1", "-n", "nobody has this"]).output();
    assert_eq!(out.trim_end(), HEADING);
}
