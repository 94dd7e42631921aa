//! `rawtracepoint:EVENT`, `fentry:FUNCTION`, `fexit:FUNCTION`: programs that the kernel bound to their
//! target when they were loaded, so that attaching takes no more than saying so.

use memql_compiler::attach::ProgramKind;

use super::kernel::Tracing;

/// What a program of this kind was loaded for; `None` for kinds that are attached otherwise.
pub fn loaded_for(kind: ProgramKind) -> Option<Tracing> {
    match kind {
        ProgramKind::RawTracepoint => Some(Tracing::RawTracepoint),
        ProgramKind::Fentry => Some(Tracing::Fentry),
        ProgramKind::Fexit => Some(Tracing::Fexit),
        ProgramKind::TestRun
        | ProgramKind::PerfEvent
        | ProgramKind::Tracepoint
        | ProgramKind::Kprobe
        | ProgramKind::Kretprobe
        | ProgramKind::Uprobe
        | ProgramKind::Uretprobe
        | ProgramKind::Usdt
        | ProgramKind::Iter
        | ProgramKind::Bench => None,
    }
}

/// What to do about an errno of attaching a tracing program.
pub fn remedy(errno: i32) -> Option<&'static str> {
    match errno {
        libc::EBUSY => {
            Some("another tracer holds this function (livepatch, or a trampoline that cannot be shared)")
        }
        libc::E2BIG => Some("too many programs are attached to this function already (38 at most)"),
        libc::ENOTSUP | crate::errno::ENOTSUPP => {
            Some("this kernel has no trampolines for functions; a `kprobe` may do")
        }
        _ => None,
    }
}
