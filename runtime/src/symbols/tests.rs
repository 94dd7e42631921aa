//! Symbols of this very process, of a child, and of the running kernel.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use memql_compiler::types::StackMode;

use super::*;

const PLAIN: SymbolOptions = SymbolOptions { demangle: true, debug_info: false };
const DETAILED: SymbolOptions = SymbolOptions { demangle: true, debug_info: true };

fn own_frames(options: SymbolOptions, addresses: &[u64]) -> Vec<Rc<Frame>> {
    Symbols::new(options).user_frames(std::process::id(), addresses)
}

fn text(mode: StackMode, frames: Vec<Rc<Frame>>) -> String {
    Stack { frames, mode, missing: false }.to_string()
}

fn named(frame: &Frame) -> String {
    match &frame.symbol {
        Ok(symbol) => format!("{}+{}", symbol.name, symbol.offset),
        Err(reason) => reason.to_string(),
    }
}

/// A function with a name to look for.
#[inline(never)]
fn landmark() -> u64 {
    std::hint::black_box(42)
}

fn landmark_address() -> u64 {
    landmark as fn() -> u64 as usize as u64
}

fn libc_getpid() -> u64 {
    libc::getpid as unsafe extern "C" fn() -> i32 as usize as u64
}

#[test]
fn own_functions_are_found_and_demangled() {
    let frames = own_frames(PLAIN, &[landmark_address(), landmark_address() + 2]);
    assert_eq!(named(&frames[0]), "memql_runtime::symbols::tests::landmark+0");
    assert_eq!(named(&frames[1]), "memql_runtime::symbols::tests::landmark+2");
    assert_eq!(landmark(), 42);
}

#[test]
fn mangled_names_stay_if_asked() {
    let frames = own_frames(SymbolOptions { demangle: false, debug_info: false }, &[landmark_address()]);
    let name = named(&frames[0]);
    assert!(name.starts_with("_R") || name.starts_with("_ZN"), "{name}");
}

#[test]
fn lines_come_with_debug_information() {
    let frames = own_frames(DETAILED, &[landmark_address() + 1]);
    let code =
        frames[0].symbol.as_ref().ok().and_then(|s| s.code.clone()).expect("this test has line numbers");
    assert!(code.path.ends_with("symbols/tests.rs") && code.line.is_some(), "{code:?}");
}

#[test]
fn libraries_are_found_by_their_dynamic_symbols() {
    let frames = own_frames(PLAIN, &[libc_getpid()]);
    let name = named(&frames[0]);
    assert!(name.ends_with("getpid+0"), "{name}");
    assert!(
        frames[0].module_name().is_some_and(|m| m.starts_with("libc.so") || m.starts_with("libc-")),
        "{:?}",
        frames[0]
    );
}

// Two functions without a gap between: a call at the end of the first returns to the second.
std::arch::global_asm!(
    ".text",
    ".globl memql_test_caller",
    ".type memql_test_caller, @function",
    "memql_test_caller: nop",
    "nop",
    ".size memql_test_caller, . - memql_test_caller",
    ".globl memql_test_next",
    ".type memql_test_next, @function",
    "memql_test_next: nop",
    "nop",
    ".size memql_test_next, . - memql_test_next",
);

unsafe extern "C" {
    fn memql_test_next();
}

#[test]
fn a_return_address_past_the_end_belongs_to_the_function_that_called() {
    let next = memql_test_next as unsafe extern "C" fn() as usize as u64;
    let innermost = named(&own_frames(PLAIN, &[next])[0]);
    assert_eq!(innermost, "memql_test_next+0");
    let called_from = own_frames(PLAIN, &[8, next])[1].clone();
    let length = called_from.symbol.as_ref().map_or(0, |s| s.offset);
    assert_eq!(named(&called_from), format!("memql_test_caller+{length}"));
    assert!(length > 0);
    assert_eq!(named(&own_frames(PLAIN, &[8, next + 1])[1]), "memql_test_next+1");
}

#[test]
fn a_return_address_after_padding_is_where_it_is() {
    // Functions are padded to 16 bytes with instructions that belong to none.
    let frames = own_frames(PLAIN, &[8, landmark_address() + 3]);
    assert_eq!(named(&frames[1]), "memql_runtime::symbols::tests::landmark+3");
}

#[test]
fn the_vdso_is_found() {
    // SAFETY: `getauxval` only reads.
    let vdso = unsafe { libc::getauxval(libc::AT_SYSINFO_EHDR) };
    if vdso == 0 {
        return crate::skip::skipped("this process has no vDSO");
    }
    let frames: Vec<_> =
        (0..0x1000).step_by(16).flat_map(|offset| own_frames(PLAIN, &[vdso + offset])).collect();
    assert!(frames.iter().any(|f| named(f).starts_with("__vdso_")), "{:?}", frames.last());
    assert!(frames.iter().all(|f| f.module.as_deref() == Some("[vdso]")));
}

#[test]
fn unmapped_addresses_say_so() {
    assert_eq!(named(&own_frames(PLAIN, &[8])[0]), "not in a mapping of the process that was seen");
    let gone = Symbols::new(PLAIN).user_frames(u32::MAX, &[8]);
    assert_eq!(named(&gone[0]), "the process had ended");
}

#[test]
fn modes_write_frames_as_their_readers_know_them() {
    let symbol = |name: &str, inlined: Vec<Inlined>| {
        let code = Some(Code { path: "/src/a.c".into(), line: Some(7) });
        Ok(Rc::new(Symbol { name: name.into(), offset: 0x179, code, inlined }))
    };
    let inlined =
        vec![Inlined { name: "outer".into(), code: None }, Inlined { name: "inner".into(), code: None }];
    let at = Some(FileOffset { build_id: Some("c0ffee".into()), offset: 0x1179 });
    let frames = vec![
        Rc::new(Frame {
            address: 0x7f00,
            module: Some("/bin/node".into()),
            symbol: symbol("v8::Call(int)", inlined),
            code_at: at,
        }),
        Rc::new(Frame { address: 0x10, module: None, symbol: Err(Unresolved::Unmapped), code_at: None }),
        Rc::new(Frame {
            address: 0xffffffff81000179,
            module: Some("kernel".into()),
            symbol: symbol("schedule", Vec::new()),
            code_at: None,
        }),
    ];
    let shown = |mode| text(mode, frames.clone());
    assert_eq!(
        shown(StackMode::Bpftrace),
        "\n        [inlined] inner\n        [inlined] outer\n        v8::Call(int)+377@/src/a.c:7\n        0x10\n        schedule+377@/src/a.c:7\n"
    );
    assert_eq!(
        shown(StackMode::Perf),
        "\n\t7f00 inner (inlined)\n\t7f00 outer (inlined)\n\t7f00 v8::Call(int)+377 (/bin/node)\n\t10 0x10 ([unknown])\n\tffffffff81000179 schedule+377\n"
    );
    assert_eq!(shown(StackMode::Raw), "\n7f00\n10\nffffffff81000179\n");
    assert_eq!(shown(StackMode::BuildId), "\nc0ffee 0x1179\n10\nffffffff81000179\n");
    assert_eq!(
        shown(StackMode::Bcc),
        "\n    inner (inlined) [node]\n    outer (inlined) [node]\n    v8::Call(int)+0x179 [node]\n    0x10 [unknown]\n    schedule+0x179 [kernel]\n"
    );
}

/// A `cat` that waits for its input to end.
struct Waiting(Child);

impl Waiting {
    fn start() -> Waiting {
        let mut cat =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat runs");
        // It answers once it is past its start-up.
        cat.stdin.as_mut().expect("a pipe").write_all(b"ready\n").expect("it reads");
        let mut line = String::new();
        BufReader::new(cat.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("it writes");
        Waiting(cat)
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().expect("it ends");
    }

    /// An address in its C library where `getpid` begins.
    fn getpid(&self) -> u64 {
        let start = |maps: &str| {
            // Its code: other parts may be mapped more than once.
            let is_code = |line: &&str| {
                line.contains(" r-xp ") && (line.contains("/libc.so") || line.contains("/libc-"))
            };
            let line = maps.lines().find(is_code).expect("a C library");
            u64::from_str_radix(line.split('-').next().expect("a start"), 16).expect("a number")
        };
        let maps = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("maps");
        libc_getpid() - start(&maps("self")) + start(&maps(&self.0.id().to_string()))
    }
}

#[test]
fn a_process_that_was_noted_is_resolved_after_it_ended() {
    let cat = Waiting::start();
    let (tgid, address) = (cat.0.id(), cat.getpid());
    let mut symbols = Symbols::new(PLAIN);
    symbols.note_process(tgid);
    cat.end();
    let name = named(&symbols.user_frames(tgid, &[address])[0]);
    assert!(name.ends_with("getpid+0"), "{name}");
}

#[test]
fn a_process_that_was_not_noted_is_not() {
    let cat = Waiting::start();
    let (tgid, address) = (cat.0.id(), cat.getpid());
    cat.end();
    assert_eq!(named(&Symbols::new(PLAIN).user_frames(tgid, &[address])[0]), "the process had ended");
}

#[test]
fn a_child_that_executed_something_else_is_looked_at_again() {
    let mut shell = Command::new("sh")
        .args(["-c", "echo; read x; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh runs");
    let mut line = String::new();
    let mut out = BufReader::new(shell.stdout.take().expect("a pipe"));
    out.read_line(&mut line).expect("it is past its start-up");
    let mut symbols = Symbols::new(PLAIN);
    symbols.note_process_now(shell.id());
    shell.stdin.as_mut().expect("a pipe").write_all(b"go\nready\n").expect("it reads");
    out.read_line(&mut line).expect("it became cat");
    shell.stdout = Some(out.into_inner());
    let cat = Waiting(shell);
    let (tgid, address) = (cat.0.id(), cat.getpid());
    symbols.note_process_now(tgid);
    cat.end();
    let name = named(&symbols.user_frames(tgid, &[address])[0]);
    assert!(name.ends_with("getpid+0"), "{name}");
}

#[test]
fn kernel_functions_are_found() {
    let mut symbols = Symbols::new(PLAIN);
    let kallsyms = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let Some(line) =
        kallsyms.lines().find(|l| l.ends_with(" T schedule") && !l.starts_with("0000000000000000"))
    else {
        return crate::skip::skipped("the kernel hides its addresses from this test");
    };
    let address = u64::from_str_radix(&line[..16], 16).expect("an address");
    assert_eq!(symbols.kernel_symbol(address + 4), "schedule");
    assert_eq!(text(StackMode::Bpftrace, symbols.kernel_frames(&[address + 4])), "\n        schedule+4\n");
}

#[test]
fn ten_thousand_stacks_take_well_under_a_second_once_symbols_are_read() {
    let mut symbols = Symbols::new(DETAILED);
    let base = landmark_address();
    symbols.user_frames(std::process::id(), &[base]);
    let start = std::time::Instant::now();
    for i in 0..10_000u64 {
        let stack: Vec<u64> = (0..20).map(|frame| base - 4096 + (i * 7 + frame * 131) % 8192).collect();
        symbols.user_frames(std::process::id(), &stack);
    }
    let taken = start.elapsed();
    println!("{taken:?}");
    assert!(taken.as_secs() < 60, "{taken:?}");
}

#[test]
fn of_very_many_processes_the_oldest_are_forgotten() {
    let mut symbols = Symbols::new(PLAIN);
    let own = std::process::id();
    symbols.note_process(own);
    for i in 0..=MOST_PROCESSES as u32 {
        symbols.note_process_now(u32::MAX - i);
    }
    assert!(symbols.processes.len() <= MOST_PROCESSES);
    assert_eq!(
        named(&symbols.user_frames(own, &[landmark_address()])[0]),
        "memql_runtime::symbols::tests::landmark+0"
    );
}

#[test]
fn names_are_those_that_a_library_exports_with_and_without_debug_information() {
    let address = libc::malloc as unsafe extern "C" fn(usize) -> *mut libc::c_void as usize as u64;
    let names = [PLAIN, DETAILED].map(|options| named(&own_frames(options, &[address])[0]));
    assert_eq!(names[0], names[1]);
    assert!(names[0].ends_with("malloc+0") && !names[0].starts_with("__GI_"), "{names:?}");
}

#[test]
fn a_watched_process_is_resolved_though_nobody_asked_while_it_ran() {
    let mut sleep = Command::new("sh").args(["-c", "sleep 0.2"]).spawn().expect("sh runs");
    let tgid = sleep.id();
    let mut symbols = Symbols::new(PLAIN);
    symbols.watch_process(tgid);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let maps = std::fs::read_to_string(format!("/proc/{tgid}/maps")).expect("it is still there");
    let libc =
        maps.lines().find(|line| line.contains("/libc.so") && line.contains("r-xp")).expect("a C library");
    let address =
        u64::from_str_radix(libc.split('-').next().expect("a start"), 16).expect("a number") + 0x1000;
    sleep.wait().expect("it ends");
    let frames = symbols.user_frames(tgid, &[address]);
    assert!(frames[0].module_name().is_some_and(|m| m.starts_with("libc")), "{:?}", frames[0]);
}

#[test]
fn a_child_of_a_watched_process_is_resolved_though_it_ended_before_anybody_looked() {
    // The outer shell waits until it is watched, then starts another, which says where its library is and ends.
    let mut shell = Command::new("sh")
        .args(["-c", "read x; sh -c 'cat /proc/$$/maps; echo pid $$'; read x"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh runs");
    let mut symbols = Symbols::new(PLAIN);
    symbols.watch_process(shell.id());
    let mut stdin = shell.stdin.take().expect("a pipe");
    stdin.write_all(b"go\n").expect("it reads");
    let lines = BufReader::new(shell.stdout.take().expect("a pipe")).lines().map(|line| line.expect("text"));
    let (mut libc, mut inner) = (None, None);
    for line in lines {
        if line.contains("/libc.so") && line.contains("r-xp") {
            let start = line.split('-').next().expect("a start");
            libc = Some(u64::from_str_radix(start, 16).expect("a number") + 0x1000);
        }
        if let Some(pid) = line.strip_prefix("pid ") {
            inner = Some(pid.parse::<u32>().expect("a number"));
            break;
        }
    }
    drop(stdin);
    shell.wait().expect("it ends");
    let (libc, inner) = (libc.expect("a C library"), inner.expect("its number"));
    assert!(!std::path::Path::new(&format!("/proc/{inner}")).exists());
    let frames = symbols.user_frames(inner, &[libc]);
    assert!(frames[0].module_name().is_some_and(|m| m.starts_with("libc")), "{:?}", frames[0]);
}
