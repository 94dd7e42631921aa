//! From text to tree, in one function, and on to the next error where there is one.

use pest::Parser;
use pest::error::{ErrorVariant, InputLocation};

use crate::ast::{AttachSpec, Script};
use crate::build::Builder;
use crate::error::{MAX_ERRORS, SyntaxError};
use crate::explain::{Failure, explain};
use crate::outline::{MAX_NESTING, Outline, outline, span};
use crate::preprocess::preprocess;

/// The parser that pest makes of `memql.pest`.
#[derive(pest_derive::Parser)]
#[grammar = "memql.pest"]
pub(crate) struct Grammar;

/// Parses a script.
///
/// # Errors
/// What is wrong with the text, in source order, at least one error and at most 20: one for each item
/// (probe, config block, declaration) whose shape is wrong, or else every literal, place or attach
/// point that has the right shape and cannot mean anything.
pub fn parse(source: &str) -> Result<Script, Vec<SyntaxError>> {
    parse_at(source, 0)
}

/// Parses a script whose text begins at an offset of all that is read: spans count from there, and so
/// those of a script and of what it imports never meet.
///
/// # Errors
/// As for [`parse`].
pub fn parse_at(source: &str, base: usize) -> Result<Script, Vec<SyntaxError>> {
    let outline = outline(source).map_err(|error| vec![error.shifted(base)])?;
    let preprocessed = preprocess(source, &outline, base)?;
    let text = &*preprocessed.text;
    let pairs = Grammar::parse(Rule::script, text).map_err(|error| {
        let errors = syntax_errors(text, &outline, &error);
        errors.into_iter().map(|error| error.shifted(base)).collect::<Vec<_>>()
    })?;
    let builder = Builder::at(base);
    let mut script = builder.script(pairs);
    if !preprocessed.items.is_empty() {
        script.items.extend(preprocessed.items);
        script.items.sort_by_key(|item| item.span().start);
    }
    builder.finish(script)
}

/// Parses one attach point as it stands in a script, without fall-backs: `uprobe:libc:malloc`, or
/// with wildcards as a pattern to list, `tracepoint:oom:*`.
///
/// # Errors
/// As for [`parse`].
pub fn parse_attach_spec(source: &str) -> Result<AttachSpec, Vec<SyntaxError>> {
    let outline = outline(source).map_err(|error| vec![error])?;
    let pairs = Grammar::parse(Rule::attach_spec_only, source)
        .map_err(|error| vec![explain(source, &outline, &failure(&error, 0))])?;
    let builder = Builder::default();
    let spec = builder.attach_spec_only(pairs);
    builder.finish(spec)
}

/// Explains the first error, then goes on behind the item it is in, until nothing more is found.
pub(crate) fn syntax_errors(
    source: &str,
    outline: &Outline,
    first: &pest::error::Error<Rule>,
) -> Vec<SyntaxError> {
    let mut failed = failure(first, 0);
    let mut errors = Vec::new();
    loop {
        errors.push(explain(source, outline, &failed));
        let Some(rest_at) = next_item(source, outline, &failed) else { break };
        match Grammar::parse(Rule::script, &source[rest_at..]) {
            Err(error) if errors.len() < MAX_ERRORS => failed = failure(&error, rest_at),
            _ => break,
        }
    }
    errors
}

/// Where the item after the one that failed begins.
fn next_item(source: &str, outline: &Outline, failed: &Failure) -> Option<usize> {
    let index = outline.item_ends.partition_point(|&end| end <= failed.at);
    // A probe ends with its body, whatever stands between its attach points and that.
    let in_head = failed.rules.contains(&Rule::open_slash);
    let end =
        outline.item_ends[index..].iter().copied().find(|&end| !in_head || source[..end].ends_with('}'))?;
    // `struct x { ... };`
    let semicolon = source[end..].trim_start().strip_prefix(';');
    Some(semicolon.map_or(end, |rest| source.len() - rest.len()))
}

fn failure(error: &pest::error::Error<Rule>, offset: usize) -> Failure {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at + offset,
    };
    match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => {
            Failure { at, rules: positives.clone(), stopped: None }
        }
        // pest stops by itself when little stack is left, which happens only to callers with small stacks.
        ErrorVariant::CustomError { .. } => {
            let message = format!("nested too deeply: up to {MAX_NESTING} levels need a larger stack");
            Failure { at, rules: Vec::new(), stopped: Some(SyntaxError::new(span(at, at), message)) }
        }
    }
}
