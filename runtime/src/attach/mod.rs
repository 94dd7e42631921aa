//! From programs in the kernel to programs that run: each is attached to its points. Dropping
//! [`Attached`] detaches all of them.
//!
//! ```text
//! plan ──► order ──► for each program, by its style:
//!                      TestRun          nothing: memql runs it
//!                      UprobeMulti      one link per file      (halved around bad points)
//!                      KprobeMulti      one link
//!                      Tracing          one link
//!                      Iterator         one link, whose file memql reads
//!                      PerfEvent        a perf event and a link per point (and CPU), in parallel
//! ```
//!
//! Programs on one point run in the order of the script; the kernel runs some kinds in reverse order of
//! attaching, so those are attached in reverse. A point that cannot be attached is an error, a
//! warning or nothing, as the script's `missing_probes` says.

mod halves;
mod iterator;
mod kernel;
mod kprobe;
mod limits;
mod links;
mod parallel;
mod pmu;
mod sampling;
mod style;
mod tracepoint;
mod tracing;
mod uprobe;
mod watchpoint;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use memql_compiler::attach::{AttachPoint, ProgramKind};
use memql_compiler::plan::{MissingProbes, Plan, ProgramPlan};

use crate::cpus;
use crate::errno;
use crate::error::RunError;
use crate::load::Loaded;
use crate::remedies;
use crate::signals;
use crate::target::archive;
use iterator::Visits;
use kernel::{Kernel, PerfEvent, Place};
use links::Links;
use pmu::Pmu;

pub use links::Link;
pub use style::LinkStyle;

/// Programs that run for as long as this lives.
#[derive(Debug)]
pub struct Attached {
    links: Links,
    missing: Vec<Missing>,
    points: usize,
    took: Duration,
}

/// A point that could not be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The point in full.
    pub point: String,
    /// Why.
    pub error: RunError,
}

/// What attaching has to know beside the programs.
pub struct Situation<'a> {
    /// The process that `-p` or `-c` names.
    pub pid: Option<i32>,
    /// The number of a tracepoint, by category and name, from tracefs.
    pub tracepoint_id: &'a dyn Fn(&str, &str) -> Result<u64, RunError>,
}

impl Attached {
    /// Attaches all programs.
    ///
    /// Ends early, attached to what it got to, when a signal asks for the run's end meanwhile.
    ///
    /// # Errors
    /// If a point cannot be attached and the script does not say to go on without, or if none can.
    pub fn attach(plan: &Plan, loaded: &Loaded, situation: &Situation<'_>) -> Result<Attached, RunError> {
        let programs = Programs { plan: &plan.programs, loaded };
        // Without enough room, the first point that finds none says what to do.
        let _as_far_as_possible = limits::make_room(fds_needed(&plan.programs, loaded));
        attach_through(&kernel::Running, plan, &programs, situation)
    }

    /// What keeps them attached.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.iter()
    }

    /// Points that could not be attached.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// How many points were attached, those that memql runs itself included.
    pub fn points(&self) -> usize {
        self.points
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        self.took
    }
}

/// About how many descriptors attaching takes: a perf event and a link for each point on each CPU.
fn fds_needed(programs: &[ProgramPlan], loaded: &Loaded) -> u64 {
    let cpus = cpus::online().map_or(1, |cpus| cpus.len() as u64);
    let of_program = |(index, program): (usize, &ProgramPlan)| match loaded.style(index) {
        Some(LinkStyle::PerfEvent) if program.kind == ProgramKind::PerfEvent => {
            2 * cpus * program.points.len() as u64
        }
        Some(LinkStyle::PerfEvent) => 2 * program.points.len() as u64,
        Some(
            LinkStyle::TestRun
            | LinkStyle::KprobeMulti
            | LinkStyle::UprobeMulti
            | LinkStyle::Tracing
            | LinkStyle::Iterator,
        )
        | None => 1,
    };
    programs.iter().enumerate().map(of_program).sum()
}

/// Loaded programs, however they came to be.
trait ProgramSource {
    /// The plan's n-th program and how it is attached; `None` if it has no points.
    fn get(&self, index: usize) -> Option<(BorrowedFd<'_>, LinkStyle)>;
}

struct Programs<'a> {
    plan: &'a [ProgramPlan],
    loaded: &'a Loaded,
}

impl ProgramSource for Programs<'_> {
    fn get(&self, index: usize) -> Option<(BorrowedFd<'_>, LinkStyle)> {
        debug_assert!(index < self.plan.len());
        Some((self.loaded.program(index)?, self.loaded.style(index)?))
    }
}

fn attach_through(
    kernel: &dyn Kernel,
    plan: &Plan,
    programs: &dyn ProgramSource,
    situation: &Situation<'_>,
) -> Result<Attached, RunError> {
    let started = Instant::now();
    let mut attaching = Attaching {
        kernel,
        situation,
        policy: plan.settings.missing_probes,
        links: Links::default(),
        missing: Vec::new(),
        points: 0,
        static_probes: HashSet::new(),
        wave: Vec::new(),
        filters_by_process: None,
        kprobe_pmu: None,
        uprobe_pmu: None,
        cpus: None,
    };
    for index in order(&plan.programs) {
        if signals::end_is_asked() {
            break;
        }
        if let Some((fd, style)) = programs.get(index) {
            attaching.program(index, &plan.programs[index], fd, style)?;
        }
    }
    attaching.finish_wave()?;
    let Attaching { links, missing, points, .. } = attaching;
    match missing.first() {
        Some(first) if points == 0 => Err(RunError {
            what: format!("no probe could be attached; the first: {}", first.error.what),
            ..first.error.clone()
        }),
        _ => Ok(Attached { links, missing, points, took: started.elapsed() }),
    }
}

/// Indices of the programs in the order they are attached.
fn order(programs: &[ProgramPlan]) -> impl Iterator<Item = usize> {
    let is_reverse = |index: &usize| style::attach_in_reverse(programs[*index].kind);
    let forward = (0..programs.len()).filter(move |index| !is_reverse(index));
    let reverse = (0..programs.len()).rev().filter(move |index| is_reverse(index));
    forward.chain(reverse)
}

/// Attaching in progress.
struct Attaching<'a> {
    kernel: &'a dyn Kernel,
    situation: &'a Situation<'a>,
    policy: MissingProbes,
    links: Links,
    missing: Vec<Missing>,
    points: usize,
    /// Static probes of which a location is attached.
    static_probes: HashSet<String>,
    /// Points that are attached singly and can be attached at the same time: no two on one target.
    wave: Vec<Single<'a>>,
    filters_by_process: Option<bool>,
    kprobe_pmu: Option<Pmu>,
    uprobe_pmu: Option<Pmu>,
    cpus: Option<Vec<u32>>,
}

/// A point that is attached by perf events.
struct Single<'a> {
    program: usize,
    fd: BorrowedFd<'a>,
    point: &'a AttachPoint,
    cookie: Option<u64>,
    event: PerfEvent,
    places: Vec<Place>,
}

impl<'a> Attaching<'a> {
    fn program(
        &mut self,
        index: usize,
        program: &'a ProgramPlan,
        fd: BorrowedFd<'a>,
        style: LinkStyle,
    ) -> Result<(), RunError> {
        match style {
            LinkStyle::TestRun => self.points += program.points.len(),
            LinkStyle::PerfEvent => {
                for (point, cookie) in self.distinct(&program.points) {
                    self.single(index, fd, point, program.uses_cookie.then_some(*cookie))?;
                }
            }
            LinkStyle::KprobeMulti => {
                self.finish_wave()?;
                self.kprobes(index, program, fd)?;
            }
            LinkStyle::UprobeMulti => {
                self.finish_wave()?;
                self.uprobes(index, program, fd)?;
            }
            LinkStyle::Tracing => {
                self.finish_wave()?;
                self.tracing(index, program, fd)?;
            }
            LinkStyle::Iterator => self.iterator(index, program, fd)?,
        }
        Ok(())
    }

    /// A program's points without those that are the same place under another name, as `malloc` and
    /// `__libc_malloc` are: the kernel would run the program twice there. They count as attached.
    fn distinct<'p>(&mut self, points: &'p [(AttachPoint, u64)]) -> Vec<&'p (AttachPoint, u64)> {
        let mut seen = HashSet::new();
        let distinct: Vec<_> = points
            .iter()
            .filter(|(point, _)| match point {
                AttachPoint::Uprobe { path, .. } => seen.insert((path, file_offset(point))),
                _ => true,
            })
            .collect();
        self.points += points.len() - distinct.len();
        distinct
    }

    /// Puts a point into the wave.
    fn single(
        &mut self,
        program: usize,
        fd: BorrowedFd<'a>,
        point: &'a AttachPoint,
        cookie: Option<u64>,
    ) -> Result<(), RunError> {
        if self.wave.iter().any(|single| single.point == point) {
            self.finish_wave()?;
        }
        match self.prepare(point) {
            Ok((event, places)) => self.wave.push(Single { program, fd, point, cookie, event, places }),
            Err(error) => self.missed(point, error)?,
        }
        Ok(())
    }

    /// The perf event of a point and where it is opened.
    fn prepare(&mut self, point: &AttachPoint) -> Result<(PerfEvent, Vec<Place>), RunError> {
        let failed = |error: io::Error| cannot_attach(point, &error);
        match point {
            AttachPoint::Tracepoint { category, name } => {
                let id = (self.situation.tracepoint_id)(category, name)?;
                Ok((tracepoint::event(id), self.some_cpu().map_err(failed)?))
            }
            AttachPoint::Kprobe { module, function, offset, ret } => {
                let pmu = found(&mut self.kprobe_pmu, || Pmu::named("kprobe"))
                    .map_err(|error| no_pmu(point, "kprobe", &error))?;
                let spot =
                    kprobe::Spot { module: module.as_deref(), function, offset: *offset, on_return: *ret };
                Ok((kprobe::event(spot, &pmu).map_err(failed)?, self.some_cpu().map_err(failed)?))
            }
            AttachPoint::Uprobe { path, ret, .. } => {
                self.uprobe_event(point, path, file_offset(point).unwrap_or_default(), 0, *ret)
            }
            AttachPoint::Usdt { path, file_offset, .. } => {
                self.uprobe_event(point, path, *file_offset, semaphore(point), false)
            }
            AttachPoint::Watchpoint { address, length, mode } => {
                Ok((watchpoint::event(*address, *length, mode), self.all_cpus().map_err(failed)?))
            }
            AttachPoint::Profile { text: _, rate } => {
                Ok((sampling::profile(*rate), self.all_cpus().map_err(failed)?))
            }
            AttachPoint::Software { event, period } => {
                Ok((sampling::software(event, *period).map_err(failed)?, self.all_cpus().map_err(failed)?))
            }
            AttachPoint::Hardware { event, period } => {
                Ok((sampling::hardware(event, *period).map_err(failed)?, self.all_cpus().map_err(failed)?))
            }
            AttachPoint::Begin
            | AttachPoint::End
            | AttachPoint::SelfSignal { .. }
            | AttachPoint::Interval { .. }
            | AttachPoint::RawTracepoint { .. }
            | AttachPoint::Iter { .. }
            | AttachPoint::Test { .. }
            | AttachPoint::Bench { .. }
            | AttachPoint::Fentry { .. }
            | AttachPoint::BpfFunction { .. } => {
                Err(RunError::internal(format!("`{point}` has no perf event")))
            }
        }
    }

    /// The perf event of a breakpoint in a file, and where it is opened.
    fn uprobe_event(
        &mut self,
        point: &AttachPoint,
        path: &str,
        offset: u64,
        semaphore: u64,
        on_return: bool,
    ) -> Result<(PerfEvent, Vec<Place>), RunError> {
        let failed = |error: io::Error| cannot_attach(point, &error);
        let pmu = found(&mut self.uprobe_pmu, || Pmu::named("uprobe"))
            .map_err(|error| no_pmu(point, "uprobe", &error))?;
        let event =
            uprobe::event(archive::container(path), offset, semaphore, on_return, &pmu).map_err(failed)?;
        let places = match self.situation.pid {
            Some(pid) => vec![Place::Process(pid)],
            None => self.some_cpu().map_err(failed)?,
        };
        Ok((event, places))
    }

    fn all_cpus(&mut self) -> io::Result<Vec<Place>> {
        let cpus = found(&mut self.cpus, cpus::online)?;
        Ok(cpus.into_iter().map(Place::Cpu).collect())
    }

    /// A CPU for events that fire on all of them whichever they are opened on.
    fn some_cpu(&mut self) -> io::Result<Vec<Place>> {
        let cpus = found(&mut self.cpus, cpus::online)?;
        Ok(cpus.first().map(|cpu| Place::Cpu(*cpu)).into_iter().collect())
    }

    /// Attaches the wave.
    fn finish_wave(&mut self) -> Result<(), RunError> {
        let wave = mem::take(&mut self.wave);
        let kernel = self.kernel;
        let attached = parallel::map(&wave, |single| match signals::end_is_asked() {
            true => None,
            false => Some(attach_single(kernel, single)),
        });
        let mut failures = Vec::new();
        for (single, result) in wave.iter().zip(attached) {
            match result {
                None => {}
                Some(Ok(link)) => {
                    self.count(single.point);
                    self.links.push(link);
                }
                Some(Err(error)) => failures.push((single.point, cannot_attach(single.point, &error))),
            }
        }
        failures.into_iter().try_for_each(|(point, error)| self.missed(point, error))
    }

    fn kprobes(&mut self, index: usize, program: &ProgramPlan, fd: BorrowedFd<'_>) -> Result<(), RunError> {
        let on_return = program.kind == ProgramKind::Kretprobe;
        let result = halves::link(program.points.len(), |range| {
            let points = &program.points[range];
            let functions = points.iter().filter_map(|(point, _)| point.function());
            self.kernel.link_kprobes(fd, &kprobe::set(functions, cookies(program, points), on_return)?)
        });
        self.halves(index, &program.points, result)
    }

    fn uprobes(&mut self, index: usize, program: &ProgramPlan, fd: BorrowedFd<'_>) -> Result<(), RunError> {
        let on_return = program.kind == ProgramKind::Uretprobe;
        let pid = self.uprobe_pid(fd);
        for (path, points) in by_file(self.distinct(&program.points)) {
            let result = halves::link(points.len(), |range| {
                let points = &points[range];
                let offsets = points.iter().filter_map(|(point, _)| file_offset(point)).collect();
                let semaphores: Vec<u64> = points.iter().map(|(point, _)| semaphore(point)).collect();
                let mut set = uprobe::set(path, offsets, cookies(program, points), on_return, pid)?;
                set.semaphores = Some(semaphores).filter(|all| all.iter().any(|at| *at != 0));
                self.kernel.link_uprobes(fd, &set)
            });
            self.halves(index, &points, result)?;
        }
        Ok(())
    }

    /// The process to put a multi link's breakpoints into, 0 for all.
    fn uprobe_pid(&mut self, program: BorrowedFd<'_>) -> u32 {
        let Some(pid) = self.situation.pid else { return 0 };
        let kernel = self.kernel;
        match *self.filters_by_process.get_or_insert_with(|| uprobe::filters_by_process(kernel, program)) {
            true => pid as u32,
            false => 0,
        }
    }

    fn halves(
        &mut self,
        program: usize,
        points: &[(AttachPoint, u64)],
        result: halves::Halves,
    ) -> Result<(), RunError> {
        let halves::Halves { links, failures } = result;
        let failed = |index: usize| failures.iter().any(|(failed, _)| *failed == index);
        for (_, (point, _)) in points.iter().enumerate().filter(|(index, _)| !failed(*index)) {
            self.count(point);
        }
        for (link, points) in links {
            self.links.push(Link { program, points, fds: vec![link] });
        }
        failures.into_iter().try_for_each(|(index, error)| {
            self.missed(&points[index].0, cannot_attach(&points[index].0, &error))
        })
    }

    fn tracing(&mut self, index: usize, program: &ProgramPlan, fd: BorrowedFd<'_>) -> Result<(), RunError> {
        let (Some(tracing), [(point, _)]) = (tracing::loaded_for(program.kind), program.points.as_slice())
        else {
            return Err(RunError::internal(format!(
                "program `{}` is no tracing program of one point",
                program.name
            )));
        };
        match self.kernel.link_tracing(fd, tracing) {
            Ok(link) => {
                self.points += 1;
                self.links.push(Link { program: index, points: 1, fds: vec![link] });
                Ok(())
            }
            Err(error) => self.missed(point, cannot_attach(point, &error)),
        }
    }

    fn iterator(&mut self, index: usize, program: &ProgramPlan, fd: BorrowedFd<'_>) -> Result<(), RunError> {
        let [(point @ AttachPoint::Iter { name, of_tasks, pin: _ }, _)] = program.points.as_slice() else {
            return Err(RunError::internal(format!("program `{}` is no iterator", program.name)));
        };
        let visits = Visits::of(name, *of_tasks, self.situation.pid);
        match self.kernel.link_iterator(fd, visits) {
            Ok(link) => {
                self.points += 1;
                self.links.push(Link { program: index, points: 1, fds: vec![link] });
                Ok(())
            }
            Err(error) => self.missed(point, cannot_attach(point, &error)),
        }
    }

    /// Counts a point that was attached; of a static probe's locations, one.
    fn count(&mut self, point: &AttachPoint) {
        let new = match point {
            AttachPoint::Usdt { .. } => self.static_probes.insert(point.to_string()),
            _ => true,
        };
        self.points += usize::from(new);
    }

    fn missed(&mut self, point: &AttachPoint, error: RunError) -> Result<(), RunError> {
        match self.policy {
            MissingProbes::Error => Err(error.help(
                "to go on without probes that cannot be attached: `config = { missing_probes = \"warn\" }`",
            )),
            MissingProbes::Warn | MissingProbes::Ignore => {
                self.missing.push(Missing { point: point.to_string(), error });
                Ok(())
            }
        }
    }
}

/// What was found before, or now.
fn found<T: Clone>(cache: &mut Option<T>, find: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match cache {
        Some(value) => Ok(value.clone()),
        None => Ok(cache.insert(find()?).clone()),
    }
}

fn attach_single(kernel: &dyn Kernel, single: &Single<'_>) -> io::Result<Link> {
    let mut fds = Vec::with_capacity(single.places.len() * 2);
    for place in &single.places {
        let event = match kernel.open_perf_event(&single.event, *place) {
            Ok(event) => event,
            // A CPU that went offline since they were listed has nothing to count.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) && single.places.len() > 1 => continue,
            Err(error) => return Err(error),
        };
        let link = kernel.link_perf_event(single.fd, event.as_fd(), single.cookie)?;
        fds.extend(link);
        fds.push(event);
    }
    Ok(Link { program: single.program, points: 1, fds })
}

/// The cookies of some of a program's points, if it reads them.
fn cookies(program: &ProgramPlan, points: &[(AttachPoint, u64)]) -> Option<Vec<u64>> {
    program.uses_cookie.then(|| points.iter().map(|(_, cookie)| *cookie).collect())
}

/// A program's uprobes by the file they are in.
fn by_file(points: Vec<&(AttachPoint, u64)>) -> BTreeMap<&str, Vec<(AttachPoint, u64)>> {
    let mut files = BTreeMap::<&str, Vec<_>>::new();
    for (point, cookie) in points {
        if let AttachPoint::Uprobe { path, .. } | AttachPoint::Usdt { path, .. } = point {
            files.entry(archive::container(path)).or_default().push((point.clone(), *cookie));
        }
    }
    files
}

/// Where in its file the breakpoint of a uprobe goes.
fn file_offset(point: &AttachPoint) -> Option<u64> {
    match point {
        AttachPoint::Uprobe { file_offset, offset, skip, .. } => {
            Some(file_offset.wrapping_add(*offset).wrapping_add(u64::from(*skip)))
        }
        AttachPoint::Usdt { file_offset, .. } => Some(*file_offset),
        _ => None,
    }
}

/// Offset in the file of the counter that the kernel raises while the point is attached; 0 for none.
fn semaphore(point: &AttachPoint) -> u64 {
    match point {
        AttachPoint::Usdt { semaphore, .. } => semaphore.unwrap_or(0),
        _ => 0,
    }
}

fn cannot_attach(point: &AttachPoint, error: &io::Error) -> RunError {
    let remedy = error.raw_os_error().and_then(|errno| remedy(point, errno)).map(str::to_string);
    let cannot = RunError::system(format!("cannot attach `{point}`"), error)
        .help_if(remedies::for_refusal(error).or(remedy));
    match (point, error.raw_os_error()) {
        // The errno's own words speak of processes and files.
        (AttachPoint::Kprobe { .. }, Some(errno @ (libc::ESRCH | libc::ENOENT))) => RunError {
            cause: Some(format!("no such function ({})", errno::name(errno).unwrap_or("?")).into()),
            ..cannot
        },
        _ => cannot,
    }
}

/// What to do about an errno at this kind of point.
fn remedy(point: &AttachPoint, errno: i32) -> Option<&'static str> {
    let of_all = match errno {
        libc::EMFILE | libc::ENFILE => Some("too many open files: raise `ulimit -n`"),
        libc::EOPNOTSUPP
            if errno::name(errno).is_some() && !matches!(point, AttachPoint::Hardware { .. }) =>
        {
            Some("this kernel cannot do that; `memql --info` says what it offers")
        }
        _ => None,
    };
    let of_kind = match point {
        AttachPoint::Tracepoint { .. } => tracepoint::remedy(errno),
        AttachPoint::Kprobe { .. } => kprobe::remedy(errno),
        AttachPoint::Uprobe { .. } | AttachPoint::Usdt { .. } => uprobe::remedy(errno),
        AttachPoint::RawTracepoint { .. } | AttachPoint::Fentry { .. } | AttachPoint::BpfFunction { .. } => {
            tracing::remedy(errno)
        }
        AttachPoint::Profile { .. } | AttachPoint::Software { .. } => sampling::remedy(errno, false),
        AttachPoint::Hardware { .. } => sampling::remedy(errno, true),
        AttachPoint::Watchpoint { .. } => watchpoint::remedy(errno),
        AttachPoint::Iter { .. } => iterator::remedy(errno),
        AttachPoint::Begin
        | AttachPoint::End
        | AttachPoint::SelfSignal { .. }
        | AttachPoint::Interval { .. }
        | AttachPoint::Test { .. }
        | AttachPoint::Bench { .. } => None,
    };
    of_kind.or(of_all)
}

fn no_pmu(point: &AttachPoint, probes: &str, error: &io::Error) -> RunError {
    let error = RunError::system(
        format!("cannot attach `{point}`: no `{probes}` events in /sys/bus/event_source/devices"),
        error,
    );
    error.help(match probes {
        "kprobe" => "this kernel is built without kprobes (CONFIG_KPROBE_EVENTS): use a tracepoint, or let the script fall back with `||`",
        _ => "this kernel is built without uprobes (CONFIG_UPROBE_EVENTS), or sysfs is not mounted",
    })
}
