//! Lowering: the checked AST becomes IR, and the plan of how to run it.
//!
//! Everything with a meaning of its own gets it here; what comes after only makes it faster or
//! encodes it. Holds afterwards: SSA that passes the IR verifier, no sugar, and a [`Plan`] in which
//! every event, map and counter has its layout.
//!
//! ```text
//! mod        the module: programs, maps, globals, the ring buffer
//! builder    one function under construction
//! probe      one program: filter, predicate, body; state while lowering it
//! frame      which variables loop callbacks share with the function around them
//! stmt       statements        loops      for and while
//! expr       scalars           memory     strings, tuples, structs: values in memory
//! builtin    pid, comm, ...    stack      kstack, ustack    unwind    dw_ustack: frames by unwind tables
//! trampoline return addresses that return probes replaced
//! map        plain maps        aggregate  count, sum, hist, ...
//! iter       iterators: the object, and the reader's progress
//! event      printf and the other events, in the ring buffer
//! health     counters of what is lost
//! ```

use cranelift_entity::SecondaryMap;
use memql_grammar::ast::Span;

use crate::attach::ProgramKind;
use crate::diagnostic::Diagnostic;
use crate::hir;
use crate::ir::{Global, GlobalDef, MapDef, MapKind, MapRef, Module, Program};
use crate::plan::{EventPlan, MapPlan, Plan, ProgramPlan};
use crate::target::Features;

mod aggregate;
mod builder;
mod builtin;
mod event;
mod expr;
mod frame;
mod health;
mod iter;
mod loops;
mod map;
mod memory;
mod probe;
mod scan;
mod seq_printf;
mod stack;
mod stmt;
mod strings;
mod trampoline;
mod unwind;

use health::Health;
use map::MapHome;
pub use trampoline::ReturnInstances;

/// What the frame that loop callbacks share is called in messages.
pub(crate) const SHARED: &str = "variables shared with loop bodies";

/// What lowering needs beside the script.
#[derive(Clone, Debug)]
pub struct Config {
    /// Only events of this process (`-p`, `-c`), for probes that fire in a process's context.
    pub pid: Option<u32>,
    /// What the kernel can do.
    pub features: Features,
    /// Whether what is lost is counted for each place in the script too.
    pub lost_by_place: bool,
    /// Where the kernel keeps return addresses that return probes replaced, if that was asked for
    /// ([`Lowered::needs_return_instances`]) and it tells.
    pub return_instances: Option<ReturnInstances>,
}

/// A lowered script.
#[derive(Debug)]
pub struct Lowered {
    /// The programs.
    pub module: Module,
    /// How to run them.
    pub plan: Plan,
    /// For each program, the attach point it comes from in the source.
    pub probe_spans: Vec<Span>,
    /// The counter of runs that found scratch memory busy.
    pub scratch_busy: Global,
}

impl Lowered {
    /// Whether stacks are unwound while return probes of the script may have replaced return addresses in them.
    pub fn needs_return_instances(&self) -> bool {
        let returns = |program: &ProgramPlan| program.kind == ProgramKind::Uretprobe;
        self.plan.unwinds && self.plan.programs.iter().any(returns)
    }
}

/// Lowers a checked script.
///
/// # Errors
/// A diagnostic for each thing that this kernel's eBPF cannot do.
pub fn lower(script: &hir::Script, config: &Config) -> Result<Lowered, Vec<Diagnostic>> {
    let mut lowering = Lowering::new(script, config);
    lowering.place_maps();
    for (index, probe) in script.probes.iter().enumerate() {
        lowering.probe(index, probe);
    }
    lowering.finish()
}

/// State of lowering a script.
struct Lowering<'a> {
    script: &'a hir::Script,
    config: &'a Config,
    module: Module,
    plan: Plan,
    health: Health,
    /// Where each map is kept.
    homes: SecondaryMap<hir::MapId, Option<MapHome>>,
    /// Place of each map in the plan.
    plan_index: SecondaryMap<hir::MapId, usize>,
    ring: Option<MapRef>,
    stacks: Option<(MapRef, u32)>,
    unwind_tables: Option<unwind::Tables>,
    /// A block of zeros that new map entries start as.
    zeros: Option<Global>,
    /// When the run started, for `elapsed`.
    start_time: Option<Global>,
    probe_spans: Vec<Span>,
    errors: Vec<Diagnostic>,
}

impl<'a> Lowering<'a> {
    fn new(script: &'a hir::Script, config: &'a Config) -> Lowering<'a> {
        let mut module = Module { license: script.license.clone(), ..Module::default() };
        let plan = Plan {
            settings: script.settings.clone(),
            time_formats: script.time_formats.clone(),
            cgroup_filters: script.cgroup_filters.clone(),
            types: script.types.clone(),
            ..Plan::default()
        };
        let health = Health::new(&mut module, config.lost_by_place);
        Lowering {
            script,
            config,
            module,
            plan,
            health,
            homes: SecondaryMap::new(),
            plan_index: SecondaryMap::new(),
            ring: None,
            stacks: None,
            unwind_tables: None,
            zeros: None,
            start_time: None,
            probe_spans: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn features(&self) -> &'a Features {
        &self.config.features
    }

    /// Puts a variable into `.bss`.
    fn global(&mut self, name: &str, size: u32, align: u32) -> Global {
        add_global(&mut self.module, name, size, align)
    }

    /// The block of zeros, at least `size` bytes long.
    fn zeros(&mut self, size: u32) -> Global {
        // Its size is fixed when it is first made: the largest value of any map.
        let largest = self.script.maps.values().map(|m| m.value.size()).max().unwrap_or(8);
        debug_assert!(size <= largest.max(8));
        if let Some(global) = self.zeros {
            return global;
        }
        let global = self.global("zeros", largest.max(8).next_multiple_of(8), 8);
        self.zeros = Some(global);
        global
    }

    /// When the run started: `u64` nanoseconds of the boot clock, stored by the runtime.
    fn start_time(&mut self) -> Global {
        if let Some(global) = self.start_time {
            return global;
        }
        let global = self.global("start_time", 8, 8);
        self.plan.start_time = Some(self.module.globals[global].offset);
        self.start_time = Some(global);
        global
    }

    /// The ring buffer that events go through.
    fn ring(&mut self) -> MapRef {
        if let Some(ring) = self.ring {
            return ring;
        }
        let ring = self.module.maps.push(MapDef {
            name: "events".into(),
            kind: MapKind::RingBuf,
            key_size: 0,
            value_size: 0,
            max_entries: self.script.settings.ring_bytes,
            flags: 0,
        });
        self.plan.ring = Some("events".into());
        self.ring = Some(ring);
        ring
    }

    /// The map from stack ids to frames, and how many frames an entry has.
    fn stacks(&mut self) -> (MapRef, u32) {
        if let Some(stacks) = self.stacks {
            return stacks;
        }
        let depth = stack::deepest(self.script).max(1);
        let map = self.module.maps.push(MapDef {
            name: "stacks".into(),
            kind: MapKind::Hash,
            key_size: 8,
            value_size: depth * 8,
            max_entries: stack::MAX_STACKS,
            flags: BPF_F_NO_PREALLOC,
        });
        self.plan.stacks = Some(("stacks".into(), depth));
        self.stacks = Some((map, depth));
        (map, depth)
    }

    /// Gives an event an id.
    fn event(&mut self, event: EventPlan) -> u64 {
        self.plan.events.push(event);
        self.plan.events.len() as u64 - 1
    }

    /// The attach point's place in the plan.
    fn point_index(&mut self, point: &crate::attach::AttachPoint) -> u64 {
        if let Some(index) = self.plan.points.iter().rposition(|p| p.same_probe(point)) {
            return index as u64;
        }
        self.plan.points.push(point.clone());
        self.plan.points.len() as u64 - 1
    }

    /// Lowers one probe to one program, or to one per attach point where the body asks which point
    /// fired and the kernel cannot tell (no attach cookies).
    fn probe(&mut self, index: usize, probe: &hir::Probe) {
        let kind = probe.points[0].kind();
        let asks = probe::uses_point(probe);
        let split = kind.one_point_each()
            || (asks
                && probe.points.len() > 1
                && !(self.features().attach_cookie && kind != ProgramKind::TestRun));
        if split {
            for (n, point) in probe.points.iter().enumerate() {
                let name = format!("p{index}_{n}");
                self.program(name, probe, std::slice::from_ref(point), asks);
            }
        } else {
            self.program(format!("p{index}"), probe, &probe.points, asks);
        }
    }

    fn program(
        &mut self,
        name: String,
        probe: &hir::Probe,
        points: &[crate::attach::AttachPoint],
        asks: bool,
    ) {
        let kind = points[0].kind();
        // There may be thousands of points: only those that are asked for are listed.
        let with_cookies: Vec<_> =
            points.iter().map(|p| (p.clone(), if asks { self.point_index(p) } else { 0 })).collect();
        let name = readable_name(&name, &points[0]);
        let first_event = self.plan.events.len() as u64;
        let functions = probe::lower_program(self, probe, points, kind);
        self.probe_spans.push(probe.span);
        self.module.programs.push(Program {
            name: name.clone(),
            kind,
            attach_to: probe::load_target(&points[0]),
            functions,
        });
        self.plan.programs.push(ProgramPlan {
            name,
            kind,
            uses_cookie: asks && with_cookies.len() > 1,
            points: with_cookies,
            events: first_event..self.plan.events.len() as u64,
        });
    }

    fn unsupported(&mut self, span: Span, what: &str, feature: &str, since: (u8, u8), instead: &str) {
        self.errors.push(
            Diagnostic::error(
                "E0801",
                format!("{what} is not possible on this kernel"),
                span,
                "needs a newer kernel",
            )
            .note(format!("it needs `{feature}`, which came with Linux {}.{}", since.0, since.1))
            .help(instead.to_owned()),
        );
    }

    fn finish(mut self) -> Result<Lowered, Vec<Diagnostic>> {
        if !self.errors.is_empty() {
            self.errors.sort_by_key(|error| error.primary.0);
            return Err(self.errors);
        }
        let scratch_busy = self.health.scratch_busy(&mut self.module);
        self.plan.health = self.health.counters(&self.module);
        self.plan.lost_at = self.health.places(&self.module);
        Ok(Lowered { module: self.module, plan: self.plan, probe_spans: self.probe_spans, scratch_busy })
    }

    fn plan_map(&mut self, id: hir::MapId, plan: MapPlan) {
        self.plan_index[id] = self.plan.maps.len();
        self.plan.maps.push(plan);
    }
}

/// `BPF_F_NO_PREALLOC` (include/uapi/linux/bpf.h): entries take memory when they are made.
const BPF_F_NO_PREALLOC: u32 = 1;

/// Appends a variable to `.bss`.
fn add_global(module: &mut Module, name: &str, size: u32, align: u32) -> Global {
    let end = module.globals.values().map(|g| g.offset + g.size).max().unwrap_or(0);
    // What the code may assume is a word's alignment; the rest keeps cache lines apart.
    let offset = end.next_multiple_of(align);
    module.globals.push(GlobalDef { name: name.to_owned(), size, align: align.min(8), offset })
}

/// A program's name as `bpftool prog` shows it: `p3_malloc`, identifiers only, 15 bytes at most.
fn readable_name(prefix: &str, point: &crate::attach::AttachPoint) -> String {
    use crate::attach::AttachPoint as P;
    let what = match point {
        P::Begin => "begin",
        P::End => "end",
        P::SelfSignal { .. } => "signal",
        P::Interval { .. } => "interval",
        P::Profile { .. } => "profile",
        P::Tracepoint { name, .. } | P::RawTracepoint { name, .. } => name,
        P::Kprobe { function, .. } | P::Fentry { function, .. } | P::BpfFunction { function, .. } => function,
        P::Uprobe { symbol, .. } => symbol,
        P::Usdt { name, .. } => name,
        P::Watchpoint { .. } => "watchpoint",
        P::Software { event, .. } | P::Hardware { event, .. } => event,
        P::Iter { name, .. } | P::Test { name } | P::Bench { name } => name,
    };
    let what: String = what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("{prefix}_{what}").chars().take(15).collect()
}
