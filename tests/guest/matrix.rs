//! Every shipped script loads, attaches and ends well on every kernel of the matrix.

use super::guest::{self, MATRIX, Size};
use crate::support::skip::skipped;

/// How each shipped script is started here; a script without an entry fails the test.
///
/// memleak of the whole kernel also sees memql's own allocations, which the kernel does not trace
/// while it traces; memql warns about these. The other scripts must not warn.
const RUNS: [(&str, &str); 5] = [
    ("drsnoop.mq", "-T -U --order --flags"),
    ("drsnoop.mq", "--memcg -v"),
    ("memleak.mq", ""),
    ("oomkill.mq", ""),
    ("shmsnoop.mq", "-T"),
];

fn loads_on(kernel: &str) {
    let scripts = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    for entry in std::fs::read_dir(scripts).expect("read scripts/") {
        let name = entry.expect("read scripts/").file_name();
        assert!(
            RUNS.iter().any(|(script, _)| *script == name),
            "{name:?} is not in the matrix: add it to RUNS"
        );
    }
    let files = match guest::programs(&["leak", "shm", "calls"]) {
        Ok(files) => files,
        Err(reason) => return skipped(&reason),
    };
    let mut script = String::new();
    for (name, args) in RUNS {
        let well = if name == "memleak.mq" { "[ $code = 0 ]" } else { "false" };
        script.push_str(&format!(
            "traced : /scripts/{name} {args} >/dev/null || {well} || {{ echo 'FAILED {name} {args}'; cat /tmp/out; }}\n"
        ));
    }
    // and beyond loading: events arrive on each kernel
    script.push_str(
        "traced 'calls getppid 25' -e 'tracepoint:syscalls:sys_enter_getppid /comm == \"calls\"/ { @traced = count(); }'
         traced 'calls umask 25' -e 'kprobe:__x64_sys_umask /comm == \"calls\"/ { @kprobed = count(); }'
         traced 'calls umask 25' -e 'fentry:__x64_sys_umask /comm == \"calls\"/ { @fentered = count(); }'
         traced 'leak 7 100 10' -e 'uprobe:libc:malloc /comm == \"leak\" && arg0 == 100/ { @uprobed = count(); }'
         traced shm /scripts/shmsnoop.mq | grep -c SHM
         memql -q /scripts/memleak.mq -c 'leak 10 4096 1000' | grep ' bytes in '",
    );
    let answer = match guest::run(kernel, Size::default(), &script, &files) {
        Ok(answer) => answer,
        Err(reason) => return skipped(&reason),
    };
    let lines: Vec<&str> =
        answer.stdout.lines().filter(|l| !l.is_empty() && *l != "start" && *l != "done").collect();
    assert_eq!(
        lines,
        [
            "@traced: 25",
            "@kprobed: 25",
            "@fentered: 25",
            "@uprobed: 7",
            "11",
            "  40960 bytes in 10 allocations from stack"
        ],
        "on {kernel}; stderr:\n{}",
        answer.stderr
    );
}

#[test]
fn scripts_load_on_the_oldest_kernel() {
    loads_on(MATRIX[0]);
}

#[test]
fn scripts_load_on_debian_12() {
    loads_on(MATRIX[1]);
}

#[test]
fn scripts_load_on_debian_13() {
    loads_on(MATRIX[2]);
}

#[test]
fn scripts_load_on_the_newest_kernel() {
    loads_on(MATRIX[3]);
}
