//! Text to object: whatever is typed, the compiler gives an object or says what is wrong. No input makes it panic, run
//! on, or take memory without end.
//!
//! Inputs are made from the scripts of this repository (the shipped ones, the cases of the tests, and `fuzz/`, where
//! inputs are kept that once failed): words and lines are taken out, doubled, swapped and carried from one script to another,
//! numbers become the largest there are, pieces are repeated hundreds of times, bytes are changed. The kernel
//! that they are compiled for is a frozen one.
//!
//! ```text
//! MEMQL_INPUTS   how many inputs are made (1000)
//! MEMQL_SEED     the seed, in hexadecimal, or `fresh`; without, always the same one
//! ```
//!
//! An input that fails is made small and written to a file, to be kept in `fuzz/`.

#[path = "check_support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use memql_compiler::check::RunConfig;
use memql_compiler::compile::compile;
use memql_compiler::diagnostic::Diagnostic;
use memql_compiler::sources::Sources;
use memql_compiler::target::Frozen;

/// What an input may take: much more than it does where others compile at the same time.
const MOST_TIME: Duration = Duration::from_secs(30);
/// Memory that this process may have. What is asked for beyond it ends the process.
const MOST_MEMORY_BYTES: u64 = 6 << 30;
/// The stack of a main thread.
const STACK_BYTES: usize = 8 << 20;
/// What is repeated may become so long.
const LONGEST_INPUT: usize = 20_000;

/// What came of an input.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Syntax,
    Refused,
    Object,
    Failed(String),
}

#[test]
fn every_input_gives_an_object_or_a_diagnostic() {
    limit_memory();
    let (seed, inputs) = (seed(), number("MEMQL_INPUTS", 1000));
    println!("MEMQL_SEED={seed:x} MEMQL_INPUTS={inputs}");
    let test = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || run(seed, inputs));
    let failed = test.expect("a thread can be started").join().expect("panics are caught");
    assert!(failed.is_empty(), "MEMQL_SEED={seed:x} MEMQL_INPUTS={inputs}\n{}", failed.join("\n"));
}

fn run(seed: u64, inputs: usize) -> Vec<String> {
    let kernel = support::kernel();
    let corpus = corpus();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut failed = Vec::new();
    let mut try_one = |input: &str, failed: &mut Vec<String>| {
        let outcome = outcome(input, &kernel);
        let name = match &outcome {
            Outcome::Syntax => "wrong syntax",
            Outcome::Refused => "refused",
            Outcome::Object => "object",
            Outcome::Failed(_) => "failed",
        };
        *counts.entry(name).or_default() += 1;
        if let Outcome::Failed(why) = outcome {
            let small = shrink(input, |text| matches!(self::outcome(text, &kernel), Outcome::Failed(_)));
            failed.push(report(&small, &why));
        }
    };
    for (path, text) in &corpus {
        let before = failed.len();
        try_one(text, &mut failed);
        failed[before..].iter_mut().for_each(|what| *what = format!("{}: {what}", path.display()));
    }
    let mut random = Random(seed);
    for _ in 0..inputs {
        if failed.len() >= 10 {
            break;
        }
        let input = mutate(&corpus, &mut random);
        try_one(&input, &mut failed);
    }
    println!("{} scripts, {inputs} inputs made of them: {counts:?}", corpus.len());
    let accepted = counts.get("object").copied().unwrap_or(0);
    assert!(
        accepted * 25 > inputs,
        "{counts:?}: the inputs are too wrong to test what is behind the grammar"
    );
    failed
}

/// Compiles one input.
fn outcome(input: &str, kernel: &Frozen) -> Outcome {
    let start = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let Ok(tree) = memql_grammar::parse(input) else { return Outcome::Syntax };
        let run = RunConfig { positional: vec!["42".into(), "text".into()], ..RunConfig::default() };
        match compile(&Sources::new("fuzz.mq", input), &tree, kernel, &run) {
            Ok(_) => Outcome::Object,
            Err(findings) if findings.is_empty() => Outcome::Failed("refused without a word".into()),
            Err(findings) => match findings.iter().find(|f| is_own_fault(f)) {
                Some(own) => Outcome::Failed(format!("{}: {}", own.code, own.title)),
                None => Outcome::Refused,
            },
        }
    }));
    let took = start.elapsed();
    match result {
        Err(panic) => {
            let text =
                panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Outcome::Failed(format!("panics: {}", text.unwrap_or("(no text)")))
        }
        Ok(_) if took > MOST_TIME => Outcome::Failed(format!("takes {took:?}")),
        Ok(outcome) => outcome,
    }
}

/// Whether a diagnostic says that memql is wrong.
fn is_own_fault(finding: &Diagnostic) -> bool {
    finding.code == "E0899" || finding.title.contains("internal error")
}

/// The scripts that inputs are made of.
fn corpus() -> Vec<(PathBuf, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the compiler has a folder above it");
    let mut paths = Vec::new();
    for folder in ["scripts", "tests", "compiler/tests", "grammar/tests"] {
        scripts_in(&top.join(folder), &mut paths);
    }
    paths.sort();
    assert!(paths.len() > 300, "only {} scripts are found", paths.len());
    let read = |path: PathBuf| fs::read_to_string(&path).ok().map(|text| (path, text));
    paths.into_iter().filter_map(read).filter(|(_, text)| text.len() < LONGEST_INPUT).collect()
}

fn scripts_in(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            scripts_in(&path, paths);
        } else if path.extension().is_some_and(|e| e == "mq" || e == "bt") {
            paths.push(path);
        }
    }
}

/// What tends to break things.
const STRANGE: &[&str] = &[
    "0",
    "1",
    "-1",
    "65535",
    "65536",
    "2147483648",
    "4294967295",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "1e18",
    "0x",
    "\"",
    "\"\\xff\"",
    "\"%s%d%r\"",
    "\u{1F600}",
    "\0",
    "$1",
    "$2",
    "$#",
    "@",
    "$x",
    "@x",
    "@x[1]",
    "args",
    "args.filename",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "*",
    "?",
    "..",
    ";",
    ",",
    ":",
    "/",
    "uint8",
    "string",
    "string[65535]",
    "uint8[65535]",
    "struct task_struct",
    "*curtask",
    "comm",
    "kstack",
    "ustack",
    "str(0)",
    "buf(0, 65535)",
    "hist(1, 5)",
    "lhist(1, -9223372036854775808, 9223372036854775807, 1)",
    "unroll (100)",
    "for ($i : 0..1000000)",
    "while (1)",
    "1 / 0",
    "/*",
    "//",
    "begin",
    "end",
    "kprobe:*",
    "tracepoint:*:*",
    "(1, (2, (3, \"x\")))",
    "exit();",
    "return;",
    "break;",
    "print(@x);",
    "count()",
    "config = { max_strlen = 65536 }",
];

fn mutate(corpus: &[(PathBuf, String)], random: &mut Random) -> String {
    let pick = |random: &mut Random| corpus[random.below(corpus.len())].1.as_str();
    let source = pick(random);
    let mut words: Vec<String> = words(source).into_iter().map(str::to_owned).collect();
    for _ in 0..=random.below(3) {
        if words.is_empty() {
            break;
        }
        let (a, b) = (random.below(words.len()), random.below(words.len()));
        match random.below(18) {
            9.. => {
                // Another word of the same kind, from anywhere.
                let kind = |word: &str| word.chars().next().map(|c| (c.is_ascii_digit(), c.is_alphabetic()));
                let other = self::words(pick(random));
                let same: Vec<&&str> = other.iter().filter(|w| kind(w) == kind(&words[a])).collect();
                if !same.is_empty() {
                    words[a] = (*same[random.below(same.len())]).to_owned();
                }
            }
            0 => drop(words.remove(a)),
            1 => words.insert(a, words[b].clone()),
            2 => words.swap(a, b),
            3 | 4 => words[a] = STRANGE[random.below(STRANGE.len())].to_owned(),
            5 => words.insert(a, format!(" {} ", STRANGE[random.below(STRANGE.len())])),
            6 => {
                // A piece of another script.
                let other = self::words(pick(random));
                let from = random.below(other.len().max(1));
                let piece: String = other.iter().skip(from).take(1 + random.below(30)).copied().collect();
                words.insert(a, piece);
            }
            7 => {
                let (from, to) = (a.min(b), a.max(b).min(a.min(b) + 40));
                let piece: String = words[from..=to].concat();
                let times = (1 + random.below(300)).min(LONGEST_INPUT / piece.len().max(1));
                words.insert(to + 1, piece.repeat(times));
            }
            _ => {
                let mut bytes = words[a].clone().into_bytes();
                if let Some(at) = bytes.len().checked_sub(1).map(|last| random.below(last + 1)) {
                    bytes[at] = random.below(256) as u8;
                }
                words[a] = String::from_utf8_lossy(&bytes).into_owned();
            }
        }
    }
    let mut text = words.concat();
    if text.len() > LONGEST_INPUT {
        let end = (0..=LONGEST_INPUT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// A script's words and what is between them, which together are the script.
fn words(source: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = if word(first) { rest.find(|c| !word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (head, tail) = rest.split_at(end);
        words.push(head);
        rest = tail;
    }
    words
}

/// Leaves out pieces, large ones first, as long as the input still fails.
fn shrink(input: &str, fails: impl Fn(&str) -> bool) -> String {
    let start = Instant::now();
    let mut best: Vec<&str> = words(input);
    let mut piece = best.len().div_ceil(2).max(1);
    while start.elapsed() < Duration::from_secs(60) {
        let mut at = 0;
        let mut better = false;
        while at < best.len() && start.elapsed() < Duration::from_secs(60) {
            let end = (at + piece).min(best.len());
            let candidate: Vec<&str> = best[..at].iter().chain(&best[end..]).copied().collect();
            if fails(&candidate.concat()) {
                best = candidate;
                better = true;
            } else {
                at = end;
            }
        }
        if piece == 1 && !better {
            break;
        }
        piece = if better { piece.min(best.len().max(1)) } else { piece.div_ceil(2) };
    }
    best.concat()
}

/// Writes an input to a file and says where.
fn report(input: &str, why: &str) -> String {
    let hash = input
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{hash:016x}.mq"));
    let written = fs::write(&path, input);
    let path = written.map(|()| path.display().to_string()).unwrap_or_else(|e| format!("(not written: {e})"));
    format!("{why:.500}\n  {path}\n{input:.2000}\n")
}

fn limit_memory() {
    let limit = libc::rlimit { rlim_cur: MOST_MEMORY_BYTES, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the limit is plain data and lives during the call.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
    assert_eq!(result, 0, "a process may limit itself");
}

fn number(name: &str, default: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|e| panic!("{name} is `{text}`: {e}")),
        Err(_) => default,
    }
}

fn seed() -> u64 {
    match std::env::var("MEMQL_SEED").as_deref() {
        Err(_) => 1,
        Ok("fresh") => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(1, |since| since.as_nanos() as u64)
        }
        Ok(text) => u64::from_str_radix(text, 16).unwrap_or_else(|e| panic!("MEMQL_SEED is `{text}`: {e}")),
    }
}

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
