//! Counts: how many programs were generated and valid, and which constructs they had.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::tree::{self, Program};

/// Counts of a run.
#[derive(Default)]
pub struct Tally {
    pub generated: usize,
    pub valid: usize,
    pub invalid: usize,
    pub too_large: usize,
    pub wrong: usize,
    pub constructs: BTreeMap<&'static str, usize>,
    pub first_invalid: Option<String>,
    /// How many programs were too large for which reason.
    pub reasons: BTreeMap<&'static str, usize>,
    pub first_too_large: Option<String>,
    /// Time spent: compiling, interpreting, in the kernel.
    pub seconds: [f64; 3],
}

impl Tally {
    /// How many programs did not do the same.
    pub fn failed(&self) -> usize {
        self.invalid + self.too_large + self.wrong
    }

    pub fn invalid(&mut self, why: &str) {
        self.invalid += 1;
        self.first_invalid.get_or_insert_with(|| why.to_owned());
    }

    pub fn too_large(&mut self, why: String, config: &str, program: &Program) {
        self.valid += 1;
        self.too_large += 1;
        *self.reasons.entry(reason(&why)).or_default() += 1;
        let source = tree::script(config, std::slice::from_ref(program));
        self.first_too_large.get_or_insert(format!("{why}\n{source}"));
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: Tally) {
        let Tally {
            generated,
            valid,
            invalid,
            too_large,
            wrong,
            constructs,
            first_invalid,
            reasons,
            first_too_large,
            seconds,
        } = other;
        self.generated += generated;
        self.valid += valid;
        self.invalid += invalid;
        self.too_large += too_large;
        self.wrong += wrong;
        constructs.into_iter().for_each(|(name, n)| *self.constructs.entry(name).or_default() += n);
        reasons.into_iter().for_each(|(reason, n)| *self.reasons.entry(reason).or_default() += n);
        self.first_invalid = self.first_invalid.take().or(first_invalid);
        self.first_too_large = self.first_too_large.take().or(first_too_large);
        self.seconds.iter_mut().zip(seconds).for_each(|(sum, more)| *sum += more);
    }

    /// What was generated and covered.
    pub fn report(&self, kernel: bool) -> String {
        let Tally {
            generated,
            valid,
            invalid,
            too_large,
            wrong,
            constructs,
            first_invalid,
            reasons,
            first_too_large,
            seconds: [compiling, interpreting, executing],
        } = self;
        let mut out = format!(
            "{generated} programs generated: {valid} valid ({too_large} of them too large for the kernel, {wrong} wrong), {invalid} invalid\n"
        );
        let kernel =
            if kernel { "interpreter and kernel" } else { "interpreter only: cannot load eBPF programs" };
        let times = format!(
            "{compiling:.1} s compiling, {interpreting:.1} s interpreting, {executing:.1} s in the kernel"
        );
        writeln!(out, "executed by: {kernel}; {times}").expect("a string takes all");
        let list: Vec<String> = constructs.iter().map(|(name, n)| format!("{name} {n}")).collect();
        writeln!(out, "programs by construct: {}", list.join(", ")).expect("a string takes all");
        let reasons: Vec<String> = reasons.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        if !reasons.is_empty() {
            writeln!(out, "too large because of: {}", reasons.join(", ")).expect("a string takes all");
        }
        for (what, first) in [("invalid", first_invalid), ("too large", first_too_large)] {
            if let Some(text) = first {
                writeln!(out, "first that was {what}:\n{text}").expect("a string takes all");
            }
        }
        out
    }
}

/// Why a program is too large, from what the compiler or the kernel said.
fn reason(why: &str) -> &'static str {
    const KNOWN: &[(&str, &str)] = &[
        ("bytes of stack", "stack of 512 bytes"),
        ("too many states", "states of the kernel verifier"),
        ("BPF program is too large. Processed", "instructions that the kernel verifier walks"),
        ("sequence of", "jumps in a row"),
        ("Argument list too long", "instructions"),
    ];
    KNOWN.iter().find(|(words, _)| why.contains(words)).map_or("something else", |(_, reason)| reason)
}
