//! scripts/drsnoop.mq on real reclaim: a memory cgroup made by the test, whose files fill it up.
//! Direct reclaim of the whole system is tested in guests, where nobody else is hurt.

use crate::need;
use crate::support::{machine, memql, programs};
use std::process::Command;

#[test]
fn reclaim_by_a_cgroups_limit_is_told_one_line_each() {
    need!(machine::root());
    let name = format!("memql-reclaim-{}", std::process::id());
    let group = need!(machine::MemoryCgroup::new(&name));
    group.limit(16 << 20);
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
    // What is counted independently: pairs of begin and end, and the pages of the end events.
    let count = r#"tracepoint:vmscan:mm_vmscan_memcg_reclaim_begin /comm == "dd"/ { @begins++; }
        tracepoint:vmscan:mm_vmscan_memcg_reclaim_end /comm == "dd"/ { @pages += args.nr_reclaimed; }"#;
    let counting = memql::attached(["-e", count]);
    let tracing = memql::attached([&programs::script("drsnoop.mq"), "--memcg", "--order", "-n", "dd"]);
    let line = group.enter(&format!("dd if=/dev/zero of={} bs=1M count=64 status=none", file.display()));
    let status = Command::new(&line[0]).args(&line[1..]).status().expect("run dd");
    assert!(status.success(), "{status}");
    let (out, counted) = (tracing.stop().output(), counting.stop().output());
    std::fs::remove_file(&file).expect("remove the test's file");

    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("COMM           PID     LAT(ms) PAGES ORDER"));
    let rows: Vec<Vec<&str>> = lines.map(|l| l.split_whitespace().collect()).collect();
    if rows.is_empty() {
        return crate::support::skip::skipped("files of the test's folder are not charged to memory cgroups");
    }
    for row in &rows {
        assert_eq!((row.len(), row[0]), (5, "dd"), "{row:?}");
        let latency: f64 = row[2].parse().unwrap_or_else(|_| panic!("{row:?}"));
        assert!(latency >= 0.0, "{row:?}");
    }
    let pages: u64 = rows.iter().map(|row| row[3].parse::<u64>().unwrap_or_else(|_| panic!("{row:?}"))).sum();
    let value = |name: &str| -> u64 {
        let line = counted.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_else(|| panic!("{counted}"));
        line.parse().unwrap_or_else(|_| panic!("{counted}"))
    };
    assert_eq!((rows.len() as u64, pages), (value("@begins: "), value("@pages: ")));
}

#[test]
fn columns_appear_as_asked_for() {
    need!(machine::root());
    let heading = |args: &[&str]| {
        let script = programs::script("drsnoop.mq");
        let tracing = memql::attached([script.as_str(), "-n", "nobody has this"].iter().chain(args));
        tracing.stop().output().trim_end().to_string()
    };
    assert_eq!(heading(&[]), "COMM           PID     LAT(ms) PAGES");
    assert_eq!(heading(&["-T", "-U"]), "       TIME(s) UID    COMM           PID     LAT(ms) PAGES");
    assert_eq!(
        heading(&["-t", "1", "--order", "--flags"]),
        "COMM           TID     LAT(ms) PAGES ORDER FLAGS"
    );
}
