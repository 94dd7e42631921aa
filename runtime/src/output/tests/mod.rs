//! What is printed, as text: values, formats, maps, reports, in both formats.
//!
//! [`Script`] is a plan with in-memory maps; its functions return what a reader sees. Expected lines
//! were compared with bpftrace 0.27.1's for the same values unless a test says otherwise.

mod events;
mod formats;
mod maps;
mod reports;
mod sinks;
mod values;

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use memql_compiler::plan::{Arg, EventPlan, MapPlan, MapStorage, Plan};
use memql_compiler::types::{StructRef, TupleField, Type};

use super::*;
use crate::maps::fake::{FakeMap, FakeMaps};

/// A plan, maps and events, to see what they print.
pub(super) struct Script {
    plan: Plan,
    maps: FakeMaps,
    /// Bytes of the events to come, by event id.
    events: Vec<Vec<u8>>,
    terminal: bool,
}

/// A writer that tests can look into.
#[derive(Clone, Default)]
pub(super) struct Shared(pub Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).expect("expected output is UTF-8")
    }
}

/// `enum color { RED, GREEN = 5 }` with type id 7 and `struct pair { int a; unsigned flag:3; char name[4]; }`.
struct Names;

impl TypeNames for Names {
    fn enumerator(&self, enumeration: u32, value: i64) -> Option<String> {
        match (enumeration, value) {
            (7, 0) => Some("RED".into()),
            (7, 5) => Some("GREEN".into()),
            _ => None,
        }
    }

    fn fields(&self, of: &StructRef) -> Option<Vec<StructField>> {
        (of.name == "pair").then(|| {
            let field = |name: &str, ty, offset, bits| StructField { name: name.into(), ty, offset, bits };
            vec![
                field("a", Type::I32, 0, None),
                field("flag", Type::U32, 4, Some((2, 3))),
                field("name", Type::Str { cap: 4 }, 8, None),
            ]
        })
    }
}

impl Script {
    pub fn new() -> Script {
        Script { plan: Plan::default(), maps: FakeMaps::default(), events: Vec::new(), terminal: false }
    }

    /// A reader on a terminal.
    pub fn on_terminal(mut self) -> Script {
        self.terminal = true;
        self
    }

    /// Changes the plan.
    pub fn plan(mut self, change: impl FnOnce(&mut Plan)) -> Script {
        change(&mut self.plan);
        self
    }

    /// A stack in the map of stacks.
    pub fn stack(mut self, id: u64, frames: &[u64]) -> Script {
        self.maps.stacks.insert(id, frames.to_vec());
        self
    }

    /// A map; elements are a key and the copies of a value.
    pub fn map(
        mut self,
        name: &str,
        key: Option<Type>,
        value: Type,
        elements: &[(Vec<u8>, Vec<Vec<u8>>)],
    ) -> Script {
        let copies = elements.iter().map(|(_, copies)| copies.len()).max().unwrap_or(1);
        let stride = (value.size() as usize).next_multiple_of(8);
        let padded = |copies: &[Vec<u8>]| {
            let mut bytes = Vec::new();
            for copy in copies {
                bytes.extend_from_slice(copy);
                bytes.resize(bytes.len().next_multiple_of(stride), 0);
            }
            bytes
        };
        self.maps.maps.borrow_mut().push(FakeMap {
            key_size: key.as_ref().map_or(0, |k| k.size() as usize),
            stride,
            copies,
            elements: elements.iter().map(|(key, copies)| (key.clone(), padded(copies))).collect(),
        });
        let storage = MapStorage::Keyed { elf_name: name.into(), per_cpu: copies > 1, max_entries: 1024 };
        self.plan.maps.push(MapPlan { name: name.into(), key, value, storage });
        self
    }

    /// An event whose arguments have these types and bytes; `plan` makes it of them.
    pub fn event(mut self, args: &[(Type, Vec<u8>)], plan: impl FnOnce(Vec<Arg>) -> EventPlan) -> Script {
        let id = self.plan.events.len() as u64;
        let mut bytes = id.to_ne_bytes().to_vec();
        let mut described = Vec::new();
        for (ty, value) in args {
            assert_eq!(value.len(), ty.size() as usize, "a value of type {ty}");
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            described.push(Arg { ty: ty.clone(), offset: bytes.len() as u32 });
            bytes.extend_from_slice(value);
        }
        self.plan.events.push(plan(described));
        self.events.push(bytes);
        self
    }

    /// `print(value)`
    pub fn print(self, ty: Type, bytes: Vec<u8>) -> Script {
        self.event(&[(ty, bytes)], |mut args| EventPlan::Print(args.remove(0)))
    }

    /// What all events print, as text.
    pub fn text(&self) -> String {
        self.run(OutputFormat::Text, |output, maps| self.send_all(output, maps)).0
    }

    /// What all events print, as JSON.
    pub fn json(&self) -> String {
        self.run(OutputFormat::Json, |output, maps| self.send_all(output, maps)).0
    }

    /// What the maps print at the end, without the blank lines before them.
    pub fn maps_text(&self) -> String {
        let text = self.run(OutputFormat::Text, |output, maps| output.print_all_maps(maps)).0;
        text.strip_prefix("\n\n").unwrap_or(&text).to_owned()
    }

    /// The same as JSON.
    pub fn maps_json(&self) -> String {
        self.run(OutputFormat::Json, |output, maps| output.print_all_maps(maps)).0
    }

    /// Output and what was told beside it.
    pub fn run(
        &self,
        format: OutputFormat,
        act: impl FnOnce(&mut Output<'_>, &FakeMaps) -> Result<(), OutputError>,
    ) -> (String, String) {
        let (out, errors) = (Shared::default(), Shared::default());
        let sink = Sink::new(Box::new(out.clone()), Box::new(errors.clone()), self.terminal);
        let mut output =
            Settings { sink, format, warnings: true, names: &Names, outside: &System }.open(&self.plan);
        act(&mut output, &self.maps).and_then(|()| output.flush()).expect("nothing fails here");
        (out.text(), errors.text())
    }

    /// The answer to an event of these bytes.
    pub fn answer(&self, bytes: &[u8]) -> Result<Action, OutputError> {
        let sink = Sink::new(Box::new(Shared::default()), Box::new(Shared::default()), false);
        Settings { sink, format: OutputFormat::Text, warnings: true, names: &Names, outside: &System }
            .open(&self.plan)
            .event(bytes, &self.maps)
    }

    pub fn send_all(&self, output: &mut Output<'_>, maps: &FakeMaps) -> Result<(), OutputError> {
        self.events.iter().try_for_each(|event| output.event(event, maps).map(drop))
    }
}

/// `string[N]` with this text.
pub(super) fn string(cap: u32, text: &str) -> (Type, Vec<u8>) {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(cap as usize, 0);
    (Type::Str { cap }, bytes)
}

/// `buffer[N]` with these bytes.
pub(super) fn buffer(cap: u32, data: &[u8]) -> (Type, Vec<u8>) {
    let ty = Type::Buf { cap };
    let mut bytes = (data.len() as u32).to_ne_bytes().to_vec();
    bytes.extend_from_slice(data);
    bytes.resize(ty.size() as usize, 0);
    (ty, bytes)
}

/// A signed integer of so many bits.
pub(super) fn int(bits: u8, value: i64) -> (Type, Vec<u8>) {
    (Type::Int { bits, signed: true }, value.to_ne_bytes()[..usize::from(bits / 8)].to_vec())
}

/// An unsigned one.
pub(super) fn uint(bits: u8, value: u64) -> (Type, Vec<u8>) {
    (Type::Int { bits, signed: false }, value.to_ne_bytes()[..usize::from(bits / 8)].to_vec())
}

/// A tuple of values.
pub(super) fn tuple(parts: &[(Type, Vec<u8>)]) -> (Type, Vec<u8>) {
    record_of(parts.iter().map(|(ty, bytes)| (None, ty, bytes)))
}

/// A record.
pub(super) fn record(parts: &[(&str, (Type, Vec<u8>))]) -> (Type, Vec<u8>) {
    record_of(parts.iter().map(|(name, (ty, bytes))| (Some((*name).to_owned()), ty, bytes)))
}

fn record_of<'a>(parts: impl Iterator<Item = (Option<String>, &'a Type, &'a Vec<u8>)>) -> (Type, Vec<u8>) {
    let (fields, values): (Vec<TupleField>, Vec<&Vec<u8>>) =
        parts.map(|(name, ty, bytes)| (TupleField { name, ty: ty.clone() }, bytes)).unzip();
    let layout = memql_compiler::types::tuple_layout(&fields);
    let mut bytes = vec![0; layout.size as usize];
    for (value, offset) in values.iter().zip(layout.offsets) {
        bytes[offset as usize..offset as usize + value.len()].copy_from_slice(value);
    }
    (Type::Tuple(fields), bytes)
}

/// 64-bit words, as aggregations keep them.
pub(super) fn words(words: &[i64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
