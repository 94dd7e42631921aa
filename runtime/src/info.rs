//! `--info`: what this kernel offers, in words.
//!
//! A line for each thing that scripts notice: whether it is there, and what that means for them. Each is found
//! by trying, as a run would.

use std::io::{self, Write};

use memql_compiler::attach::ProgramKind;
use memql_compiler::target::{Arch, FactError, Features, Target};

use crate::error::RunError;

/// One line: what it is, whether it is there, and what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    what: &'static str,
    answer: &'static str,
    meaning: String,
}

/// Prints what the target offers. A closed pipe ends it quietly.
///
/// # Errors
/// If the output cannot be written.
pub fn info(target: &dyn Target, out: &mut dyn Write) -> Result<(), RunError> {
    match write(target, out) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(RunError::system("cannot write what this kernel offers", &error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn write(target: &dyn Target, out: &mut dyn Write) -> io::Result<()> {
    let features = target.features();
    writeln!(out, "{}", machine(features))?;
    if let Some(refusal) = refusal() {
        writeln!(
            out,
            "\nThe kernel refuses eBPF programs: {refusal}.\nWhat follows cannot be told and reads `no`."
        )?;
    }
    section(out, "attach points", &points(target))?;
    section(out, "facts of the kernel", &facts(target))?;
    section(out, "eBPF", &ebpf(features))?;
    out.flush()
}

fn section(out: &mut dyn Write, title: &str, lines: &[Line]) -> io::Result<()> {
    writeln!(out, "\n{title}")?;
    lines.iter().try_for_each(|Line { what, answer, meaning }| {
        writeln!(out, "  {:<27} {meaning}", format!("{what}: {answer}"))
    })
}

/// The versions of memql and of the kernel, and the machine's shape.
fn machine(features: &Features) -> String {
    let release =
        std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| "(unknown)".into());
    let arch = match features.arch {
        Arch::X86_64 => "x86-64",
        Arch::Aarch64 => "aarch64",
    };
    let cpus = if features.cpus == 1 { "1 CPU".into() } else { format!("{} CPUs", features.cpus) };
    let memql = env!("CARGO_PKG_VERSION");
    format!("memql {memql} on Linux {}, {arch}, {cpus}", release.trim())
}

/// Why not even the smallest program loads, if so.
fn refusal() -> Option<String> {
    let error = crate::target::smallest_program().err()?;
    let words = crate::errno::in_words(&error);
    Some(match crate::remedies::for_refusal(&error) {
        Some(help) => format!("{words}; {help}"),
        None => words,
    })
}

fn points(target: &dyn Target) -> Vec<Line> {
    let kinds = [
        ("kprobe", ProgramKind::Kprobe, "entries and returns of kernel functions, by name"),
        ("fentry", ProgramKind::Fentry, "the same with typed arguments, at the least cost"),
        ("uprobe", ProgramKind::Uprobe, "entries and returns of functions of programs and libraries"),
    ];
    let tracepoints = target.tracepoints().map(|all| format!("{} of them", all.len()));
    let raw = target.btf().map(|btf| format!("{} of them", btf.raw_tracepoints().len()));
    let mut lines = vec![told("tracepoint", tracepoints), told("rawtracepoint", raw)];
    lines.extend(
        kinds.map(|(what, kind, meaning)| told(what, target.supports(kind).map(|()| meaning.to_owned()))),
    );
    let hardware = target.supports(ProgramKind::PerfEvent).and_then(|()| hardware_counters());
    lines.push(told("hardware", hardware));
    lines
}

/// Whether the processor's counters can be used: virtual machines often have none.
fn hardware_counters() -> Result<String, FactError> {
    let devices = "/sys/bus/event_source/devices";
    let counters = std::fs::read_dir(devices).map_err(|error| FactError {
        message: format!("cannot read `{devices}`: {}", crate::errno::in_words(&error)),
        help: None,
    })?;
    let is_cpu = |name: &str| name.starts_with("cpu") || name.starts_with("armv8");
    match counters.flatten().any(|entry| is_cpu(&entry.file_name().to_string_lossy())) {
        true => Ok("the processor's counters".into()),
        false => Err(FactError {
            message: "there are no processor counters here, as in most virtual machines".into(),
            help: Some("use `software` events or `profile`".into()),
        }),
    }
}

fn facts(target: &dyn Target) -> Vec<Line> {
    let types = target
        .btf()
        .map(|btf| format!("{} types (BTF): struct fields, enumerators, typed arguments", btf.type_count()));
    // `_stext` is in every kernel.
    let symbols = target.kernel_symbol("_stext").and_then(|address| match address {
        Some(_) => Ok("`kaddr()`, and names in kernel stacks".to_owned()),
        None => Err(FactError {
            message: "kallsyms has no `_stext`: kernel stacks print as numbers".into(),
            help: None,
        }),
    });
    vec![told("btf", types), told("kallsyms", symbols)]
}

fn ebpf(features: &Features) -> Vec<Line> {
    let Features {
        arch: _,
        cpus: _,
        pid_ns,
        atomic_fetch,
        cpu_v4,
        bpf_loop,
        for_each_map_elem,
        lookup_percpu_elem,
        attach_cookie,
        func_ip,
        ktime_tai,
        current_task_btf: _,
        task_pt_regs,
        large_keys,
        kprobe_multi,
        uprobe_multi,
        boot_to_realtime_ns: _,
        boot_to_tai_ns: _,
        max_stack,
    } = features;
    let mut lines = vec![
        line(
            "uprobe_multi",
            *uprobe_multi,
            "many user functions attach at once",
            "user functions attach one by one, some 20 ms each",
        ),
        line(
            "kprobe_multi",
            *kprobe_multi,
            "many kernel functions attach at once",
            "kernel functions attach one by one",
        ),
        line("kprobe_session", false, "", "memql attaches a function's entry and return each by itself"),
        line(
            "attach_cookie",
            *attach_cookie,
            "`probe` tells which of several attach points fired",
            "a probe that uses `probe` gets a program for each of its attach points",
        ),
        line("loop", *bpf_loop, "loops of any length", "loops are limited by what the kernel verifier walks"),
        line(
            "for_each_map_elem",
            *for_each_map_elem,
            "`for` over maps",
            "`for` over a map and `len()` of one are errors",
        ),
        line(
            "lookup_percpu_elem",
            *lookup_percpu_elem,
            "aggregations with a key can be read inside of probes",
            "aggregations with a key can be printed, but not read inside of probes",
        ),
        line(
            "atomic_fetch",
            *atomic_fetch,
            "`$x = @y++` gives each CPU its own number",
            "`@y++` is exact, but `$x = @y++` may see another CPU's number",
        ),
        line(
            "get_func_ip",
            *func_ip,
            "`func` tells which of several functions a probe was hit in",
            "a probe that uses `func` gets a program for each of its functions",
        ),
        line(
            "task_pt_regs",
            *task_pt_regs,
            "`dw_ustack` in every kind of probe",
            "`dw_ustack` in uprobes and static probes only, if there is for_each_map_elem",
        ),
        line("cpu_v4", *cpu_v4, "shorter programs", "somewhat longer programs"),
        line("large_keys", *large_keys, "keys of maps of any size", "keys of maps of at most 512 bytes"),
        line("get_tai_ns", *ktime_tai, "`nsecs(tai)`", "`nsecs(tai)` is an error"),
    ];
    lines.push(Line {
        what: "stacks",
        answer: "yes",
        meaning: format!("at most {max_stack} frames (kernel.perf_event_max_stack), found by frame pointers"),
    });
    if pid_ns.is_some() {
        lines.push(Line {
            what: "pid_namespace",
            answer: "yes",
            meaning: "not the first one: `pid` and `tid` are those of memql's own".into(),
        });
    }
    lines
}

fn line(what: &'static str, there: bool, with: &str, without: &str) -> Line {
    Line {
        what,
        answer: if there { "yes" } else { "no" },
        meaning: if there { with } else { without }.to_owned(),
    }
}

fn told(what: &'static str, told: Result<String, FactError>) -> Line {
    match told {
        Ok(meaning) => Line { what, answer: "yes", meaning },
        Err(FactError { message, help: None }) => Line { what, answer: "no", meaning: message },
        Err(FactError { message, help: Some(help) }) => {
            Line { what, answer: "no", meaning: format!("{message}; {help}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Running;

    #[test]
    fn each_thing_has_an_answer_and_what_it_means() {
        let mut out = Vec::new();
        info(&Running::new(None), &mut out).expect("a vector takes everything");
        let text = String::from_utf8(out).expect("text");
        for section in ["attach points", "facts of the kernel", "eBPF"] {
            assert!(text.contains(&format!("\n\n{section}\n")), "{text}");
        }
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("  ")).collect();
        assert!(lines.len() > 12, "{text}");
        for line in lines {
            let (what, rest) = line.trim().split_once(": ").unwrap_or_else(|| panic!("no answer: {line}"));
            let (answer, meaning) = rest.split_once(' ').unwrap_or_else(|| panic!("no meaning: {line}"));
            assert!(what.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
            assert!(matches!(answer, "yes" | "no") && !meaning.trim().is_empty(), "{line}");
        }
    }

    #[test]
    fn a_closed_pipe_ends_it_quietly_and_a_full_disk_does_not() {
        struct Broken(io::ErrorKind);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(info(&Running::new(None), &mut Broken(io::ErrorKind::BrokenPipe)).is_ok());
        assert!(info(&Running::new(None), &mut Broken(io::ErrorKind::StorageFull)).is_err());
    }
}
