//! One command in a fresh guest with memql, the shipped scripts and the trigger programs in it.

use crate::support::{HANGS, machine, programs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The kernel of the tests that need one real kernel and no particular one.
pub const DEBIAN_12: &str = "6.1-cloud";

/// Every kernel that memql is tested on: the oldest it supports, the long-term ones between, the newest.
pub const MATRIX: [&str; 4] = ["5.10-cloud", "6.1-cloud", "6.12-cloud", "7.2-cloud"];

/// Shell functions for the guest's side.
///
/// `traced TRIGGER MEMQL-ARGS...` runs memql, waits until everything is attached, runs the trigger,
/// ends memql and prints what it wrote; without a trigger, memql ends by itself. It fails if memql fails or warns.
const FUNCTIONS: &str = r#"
traced() {
  trigger=$1; shift
  rm -f /tmp/ready /tmp/out /tmp/err; mkfifo /tmp/ready
  memql -q --ready-fd 3 "$@" 3>/tmp/ready >/tmp/out 2>/tmp/err & memql=$!
  if [ "$(head -c1 /tmp/ready | wc -c)" = 1 ]; then
    [ -z "$trigger" ] || { memql=$memql sh -c "$trigger"; kill -TERM $memql; }
  fi
  wait $memql; code=$?
  cat /tmp/out; cat /tmp/err >&2
  [ $code = 0 ] && [ ! -s /tmp/err ]
}
vmstat() { awk -v k="$1" '$1 ~ "^" k { n += $2 } END { print n }' /proc/vmstat; }
"#;

/// A guest's size.
#[derive(Clone, Copy)]
pub struct Size {
    /// Memory in MB.
    pub memory_mb: u32,
    /// Swap in MB; 0 for none.
    pub swap_mb: u32,
    /// CPUs. With one, a thread in the kernel runs until it waits: the kernel is started without preemption.
    pub cores: u32,
}

impl Default for Size {
    fn default() -> Self {
        Size { memory_mb: 512, swap_mb: 0, cores: 2 }
    }
}

/// What a guest's command wrote and how it ended.
#[derive(Debug)]
pub struct Answer {
    /// Its stdout.
    pub stdout: String,
    /// Its stderr, and the kernel's last words if the guest died.
    pub stderr: String,
    /// Its exit code.
    pub code: i32,
}

impl Answer {
    /// Its stdout, if it ended well.
    pub fn output(self) -> String {
        assert_eq!(
            self.code, 0,
            "the guest's command failed.\nstderr:\n{}\nstdout:\n{}",
            self.stderr, self.stdout
        );
        self.stdout
    }
}

/// Runs a shell script in a guest; an error says why this machine cannot.
pub fn run(kernel: &str, size: Size, script: &str, files: &[PathBuf]) -> Result<Answer, String> {
    for needed in ["qemu-system-x86_64", "busybox", "cpio", "xz"] {
        machine::program(needed)?;
    }
    let vm = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm");
    fetch(&vm, kernel)?;
    let mut command = Command::new(vm.join("run"));
    command.args([kernel, &format!("{FUNCTIONS}\n{script}")]);
    command.args(["--mem", &size.memory_mb.to_string(), "--smp", &size.cores.to_string()]);
    command.args(["--timeout", &HANGS.as_secs().to_string()]);
    if size.cores == 1 {
        command.args(["--append", "preempt=none"]);
    }
    if size.swap_mb > 0 {
        command.args(["--swap", &size.swap_mb.to_string()]);
    }
    command.arg("--add").arg(small_memql()?).args(files);
    command.arg(format!("{}/scripts:/scripts", env!("CARGO_MANIFEST_DIR")));
    let out = command.output().expect("run tests/vm/run");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Answer { stdout: text(out.stdout), stderr: text(out.stderr), code: out.status.code().unwrap_or(-1) })
}

/// Makes sure that the kernel is here: one fetch at a time, and none where apt has no mirror.
fn fetch(vm: &Path, kernel: &str) -> Result<(), String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|broken| broken.into_inner());
    let out = Command::new(vm.join("fetch")).arg(kernel).output().expect("run tests/vm/fetch");
    if out.status.success() {
        return Ok(());
    }
    Err(format!("the kernel {kernel} cannot be fetched: {}", String::from_utf8_lossy(&out.stderr).trim()))
}

/// The built memql without its debug information, which would fill a small guest.
fn small_memql() -> Result<PathBuf, String> {
    stripped(Path::new(env!("CARGO_BIN_EXE_memql")), "memql")
}

/// A copy of a built program without its debug information, under this name.
pub fn stripped(built: &Path, name: &str) -> Result<PathBuf, String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|broken| broken.into_inner());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stripped");
    let small = folder.join(name);
    let modified = |file: &Path| std::fs::metadata(file).and_then(|m| m.modified()).ok();
    if modified(&small) > modified(built) {
        return Ok(small);
    }
    std::fs::create_dir_all(&folder).expect("make a folder for stripped programs");
    let strip = machine::program("strip")?;
    let status = Command::new(strip).arg("-o").arg(&small).arg(built).status().expect("run strip");
    assert!(status.success(), "strip: {status}");
    Ok(small)
}

/// The trigger programs of these names, for the `files` of [`run`].
pub fn programs(names: &[&str]) -> Result<Vec<PathBuf>, String> {
    names.iter().map(|name| programs::program(name)).collect()
}
