//! The JSON format: one object a line, `{"type": ..., "data": ...}`.
//!
//! The message types and their layout are bpftrace's. Unlike bpftrace's, every line is valid JSON and
//! valid UTF-8: text with other bytes has U+FFFD in their place, and blanks inside strings stay
//! where a map's key becomes a property's name. Integers that a double cannot hold exactly are strings.

use memql_compiler::plan::{Place, Severity};

use super::escape::push_json_string;
use super::messages::{Element, MapKind, Messages};
use super::report::Table;
use super::text::{push_number, push_pointer};
use super::trials::{Benched, Tested};
use super::{Histogram, OutputError, TimeSeries, Value, time};
use crate::health::Lost;
use crate::symbols::{Frame, Stack};

/// Writes messages as JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct JsonMessages;

impl Messages for JsonMessages {
    fn escapes_data(&self) -> bool {
        false
    }

    fn printf(&self, out: &mut Vec<u8>, text: &[u8]) {
        push_text_message(out, "printf", text);
    }

    fn time(&self, out: &mut Vec<u8>, text: &[u8]) {
        push_text_message(out, "time", text);
    }

    fn told(&self, out: &mut Vec<u8>, _errors: &mut Vec<u8>, severity: Severity, place: &Place, text: &[u8]) {
        let Place { span: _, file, line, column, end_column: _ } = place;
        let kind = match severity {
            Severity::Warning => "warnf",
            Severity::Error => "errorf",
        };
        out.extend_from_slice(format!("{{\"type\": \"{kind}\", \"msg\": ").as_bytes());
        push_json_string(out, text);
        out.extend_from_slice(b", \"filename\": ");
        push_json_string(out, file.as_bytes());
        out.extend_from_slice(format!(", \"line\": {line}, \"col\": {column}}}\n").as_bytes());
    }

    fn cat(&self, out: &mut Vec<u8>, text: &[u8]) {
        push_text_message(out, "cat", text);
    }

    fn join(&self, out: &mut Vec<u8>, text: &[u8]) {
        push_text_message(out, "join", text);
    }

    fn command(&self, out: &mut Vec<u8>, text: &[u8]) {
        push_text_message(out, "syscall", text);
    }

    fn value(&self, out: &mut Vec<u8>, value: &Value) {
        push_head(out, "value");
        push_value(out, value);
        out.extend_from_slice(b"}\n");
    }

    fn map_single(&self, out: &mut Vec<u8>, kind: MapKind, name: &str, value: &Value) {
        push_map_head(out, kind, name);
        push_value(out, value);
        out.extend_from_slice(b"}}\n");
    }

    fn map_begin(&self, out: &mut Vec<u8>, kind: MapKind, name: &str) {
        push_map_head(out, kind, name);
        out.push(b'{');
    }

    fn map_element(&self, out: &mut Vec<u8>, _name: &str, element: Element<'_>) {
        let Element { index, key, value } = element;
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        let mut name = Vec::new();
        match key {
            Value::Tuple(values) => push_compact_list(&mut name, values),
            _ => push_compact(&mut name, key),
        }
        push_json_string(out, &name);
        out.extend_from_slice(b": ");
        push_value(out, value);
    }

    fn map_end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"}}}\n");
    }

    fn report(&self, out: &mut Vec<u8>, table: &Table<'_>) -> Result<(), OutputError> {
        push_head(out, "report");
        out.extend_from_slice(b"{\"map\": ");
        push_json_string(out, table.map.as_bytes());
        out.extend_from_slice(b", \"rows\": [");
        for (i, row) in table.rows.iter().enumerate() {
            out.extend_from_slice(if i > 0 { b", {" } else { b"{" });
            for (j, (heading, value)) in table.headings.iter().zip(row).enumerate() {
                if j > 0 {
                    out.extend_from_slice(b", ");
                }
                push_json_string(out, heading.as_bytes());
                out.extend_from_slice(b": ");
                match value {
                    Value::Stack(stack) => push_frames(out, stack),
                    _ => push_value(out, value),
                }
            }
            out.push(b'}');
        }
        out.extend_from_slice(b"]}}\n");
        Ok(())
    }

    fn attached(&self, out: &mut Vec<u8>, _errors: &mut Vec<u8>, probes: u64) {
        let line = format!(
            "{{\"type\": \"attached_probes\", \"count\": {probes}, \"data\": {{\"probes\": {probes}}}}}\n"
        );
        out.extend_from_slice(line.as_bytes());
    }

    fn pinned(&self, out: &mut Vec<u8>, path: &str) {
        push_head(out, "pinned");
        push_json_string(out, path.as_bytes());
        out.extend_from_slice(b"}\n");
    }

    fn tested(&self, out: &mut Vec<u8>, tested: &Tested<'_>) {
        let Tested { name, passed, took, output } = tested;
        push_head(out, "test_result");
        out.push(b'{');
        push_json_string(out, name.as_bytes());
        let values = format!(": {{\"duration\": {}, \"passed\": {passed}, \"output\": ", took.as_nanos());
        out.extend_from_slice(values.as_bytes());
        push_json_string(out, output);
        out.extend_from_slice(b"}}}\n");
    }

    fn benched(&self, out: &mut Vec<u8>, _names: &[&str], benched: &Benched<'_>) {
        let Benched { name, average, runs } = benched;
        push_head(out, "benchmark_result");
        out.push(b'{');
        push_json_string(out, name.as_bytes());
        let values = format!(": {{\"average\": {}, \"iters\": {runs}}}}}}}\n", average.as_nanos());
        out.extend_from_slice(values.as_bytes());
    }

    fn lost_events(&self, out: &mut Vec<u8>, _errors: &mut Vec<u8>, lost: u64) {
        let line =
            format!("{{\"type\": \"lost_events\", \"count\": {lost}, \"data\": {{\"events\": {lost}}}}}\n");
        out.extend_from_slice(line.as_bytes());
    }

    fn losses(&self, out: &mut Vec<u8>, losses: &[Lost]) {
        push_head(out, "losses");
        out.extend_from_slice(format!("{{\"complete\": {}, \"losses\": [", losses.is_empty()).as_bytes());
        for (i, Lost { kind, subject, limit, count, text }) in losses.iter().enumerate() {
            out.extend_from_slice(if i > 0 { b", {\"kind\": " } else { b"{\"kind\": " });
            push_json_string(out, kind.as_bytes());
            if let Some(subject) = subject {
                out.extend_from_slice(b", \"of\": ");
                push_json_string(out, subject.as_bytes());
            }
            if let Some(limit) = limit {
                out.extend_from_slice(format!(", \"limit\": {limit}").as_bytes());
            }
            out.extend_from_slice(format!(", \"count\": {count}, \"text\": ").as_bytes());
            push_json_string(out, text.as_bytes());
            out.push(b'}');
        }
        out.extend_from_slice(b"]}}\n");
    }

    fn before_last_maps(&self, _out: &mut Vec<u8>) {}
}

fn push_head(out: &mut Vec<u8>, kind: &str) {
    out.extend_from_slice(b"{\"type\": \"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\", \"data\": ");
}

fn push_text_message(out: &mut Vec<u8>, kind: &str, text: &[u8]) {
    push_head(out, kind);
    push_json_string(out, text);
    out.extend_from_slice(b"}\n");
}

fn push_map_head(out: &mut Vec<u8>, kind: MapKind, name: &str) {
    push_head(
        out,
        match kind {
            MapKind::Map => "map",
            MapKind::Hist => "hist",
            MapKind::Stats => "stats",
            MapKind::Series => "tseries",
        },
    );
    out.push(b'{');
    push_json_string(out, name.as_bytes());
    out.extend_from_slice(b": ");
}

/// Appends a value as JSON.
pub(super) fn push_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Void => out.extend_from_slice(b"null"),
        Value::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        Value::Int(n) | Value::Enum { name: _, value: n } => push_json_number(out, *n),
        Value::Pointer(p) => push_json_number(out, i128::from(*p)),
        Value::Text(text) => push_json_string(out, text),
        Value::Buf(bytes) => {
            out.push(b'[');
            for (i, byte) in bytes.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                push_number(out, i128::from(*byte));
            }
            out.push(b']');
        }
        Value::Array(values) | Value::Tuple(values) => {
            out.push(b'[');
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                push_value(out, value);
            }
            out.push(b']');
        }
        Value::Record(fields) => {
            out.push(b'{');
            for (i, (name, value)) in fields.iter().enumerate() {
                if i > 0 {
                    out.extend_from_slice(b", ");
                }
                push_json_string(out, name.as_bytes());
                out.extend_from_slice(b": ");
                push_value(out, value);
            }
            out.push(b'}');
        }
        Value::Stack(stack) => push_json_string(out, stack.to_string().as_bytes()),
        Value::Histogram(histogram) => push_histogram(out, histogram),
        Value::Series(series) => push_series(out, series),
    }
}

/// Both ends of a bucket are inside it here.
fn push_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    out.push(b'[');
    for (i, bucket) in histogram.buckets.iter().enumerate() {
        out.extend_from_slice(if i > 0 { b",{" } else { b"{" });
        if let Some(low) = &bucket.low {
            out.extend_from_slice(b"\"min\": ");
            push_json_number(out, low.value);
            out.extend_from_slice(b", ");
        }
        if let Some(high) = &bucket.high {
            out.extend_from_slice(b"\"max\": ");
            push_json_number(out, high.value - 1);
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(format!("\"count\": {}}}", bucket.count).as_bytes());
    }
    out.push(b']');
}

/// The intervals that have a value, with the local time at which they began.
fn push_series(out: &mut Vec<u8>, series: &TimeSeries) {
    out.push(b'[');
    for (i, (at, value)) in series.shown().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        let (clock, nanos) = (time::wall("%Y-%m-%d %H:%M:%S", at), at % 1_000_000_000);
        out.extend_from_slice(format!("{{\"interval_start\":\"{clock}.{nanos:09}\",\"value\":").as_bytes());
        push_number(out, value);
        out.push(b'}');
    }
    out.push(b']');
}

/// A number, or a string where a reader that keeps numbers in doubles would change it.
fn push_json_number(out: &mut Vec<u8>, n: i128) {
    let exact = (n as f64) as i128 == n;
    if !exact {
        out.push(b'"');
    }
    push_number(out, n);
    if !exact {
        out.push(b'"');
    }
}

/// Appends a stack as a list of frames.
fn push_frames(out: &mut Vec<u8>, stack: &Stack) {
    out.push(b'[');
    for (i, frame) in stack.frames.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        push_frame(out, frame);
    }
    out.push(b']');
}

fn push_frame(out: &mut Vec<u8>, frame: &Frame) {
    out.extend_from_slice(format!("{{\"address\": \"{:#x}\"", frame.address).as_bytes());
    let mut text = |name: &str, value: &str| {
        out.extend_from_slice(format!(", \"{name}\": ").as_bytes());
        push_json_string(out, value.as_bytes());
    };
    if let Some(module) = &frame.module {
        text("module", module);
    }
    match &frame.symbol {
        Ok(symbol) => {
            text("symbol", &symbol.name);
            if let Some(code) = &symbol.code {
                text("file", &code.path);
            }
            let inlined: Vec<&str> = symbol.inlined.iter().map(|i| i.name.as_str()).collect();
            out.extend_from_slice(format!(", \"offset\": {}", symbol.offset).as_bytes());
            if let Some(line) = symbol.code.as_ref().and_then(|code| code.line) {
                out.extend_from_slice(format!(", \"line\": {line}").as_bytes());
            }
            if !inlined.is_empty() {
                out.extend_from_slice(b", \"inlined\": [");
                for (i, name) in inlined.into_iter().enumerate() {
                    if i > 0 {
                        out.extend_from_slice(b", ");
                    }
                    push_json_string(out, name.as_bytes());
                }
                out.push(b']');
            }
        }
        Err(reason) => text("unresolved", &reason.to_string()),
    }
    out.push(b'}');
}

/// Appends a part of a map's key: as text, without the blanks that text puts between parts.
fn push_compact(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Void => out.extend_from_slice(b"null"),
        Value::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        Value::Int(n) | Value::Enum { name: None, value: n } => push_number(out, *n),
        Value::Enum { name: Some(name), value: _ } => out.extend_from_slice(name.as_bytes()),
        Value::Pointer(p) => push_pointer(out, *p),
        Value::Text(text) => out.extend_from_slice(text),
        Value::Buf(bytes) => super::escape::push_printable(out, bytes),
        Value::Array(values) => {
            out.push(b'[');
            push_compact_list(out, values);
            out.push(b']');
        }
        Value::Tuple(values) => {
            out.push(b'(');
            push_compact_list(out, values);
            out.push(b')');
        }
        Value::Record(fields) => {
            for (i, (name, value)) in fields.iter().enumerate() {
                out.extend_from_slice(if i == 0 { b"{." } else { b",." });
                out.extend_from_slice(name.as_bytes());
                out.push(b'=');
                push_compact(out, value);
            }
            out.extend_from_slice(if fields.is_empty() { b"{}" } else { b"}" });
        }
        Value::Stack(stack) => {
            for line in stack.to_string().split_inclusive('\n') {
                out.extend_from_slice(line.trim_start_matches(' ').as_bytes());
            }
        }
        // No map has one of these in its key.
        Value::Histogram(histogram) => histogram.push_text(out),
        Value::Series(series) => series.push_text(out),
    }
}

fn push_compact_list(out: &mut Vec<u8>, values: &[Value]) {
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_compact(out, value);
    }
}
