//! What memql prints of an outcome: every event by its plan, then the maps that are left.
//!
//! Events carry bytes that nobody wrote, behind the ends of texts for instance. In what the interpreter gives
//! they are filled with something that would be seen.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use memql_compiler::interpret::{Element, Event};
use memql_compiler::plan::{MapPlan, MapStorage, Plan};
use memql_compiler::target::Frozen;
use memql_runtime::maps::{Entries, MapAccess, MapError};
use memql_runtime::output::{
    Clocks, KernelNames, OutputError, OutputFormat, Outside, Settings, Sink, System,
};
use memql_runtime::symbols::{SymbolOptions, Symbols};

use crate::execute::Outcome;

/// What a byte is that nobody wrote.
const UNWRITTEN: u8 = b'?';

/// The lines of each program, and then those of the maps that are left.
///
/// # Errors
/// If an event or a map is not as the plan says: the compiler's mistake.
pub fn printed(plan: &Plan, target: &Frozen, outcome: &Outcome) -> Result<Vec<Vec<String>>, String> {
    let maps = Left { plan, outcome: RefCell::new(outcome.clone()) };
    let bytes = Shared::default();
    let sink = Sink::new(Box::new(bytes.clone()), Box::new(bytes.clone()), false);
    let names = KernelNames::new(target, plan.types.clone());
    let settings =
        Settings { sink, format: OutputFormat::Text, warnings: true, names: &names, outside: &Still };
    let mut output = settings.open(plan);
    let mut all = Vec::new();
    let fails = |error: OutputError| format!("it cannot be printed: {error}");
    for events in &outcome.events {
        for event in events {
            output.event(&filled(event), &maps).map_err(fails)?;
        }
        output.flush().map_err(fails)?;
        all.push(bytes.lines());
    }
    output.print_all_maps(&maps).map_err(fails)?;
    output.flush().map_err(fails)?;
    all.push(bytes.lines());
    Ok(all)
}

fn filled(event: &Event) -> Vec<u8> {
    let byte = |(byte, written): (&u8, &bool)| if *written { *byte } else { UNWRITTEN };
    event.bytes.iter().zip(&event.written).map(byte).collect()
}

/// In what two printed outcomes differ. `ordered` says of each program whether its lines come in one order.
pub fn difference(reference: &[Vec<String>], other: &[Vec<String>], ordered: &[bool]) -> Option<String> {
    for (n, (a, b)) in reference.iter().zip(other).enumerate() {
        let (mut a, mut b): (Vec<&String>, Vec<&String>) = (a.iter().collect(), b.iter().collect());
        if !ordered.get(n).copied().unwrap_or(true) {
            a.sort();
            b.sort();
        }
        if a != b {
            let at = a.iter().zip(&b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
            return Some(format!(
                "program {n} prints as line {}\n  {:?}, not\n  {:?}",
                at + 1,
                b.get(at),
                a.get(at)
            ));
        }
    }
    (reference.len() != other.len()).then(|| format!("{} programs, not {}", other.len(), reference.len()))
}

/// Maps as programs left them.
struct Left<'p> {
    plan: &'p Plan,
    outcome: RefCell<Outcome>,
}

impl Left<'_> {
    fn plan(&self, map: usize) -> Result<&MapPlan, MapError> {
        self.plan.maps.get(map).ok_or_else(|| MapError::Internal(format!("no map with index {map}")))
    }

    fn found(&self, map: usize, wanted: impl Fn(&[u8]) -> bool) -> Result<Entries, MapError> {
        let plan = self.plan(map)?;
        let outcome = self.outcome.borrow();
        let gone = || MapError::Internal(format!("`{}` is not there", plan.name));
        match &plan.storage {
            MapStorage::Keyed { elf_name, .. } => {
                let elements = outcome.maps.get(elf_name).ok_or_else(gone)?;
                let stride = (plan.value.size() as usize).next_multiple_of(8);
                let copies = elements.first().map_or(1, |(_, values)| values.len());
                let key_size = elements.first().map_or(0, |(key, _)| key.len());
                let mut entries = Entries::new(key_size, stride, copies);
                for (key, values) in elements.iter().filter(|(key, _)| wanted(key)) {
                    let padded = |value: &Vec<u8>| {
                        let mut value = value.clone();
                        value.resize(stride, 0);
                        value
                    };
                    entries.extend(1, key, &values.iter().flat_map(padded).collect::<Vec<u8>>());
                }
                Ok(entries)
            }
            MapStorage::Global { offset, copies, stride, .. } => {
                let size = plan.value.size() as usize;
                let stride = (*stride as usize).max(size);
                let mut entries = Entries::new(0, stride, *copies as usize);
                let mut values = Vec::new();
                for copy in 0..*copies as usize {
                    let start = *offset as usize + copy * stride;
                    values.extend_from_slice(outcome.bss.get(start..start + size).ok_or_else(gone)?);
                    values.resize((copy + 1) * stride, 0);
                }
                entries.extend(1, &[], &values);
                Ok(entries)
            }
        }
    }

    fn change(&self, map: usize, keyed: impl Fn(&mut Vec<Element>)) -> Result<(), MapError> {
        let plan = self.plan(map)?;
        let mut outcome = self.outcome.borrow_mut();
        match &plan.storage {
            MapStorage::Keyed { elf_name, .. } => outcome.maps.get_mut(elf_name).into_iter().for_each(keyed),
            MapStorage::Global { offset, copies, stride, .. } => {
                let bytes = (*copies * *stride).max(plan.value.size()) as usize;
                outcome.bss.iter_mut().skip(*offset as usize).take(bytes).for_each(|byte| *byte = 0);
            }
        }
        Ok(())
    }
}

impl MapAccess for Left<'_> {
    fn entries(&self, map: usize) -> Result<Entries, MapError> {
        let found = self.found(map, |_| true)?;
        let MapStorage::Global { set_flag, .. } = self.plan(map)?.storage else { return Ok(found) };
        let is_set = match set_flag {
            Some(flag) => self.outcome.borrow().bss[flag as usize..][..8].iter().any(|b| *b != 0),
            None => found.value(0).iter().flatten().any(|b| *b != 0),
        };
        self.found(map, |_| is_set).map(|found| if is_set { found } else { Entries::default() })
    }

    fn lookup(&self, map: usize, key: &[u8]) -> Result<Entries, MapError> {
        self.found(map, |own| own == key)
    }

    fn clear(&self, map: usize) -> Result<(), MapError> {
        let flag = match self.plan(map)?.storage {
            MapStorage::Global { set_flag, .. } => set_flag,
            MapStorage::Keyed { .. } => None,
        };
        if let Some(flag) = flag {
            self.outcome.borrow_mut().bss[flag as usize..][..8].fill(0);
        }
        self.change(map, Vec::clear)
    }

    fn zero(&self, map: usize) -> Result<(), MapError> {
        self.change(map, |elements| elements.iter_mut().flat_map(|(_, v)| v).for_each(|value| value.fill(0)))
    }

    fn stack(&self, _id: u64) -> Result<Option<Vec<u64>>, MapError> {
        Err(MapError::Internal("generated programs take no stacks".into()))
    }
}

/// A world where no time passes.
struct Still;

impl Outside for Still {
    fn clocks(&self) -> Clocks {
        Clocks { boot_to_realtime_ns: 0, monotonic_to_realtime_ns: 0, tai_to_realtime_ns: 0, utc: true }
    }

    fn wall_ns(&self) -> i64 {
        0
    }

    fn symbols(&self, options: SymbolOptions) -> Symbols {
        Symbols::given(options, Vec::new())
    }

    fn read_file(&self, path: &[u8], most: u32) -> io::Result<Vec<u8>> {
        System.read_file(path, most)
    }

    fn run_shell(&self, command: &[u8]) -> io::Result<(Vec<u8>, Option<String>)> {
        System.run_shell(command)
    }
}

/// A buffer that is written to from elsewhere.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Shared {
    /// What was written since they were last taken.
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.take();
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
