//! The text format: what people read.
//!
//! ```text
//! 5   -1   true   0x1234   GREEN   abc   a\x01b      integers, pointers, enumerations, strings, buffers
//! (1, abc)   { .a = 1, .b = x }   [1,2,3]            tuples, records, arrays
//! @x: 5                                              a map without a key
//! @x[1, abc]: 5                                      one with keys, a line each
//! @x[1]:                                             histograms start on the next line and
//! [4, 8)      1 |@@@@...|                            end with an empty one
//! ```

use std::time::Duration;

use memql_compiler::plan::{Place, Severity};

use super::escape;
use super::messages::{Element, MapKind, Messages};
use super::report::Table;
use super::trials::{Benched, Tested};
use super::{OutputError, Value};
use crate::health::Lost;
use crate::symbols::Stack;

/// Writes messages as text.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextMessages {
    /// Whether a terminal reads it, so that control characters in data are escaped.
    pub terminal: bool,
}

impl Messages for TextMessages {
    fn escapes_data(&self) -> bool {
        self.terminal
    }

    fn printf(&self, out: &mut Vec<u8>, text: &[u8]) {
        out.extend_from_slice(text);
    }

    fn time(&self, out: &mut Vec<u8>, text: &[u8]) {
        out.extend_from_slice(text);
    }

    /// `script.mq:3:5-20: ERROR: text`
    fn told(&self, _out: &mut Vec<u8>, errors: &mut Vec<u8>, severity: Severity, place: &Place, text: &[u8]) {
        let Place { span: _, file, line, column, end_column } = place;
        let end = if *end_column > 0 { format!("-{end_column}") } else { String::new() };
        let word = match severity {
            Severity::Warning => "WARNING",
            Severity::Error => "ERROR",
        };
        errors.extend_from_slice(format!("{file}:{line}:{column}{end}: {word}: ").as_bytes());
        errors.extend_from_slice(text);
        if !text.ends_with(b"\n") {
            errors.push(b'\n');
        }
    }

    fn cat(&self, out: &mut Vec<u8>, text: &[u8]) {
        if self.terminal { escape::push_for_terminal(out, text) } else { out.extend_from_slice(text) }
    }

    fn join(&self, out: &mut Vec<u8>, text: &[u8]) {
        if self.terminal {
            escape::push_for_terminal(out, text)
        } else {
            out.extend_from_slice(text)
        }
        out.push(b'\n');
    }

    fn command(&self, out: &mut Vec<u8>, text: &[u8]) {
        out.extend_from_slice(text);
        out.push(b'\n');
    }

    fn value(&self, out: &mut Vec<u8>, value: &Value) {
        push_value(out, value, self.terminal);
        out.push(b'\n');
    }

    fn map_single(&self, out: &mut Vec<u8>, _kind: MapKind, name: &str, value: &Value) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(if is_block(value) { b":\n" } else { b": " });
        push_value(out, value, self.terminal);
        out.push(b'\n');
    }

    fn map_begin(&self, _out: &mut Vec<u8>, _kind: MapKind, _name: &str) {}

    fn map_element(&self, out: &mut Vec<u8>, name: &str, element: Element<'_>) {
        let Element { index: _, key, value } = element;
        out.extend_from_slice(name.as_bytes());
        out.push(b'[');
        push_key(out, key, self.terminal);
        out.extend_from_slice(if is_block(value) { b"]:\n" } else { b"]: " });
        push_value(out, value, self.terminal);
        out.push(b'\n');
    }

    fn map_end(&self, _out: &mut Vec<u8>) {}

    fn report(&self, out: &mut Vec<u8>, table: &Table<'_>) -> Result<(), OutputError> {
        table.push_text(out, self.terminal)
    }

    fn attached(&self, _out: &mut Vec<u8>, errors: &mut Vec<u8>, probes: u64) {
        let s = if probes == 1 { "" } else { "s" };
        errors.extend_from_slice(format!("Attached {probes} probe{s}\n").as_bytes());
    }

    fn pinned(&self, out: &mut Vec<u8>, path: &str) {
        out.extend_from_slice(format!("Program pinned to {path}\n").as_bytes());
    }

    fn before_tests(&self, out: &mut Vec<u8>, count: usize) {
        self.marked(out, Mark::Well, "[==========]", &format!("Running {count} tests."));
    }

    fn tested(&self, out: &mut Vec<u8>, tested: &Tested<'_>) {
        let Tested { name, passed, took, output } = tested;
        self.marked(out, Mark::Well, "[ RUN      ]", name);
        let took = format!("{name} ({})", duration(*took));
        if *passed {
            self.marked(out, Mark::Well, "[       OK ]", &took);
            return;
        }
        for line in output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        self.marked(out, Mark::Badly, "[  FAILED  ]", &took);
    }

    fn after_tests(&self, out: &mut Vec<u8>, count: usize, failed: &[&str]) {
        self.marked(out, Mark::Well, "[==========]", &format!("{} ran.", tests(count)));
        self.marked(out, Mark::Well, "[  PASSED  ]", &format!("{}.", tests(count - failed.len())));
        if !failed.is_empty() {
            self.marked(out, Mark::Badly, "[  FAILED  ]", &format!("{}, listed below:", tests(failed.len())));
            failed.iter().for_each(|name| self.marked(out, Mark::Badly, "[  FAILED  ]", name));
        }
    }

    fn before_benches(&self, out: &mut Vec<u8>, names: &[&str]) {
        let width = bench_name_width(names);
        let head = format!("{:width$} {:15}Iterations\n", "Benchmark", "Time(ns)");
        out.extend_from_slice(head.as_bytes());
        out.extend(std::iter::repeat_n(b'-', head.len() - 1));
        out.push(b'\n');
    }

    fn benched(&self, out: &mut Vec<u8>, names: &[&str], benched: &Benched<'_>) {
        let Benched { name, average, runs } = benched;
        let (width, average) = (bench_name_width(names), average.as_nanos());
        out.extend_from_slice(format!("{name:width$} {average:<15}{runs}\n").as_bytes());
    }

    fn lost_events(&self, _out: &mut Vec<u8>, errors: &mut Vec<u8>, lost: u64) {
        errors.extend_from_slice(format!("Lost {lost} events\n").as_bytes());
    }

    fn losses(&self, _out: &mut Vec<u8>, _losses: &[Lost]) {}

    fn before_last_maps(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\n\n");
    }
}

/// How a line about a test is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Well,
    Badly,
}

impl TextMessages {
    /// A line of a test's run, with its mark in colour where a terminal shows it.
    fn marked(self, out: &mut Vec<u8>, mark: Mark, label: &str, text: &str) {
        let colour = if mark == Mark::Well { "\x1b[32m" } else { "\x1b[31m" };
        let (on, off) = if self.terminal { (colour, "\x1b[0m") } else { ("", "") };
        out.extend_from_slice(format!("{on}{label}{off} {text}\n").as_bytes());
    }
}

fn tests(count: usize) -> String {
    format!("{count} test{}", if count == 1 { "" } else { "s" })
}

/// `12 us`
fn duration(took: Duration) -> String {
    let nanoseconds = took.as_nanos();
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{} us", nanoseconds / 1_000),
        1_000_000..1_000_000_000 => format!("{} ms", nanoseconds / 1_000_000),
        _ => format!("{} s", took.as_secs()),
    }
}

/// The width of the column of names.
fn bench_name_width(names: &[&str]) -> usize {
    names.iter().map(|name| name.len()).max().unwrap_or(0).max(40)
}

/// Whether a value takes lines of its own.
fn is_block(value: &Value) -> bool {
    matches!(value, Value::Histogram(_) | Value::Series(_))
}

/// Appends a value as text; `terminal` as in [`TextMessages`].
pub(super) fn push_value(out: &mut Vec<u8>, value: &Value, terminal: bool) {
    match value {
        Value::Void => out.extend_from_slice(b"null"),
        Value::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        Value::Int(n) => push_number(out, *n),
        Value::Pointer(p) => push_pointer(out, *p),
        Value::Enum { name: Some(name), value: _ } => out.extend_from_slice(name.as_bytes()),
        Value::Enum { name: None, value } => push_number(out, *value),
        Value::Text(text) if terminal => escape::push_for_terminal(out, text),
        Value::Text(text) => out.extend_from_slice(text),
        Value::Buf(bytes) => escape::push_printable(out, bytes),
        Value::Array(values) => {
            out.push(b'[');
            push_list(out, values, b",", terminal);
            out.push(b']');
        }
        Value::Tuple(values) => {
            out.push(b'(');
            push_list(out, values, b", ", terminal);
            out.push(b')');
        }
        Value::Record(fields) if fields.is_empty() => out.extend_from_slice(b"{}"),
        Value::Record(fields) => {
            for (i, (name, value)) in fields.iter().enumerate() {
                out.extend_from_slice(if i == 0 { b"{ ." } else { b", ." });
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b" = ");
                push_value(out, value, terminal);
            }
            out.extend_from_slice(b" }");
        }
        Value::Stack(stack) => push_stack(out, stack, terminal),
        Value::Histogram(histogram) => histogram.push_text(out),
        Value::Series(series) => series.push_text(out),
    }
}

/// Appends a map's key: a tuple goes without its parentheses.
pub(super) fn push_key(out: &mut Vec<u8>, key: &Value, terminal: bool) {
    match key {
        Value::Tuple(values) => push_list(out, values, b", ", terminal),
        _ => push_value(out, key, terminal),
    }
}

/// Appends an integer in decimal.
pub(super) fn push_number(out: &mut Vec<u8>, n: i128) {
    // The standard library's 128-bit formatting is several times slower than that of 64 bits.
    match i64::try_from(n) {
        Ok(small) => out.extend_from_slice(small.to_string().as_bytes()),
        Err(_) => out.extend_from_slice(n.to_string().as_bytes()),
    }
}

/// Appends an address in hex.
pub(super) fn push_pointer(out: &mut Vec<u8>, address: u64) {
    out.extend_from_slice(format!("{address:#x}").as_bytes());
}

fn push_list(out: &mut Vec<u8>, values: &[Value], between: &[u8], terminal: bool) {
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(between);
        }
        push_value(out, value, terminal);
    }
}

fn push_stack(out: &mut Vec<u8>, stack: &Stack, terminal: bool) {
    let text = stack.to_string();
    // Symbol and file names come from files that anybody may have made.
    if terminal {
        escape::push_for_terminal(out, text.as_bytes())
    } else {
        out.extend_from_slice(text.as_bytes())
    }
}
