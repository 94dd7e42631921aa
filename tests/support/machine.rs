//! What this machine offers: asked by trying, never by version.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

/// Root, which everything that attaches needs.
pub fn root() -> Result<(), String> {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } == 0 { Ok(()) } else { Err("tracing needs root".into()) }
}

/// Root and a kernel with kprobes.
pub fn kprobes() -> Result<(), String> {
    root()?;
    has_pmu("kprobe")
}

/// Root and a kernel with uprobes.
pub fn uprobes() -> Result<(), String> {
    root()?;
    has_pmu("uprobe")
}

/// Root and a processor that watches memory.
pub fn breakpoints() -> Result<(), String> {
    root()?;
    has_pmu("breakpoint")
}

fn has_pmu(name: &str) -> Result<(), String> {
    if Path::new("/sys/bus/event_source/devices").join(name).exists() {
        Ok(())
    } else {
        Err(format!("this kernel has no {name}s"))
    }
}

/// A memory cgroup of a test's own; removed when dropped.
pub struct MemoryCgroup {
    /// Its folder.
    pub path: PathBuf,
    limit_file: &'static str,
}

impl MemoryCgroup {
    /// Makes the group `name` under the machine's root of memory cgroups.
    pub fn new(name: &str) -> Result<Self, String> {
        root()?;
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let v2 = Path::new("/sys/fs/cgroup");
        let (parent, limit_file) = if v1.join("memory.limit_in_bytes").exists() {
            (v1, "memory.limit_in_bytes")
        } else if fs::read_to_string(v2.join("cgroup.subtree_control")).is_ok_and(|c| c.contains("memory")) {
            (v2, "memory.max")
        } else {
            return Err("there is no memory controller at /sys/fs/cgroup".into());
        };
        let path = parent.join(name);
        fs::create_dir(&path).map_err(|e| format!("cannot make a memory cgroup: {e}"))?;
        Ok(MemoryCgroup { path, limit_file })
    }

    /// Limits its memory.
    pub fn limit(&self, bytes: u64) {
        fs::write(self.path.join(self.limit_file), bytes.to_string())
            .expect("set the limit of a new memory cgroup");
    }

    /// A shell command line that enters the group and becomes `command`.
    pub fn enter(&self, command: &str) -> Vec<String> {
        let line = format!("echo $$ >{}/cgroup.procs && exec {command}", self.path.display());
        vec!["/bin/sh".into(), "-c".into(), line]
    }
}

impl Drop for MemoryCgroup {
    fn drop(&mut self) {
        // The kernel refuses while a killed member is still being reaped.
        for _ in 0..1000 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        eprintln!("could not remove the memory cgroup {}", self.path.display());
    }
}

/// The path of a program in `PATH`.
pub fn program(name: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| {
            let c_path = CString::new(file.as_os_str().as_encoded_bytes()).expect("PATH has no NUL");
            // SAFETY: `c_path` is a NUL-terminated string that outlives the call.
            unsafe { libc::access(c_path.as_ptr(), libc::X_OK) == 0 }
        })
        .ok_or_else(|| format!("there is no `{name}` in PATH"))
}
