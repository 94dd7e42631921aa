//! scripts/oomkill.mq by kprobe, on real out-of-memory kills of a whole system: what it says is what
//! the kernel's own log says.
//!
//! The kernel sends SIGKILL first, then comes `oom:mark_victim`, then it reads the victim's counters once more for its
//! log. A victim that another CPU wakes in between begins to exit and brings its pages to account
//! (`sync_mm_rss`, up to 6.1 a thread keeps the pages of its last 64 faults to itself), or gives them back: two right
//! answers that differ. So the kills are compared in a guest with one CPU whose kernel is not preempted: there nothing
//! runs between the two readings, and they must be equal to the last page.
//!
//! The newest kernels keep resident pages by CPU. There the tracepoint takes what has been added up so far, and the log
//! adds up anew: what is told may lack the pages that a CPU has not handed on yet.

use super::guest::{self, DEBIAN_12, MATRIX, Size};
use crate::need;

/// A figure of the kernel's line `... anon-rss:12kB, ...`.
fn logged(line: &str, name: &str) -> String {
    let (_, rest) = line.split_once(&format!("{name}:")).unwrap_or_else(|| panic!("no {name} in: {line}"));
    rest.chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect()
}

/// Pages of a kind that a CPU adds up by itself before it hands them on (`percpu_counter_batch`, lib/percpu_counter.c), in kB.
const BATCH_KB: i64 = 32 * 4;

/// Two kills, told as the kernel logs them, or how nearly.
pub fn kills_of_a_whole_system(kernel: &str) -> Result<String, String> {
    let unsettled_kb = if kernel == MATRIX[3] { BATCH_KB } else { 0 };
    let files = guest::programs(&["eat", "hold"])?;
    // The first victim is not the one who asks for memory: it has the highest oom_score_adj.
    let script = "
        traced '
          mkfifo /tmp/held
          (echo 1000 >/proc/self/oom_score_adj; exec hold 60 3600) >/tmp/held & echo hold $!
          read -r held </tmp/held
          eat 2000 & echo eat $!; wait $!; echo status $?
        ' /scripts/oomkill.mq || exit 1
        awk '/MemTotal/ { print \"ram\", $2 / 4 }' /proc/meminfo
        dmesg | grep 'Out of memory: Killed process'
        dmesg | grep -o '[a-z]* invoked oom-killer'";
    let out =
        guest::run(kernel, Size { memory_mb: 256, cores: 1, ..Size::default() }, script, &files)?.output();
    let word_after = |name: &str| {
        let line = out.lines().find_map(|l| l.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in:\n{out}")).to_string()
    };
    let (hold, eat, ram) = (word_after("hold"), word_after("eat"), word_after("ram"));
    assert_eq!(word_after("status"), "137", "eat was killed:\n{out}");

    let lines: Vec<&str> = out.lines().collect();
    let told: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].contains(" OOM kill of PID ")).collect();
    let log: Vec<&str> = lines.iter().copied().filter(|l| l.contains("Killed process")).collect();
    assert_eq!((told.len(), log.len()), (2, 2), "{out}");
    for ((&i, log), (victim, name)) in told.iter().zip(log).zip([(&hold, "hold"), (&eat, "eat")]) {
        let (what, load) = lines[i].split_once(", loadavg: ").unwrap_or_else(|| panic!("{}", lines[i]));
        assert_eq!(
            &what[8..],
            format!(" Triggered by PID {eat} (\"eat\"), OOM kill of PID {victim} (\"{name}\"), {ram} pages")
        );
        assert_eq!(load.split(' ').count(), 5, "{load}");
        assert!(log.contains(&format!("Killed process {victim} ({name})")), "{log}");
        let figures = lines[i + 1].trim().strip_suffix("; system out of memory");
        let figures = figures.and_then(|line| line.strip_prefix("victim: ")).expect(lines[i + 1]);
        let names = ["anon-rss", "file-rss", "shmem-rss", "total-vm", "pgtables", "oom_score_adj", "UID"];
        assert_eq!(figures.split(", ").count(), names.len(), "{figures}");
        for (figure, name) in figures.split(", ").zip(names) {
            let told = figure.trim_end_matches(" kB").rsplit(' ').next().unwrap_or_default();
            let (told, logged): (i64, i64) = match (told.parse(), logged(log, name).parse()) {
                (Ok(told), Ok(logged)) => (told, logged),
                _ => panic!("`{figure}` and {name} of `{log}` are no numbers"),
            };
            let lacking = if name.ends_with("-rss") { unsettled_kb } else { 0 };
            assert!((0..=lacking).contains(&(logged - told)), "{figure}, but {name} is {logged} in: {log}");
        }
    }
    Ok(if unsettled_kb == 0 { "yes".into() } else { format!("yes, to {unsettled_kb} kB for each CPU") })
}

#[test]
fn a_kill_by_a_cgroups_limit_names_the_group_and_its_limit() {
    let files = need!(guest::programs(&["eat"]));
    let script = "
        echo +memory >/sys/fs/cgroup/cgroup.subtree_control
        mkdir -p /sys/fs/cgroup/shop && echo +memory >/sys/fs/cgroup/shop/cgroup.subtree_control
        mkdir /sys/fs/cgroup/shop/till && echo 16M >/sys/fs/cgroup/shop/till/memory.max
        traced 'echo $$ >/sys/fs/cgroup/shop/till/cgroup.procs; eat 48; echo status $?' /scripts/oomkill.mq";
    let out = need!(guest::run(DEBIAN_12, Size::default(), script, &files)).output();
    assert!(out.contains("status 137\n"), "{out}");
    assert_eq!(out.matches("OOM kill of PID").count(), 1, "{out}");
    assert!(out.contains(r#"("eat"), 4096 pages, loadavg: "#), "{out}");
    assert!(out.lines().any(|l| l.ends_with("; limit of memory cgroup shop/till")), "{out}");
}
