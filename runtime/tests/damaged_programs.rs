//! Programs are input, too: one that is cut off anywhere, or has bytes that nobody wrote, gives answers or
//! errors to everything that is asked of it, in bounded time and memory.
//!
//! `MEMQL_INPUTS` says how many are made, `MEMQL_SEED` (in hexadecimal) from which seed.

#[path = "../../tests/support/skip.rs"]
mod skip;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use memql_compiler::arch::registers;
use memql_compiler::target::{Arch, Target, UserFile};
use memql_runtime::target::Running;

/// What all questions about one file may take.
const MOST_TIME: Duration = Duration::from_secs(20);
/// Memory that this process may have. What is asked for beyond it ends the process.
const MOST_MEMORY_BYTES: u64 = 6 << 30;

/// A program with functions, types, lines and a static probe.
const PROGRAM: &str = r#"
struct item { int state : 3; struct item *next; char name[16]; enum kind { SMALL, LARGE } kind; union { int i; float f; } u; };
static inline int twice(int n) { return n * 2; }
__attribute__((noinline)) int work(struct item *item, unsigned n) {
    for (unsigned i = 0; i < n; i++) { item->state += twice(i); item = item->next ? item->next : item; }
    __asm__ volatile(
        "990: nop\n"
        ".pushsection .note.stapsdt,\"\",\"note\"\n.balign 4\n.4byte 992f-991f,994f-993f,3\n"
        "991: .asciz \"stapsdt\"\n992: .balign 4\n"
        "993: .8byte 990b,0,0\n.asciz \"odd\"\n.asciz \"hit\"\n.asciz \"-4@%%eax 8@-16(%%rbp) 8@$5\"\n994: .balign 4\n"
        ".popsection\n" ::: "memory");
    return item->state;
}
int main(int argc, char **argv) { struct item item = {0}; (void)argv; return work(&item, argc); }
"#;

/// A generator of random numbers (splitmix64): the same seed, the same choices, everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }
}

/// Builds the program; its bytes.
fn program(folder: &Path) -> Option<Vec<u8>> {
    let (source, built) = (folder.join("odd.c"), folder.join("odd"));
    fs::write(&source, PROGRAM).expect("a temporary file can be written");
    let status = Command::new("cc").args(["-g", "-O1", "-o"]).args([&built, &source]).status().ok()?;
    status.success().then(|| fs::read(&built).expect("what was built can be read"))
}

/// Cut off, or with some bytes changed: most changes are where the file says what is where.
fn damaged(whole: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    if random.below(4) == 0 {
        bytes.truncate(random.below(whole.len()));
    }
    for _ in 0..1 + random.below(8) {
        if bytes.is_empty() {
            break;
        }
        let at = match random.below(3) {
            0 => random.below(bytes.len().min(1024)),
            1 => bytes.len() - 1 - random.below(bytes.len().min(4096)),
            _ => random.below(bytes.len()),
        };
        match random.below(4) {
            0 => bytes[at] = random.below(256) as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => bytes[at] = 0xff,
            // A number of eight bytes that is far too large.
            _ => bytes.iter_mut().skip(at).take(8).for_each(|byte| *byte = 0xff),
        }
    }
    bytes
}

/// Asks everything that memql ever asks of a file; how many of the answers were no errors.
fn ask_everything(path: &Path) -> usize {
    let target = Running::new(None);
    let path = path.display().to_string();
    let file = UserFile { path: path.clone(), shown_path: path.clone() };
    let mut answers = 0;
    let functions = target.user_functions(&file).unwrap_or_default();
    answers += usize::from(!functions.is_empty());
    for (_, offset) in functions.iter().take(50) {
        answers += usize::from(target.user_signature(&path, *offset).is_ok_and(|found| found.is_some()));
        answers += usize::from(target.user_function_extent(&path, *offset).is_some());
        answers += usize::from(target.user_code(&path, *offset, 64).is_some());
    }
    answers += usize::from(target.user_function(&file, "work").is_ok_and(|found| found.is_some()));
    answers += usize::from(target.user_symbol(&path, "main").is_ok_and(|found| found.is_some()));
    answers += usize::from(target.user_place(&file, 0x1000).is_ok_and(|found| found.is_some()));
    answers += usize::from(target.demangled_functions(&file).is_ok());
    for line in 1..12 {
        answers += usize::from(target.source_line(&file, "odd.c", line, None).is_ok());
    }
    for (keyword, name) in [("struct", "item"), ("enum", "kind"), ("union", "item"), ("", "item_t")] {
        answers += usize::from(target.user_type(&path, keyword, name).is_ok_and(|found| found.is_some()));
    }
    for note in target.usdt_probes(&file).unwrap_or_default() {
        answers += note.args(registers(Arch::X86_64), &|_| Some(1)).len();
    }
    answers
}

fn number(name: &str, radix: u32, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => u64::from_str_radix(&text, radix).unwrap_or_else(|e| panic!("{name} is `{text}`: {e}")),
        Err(_) => default,
    }
}

#[test]
fn damaged_programs_give_answers_or_errors() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("hostile");
    fs::create_dir_all(&folder).expect("a temporary folder can be made");
    let Some(whole) = program(&folder) else { return skip::skipped("there is no C compiler") };
    limit_memory();
    let all = ask_everything(&folder.join("odd"));
    assert!(all > 15, "of the whole program there are {all} answers");
    let (seed, inputs) = (number("MEMQL_SEED", 16, 1), number("MEMQL_INPUTS", 10, 400));
    let mut random = Random(seed);
    let (mut some, mut none) = (0, 0);
    for n in 0..inputs {
        let bytes = damaged(&whole, &mut random);
        // A name of its own each, so that nothing is remembered of another.
        let path = folder.join(format!("damaged-{seed:x}-{n}"));
        fs::write(&path, bytes).expect("a temporary file can be written");
        let (done, answers) = mpsc::channel();
        let asked = path.clone();
        let asking = std::thread::spawn(move || done.send(ask_everything(&asked)));
        match answers.recv_timeout(MOST_TIME) {
            Ok(0) => none += 1,
            Ok(_) => some += 1,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("{}: more than {MOST_TIME:?}", path.display()),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                panic!("{}: {:?}", path.display(), asking.join().expect_err("it sent nothing"));
            }
        }
        fs::remove_file(&path).expect("it was just written");
    }
    println!("{inputs} damaged programs: {some} gave answers, {none} errors only");
    assert!(some * 4 > inputs, "most are damaged beyond reading, which tests little");
}

fn limit_memory() {
    let limit = libc::rlimit { rlim_cur: MOST_MEMORY_BYTES, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limit is plain data and lives during the call.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
    assert_eq!(result, 0, "a process may limit itself");
}
