//! scripts/oomkill.mq on a real kill: a memory cgroup made by the test reaches its limit.

use crate::need;
use crate::support::{machine, memql, programs, text};
use std::process::Command;

#[test]
fn a_kill_in_a_memory_cgroup_is_told_with_its_cause() {
    need!(machine::root());
    let name = format!("memql-test-{}", std::process::id());
    let eat = need!(programs::program("eat"));
    let group = need!(machine::MemoryCgroup::new(&name));
    group.limit(64 << 20);
    let tracing = memql::attached([programs::script("oomkill.mq")]);
    let line = group.enter(&format!("{} 256", eat.display()));
    let eater = Command::new(&line[0]).args(&line[1..]).spawn().expect("start the eater");
    let pid = eater.id().to_string();
    let killed = eater.wait_with_output().expect("wait for the eater").status;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed), Some(libc::SIGKILL), "{killed}");
    let out = tracing.stop().output();

    // Other processes of this machine may be killed at the same time: only the eater's lines count.
    let lines: Vec<&str> = out.lines().collect();
    let mine: Vec<usize> =
        (0..lines.len()).filter(|&i| lines[i].contains(&format!("OOM kill of PID {pid} "))).collect();
    assert_eq!(mine.len(), 1, "one kill of the eater in:\n{out}");
    let (first, second) = (text::hide_times(lines[mine[0]]), lines[mine[0] + 1]);
    let (what, load) = first.split_once("loadavg: ").unwrap_or_else(|| panic!("{first}"));
    let pages = (64 << 20) / 4096;
    assert_eq!(
        what,
        format!(
            "HH:MM:SS Triggered by PID {pid} (\"eat\"), OOM kill of PID {pid} (\"eat\"), {pages} pages, "
        )
    );
    assert_eq!(load.split(' ').count(), 5, "{load}");

    let figures = figures(second);
    let anon = figures["anon"];
    assert!((32 << 10..=64 << 10).contains(&anon), "most of the 64 MB were the eater's: {second}");
    assert_eq!(figures["shmem"], 0, "{second}");
    assert!(figures["total-vm"] >= 256 << 10, "{second}");
    // 256 MB that are half touched need at least a page of page table for each 2 MB
    assert!((64..=2048).contains(&figures["page tables"]), "{second}");
    assert!(second.contains("oom_score_adj 0, uid 0; limit of memory cgroup "), "{second}");
    assert!(second.ends_with(&format!("/{name}")), "{second}");
}

/// The figures in kB of a victim's line, by their names.
fn figures(line: &str) -> std::collections::HashMap<&str, u64> {
    let list = line.trim().strip_prefix("victim: ").unwrap_or_else(|| panic!("{line}"));
    let figure = |part: &'_ str| -> Option<(usize, u64)> {
        let (name, number) = part.strip_suffix(" kB")?.rsplit_once(' ')?;
        Some((name.len(), number.parse().ok()?))
    };
    list.split(", ").filter_map(|part| figure(part).map(|(len, n)| (&part[..len], n))).collect()
}
