//! Programs and libraries by the names that scripts give them.
//!
//! A name with a slash is a path, with wildcards if it has any. A name without one is a program in
//! `PATH` or a library: `libc` is the C library, whichever file that is. For a process (`-p`, `-c`) files
//! are those that it sees, and libraries those that it has mapped.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use memql_compiler::providers::glob;
use memql_compiler::target::{FactError, UserFile};

use super::{archive, refused};

/// Folders where libraries are on any system; `/etc/ld.so.conf` adds to them.
const LIBRARY_FOLDERS: [&str; 6] =
    ["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib", "/usr/local/lib64"];

/// Finds the files of a name.
///
/// # Errors
/// If a folder or the process's list of files cannot be read.
pub fn find(name: &str, pid: Option<u32>) -> Result<Vec<UserFile>, FactError> {
    let view = View::of(pid);
    if name.contains('/') {
        return Ok(view.expand(name)?.iter().map(|path| view.file(path)).collect());
    }
    let mapped = view.mapped(name)?;
    if !mapped.is_empty() {
        return Ok(mapped);
    }
    if is_library("libc.so", name)
        && let Some(program) = view.static_program()
    {
        return Ok(vec![program]);
    }
    let found = view.program(name).or_else(|| view.library(name));
    Ok(found.iter().map(|path| view.file(path)).collect())
}

/// All files of code that the process has mapped; without a process, that any has, each once.
///
/// # Errors
/// If the process's list of files, or the list of processes, cannot be read.
pub fn mapped(pid: Option<u32>) -> Result<Vec<UserFile>, FactError> {
    if pid.is_some() {
        return View::of(pid).mapped("*");
    }
    let processes = std::fs::read_dir("/proc").map_err(|e| refused("cannot read `/proc`", &e))?;
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    // A process that ends meanwhile has nothing mapped.
    for file in pids.flat_map(|pid| View::of(Some(pid)).mapped("*").unwrap_or_default()) {
        if std::fs::metadata(&file.path).is_ok_and(|m| seen.insert((m.dev(), m.ino()))) {
            found.push(file);
        }
    }
    found.sort_by(|a, b| a.shown_path.cmp(&b.shown_path));
    Ok(found)
}

/// How the traced process sees files.
struct View {
    pid: Option<u32>,
    /// The process's root folder, where it is not memql's own.
    root: Option<PathBuf>,
}

impl View {
    fn of(pid: Option<u32>) -> View {
        // Paths without the process's number in them are shorter and outlive it.
        let other = pid.filter(|pid| !same_root(*pid));
        View { pid, root: other.map(|pid| Path::new("/proc").join(pid.to_string()).join("root")) }
    }

    /// Where memql finds a file of the process.
    fn open_path(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(root) if path.is_absolute() => inside(root, path),
            Some(_) | None => path.to_owned(),
        }
    }

    fn file(&self, path: &Path) -> UserFile {
        UserFile { path: text(&self.open_path(path)), shown_path: text(path) }
    }

    fn exists(&self, path: &Path) -> bool {
        let path = self.open_path(path);
        path.is_file() || archive::open(&text(&path)).is_ok()
    }

    /// Paths that match a pattern.
    fn expand(&self, pattern: &str) -> Result<Vec<PathBuf>, FactError> {
        if !glob::is_pattern(pattern) {
            let path = PathBuf::from(pattern);
            return Ok(if self.exists(&path) { vec![path] } else { Vec::new() });
        }
        let mut found = vec![PathBuf::from(if pattern.starts_with('/') { "/" } else { "." })];
        for part in pattern.split('/').filter(|p| !p.is_empty() && *p != ".") {
            let mut next = Vec::new();
            for folder in &found {
                if !glob::is_pattern(part) {
                    next.push(folder.join(part));
                    continue;
                }
                let entries = match std::fs::read_dir(self.open_path(folder)) {
                    Ok(entries) => entries,
                    Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                        continue;
                    }
                    Err(e) => {
                        return Err(refused(&format!("cannot read the folder `{}`", folder.display()), &e));
                    }
                };
                for entry in entries.flatten() {
                    let name = entry.file_name();
                    if glob::matches(part, &name.to_string_lossy()) {
                        next.push(folder.join(name));
                    }
                }
            }
            found = next;
        }
        // Of several names of one file the plainest counts: each function is probed once. What is not a
        // program (linker scripts, archives) has no functions.
        found.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
        let mut seen = BTreeSet::new();
        found.retain(|path| {
            let path = self.open_path(path);
            is_elf(&path) && std::fs::metadata(&path).is_ok_and(|m| seen.insert((m.dev(), m.ino())))
        });
        found.sort();
        Ok(found)
    }

    /// Files of code that the process has mapped and that the name means. A file that was deleted or
    /// replaced meanwhile is opened as the process has it.
    fn mapped(&self, name: &str) -> Result<Vec<UserFile>, FactError> {
        let Some(pid) = self.pid else { return Ok(Vec::new()) };
        let list = format!("/proc/{pid}/maps");
        let maps =
            std::fs::read_to_string(&list).map_err(|e| refused(&format!("cannot read `{list}`"), &e))?;
        let mut found = BTreeMap::new();
        for mapping in maps.lines().filter_map(Mapping::parse).filter(|m| m.code) {
            let file = mapping.path.rsplit('/').next().unwrap_or(mapping.path);
            if file == name || is_library(file, name) || (glob::is_pattern(name) && glob::matches(name, file))
            {
                let known =
                    UserFile { path: self.open_mapped(pid, &mapping), shown_path: mapping.path.to_owned() };
                found.entry(mapping.path).or_insert(known);
            }
        }
        Ok(found.into_values().collect())
    }

    /// Where memql finds the very file that is mapped. The kernel writes a path as the reader of the list
    /// would reach it, if the reader can; else as the process does. A file that was replaced or deleted
    /// has only the mapping left.
    fn open_mapped(&self, pid: u32, mapping: &Mapping<'_>) -> String {
        let path = Path::new(mapping.path);
        let same = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|m| m.ino() == mapping.inode);
        match [self.open_path(path), path.to_owned()].iter().find(|path| same(path)) {
            Some(path) => text(path),
            None => format!("/proc/{pid}/map_files/{}", mapping.range),
        }
    }

    /// The process's own program if no loader starts it, so that its C library is a part of it.
    fn static_program(&self) -> Option<UserFile> {
        let link = format!("/proc/{}/exe", self.pid?);
        let path = std::fs::read_link(&link).ok()?;
        (!super::elf::has_loader(&link)?).then(|| self.file(&path))
    }

    /// A program in `PATH`.
    fn program(&self, name: &str) -> Option<PathBuf> {
        if name.starts_with("lib") && name.contains(".so") {
            return None;
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| self.exists(candidate))
    }

    /// A library of the system: by the loader's cache of memql's own system, else in the usual folders.
    fn library(&self, name: &str) -> Option<PathBuf> {
        if let Some(path) = self.cached(name) {
            return Some(path);
        }
        let mut folders: Vec<PathBuf> = LIBRARY_FOLDERS.iter().map(PathBuf::from).collect();
        for base in ["/lib", "/usr/lib"] {
            folders.push(Path::new(base).join(format!("{}-linux-gnu", std::env::consts::ARCH)));
        }
        let mut found = Vec::new();
        for folder in folders {
            for entry in std::fs::read_dir(self.open_path(&folder)).into_iter().flatten().flatten() {
                let file = entry.file_name();
                if is_library(&file.to_string_lossy(), name) {
                    found.push(folder.join(file));
                }
            }
        }
        // `libc.so.6` before `libc.so.6.1`, and files that the loader would open before linker scripts.
        found.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
        found.into_iter().find(|path| is_elf(&self.open_path(path)))
    }

    /// A library by `/etc/ld.so.cache` (the format is glibc's: a header, entries of flags and two string offsets).
    fn cached(&self, name: &str) -> Option<PathBuf> {
        const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
        let bytes = std::fs::read(self.open_path(Path::new("/etc/ld.so.cache"))).ok()?;
        let at = bytes.windows(MAGIC.len()).position(|window| window == MAGIC)?;
        let cache = &bytes[at..];
        let word = |offset: usize| Some(u32::from_ne_bytes(cache.get(offset..offset + 4)?.try_into().ok()?));
        let text = |offset: u32| {
            let rest = cache.get(offset as usize..)?;
            let end = rest.iter().position(|b| *b == 0)?;
            std::str::from_utf8(&rest[..end]).ok()
        };
        let count = word(20)? as usize;
        // A header of 48 bytes, then entries of 24: flags, key, value, and hardware words.
        let entries = (0..count).map_while(|n| {
            let entry = 48 + n * 24;
            Some((text(word(entry + 4)?)?, text(word(entry + 8)?)?))
        });
        let mut found: Vec<PathBuf> =
            entries.filter(|(key, _)| is_library(key, name)).map(|(_, path)| path.into()).collect();
        found.retain(|path| is_elf(&self.open_path(path)) && same_class(&self.open_path(path)));
        found.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
        found.into_iter().next()
    }
}

/// A line of `/proc/PID/maps` that names a file.
struct Mapping<'a> {
    /// `START-END` in hexadecimal.
    range: &'a str,
    code: bool,
    inode: u64,
    path: &'a str,
}

impl Mapping<'_> {
    fn parse(line: &str) -> Option<Mapping<'_>> {
        let path = &line[line.find('/')?..];
        let mut words = line.split(' ');
        let (range, rights) = (words.next()?, words.next()?);
        let inode = words.nth(2)?.parse().ok()?;
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        Some(Mapping { range, code: rights.contains('x'), inode, path })
    }
}

/// Whether a process's root and mounts are memql's own.
fn same_root(pid: u32) -> bool {
    let id = |path: &str| std::fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
    let mounts = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    let pid = pid.to_string();
    mounts(&pid) == mounts("self") && id(&format!("/proc/{pid}/root")) == id("/proc/self/root")
}

/// A path of another root folder, its symbolic links followed as they are meant there: the kernel
/// would follow absolute ones from memql's own root.
fn inside(root: &Path, path: &Path) -> PathBuf {
    /// `MAXSYMLINKS` (include/linux/namei.h)
    const MAX_LINKS: u32 = 40;
    let mut links = 0;
    let mut left: Vec<OsString> = path.iter().rev().map(OsString::from).collect();
    let mut found = PathBuf::new();
    while let Some(part) = left.pop() {
        match part.to_str() {
            Some("/") => found = PathBuf::new(),
            Some(".") => {}
            Some("..") => drop(found.pop()),
            Some(_) | None => {
                found.push(&part);
                if links < MAX_LINKS
                    && let Ok(target) = std::fs::read_link(root.join(&found))
                {
                    links += 1;
                    found.pop();
                    left.extend(target.iter().rev().map(OsString::from));
                }
            }
        }
    }
    root.join(found)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Whether a file's name is that of a library: `libc` means `libc.so.6`, `libc-2.31.so`, `libc.so`, and
/// musl's `libc.musl-x86_64.so.1`; a name with a version means that version.
fn is_library(file: &str, name: &str) -> bool {
    if file == name {
        return file.contains(".so");
    }
    let stem = name.strip_suffix(".so").unwrap_or(name);
    let stem = if stem.starts_with("lib") { stem.to_owned() } else { format!("lib{stem}") };
    let Some(rest) = file.strip_prefix(&stem) else { return false };
    let versioned = |rest: &str| rest == ".so" || rest.starts_with(".so.");
    let numbered = rest.strip_prefix('-').is_some_and(|r| {
        r.starts_with(|c: char| c.is_ascii_digit())
            && r.split(".so").next().is_some_and(|v| v.chars().all(|c| c.is_ascii_digit() || c == '.'))
            && r.contains(".so")
    });
    let musl = stem == "libc" && rest.strip_prefix(".musl-").is_some_and(|r| r.contains(".so"));
    versioned(rest) || numbered || musl || (stem == "libc" && file.starts_with("ld-musl-"))
}

fn is_elf(path: &Path) -> bool {
    let mut magic = [0; 4];
    std::fs::File::open(path).and_then(|mut f| io::Read::read_exact(&mut f, &mut magic)).is_ok()
        && magic == *b"\x7fELF"
}

/// Whether an ELF file is of memql's own word size: systems for two list libraries of both.
fn same_class(path: &Path) -> bool {
    let mut ident = [0; 5];
    let read = std::fs::File::open(path).and_then(|mut f| io::Read::read_exact(&mut f, &mut ident));
    read.is_ok() && ident[4] == if cfg!(target_pointer_width = "64") { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_known_by_its_short_name() {
        for file in ["libc.so.6", "libc.so", "libc-2.31.so", "libc.musl-x86_64.so.1"] {
            assert!(is_library(file, "libc"), "{file}");
        }
        for file in ["libcrypt.so.1", "libc++.so.1", "libc-client.so.2", "libc_malloc_debug.so.0", "libc.a"] {
            assert!(!is_library(file, "libc"), "{file}");
        }
        assert!(is_library("libssl.so.3", "libssl.so.3"));
        assert!(!is_library("libssl.so.3", "libssl.so.1"));
    }

    #[test]
    fn lines_of_maps_tell_code_inode_and_path() {
        let line = "7f00-7f10 r-xp 00001000 fe:00 123                        /usr/lib/libc.so.6 (deleted)";
        let m = Mapping::parse(line).expect("it names a file");
        assert_eq!((m.range, m.code, m.inode, m.path), ("7f00-7f10", true, 123, "/usr/lib/libc.so.6"));
        assert!(Mapping::parse("7f00-7f10 rw-p 00000000 00:00 0 ").is_none());
        assert!(!Mapping::parse("7f00-7f10 r--p 00000000 fe:00 1 /a b").expect("it names a file").code);
    }

    #[test]
    fn links_of_another_root_are_followed_there() {
        let root = std::env::temp_dir().join(format!("memql-root-{}", std::process::id()));
        std::fs::create_dir_all(root.join("usr/lib")).expect("the temporary folder can be written");
        std::fs::create_dir_all(root.join("etc")).expect("the temporary folder can be written");
        std::fs::write(root.join("usr/lib/real"), "").expect("the temporary folder can be written");
        let link = |target: &str, at: &str| {
            std::os::unix::fs::symlink(target, root.join(at)).expect("the temporary folder can be written");
        };
        link("/usr/lib", "lib");
        link("/etc/choice", "usr/lib/absolute");
        link("../usr/lib/real", "etc/choice");
        link("loop", "etc/loop");
        let real = root.join("usr/lib/real");
        assert_eq!(inside(&root, Path::new("/lib/absolute")), real);
        assert_eq!(inside(&root, Path::new("/../../lib/./real")), real);
        inside(&root, Path::new("/etc/loop"));
        std::fs::remove_dir_all(&root).expect("it was made above");
    }

    #[test]
    fn a_wildcard_takes_every_file_of_code_that_the_process_has_mapped() {
        let found = find("*", Some(std::process::id())).expect("own maps can be read");
        assert!(found.len() >= 3, "the program, the C library, the loader: {found:?}");
        assert!(found.iter().all(|file| is_elf(Path::new(&file.path))), "{found:?}");
    }

    #[test]
    fn a_wildcard_takes_a_file_of_several_names_once_and_no_other_files() {
        let folder = std::env::temp_dir().join(format!("memql-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        std::fs::copy("/proc/self/exe", folder.join("libx.so.1.2")).expect("a program can be copied");
        for link in ["libx.so", "libx.so.1"] {
            let made = std::os::unix::fs::symlink("libx.so.1.2", folder.join(link));
            made.expect("the temporary folder can be written");
        }
        std::fs::write(folder.join("libx.so.txt"), "GROUP ( )").expect("the temporary folder can be written");
        let found = find(&format!("{}/libx*", folder.display()), None).expect("the folder can be read");
        std::fs::remove_dir_all(&folder).expect("it was made above");
        let shown: Vec<&str> = found.iter().map(|file| file.shown_path.as_str()).collect();
        assert_eq!(shown, [format!("{}/libx.so", folder.display())]);
    }

    #[test]
    fn programs_and_libraries_are_found_without_a_process() {
        for name in ["libc", "sh", "/bin/s[h]"] {
            let found = find(name, None).expect("folders can be read");
            assert!(found.iter().any(|file| is_elf(Path::new(&file.path))), "{name}: {found:?}");
        }
        assert_eq!(find("libnosuchlibrary", None), Ok(Vec::new()));
        assert_eq!(find("/no/such/*", None), Ok(Vec::new()));
    }

    #[test]
    fn the_c_library_of_this_process_is_found_in_its_maps() {
        let found = find("libc", Some(std::process::id())).expect("own maps can be read");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(is_elf(Path::new(&found[0].path)));
    }
}
