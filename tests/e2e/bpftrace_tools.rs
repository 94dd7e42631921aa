//! The tools of bpftrace 0.27 (`/usr/sbin/*.bt` of its Debian package; `BPFTRACE_TOOLS` names the folder), unchanged: all compile, and those whose probes this
//! kernel has run.

use std::path::PathBuf;

use crate::need;
use crate::support::{machine, memql, skip};

/// The package's tools, sorted; why there are none.
fn tools() -> Result<Vec<PathBuf>, String> {
    let folder = std::env::var_os("BPFTRACE_TOOLS")
        .map(PathBuf::from)
        .ok_or("BPFTRACE_TOOLS names no folder of them")?;
    let entries = std::fs::read_dir(&folder).map_err(|e| format!("cannot list {}: {e}", folder.display()))?;
    let mut tools: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "bt"))
        .collect();
    tools.sort();
    if tools.is_empty() {
        return Err(format!("there are no .bt files in {} (package bpftrace)", folder.display()));
    }
    Ok(tools)
}

/// Whether all that is wrong is that this machine has no such function, program or library.
fn only_lacks_points(stderr: &str) -> bool {
    let mut errors = stderr.lines().filter(|line| line.starts_with("error")).peekable();
    errors.peek().is_some() && errors.all(|line| line.starts_with("error[E0203]"))
}

#[test]
fn every_tool_of_the_package_compiles_unchanged_and_those_whose_probes_are_here_attach() {
    need!(machine::root());
    let tools = match tools() {
        Ok(tools) => tools,
        Err(why) => return skip::skipped(&why),
    };
    let (mut attached, mut wrong) = (0, Vec::new());
    for tool in &tools {
        let check = memql::run(["--check".as_ref(), tool.as_os_str()]);
        if check.code() != 0 && !only_lacks_points(&check.stderr) {
            wrong.push(format!("{} does not compile:\n{}", tool.display(), check.stderr));
        }
        if check.code() != 0 || check.stderr.contains("not on this kernel") {
            continue;
        }
        let dry_run = memql::run(["--dry-run".as_ref(), tool.as_os_str()]);
        match dry_run.code() {
            0 => attached += 1,
            _ => wrong.push(format!("{} does not attach:\n{}", tool.display(), dry_run.stderr)),
        }
    }
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), tools.len(), wrong.join("\n"));
    assert!(attached > 0, "none of the {} tools can attach here", tools.len());
}
