//! Which kinds of probes this kernel can attach, found by trying.

use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;

use libbpf_sys as sys;
use memql_compiler::attach::ProgramKind;
use memql_compiler::target::FactError;

/// Whether programs of this kind can be loaded and attached.
///
/// # Errors
/// What is lacking, and what to use instead.
pub fn supports(kind: ProgramKind) -> Result<(), FactError> {
    match kind {
        ProgramKind::Kprobe | ProgramKind::Kretprobe => {
            let lacking = "this kernel has no kprobes (CONFIG_KPROBE_EVENTS)";
            pmu("kprobe", lacking, "use a tracepoint: `memql -l 'tracepoint:*'` lists them")
        }
        ProgramKind::Uprobe | ProgramKind::Uretprobe => {
            pmu("uprobe", "this kernel has no uprobes (CONFIG_UPROBE_EVENTS)", "use syscall tracepoints")
        }
        ProgramKind::Fentry | ProgramKind::Fexit => trampolines(),
        // Their absence shows when a point is looked up or attached, with the point's name.
        ProgramKind::TestRun
        | ProgramKind::PerfEvent
        | ProgramKind::Tracepoint
        | ProgramKind::RawTracepoint => Ok(()),
    }
}

fn pmu(name: &str, lacking: &str, help: &str) -> Result<(), FactError> {
    if Path::new("/sys/bus/event_source/devices").join(name).exists() {
        return Ok(());
    }
    Err(FactError { message: lacking.to_owned(), help: Some(help.to_owned()) })
}

/// Tries to load and attach an `fentry` program to a function that every kernel has and that is
/// hardly ever called.
fn trampolines() -> Result<(), FactError> {
    let cannot = |errno: i32| {
        let error = std::io::Error::from_raw_os_error(errno);
        FactError {
            message: format!(
                "this kernel refuses fentry and fexit programs: {}",
                crate::errno::in_words(&error)
            ),
            help: Some("use kprobes, or a tracepoint: `memql -l 'tracepoint:*'` lists them".into()),
        }
    };
    // SAFETY: strings and instructions outlive the calls; descriptors that are returned are ours.
    unsafe {
        let id = sys::libbpf_find_vmlinux_btf_id(c"bpf_fentry_test1".as_ptr(), sys::BPF_TRACE_FENTRY);
        if id < 0 {
            return Err(cannot(-id));
        }
        let exit = [
            sys::bpf_insn { code: 0xb7, ..Default::default() },
            sys::bpf_insn { code: 0x95, ..Default::default() },
        ];
        let mut opts = sys::bpf_prog_load_opts {
            sz: size_of::<sys::bpf_prog_load_opts>() as u64,
            expected_attach_type: sys::BPF_TRACE_FENTRY,
            attach_btf_id: id as u32,
            ..Default::default()
        };
        let program = sys::bpf_prog_load(
            sys::BPF_PROG_TYPE_TRACING,
            c"memql_probe".as_ptr(),
            c"GPL".as_ptr(),
            exit.as_ptr(),
            exit.len() as u64,
            &mut opts,
        );
        if program < 0 {
            return Err(cannot(-program));
        }
        let program = OwnedFd::from_raw_fd(program);
        let link = sys::bpf_raw_tracepoint_open(std::ptr::null(), std::os::fd::AsRawFd::as_raw_fd(&program));
        if link < 0 {
            return Err(cannot(-link));
        }
        drop(OwnedFd::from_raw_fd(link));
    }
    Ok(())
}
