//! Expansion: calls of macros, and names that `#define` gives a value, become what they stand for.
//!
//! ```text
//! macro add(x, @m) { let $s = x + 1; @m += $s; $s }
//!
//! print(add($s, @total))   ->   print({ let $s' = $s + 1; @total += $s'; $s' })
//! ```
//!
//! A macro is hygienic: its body sees its parameters and the variables that it declares itself, and nothing
//! of the place where it is called; what is passed is evaluated there, as often as the body names it. A
//! `#define` is none of that: its value is put in its place as it is, as one expression.
//!
//! What always holds afterwards: no macro and no `#define` is left to be resolved; the tree is no deeper than
//! a parsed one may be, so that later stages may recurse; expansion ends, since no macro contains itself and
//! the size of all expansions is limited.

mod extent;
mod hygiene;
mod rewrite;

use std::borrow::Cow;
use std::collections::HashMap;

use memql_grammar::ast::{Define, Item, MacroDef, MacroParam, Script};

use crate::check::diagnostics::macros as errors;
use crate::diagnostic::Diagnostic;

pub(crate) use hygiene::{mark_of, plain};
use rewrite::Rewriter;

/// The most nodes that expansions may add to a script: beyond it, no kernel would take the programs.
const MAX_NODES: usize = 200_000;

/// The macros and definitions of a script.
struct Definitions<'s> {
    /// Several may share a name and differ in what they take.
    macros: HashMap<&'s str, Vec<&'s MacroDef>>,
    defines: HashMap<&'s str, &'s Define>,
}

/// Expands a script; one that has nothing to expand is left as it is.
///
/// # Errors
/// Calls that fit no macro, macros that reach what they were not passed, expansions without end.
pub(crate) fn expand(script: &Script) -> Result<Cow<'_, Script>, Vec<Diagnostic>> {
    let mut findings = Vec::new();
    let definitions = Definitions::of(script, &mut findings);
    if definitions.macros.is_empty() && definitions.defines.is_empty() {
        return Ok(Cow::Borrowed(script));
    }
    let mut rewriter = Rewriter::new(&definitions);
    let items = script.items.iter().map(|item| rewriter.item(item)).collect();
    findings.extend(rewriter.into_findings());
    if findings.is_empty() { Ok(Cow::Owned(Script { items })) } else { Err(findings) }
}

impl<'s> Definitions<'s> {
    fn of(script: &'s Script, findings: &mut Vec<Diagnostic>) -> Definitions<'s> {
        let mut definitions = Definitions { macros: HashMap::new(), defines: HashMap::new() };
        for item in &script.items {
            match item {
                Item::Macro(defined) => {
                    let same_name = definitions.macros.entry(&defined.name.text).or_default();
                    match same_name.iter().find(|other| takes_the_same(other, defined)) {
                        Some(first) => findings.push(errors::macro_twice(&defined.name, first.name.span)),
                        None => same_name.push(defined),
                    }
                }
                Item::Define(define) => {
                    definitions.defines.insert(&define.name.text, define);
                }
                _ => {}
            }
        }
        definitions
    }
}

/// Whether a call could not tell two macros apart.
fn takes_the_same(a: &MacroDef, b: &MacroDef) -> bool {
    let kinds = |defined: &MacroDef| -> Vec<_> {
        defined.params.iter().map(std::mem::discriminant::<MacroParam>).collect()
    };
    kinds(a) == kinds(b)
}
