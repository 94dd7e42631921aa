//! A run over many generated programs: batches, and who is to blame when one fails.

use std::path::PathBuf;

use memql_compiler::target::Features;

use crate::execute::Scene;
use crate::judge::{Verdict, can_load, judge};
use crate::random::Random;
use crate::tally::Tally;
use crate::tree::{self, Program};
use crate::{generate, pipeline, shrink};

/// So many failures are enough: what comes after them is not looked for.
pub const MOST_FOUND: usize = 5;

/// Programs that failed, shrunk if there was time.
pub struct Found {
    seed: u64,
    stage: &'static str,
    words: String,
    /// What they see of the thread that runs them, which is another one each time.
    facts: String,
    source: String,
}

pub struct Run {
    pub features: Vec<Features>,
    pub scene: Scene,
    pub kernel: bool,
    pub tally: Tally,
    pub found: Vec<Found>,
}

impl Run {
    /// A run on this thread, which stays on one CPU.
    pub fn new(cpu: usize) -> Run {
        let scene = Scene::new(cpu);
        let features = [true, false].map(|new| pipeline::features(new, scene.world.cpus)).to_vec();
        let kernel = can_load(&features[0], &scene);
        Run { features, scene, kernel, tally: Tally::default(), found: Vec::new() }
    }

    fn judge(&self, config: &str, features: &Features, programs: &[Program]) -> Verdict {
        let ordered: Vec<bool> = programs.iter().map(|p| !p.has("for map")).collect();
        judge(&tree::script(config, programs), &ordered, features, &self.scene, self.kernel)
    }

    /// Generates and runs one object's worth of programs.
    pub fn batch(&mut self, seed: u64, count: usize) {
        let mut random = Random::new(seed);
        self.scene.place_user_bytes(random.bits());
        let config = generate::config(random.bits());
        let features = random.of(&self.features.clone()).clone();
        let seeds: Vec<u64> = (0..count).map(|_| random.bits()).collect();
        let programs: Vec<Program> = seeds.iter().map(|seed| generate::program(*seed)).collect();
        self.tally.generated += count;
        let all: Vec<(u64, Program)> = seeds.into_iter().zip(programs).collect();
        self.blame(&config, &features, &all);
    }

    /// Runs programs together and, if that fails, finds those to blame.
    fn blame(&mut self, config: &str, features: &Features, all: &[(u64, Program)]) {
        let (seed, programs): (Vec<u64>, Vec<Program>) = all.iter().cloned().unzip();
        if let ([seed], [program]) = (&*seed, &*programs) {
            return self.alone(*seed, config, features, program);
        }
        let verdict = self.judge(config, features, &programs);
        if verdict == Verdict::Same {
            self.tally.valid += programs.len();
            return programs.iter().for_each(|p| p.count_constructs(&mut self.tally.constructs));
        }
        if let Verdict::TooLarge(why) = &verdict
            && let Some(culprit) = named_program(why).filter(|n| *n < all.len())
        {
            self.tally.too_large(why.clone(), config, &programs[culprit]);
            let rest = [&all[..culprit], &all[culprit + 1..]].concat();
            return self.blame(config, features, &rest);
        }
        if let Verdict::Invalid(why, errors) = &verdict {
            let places = tree::script_and_places(config, &programs).1;
            let wrong = |n: usize| {
                let end = places.get(n + 1).copied().unwrap_or(usize::MAX);
                errors.iter().any(|at| (places[n]..end).contains(&(*at as usize)))
            };
            let rest: Vec<_> = (0..all.len()).filter(|n| !wrong(*n)).map(|n| all[n].clone()).collect();
            if rest.len() < all.len() {
                (rest.len()..all.len()).for_each(|_| self.tally.invalid(why));
                if !rest.is_empty() {
                    self.blame(config, features, &rest);
                }
                return;
            }
        }
        let before = self.tally.failed();
        let (first, second) = all.split_at(all.len() / 2);
        self.blame(config, features, first);
        self.blame(config, features, second);
        if self.tally.failed() == before {
            let source = tree::script(config, &programs);
            self.tally.wrong += 1;
            let words = format!("only together: {verdict:?}");
            self.found.push(self.found(seed[0], "batch", words, source));
        }
    }

    /// Runs one program alone.
    fn alone(&mut self, seed: u64, config: &str, features: &Features, program: &Program) {
        let verdict = self.judge(config, features, std::slice::from_ref(program));
        match verdict {
            Verdict::Same => {
                self.tally.valid += 1;
                program.count_constructs(&mut self.tally.constructs);
            }
            Verdict::Invalid(why, _) => self.tally.invalid(&why),
            Verdict::TooLarge(why) => self.tally.too_large(why, config, program),
            Verdict::Wrong(stage, words) => {
                println!("found after {} programs: {stage}", self.tally.generated);
                self.tally.valid += 1;
                self.tally.wrong += 1;
                let whole = tree::script(config, std::slice::from_ref(program));
                let found = self.found(seed, stage, words, whole);
                let found = if self.found.len() < MOST_FOUND {
                    self.shrunk(&found, config, features, program)
                } else {
                    found
                };
                self.found.push(found);
            }
        }
    }

    /// What failed, written down at once: a run that is ended early has it too.
    fn found(&self, seed: u64, stage: &'static str, words: String, source: String) -> Found {
        let found = Found { seed, stage, words, facts: self.scene.facts(), source };
        println!("{}", found.write());
        found
    }

    fn shrunk(&self, found: &Found, config: &str, features: &Features, program: &Program) -> Found {
        let judge = |p: &Program| self.judge(config, features, std::slice::from_ref(p));
        let small = shrink::shrink(program, |p| matches!(judge(p), Verdict::Wrong(s, _) if s == found.stage));
        let words = match judge(&small) {
            Verdict::Wrong(_, words) => words,
            other => format!("not the same twice: {other:?}"),
        };
        self.found(found.seed, found.stage, words, tree::script(config, &[small]))
    }
}

impl Found {
    /// Writes it to a file and says where.
    fn write(&self) -> String {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "{}-{:016x}.mq",
            self.stage.replace(' ', "-"),
            self.seed
        ));
        match std::fs::write(&path, self.text()) {
            Ok(()) => format!("==== {}", path.display()),
            Err(error) => format!("==== {}: not written: {error}\n{}", path.display(), self.text()),
        }
    }

    fn text(&self) -> String {
        let Found { seed, stage, words, facts, source } = self;
        let words: String = words.lines().map(|line| format!("// {line}\n")).collect();
        format!("// {stage} differs, seed {seed:016x}\n// {facts}\n{words}{source}")
    }
}

/// All that failed.
pub fn failures(all: &[Found]) -> String {
    all.iter().map(|found| format!("{}\n", found.text())).collect()
}

/// The program of a batch that an error names: `p17_begin`.
fn named_program(error: &str) -> Option<usize> {
    let start = error.rfind("_begin")?;
    let digits = error[..start].rfind('p')? + 1;
    error[digits..start].parse().ok()
}
