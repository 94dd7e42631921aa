//! From the object's bytes to programs and maps in the kernel: [`Opened`], then [`Loaded`].
//!
//! libbpf opens the very bytes that `--emit elf` writes. What remains to be said before loading is how
//! each program will be attached, since the kernel fixes that at load time ([`LinkStyle`]); programs
//! without an attach point are left out. Dropping either phase frees everything.
//!
//! On kernels before 5.11 maps count against RLIMIT_MEMLOCK; libbpf lifts that limit by itself where it
//! finds that it matters.

mod libbpf_messages;
mod refused;
mod rejection;

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use libbpf_rs::libbpf_sys;
use libbpf_rs::{
    AsRawLibbpf, MapCore, Object, ObjectBuilder, OpenObject, OpenProgramMut, PrintLevel, ProgramAttachType,
};
use memql_compiler::attach::AttachPoint;
use memql_compiler::plan::{Compiled, Plan, ProgramPlan};
use memql_compiler::target::Features;

use crate::attach::LinkStyle;
use crate::error::RunError;
use crate::remedies::Remedies;
use crate::target::programs;
use libbpf_messages::Recording;

/// Each instruction with what is known there (`BPF_LOG_LEVEL1`, include/linux/bpf_verifier.h).
const VERIFIER_LOG_LEVEL: u32 = 1;

/// The object's name in the kernel's lists; its maps are `memql.bss` and so on.
const OBJECT_NAME: &str = "memql";

/// Whose words about loading are kept although it goes well: `-d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// libbpf's, down to its debug messages.
    pub libbpf: bool,
    /// The kernel verifier's, of each program.
    pub verifier: bool,
}

impl Logs {
    /// Whether there are any.
    pub fn any(self) -> bool {
        self.libbpf || self.verifier
    }

    /// Down to which level libbpf's messages are recorded: it hands on the verifier's log of a program that
    /// loads as a debug message.
    fn level(self) -> PrintLevel {
        if self.any() { PrintLevel::Debug } else { PrintLevel::Warn }
    }

    /// What libbpf's messages come to.
    fn wanted(self, messages: Vec<String>) -> Vec<String> {
        match (self.libbpf, self.verifier) {
            (false, true) => messages.into_iter().filter(|m| m.contains("PROG LOAD LOG")).collect(),
            _ => messages,
        }
    }
}

/// An object that libbpf has read; nothing is in the kernel yet.
pub struct Opened<'a> {
    object: OpenObject,
    plan: &'a Plan,
    styles: Vec<LinkStyle>,
    /// Loaded programs that programs of the object trace.
    traced: Vec<OwnedFd>,
    logs: Logs,
}

impl<'a> Opened<'a> {
    /// Reads the object and decides how its programs will be attached.
    ///
    /// # Errors
    /// If an eBPF program that is to be traced has gone; otherwise only if memql's own object is malformed.
    pub fn open(compiled: &'a Compiled, features: &Features, logs: Logs) -> Result<Opened<'a>, RunError> {
        let recording = Recording::start(PrintLevel::Warn);
        let mut object = ObjectBuilder::default()
            .name(OBJECT_NAME)
            .and_then(|builder| builder.open_memory(&compiled.object))
            .map_err(|error| {
                let mut internal =
                    RunError::internal(format!("libbpf cannot read memql's object: {error:#}"));
                internal.log = Some(recording.messages().join("\n").into());
                internal
            })?;
        let plan = &compiled.plan;
        let styles: Vec<LinkStyle> =
            plan.programs.iter().map(|program| LinkStyle::of(program, features)).collect();
        let mut traced = Vec::new();
        for mut program in object.progs_mut() {
            if logs.verifier {
                program.set_log_level(VERIFIER_LOG_LEVEL);
            }
            match plan.programs.iter().position(|p| OsStr::new(&p.name) == program.name()) {
                Some(index) if !plan.programs[index].points.is_empty() => {
                    if let Some(attach_type) = attach_type(styles[index]) {
                        program.set_attach_type(attach_type);
                    }
                    let points = plan.programs[index].points.as_slice();
                    if let [(AttachPoint::BpfFunction { program: id, function, exit: _ }, _)] = points {
                        traced.push(aim(&mut program, *id, function)?);
                    }
                }
                Some(_) | None => program.set_autoload(false),
            }
        }
        Ok(Opened { object, plan, styles, traced, logs })
    }

    /// Gives a map of the object so many entries.
    ///
    /// # Errors
    /// An internal error if there is none, or libbpf refuses.
    pub fn size_map(&mut self, elf_name: &str, entries: u32) -> Result<(), RunError> {
        let refused = |error: libbpf_rs::Error| RunError::internal(format!("`{elf_name}`: {error:#}"));
        let mut map = self.object.maps_mut().find(|map| map.name() == OsStr::new(elf_name));
        match &mut map {
            Some(map) => map.set_max_entries(entries).map_err(refused),
            None => Err(RunError::internal(format!("the object has no map `{elf_name}`"))),
        }
    }

    /// Makes the maps and has the kernel verify the programs.
    ///
    /// # Errors
    /// If the kernel refuses a map or a program: which one, why, and what to do.
    pub fn load(self) -> Result<Loaded, RunError> {
        let Opened { object, plan, styles, traced: _until_loaded, logs } = self;
        let recording = Recording::start(logs.level());
        let started = Instant::now();
        // SAFETY: the object is open and not loaded; libbpf undoes a failed load when it is closed.
        let result = unsafe { libbpf_sys::bpf_object__load(object.as_libbpf_object().as_ptr()) };
        let messages = recording.messages();
        if result < 0 {
            let error = io::Error::from_raw_os_error(-result);
            return Err(refused::refused(&error, plan, &messages, &Remedies::here()));
        }
        // SAFETY: it is loaded now, and `take_ptr` gives up the only other owner.
        let object = unsafe { Object::from_ptr(object.take_ptr()) };
        let fds = program_fds(&object, plan)?;
        let programs = fds.into_iter().zip(styles).map(|(fd, style)| LoadedProgram { fd, style }).collect();
        Ok(Loaded { object, programs, took: started.elapsed(), messages: logs.wanted(messages) })
    }
}

/// Has a program bound to a function of a loaded eBPF program when it is loaded; the descriptor must live until
/// then.
fn aim(program: &mut OpenProgramMut<'_>, id: u32, function: &str) -> Result<OwnedFd, RunError> {
    let what = format!("cannot trace `{function}` of eBPF program {id}");
    let target = programs::open(id).map_err(|error| RunError::system(what.clone(), &error))?;
    let target = target.ok_or_else(|| RunError::plain(format!("{what}: it is not loaded any more")))?;
    program
        .set_attach_target(target.as_raw_fd(), Some(function.to_owned()))
        .map_err(|error| RunError::plain(format!("{what}: {error:#}")))?;
    Ok(target)
}

/// What the kernel must be told at load time about how a program will be attached.
fn attach_type(style: LinkStyle) -> Option<ProgramAttachType> {
    match style {
        LinkStyle::KprobeMulti => Some(ProgramAttachType::KprobeMulti),
        LinkStyle::UprobeMulti => Some(ProgramAttachType::TraceUprobeMulti),
        LinkStyle::TestRun | LinkStyle::PerfEvent | LinkStyle::Tracing | LinkStyle::Iterator => None,
    }
}

/// An object whose maps and programs are in the kernel.
pub struct Loaded {
    /// The maps and programs, as libbpf knows them.
    object: Object,
    programs: Vec<LoadedProgram>,
    took: Duration,
    messages: Vec<String>,
}

/// One program of the plan.
#[derive(Clone, Copy, Debug)]
struct LoadedProgram {
    /// `None` for a program without attach points, which is not loaded. Owned by the object.
    fd: Option<RawFd>,
    style: LinkStyle,
}

impl Loaded {
    /// The object, for its maps.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The plan's n-th program; `None` if it has no attach points.
    pub fn program(&self, index: usize) -> Option<BorrowedFd<'_>> {
        let fd = self.programs.get(index)?.fd?;
        // SAFETY: the object owns the descriptor and outlives the borrow.
        Some(unsafe { BorrowedFd::borrow_raw(fd) })
    }

    /// How the plan's n-th program is attached.
    pub fn style(&self, index: usize) -> Option<LinkStyle> {
        self.programs.get(index).map(|program| program.style)
    }

    /// A map by its name in the object.
    ///
    /// # Errors
    /// An internal error if there is none.
    pub fn map(&self, elf_name: &str) -> Result<libbpf_rs::Map<'_>, RunError> {
        self.object
            .maps()
            .find(|map| map.name() == OsStr::new(elf_name))
            .ok_or_else(|| RunError::internal(format!("the object has no map `{elf_name}`")))
    }

    /// How long the kernel took.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// What libbpf had to say although it went well; for `-v`.
    pub fn messages(&self) -> &[String] {
        &self.messages
    }
}

fn program_fds(object: &Object, plan: &Plan) -> Result<Vec<Option<RawFd>>, RunError> {
    let fd = |program: &ProgramPlan| {
        if program.points.is_empty() {
            return Ok(None);
        }
        object
            .progs()
            .find(|loaded| loaded.name() == OsStr::new(&program.name))
            .map(|loaded| Some(loaded.as_fd().as_raw_fd()))
            .ok_or_else(|| RunError::internal(format!("the object has no program `{}`", program.name)))
    };
    plan.programs.iter().map(fd).collect()
}

/// The probe a program belongs to, as the script's reader knows it.
pub fn probe_name(program: &ProgramPlan) -> String {
    match program.points.as_slice() {
        [] => program.name.clone(),
        [(point, _)] => point.to_string(),
        [(first, _), rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}
