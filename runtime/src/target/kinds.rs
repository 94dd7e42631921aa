//! Which kinds of probes this kernel can attach, found by trying.

use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;

use libbpf_sys as sys;
use memql_compiler::attach::ProgramKind;
use memql_compiler::btf::Btf;
use memql_compiler::target::FactError;

/// Whether programs of this kind can be loaded and attached.
///
/// # Errors
/// What is lacking, and what to use instead.
pub fn supports<'a>(
    kind: ProgramKind,
    btf: impl FnOnce() -> Result<&'a Btf, FactError>,
) -> Result<(), FactError> {
    match kind {
        ProgramKind::Kprobe | ProgramKind::Kretprobe => {
            let lacking = "this kernel has no kprobes (CONFIG_KPROBE_EVENTS)";
            pmu("kprobe", lacking, "use a tracepoint: `memql -l 'tracepoint:*'` lists them")
        }
        ProgramKind::Uprobe | ProgramKind::Uretprobe | ProgramKind::Usdt => {
            pmu("uprobe", "this kernel has no uprobes (CONFIG_UPROBE_EVENTS)", "use syscall tracepoints")
        }
        ProgramKind::Fentry | ProgramKind::Fexit => trampolines(btf()?),
        // Their absence shows when a point is looked up or attached, with the point's name.
        ProgramKind::TestRun
        | ProgramKind::PerfEvent
        | ProgramKind::Tracepoint
        | ProgramKind::RawTracepoint
        | ProgramKind::Iter
        | ProgramKind::Bench => Ok(()),
    }
}

fn pmu(name: &str, lacking: &str, help: &str) -> Result<(), FactError> {
    if Path::new("/sys/bus/event_source/devices").join(name).exists() {
        return Ok(());
    }
    Err(FactError { message: lacking.to_owned(), help: Some(help.to_owned()) })
}

/// Tries to load an `fentry` program for a function that kernels have for such tests
/// (net/bpf/test_run.c). It is not attached: that patches the kernel's code, which takes milliseconds.
fn trampolines(btf: &Btf) -> Result<(), FactError> {
    const FUNCTION: &str = "bpf_fentry_test1";
    let other = "use kprobes, or a tracepoint: `memql -l 'tracepoint:*'` lists them";
    let Some(id) = btf.function_id(FUNCTION) else {
        return Err(FactError {
            message: format!("cannot tell whether this kernel has fentry and fexit: it lacks `{FUNCTION}`"),
            help: Some(other.into()),
        });
    };
    let code = [
        // R0 = 0; exit
        sys::bpf_insn { code: 0xb7, ..Default::default() },
        sys::bpf_insn { code: 0x95, ..Default::default() },
    ];
    let mut opts = sys::bpf_prog_load_opts {
        sz: size_of::<sys::bpf_prog_load_opts>() as u64,
        expected_attach_type: sys::BPF_TRACE_FENTRY,
        attach_btf_id: id,
        ..Default::default()
    };
    // SAFETY: strings, instructions and options outlive the call; a descriptor that is returned is ours.
    let program = unsafe {
        sys::bpf_prog_load(
            sys::BPF_PROG_TYPE_TRACING,
            c"memql_probe".as_ptr(),
            c"GPL".as_ptr(),
            code.as_ptr(),
            code.len() as u64,
            &mut opts,
        )
    };
    if program < 0 {
        let error = std::io::Error::from_raw_os_error(-program);
        let words = crate::errno::in_words(&error);
        return Err(FactError {
            message: format!("this kernel refuses fentry and fexit programs: {words}"),
            help: crate::remedies::for_refusal(&error).or(Some(other.into())),
        });
    }
    // SAFETY: the kernel has just returned it.
    drop(unsafe { OwnedFd::from_raw_fd(program) });
    Ok(())
}
