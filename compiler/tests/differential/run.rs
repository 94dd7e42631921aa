//! A run over many generated programs: batches, and who is to blame when one fails.

use std::fmt::Write as _;
use std::path::PathBuf;

use memql_compiler::target::Features;

use crate::execute::Scene;
use crate::judge::{Verdict, can_load, judge};
use crate::random::Random;
use crate::tally::Tally;
use crate::tree::{self, Program};
use crate::{generate, pipeline, shrink};

/// A program that failed, shrunk.
pub struct Found {
    seed: u64,
    stage: &'static str,
    words: String,
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
            self.found.push(Found {
                seed: seed[0],
                stage: "batch",
                words: format!("only together: {verdict:?}"),
                source,
            });
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
            Verdict::Wrong(stage, _) => {
                println!("found after {} programs: {stage}", self.tally.generated);
                self.tally.valid += 1;
                self.tally.wrong += 1;
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
            }
        }
    }
}

/// Writes what failed to files and says where.
pub fn failures(all: &[Found]) -> String {
    let mut out = String::new();
    for Found { seed, stage, words, source } in all {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{}-{seed:016x}.mq", stage.replace(' ', "-")));
        let comment: String = words.lines().map(|line| format!("// {line}\n")).collect();
        let written =
            std::fs::write(&path, format!("// {stage} differs, seed {seed:016x}\n{comment}{source}"));
        let path =
            written.map(|()| path.display().to_string()).unwrap_or_else(|e| format!("(not written: {e})"));
        write!(out, "==== {path}\n{stage}: {words}\n{source}\n").expect("a string takes all");
    }
    out
}

/// The program of a batch that an error names: `p17_begin`.
fn named_program(error: &str) -> Option<usize> {
    let start = error.rfind("_begin")?;
    let digits = error[..start].rfind('p')? + 1;
    error[digits..start].parse().ok()
}
