//! Why the kernel did not load an object, in the words of the script's reader.
//!
//! Three kinds, told apart by what libbpf and the kernel verifier said: the verifier refuses a program (the script asks
//! for more than it checks, the kernel is locked down, or memql is wrong), the kernel refuses a map, or it refuses
//! anything for lack of rights.

use std::io;

use memql_compiler::plan::{MapStorage, Plan};

use super::probe_name;
use super::rejection::{self, Cause, Rejection};
use crate::error::{REPORT, RunError};
use crate::remedies::Remedies;

/// The error of a load that failed; `messages` are libbpf's, `remedies` what this machine is known to lack.
pub fn refused(error: &io::Error, plan: &Plan, messages: &[String], remedies: &Remedies) -> RunError {
    let mut refusal = match (rejection::find(messages), refused_map(messages)) {
        (Some(rejection), _) => refused_program(error, plan, rejection, remedies),
        (None, Some(map)) => map_error(error, plan, map, remedies),
        (None, None) => anything(error, messages, remedies),
    };
    if refusal.log.is_none() && !messages.is_empty() {
        refusal.log = Some(messages.join("\n").into());
    }
    refusal
}

fn refused_program(error: &io::Error, plan: &Plan, rejection: Rejection, remedies: &Remedies) -> RunError {
    let Rejection { program, reason, instruction, script_line, log } = rejection;
    let probe = plan.programs.iter().find(|p| p.name == program).map_or(program, probe_name);
    let known = rejection::KNOWN.iter().find(|known| reason.iter().any(|line| line.contains(known.words)));
    let system = |what: String| RunError::system(what, error);
    let refuses = format!("the kernel refuses the program of `{probe}`");
    let verifier = format!("the kernel verifier refuses the program of `{probe}`");
    let right = remedies.for_refusal(error);
    let mut refusal = match (known.map(|known| (known.cause, known.help)), right) {
        // What the errno says in words (`argument list too long`, `bad address`) would mislead.
        (Some((Cause::TooMuch, help)), _) => {
            RunError::plain(format!("the kernel gives up checking the program of `{probe}`")).help(help)
        }
        (Some((Cause::Kernel | Cause::Script, help)), _) => RunError::plain(verifier).help(help),
        (Some((Cause::Helper, help)), _) => {
            let locked = remedies.locked_down_for_reading();
            RunError::plain(verifier).help(locked.unwrap_or_else(|| help.into()))
        }
        (None, Some(right)) => system(refuses).help(right),
        (None, None) if log.is_empty() => system(refuses).help_if(of_errno(error)),
        (None, None) if reason.is_empty() => RunError { internal: true, ..system(verifier) }
            .note("its reasons are not known: its log ends early")
            .help(REPORT),
        (None, None) => RunError { internal: true, ..RunError::plain(verifier) }.help(REPORT),
    };
    refusal.errno = error.raw_os_error();
    refusal.notes.extend(reason.iter().map(|line| format!("kernel verifier: {line}")));
    refusal.notes.extend(instruction.map(|text| format!("at: {text}")));
    refusal.notes.extend(script_line.map(|text| format!("in the script: {text}")));
    refusal.log = (!log.is_empty()).then(|| log.into());
    refusal
}

/// The map that `map 'NAME': failed to create: -E2BIG` is about.
fn refused_map(messages: &[String]) -> Option<&str> {
    messages.iter().find_map(|message| {
        let (name, what) = message.strip_prefix("map '")?.split_once("': ")?;
        what.starts_with("failed to create").then_some(name)
    })
}

fn map_error(error: &io::Error, plan: &Plan, elf_name: &str, remedies: &Remedies) -> RunError {
    let of_script = plan.maps.iter().find_map(|map| match &map.storage {
        MapStorage::Keyed { elf_name: name, per_cpu, max_entries } if name == elf_name => {
            Some((map, *per_cpu, *max_entries))
        }
        MapStorage::Keyed { .. } | MapStorage::Global { .. } => None,
    });
    let what = match of_script {
        Some((map, ..)) => format!("map `{}`", map.name),
        None if Some(elf_name) == plan.ring.as_deref() => "the ring buffer for events".into(),
        None if plan.stacks.as_ref().is_some_and(|(name, _)| name == elf_name) => "the map for stacks".into(),
        None => format!("memql's own map `{elf_name}`"),
    };
    let mut refusal = RunError::system(format!("the kernel cannot make {what}"), error);
    if let Some((map, per_cpu, max_entries)) = of_script {
        let key = map.key.as_ref().map_or(0, |key| key.size());
        let each = if per_cpu { " on each CPU" } else { "" };
        let value = map.value.size();
        refusal = refusal.note(format!(
            "it is to have {max_entries} keys (bytes of a key: {key}, of a value: {value}{each})"
        ));
    }
    let (errno, right) = (error.raw_os_error(), remedies.for_refusal(error));
    match (errno, right, of_script) {
        (_, Some(right), _) => refusal.help(right),
        (Some(libc::E2BIG | libc::ENOMEM | libc::EINVAL), None, Some((map, ..))) => {
            let name = &map.name;
            refusal.help(format!("fewer keys: `let {name} = hash(N);` or `config = {{ max_map_keys = N }}`; shorter text: `config = {{ max_strlen = N }}`"))
        }
        (Some(libc::E2BIG | libc::ENOMEM | libc::EINVAL), None, None)
            if Some(elf_name) == plan.ring.as_deref() =>
        {
            refusal.help("a smaller one: `config = { perf_rb_pages = N }`")
        }
        (_, None, _) => refusal.help_if(of_errno(error)),
    }
}

fn anything(error: &io::Error, messages: &[String], remedies: &Remedies) -> RunError {
    let mut refusal = RunError::system("the kernel refuses the script's maps or programs", error);
    match remedies.for_refusal(error) {
        Some(remedy) => refusal.help(remedy),
        None => {
            // libbpf's first complaint is the cause, what follows are its consequences.
            refusal.notes.extend(messages.first().map(|message| format!("libbpf: {message}")));
            refusal.help_if(of_errno(error))
        }
    }
}

/// What an errno of loading means, where it is not the verifier's.
fn of_errno(error: &io::Error) -> Option<String> {
    let help = match error.raw_os_error()? {
        libc::EPERM => {
            "loading eBPF needs root, or CAP_BPF and CAP_PERFMON; on kernels before 5.11 also a sufficient `ulimit -l`; containers may forbid bpf(2) by seccomp"
        }
        libc::ENOMEM => "not enough memory for the maps: lower `max_map_keys` or `perf_rb_pages`",
        libc::E2BIG => {
            "a map or a program is larger than the kernel allows: lower `max_map_keys` or shorten the probe"
        }
        libc::EMFILE | libc::ENFILE => "too many open files: raise `ulimit -n`",
        libc::ESRCH | libc::ENOENT => {
            "the kernel's BTF does not know what the probe names, or the kernel has no BTF (CONFIG_DEBUG_INFO_BTF)"
        }
        libc::ENOSYS => "this kernel has no eBPF (CONFIG_BPF_SYSCALL), or a sandbox hides it",
        _ => return None,
    };
    Some(help.into())
}

#[cfg(test)]
mod tests;
