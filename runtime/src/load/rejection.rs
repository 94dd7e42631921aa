//! Reads the kernel verifier's answer to a program it refused.
//!
//! Its log walks the program as the verifier did and ends with the reason:
//!
//! ```text
//! ; @sizes[pid] = hist(arg0) @ opens.mq:3
//! 12: (79) r1 = *(u64 *)(r6 +112)
//! R6 invalid mem access 'scalar'
//! processed 13 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
//! ```
//!
//! What helps a person is the reason (`R6 invalid...`), the instruction it is about, and the line of the
//! script that the instruction came from (`; ...`, from the object's line information).

/// The verifier's answer, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The program's name in the object.
    pub program: String,
    /// The reason.
    pub decisive: Option<String>,
    /// The instruction it is about.
    pub instruction: Option<String>,
    /// The line of the script.
    pub script_line: Option<String>,
    /// All that the verifier said.
    pub log: String,
}

/// The first refused program among libbpf's messages, if there is one.
pub fn find(messages: &[String]) -> Option<Rejection> {
    let program = messages.iter().find_map(|message| refused_program(message))?;
    let log = messages.iter().find_map(|message| log_of(message, &program)).unwrap_or_default();
    Some(Rejection {
        decisive: decisive(log).map(str::to_string),
        instruction: log.lines().rev().find(|line| is_instruction(line)).map(|line| line.trim().to_string()),
        script_line: log.lines().rev().find_map(|line| line.strip_prefix("; ")).map(str::to_string),
        log: log.to_string(),
        program,
    })
}

/// `prog 'NAME': BPF program load failed: -EACCES` and its relatives.
fn refused_program(message: &str) -> Option<String> {
    let (name, rest) = message.strip_prefix("prog '")?.split_once("': ")?;
    (rest.contains("failed")).then(|| name.to_string())
}

fn log_of<'a>(message: &'a str, program: &str) -> Option<&'a str> {
    let rest = message.strip_prefix("prog '")?.strip_prefix(program)?.strip_prefix("': ")?;
    let log = rest.strip_prefix("-- BEGIN PROG LOAD LOG --\n")?;
    Some(log.strip_suffix("-- END PROG LOAD LOG --").unwrap_or(log))
}

/// The last line that is neither a statistic nor part of the walk.
fn decisive(log: &str) -> Option<&str> {
    let is_statistic = |line: &str| {
        ["processed ", "verification time ", "stack depth "].iter().any(|start| line.starts_with(start))
    };
    log.lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !is_statistic(line) && !line.starts_with("; "))
}

/// `12: (79) r1 = ...`
fn is_instruction(line: &str) -> bool {
    line.trim().split_once(": (").is_some_and(|(number, _)| number.bytes().all(|b| b.is_ascii_digit()))
}

/// A refusal that is not memql's fault, by words in the log.
pub struct Known {
    /// What the log says.
    pub words: &'static str,
    /// What it means and what to do.
    pub help: &'static str,
}

/// Refusals that depend on the script or the kernel (kernel/bpf/verifier.c).
pub const KNOWN: &[Known] = &[
    Known {
        words: "BPF program is too large",
        help: "the probe is too much for the kernel to prove: loops with fewer turns, fewer branches, or shorter strings (`config = { max_strlen = 64 }`) help",
    },
    Known {
        words: "The sequence of",
        help: "the probe branches too much for the kernel to prove: split it into several probes",
    },
    Known {
        words: "combined stack size",
        help: "the probe keeps too much on its stack: use shorter strings or fewer tuples",
    },
    Known {
        words: "unknown func",
        help: "this kernel lacks a helper that the probe needs; `memql --info` says what it has",
    },
    Known {
        words: "JIT does not support",
        help: "the kernel's JIT is off or cannot do this: `sysctl net.core.bpf_jit_enable=1`",
    },
    Known {
        words: "program of this type cannot use helper",
        help: "this kernel, as it is configured or locked down, does not let this probe use the helper; another probe type may have it",
    },
    Known {
        words: "is not allowed in probe",
        help: "the kernel is locked down or its configuration forbids this helper; `memql --info` says what it allows",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Vec<String> {
        vec![
            "prog 'p1': BPF program load failed: -EACCES".into(),
            "prog 'p1': -- BEGIN PROG LOAD LOG --\n\
             0: R1=ctx() R10=fp0\n\
             ; @sizes[pid] = hist(arg0) @ opens.mq:3\n\
             0: (b7) r6 = 0                        ; R6_w=0\n\
             1: (79) r1 = *(u64 *)(r6 +112)\n\
             R6 invalid mem access 'scalar'\n\
             processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n\
             -- END PROG LOAD LOG --"
                .into(),
            "prog 'p1': failed to load: -EACCES".into(),
            "failed to load object 'memql'".into(),
        ]
    }

    #[test]
    fn finds_reason_instruction_and_script_line() {
        let rejection = find(&messages()).unwrap();
        assert_eq!(rejection.program, "p1");
        assert_eq!(rejection.decisive.as_deref(), Some("R6 invalid mem access 'scalar'"));
        assert_eq!(rejection.instruction.as_deref(), Some("1: (79) r1 = *(u64 *)(r6 +112)"));
        assert_eq!(rejection.script_line.as_deref(), Some("@sizes[pid] = hist(arg0) @ opens.mq:3"));
        assert!(rejection.log.starts_with("0: R1=ctx()"));
    }

    #[test]
    fn a_refusal_without_a_log_still_names_the_program() {
        let rejection = find(&["prog 'p2': BPF program load failed: -EPERM".into()]).unwrap();
        assert_eq!(
            (rejection.program.as_str(), rejection.decisive, rejection.log.as_str()),
            ("p2", None, "")
        );
    }

    #[test]
    fn a_failure_that_is_no_programs_is_none() {
        assert_eq!(find(&["map 'x': failed to create: -EPERM".into()]), None);
    }
}
