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
//! What helps a person is the reason (`R6 invalid...`, sometimes several lines), the instruction it is about, and the
//! line of the script that the instruction came from (`; ...`, from the object's line information). A log that is cut
//! off (ENOSPC) has no reason.

/// The verifier's answer, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The program's name in the object.
    pub program: String,
    /// The reason, in lines.
    pub reason: Vec<String>,
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
    // Where a jump goes back without end, this stands behind it in its line.
    let log = &log.replace(" infinite loop detected", "\ninfinite loop detected");
    Some(Rejection {
        reason: reason(log),
        instruction: log.lines().rev().find(|line| is_instruction(line)).map(instruction),
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

/// What ends the log, behind the last instruction of the walk: the lines that are neither statistics nor part of it.
fn reason(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log.lines().map(str::trim).collect();
    let behind = lines.iter().rposition(|line| is_instruction(line)).map_or(0, |at| at + 1);
    let told =
        lines[behind..].iter().filter(|line| !line.is_empty() && !is_walk(line) && !is_statistic(line));
    let told: Vec<String> = told.map(|line| (*line).to_string()).collect();
    // A program that is refused before the walk may have much said of it.
    told[told.len().saturating_sub(MOST_REASONS)..].to_vec()
}

/// So many lines are shown of a reason.
const MOST_REASONS: usize = 3;

fn is_statistic(line: &str) -> bool {
    ["processed ", "verification time ", "stack depth "].iter().any(|start| line.starts_with(start))
}

/// `12: (79) r1 = ...`
fn is_instruction(line: &str) -> bool {
    line.trim().split_once(": (").is_some_and(|(number, _)| is_number(number))
}

/// What the verifier notes on its way beside instructions: lines of source, states, how it goes back.
fn is_walk(line: &str) -> bool {
    const STARTS: &[&str] = &[
        "; ",
        "R0",
        "R1",
        "from ",
        "last_idx ",
        "regs=",
        "parent ",
        "mark_precise",
        "propagating",
        "caller:",
        "callee:",
        "returning from",
        "frame",
        "cur state:",
        "old state:",
        "func#",
        "Func#",
        "Validating ",
    ];
    let is_state = |(number, rest): (&str, &str)| is_number(number) && rest.starts_with('R');
    // `R1 is not a scalar` and `R1 invalid mem access` are none.
    let names_register = line.starts_with('R') && !line.contains('=');
    !names_register
        && (STARTS.iter().any(|start| line.starts_with(start)) || line.split_once(": ").is_some_and(is_state))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// An instruction without what is known behind it.
fn instruction(line: &str) -> String {
    line.split_once(" ; ").map_or(line, |(instruction, _)| instruction).trim().to_string()
}

/// Whose fault a refusal is, if not memql's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The script asks for more than the verifier looks at.
    TooMuch,
    /// The script asks for it in a way that the verifier cannot follow.
    Script,
    /// The kernel, as it is configured.
    Kernel,
    /// The kernel keeps a helper from programs, as it is configured or locked down.
    Helper,
}

/// A refusal that is not memql's fault, by words in the reason.
pub struct Known {
    /// What the reason says.
    pub words: &'static str,
    /// Whose fault it is.
    pub cause: Cause,
    /// What it means and what to do.
    pub help: &'static str,
}

/// Refusals that depend on the script or the kernel (kernel/bpf/verifier.c).
pub const KNOWN: &[Known] = &[
    Known {
        words: "BPF program is too large",
        cause: Cause::TooMuch,
        help: "it looks at a million steps at most: loops with fewer turns, fewer branches in them, or shorter strings (`config = { max_strlen = 64 }`) help",
    },
    Known {
        words: "infinite loop detected",
        cause: Cause::Script,
        help: "it must see that every loop ends, which it takes from variables, not from maps: count the rounds, as in `for ($i : 0..1000) { if (...) { break; } }`",
    },
    Known {
        words: "The sequence of",
        cause: Cause::TooMuch,
        help: "it follows 8192 open branches at most: fewer `if`s and `unroll`s, or several probes on the same attach point, help",
    },
    Known {
        words: "combined stack size",
        cause: Cause::TooMuch,
        help: "the probe keeps too much on its stack: use shorter strings or fewer tuples",
    },
    Known { words: "non-JITed programs", cause: Cause::Kernel, help: JIT },
    Known { words: "JIT does not support", cause: Cause::Kernel, help: JIT },
    Known {
        words: "expected=ptr_, trusted_ptr_, rcu_ptr_",
        cause: Cause::Script,
        help: "a helper such as that of `path()` wants what the probe is handed, not a copy of it: write it out, as in `path(ctx.file.f_path)`, without a variable",
    },
    Known {
        words: "unknown func",
        cause: Cause::Helper,
        help: "this kernel lacks a helper that the probe needs; `memql --info` says what it has",
    },
    Known {
        words: "program of this type cannot use helper",
        cause: Cause::Helper,
        help: "this kernel, as it is configured, does not let this probe use the helper; another probe type may have it",
    },
    Known {
        words: "is not allowed in probe",
        cause: Cause::Helper,
        help: "the kernel's configuration forbids this helper; `memql --info` says what it allows",
    },
];

const JIT: &str =
    "the kernel's compiler of eBPF (JIT) is off or cannot do this: `sysctl net.core.bpf_jit_enable=1`";

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
        assert_eq!(rejection.reason, ["R6 invalid mem access 'scalar'"]);
        assert_eq!(rejection.instruction.as_deref(), Some("1: (79) r1 = *(u64 *)(r6 +112)"));
        assert_eq!(rejection.script_line.as_deref(), Some("@sizes[pid] = hist(arg0) @ opens.mq:3"));
        assert!(rejection.log.starts_with("0: R1=ctx()"));
    }

    #[test]
    fn a_refusal_without_a_log_still_names_the_program() {
        let rejection = find(&["prog 'p2': BPF program load failed: -EPERM".into()]).unwrap();
        assert_eq!(
            (rejection.program.as_str(), rejection.reason, rejection.log.as_str()),
            ("p2", Vec::new(), "")
        );
    }

    #[test]
    fn a_failure_that_is_no_programs_is_none() {
        assert_eq!(find(&["map 'x': failed to create: -EPERM".into()]), None);
    }
}
