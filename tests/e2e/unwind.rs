//! `dw_ustack`: whole stacks of programs that are built without frame pointers.

use std::path::Path;
use std::time::Instant;

use crate::need;
use crate::support::{HANGS, machine, memql, programs, text, trigger::Trigger};

/// Three calls of `leaf` in this way, traced by a script in which `LEAF` stands for its probe.
fn traced(program: &Path, how: &str, script: &str) -> memql::Ended {
    let mut trigger = Trigger::start(program, &[how, "3"]);
    let script = script.replace("LEAF", &format!("uprobe:{}:leaf", program.display()));
    let tracing = memql::attached(["-p", &trigger.pid(), "--strict", "-e", &script]);
    trigger.work();
    tracing.stop()
}

const COUNT: &str = "config = { show_debug_info = false } LEAF { @[dw_ustack] = count(); }";

/// The functions of the only stack that was printed, which was counted so often.
#[track_caller]
fn functions(out: &str, count: u64) -> Vec<&str> {
    let lines = text::lines(out);
    assert_eq!(lines.first(), Some(&"@["), "{out}");
    assert_eq!(lines.last(), Some(&&*format!("]: {count}")), "{out}");
    lines[1..lines.len() - 1].iter().map(|line| line.trim().split('+').next().unwrap_or(line)).collect()
}

/// Those of the program itself, which a C library's functions may be among.
fn own<'o>(functions: &[&'o str], names: &[&str]) -> Vec<&'o str> {
    functions.iter().copied().filter(|name| names.contains(name)).collect()
}

const DEEP: [&str; 6] = ["leaf", "recurse", "recurse", "recurse", "deep", "main"];

#[test]
fn a_stack_without_frame_pointers_is_whole_and_frame_pointers_lose_it() {
    need!(machine::uprobes());
    let program = need!(programs::frameless_program("frameless"));
    let out = traced(&program, "deep", COUNT).output();
    let found = functions(&out, 3);
    assert_eq!(found[..6], DEEP, "{out}");
    assert_eq!(found.last(), Some(&"_start"), "{out}");
    let out = traced(&program, "deep", &COUNT.replace("dw_ustack", "ustack")).output();
    assert!(!out.contains("main"), "{out}");
}

#[test]
fn programs_at_fixed_addresses_are_unwound_too() {
    need!(machine::uprobes());
    let program = need!(programs::frameless_fixed_program("frameless"));
    let out = traced(&program, "deep", COUNT).output();
    assert_eq!(functions(&out, 3)[..6], DEEP, "{out}");
}

#[test]
fn programs_with_frame_pointers_are_unwound_too() {
    need!(machine::uprobes());
    let program = need!(programs::program("frameless"));
    let out = traced(&program, "deep", COUNT).output();
    assert_eq!(functions(&out, 3)[..6], DEEP, "{out}");
}

#[test]
fn a_limit_keeps_the_innermost_frames() {
    need!(machine::uprobes());
    let program = need!(programs::frameless_program("frameless"));
    let out = traced(&program, "deep", &COUNT.replace("dw_ustack", "dw_ustack(2)")).output();
    assert_eq!(functions(&out, 3), ["leaf", "recurse"], "{out}");
}

#[test]
fn stacks_go_through_the_c_library_and_its_linkage_table() {
    need!(machine::uprobes());
    let program = need!(programs::frameless_program("frameless"));
    let out = traced(&program, "back", COUNT).output();
    let found = functions(&out, 3);
    assert_eq!(
        own(&found, &["leaf", "compare", "back", "main"]),
        ["leaf", "compare", "back", "main"],
        "{out}"
    );
    assert_eq!(found.last(), Some(&"_start"), "{out}");
}

#[test]
fn stacks_go_through_signals() {
    need!(machine::uprobes());
    let program = need!(programs::frameless_program("frameless"));
    let out = traced(&program, "signal", COUNT).output();
    let found = functions(&out, 3);
    let names = ["leaf", "handler", "signalled", "main", "_start"];
    assert_eq!(own(&found, &names), names, "{out}");
}

#[test]
fn stacks_go_through_functions_that_realign_theirs() {
    need!(machine::uprobes());
    let program = need!(programs::frameless_program("frameless"));
    let out = traced(&program, "aligned", COUNT).output();
    assert_eq!(functions(&out, 3)[..3], ["leaf", "aligned", "main"], "{out}");
}

#[test]
fn stacks_go_through_calls_that_return_probes_wait_for() {
    need!(machine::uprobes());
    let program = need!(programs::frameless_program("frameless"));
    let (leaf, path) = ("leaf", program.display());
    let returns = format!(
        "uretprobe:{path}:deep, uretprobe:{path}:recurse {{ @returns++; }} uretprobe:{path}:{leaf} {{ @inner[dw_ustack(3)] = count(); }}"
    );
    let out = traced(&program, "deep", &format!("{COUNT} {returns}")).output();
    let (whole, rest) = out.split_once("@inner[").expect("two stacks");
    assert_eq!(functions(whole, 3)[..6], DEEP, "{out}");
    assert!(rest.contains("recurse") && rest.ends_with("@returns: 12\n"), "{out}");
}

#[test]
fn a_thread_s_stack_ends_where_it_began() {
    need!(machine::uprobes());
    let program = need!(programs::frameless_program("frameless"));
    let out = traced(&program, "thread", COUNT).output();
    assert_eq!(functions(&out, 3)[..2], ["leaf", "thread"], "{out}");
}

#[test]
fn a_function_without_call_frame_information_cuts_the_stack_and_that_is_counted() {
    need!(machine::uprobes());
    let program = need!(programs::frameless_program("frameless"));
    let ended = traced(&program, "dark", COUNT);
    assert_eq!(functions(&ended.stdout, 3), ["leaf", "dark"], "{}", ended.stdout);
    assert_eq!(ended.code(), 3, "--strict");
    let said =
        "warning: 3 stacks end where unwind tables do not tell how to go on; the outer frames are missing\n";
    assert!(ended.stderr.starts_with(said), "{}", ended.stderr);
}

#[test]
fn stacks_of_other_probes_begin_where_the_process_entered_the_kernel() {
    need!(machine::root());
    let program = need!(programs::frameless_program("frameless"));
    // `done` is said by a write.
    let script = "config = { show_debug_info = false } tracepoint:syscalls:sys_enter_write { @[dw_ustack] = count(); }";
    let out = traced(&program, "deep", script).output();
    let found = functions(&out, 1);
    assert_eq!(own(&found, &["main", "_start"]), ["main", "_start"], "{out}");
    assert!(found.len() > 3, "{out}");
}

#[test]
fn a_command_s_libraries_have_tables_when_it_begins() {
    need!(machine::uprobes());
    let leak = need!(programs::frameless_program("leak"));
    let script = r#"config = { show_debug_info = false } uprobe:libc:malloc /arg0 == 100/ { @[dw_ustack] = count(); }"#;
    let command = format!("{} 7 100 0", leak.display());
    let out = memql::run(["--strict", "-e", script, "-c", &command]).output();
    let stack = &out[out.find("@[").expect("a stack")..];
    let found = functions(stack, 7);
    assert!(found.contains(&"main") && found.last() == Some(&"_start"), "{out}");
}

#[test]
fn a_command_that_ends_before_it_begins_ends_the_run() {
    need!(machine::root());
    let ended = memql::run([
        "-e",
        "tracepoint:syscalls:sys_enter_write { @[dw_ustack] = count(); }",
        "-c",
        "env LD_PRELOAD=/nonexistent/library.so /bin/true",
    ]);
    assert!(ended.status.success(), "{}", ended.stderr);
}

#[test]
fn stacks_of_processes_that_are_not_named_are_counted() {
    need!(machine::uprobes());
    let program = own_copy("named", &need!(programs::frameless_program("frameless")));
    let named = Trigger::start(&program, &["deep", "3"]);
    let mut other = Trigger::start(&program, &["deep", "3"]);
    let script = COUNT.replace("LEAF", &format!("uprobe:{}:leaf", program.display()));
    let tracing = memql::attached(["--dwarf-pid", &named.pid(), "-e", &script]);
    other.work();
    let ended = tracing.stop();
    std::fs::remove_file(program).expect("remove the copy");
    assert_eq!(functions(&ended.stdout, 3), Vec::<&str>::new(), "{}", ended.stdout);
    let said = "warning: 3 stacks were asked of a process whose unwind tables memql has not read (name it with `-p` or `--dwarf-pid`)\n";
    assert_eq!(ended.stderr, said);
}

#[test]
fn without_a_process_there_is_nothing_to_read() {
    need!(machine::root());
    let ended = memql::run(["-e", "tracepoint:syscalls:sys_enter_write { @[dw_ustack] = count(); }"]);
    assert_eq!(ended.code(), 1);
    assert!(
        ended.stderr.contains("`dw_ustack` needs to know whose unwind tables to read"),
        "{}",
        ended.stderr
    );
}

/// Traces processes that are not filtered, and tells when memql has seen what they have done.
struct Watching {
    tracing: memql::Running,
    out: std::path::PathBuf,
}

impl Watching {
    fn start(name: &str, pid: &str, program: &Path) -> Watching {
        let out = std::env::temp_dir().join(format!("memql-{name}-{}", std::process::id()));
        let script = COUNT.replace("LEAF", &format!("uprobe:{}:leaf", program.display()));
        let script = format!(r#"{script} self:signal:SIGUSR1 {{ printf("seen\n"); }}"#);
        let file = out.display().to_string();
        let tracing = memql::attached(["--strict", "--dwarf-pid", pid, "-o", &file, "-e", &script]);
        Watching { tracing, out }
    }

    /// Waits until memql has handled everything that happened before.
    fn catch_up(&self) {
        self.tracing.signal(libc::SIGUSR1);
        let deadline = Instant::now() + HANGS;
        while !std::fs::read_to_string(&self.out).is_ok_and(|text| text.contains("seen")) {
            assert!(Instant::now() < deadline, "memql does not answer its signal");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    fn stop(self) -> String {
        self.tracing.stop().output();
        let out = std::fs::read_to_string(&self.out).expect("read the results");
        std::fs::remove_file(self.out).expect("remove the results");
        out.replace("seen\n", "")
    }
}

/// A copy of a program that no other test runs: its probes are hit by this test's processes alone.
fn own_copy(name: &str, program: &Path) -> std::path::PathBuf {
    let copy = std::env::temp_dir().join(format!("memql-{name}-program-{}", std::process::id()));
    std::fs::copy(program, &copy).expect("copy the program");
    copy
}

#[test]
fn libraries_that_are_loaded_on_the_way_get_tables() {
    need!(machine::uprobes());
    let (program, library) =
        (need!(programs::frameless_program("frameless")), need!(programs::frameless_library("plugin")));
    let program = own_copy("plugin", &program);
    let mut trigger = Trigger::start(&program, &["plugin", "3", &library.display().to_string()]);
    let watching = Watching::start("plugin", &trigger.pid(), &program);
    trigger.go();
    trigger.stands_at("loaded");
    watching.catch_up();
    trigger.work();
    let out = watching.stop();
    std::fs::remove_file(program).expect("remove the copy");
    assert_eq!(functions(&out, 3)[..4], ["leaf", "called", "plugin_work", "main"], "{out}");
}

#[test]
fn children_of_a_process_have_its_tables() {
    need!(machine::uprobes());
    let program = need!(programs::frameless_program("frameless"));
    let program = own_copy("fork", &program);
    let mut trigger = Trigger::start(&program, &["fork", "1"]);
    let watching = Watching::start("fork", &trigger.pid(), &program);
    trigger.go();
    trigger.stands_at("forked");
    watching.catch_up();
    trigger.work();
    let out = watching.stop();
    std::fs::remove_file(program).expect("remove the copy");
    assert_eq!(functions(&out, 1)[..6], DEEP, "{out}");
}
