//! What a run has to say, apart from how it is written: the two formats implement this.

use memql_compiler::plan::{Place, Severity};
use memql_compiler::types::{Agg, Type};

use super::report::Table;
use super::{Benched, OutputError, Tested, Value};
use crate::health::Lost;

/// What kind of map is printed: the JSON message's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MapKind {
    /// Plain values, counts, sums, minima and maxima.
    Map,
    /// Histograms.
    Hist,
    /// Time series.
    Series,
    /// `avg` and `stats`.
    Stats,
}

impl MapKind {
    /// The kind of a map with values of this type.
    pub fn of(value: &Type) -> MapKind {
        match value {
            Type::Agg(Agg::Hist { .. } | Agg::Lhist { .. }) => MapKind::Hist,
            Type::Agg(Agg::Tseries(_)) => MapKind::Series,
            Type::Agg(Agg::Avg { .. } | Agg::Stats { .. }) => MapKind::Stats,
            _ => MapKind::Map,
        }
    }
}

/// One element of a map with keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element<'a> {
    /// How many came before it.
    pub index: usize,
    /// Its key.
    pub key: &'a Value,
    /// Its value.
    pub value: &'a Value,
}

/// An output format. Each function appends one message, or a part of one, to `out`.
pub(super) trait Messages {
    /// Whether control characters in formatted data are to be escaped.
    fn escapes_data(&self) -> bool;
    /// What `printf` printed.
    fn printf(&self, out: &mut Vec<u8>, text: &[u8]);
    /// What `time` printed.
    fn time(&self, out: &mut Vec<u8>, text: &[u8]);
    /// What `warnf` and `errorf` say of a place in the script; `errors` is what goes to stderr.
    fn told(&self, out: &mut Vec<u8>, errors: &mut Vec<u8>, severity: Severity, place: &Place, text: &[u8]);
    /// A file's bytes, from `cat`.
    fn cat(&self, out: &mut Vec<u8>, text: &[u8]);
    /// What `join` printed.
    fn join(&self, out: &mut Vec<u8>, text: &[u8]);
    /// What a command of `system` printed.
    fn command(&self, out: &mut Vec<u8>, text: &[u8]);
    /// A value, from `print`.
    fn value(&self, out: &mut Vec<u8>, value: &Value);
    /// A map without a key.
    fn map_single(&self, out: &mut Vec<u8>, kind: MapKind, name: &str, value: &Value);
    /// A map with keys follows.
    fn map_begin(&self, out: &mut Vec<u8>, kind: MapKind, name: &str);
    /// One of its elements.
    fn map_element(&self, out: &mut Vec<u8>, name: &str, element: Element<'_>);
    /// There are no more.
    fn map_end(&self, out: &mut Vec<u8>);
    /// A report.
    fn report(&self, out: &mut Vec<u8>, table: &Table<'_>) -> Result<(), OutputError>;
    /// Everything is attached; `errors` is what goes to stderr.
    fn attached(&self, out: &mut Vec<u8>, errors: &mut Vec<u8>, probes: u64);
    /// An iterator was pinned to this file.
    fn pinned(&self, out: &mut Vec<u8>, path: &str);
    /// So many tests are going to be run.
    fn before_tests(&self, _out: &mut Vec<u8>, _count: usize) {}
    /// How a test ended.
    fn tested(&self, out: &mut Vec<u8>, tested: &Tested<'_>);
    /// All were run; the names of those that failed.
    fn after_tests(&self, _out: &mut Vec<u8>, _count: usize, _failed: &[&str]) {}
    /// Benchmarks of these names are going to be run.
    fn before_benches(&self, _out: &mut Vec<u8>, _names: &[&str]) {}
    /// What a benchmark took; `names` are those of all.
    fn benched(&self, out: &mut Vec<u8>, names: &[&str], benched: &Benched<'_>);
    /// Events were lost.
    fn lost_events(&self, out: &mut Vec<u8>, errors: &mut Vec<u8>, lost: u64);
    /// What was lost in all, if anything; `errors` is told elsewhere.
    fn losses(&self, out: &mut Vec<u8>, losses: &[Lost]);
    /// The script has ended; the maps that are left are printed next, if there are any.
    fn before_last_maps(&self, out: &mut Vec<u8>);
}
