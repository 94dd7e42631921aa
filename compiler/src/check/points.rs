//! Attach points: from what a script writes to the concrete points of this kernel.
//!
//! ```text
//! uprobe:$lib:malloc  ->  options and parameters put in  ->  providers::expand  ->  concrete points
//! a || b              ->  the first alternative that this kernel has
//! ```
//!
//! Probes whose predicate is a constant that is never true are dropped before any of it: they cannot
//! be missing. The points of a probe are then cut into variants within which its body means the same.

use std::collections::{HashMap, HashSet};

use memql_grammar::ast::{self, AttachSpec, Item, Name, Span};

use super::diagnostics::points as errors;
use super::uses::Uses;
use super::{Checker, Purpose, RunConfig, Walk, constant};
use crate::attach::{AttachPoint, PlaceName, ProgramKind};
use crate::diagnostic::Diagnostic;
use crate::placement::{self, boundaries};
use crate::plan::MissingProbes;
use crate::providers::glob::is_pattern;
use crate::providers::{ExpandError, expand, provider};
use crate::target::{Target, TracepointField};
use crate::usdt::UsdtArg;

/// Points of a probe that its body cannot tell apart.
pub(crate) struct Variant<'a> {
    /// The probe.
    pub probe: &'a ast::Probe,
    /// Its points; of one program type. None for a probe that never runs.
    pub points: Vec<AttachPoint>,
    /// Whether it runs; one that does not still tells what its maps hold.
    pub live: bool,
    /// Its attach points in the source.
    pub span: Span,
}

/// The variants of all probes, in source order; empty if nothing would run.
pub(crate) fn variants<'a>(checker: &mut Checker<'a>, script: &'a ast::Script) -> Vec<Variant<'a>> {
    let Some(mut expanded) = expand_probes(checker, script) else { return Vec::new() };
    let purpose = checker.run.purpose;
    let is_about = expanded.iter().flat_map(|probe| &probe.points).any(|point| purpose.is_about(point));
    if purpose != Purpose::Trace && !is_about {
        checker.report(errors::nothing_to_try(purpose, script));
        return Vec::new();
    }
    if checker.settings.probe_placement {
        place(checker.target, &mut expanded);
    }
    let mut all = Vec::new();
    let mut programs = 0usize;
    for Expanded { probe, uses, points, span } in expanded {
        let groups = split(checker, &uses, points);
        if groups.is_empty() {
            all.push(Variant { probe, points: Vec::new(), live: false, span });
        }
        programs +=
            groups.iter().map(|g| if g[0].kind().one_point_each() { g.len() } else { 1 }).sum::<usize>();
        if programs > checker.settings.max_programs {
            checker.report(errors::too_many_programs(programs, checker.settings.max_programs, span));
            return Vec::new();
        }
        all.extend(groups.into_iter().map(|points| Variant { probe, points, live: true, span }));
    }
    // Without a live probe there is nothing to check against; what is missing was reported.
    if all.iter().any(|v| v.live) { all } else { Vec::new() }
}

/// A probe and its points on this kernel; none for one that never runs.
struct Expanded<'a> {
    probe: &'a ast::Probe,
    uses: Uses,
    points: Vec<AttachPoint>,
    span: Span,
}

/// All probes with their points; `None` if there are too many.
fn expand_probes<'a>(checker: &mut Checker<'a>, script: &'a ast::Script) -> Option<Vec<Expanded<'a>>> {
    let mut all = Vec::new();
    let mut points_in_all = 0usize;
    for item in &script.items {
        let Item::Probe(probe) = item else { continue };
        let span = probe.points.iter().map(|p| p.span).reduce(Span::to).unwrap_or(probe.span);
        let points = if never_runs(checker, probe) { Vec::new() } else { expand_all(checker, probe) };
        points_in_all += points.len();
        if points_in_all > checker.settings.max_probes {
            checker.report(errors::too_many_points(points_in_all, checker.settings.max_probes, span));
            return None;
        }
        all.push(Expanded { probe, uses: Uses::of(probe), points, span });
    }
    trials_have_names_of_their_own(checker, &all);
    Some(all)
}

/// Reports tests, and benchmarks, that have one name: it is what their result is told by.
fn trials_have_names_of_their_own(checker: &mut Checker<'_>, probes: &[Expanded<'_>]) {
    let mut first: HashMap<&AttachPoint, Span> = HashMap::new();
    for Expanded { points, span, .. } in probes {
        for point in
            points.iter().filter(|p| matches!(p, AttachPoint::Test { .. } | AttachPoint::Bench { .. }))
        {
            if let Some(first) = first.insert(point, *span) {
                checker.report(errors::trial_twice(point, *span, first));
            }
        }
    }
}

/// Moves the breakpoints on user functions' entries to where they cost least; all of one function to the
/// same place, since each place costs a trap.
fn place(target: &dyn Target, probes: &mut [Expanded<'_>]) {
    let mut least: HashMap<(String, u64), u32> = HashMap::new();
    for Expanded { uses, points, .. } in probes.iter() {
        for point in points {
            if let Some((path, entry)) = function_entry(point) {
                let takes_stack = uses.user_addresses && !point.is_return();
                let skip = match uses.registers {
                    true => 0,
                    false => placement::skip(target, path, entry, takes_stack),
                };
                least.entry((path.to_owned(), entry)).and_modify(|l| *l = skip.min(*l)).or_insert(skip);
            }
        }
    }
    for point in probes.iter_mut().flat_map(|p| &mut p.points) {
        let at = function_entry(point).map(|(path, entry)| (path.to_owned(), entry));
        if let (Some(found), AttachPoint::Uprobe { skip, .. }) = (at.and_then(|at| least.get(&at)), point) {
            *skip = *found;
        }
    }
}

/// The file, and the place in it, of the user function on whose entry or return a point is.
fn function_entry(point: &AttachPoint) -> Option<(&str, u64)> {
    match point {
        AttachPoint::Uprobe {
            path,
            named: PlaceName::Symbol | PlaceName::Demangled,
            file_offset,
            offset: 0,
            ..
        } => Some((path, *file_offset)),
        _ => None,
    }
}

/// The attach points of all probes, those excepted that never run: what `-l SCRIPT` shows.
///
/// # Errors
/// What is wrong with the settings, the options and the points.
pub fn attach_points(
    script: &ast::Script,
    target: &dyn Target,
    run: &RunConfig,
) -> Result<Vec<AttachPoint>, Vec<Diagnostic>> {
    let mut checker = Checker::new(script, target, run);
    let mut points = Vec::new();
    for item in &script.items {
        let Item::Probe(probe) = item else { continue };
        if !never_runs(&mut checker, probe) {
            points.extend(expand_all(&mut checker, probe));
        }
    }
    if checker.has_errors() { Err(checker.into_findings()) } else { Ok(points) }
}

/// Whether the predicate is constant and false, whatever the point.
fn never_runs(checker: &mut Checker<'_>, probe: &ast::Probe) -> bool {
    let Some(predicate) = &probe.predicate else { return false };
    checker.walk = Walk::Infer;
    checker.probe = super::ProbeState::default();
    let value = checker.condition(predicate);
    checker.now = super::Slots::default();
    value.as_ref().and_then(constant::truth_of) == Some(false)
}

/// All points of a probe, each once.
///
/// A wildcard that matches nothing beside points that are there is a warning: wildcards stand for names that
/// differ from kernel to kernel.
fn expand_all(checker: &mut Checker<'_>, probe: &ast::Probe) -> Vec<AttachPoint> {
    let mut points: Vec<AttachPoint> = Vec::new();
    let mut seen = HashSet::new();
    let mut empty_wildcards = Vec::new();
    for point in &probe.points {
        if !is_wanted(checker.run.purpose, point) {
            continue;
        }
        match expand_point(checker, point) {
            Ok(found) => points.extend(found.into_iter().filter(|p| seen.insert(p.clone()))),
            Err(finding) => match (checker.settings.plan.missing_probes, errors::is_missing(finding.code)) {
                (MissingProbes::Ignore, true) => {}
                (MissingProbes::Warn, true) => checker.report(errors::as_warning(*finding)),
                (MissingProbes::Error, true) if has_wildcard(point) => empty_wildcards.push(*finding),
                (_, _) => checker.report(*finding),
            },
        }
    }
    for finding in empty_wildcards {
        checker.report(if points.is_empty() { finding } else { errors::as_warning(finding) });
    }
    points
}

/// Whether a point may run. One whose provider is a parameter may.
fn is_wanted(purpose: Purpose, point: &ast::AttachPoint) -> bool {
    let mut named = point.alternatives.iter().filter_map(|spec| provider(&spec.parts.first()?.text));
    named.all(|provider| purpose.wants_provider(provider.name))
}

fn has_wildcard(point: &ast::AttachPoint) -> bool {
    point.alternatives.iter().flat_map(|spec| &spec.parts).any(|part| is_pattern(&part.text))
}

/// The points of the first alternative that this kernel has.
fn expand_point(
    checker: &mut Checker<'_>,
    point: &ast::AttachPoint,
) -> Result<Vec<AttachPoint>, Box<Diagnostic>> {
    let mut reasons = Vec::new();
    for spec in &point.alternatives {
        match expand_spec(checker, spec) {
            Ok(points) => return Ok(points),
            // A mistake in the text is one on every kernel: no fall-back hides it.
            Err(finding) if !errors::is_absence(finding.code) => return Err(finding),
            Err(finding) => reasons.push(*finding),
        }
    }
    match reasons.len() {
        1 => Err(Box::new(reasons.remove(0))),
        _ => Err(Box::new(errors::no_alternative(point.span, reasons))),
    }
}

fn expand_spec(checker: &mut Checker<'_>, spec: &AttachSpec) -> Result<Vec<AttachPoint>, Box<Diagnostic>> {
    let spec = substitute(checker, spec)?;
    let points = expand(&spec, checker.target).map_err(|error| Box::new(expand_error(&spec, error)))?;
    // A wildcard takes whole functions.
    if let Some(place) = spec.parts.last().filter(|place| !is_pattern(&place.text)) {
        for point in &points {
            on_an_instruction(checker, point, place.span)?;
        }
    }
    Ok(points)
}

/// Refuses a place in a program where a breakpoint may break it; under `--unsafe` that is a warning.
fn on_an_instruction(
    checker: &mut Checker<'_>,
    point: &AttachPoint,
    span: Span,
) -> Result<(), Box<Diagnostic>> {
    let Err(misplaced) = boundaries::check(checker.target, point) else { return Ok(()) };
    let may_go_on = misplaced.may_be_forced();
    let finding = errors::misplaced(point, &misplaced, span);
    if !(may_go_on && checker.run.allow_unsafe) {
        return Err(Box::new(finding));
    }
    checker.report(errors::misplaced_as_asked(finding));
    Ok(())
}

fn expand_error(spec: &AttachSpec, error: ExpandError) -> Diagnostic {
    let at = |part: usize| spec.parts.get(part).map_or(spec.span, |p| p.span);
    match error {
        ExpandError::Malformed { part, message, help } => errors::malformed(at(part), &message, help),
        ExpandError::UnknownProvider { similar } => errors::unknown_provider(spec, &similar),
        ExpandError::NotFound { part, message, similar } => errors::not_found(at(part), &message, &similar),
        ExpandError::Unsupported { message, help } => errors::unsupported(spec.span, &message, help),
        ExpandError::Fact(error) => errors::fact(spec.span, &error),
    }
}

/// Puts in positional parameters (`$1`) and options (`$name`).
fn substitute(checker: &Checker<'_>, spec: &AttachSpec) -> Result<AttachSpec, Box<Diagnostic>> {
    let mut parts = Vec::with_capacity(spec.parts.len());
    for part in &spec.parts {
        parts.push(Name { text: substitute_part(checker, part)?, span: part.span });
    }
    if !spec.parts.first().is_some_and(|provider| provider.text.contains('$')) {
        return Ok(AttachSpec { parts, span: spec.span });
    }
    // A parameter at the start may be a whole attach point, colons and all.
    let text = parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join(":");
    match memql_grammar::parse_attach_spec(&text) {
        Ok(whole) => {
            let part = |part: Name| Name { text: part.text, span: spec.span };
            Ok(AttachSpec { parts: whole.parts.into_iter().map(part).collect(), span: spec.span })
        }
        Err(_) => Err(Box::new(errors::no_attach_point(&text, spec.span))),
    }
}

fn substitute_part(checker: &Checker<'_>, part: &Name) -> Result<String, Box<Diagnostic>> {
    let mut out = String::new();
    let mut rest = part.text.as_str();
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let word: String =
            rest[at + 1..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        rest = &rest[at + 1 + word.len()..];
        let value = match word.parse::<usize>() {
            Ok(n) => n.checked_sub(1).and_then(|i| checker.run.positional.get(i)).cloned(),
            Err(_) => checker.options.text(&word),
        };
        match value {
            Some(value) => out.push_str(&value),
            None if word.starts_with(|c: char| c.is_ascii_digit()) => {
                return Err(Box::new(errors::parameter_missing(&word, part.span)));
            }
            // Symbols can contain a `$` of their own.
            None if at > 0 || word.is_empty() => {
                out.push('$');
                out.push_str(&word);
            }
            None => return Err(Box::new(errors::no_such_option(&word, part.span, checker.options.names()))),
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Cuts points into groups of one program type within which the body means the same.
fn split(checker: &mut Checker<'_>, uses: &Uses, points: Vec<AttachPoint>) -> Vec<Vec<AttachPoint>> {
    let mut groups: Vec<(GroupKey, Vec<AttachPoint>)> = Vec::new();
    for point in points {
        let key = group_key(checker, uses, &point);
        match groups.iter_mut().find(|(k, _)| *k == key) {
            Some((_, group)) => group.push(point),
            None => groups.push((key, vec![point])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// What points must have in common to share a body.
#[derive(PartialEq)]
struct GroupKey {
    kind: ProgramKind,
    /// The point itself, where nothing less will do.
    point: Option<String>,
    /// For `uaddr`: the file, and the address of the point in it where the loader moves it.
    loaded: Option<(String, Option<u64>)>,
    /// The fields that the body uses, and whether their addresses are the user's.
    fields: Option<(bool, Vec<Option<TracepointField>>)>,
    /// Where the arguments are at a location of a static probe.
    usdt: Option<Vec<UsdtArg>>,
    /// Whether the point has a function: what `func` needs.
    has_function: bool,
    /// How far the breakpoint is from the address that the body sees.
    skip: u32,
}

fn group_key(checker: &mut Checker<'_>, uses: &Uses, point: &AttachPoint) -> GroupKey {
    let kind = point.kind();
    let own = uses.point_text || (uses.layout() && kind.one_point_each());
    let mut key = GroupKey {
        kind,
        point: own.then(|| point.to_string()),
        loaded: None,
        fields: None,
        usdt: None,
        has_function: point.function().is_some(),
        skip: if uses.user_addresses { point.skip() } else { 0 },
    };
    if let (true, Some((path, offset))) = (uses.file, point.place_in_file()) {
        // A file that cannot be read is reported where `uaddr` is checked.
        let address = checker.target.movable_address(path, offset).ok().flatten();
        key.loaded = Some((path.to_owned(), address));
    }
    match point {
        // Functions that take the same are rare: each has a body of its own.
        AttachPoint::Uprobe { .. } if uses.all_fields || !uses.fields.is_empty() => {
            key.point = Some(point.to_string());
        }
        AttachPoint::Usdt { args, .. } if uses.layout() => key.usdt = Some(args.clone()),
        AttachPoint::Tracepoint { category, name } if uses.layout() => {
            // A format that cannot be read is reported by the body's check, which reads it again.
            let all = checker
                .target
                .tracepoint(category, name)
                .ok()
                .flatten()
                .map(|f| f.fields)
                .unwrap_or_default();
            let used = match uses.all_fields {
                true => all.into_iter().map(Some).collect(),
                false => {
                    uses.fields.iter().map(|name| all.iter().find(|f| f.name == *name).cloned()).collect()
                }
            };
            key.fields = Some((category == "syscalls", used));
        }
        _ => {}
    }
    key
}
