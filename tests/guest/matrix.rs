//! What memql does on every kernel of the matrix.

use super::facts::{self, Fact};
use super::guest::{self, Answer, MATRIX, Size};
use super::{drsnoop, features, goldens, oomkill};
use crate::need;

/// How each shipped script is started here; a script without an entry fails the test.
const RUNS: [(&str, &str); 7] = [
    ("drsnoop.mq", "-T -U --order --flags"),
    ("drsnoop.mq", "--memcg -v"),
    ("faults.mq", ""),
    ("faults.mq", "--major 1"),
    ("memleak.mq", ""),
    ("oomkill.mq", ""),
    ("shmsnoop.mq", "-T"),
];

fn yes(what: &str) -> Fact {
    (what.into(), "yes".into())
}

/// Every shipped script loads, attaches and ends without a warning; two of them see known events.
fn scripts(kernel: &str) -> Result<Vec<Fact>, String> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    for entry in std::fs::read_dir(folder).expect("read scripts/") {
        let name = entry.expect("read scripts/").file_name();
        assert!(
            RUNS.iter().any(|(script, _)| *script == name),
            "{name:?} is not in the matrix: add it to RUNS"
        );
    }
    let files = guest::programs(&["leak", "shm", "calls"])?;
    let mut script = String::new();
    for (name, args) in RUNS {
        // memleak of the whole kernel also sees memql's own allocations, which the kernel does not trace
        // while it traces; faults sees stacks of programs without frame pointers. memql warns about these.
        let well = if ["faults.mq", "memleak.mq"].contains(&name) { "[ $code = 0 ]" } else { "false" };
        script.push_str(&format!(
            "traced : /scripts/{name} {args} >/dev/null || {well} || {{ echo 'FAILED {name} {args}'; cat /tmp/out; }}\n"
        ));
    }
    script.push_str(
        "traced shm /scripts/shmsnoop.mq | grep -c SHM
         memql -q /scripts/memleak.mq -c 'leak 10 4096 1000' | grep ' bytes in '",
    );
    let Answer { stdout, stderr, .. } = guest::run(kernel, Size::default(), &script, &files)?;
    let lines: Vec<&str> =
        stdout.lines().filter(|l| !l.is_empty() && *l != "start" && *l != "done").collect();
    assert_eq!(lines, ["11", "  40960 bytes in 10 allocations from stack"], "on {kernel}; stderr:\n{stderr}");
    Ok(vec![
        yes("every shipped script loads, attaches and ends without a warning"),
        yes("`shmsnoop` tells each call"),
        yes("`memleak` of a process tells what it leaks"),
    ])
}

/// The tests of one kernel.
macro_rules! kernel {
    ($name:ident, $kernel:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn probes() {
                facts::found($kernel, facts::PROBES, &need!(features::run($kernel, features::PROBES)));
            }

            #[test]
            fn language() {
                facts::found($kernel, facts::LANGUAGE, &need!(features::run($kernel, features::LANGUAGE)));
            }

            #[test]
            fn scripts() {
                facts::found($kernel, facts::SCRIPTS, &need!(super::scripts($kernel)));
            }

            #[test]
            fn kills_and_reclaim() {
                let kills = need!(oomkill::kills_of_a_whole_system($kernel));
                let mut found = vec![("`oomkill` tells kills as the kernel logs them".into(), kills)];
                need!(drsnoop::reclaim_of_a_whole_system($kernel));
                found.push(yes("`drsnoop` tells reclaim as the kernel counts it"));
                facts::found($kernel, facts::MEMORY, &found);
            }

            /// Its kernel verifier judges the programs of all tests; the machine's own does so in `goldens`.
            #[test]
            fn programs_of_all_tests() {
                need!(goldens::in_a_guest($kernel));
            }
        }
    };
}

kernel!(linux_5_10, MATRIX[0]);
kernel!(linux_6_1, MATRIX[1]);
kernel!(linux_6_12, MATRIX[2]);
kernel!(linux_7_2, MATRIX[3]);
