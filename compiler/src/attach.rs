//! Attach points: where a program runs.
//!
//! A script names them with wildcards and short names ([`crate::providers::expand`] turns each
//! into concrete ones); the rest of memql only sees the concrete [`AttachPoint`]s.

use std::fmt;

use crate::usdt::UsdtArg;

/// One place that a program is attached to, or an event that runs it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AttachPoint {
    /// Before everything else is attached.
    Begin,
    /// After the last event.
    End,
    /// When memql gets a signal: `self:signal:SIGUSR1`.
    SelfSignal {
        /// The signal's name, with `SIG`.
        name: String,
        /// Its number.
        signal: i32,
    },
    /// Every so often, on one CPU.
    Interval {
        /// As written after the provider: `s:1`, `1s`, `ms:100`.
        text: String,
        /// The period in nanoseconds.
        period_ns: u64,
    },
    /// Every so often, on every CPU (perf event `cpu-clock`).
    Profile {
        /// As written after the provider: `hz:99`.
        text: String,
        /// The rate.
        rate: SampleRate,
    },
    /// A tracepoint with the fields of its tracefs format.
    Tracepoint {
        /// The category (`syscalls`).
        category: String,
        /// The event (`sys_enter_openat`).
        name: String,
    },
    /// A tracepoint with the kernel's own arguments, typed by BTF.
    RawTracepoint {
        /// The module, if the event is of one.
        module: Option<String>,
        /// The event.
        name: String,
    },
    /// A kernel function's entry, return, or an instruction in it.
    Kprobe {
        /// The module, if the script names one.
        module: Option<String>,
        /// The function; empty for a bare address.
        function: String,
        /// Bytes into the function, or the address for an empty function.
        offset: u64,
        /// On return (`kretprobe`).
        ret: bool,
    },
    /// A kernel function's entry or return by trampoline, typed by BTF.
    Fentry {
        /// The module, if the function is in one.
        module: Option<String>,
        /// The function.
        function: String,
        /// On return (`fexit`).
        exit: bool,
    },
    /// A function of a loaded eBPF program: its entry or return, typed by the program's BTF.
    BpfFunction {
        /// The program's id.
        program: u32,
        /// The function.
        function: String,
        /// On return (`fexit`).
        exit: bool,
    },
    /// A user function's entry, return, or an instruction in it.
    Uprobe {
        /// The file as memql opens it (through `/proc/PID/root` where `-p` asks for it).
        path: String,
        /// The file as the script's reader knows it; what `probe` prints.
        shown_path: String,
        /// The function's symbol; empty for an address in no known function.
        symbol: String,
        /// How the script names the place.
        named: PlaceName,
        /// Offset in the file of the symbol's first byte (or of the bare address).
        file_offset: u64,
        /// Bytes past it that the script asks for.
        offset: u64,
        /// Bytes past that to where the breakpoint goes, with the same arguments and stack (`placement`).
        skip: u32,
        /// On return (`uretprobe`).
        ret: bool,
    },
    /// One location of a static probe of a program or library (USDT); a probe that the compiler has
    /// inlined has several, with the same names and arguments of their own.
    Usdt {
        /// The file as memql opens it (through `/proc/PID/root` where `-p` asks for it).
        path: String,
        /// The file as the script's reader knows it.
        shown_path: String,
        /// The probe's provider, which names its namespace.
        provider: String,
        /// The probe's name.
        name: String,
        /// Offset of the location in the file.
        file_offset: u64,
        /// Offset in the file of the counter that says whether anybody listens, if it has one.
        semaphore: Option<u64>,
        /// Where its arguments are at this location.
        args: Vec<UsdtArg>,
    },
    /// A perf software event.
    Software {
        /// The event, by the name that the script has for it (`page-faults`, `faults`).
        event: String,
        /// Fire every so many events.
        period: u64,
    },
    /// A place in memory that the processor watches.
    Watchpoint {
        /// Its address, in the process that runs or in the kernel.
        address: u64,
        /// How many bytes: 1, 2, 4 or 8.
        length: u64,
        /// What is watched for, as written: `w`, `rw`, `x`.
        mode: String,
    },
    /// A perf hardware event.
    Hardware {
        /// The event (`cache-misses`).
        event: String,
        /// Fire every so many events.
        period: u64,
    },
    /// Each of the kernel's objects of a kind, once: an eBPF iterator.
    Iter {
        /// The iterator, as BTF has it behind `bpf_iter_` (`task_vma`).
        name: String,
        /// The file that it is pinned to, below the eBPF file system if it is not absolute.
        pin: Option<String>,
        /// Whether its objects belong to tasks, so that it can be limited to those of one process.
        of_tasks: bool,
    },
    /// A test of the script's own, under `--test`.
    Test {
        /// Its name.
        name: String,
    },
    /// A benchmark of the script's own, under `--bench`.
    Bench {
        /// Its name.
        name: String,
    },
}

/// How a script names a place in a program or library.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PlaceName {
    /// By the function's symbol and an offset.
    Symbol,
    /// By the function's name in C++ (`cpp:...`).
    Demangled,
    /// By an address.
    Address(u64),
    /// By a line of the source: `file.c:22`.
    Line(String),
}

/// How often a perf event samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SampleRate {
    /// So many times a second.
    Hz(u64),
    /// Once in so many nanoseconds.
    PeriodNs(u64),
}

/// The kernel's program type that an attach point needs; programs of one kind share one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProgramKind {
    /// Run by memql itself through test-run (begin, end, interval, signals, tests): `raw_tp`.
    TestRun,
    /// `perf_event`
    PerfEvent,
    /// `tp`
    Tracepoint,
    /// `tp_btf`: one program per raw tracepoint.
    RawTracepoint,
    /// `kprobe`, entry or offset.
    Kprobe,
    /// `kprobe`, on return.
    Kretprobe,
    /// `fentry`: one program per function.
    Fentry,
    /// `fexit`: one program per function.
    Fexit,
    /// `kprobe` type with uprobe attach, entry or offset.
    Uprobe,
    /// The same, on return.
    Uretprobe,
    /// The same, at locations of static probes.
    Usdt,
    /// `iter`: one program per iterator.
    Iter,
    /// Run by memql itself, many times over and timed by the kernel (bench): `xdp`.
    Bench,
}

impl AttachPoint {
    /// Whether it is a user function's return.
    pub fn is_return(&self) -> bool {
        matches!(self, AttachPoint::Uprobe { ret: true, .. })
    }

    /// Bytes from the instruction that the script asks for to the one that the breakpoint is on.
    pub fn skip(&self) -> u32 {
        match self {
            AttachPoint::Uprobe { skip, ret: false, .. } => *skip,
            _ => 0,
        }
    }

    /// The file and the offset in it where the breakpoint is, of a uprobe or static probe; of a return, where
    /// its function begins.
    pub fn place_in_file(&self) -> Option<(&str, u64)> {
        match self {
            AttachPoint::Uprobe { path, file_offset, offset, .. } => {
                Some((path, file_offset + offset + u64::from(self.skip())))
            }
            AttachPoint::Usdt { path, file_offset, .. } => Some((path, *file_offset)),
            _ => None,
        }
    }

    /// The program type it needs.
    pub fn kind(&self) -> ProgramKind {
        match self {
            AttachPoint::Begin
            | AttachPoint::End
            | AttachPoint::SelfSignal { .. }
            | AttachPoint::Interval { .. }
            | AttachPoint::Test { .. } => ProgramKind::TestRun,
            AttachPoint::Profile { .. }
            | AttachPoint::Software { .. }
            | AttachPoint::Hardware { .. }
            | AttachPoint::Watchpoint { .. } => ProgramKind::PerfEvent,
            AttachPoint::Tracepoint { .. } => ProgramKind::Tracepoint,
            AttachPoint::RawTracepoint { .. } => ProgramKind::RawTracepoint,
            AttachPoint::Kprobe { ret: false, .. } => ProgramKind::Kprobe,
            AttachPoint::Kprobe { ret: true, .. } => ProgramKind::Kretprobe,
            AttachPoint::Fentry { exit, .. } | AttachPoint::BpfFunction { exit, .. } => match exit {
                false => ProgramKind::Fentry,
                true => ProgramKind::Fexit,
            },
            AttachPoint::Uprobe { ret: false, .. } => ProgramKind::Uprobe,
            AttachPoint::Uprobe { ret: true, .. } => ProgramKind::Uretprobe,
            AttachPoint::Usdt { .. } => ProgramKind::Usdt,
            AttachPoint::Iter { .. } => ProgramKind::Iter,
            AttachPoint::Bench { .. } => ProgramKind::Bench,
        }
    }

    /// The function it traces, where it traces one: what `func` prints.
    pub fn function(&self) -> Option<&str> {
        match self {
            AttachPoint::Kprobe { function, .. }
            | AttachPoint::Fentry { function, .. }
            | AttachPoint::BpfFunction { function, .. } => Some(function),
            AttachPoint::Uprobe { symbol, .. } => Some(symbol).filter(|s| !s.is_empty()).map(String::as_str),
            _ => None,
        }
    }

    /// Whether both are the same to the script's reader: one point, or two locations of one static probe.
    pub fn same_probe(&self, other: &AttachPoint) -> bool {
        match (self, other) {
            (
                AttachPoint::Usdt { path, provider, name, .. },
                AttachPoint::Usdt { path: path2, provider: provider2, name: name2, .. },
            ) => path == path2 && provider == provider2 && name == name2,
            (one, other) => one == other,
        }
    }
}

impl ProgramKind {
    /// Whether each attach point needs a program of its own, since the kernel binds the target when
    /// the program is loaded.
    pub fn one_point_each(self) -> bool {
        matches!(
            self,
            ProgramKind::RawTracepoint | ProgramKind::Fentry | ProgramKind::Fexit | ProgramKind::Iter
        )
    }

    /// Whether the context is the processor's registers.
    pub fn has_registers(self) -> bool {
        match self {
            ProgramKind::Kprobe
            | ProgramKind::Kretprobe
            | ProgramKind::Uprobe
            | ProgramKind::Uretprobe
            | ProgramKind::Usdt
            | ProgramKind::PerfEvent => true,
            ProgramKind::TestRun
            | ProgramKind::Tracepoint
            | ProgramKind::RawTracepoint
            | ProgramKind::Fentry
            | ProgramKind::Fexit
            | ProgramKind::Iter
            | ProgramKind::Bench => false,
        }
    }

    /// Whether the traced code is a process's own, so that addresses of unknown space are the user's.
    pub fn is_user(self) -> bool {
        matches!(self, ProgramKind::Uprobe | ProgramKind::Uretprobe | ProgramKind::Usdt)
    }
}

impl fmt::Display for AttachPoint {
    /// The attach point in full: what `probe` and `-l` print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = |m: &Option<String>| m.as_ref().map(|m| format!("{m}:")).unwrap_or_default();
        let plus = |o: u64| if o == 0 { String::new() } else { format!("+{o}") };
        match self {
            AttachPoint::Begin => f.write_str("begin"),
            AttachPoint::End => f.write_str("end"),
            AttachPoint::SelfSignal { name, .. } => write!(f, "self:signal:{name}"),
            AttachPoint::Interval { text, .. } => write!(f, "interval:{text}"),
            AttachPoint::Profile { text, .. } => write!(f, "profile:{text}"),
            AttachPoint::Tracepoint { category, name } => write!(f, "tracepoint:{category}:{name}"),
            AttachPoint::RawTracepoint { module, name } => write!(f, "rawtracepoint:{}{name}", colon(module)),
            AttachPoint::Kprobe { module, function, offset, ret } => {
                let provider = if *ret { "kretprobe" } else { "kprobe" };
                if function.is_empty() {
                    write!(f, "{provider}:{offset:#x}")
                } else {
                    write!(f, "{provider}:{}{function}{}", colon(module), plus(*offset))
                }
            }
            AttachPoint::Fentry { module, function, exit } => {
                write!(f, "{}:{}{function}", if *exit { "fexit" } else { "fentry" }, colon(module))
            }
            AttachPoint::BpfFunction { program, function, exit } => {
                write!(f, "{}:bpf:{program}:{function}", if *exit { "fexit" } else { "fentry" })
            }
            AttachPoint::Uprobe {
                shown_path,
                symbol,
                named,
                offset,
                ret,
                path: _,
                file_offset: _,
                skip: _,
            } => {
                let provider = if *ret { "uretprobe" } else { "uprobe" };
                match named {
                    PlaceName::Symbol => write!(f, "{provider}:{shown_path}:{symbol}{}", plus(*offset)),
                    PlaceName::Demangled => write!(f, "{provider}:{shown_path}:cpp:{symbol}"),
                    PlaceName::Address(address) => write!(f, "{provider}:{shown_path}:{address:#x}"),
                    PlaceName::Line(line) => write!(f, "{provider}:{shown_path}@{line}"),
                }
            }
            AttachPoint::Usdt { shown_path, provider, name, .. } => {
                write!(f, "usdt:{shown_path}:{provider}:{name}")
            }
            AttachPoint::Watchpoint { address, length, mode } => {
                write!(f, "watchpoint:{address:#x}:{length}:{mode}")
            }
            AttachPoint::Software { event, period } => write!(f, "software:{event}:{period}"),
            AttachPoint::Hardware { event, period } => write!(f, "hardware:{event}:{period}"),
            AttachPoint::Iter { name, pin: None, of_tasks: _ } => write!(f, "iter:{name}"),
            AttachPoint::Iter { name, pin: Some(pin), of_tasks: _ } => write!(f, "iter:{name}:{pin}"),
            AttachPoint::Test { name } => write!(f, "test:{name}"),
            AttachPoint::Bench { name } => write!(f, "bench:{name}"),
        }
    }
}
