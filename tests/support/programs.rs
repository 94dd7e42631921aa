//! The trigger programs of `tests/programs`: compiled once a test run, with frame pointers and
//! without inlining, so that their stacks are what their source says.

use super::machine;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Path of the compiled program `name`; an error says why there is none on this machine.
pub fn program(name: &str) -> Result<PathBuf, String> {
    compile(name, "programs", &[])
}

/// A library of that source.
pub fn library(name: &str) -> Result<PathBuf, String> {
    compile(name, "libraries", &["-shared", "-fPIC"])
}

/// The same library with its functions elsewhere in the file.
pub fn padded_library(name: &str) -> Result<PathBuf, String> {
    compile(name, "padded", &["-shared", "-fPIC", "-DPADDED"])
}

/// A program that is loaded where its file says.
pub fn fixed_program(name: &str) -> Result<PathBuf, String> {
    compile(name, "fixed", &["-no-pie"])
}

/// The same, with everything it needs inside.
pub fn static_program(name: &str) -> Result<PathBuf, String> {
    compile(name, "static", &["-static"])
}

const FRAMELESS: [&str; 2] = ["-O2", "-fomit-frame-pointer"];

/// Path of the compiled program `name`, optimised and without frame pointers, as programs are shipped.
pub fn frameless_program(name: &str) -> Result<PathBuf, String> {
    compile(name, "frameless", &FRAMELESS)
}

/// The same where its code is at the addresses that the file says.
pub fn frameless_fixed_program(name: &str) -> Result<PathBuf, String> {
    compile(name, "fixed", &[&FRAMELESS[..], &["-no-pie"]].concat())
}

/// A library of that source, without frame pointers.
pub fn frameless_library(name: &str) -> Result<PathBuf, String> {
    compile(name, "frameless-libraries", &[&FRAMELESS[..], &["-shared", "-fPIC"]].concat())
}

fn compile(name: &str, kind: &str, more_flags: &[&str]) -> Result<PathBuf, String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|broken| broken.into_inner());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    let (compiler, source) = match folder.join(format!("{name}.cc")) {
        cpp if cpp.exists() => (machine::program("g++")?, cpp),
        _ => (machine::program("gcc")?, folder.join(format!("{name}.c"))),
    };
    let out_folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(kind);
    std::fs::create_dir_all(&out_folder).expect("make the folder of compiled programs");
    let out = out_folder.join(name);
    let newest_source = [source.clone(), folder.join("step.h")].iter().filter_map(|f| modified(f)).max();
    if modified(&out) > newest_source {
        return Ok(out);
    }
    // Another test binary may be doing the same: each writes a file of its own and renames it.
    let partial = out_folder.join(format!("{name}.{}", std::process::id()));
    let compiled = Command::new(compiler)
        .args(["-O1", "-g", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-pthread"])
        .args(more_flags)
        .arg("-o")
        .args([&partial, &source])
        .output()
        .expect("run the compiler");
    assert!(
        compiled.status.success(),
        "cannot compile {name}:\n{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    std::fs::rename(&partial, &out).expect("put the compiled program in place");
    Ok(out)
}

fn modified(file: &Path) -> Option<std::time::SystemTime> {
    std::fs::metadata(file).and_then(|m| m.modified()).ok()
}

/// The shipped script `name`.
pub fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name).display().to_string()
}
