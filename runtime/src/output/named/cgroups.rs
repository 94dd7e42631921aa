//! Paths of cgroups by id. A cgroup's id is the inode number of its folder, in each hierarchy of its own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use memql_compiler::providers::glob;

/// A mounted hierarchy.
struct Hierarchy {
    /// `unified` for cgroup2, else the name of the folder that it is mounted on.
    name: String,
    root: PathBuf,
}

/// The paths that an id has, `NAME:PATH` with commas between, in the hierarchies whose name fits the
/// pattern (all, if it is empty); empty if there is none.
pub(super) fn paths(id: u64, pattern: &str) -> String {
    let fits = |h: &Hierarchy| pattern.is_empty() || glob::matches(pattern, &h.name);
    let found = hierarchies().into_iter().filter(fits).filter_map(|hierarchy| {
        let path = find(&hierarchy.root, id)?;
        let inside = path.strip_prefix(&hierarchy.root).ok()?;
        Some(format!("{}:/{}", hierarchy.name, inside.display()))
    });
    found.collect::<Vec<_>>().join(",")
}

/// The hierarchies, the unified one first, the others by name; each where it is mounted first.
fn hierarchies() -> Vec<Hierarchy> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(_), Some(at), Some(kind)) = (words.next(), words.next(), words.next()) else { continue };
        let root = PathBuf::from(at);
        let name = match kind {
            "cgroup2" => "unified".to_owned(),
            "cgroup" => root.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            _ => continue,
        };
        if found.iter().all(|h| h.name != name) {
            found.push(Hierarchy { name, root });
        }
    }
    found.sort_by(|a, b| (a.name != "unified", &a.name).cmp(&(b.name != "unified", &b.name)));
    found
}

/// The folder with this inode number, the top first.
fn find(folder: &Path, id: u64) -> Option<PathBuf> {
    let meta = fs::symlink_metadata(folder).ok()?;
    if meta.ino() == id {
        return Some(folder.to_owned());
    }
    let entries = fs::read_dir(folder).ok()?;
    // A cgroup that goes away meanwhile is not the one that is looked for.
    let folders = entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    folders.map(|e| e.path()).find_map(|path| find(&path, id))
}
