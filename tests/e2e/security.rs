//! What a script, a process's name or a file's name must not be able to do to whoever runs memql.

use std::fs;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::need;
use crate::support::{machine, memql, programs, text};

/// A folder of a test's own, removed with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("memql-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("make a folder");
        Folder(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("remove the folder");
    }
}

/// Runs memql on a terminal; what the terminal gets.
fn on_a_terminal(args: &[&str]) -> String {
    let (mut main, mut other) = (0, 0);
    // SAFETY: both descriptors are written to; the name, the settings and the size may be null.
    let opened = unsafe {
        libc::openpty(
            &mut main,
            &mut other,
            std::ptr::null_mut(),
            std::ptr::null_mut::<libc::termios>(),
            std::ptr::null_mut::<libc::winsize>(),
        )
    };
    assert_eq!(opened, 0, "open a terminal");
    // SAFETY: both are new and nobody else's.
    let (main, other) = unsafe { (OwnedFd::from_raw_fd(main), OwnedFd::from_raw_fd(other)) };
    let mut child = Command::new(env!("CARGO_BIN_EXE_memql"))
        .args(args)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(other.try_clone().expect("share the terminal"))
        .stderr(other)
        .spawn()
        .expect("run memql");
    let mut seen = Vec::new();
    // Reading fails (EIO) once nobody has the other end any more.
    let mut from = fs::File::from(main);
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..n]);
    }
    child.wait().expect("wait for memql");
    assert!(from.as_raw_fd() >= 0);
    String::from_utf8(seen).expect("what a terminal gets is UTF-8")
}

/// A program whose name and first argument would turn a terminal red, and are not UTF-8.
const EVIL: &[u8] = b"\x1b[31m\xff\xfeevil";

fn evil_program(folder: &Folder) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let path = folder.0.join(std::ffi::OsStr::from_bytes(EVIL));
    fs::copy("/bin/true", &path).expect("copy a program");
    path
}

#[test]
fn names_with_escape_sequences_do_not_reach_a_terminal() {
    need!(machine::root());
    let folder = Folder::new("evil");
    evil_program(&folder);
    // The shell's own name for it: the command line of -c is UTF-8.
    let command = format!("sh -c 'exec {}/*evil'", folder.0.display());
    let script = r#"tracepoint:sched:sched_process_exec /strcontains(comm, "evil")/ { printf("%s\n", comm); @[comm] = count(); @f[str(args.filename)] = count(); }"#;
    let seen = on_a_terminal(&["-q", "-e", script, "-c", &command]);
    assert!(!seen.contains('\x1b'), "{seen:?}");
    assert!(seen.contains(r"\x1b[31m\xff\xfeevil"), "{seen:?}");
    assert_eq!(seen.matches(r"\x1b[31m\xff\xfeevil").count(), 3, "{seen:?}");
    // Files and pipes get the bytes; JSON is UTF-8 whatever they are.
    let out = Command::new(env!("CARGO_BIN_EXE_memql"))
        .args(["-q", "-f", "json", "-e", script, "-c", &command])
        .output()
        .expect("run memql");
    let json = String::from_utf8(out.stdout).expect("JSON is UTF-8");
    assert!(json.contains("evil") && !json.contains('\x1b'), "{json:?}");
}

#[test]
fn scripts_with_escape_sequences_do_not_reach_a_terminal() {
    need!(machine::root());
    let folder = Folder::new("script");
    let path = folder.file("\x1b[31mred.mq");
    fs::write(&path, "begin { prinf(\"\x1b[31m\"); } // \u{9b}31m").expect("write a script");
    let seen = on_a_terminal(&[path.to_str().expect("it is UTF-8")]);
    assert!(!seen.contains(['\x1b', '\u{9b}']) && seen.contains(r"\x1b[31mred.mq:1:9"), "{seen:?}");
    let seen = on_a_terminal(&["no/such/\x1b[31mfile.mq"]);
    assert!(!seen.contains('\x1b') && seen.contains(r"no/such/\x1b[31mfile.mq"), "{seen:?}");
    let seen =
        on_a_terminal(&["-q", "-e", r#"begin { printf("%s\n", "a\x1b[31mb"); cat("/no/\x1b[31mfile"); }"#]);
    assert!(!seen.contains('\x1b') && seen.matches(r"\x1b[31m").count() == 2, "{seen:?}");
}

#[test]
fn what_acts_on_the_system_needs_the_flag() {
    need!(machine::root());
    let scripts = [
        ("system", r#"begin { system("touch /tmp/x"); }"#),
        ("signal", r#"begin { signal("SIGKILL"); }"#),
        ("signal_thread", r#"begin { signal_thread("SIGKILL"); }"#),
        ("override", "kprobe:vfs_read { override(1); }"),
        ("write_user", "begin { $p = (uint64)8; _ = write_user(uptr($p), (uint8)1, 1); }"),
    ];
    for (name, script) in scripts {
        let ended = memql::run(["--check", "-e", script]);
        assert_eq!(ended.code(), 1, "{script}");
        assert!(
            ended.stderr.contains(&format!("`{name}()` needs `--unsafe`")),
            "{script}:\n{}",
            ended.stderr
        );
    }
    // Every function that is marked so is among them.
    for entry in memql_compiler::check::FAMILIES.iter().flat_map(|family| family.entries) {
        let tried = scripts.iter().any(|(name, _)| *name == entry.name);
        assert_eq!(tried, entry.is_unsafe, "`{}`", entry.name);
    }
}

#[test]
fn a_command_is_not_run_by_a_shell() {
    need!(machine::root());
    let folder = Folder::new("shell");
    let command = format!("printf '%s|' $HOME `id` $(id) * >{0} ; touch {0}", folder.file("made").display());
    let out = memql::run(["-c", &command, "-e", "interval:s:3600 { }"]).output();
    let made = folder.file("made");
    assert_eq!(out.trim_end(), format!("$HOME|`id`|$(id)|*|>{0}|;|touch|{0}|", made.display()));
    assert!(!made.exists());
}

const HELLO: &str = r#"begin { printf("hello\n"); }"#;

fn output_to(path: &Path) -> (i32, String) {
    let path = path.to_str().expect("it is UTF-8");
    let ended = memql::run(["-o", path, "-e", HELLO]);
    (ended.code(), ended.stderr)
}

#[test]
fn files_of_results_are_not_followed_through_links_of_others() {
    need!(machine::root());
    let folder = Folder::new("links");
    let (target, link) = (folder.file("target"), folder.file("link"));
    fs::write(&target, "precious").expect("write a file");
    symlink(&target, &link).expect("make a link");
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o1777)).expect("share the folder");
    let (code, said) = output_to(&link);
    assert_eq!(code, 1);
    assert!(said.contains("symbolic link in a folder that others may write to"), "{said}");
    assert_eq!(fs::read_to_string(&target).expect("read it"), "precious");
    // --emit-elf writes a file as well.
    let ended = memql::run(["--emit-elf", link.to_str().expect("it is UTF-8"), "-e", HELLO]);
    assert_eq!(ended.code(), 1, "{}", ended.stderr);
    assert_eq!(fs::read_to_string(&target).expect("read it"), "precious");
    // A file of one's own is fine there, and a link in a folder of one's own.
    assert_eq!(output_to(&folder.file("own")), (0, String::new()));
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).expect("take the folder back");
    assert_eq!(output_to(&link), (0, String::new()));
    assert_eq!(fs::read_to_string(&target).expect("read it").trim_end(), "hello");
}

#[test]
fn paths_may_have_odd_characters() {
    need!(machine::uprobes());
    let folder = Folder::new("odd");
    let program = folder.file("a program: {x} \"é\" 'y', (z)");
    fs::copy(need!(programs::program("calls")), &program).expect("copy a program");
    let shown = program.display().to_string();
    let script = folder.file("a script; of \"mine\".mq");
    let quoted = shown.replace('"', "\\\"");
    fs::write(&script, format!("uprobe:\"{quoted}\":six_args {{ @[probe] = count(); }}")).expect("write it");
    let results = folder.file("some \"results\"\n2");
    let command = format!("\"{}\" args 3", shown.replace('"', "\\\""));
    let args = [script.to_str(), Some("-o"), results.to_str(), Some("-c"), Some(&command)];
    let ended = memql::run(args.map(|arg| arg.expect("it is UTF-8")));
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert_eq!(ended.stderr, "");
    let out = fs::read_to_string(&results).expect("read the results");
    assert_eq!(text::lines(&out), [format!("@[uprobe:{shown}:six_args]: 3")]);
}
