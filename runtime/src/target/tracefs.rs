//! tracefs: where it is mounted, or a private instance where it is not. The host's mounts are never
//! changed.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use memql_compiler::target::FactError;

use super::refused;
use crate::remedies::Remedies;

/// An open tracefs.
pub struct Tracefs {
    /// Its root. With a private instance, a path through `/proc/self/fd`.
    root: PathBuf,
    /// Keeps a private instance alive.
    _mount: Option<OwnedFd>,
}

impl Tracefs {
    /// Finds tracefs, or opens an instance of its own.
    ///
    /// # Errors
    /// If it is not mounted and the kernel refuses another instance.
    pub fn open() -> Result<Tracefs, FactError> {
        for root in ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"] {
            match std::fs::metadata(Path::new(root).join("events")) {
                Ok(_) => return Ok(Tracefs { root: root.into(), _mount: None }),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(refused(&format!("cannot read tracefs in `{root}`"), &error));
                }
                // Not mounted here.
                Err(_) => {}
            }
        }
        let mount = private_instance().map_err(|error| {
            let mut fact = refused("tracefs is not mounted and cannot be opened", &error);
            fact.help
                .get_or_insert_with(|| "mount it: `mount -t tracefs tracefs /sys/kernel/tracing`".into());
            fact
        })?;
        let root = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        Ok(Tracefs { root, _mount: Some(mount) })
    }

    /// A file's text, by its path below the root; `None` if there is no such file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<String>, FactError> {
        // Names come from scripts: they stay inside.
        if path.split('/').any(|part| part == "..") {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        match File::open(self.root.join(path)).and_then(|mut file| file.read_to_end(&mut bytes)) {
            Ok(_) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENOENT | libc::ENOTDIR | libc::EINVAL | libc::ENAMETOOLONG)
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(refused(&format!("cannot read `{path}` in tracefs"), &error)),
        }
    }

    /// All tracepoints as `(category, name)`, sorted.
    ///
    /// # Errors
    /// If the list cannot be read.
    pub fn tracepoints(&self) -> Result<Vec<(String, String)>, FactError> {
        let text = self.read("available_events")?.ok_or_else(|| FactError {
            message: "tracefs has no list of tracepoints (`available_events`)".into(),
            help: Remedies::here().locked_down_for_reading(),
        })?;
        let mut all: Vec<(String, String)> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(category, name)| (category.to_owned(), name.to_owned()))
            .collect();
        all.sort();
        Ok(all)
    }
}

/// Makes an instance of tracefs that is mounted nowhere (fsopen(2), Linux 5.2).
fn private_instance() -> io::Result<OwnedFd> {
    // SAFETY: the system calls take a C string and numbers; their results are checked, and a
    // descriptor that is returned is owned by nobody else.
    unsafe {
        let context = syscall_fd(libc::syscall(libc::SYS_fsopen, c"tracefs".as_ptr(), FSOPEN_CLOEXEC))?;
        let nothing = std::ptr::null::<libc::c_char>();
        let made =
            libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, nothing, nothing, 0);
        if made < 0 {
            return Err(io::Error::last_os_error());
        }
        syscall_fd(libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0))
    }
}

/// `FSOPEN_CLOEXEC`, `FSCONFIG_CMD_CREATE`, `FSMOUNT_CLOEXEC` (include/uapi/linux/mount.h)
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;

fn syscall_fd(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned it.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}
