//! Files that scripts import, read from the disk.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use memql_compiler::import::{Imported, Reader};
use memql_compiler::target::FactError;

/// Reads imported files. Paths are relative to the folder of the script that imports; for a program of `-e` and
/// one from standard input, to the current folder.
pub struct FromDisk;

impl Reader for FromDisk {
    fn read(&self, importing: &str, path: &str) -> Result<Vec<Imported>, FactError> {
        let folder = match importing {
            "-e" | "-" => Path::new(""),
            file => Path::new(file).parent().unwrap_or(Path::new("")),
        };
        let named = folder.join(path);
        let kind = fs::metadata(&named).map_err(|error| unreadable(&named, &error))?;
        if !kind.is_dir() {
            refuse_writable(named.parent().unwrap_or(Path::new("")))?;
            return Ok(vec![file(&named)?]);
        }
        refuse_writable(&named)?;
        let entries = fs::read_dir(&named).map_err(|error| unreadable(&named, &error))?;
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(|error| unreadable(&named, &error))?.path());
        }
        paths.sort();
        let ends_with = |path: &PathBuf, endings: &[&str]| {
            endings.iter().any(|ending| path.extension().is_some_and(|e| e == *ending))
        };
        if let Some(c) = paths.iter().find(|path| ends_with(path, &["c", "h"])) {
            let message = format!("`{}` is C, which memql does not compile", c.display());
            return Err(FactError {
                message,
                help: Some("import the scripts of the folder one by one".into()),
            });
        }
        paths.iter().filter(|path| ends_with(path, &["bt", "mq"])).map(|path| file(path)).collect()
    }
}

/// What tells a file from all others, however it is named.
pub fn identity(path: &Path) -> String {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

fn file(path: &Path) -> Result<Imported, FactError> {
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
    let name = path.to_string_lossy().into_owned();
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Imported { identity: identity(path), name, text }),
        Err(_) => Err(FactError { message: format!("`{name}` is not UTF-8 text"), help: None }),
    }
}

/// What anybody may put a file into is no place to take programs from that run as root.
fn refuse_writable(folder: &Path) -> Result<(), FactError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mode = fs::metadata(folder).map_err(|error| unreadable(folder, &error))?.permissions().mode();
    if mode & 0o002 == 0 {
        return Ok(());
    }
    Err(FactError {
        message: format!("anybody may write into `{}`: nothing is imported from there", folder.display()),
        help: Some(format!("move the script elsewhere, or `chmod o-w {}`", folder.display())),
    })
}

fn unreadable(path: &Path, error: &io::Error) -> FactError {
    FactError { message: format!("cannot read `{}`: {error}", path.display()), help: None }
}
