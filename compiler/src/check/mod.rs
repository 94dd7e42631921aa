//! Checking: an AST becomes a checked tree ([`hir::Script`]), or diagnostics.
//!
//! ```text
//! settings, options           constants of the run
//! -> probes                   constant predicates, expansion, one variant per layout   points.rs
//! -> walks to a fixpoint      what variables and maps hold                             slots.rs
//! -> final walk               the checked tree, and every finding
//! ```
//!
//! A walk visits every variant of every probe. Statements and expressions give `None` where their
//! meaning is not known: in the walks that infer, because it is not known yet; in the final walk,
//! because the reason has been reported. So one mistake is reported once, and hides no other.
//!
//! What always holds: after success the tree keeps every promise of [`hir`]; no input panics; the
//! depth of recursion is that of the AST, which the grammar bounds.

mod args;
mod arithmetic;
mod assign;
mod c_types;
mod call;
mod compare;
mod constant;
mod context;
mod convert;
mod debug_types;
pub mod diagnostics;
mod expr;
mod field;
mod functions;
mod kernel_types;
mod layers;
mod map;
mod options;
mod pinned;
mod points;
mod probe;
mod report;
mod run;
mod scope;
mod settings;
mod shape;
mod slots;
mod stmt;
pub mod text;
mod type_expr;
mod uses;
mod variable;

use std::collections::{BTreeMap, HashSet};

use cranelift_entity::PrimaryMap;
use memql_grammar::ast::{self, Span};

use crate::btf::Btf;
use crate::diagnostic::{Diagnostic, Severity};
use crate::hir::{self, MapId};
use crate::target::Target;

pub use diagnostics::syntax::syntax_diagnostics;
pub use functions::{Entry, FAMILIES, Family, table};
pub use options::{OptionSpec, OptionType, script_options};
pub use points::attach_points;
pub use run::{OptionValue, Purpose, RunConfig};
pub use settings::{SettingDoc, setting_docs};
pub(crate) use type_expr::integer_named;

use options::OptionConstants;
use points::Variant;
use probe::ProbeState;
use settings::ScriptSettings;
use slots::Slots;

/// How often the types of variables and maps are looked at again before giving up; each walk settles
/// at least one more of a chain of assignments that runs against the order of the script.
const MAX_WALKS: usize = 100;

/// Checks a script for a target and a run. On success, the warnings come with the checked tree.
///
/// # Errors
/// All findings in source order, warnings included, if at least one is an error.
pub fn check(
    script: &ast::Script,
    target: &dyn Target,
    run: &RunConfig,
) -> Result<(hir::Script, Vec<Diagnostic>), Vec<Diagnostic>> {
    let expanded = crate::expand::expand(script)?;
    let script = &*expanded;
    let mut checker = Checker::new(script, target, run);
    let variants = points::variants(&mut checker, script);
    if !variants.is_empty() {
        checker.infer(&variants);
        let mut probes = checker.walk(&variants, Walk::Final);
        // Without errors, maps of which nothing is known are only assigned from themselves, or in probes that
        // do not run here: they hold integers, and the script is looked at once more with that.
        if !checker.has_errors() && checker.before.fill_unknown_maps() {
            checker.left_out = None;
            checker.infer(&variants);
            probes = checker.walk(&variants, Walk::Final);
        }
        checker.finish(probes)
    } else {
        if !checker.has_errors() {
            checker.report(diagnostics::points::nothing_to_run(script));
        }
        Err(checker.into_findings())
    }
}

/// Whether this is the name of a builtin or function.
pub(crate) fn is_function(name: &str) -> bool {
    functions::find(name).is_some()
}

/// The headers that a script includes.
fn includes(script: &ast::Script) -> Vec<(String, Span)> {
    let included = script.items.iter().filter_map(|item| match item {
        ast::Item::Include(include) => Some((include.header.clone(), include.span)),
        _ => None,
    });
    included.collect()
}

/// What a walk over the script is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walk {
    /// To learn types.
    Infer,
    /// To build the tree and report.
    Final,
}

/// The state of checking one script.
pub(crate) struct Checker<'a> {
    pub(crate) target: &'a dyn Target,
    pub(crate) run: &'a RunConfig,
    pub(crate) options: OptionConstants,
    pub(crate) settings: ScriptSettings,
    /// The kernel's types with those that the script defines; `None` if it defines none.
    pub(crate) types: Option<Btf>,
    /// Types of the programs that are probed.
    pub(crate) debug: debug_types::DebugLayers,
    /// Types of kernel modules and loaded eBPF programs.
    pub(crate) layers: layers::Layers,
    /// Headers that the script includes, which are not read.
    pub(crate) includes: Vec<(String, Span)>,
    /// Declared maps by name.
    pub(crate) declared: BTreeMap<String, &'a ast::MapDecl>,
    /// What the walk before learned.
    pub(crate) before: Slots,
    /// What this walk has learned.
    pub(crate) now: Slots,
    pub(crate) walk: Walk,
    /// The maps met in this walk, by id and by name.
    pub(crate) maps: PrimaryMap<MapId, String>,
    pub(crate) map_ids: BTreeMap<String, MapId>,
    pub(crate) time_formats: Vec<String>,
    pub(crate) cgroup_filters: Vec<String>,
    /// The named parameters that `getopt` reads, each with the first call that does.
    pub(crate) named_read: BTreeMap<String, Span>,
    pub(crate) probe: ProbeState,
    /// The calls of macros whose bodies are around the place, innermost last.
    pub(crate) expansions: Vec<ast::Name>,
    /// How many branches that are never taken are around the place.
    pub(crate) dead: usize,
    /// What the final walk left out of the tree first; without an error, that is a mistake of memql's.
    left_out: Option<Span>,
    findings: Vec<Diagnostic>,
    seen: HashSet<(&'static str, Span, String)>,
}

impl<'a> Checker<'a> {
    fn new(script: &'a ast::Script, target: &'a dyn Target, run: &'a RunConfig) -> Checker<'a> {
        let mut findings = Vec::new();
        let settings = ScriptSettings::of(script, run, &mut findings);
        let options = OptionConstants::of(script, run, &mut findings);
        let mut checker = Checker {
            target,
            run,
            options,
            settings,
            types: None,
            debug: debug_types::DebugLayers::default(),
            layers: layers::Layers::default(),
            includes: includes(script),
            declared: BTreeMap::new(),
            before: Slots::default(),
            now: Slots::default(),
            walk: Walk::Infer,
            maps: PrimaryMap::new(),
            map_ids: BTreeMap::new(),
            time_formats: Vec::new(),
            cgroup_filters: Vec::new(),
            named_read: BTreeMap::new(),
            probe: ProbeState::default(),
            expansions: Vec::new(),
            dead: 0,
            left_out: None,
            findings,
            seen: HashSet::new(),
        };
        c_types::define_all(&mut checker, script);
        map::declare_all(&mut checker, script);
        checker
    }

    /// Walks until nothing new is learned; what is known already stays.
    fn infer(&mut self, variants: &[Variant<'a>]) {
        for _ in 0..MAX_WALKS {
            let _ = self.walk(variants, Walk::Infer);
            let mut learned = std::mem::take(&mut self.now);
            learned.keep_filled(&self.before);
            let settled = learned == self.before;
            self.before = learned;
            if settled {
                break;
            }
        }
    }

    /// One walk over the script.
    fn walk(&mut self, variants: &[Variant<'a>], walk: Walk) -> Vec<hir::Probe> {
        self.walk = walk;
        self.now = Slots::default();
        self.maps.clear();
        self.map_ids.clear();
        self.time_formats.clear();
        self.cgroup_filters.clear();
        let mut probes = Vec::new();
        for (index, variant) in variants.iter().enumerate() {
            if variant.live || walk == Walk::Infer {
                probes.extend(self.probe(variant, index));
            }
        }
        probes
    }

    fn finish(mut self, probes: Vec<hir::Probe>) -> Result<(hir::Script, Vec<Diagnostic>), Vec<Diagnostic>> {
        let maps = map::build_all(&mut self);
        if let (Some(span), false) = (self.left_out, self.has_errors()) {
            self.report(diagnostics::unsupported::not_understood(span));
        }
        let run = self.run;
        for name in run.named.keys().filter(|name| !self.named_read.contains_key(*name)).collect::<Vec<_>>() {
            let somewhere = probes.first().map(|probe| probe.span).unwrap_or_default();
            self.report(diagnostics::options::unread_named(name, &self.named_read, somewhere));
        }
        if self.has_errors() {
            return Err(self.into_findings());
        }
        let clock = self.settings.series_clock.as_ref().and_then(|name| self.map_ids.get(name)).copied();
        let script = hir::Script {
            series_clock: clock.filter(|id| {
                let map: &hir::Map = &maps[*id];
                map.key.is_none() && matches!(map.value, crate::types::Type::Int { .. })
            }),
            maps,
            probes,
            time_formats: std::mem::take(&mut self.time_formats),
            cgroup_filters: std::mem::take(&mut self.cgroup_filters),
            settings: self.settings.plan.clone(),
            license: self.settings.license.clone(),
            types: self.debug.all.take().or_else(|| self.types.take()),
        };
        Ok((script, self.into_findings()))
    }

    /// Whether findings are kept: only the final walk's are, earlier ones know too little.
    pub(crate) fn is_final(&self) -> bool {
        self.walk == Walk::Final
    }

    /// Adds a finding, once: probes with several layouts are checked several times.
    pub(crate) fn report(&mut self, finding: Diagnostic) {
        let finding = self.in_macros(finding);
        if self.seen.insert((finding.code, finding.primary.0, finding.title.clone())) {
            self.findings.push(finding);
        }
    }

    /// A finding in the body of a macro, with the calls that lead to it.
    fn in_macros(&self, mut finding: Diagnostic) -> Diagnostic {
        let outside = |call: &ast::Name, at: Span| at.start < call.span.start || call.span.end < at.end;
        for call in self.expansions.iter().rev() {
            if outside(call, finding.primary.0) && !finding.secondary.iter().any(|(at, _)| *at == call.span) {
                finding = finding.because(call.span, format!("in this call of macro `{}`", call.text));
            }
        }
        finding.without_marks()
    }

    /// Reports in the final walk, and gives the nothing that stands for a reported mistake.
    pub(crate) fn fail<T>(&mut self, finding: impl FnOnce() -> Diagnostic) -> Option<T> {
        if self.is_final() {
            let finding = self.after_includes(finding());
            // What this kernel lacks is no mistake where it is not used.
            if self.dead == 0 || !diagnostics::depends_on_target(finding.code) {
                self.report(finding);
            }
        }
        None
    }

    /// Notes that something is missing in the tree, which there must be a reported reason for: nothing of a
    /// script is dropped in silence.
    pub(crate) fn left_out(&mut self, span: Span) {
        if self.is_final() && self.dead == 0 {
            self.left_out.get_or_insert(span);
        }
    }

    /// Checks what is never executed if `dead`: its mistakes are reported, but not what this kernel lacks.
    pub(crate) fn unless_dead<T>(&mut self, dead: bool, check: impl FnOnce(&mut Self) -> T) -> T {
        self.dead += usize::from(dead);
        let checked = check(self);
        self.dead -= usize::from(dead);
        checked
    }

    /// Warns in the final walk.
    pub(crate) fn warn(&mut self, finding: impl FnOnce() -> Diagnostic) {
        if self.is_final() {
            let finding = finding();
            self.report(finding);
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.findings.iter().any(|d| d.severity == Severity::Error)
    }

    fn into_findings(mut self) -> Vec<Diagnostic> {
        self.findings.sort_by_key(|d| d.primary.0);
        self.findings
    }
}
