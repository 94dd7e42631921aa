//! scripts/drsnoop.mq on real direct reclaim: its lines add up to what the kernel counted.

use super::guest::{self, DEBIAN_12, Size};
use crate::need;

/// Lines and pages are those of /proc/vmstat.
pub fn reclaim_of_a_whole_system(kernel: &str) -> Result<(), String> {
    // One CPU: a line of several `printf()` is several events, and those of two CPUs may mix.
    let files = guest::programs(&["eat"])?;
    let script = "
        stalls=$(vmstat allocstall_) pages=$(vmstat pgsteal_direct)
        traced 'eat $(( $(free -m | awk \"/Mem/ {print \\$4}\") + 40 )) >/dev/null' /scripts/drsnoop.mq || exit 1
        echo allocstall $(( $(vmstat allocstall_) - stalls )); echo pgsteal_direct $(( $(vmstat pgsteal_direct) - pages ))";
    let out = guest::run(kernel, Size { memory_mb: 256, swap_mb: 256, cores: 1 }, script, &files)?.output();
    let counted = |name: &str| -> u64 {
        let line = out.lines().find_map(|l| l.strip_prefix(&format!("{name} ")));
        line.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no {name} in:\n{out}"))
    };
    let rows: Vec<Vec<&str>> = out
        .lines()
        .skip_while(|l| *l != "COMM           PID     LAT(ms) PAGES")
        .skip(1)
        .take_while(|l| !l.starts_with("allocstall"))
        // Two newlines end a run.
        .filter(|l| !l.is_empty())
        .map(|l| l.split_whitespace().collect())
        .collect();
    assert!(rows.len() >= 10, "there was reclaim:\n{out}");
    assert!(rows.iter().all(|row| row.len() == 4), "{out}");
    assert_eq!(rows.len() as u64, counted("allocstall"), "a line for each stall:\n{out}");
    let pages: u64 = rows.iter().map(|row| row[3].parse::<u64>().unwrap_or_else(|_| panic!("{row:?}"))).sum();
    // The kernel counts slab pages that reclaim freed for a thread in nr_reclaimed, not in pgsteal_direct: a few, as there
    // is hardly any slab to give back.
    let stolen = counted("pgsteal_direct");
    assert!(pages >= stolen && pages - stolen <= stolen / 10, "{pages} pages told, {stolen} stolen:\n{out}");
    Ok(())
}

#[test]
fn reclaim_by_a_cgroups_limit_is_told_with_memcg() {
    let files = need!(guest::programs(&["eat"]));
    let script = "
        echo +memory >/sys/fs/cgroup/cgroup.subtree_control
        mkdir /sys/fs/cgroup/small && echo 16M >/sys/fs/cgroup/small/memory.max
        traced 'echo $$ >/sys/fs/cgroup/small/cgroup.procs; eat 48 >/dev/null' /scripts/drsnoop.mq --memcg -n eat || exit 1
        awk '/^pgsteal_(direct|anon)/ { print }' /sys/fs/cgroup/small/memory.stat";
    let out = need!(guest::run(
        DEBIAN_12,
        Size { memory_mb: 512, swap_mb: 256, ..Size::default() },
        script,
        &files
    ))
    .output();
    let rows: Vec<Vec<&str>> =
        out.lines().filter(|l| l.starts_with("eat ")).map(|l| l.split_whitespace().collect()).collect();
    let pages: u64 = rows.iter().map(|row| row[3].parse::<u64>().unwrap_or_else(|_| panic!("{row:?}"))).sum();
    // 48 MB went through 16 MB
    assert!(rows.len() >= 50 && pages >= 8000, "{} lines, {pages} pages:\n{out}", rows.len());
}
