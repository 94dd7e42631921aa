//! Everything between an event's bytes and what its reader sees.
//!
//! ```text
//! bytes --decode--> Value --text or json--> buffer --sink--> stdout or file
//! ```
//! [`Output`] is what a run talks to: it is given events and maps and writes what they print, in one of two
//! formats. Output is buffered until [`Output::flush`]; what people are told beside it goes to stderr.

mod aggregate;
mod command;
mod decode;
mod error;
mod escape;
mod format;
mod gfp;
mod histogram;
mod json;
mod kernel_names;
mod map;
mod messages;
mod named;
mod names;
mod ndjson;
mod network;
mod outside;
mod report;
mod report_expr;
mod series;
mod sink;
mod text;
mod time;
mod trials;
mod user_symbols;
mod value;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::ExitStatus;

use memql_compiler::plan::{Arg, EVENT_HEADER_BYTES, EventPlan, Format, MapPlan, Plan};

use crate::health::{self, Lost};
use crate::maps::MapAccess;
use crate::symbols::{SymbolOptions, Symbols};
use decode::{Decoder, c_string, integer, padded_key};
use map::Selection;
use messages::Messages;

pub use error::OutputError;
pub use histogram::{Bound, Bucket, Histogram};
pub use kernel_names::KernelNames;
pub use names::{NoNames, StructField, TypeNames};
pub use outside::{Outside, System};
pub use series::TimeSeries;
pub use sink::{Buffering, Sink, create_output};
pub use time::Clocks;
pub use trials::{Benched, Captured, Tested};
pub use value::Value;

/// The output format: `-f`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, as bpftrace writes them.
    Json,
    /// One JSON object a line, with a type for each value: docs/output.md.
    Ndjson,
}

/// Where output goes and how it is written.
pub struct Settings<'p> {
    /// Where it goes.
    pub sink: Sink,
    /// How it is written.
    pub format: OutputFormat,
    /// Whether people are told, beside the output, what went wrong with some of it.
    pub warnings: bool,
    /// Asked for names of enumerators and struct fields: [`KernelNames`], or [`NoNames`].
    pub names: &'p dyn TypeNames,
    /// The world around it: [`System`].
    pub outside: &'p dyn Outside,
}

impl<'p> Settings<'p> {
    /// Output for a plan.
    pub fn open(self, plan: &'p Plan) -> Output<'p> {
        Output::new(plan, self)
    }
}

/// What a run does after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Goes on.
    Continue,
    /// Ends with this exit code: the script called `exit()`. Events that are already there are still printed.
    Exit(i32),
}

/// Prints what a run's events ask for.
pub struct Output<'p> {
    /// What the script printed and what follows it were parted.
    script_ended: bool,
    plan: &'p Plan,
    messages: Box<dyn Messages>,
    sink: Sink,
    warnings: bool,
    symbols: Symbols,
    names: &'p dyn TypeNames,
    outside: &'p dyn Outside,
    clocks: Clocks,
    /// Maps that changed faster than they could be read.
    unread: BTreeMap<&'p str, u64>,
    /// Where output went before it was set aside.
    aside: Option<trials::Aside>,
}

impl<'p> Output<'p> {
    fn new(plan: &'p Plan, settings: Settings<'p>) -> Output<'p> {
        let Settings { sink, format, warnings, names, outside } = settings;
        let messages: Box<dyn Messages> = match format {
            OutputFormat::Text => Box::new(text::TextMessages { terminal: sink.is_terminal() }),
            OutputFormat::Json => Box::new(json::JsonMessages),
            OutputFormat::Ndjson => Box::new(ndjson::NdjsonMessages),
        };
        let symbols = outside.symbols(SymbolOptions {
            demangle: plan.settings.demangle,
            debug_info: plan.settings.show_debug_info,
        });
        Output {
            plan,
            messages,
            sink,
            script_ended: false,
            warnings,
            symbols,
            names,
            outside,
            clocks: outside.clocks(),
            unread: BTreeMap::new(),
            aside: None,
        }
    }

    /// An event's id; `None` of one that is too short to have one.
    pub fn id(&self, bytes: &[u8]) -> Option<u64> {
        u64::try_from(integer(bytes.get(..EVENT_HEADER_BYTES as usize)?, false)).ok()
    }

    /// Whether an event is a call of `exit()`. One that the plan does not know is not.
    pub fn is_exit(&self, bytes: &[u8]) -> bool {
        matches!(self.plan_of(bytes), Ok(EventPlan::Exit { .. }))
    }

    /// Whether an event is a call of `printf()`.
    pub fn is_printf(&self, bytes: &[u8]) -> bool {
        matches!(self.plan_of(bytes), Ok(EventPlan::Printf { .. }))
    }

    fn plan_of(&self, bytes: &[u8]) -> Result<&'p EventPlan, OutputError> {
        let id = bytes
            .get(..EVENT_HEADER_BYTES as usize)
            .map(|header| integer(header, false))
            .ok_or_else(|| OutputError::Internal(format!("an event of {} bytes", bytes.len())))?;
        usize::try_from(id)
            .ok()
            .and_then(|id| self.plan.events.get(id))
            .ok_or_else(|| OutputError::Internal(format!("an event with id {id}")))
    }

    /// Prints what an event asks for; clearing and zeroing go through `maps`.
    ///
    /// # Errors
    /// If the output cannot be written or a map not read. An event that the plan does not know, or
    /// that is too short for it, is [`OutputError::Internal`]; the run may go on.
    pub fn event(&mut self, bytes: &[u8], maps: &dyn MapAccess) -> Result<Action, OutputError> {
        let event = self.plan_of(bytes)?;
        let action = self.perform(event, bytes, maps)?;
        self.sink.settle()?;
        Ok(action)
    }

    fn perform(
        &mut self,
        event: &'p EventPlan,
        bytes: &[u8],
        maps: &dyn MapAccess,
    ) -> Result<Action, OutputError> {
        match event {
            EventPlan::Printf { format, args } => {
                let text = self.formatted(format, args, bytes, maps)?;
                self.messages.printf(self.sink.buffer(), &text);
            }
            EventPlan::Print(arg) => {
                let value = self.decoder(maps).value(&arg.ty, at(bytes, arg)?)?;
                self.messages.value(self.sink.buffer(), &value);
            }
            EventPlan::PrintMap { map, top, div } => {
                let top = number(bytes, top.as_ref(), 0)?;
                let div = number(bytes, div.as_ref(), 1)?;
                self.print_map(*map, Selection { top, div }, maps)?;
            }
            EventPlan::PrintMapElem { map, key } => {
                self.print_element(*map, sized(bytes, key)?, maps)?;
            }
            EventPlan::Clear { map } => maps.clear(*map)?,
            EventPlan::Zero { map } => maps.zero(*map)?,
            EventPlan::Time { format } => {
                let text = self.clocks.now(format, self.outside.wall_ns());
                self.messages.time(self.sink.buffer(), &text);
            }
            EventPlan::Join { parts, delimiter } => {
                let text = joined(parts, delimiter, bytes)?;
                self.messages.join(self.sink.buffer(), &text);
            }
            EventPlan::Tell { severity, place, format, args } => {
                let text = self.formatted(format, args, bytes, maps)?;
                self.count_error(*severity);
                let mut told = Vec::new();
                self.messages.told(self.sink.buffer(), &mut told, *severity, place, &text);
                self.sink.tell(&told)?;
            }
            EventPlan::Cat { format, args } => {
                let path = self.raw_formatted(format, args, bytes, maps)?;
                match self.outside.read_file(&path, self.plan.settings.max_cat_bytes) {
                    Ok(text) => self.messages.cat(self.sink.buffer(), &text),
                    Err(error) => self.warn(&format!("cat: cannot read `{}`: {error}", shown(&path)))?,
                }
            }
            EventPlan::System { format, args } => {
                let command = self.raw_formatted(format, args, bytes, maps)?;
                // What was printed before the command comes before what it prints.
                self.sink.flush()?;
                match self.outside.run_shell(&command) {
                    Ok((text, failure)) => {
                        self.messages.command(self.sink.buffer(), &text);
                        if let Some(how) = failure {
                            self.warn(&format!("system: `{}` {how}", shown(&command)))?;
                        }
                    }
                    Err(error) => self.warn(&format!("system: cannot run `sh`: {error}"))?,
                }
            }
            EventPlan::Exit { code } => {
                let code = number(bytes, code.as_ref(), 0)?;
                return Ok(Action::Exit(code as i32));
            }
            EventPlan::Report(report) => {
                let mut decoder = Decoder {
                    plan: self.plan,
                    symbols: &mut self.symbols,
                    maps,
                    names: self.names,
                    clocks: &self.clocks,
                };
                let table = report::run(report, bytes, &mut decoder)?;
                self.messages.report(self.sink.buffer(), &table)?;
            }
        }
        Ok(Action::Continue)
    }

    /// Prints the maps that are left, as at the end of a run, in the plan's order. Maps that were never
    /// assigned are not printed.
    ///
    /// # Errors
    /// As [`Output::event`].
    pub fn print_all_maps(&mut self, maps: &dyn MapAccess) -> Result<(), OutputError> {
        for (index, map) in self.plan.maps.iter().enumerate() {
            let entries = maps.entries(index)?;
            if entries.is_empty() {
                continue;
            }
            self.end_of_script();
            self.push_entries(map, &entries, Selection::ALL, maps)?;
            self.sink.settle()?;
        }
        Ok(())
    }

    /// Parts what the script has printed from what follows it: the maps that are left, or nothing. Once.
    pub fn end_of_script(&mut self) {
        if !std::mem::replace(&mut self.script_ended, true) {
            self.messages.before_last_maps(self.sink.buffer());
        }
    }

    /// Says that everything is attached.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn attached_probes(&mut self, probes: u64) -> Result<(), OutputError> {
        let mut told = Vec::new();
        self.messages.attached(self.sink.buffer(), &mut told, probes);
        self.sink.tell(&told)?;
        Ok(())
    }

    /// Says which file an iterator was pinned to.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn pinned(&mut self, path: &Path) -> Result<(), OutputError> {
        self.messages.pinned(self.sink.buffer(), &path.to_string_lossy());
        self.sink.settle()?;
        Ok(())
    }

    /// Says that events were lost.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn lost_events(&mut self, lost: u64) -> Result<(), OutputError> {
        let mut told = Vec::new();
        self.messages.lost_events(self.sink.buffer(), &mut told, lost);
        self.sink.tell(&told)?;
        Ok(())
    }

    /// Says what was lost in all: each on stderr; under `-f json` also as one record, which `always` says is
    /// printed even if nothing was lost.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub fn losses(&mut self, losses: &[Lost], always: bool) -> Result<(), OutputError> {
        if always || !losses.is_empty() {
            self.messages.losses(self.sink.buffer(), losses);
            self.flush()?;
        }
        losses.iter().try_for_each(|lost| self.warn(&lost.text))
    }

    /// The maps that changed faster than they could be read, with how often.
    pub fn unread_maps(&self) -> Vec<Lost> {
        self.unread.iter().map(|(name, count)| health::unread_map(name, *count)).collect()
    }

    /// How much of what processes mapped the kernel had to drop.
    pub fn lost_mappings(&self) -> u64 {
        self.symbols.lost_mappings()
    }

    /// Tells people, on stderr, that something went wrong, whatever warnings are left out.
    ///
    /// # Errors
    /// If the output so far cannot be written.
    pub fn error(&mut self, text: &str) -> Result<(), OutputError> {
        Ok(self.sink.tell(format!("error: {text}\n").as_bytes())?)
    }

    /// Tells people something, on stderr, after the output so far.
    ///
    /// # Errors
    /// If the output so far cannot be written.
    pub fn warn(&mut self, text: &str) -> Result<(), OutputError> {
        if self.warnings {
            self.sink.tell(format!("warning: {text}\n").as_bytes())?;
        }
        Ok(())
    }

    /// Says which process the run is about (`-p`, `-c`), if not about all: if the script takes user stacks or
    /// symbols, what they map is kept, so that addresses can be resolved after they ended. `others` are looked at too.
    pub fn watch(&mut self, process: Option<u32>, others: &[u32]) {
        match process {
            _ if !user_symbols::wanted(self.plan) => return,
            Some(tgid) => self.symbols.watch_process(tgid),
            None => self.symbols.watch_all(),
        }
        others.iter().for_each(|tgid| self.symbols.note_process_now(*tgid));
    }

    /// What becomes readable when processes have mapped so much that it should be [noted](Output::note_mapped).
    pub fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.symbols.watched()
    }

    /// Notes what processes have mapped.
    pub fn note_mapped(&mut self) {
        self.symbols.catch_up();
    }

    /// Writes what is buffered when there is nothing more to print for the moment; not under `-B full`.
    ///
    /// # Errors
    /// As [`Output::flush`].
    pub fn pause(&mut self) -> Result<(), OutputError> {
        Ok(self.sink.pause()?)
    }

    /// Writes everything that is buffered.
    ///
    /// # Errors
    /// If it cannot be written; see [`OutputError::is_broken_pipe`].
    pub fn flush(&mut self) -> Result<(), OutputError> {
        Ok(self.sink.flush()?)
    }

    fn decoder<'a>(&'a mut self, maps: &'a dyn MapAccess) -> Decoder<'a> {
        Decoder { plan: self.plan, symbols: &mut self.symbols, maps, names: self.names, clocks: &self.clocks }
    }

    /// A format's text as it is shown.
    fn formatted(
        &mut self,
        format: &Format,
        args: &[Arg],
        bytes: &[u8],
        maps: &dyn MapAccess,
    ) -> Result<Vec<u8>, OutputError> {
        let terminal = self.messages.escapes_data();
        self.push_format(format, args, bytes, maps, terminal)
    }

    /// A format's text as it is used: a path or a command.
    fn raw_formatted(
        &mut self,
        format: &Format,
        args: &[Arg],
        bytes: &[u8],
        maps: &dyn MapAccess,
    ) -> Result<Vec<u8>, OutputError> {
        self.push_format(format, args, bytes, maps, false)
    }

    fn push_format(
        &mut self,
        format: &Format,
        args: &[Arg],
        bytes: &[u8],
        maps: &dyn MapAccess,
        terminal: bool,
    ) -> Result<Vec<u8>, OutputError> {
        let mut decoder = self.decoder(maps);
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(decoder.value(&arg.ty, at(bytes, arg)?)?);
        }
        let mut text = Vec::new();
        format::push_formatted(&mut text, format, &values, terminal)?;
        Ok(text)
    }

    fn print_map(
        &mut self,
        index: usize,
        selection: Selection,
        maps: &dyn MapAccess,
    ) -> Result<(), OutputError> {
        let map = self.map(index)?;
        let mut entries = maps.entries(index)?;
        // Asked for by name, a map that was never assigned prints as zero; a histogram has nothing to show.
        if map.key.is_none()
            && entries.is_empty()
            && !matches!(
                messages::MapKind::of(&map.value),
                messages::MapKind::Hist | messages::MapKind::Series
            )
        {
            entries = maps.lookup(index, &[])?;
        }
        self.push_entries(map, &entries, selection, maps)
    }

    fn push_entries(
        &mut self,
        map: &'p MapPlan,
        entries: &crate::maps::Entries,
        selection: Selection,
        maps: &dyn MapAccess,
    ) -> Result<(), OutputError> {
        let mut decoder = Decoder {
            plan: self.plan,
            symbols: &mut self.symbols,
            maps,
            names: self.names,
            clocks: &self.clocks,
        };
        let out = self.sink.buffer();
        match &map.key {
            Some(key) => map::push_keyed(out, &*self.messages, &mut decoder, map, key, entries, selection)?,
            None if entries.is_empty() => {}
            None => map::push_single(out, &*self.messages, &mut decoder, map, entries.value(0), selection)?,
        }
        if !entries.complete {
            *self.unread.entry(&map.name).or_default() += 1;
        }
        Ok(())
    }

    /// `print(@map[key])`: the value alone, zero if the key is not there; a histogram with its name.
    fn print_element(&mut self, index: usize, key: &[u8], maps: &dyn MapAccess) -> Result<(), OutputError> {
        let map = self.map(index)?;
        let key = &*match &map.key {
            Some(ty) => padded_key(ty, key),
            None => Cow::Borrowed(key),
        };
        let entries = maps.lookup(index, key)?;
        let zeros = vec![0u8; map.value.size() as usize];
        let copies =
            if entries.is_empty() { crate::maps::Copies::new(&zeros, zeros.len()) } else { entries.value(0) };
        let value = map::value(&mut self.decoder(maps), &map.value, copies, 1)?;
        match (&value, &map.key) {
            (Value::Histogram(_) | Value::Series(_), Some(key_type)) => {
                let key = self.decoder(maps).value(key_type, key)?;
                let out = self.sink.buffer();
                self.messages.map_begin(out, messages::MapKind::of(&map.value), &map.name);
                self.messages.map_element(
                    out,
                    &map.name,
                    messages::Element { index: 0, key: &key, value: &value },
                );
                self.messages.map_end(out);
            }
            _ => self.messages.value(self.sink.buffer(), &value),
        }
        Ok(())
    }

    fn map(&self, index: usize) -> Result<&'p MapPlan, OutputError> {
        self.plan.maps.get(index).ok_or_else(|| OutputError::Internal(format!("no map with index {index}")))
    }
}

impl std::fmt::Debug for Output<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("sink", &self.sink).finish_non_exhaustive()
    }
}

/// The bytes from an argument on.
fn at<'a>(bytes: &'a [u8], arg: &Arg) -> Result<&'a [u8], OutputError> {
    bytes.get(arg.offset as usize..).ok_or_else(|| {
        OutputError::Internal(format!("an argument at byte {} of an event of {}", arg.offset, bytes.len()))
    })
}

/// Exactly an argument's bytes.
fn sized<'a>(bytes: &'a [u8], arg: &Arg) -> Result<&'a [u8], OutputError> {
    at(bytes, arg)?.get(..arg.ty.size() as usize).ok_or_else(|| {
        OutputError::Internal(format!("a `{}` at byte {} of an event of {}", arg.ty, arg.offset, bytes.len()))
    })
}

/// A number in an event, its bits if it is negative.
fn number(bytes: &[u8], arg: Option<&Arg>, absent: u64) -> Result<u64, OutputError> {
    match arg {
        None => Ok(absent),
        Some(arg) => Ok(integer(sized(bytes, arg)?, arg.ty.is_signed()) as u64),
    }
}

/// The strings up to the first empty one.
fn joined(parts: &[Arg], delimiter: &str, bytes: &[u8]) -> Result<Vec<u8>, OutputError> {
    let mut text = Vec::new();
    for (i, part) in parts.iter().enumerate() {
        let word = c_string(sized(bytes, part)?);
        if word.is_empty() {
            break;
        }
        if i > 0 {
            text.extend_from_slice(delimiter.as_bytes());
        }
        text.extend_from_slice(word);
    }
    Ok(text)
}

fn shown(text: &[u8]) -> String {
    let mut escaped = Vec::new();
    escape::push_for_terminal(&mut escaped, text);
    String::from_utf8_lossy(&escaped).into_owned()
}

fn ending(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "did not end".into(),
    }
}
