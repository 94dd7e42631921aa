//! A run from a compiled script to its last line of output.
//!
//! [`run`] reads as the list of its phases. What it promises:
//!
//! - `begin` probes have run before anything is attached; what they print comes first, after the word that
//!   everything is attached.
//! - The child of `-c` executes its first instruction, and `--ready-fd` gets its byte, when everything is attached.
//! - When the run ends, all events that were sent before are printed, then `end` probes run, then the
//!   maps are printed, then losses are reported; only then is anything detached. Probes go on meanwhile:
//!   what they send after the end is not printed, what they add to maps may be.
//!   After a signal, events are handled for a second; what is left then is counted and told.
//! - Iterators run once everything is attached, one after the other, in the order of the script.
//! - Tests and benchmarks run in place of everything else but `begin` and `end`.
//! - A run whose probes are all `begin`, `end` and iterators ends by itself.
//! - After `exit()`, no event is printed that came after it, `end` probes' excepted.
//! - Whatever fails, what was attached is detached and a child that was never let go is killed.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use memql_compiler::attach::AttachPoint;
use memql_compiler::plan::{Compiled, MissingProbes, Plan, ProgramPlan};
use memql_compiler::target::Target;
use memql_grammar::ast::Span;

use crate::attach::{Attached, Situation};
use crate::clock;
use crate::error::RunError;
use crate::event_loop::{Ended, EventLoop, Handler, More};
use crate::failure::Failure;
use crate::health::{self, Lost};
use crate::iterate::{self, Iteration};
use crate::load::{Loaded, Logs, Opened};
use crate::maps::KernelMaps;
use crate::output::{self, Buffering, KernelNames, OutputError, OutputFormat};
use crate::process::Child;
use crate::receiver::{Mode, Receiver};
use crate::ring::{BATCH_TIME, Read, Ring};
use crate::service;
use crate::signals::{self, Signals};
use crate::target::Running;
use crate::triggers::{self, Triggers};
use crate::unwind::Filled;
use crate::verbose;
use crate::world::World;

/// How to run a script.
#[derive(Debug, Default)]
pub struct RunOptions {
    /// `-p`: the run is about this process and ends with it.
    pub pid: Option<u32>,
    /// `-c`: the run is about this child, lets it go when everything is attached, and ends with it.
    pub child: Option<Child>,
    /// `--dwarf-pid`: further processes that `dw_ustack` is asked of.
    pub unwound: Vec<u32>,
    /// `-f`
    pub format: OutputFormat,
    /// `-o`: the file for results; stdout without.
    pub output: Option<PathBuf>,
    /// `-B`: when output is written.
    pub buffering: Buffering,
    /// `-q`: say nothing about attaching.
    pub quiet: bool,
    /// `-v`: say what was loaded and attached.
    pub verbose: bool,
    /// `-d libbpf`, `-d verifier`: whose words about loading are shown.
    pub logs: Logs,
    /// `--dry-run`: end when everything is attached, without running anything.
    pub dry_run: bool,
    /// `--no-warnings`: leave out what is told beside the output, errors excepted.
    pub no_warnings: bool,
    /// `--strict`: under `-f json`, says at the end that nothing was lost, too.
    pub strict: bool,
    /// `--ready-fd`: gets a byte when everything is attached, and is closed.
    pub ready_fd: Option<RawFd>,
}

/// How a run ended that ended as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What memql exits with: the script's `exit(code)`, of which eight bits are kept, else 0.
    pub exit_code: u8,
    /// What was lost meanwhile; it has been reported.
    pub losses: Vec<Lost>,
    /// Under `-k`, what was lost at each place of the script.
    pub lost_at: Vec<(Span, String)>,
}

/// Runs a compiled script to its end.
///
/// # Errors
/// If the system refuses something the script needs, or the output cannot be written.
pub fn run(compiled: Compiled, target: &Running, options: RunOptions) -> Result<Outcome, RunError> {
    let plan = &compiled.plan;
    let triggers = Triggers::of(plan);
    let signals =
        Signals::take(&triggers.signal_numbers()).map_err(|e| RunError::system("cannot take signals", &e))?;
    let mut world = World::of(options)?;
    let unwinding = world.unwinding(plan)?;
    let opened = Opened::open(&compiled, target.features(), world.logs).and_then(|mut opened| {
        unwinding.iter().try_for_each(|unwinding| unwinding.size_maps(&mut opened))?;
        Ok(opened)
    });
    let loaded = opened.and_then(Opened::load).inspect_err(|error| world.show_log(error))?;
    world.show_messages(&loaded);
    let unwinding = unwinding.map(|unwinding| unwinding.fill(&loaded)).transpose()?;
    let maps = KernelMaps::of(plan, loaded.object()).map_err(OutputError::from)?;
    let names = KernelNames::new(target, plan.types.clone());
    let settings = output::Settings {
        sink: world.sink()?,
        format: world.format,
        warnings: !world.no_warnings,
        names: &names,
        outside: &output::System,
    };
    let receiver = RefCell::new(Receiver::new(settings.open(plan), &maps));
    let ring_map = plan.ring.as_deref().map(|name| loaded.map(name)).transpose()?;
    let receive = |event: &[u8]| receiver.borrow_mut().receive(event);
    let ring = ring_map.as_ref().map(|map| Ring::map(map, receive)).transpose()?;
    let run = Run {
        plan,
        loaded: &loaded,
        maps: &maps,
        receiver: &receiver,
        ring: ring.as_ref(),
        unwinding: RefCell::new(unwinding),
        triggers: &triggers,
        told_lost: Cell::new(0),
        strict: world.strict,
    };
    if world.verbose {
        eprint!("{}", verbose::loaded(plan, &loaded));
        run.unwinding.borrow().iter().for_each(|unwinding| eprint!("{}", unwinding.verbose()));
    }

    if world.dry_run {
        run.attach(target, &world)?;
        return Ok(Outcome { exit_code: 0, losses: Vec::new(), lost_at: Vec::new() });
    }
    run.begin(&world)?;
    if triggers.has_trials() {
        return run.trials(&signals, &mut world);
    }
    let mut attached = None;
    let points = match receiver.borrow().kept_exit() {
        true => triggers.points(),
        false => attached.insert(run.attach(target, &world)?).points(),
    };
    run.announce(points, &mut world)?;
    // A command that was let go is waited for, whatever is probed: it is what the run is about.
    let alone = attached.is_none() || (triggers.each_runs_once(points) && world.child.is_none());
    if attached.is_some() {
        run.read_tables_of_child(&mut world)?;
        world.let_child_go()?;
    }
    let ended = run.until_end(&signals, &world, alone, attached.as_ref())?;
    run.finish(ended, &signals, attached.as_ref())
    // Dropped here, in this order: what is attached, the ring buffer, the programs and maps, the child.
}

/// A run whose programs are loaded.
pub(crate) struct Run<'r, 'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) loaded: &'a Loaded,
    pub(crate) maps: &'a KernelMaps,
    pub(crate) receiver: &'r RefCell<Receiver<'a>>,
    ring: Option<&'r Ring<'r>>,
    unwinding: RefCell<Option<Filled<'a>>>,
    pub(crate) triggers: &'a Triggers,
    /// Lost events that were told already.
    told_lost: Cell<u64>,
    /// `--strict`
    strict: bool,
}

/// Whoever asks a run to end does not wait longer for what was sent before: events that make memql run
/// commands can take minutes.
const TIME_AFTER_SIGNAL: Duration = Duration::from_secs(1);

/// Lost events are told this often while the run goes on.
const LOST_EVERY: Duration = Duration::from_secs(1);

impl Run<'_, '_> {
    /// Runs the `begin` probes and keeps what they send.
    fn begin(&self, world: &World) -> Result<(), RunError> {
        self.receiver.borrow_mut().output.watch(world.pid().map(|pid| pid as u32), &world.unwound);
        self.set_start_time()?;
        self.receiver.borrow_mut().set_mode(Mode::Keep);
        for program in &self.triggers.begin {
            triggers::run(self.plan, self.loaded, *program)?;
            self.read_ring()?;
        }
        self.receiver.borrow_mut().set_mode(Mode::Print);
        Ok(())
    }

    /// What `elapsed` counts from.
    fn set_start_time(&self) -> Result<(), RunError> {
        let Some(offset) = self.plan.start_time else { return Ok(()) };
        let written = self.maps.bss().is_some_and(|bss| bss.write_u64(offset, clock::boot_ns()));
        if written { Ok(()) } else { Err(RunError::internal("the start time has no place in the object")) }
    }

    fn attach(&self, target: &Running, world: &World) -> Result<Attached, RunError> {
        let id_of = |category: &str, name: &str| {
            target.tracepoint_id(category, name).map_err(|error| {
                RunError::plain(format!("cannot attach `tracepoint:{category}:{name}`: {}", error.message))
                    .help_if(error.help)
            })
        };
        let attached =
            Attached::attach(self.plan, self.loaded, &Situation { pid: world.pid(), tracepoint_id: &id_of })?;
        if world.verbose {
            eprint!("{}", verbose::attached(self.plan, self.loaded, &attached));
        }
        if self.plan.settings.missing_probes == MissingProbes::Warn && !world.no_warnings {
            for missing in attached.missing() {
                eprintln!("warning: {}", missing.error.in_one_line());
            }
        }
        Ok(attached)
    }

    /// Tells everybody that nothing more is going to be attached.
    fn announce(&self, points: usize, world: &mut World) -> Result<(), RunError> {
        if !world.quiet {
            let mut receiver = self.receiver.borrow_mut();
            receiver.output.attached_probes(points as u64)?;
            receiver.output.flush()?;
        }
        world.tell_ready()
    }

    /// Before a child runs code of its own, its libraries' unwind tables are there. What its loader does
    /// is traced meanwhile.
    fn read_tables_of_child(&self, world: &mut World) -> Result<(), RunError> {
        let (Some(child), Some(unwinding)) = (&mut world.child, &mut *self.unwinding.borrow_mut()) else {
            return Ok(());
        };
        self.receiver.borrow_mut().set_mode(Mode::Keep);
        child.run_to_entry(|| self.read_ring())?;
        self.receiver.borrow_mut().set_mode(Mode::Print);
        unwinding.look_at(child.pid());
        if world.verbose {
            eprint!("{}", unwinding.verbose());
        }
        Ok(())
    }

    /// Prints events and runs `interval` and `self:signal` probes until something ends the run. One that has
    /// nothing but what its `begin` probes sent (`alone`) ends after that.
    fn until_end(
        &self,
        signals: &Signals,
        world: &World,
        alone: bool,
        attached: Option<&Attached>,
    ) -> Result<Ended, RunError> {
        if let Some(attached) = attached
            && let Err(failure) = self.iterate(attached)
        {
            return failure.reader_gone_or_error();
        }
        let timers = if alone { Vec::new() } else { self.triggers.timers()? };
        let mut event_loop = EventLoop::new(signals, self.ring, &timers)?;
        for process in world.process.iter().chain(world.child.as_ref().map(Child::process)) {
            if !alone {
                event_loop.end_with(process)?;
            }
        }
        let unwinding = self.unwinding.borrow();
        for told in unwinding.iter().flat_map(Filled::fds).filter(|_| !alone) {
            event_loop.look_when_mapped(told)?;
        }
        drop(unwinding);
        for told in self.receiver.borrow().output.watched().filter(|_| !alone) {
            event_loop.look_when_mapped(told)?;
        }
        if world.to_stdout {
            event_loop.end_with_reader(&io::stdout())?;
        }
        let ended = event_loop.run(&mut Live { run: self, alone, told_lost: Instant::now() });
        ended.or_else(Failure::reader_gone_or_error)
    }

    /// Runs tests and benchmarks, then the `end` probes; exits with 1 if one has failed.
    fn trials(&self, signals: &Signals, world: &mut World) -> Result<Outcome, RunError> {
        world.tell_ready()?;
        let passed = self.run_tests_or_benches();
        let (ended, passed) = match passed {
            Ok(passed) => (Ended::NothingToWaitFor, passed),
            Err(failure) => (failure.reader_gone_or_error()?, true),
        };
        let outcome = self.finish(ended, signals, None)?;
        Ok(Outcome { exit_code: if passed { outcome.exit_code } else { 1 }, ..outcome })
    }

    fn run_tests_or_benches(&self) -> Result<bool, Failure> {
        match self.triggers.tests.is_empty() {
            false => self.run_tests(),
            true => self.run_benches(),
        }
    }

    /// Lets the iterators go over the objects that there are now, one after the other. Those that are pinned are
    /// left to whoever reads their files.
    fn iterate(&self, attached: &Attached) -> Result<(), Failure> {
        for program in &self.triggers.iterators {
            self.drain()?;
            if self.receiver.borrow().exit().is_some() || signals::end_is_asked() {
                break;
            }
            // One that could not be attached was told.
            let of_program = attached.links().find(|link| link.program == *program);
            let Some(link) = of_program.and_then(|link| link.fds.first()) else { continue };
            let ProgramPlan { points, events, .. } = &self.plan.programs[*program];
            let Some((point, _)) = points.first() else { continue };
            if let AttachPoint::Iter { pin: Some(file), .. } = point {
                let path = iterate::pin(link.as_fd(), &point.to_string(), file)?;
                self.receiver.borrow_mut().output.pinned(&path)?;
                continue;
            }
            let failed = |error: io::Error| RunError::system(format!("cannot run `{point}`"), &error);
            let mut iteration = Iteration::begin(link.as_fd()).map_err(failed)?;
            self.receiver.borrow_mut().set_mode(Mode::Iterate { first: events.start, end: events.end });
            while iteration.go_on().map_err(failed)? && !signals::end_is_asked() {
                self.drain_some()?;
            }
            self.drain_some()?;
            self.receiver.borrow_mut().end_of_iteration();
        }
        Ok(())
    }

    /// Prints the events that were sent before now, as far as the reader is to see them at once.
    fn drain_some(&self) -> Result<(), Failure> {
        if let Some(ring) = self.ring {
            let read = ring.read_until(ring.end(), None).map_err(ring_failed)?;
            self.check(read)?;
        }
        Ok(self.receiver.borrow_mut().output.pause()?)
    }

    /// Prints what is left, runs the `end` probes, prints the maps and what was lost.
    fn finish(
        &self,
        ended: Ended,
        signals: &Signals,
        attached: Option<&Attached>,
    ) -> Result<Outcome, RunError> {
        signals.end_at_once_on_next();
        service::tell(service::State::Stopping);
        let losses = match self.last_words(ended, attached) {
            Ok(losses) => losses,
            Err(failure) => {
                failure.reader_gone_or_error()?;
                Vec::new()
            }
        };
        let lost_at = health::lost_at(self.plan, |offset| self.maps.bss()?.read_u64(offset));
        Ok(Outcome { exit_code: self.receiver.borrow().exit().unwrap_or(0) as u8, losses, lost_at })
    }

    fn last_words(&self, ended: Ended, attached: Option<&Attached>) -> Result<Vec<Lost>, Failure> {
        if ended == Ended::ReaderGone {
            return Ok(Vec::new());
        }
        let left = match ended {
            Ended::Signal(_) => self.drain_for(TIME_AFTER_SIGNAL)?,
            Ended::Exit(_) | Ended::Process | Ended::ReaderGone | Ended::NothingToWaitFor => {
                self.drain()?;
                0
            }
        };
        for program in &self.triggers.end {
            self.run_after_others(*program)?;
        }
        self.tell_lost_events()?;
        let mut receiver = self.receiver.borrow_mut();
        if self.plan.settings.print_maps_on_exit && !self.triggers.has_trials() {
            receiver.output.print_all_maps(self.maps)?;
        }
        receiver.output.end_of_script();
        receiver.output.flush()?;
        let mut losses = health::losses(self.plan, self.maps.bss(), self.loaded, attached);
        losses.extend(health::not_printed(left));
        losses.extend(self.unwinding.borrow().as_ref().and_then(Filled::without_room));
        losses.extend(receiver.output.unread_maps());
        let unwinding = self.unwinding.borrow().as_ref().map_or(0, Filled::lost_mappings);
        losses.extend(health::lost_mappings(receiver.output.lost_mappings() + unwinding));
        receiver.output.losses(&losses, self.strict)?;
        Ok(losses)
    }

    /// Runs an `end` probe and prints what it sends. Others are still attached: what they have sent since the run
    /// ended makes room for it, and is let go, be it an `exit()`.
    fn run_after_others(&self, program: usize) -> Result<(), Failure> {
        self.receiver.borrow_mut().set_mode(Mode::LetGo);
        self.empty_ring()?;
        let std::ops::Range { start: first, end } = self.plan.programs[program].events;
        self.receiver.borrow_mut().set_mode(Mode::Of { first, end });
        triggers::run(self.plan, self.loaded, program)?;
        self.drain()
    }

    /// Runs a probe while others run. Whatever they send, there is room for what this one sends: an
    /// `exit()` in it is not lost.
    fn run_among_others(&self, program: usize) -> Result<(), Failure> {
        self.receiver.borrow_mut().set_mode(Mode::Keep);
        self.empty_ring()?;
        triggers::run(self.plan, self.loaded, program)?;
        // What was kept is printed before what this one sent.
        self.receiver.borrow_mut().set_mode(Mode::Print);
        Ok(())
    }

    fn empty_ring(&self) -> Result<(), Failure> {
        Ok(self.read_ring()?)
    }

    /// Gives the receiver all events that were sent before now.
    fn read_ring(&self) -> Result<(), RunError> {
        if let Some(ring) = self.ring {
            ring.read_until(ring.end(), None).map_err(|error| cannot_read_ring(&error))?;
        }
        Ok(())
    }

    /// Says how many events were lost since this was last said.
    fn tell_lost_events(&self) -> Result<(), Failure> {
        let lost = health::lost_events(self.plan, self.maps.bss());
        let told = self.told_lost.replace(lost);
        if lost > told {
            self.receiver.borrow_mut().output.lost_events(lost - told)?;
        }
        Ok(())
    }

    /// Handles all events that were sent before now.
    pub(crate) fn drain(&self) -> Result<(), Failure> {
        self.receiver.borrow_mut().print_kept(None);
        self.check(Read::All)?;
        if let Some(ring) = self.ring {
            let read = ring.read_until(ring.end(), None).map_err(ring_failed)?;
            self.check(read)?;
        }
        Ok(self.receiver.borrow_mut().output.flush()?)
    }

    /// Handles the events that were sent before now for so long, and lets the others go: how many.
    fn drain_for(&self, time: Duration) -> Result<u64, Failure> {
        let Some(ring) = self.ring else { return Ok(0) };
        let (end, deadline) = (ring.end(), Instant::now() + time);
        self.receiver.borrow_mut().print_kept(Some(deadline));
        self.check(Read::All)?;
        let all_kept = !self.receiver.borrow().has_kept();
        if all_kept {
            let read = ring.read_until(end, Some(deadline)).map_err(ring_failed)?;
            self.check(read)?;
        }
        let before = self.receiver.borrow().let_go();
        self.receiver.borrow_mut().let_kept_go();
        ring.read_until(end, None).map_err(ring_failed)?;
        let mut receiver = self.receiver.borrow_mut();
        receiver.output.flush()?;
        // After `exit()` events are let go in any case.
        Ok(if receiver.exit().is_none() { receiver.let_go() - before } else { 0 })
    }

    /// If reading stopped because an event could not be handled: why.
    fn check(&self, read: Read) -> Result<(), Failure> {
        match (self.receiver.borrow_mut().take_failure(), read) {
            (Some(error), _) => Err(error.into()),
            (None, Read::Stopped) => {
                Err(RunError::internal("reading events stopped without a reason").into())
            }
            (None, Read::Some(_) | Read::All) => Ok(()),
        }
    }
}

/// What the event loop calls.
struct Live<'l, 'r, 'a> {
    run: &'l Run<'r, 'a>,
    /// Nothing comes after what was kept.
    alone: bool,
    /// When lost events were last told.
    told_lost: Instant,
}

impl Handler for Live<'_, '_, '_> {
    fn read(&mut self) -> Result<More, Failure> {
        let run = self.run;
        let kept = run.receiver.borrow().has_kept();
        let read = match kept {
            true => {
                run.receiver.borrow_mut().print_kept(Some(Instant::now() + BATCH_TIME));
                Read::Some(0)
            }
            false if self.alone => Read::All,
            false => {
                let read = |ring: &Ring<'_>| {
                    ring.gather();
                    ring.read()
                };
                run.ring.map_or(Ok(Read::All), read).map_err(ring_failed)?
            }
        };
        run.check(read)?;
        Ok(match (run.receiver.borrow().exit(), read) {
            (Some(code), _) => More::Exit(code),
            (None, Read::Some(_)) => More::Yes,
            (None, Read::All | Read::Stopped) if self.alone => More::Never,
            (None, Read::All | Read::Stopped) => More::No,
        })
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.told_lost.elapsed() >= LOST_EVERY {
            self.run.tell_lost_events()?;
            self.told_lost = Instant::now();
        }
        Ok(self.run.receiver.borrow_mut().output.pause()?)
    }

    fn timer(&mut self, program: usize) -> Result<(), Failure> {
        self.run.run_among_others(program)
    }

    fn mapped(&mut self) {
        // Programs wait for unwind tables, names are only needed when something is printed.
        self.run.unwinding.borrow_mut().iter_mut().for_each(Filled::catch_up);
        self.run.receiver.borrow_mut().output.note_mapped();
    }

    fn signal(&mut self, signal: i32) -> Result<(), Failure> {
        // The kernel may wake us for a signal before it does for what was mapped earlier.
        self.run.unwinding.borrow_mut().iter_mut().for_each(Filled::catch_up);
        let of_signal = self.run.triggers.signals.iter().filter(|(number, _)| *number == signal);
        of_signal.map(|(_, program)| *program).try_for_each(|program| self.timer(program))
    }
}

fn ring_failed(error: io::Error) -> Failure {
    cannot_read_ring(&error).into()
}

fn cannot_read_ring(error: &io::Error) -> RunError {
    RunError::system("cannot read the ring buffer", error)
}
