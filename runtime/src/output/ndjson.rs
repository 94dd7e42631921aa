//! The ndjson format, memql's own: one JSON object a line, whose types never depend on values.
//!
//! docs/output.md describes it. What differs from the `json` format: keys of maps have their types, stacks are
//! lists of frames, integers are always numbers, and each line says by its `schema` how to read it.

use memql_compiler::plan::{Place, Severity};

use super::escape::push_json_string;
use super::messages::{Element, MapKind, Messages};
use super::report::Table;
use super::text::push_number;
use super::trials::{Benched, Tested};
use super::{Histogram, OutputError, TimeSeries, Value};
use crate::health::Lost;
use crate::symbols::{Frame, Stack};

/// Changes when a reader of the format has to change: fields may be added without.
const SCHEMA: u32 = 1;

/// Writes messages as ndjson.
#[derive(Clone, Copy, Debug)]
pub(super) struct NdjsonMessages;

impl Messages for NdjsonMessages {
    fn escapes_data(&self) -> bool {
        false
    }

    fn printf(&self, out: &mut Vec<u8>, text: &[u8]) {
        push_text(out, "printf", text);
    }

    fn time(&self, out: &mut Vec<u8>, text: &[u8]) {
        push_text(out, "time", text);
    }

    fn told(&self, out: &mut Vec<u8>, _errors: &mut Vec<u8>, severity: Severity, place: &Place, text: &[u8]) {
        let Place { span: _, file, line, column, end_column: _ } = place;
        let word = match severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        push_head(out, "message");
        out.extend_from_slice(format!(",\"severity\":\"{word}\",\"file\":").as_bytes());
        push_json_string(out, file.as_bytes());
        out.extend_from_slice(format!(",\"line\":{line},\"column\":{column},\"text\":").as_bytes());
        push_json_string(out, text);
        out.extend_from_slice(b"}\n");
    }

    fn cat(&self, out: &mut Vec<u8>, text: &[u8]) {
        push_text(out, "cat", text);
    }

    fn join(&self, out: &mut Vec<u8>, text: &[u8]) {
        push_text(out, "join", text);
    }

    fn command(&self, out: &mut Vec<u8>, text: &[u8]) {
        push_text(out, "system", text);
    }

    fn value(&self, out: &mut Vec<u8>, value: &Value) {
        push_head(out, "value");
        out.extend_from_slice(b",\"value\":");
        push_value(out, value);
        out.extend_from_slice(b"}\n");
    }

    fn map_single(&self, out: &mut Vec<u8>, kind: MapKind, name: &str, value: &Value) {
        push_map_head(out, kind, name);
        out.extend_from_slice(b",\"value\":");
        push_value(out, value);
        out.extend_from_slice(b"}\n");
    }

    fn map_begin(&self, out: &mut Vec<u8>, kind: MapKind, name: &str) {
        push_map_head(out, kind, name);
        out.extend_from_slice(b",\"entries\":[");
    }

    fn map_element(&self, out: &mut Vec<u8>, _name: &str, element: Element<'_>) {
        let Element { index, key, value } = element;
        out.extend_from_slice(if index > 0 { b",{\"key\":" } else { b"{\"key\":" });
        push_value(out, key);
        out.extend_from_slice(b",\"value\":");
        push_value(out, value);
        out.push(b'}');
    }

    fn map_end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"]}\n");
    }

    fn report(&self, out: &mut Vec<u8>, table: &Table<'_>) -> Result<(), OutputError> {
        push_head(out, "report");
        out.extend_from_slice(b",\"map\":");
        push_json_string(out, table.map.as_bytes());
        out.extend_from_slice(b",\"rows\":");
        push_list(out, &table.rows, |out, row| {
            push_object(out, table.headings.iter().copied().zip(row.iter()));
        });
        out.extend_from_slice(b"}\n");
        Ok(())
    }

    fn attached(&self, out: &mut Vec<u8>, _errors: &mut Vec<u8>, probes: u64) {
        push_head(out, "attached");
        out.extend_from_slice(format!(",\"probes\":{probes}}}\n").as_bytes());
    }

    fn pinned(&self, out: &mut Vec<u8>, path: &str) {
        push_head(out, "pinned");
        out.extend_from_slice(b",\"path\":");
        push_json_string(out, path.as_bytes());
        out.extend_from_slice(b"}\n");
    }

    fn tested(&self, out: &mut Vec<u8>, tested: &Tested<'_>) {
        let Tested { name, passed, took, output } = tested;
        push_head(out, "test");
        out.extend_from_slice(b",\"name\":");
        push_json_string(out, name.as_bytes());
        let values = format!(",\"passed\":{passed},\"duration_ns\":{},\"output\":", took.as_nanos());
        out.extend_from_slice(values.as_bytes());
        push_json_string(out, output);
        out.extend_from_slice(b"}\n");
    }

    fn benched(&self, out: &mut Vec<u8>, _names: &[&str], benched: &Benched<'_>) {
        let Benched { name, average, runs } = benched;
        push_head(out, "bench");
        out.extend_from_slice(b",\"name\":");
        push_json_string(out, name.as_bytes());
        out.extend_from_slice(
            format!(",\"average_ns\":{},\"runs\":{runs}}}\n", average.as_nanos()).as_bytes(),
        );
    }

    fn lost_events(&self, out: &mut Vec<u8>, _errors: &mut Vec<u8>, lost: u64) {
        push_head(out, "lost_events");
        out.extend_from_slice(format!(",\"count\":{lost}}}\n").as_bytes());
    }

    fn losses(&self, out: &mut Vec<u8>, losses: &[Lost]) {
        push_head(out, "losses");
        out.extend_from_slice(format!(",\"complete\":{},\"losses\":", losses.is_empty()).as_bytes());
        push_list(out, losses, |out, Lost { kind, subject, limit, count, text }| {
            out.extend_from_slice(b"{\"kind\":");
            push_json_string(out, kind.as_bytes());
            if let Some(subject) = subject {
                out.extend_from_slice(b",\"of\":");
                push_json_string(out, subject.as_bytes());
            }
            if let Some(limit) = limit {
                out.extend_from_slice(format!(",\"limit\":{limit}").as_bytes());
            }
            out.extend_from_slice(format!(",\"count\":{count},\"text\":").as_bytes());
            push_json_string(out, text.as_bytes());
            out.push(b'}');
        });
        out.extend_from_slice(b"}\n");
    }

    fn before_last_maps(&self, _out: &mut Vec<u8>) {}
}

fn push_head(out: &mut Vec<u8>, kind: &str) {
    out.extend_from_slice(format!("{{\"schema\":{SCHEMA},\"type\":\"{kind}\"").as_bytes());
}

fn push_text(out: &mut Vec<u8>, from: &str, text: &[u8]) {
    push_head(out, "text");
    out.extend_from_slice(format!(",\"from\":\"{from}\",\"text\":").as_bytes());
    push_json_string(out, text);
    out.extend_from_slice(b"}\n");
}

fn push_map_head(out: &mut Vec<u8>, kind: MapKind, name: &str) {
    push_head(out, "map");
    out.extend_from_slice(b",\"map\":");
    push_json_string(out, name.as_bytes());
    let kind = match kind {
        MapKind::Map => "values",
        MapKind::Hist => "histogram",
        MapKind::Series => "series",
        MapKind::Stats => "stats",
    };
    out.extend_from_slice(format!(",\"kind\":\"{kind}\"").as_bytes());
}

fn push_list<T>(out: &mut Vec<u8>, items: &[T], push: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push(out, item);
    }
    out.push(b']');
}

fn push_object<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = (&'a str, &'a Value)>) {
    out.push(b'{');
    for (i, (name, value)) in fields.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        push_json_string(out, name.as_bytes());
        out.push(b':');
        push_value(out, value);
    }
    out.push(b'}');
}

fn push_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Void => out.extend_from_slice(b"null"),
        Value::Bool(b) => out.extend_from_slice(if *b { b"true" } else { b"false" }),
        Value::Int(n) => push_number(out, *n),
        Value::Pointer(p) => out.extend_from_slice(format!("\"{p:#x}\"").as_bytes()),
        Value::Enum { name, value } => {
            out.extend_from_slice(b"{\"name\":");
            match name {
                Some(name) => push_json_string(out, name.as_bytes()),
                None => out.extend_from_slice(b"null"),
            }
            out.extend_from_slice(b",\"value\":");
            push_number(out, *value);
            out.push(b'}');
        }
        Value::Text(text) => push_json_string(out, text),
        Value::Buf(bytes) => {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            out.extend_from_slice(format!("{{\"hex\":\"{hex}\"}}").as_bytes());
        }
        Value::Array(values) | Value::Tuple(values) => push_list(out, values, push_value),
        Value::Record(fields) => push_object(out, fields.iter().map(|(name, value)| (name.as_str(), value))),
        Value::Stack(stack) => push_stack(out, stack),
        Value::Histogram(histogram) => push_histogram(out, histogram),
        Value::Series(series) => push_series(out, series),
    }
}

/// Buckets from `low` on to below `high`; the first and the last may be open.
fn push_histogram(out: &mut Vec<u8>, histogram: &Histogram) {
    push_list(out, &histogram.buckets, |out, bucket| {
        out.push(b'{');
        if let Some(low) = &bucket.low {
            out.extend_from_slice(format!("\"low\":{},", low.value).as_bytes());
        }
        if let Some(high) = &bucket.high {
            out.extend_from_slice(format!("\"high\":{},", high.value).as_bytes());
        }
        out.extend_from_slice(format!("\"count\":{}}}", bucket.count).as_bytes());
    });
}

fn push_series(out: &mut Vec<u8>, series: &TimeSeries) {
    let points: Vec<(u64, i128)> = series.shown().collect();
    out.extend_from_slice(format!("{{\"interval_ns\":{},\"points\":", series.interval_ns).as_bytes());
    push_list(out, &points, |out, (at, value)| {
        out.extend_from_slice(format!("{{\"start_ns\":{at},\"value\":{value}}}").as_bytes());
    });
    out.push(b'}');
}

/// The frames, innermost first; `null` for a stack that was not kept.
fn push_stack(out: &mut Vec<u8>, stack: &Stack) {
    if stack.missing {
        return out.extend_from_slice(b"null");
    }
    push_list(out, &stack.frames, |out, frame| push_frame(out, frame));
}

fn push_frame(out: &mut Vec<u8>, frame: &Frame) {
    let Frame { address, module, symbol, code_at } = frame;
    out.extend_from_slice(format!("{{\"address\":\"{address:#x}\"").as_bytes());
    let text = |out: &mut Vec<u8>, name: &str, value: &str| {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        push_json_string(out, value.as_bytes());
    };
    match symbol {
        Ok(symbol) => {
            text(out, "name", &symbol.name);
            out.extend_from_slice(format!(",\"offset\":{}", symbol.offset).as_bytes());
            if let Some(code) = &symbol.code {
                text(out, "file", &code.path);
                if let Some(line) = code.line {
                    out.extend_from_slice(format!(",\"line\":{line}").as_bytes());
                }
            }
            if !symbol.inlined.is_empty() {
                out.extend_from_slice(b",\"inlined\":");
                push_list(out, &symbol.inlined, |out, inlined| {
                    out.extend_from_slice(b"{\"name\":");
                    push_json_string(out, inlined.name.as_bytes());
                    if let Some(code) = &inlined.code {
                        text(out, "file", &code.path);
                        if let Some(line) = code.line {
                            out.extend_from_slice(format!(",\"line\":{line}").as_bytes());
                        }
                    }
                    out.push(b'}');
                });
            }
        }
        Err(reason) => text(out, "unresolved", &reason.to_string()),
    }
    if let Some(module) = module {
        text(out, "module", module);
    }
    if let Some(at) = code_at {
        if let Some(id) = &at.build_id {
            text(out, "build_id", id);
        }
        out.extend_from_slice(format!(",\"file_offset\":{}", at.offset).as_bytes());
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use memql_compiler::types::StackMode;

    use super::*;
    use crate::symbols::{Code, FileOffset, Inlined, Symbol, Unresolved};

    fn shown(value: &Value) -> String {
        let mut out = Vec::new();
        push_value(&mut out, value);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn stacks_are_lists_of_frames() {
        let code = |line| Some(Code { path: "/src/a.c".into(), line: Some(line) });
        let symbol = Symbol {
            name: "main".into(),
            offset: 21,
            code: code(7),
            inlined: vec![Inlined { name: "twice".into(), code: code(3) }],
        };
        let known = Frame {
            address: 0x401015,
            module: Some("/usr/bin/a".into()),
            symbol: Ok(Rc::new(symbol)),
            code_at: Some(FileOffset { build_id: Some("0d3b".into()), offset: 0x1015 }),
        };
        let unknown = Frame { address: 0x10, module: None, symbol: Err(Unresolved::Unmapped), code_at: None };
        let frames = vec![Rc::new(known), Rc::new(unknown)];
        let stack = Stack { frames, mode: StackMode::Perf, missing: false };
        assert_eq!(
            shown(&Value::Stack(Rc::new(stack))),
            "[{\"address\":\"0x401015\",\"name\":\"main\",\"offset\":21,\"file\":\"/src/a.c\",\"line\":7,\
             \"inlined\":[{\"name\":\"twice\",\"file\":\"/src/a.c\",\"line\":3}],\"module\":\"/usr/bin/a\",\
             \"build_id\":\"0d3b\",\"file_offset\":4117},\
             {\"address\":\"0x10\",\"unresolved\":\"not in a mapping of the process that was seen\"}]"
        );
        let lost = Stack { frames: Vec::new(), mode: StackMode::Perf, missing: true };
        assert_eq!(shown(&Value::Stack(Rc::new(lost))), "null");
    }

    #[test]
    fn a_value_has_the_same_type_whatever_it_is() {
        assert_eq!(shown(&Value::Int(i128::from(u64::MAX))), "18446744073709551615");
        assert_eq!(shown(&Value::Enum { name: None, value: 3 }), "{\"name\":null,\"value\":3}");
        assert_eq!(shown(&Value::Enum { name: Some("A".into()), value: 3 }), "{\"name\":\"A\",\"value\":3}");
        assert_eq!(shown(&Value::Buf(vec![0, 255])), "{\"hex\":\"00ff\"}");
        assert_eq!(shown(&Value::Pointer(255)), "\"0xff\"");
    }
}
