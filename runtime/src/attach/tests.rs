//! Attaching through a kernel that answers as the test says: no root needed.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;

use memql_compiler::attach::{PlaceName, ProgramKind, SampleRate};
use memql_compiler::plan::Settings;

use super::kernel::{KprobeSet, Tracing, UprobeSet};
use super::*;

/// Writes down what it is asked and refuses what the test names.
#[derive(Default)]
struct Scripted {
    calls: Mutex<Vec<String>>,
    /// Calls whose text contains this fail with this errno.
    refuse: Vec<(&'static str, i32)>,
}

impl Scripted {
    fn answer(&self, call: String) -> io::Result<OwnedFd> {
        let refused = self.refuse.iter().find(|(part, _)| call.contains(part)).map(|(_, errno)| *errno);
        self.calls.lock().unwrap().push(call);
        match refused {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(File::open("/dev/null")?.into()),
        }
    }

    fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl Kernel for Scripted {
    fn open_perf_event(&self, event: &PerfEvent, place: Place) -> io::Result<OwnedFd> {
        let place = match place {
            Place::Process(pid) => format!("process {pid}"),
            Place::Cpu(_) => "cpu".into(),
        };
        let name = event.name.as_ref().map(|name| format!(" {}", name.to_string_lossy())).unwrap_or_default();
        self.answer(format!("perf{name} {}+{} on {place}", event.config, event.offset))
    }

    fn link_perf_event(
        &self,
        _program: BorrowedFd<'_>,
        _event: BorrowedFd<'_>,
        cookie: Option<u64>,
    ) -> io::Result<Option<OwnedFd>> {
        self.answer(format!("link cookie {cookie:?}")).map(Some)
    }

    fn link_kprobes(&self, _program: BorrowedFd<'_>, set: &KprobeSet) -> io::Result<OwnedFd> {
        let names: Vec<_> = set.functions.iter().map(|name| name.to_string_lossy()).collect();
        self.answer(format!("kprobes {} return {}", names.join(","), set.on_return))
    }

    fn link_uprobes(&self, _program: BorrowedFd<'_>, set: &UprobeSet) -> io::Result<OwnedFd> {
        let UprobeSet { path, offsets, semaphores: _, cookies, on_return: _, pid } = set;
        self.answer(format!("uprobes {} {offsets:?} cookies {cookies:?} pid {pid}", path.to_string_lossy()))
    }

    fn link_tracing(&self, _program: BorrowedFd<'_>, tracing: Tracing) -> io::Result<OwnedFd> {
        self.answer(format!("tracing {tracing:?}"))
    }

    fn link_iterator(&self, _program: BorrowedFd<'_>, visits: Visits) -> io::Result<OwnedFd> {
        self.answer(format!("iterator {visits:?}"))
    }
}

/// Programs that are all loaded, each with the style given.
struct AllLoaded {
    fd: OwnedFd,
    styles: Vec<LinkStyle>,
}

impl ProgramSource for AllLoaded {
    fn get(&self, index: usize) -> Option<(BorrowedFd<'_>, LinkStyle)> {
        Some((self.fd.as_fd(), *self.styles.get(index)?))
    }
}

fn program(style: LinkStyle, points: Vec<AttachPoint>) -> (LinkStyle, ProgramPlan) {
    let kind = points[0].kind();
    let points = points.into_iter().zip(10..).collect();
    (style, ProgramPlan { name: "p".into(), kind, points, uses_cookie: false, events: 0..0 })
}

struct Case {
    kernel: Scripted,
    pid: Option<i32>,
    policy: MissingProbes,
}

impl Default for Case {
    fn default() -> Self {
        Case { kernel: Scripted::default(), pid: None, policy: MissingProbes::Error }
    }
}

impl Case {
    fn refusing(refuse: &[(&'static str, i32)]) -> Case {
        Case { kernel: Scripted { refuse: refuse.to_vec(), ..Scripted::default() }, ..Case::default() }
    }

    fn attach(&self, programs: Vec<(LinkStyle, ProgramPlan)>) -> Result<Attached, RunError> {
        let (styles, programs) = programs.into_iter().unzip();
        let settings = Settings { missing_probes: self.policy, ..Settings::default() };
        let plan = Plan { programs, settings, ..Plan::default() };
        let source = AllLoaded { fd: File::open("/dev/null").unwrap().into(), styles };
        let tracepoint_id = |category: &str, name: &str| match name {
            "gone" => Err(RunError::plain(format!("there is no tracepoint {category}:{name}"))),
            _ => Ok(42),
        };
        attach_through(
            &self.kernel,
            &plan,
            &source,
            &Situation { pid: self.pid, tracepoint_id: &tracepoint_id },
        )
    }
}

fn uprobe(path: &str, symbol: &str, file_offset: u64) -> AttachPoint {
    AttachPoint::Uprobe {
        named: PlaceName::Symbol,
        path: path.into(),
        shown_path: path.into(),
        symbol: symbol.into(),
        file_offset,
        skip: 0,
        offset: 0,
        ret: false,
    }
}

fn kprobe(function: &str) -> AttachPoint {
    AttachPoint::Kprobe { module: None, function: function.into(), offset: 0, ret: false }
}

fn tracepoint(name: &str) -> AttachPoint {
    AttachPoint::Tracepoint { category: "oom".into(), name: name.into() }
}

#[test]
fn uprobes_of_one_file_are_one_link() {
    let case = Case::default();
    let points = vec![uprobe("/a", "f", 1), uprobe("/b", "g", 2), uprobe("/a", "h", 3)];
    let attached = case.attach(vec![program(LinkStyle::UprobeMulti, points)]).unwrap();
    assert_eq!(attached.points(), 3);
    assert_eq!(
        case.kernel.calls(),
        ["uprobes /a [1, 3] cookies None pid 0", "uprobes /b [2] cookies None pid 0"]
    );
}

#[test]
fn cookies_are_given_where_the_program_reads_them() {
    let case = Case::default();
    let (style, mut reads) =
        program(LinkStyle::UprobeMulti, vec![uprobe("/a", "f", 1), uprobe("/a", "h", 3)]);
    reads.uses_cookie = true;
    case.attach(vec![(style, reads)]).unwrap();
    assert_eq!(case.kernel.calls(), ["uprobes /a [1, 3] cookies Some([10, 11]) pid 0"]);
}

#[test]
fn two_names_of_one_place_are_attached_once_and_counted_twice() {
    let case = Case::default();
    let points = vec![uprobe("/a", "malloc", 1), uprobe("/a", "__libc_malloc", 1)];
    let attached = case.attach(vec![program(LinkStyle::UprobeMulti, points)]).unwrap();
    assert_eq!(attached.points(), 2);
    assert_eq!(case.kernel.calls(), ["uprobes /a [1] cookies None pid 0"]);
}

#[test]
fn breakpoints_go_into_one_process_where_the_kernel_takes_its_number_for_a_process() {
    let case = Case { pid: Some(7), ..Case::refusing(&[("uprobes / ", libc::EINVAL)]) };
    case.attach(vec![program(LinkStyle::UprobeMulti, vec![uprobe("/a", "f", 1)])]).unwrap();
    assert_eq!(case.kernel.calls().last().unwrap(), "uprobes /a [1] cookies None pid 7");
}

#[test]
fn breakpoints_go_everywhere_where_the_kernel_takes_the_number_for_a_thread() {
    let case = Case { pid: Some(7), ..Case::refusing(&[("uprobes / ", libc::EBADF)]) };
    case.attach(vec![program(LinkStyle::UprobeMulti, vec![uprobe("/a", "f", 1)])]).unwrap();
    assert_eq!(case.kernel.calls().last().unwrap(), "uprobes /a [1] cookies None pid 0");
}

#[test]
fn iterators_over_tasks_visit_one_process_and_others_are_told_an_order_where_they_want_one() {
    let case = Case { pid: Some(7), ..Case::default() };
    let iterator = |name: &str, of_tasks| {
        let point = AttachPoint::Iter { name: name.into(), pin: None, of_tasks };
        program(LinkStyle::Iterator, vec![point])
    };
    let programs = vec![iterator("task_vma", true), iterator("bpf_map", false), iterator("cgroup", false)];
    assert_eq!(case.attach(programs).unwrap().points(), 3);
    assert_eq!(case.kernel.calls(), ["iterator Process(7)", "iterator All", "iterator ControlGroups"]);
}

#[test]
fn a_kernel_whose_iterators_visit_all_processes_is_named_with_what_to_write() {
    let case = Case { pid: Some(7), ..Case::refusing(&[("iterator", libc::E2BIG)]) };
    let point = AttachPoint::Iter { name: "task".into(), pin: None, of_tasks: true };
    let error = case.attach(vec![program(LinkStyle::Iterator, vec![point])]).unwrap_err();
    assert!(error.to_string().contains("ctx.task.tgid == 42"), "{error}");
}

#[test]
fn a_function_that_cannot_be_attached_does_not_keep_others_from_it() {
    let case = Case { policy: MissingProbes::Warn, ..Case::refusing(&[("bad", libc::ESRCH)]) };
    let points = vec![kprobe("a"), kprobe("bad"), kprobe("c"), kprobe("d")];
    let attached = case.attach(vec![program(LinkStyle::KprobeMulti, points)]).unwrap();
    assert_eq!(attached.points(), 3);
    assert_eq!(
        attached.missing().iter().map(|missing| missing.point.as_str()).collect::<Vec<_>>(),
        ["kprobe:bad"]
    );
}

#[test]
fn a_point_that_cannot_be_attached_is_an_error_with_a_remedy() {
    let case = Case::refusing(&[("bad", libc::ESRCH)]);
    let error =
        case.attach(vec![program(LinkStyle::KprobeMulti, vec![kprobe("a"), kprobe("bad")])]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "error: cannot attach `kprobe:bad`: no such function (ESRCH)\n\
         help: the running kernel has no such function, or it was inlined: `memql -l 'kprobe:*NAME*'` shows what there is\n\
         help: to go on without probes that cannot be attached: `config = { missing_probes = \"warn\" }`"
    );
}

#[test]
fn if_nothing_can_be_attached_that_is_an_error_whatever_the_policy() {
    let case = Case { policy: MissingProbes::Ignore, ..Case::default() };
    let error = case.attach(vec![program(LinkStyle::PerfEvent, vec![tracepoint("gone")])]).unwrap_err();
    assert_eq!(error.what, "no probe could be attached; the first: there is no tracepoint oom:gone");
}

#[test]
fn a_tracepoint_is_a_perf_event_by_its_id() {
    let case = Case::default();
    case.attach(vec![program(LinkStyle::PerfEvent, vec![tracepoint("mark_victim")])]).unwrap();
    assert_eq!(case.kernel.calls(), ["perf 42+0 on cpu", "link cookie None"]);
}

#[test]
fn a_profile_is_a_perf_event_on_each_cpu() {
    let case = Case::default();
    let profile = AttachPoint::Profile { text: "hz:99".into(), rate: SampleRate::Hz(99) };
    let attached = case.attach(vec![program(LinkStyle::PerfEvent, vec![profile])]).unwrap();
    let opened = case.kernel.calls().iter().filter(|call| call.starts_with("perf")).count();
    assert_eq!((attached.points(), opened), (1, cpus::online().unwrap().len()));
}

#[test]
fn programs_on_one_function_are_attached_in_reverse_since_the_kernel_runs_the_last_first() {
    let case = Case::default();
    let of = |symbol, offset| program(LinkStyle::UprobeMulti, vec![uprobe("/a", symbol, offset)]);
    case.attach(vec![of("f", 1), program(LinkStyle::PerfEvent, vec![tracepoint("t")]), of("f", 2)]).unwrap();
    let calls = case.kernel.calls();
    let position = |part: &str| calls.iter().position(|call| call.contains(part)).unwrap();
    assert!(position("perf 42") < position("[2]") && position("[2]") < position("[1]"), "{calls:?}");
}

#[test]
fn many_tracepoints_are_all_attached() {
    let case = Case::default();
    let points = (0..200).map(|number| tracepoint(&format!("t{number}"))).collect();
    let attached = case.attach(vec![program(LinkStyle::PerfEvent, points)]).unwrap();
    assert_eq!((attached.points(), attached.links().count()), (200, 200));
}

#[test]
fn a_program_that_memql_runs_needs_no_kernel() {
    let case = Case::default();
    let (style, plan) = program(LinkStyle::TestRun, vec![AttachPoint::Begin]);
    assert_eq!(plan.kind, ProgramKind::TestRun);
    assert_eq!(case.attach(vec![(style, plan)]).unwrap().points(), 1);
    assert!(case.kernel.calls().is_empty());
}
