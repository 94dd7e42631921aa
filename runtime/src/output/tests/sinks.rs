//! Where output goes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use super::Sink;

/// A folder of a test's own with these permissions, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, mode: u32) -> Folder {
        let path = std::env::temp_dir().join(format!("memql-sink-{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("a new folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its permissions");
        Folder(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn write(path: &std::path::Path) -> std::io::Result<()> {
    let mut sink = Sink::file(path)?;
    sink.buffer().extend_from_slice(b"new");
    sink.flush()
}

#[test]
fn a_file_is_created_or_emptied() {
    let folder = Folder::new("plain", 0o755);
    let path = folder.at("out");
    write(&path).expect("a new file");
    fs::write(&path, "something longer").expect("longer text");
    write(&path).expect("an old file");
    assert_eq!(fs::read(&path).expect("the file"), b"new");
}

#[test]
fn a_link_in_a_shared_folder_is_not_followed() {
    let folder = Folder::new("shared", 0o777);
    let victim = folder.at("victim");
    fs::write(&victim, "precious").expect("a file");
    symlink(&victim, folder.at("link")).expect("a link");
    let error = write(&folder.at("link")).expect_err("a link is refused").to_string();
    assert_eq!(error, "it is a symbolic link in a folder that others may write to");
    assert_eq!(fs::read(&victim).expect("the file"), b"precious");
}

#[test]
fn a_second_name_in_a_shared_folder_is_not_written_to() {
    let folder = Folder::new("names", 0o777);
    let victim = folder.at("victim");
    fs::write(&victim, "precious").expect("a file");
    fs::hard_link(&victim, folder.at("other")).expect("a second name");
    write(&folder.at("other")).expect_err("it is refused");
    assert_eq!(fs::read(&victim).expect("the file"), b"precious");
}

#[test]
fn a_link_in_a_folder_of_ones_own_is_followed() {
    let folder = Folder::new("own", 0o755);
    let target = folder.at("target");
    symlink(&target, folder.at("link")).expect("a link");
    write(&folder.at("link")).expect("it is followed");
    assert_eq!(fs::metadata(&target).expect("the target").size(), 3);
}

#[test]
fn devices_are_written_to() {
    write(std::path::Path::new("/dev/null")).expect("the null device");
}

/// Makes a named pipe.
fn pipe(path: &std::path::Path) {
    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).expect("a path without NUL");
    // SAFETY: the name is a C string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0, "a new pipe");
}

#[test]
fn a_pipe_that_nobody_reads_is_an_error_and_one_that_somebody_reads_is_written_to() {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let folder = Folder::new("pipe", 0o755);
    let path = folder.at("pipe");
    pipe(&path);
    let error = write(&path).expect_err("nobody reads").to_string();
    assert_eq!(error, "nobody reads from it: start the pipe's reader first");
    let reader = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
    let mut reader = reader.expect("a reader");
    write(&path).expect("somebody reads");
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("what was written");
    assert_eq!(text, "new");
}
