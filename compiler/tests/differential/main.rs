//! Three executions, one answer: generated programs, and those that once failed, run in the interpreter
//! on plain IR, on optimised IR, on IR as emitted, and as bytecode in the kernel. Return values,
//! events, maps and globals must agree.
//!
//! ```text
//! MEMQL_PROGRAMS   how many programs are generated (2000)
//! MEMQL_SEED       the seed, in hexadecimal; without, a fresh one each time
//! ```
//!
//! A program that fails is shrunk and written to a file; kept in `cases/`, it is run ever after.

mod compare;
mod execute;
mod generate;
mod pipeline;
mod random;
mod shrink;
mod tree;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use compare::difference;
use execute::{Outcome, Refused, Scene};
use memql_compiler::target::Features;
use pipeline::Failure;
use random::Random;
use tree::Program;

/// How many programs go into one object.
const BATCH: usize = 50;

/// What came of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// All executions agree.
    Same,
    /// The checker refuses it.
    Invalid(String),
    /// It is more than the kernel takes.
    TooLarge(String),
    /// The stage that is wrong, and how.
    Wrong(&'static str, String),
}

/// Runs a script in every way.
fn judge(source: &str, ordered: &[bool], features: &Features, scene: &Scene, kernel: bool) -> Verdict {
    let compiled = scene.timed(0, || pipeline::compile(source, features, scene.user_address));
    let stages = match compiled {
        Ok(stages) => stages,
        Err(Failure::Invalid(why)) => return Verdict::Invalid(why),
        Err(Failure::TooLarge(why)) => return Verdict::TooLarge(why),
        Err(Failure::Bug(why)) => return Verdict::Wrong("compiler", why),
    };
    let reference = match scene.timed(1, || execute::interpret(&stages.plain, &scene.world)) {
        Ok(outcome) => outcome,
        Err(trap) => return Verdict::Wrong("plain IR", trap),
    };
    let check = |stage, outcome: Result<Outcome, String>| match outcome {
        Ok(outcome) => difference(&reference, &outcome, ordered).map(|words| Verdict::Wrong(stage, words)),
        Err(trap) => Some(Verdict::Wrong(stage, trap)),
    };
    for (stage, module) in [("optimised IR", &stages.optimised), ("emitted IR", &stages.emitted)] {
        let ordered_all: Vec<bool> = ordered.iter().map(|_| true).collect();
        let outcome = scene.timed(1, || execute::interpret(module, &scene.world));
        let found = match outcome {
            Ok(outcome) => difference(&reference, &outcome, &ordered_all).map(|w| Verdict::Wrong(stage, w)),
            Err(trap) => Some(Verdict::Wrong(stage, trap)),
        };
        if let Some(wrong) = found {
            return wrong;
        }
    }
    if !kernel {
        return Verdict::Same;
    }
    match scene.timed(2, || execute::execute(&stages.object, &stages.plain)) {
        Ok(outcome) => check("kernel", Ok(outcome)).unwrap_or(Verdict::Same),
        Err(Refused::TooComplex(log)) => Verdict::TooLarge(log),
        Err(Refused::Rejected(log)) => Verdict::Wrong("kernel verifier", log),
    }
}

/// Counts of a run.
#[derive(Default)]
struct Tally {
    generated: usize,
    valid: usize,
    invalid: usize,
    too_large: usize,
    constructs: BTreeMap<&'static str, usize>,
    first_invalid: Option<String>,
    first_too_large: Option<String>,
}

/// A program that failed, shrunk.
struct Found {
    seed: u64,
    stage: &'static str,
    words: String,
    source: String,
}

struct Run {
    features: Vec<Features>,
    scene: Scene,
    kernel: bool,
    tally: Tally,
    found: Vec<Found>,
}

impl Run {
    fn new() -> Run {
        execute::keep_libbpf_quiet();
        pipeline::keep_panics_quiet();
        let scene = Scene::new();
        let features = [true, false].map(|new| pipeline::features(new, scene.world.cpus)).to_vec();
        let kernel = can_load(&features[0], &scene);
        Run { features, scene, kernel, tally: Tally::default(), found: Vec::new() }
    }

    fn judge(&self, config: &str, features: &Features, programs: &[Program]) -> Verdict {
        let ordered: Vec<bool> = programs.iter().map(|p| !p.has("for map")).collect();
        judge(&tree::script(config, programs), &ordered, features, &self.scene, self.kernel)
    }

    /// Generates and runs one object's worth of programs.
    fn batch(&mut self, seed: u64, count: usize) {
        let mut random = Random::new(seed);
        let config = generate::config(random.bits());
        let features = random.of(&self.features.clone()).clone();
        let seeds: Vec<u64> = (0..count).map(|_| random.bits()).collect();
        let programs: Vec<Program> = seeds.iter().map(|seed| generate::program(*seed)).collect();
        self.tally.generated += count;
        if self.judge(&config, &features, &programs) == Verdict::Same {
            self.tally.valid += count;
            programs.iter().for_each(|p| p.count_constructs(&mut self.tally.constructs));
            return;
        }
        let mut blamed = false;
        for (seed, program) in seeds.iter().zip(&programs) {
            blamed |= self.alone(*seed, &config, &features, program);
        }
        if !blamed {
            let (source, words) = (tree::script(&config, &programs), "only together".to_owned());
            self.found.push(Found { seed, stage: "batch", words, source });
        }
    }

    /// Runs one program alone; whether it is to blame for its batch.
    fn alone(&mut self, seed: u64, config: &str, features: &Features, program: &Program) -> bool {
        let verdict = self.judge(config, features, std::slice::from_ref(program));
        match verdict {
            Verdict::Same => {
                self.tally.valid += 1;
                program.count_constructs(&mut self.tally.constructs);
                false
            }
            Verdict::Invalid(why) => {
                self.tally.invalid += 1;
                self.tally.first_invalid.get_or_insert(why);
                true
            }
            Verdict::TooLarge(why) => {
                self.tally.valid += 1;
                self.tally.too_large += 1;
                let source = tree::script(config, std::slice::from_ref(program));
                self.tally.first_too_large.get_or_insert(format!("{why}\n{source}"));
                true
            }
            Verdict::Wrong(stage, _) => {
                self.tally.valid += 1;
                // The first few are worth the time of shrinking.
                let worth = self.found.len() < 5;
                let still = |p: &Program| matches!(self.judge(config, features, std::slice::from_ref(p)), Verdict::Wrong(s, _) if s == stage);
                let small = if worth { shrink::shrink(program, still) } else { program.clone() };
                let words = match self.judge(config, features, std::slice::from_ref(&small)) {
                    Verdict::Wrong(_, words) => words,
                    other => format!("not the same twice: {other:?}"),
                };
                let source = tree::script(config, &[small]);
                self.found.push(Found { seed, stage, words, source });
                true
            }
        }
    }

    /// What was generated and covered.
    fn report(&self) -> String {
        let Tally { generated, valid, invalid, too_large, constructs, first_invalid, first_too_large } =
            &self.tally;
        let mut out = format!(
            "{generated} programs generated: {valid} valid ({too_large} of them too large for the kernel), {invalid} invalid\n"
        );
        let kernel = if self.kernel {
            "interpreter and kernel"
        } else {
            "interpreter only: cannot load eBPF programs"
        };
        let [compiling, interpreting, executing] = self.scene.seconds.get();
        let times = format!(
            "{compiling:.1} s compiling, {interpreting:.1} s interpreting, {executing:.1} s in the kernel"
        );
        writeln!(out, "executed by: {kernel}; {times}").expect("a string takes all");
        let list: Vec<String> = constructs.iter().map(|(name, n)| format!("{name} {n}")).collect();
        writeln!(out, "programs by construct: {}", list.join(", ")).expect("a string takes all");
        for (what, first) in [("invalid", first_invalid), ("too large", first_too_large)] {
            if let Some(text) = first {
                writeln!(out, "first that was {what}:\n{text}").expect("a string takes all");
            }
        }
        out
    }

    /// Writes what failed to files and says where.
    fn failures(&self) -> String {
        let mut out = String::new();
        for Found { seed, stage, words, source } in &self.found {
            let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
                .join(format!("{}-{seed:016x}.mq", stage.replace(' ', "-")));
            let comment: String = words.lines().map(|line| format!("// {line}\n")).collect();
            let written =
                std::fs::write(&path, format!("// {stage} differs, seed {seed:016x}\n{comment}{source}"));
            let path = written
                .map(|()| path.display().to_string())
                .unwrap_or_else(|e| format!("(not written: {e})"));
            write!(out, "==== {path}\n{stage}: {words}\n{source}\n").expect("a string takes all");
        }
        out
    }
}

fn can_load(features: &Features, scene: &Scene) -> bool {
    match judge("begin { print(1); }", &[true], features, scene, true) {
        Verdict::Same => true,
        other => {
            println!("skipped: the kernel does not run eBPF programs here: {other:?}");
            false
        }
    }
}

/// A number of the environment.
fn variable(name: &str, radix: u32) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(u64::from_str_radix(&text, radix).unwrap_or_else(|e| panic!("{name} is `{text}`: {e}")))
}

#[test]
fn generated_programs_do_the_same_in_every_execution() {
    let programs = variable("MEMQL_PROGRAMS", 10).unwrap_or(2000) as usize;
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_nanos() as u64);
    let seed = variable("MEMQL_SEED", 16).unwrap_or(now);
    println!("MEMQL_SEED={seed:x} MEMQL_PROGRAMS={programs}");
    let mut run = Run::new();
    let mut random = Random::new(seed);
    let mut left = programs;
    while left > 0 && run.found.len() < 20 {
        let count = left.min(BATCH);
        run.batch(random.bits(), count);
        left -= count;
    }
    println!("{}", run.report());
    assert!(run.found.is_empty(), "seed {seed:x}\n{}", run.failures());
    let Tally { generated, valid, .. } = run.tally;
    assert!(
        valid * 10 >= generated * 9,
        "{valid} of {generated} programs are valid: the generator tests too little"
    );
}

#[test]
fn programs_that_once_failed_do_the_same_in_every_execution() {
    let cases = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/differential/cases");
    let run = Run::new();
    let mut failed = String::new();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&cases)
        .unwrap_or_else(|e| panic!("{}: {e}", cases.display()))
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|e| e == "mq"))
        .collect();
    paths.sort();
    for path in paths {
        let source = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for features in &run.features {
            let ordered = [!source.contains(" : @")];
            match judge(&source, &ordered, features, &run.scene, run.kernel) {
                Verdict::Same => {}
                other => writeln!(failed, "{}: {other:?}", path.display()).expect("a string takes all"),
            }
        }
    }
    assert!(failed.is_empty(), "{failed}");
}
