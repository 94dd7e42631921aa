//! The tools of Debian's bpftrace package, unchanged, on this machine: all compile, those whose probes this kernel has run, and
//! bpftrace beside memql prints the same.

use std::path::Path;
use std::process::Command;

use crate::need;
use crate::support::programs::program;
use crate::support::tools::{self, HARNESS, Ran, TOOLS, Tool};
use crate::support::{machine, memql};

/// Whether all that is wrong is that this machine has no such function, program, library or symbol.
fn only_lacks_points(stderr: &str) -> bool {
    let mut errors = stderr.lines().filter(|line| line.starts_with("error")).peekable();
    errors.peek().is_some()
        && errors.all(|line| ["error[E0203]", "error[E0611]"].iter().any(|code| line.starts_with(code)))
}

#[test]
fn every_tool_of_the_package_compiles_unchanged() {
    need!(machine::root());
    let folder = need!(tools::package()).join("bpftrace/tools");
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("list the tools") {
        let path = entry.expect("list the tools").path();
        names.push(path.file_stem().expect("a tool has a name").to_string_lossy().into_owned());
        let check = memql::run(["--check".as_ref(), path.as_os_str()]);
        assert!(
            check.code() == 0 || only_lacks_points(&check.stderr),
            "{}:\n{}",
            path.display(),
            check.stderr
        );
    }
    names.sort();
    let mut known: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
    known.sort_unstable();
    assert_eq!(names, known, "the package's tools and the table of tests/support/tools.rs");
}

/// Runs these tools under memql and bpftrace at the same time.
fn both(tools: &[&Tool], package: &Path) -> Result<Vec<Ran>, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools");
    let at = folder.join("at");
    std::fs::create_dir_all(&at).expect("make a folder for outputs");
    let disk = folder.join("disk");
    std::fs::write(&disk, vec![b'm'; 1 << 20]).expect("write a file to read");
    let synced = std::fs::File::open(&disk).and_then(|file| file.sync_all());
    synced.expect("put the file onto the disk");
    let mut path = program("provoke")?.parent().expect("a program lies in a folder").as_os_str().to_owned();
    for more in [
        Path::new(env!("CARGO_BIN_EXE_memql")).parent().map(|p| p.as_os_str().to_owned()),
        std::env::var_os("PATH"),
    ] {
        path.push(":");
        path.push(more.expect("a program lies in a folder, and PATH is set"));
    }
    let mut script = HARNESS.to_owned();
    tools.iter().for_each(|tool| script.push_str(&tool.run("bpftrace memql")));
    let out = Command::new("sh")
        .args(["-c", &script])
        .env("PATH", path)
        .env("at", &at)
        .env("tools", package.join("bpftrace/tools"))
        .env("bpftrace", package.join("bpftrace/bpftrace"))
        .env("disk", &disk)
        .env("file", folder.join("file"))
        .output()
        .expect("run a shell");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(tools::ran(&String::from_utf8_lossy(&out.stdout)))
}

/// How often a tool is run at most. The kernel leaves out what happens on a CPU that is running a tracer's program already, be it
/// the other tracer's: memql then says so, bpftrace does not, and the two cannot be compared.
const ROUNDS: usize = 3;

#[test]
fn tools_see_their_load_and_print_what_bpftrace_prints() {
    need!(machine::root());
    need!(machine::program("busybox"));
    let package = need!(tools::package());
    let mut left: Vec<&Tool> = TOOLS.iter().filter(|tool| tool.is_harmless()).collect();
    let (mut wrong, mut same) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        wrong.clear();
        let ran = need!(both(&left, &package));
        left.retain(|tool| {
            let of = |tracer| {
                ran.iter().find(|ran| ran.tool == tool.name && ran.tracer == tracer).expect("it was run")
            };
            let judged = tool.judge(of("memql"), false).and_then(|answer| match answer.as_str() {
                "yes" => tool.compare(of("memql"), of("bpftrace")).map(|()| same += 1),
                why => {
                    eprintln!("{}: {why}", tool.name);
                    Ok(())
                }
            });
            judged.map_err(|what| wrong.push(what)).is_err()
        });
        if left.is_empty() {
            break;
        }
    }
    assert!(wrong.is_empty(), "{} are the same, {} are wrong:\n{}", same, wrong.len(), wrong.join("\n\n"));
    assert!(same >= 20, "only {same} tools have run here");
}
