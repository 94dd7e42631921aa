//! How a program is attached. The kernel fixes it when the program is loaded, so it is decided before.

use memql_compiler::attach::{AttachPoint, ProgramKind};
use memql_compiler::plan::ProgramPlan;
use memql_compiler::target::Features;

/// How one program's attach points are attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkStyle {
    /// Not at all: memql runs it.
    TestRun,
    /// A perf event for each point.
    PerfEvent,
    /// All points in one link, through ftrace.
    KprobeMulti,
    /// All points in the same file in one link.
    UprobeMulti,
    /// By the BTF id that the program was loaded for.
    Tracing,
    /// The same, and memql reads the link's file.
    Iterator,
}

impl LinkStyle {
    /// The best style that the kernel has for this program.
    ///
    /// A single kprobe stays a perf event: that needs no `kprobe_multi` and takes offsets and modules too.
    /// A single uprobe is better off in a multi link: it is attached and closed about a hundred times as fast.
    pub fn of(program: &ProgramPlan, features: &Features) -> LinkStyle {
        match program.kind {
            ProgramKind::TestRun | ProgramKind::Bench => LinkStyle::TestRun,
            ProgramKind::PerfEvent | ProgramKind::Tracepoint => LinkStyle::PerfEvent,
            ProgramKind::RawTracepoint | ProgramKind::Fentry | ProgramKind::Fexit => LinkStyle::Tracing,
            ProgramKind::Iter => LinkStyle::Iterator,
            ProgramKind::Kprobe | ProgramKind::Kretprobe => {
                let many = program.points.len() > 1
                    && program.points.iter().all(|(point, _)| is_plain_function(point));
                if many && features.kprobe_multi { LinkStyle::KprobeMulti } else { LinkStyle::PerfEvent }
            }
            ProgramKind::Uprobe | ProgramKind::Uretprobe | ProgramKind::Usdt => {
                if features.uprobe_multi {
                    LinkStyle::UprobeMulti
                } else {
                    LinkStyle::PerfEvent
                }
            }
        }
    }

    /// What `-v` calls it.
    pub fn name(self) -> &'static str {
        match self {
            LinkStyle::TestRun => "run by memql",
            LinkStyle::PerfEvent => "perf event",
            LinkStyle::KprobeMulti => "kprobe_multi",
            LinkStyle::UprobeMulti => "uprobe_multi",
            LinkStyle::Tracing => "tracing",
            LinkStyle::Iterator => "iterator",
        }
    }
}

/// Whether ftrace can find it: a function's first byte, by name alone.
fn is_plain_function(point: &AttachPoint) -> bool {
    matches!(point, AttachPoint::Kprobe { module: None, function, offset: 0, .. } if !function.is_empty())
}

/// Whether the kernel runs the programs on one point in the reverse order of attaching, so that
/// attaching in reverse gives the script's order.
///
/// Measured on 5.10, 6.1, 6.12, 6.18 and 7.2: so it is on all of them, single probes and multi links alike, but
/// for `kprobe_multi` links on return, which 7.2 runs in reverse order too.
pub fn attach_in_reverse(kind: ProgramKind) -> bool {
    match kind {
        ProgramKind::Kprobe
        | ProgramKind::Uprobe
        | ProgramKind::Uretprobe
        | ProgramKind::Usdt
        | ProgramKind::Fentry
        | ProgramKind::Fexit => true,
        ProgramKind::TestRun
        | ProgramKind::PerfEvent
        | ProgramKind::Tracepoint
        | ProgramKind::RawTracepoint
        | ProgramKind::Kretprobe
        | ProgramKind::Iter
        | ProgramKind::Bench => false,
    }
}
