//! Types of kernel modules, one file each beside the kernel's (Linux 5.11).

use std::io;
use std::path::Path;

use memql_compiler::btf::Btf;
use memql_compiler::target::FactError;

use super::refused;

const FOLDER: &str = "/sys/kernel/btf";

/// The modules that have types of their own, sorted; none where the kernel tells of none.
///
/// # Errors
/// If the folder cannot be read.
pub fn list() -> Result<Vec<String>, FactError> {
    let failed = |error: io::Error| refused(&format!("cannot list `{FOLDER}`"), &error);
    let entries = match std::fs::read_dir(FOLDER) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut modules = Vec::new();
    for entry in entries {
        // The kernel's own names are ASCII.
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if name != "vmlinux" {
            modules.push(name);
        }
    }
    modules.sort();
    Ok(modules)
}

/// A module's types, on top of the kernel's.
///
/// # Errors
/// If they cannot be read.
pub fn read(module: &str, kernel: &Btf) -> Result<Option<Btf>, FactError> {
    // A name from a script must not lead anywhere else.
    if module == "vmlinux" || module.contains('/') || module.starts_with('.') {
        return Ok(None);
    }
    let path = Path::new(FOLDER).join(module);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let what = format!("cannot read the types of module `{module}` from `{}`", path.display());
            return Err(refused(&what, &error));
        }
    };
    Btf::parse_split(bytes, kernel).map(Some).map_err(|error| FactError {
        message: format!("cannot understand the types of module `{module}` in `{}`: {error}", path.display()),
        help: Some("please report it with the output of `memql --info`".into()),
    })
}
