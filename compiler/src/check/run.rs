//! What the command line and the environment add to a script: the things that make the same script
//! check differently from one run to the next.

use std::collections::BTreeMap;

use crate::attach::AttachPoint;

/// What a run is for, which says whose probes run beside `begin` and `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To trace: all but tests and benchmarks.
    #[default]
    Trace,
    /// `--test`: the tests.
    Test,
    /// `--bench`: the benchmarks.
    Bench,
}

/// What a run was started with.
#[derive(Clone, Debug, Default)]
pub struct RunConfig {
    /// `--test`, `--bench`
    pub purpose: Purpose,
    /// The process that `-p` names.
    pub pid: Option<u32>,
    /// The process that `-c` started: `cpid`.
    pub child: Option<u32>,
    /// `--unsafe`: functions that act on the system are allowed.
    pub allow_unsafe: bool,
    /// `-k`: what is lost is counted for each place in the script.
    pub lost_by_place: bool,
    /// The script's positional parameters: `$1` is the first.
    pub positional: Vec<String>,
    /// The script's named parameters, for `getopt`; a name without a value is empty.
    pub named: BTreeMap<String, String>,
    /// The values of declared options that were given; the others keep their defaults.
    pub options: BTreeMap<String, OptionValue>,
    /// Environment variables that set settings (`BPFTRACE_*`, `MEMQL_*`), by full name.
    pub environment: BTreeMap<String, String>,
}

impl Purpose {
    /// Whether probes of this provider run.
    pub(crate) fn wants_provider(self, name: &str) -> bool {
        match (self, name) {
            (_, "begin" | "end") => true,
            (Purpose::Trace, name) => !matches!(name, "test" | "bench"),
            (Purpose::Test, name) => name == "test",
            (Purpose::Bench, name) => name == "bench",
        }
    }

    /// Whether a run for this is about points of this kind.
    pub(crate) fn is_about(self, point: &AttachPoint) -> bool {
        match self {
            Purpose::Trace => !matches!(point, AttachPoint::Test { .. } | AttachPoint::Bench { .. }),
            Purpose::Test => matches!(point, AttachPoint::Test { .. }),
            Purpose::Bench => matches!(point, AttachPoint::Bench { .. }),
        }
    }
}

/// The value of a script option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// Of a `bool`.
    Bool(bool),
    /// Of an integer type; in that type's range.
    Int(i128),
    /// Of a `string`.
    Str(String),
}
