//! The world that a test's events happen in, and what each hands to its program.

use std::collections::BTreeMap;

use memql_grammar::ast::{Expr, ExprKind, FactField, NamedValue, TypeExpr};

use super::diagnostics::{self, Finding};
use super::kernel::{Kernel, WALL_NS_AT_ZERO};
use super::shape::Shape;
use super::value::{encode, list, record, text, word};
use crate::arch::{self, Registers};
use crate::attach::{AttachPoint, ProgramKind};
use crate::interpret::{Task, World};
use crate::target::{FieldForm, TracepointField};

/// When a test begins, on all clocks. Not zero, so that a time is never mistaken for a missing one.
const START_NS: u64 = 1_000_000_000;

/// Above it, addresses are the kernel's.
const KERNEL_HALF: u64 = 1 << 63;

/// Bytes of `struct pt_regs` and of what a perf event adds to it; the largest of all architectures.
const REGISTER_BYTES: usize = 512;

/// Where a stack pointer points that no test sets.
const STACK_POINTER: u64 = 0x7ffd_0000_0000;

/// The task's address where a test does not give one.
const TASK: u64 = 0xffff_8880_0000_0000;

/// What can be given of every event beside its arguments.
const COMMON: &[&str] = &[
    "pid", "tid", "uid", "gid", "comm", "nsecs", "cpu", "numaid", "cgroup", "curtask", "rand", "kstack",
    "ustack",
];

/// A function or variable by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// Where it begins.
    pub address: u64,
    /// The file that it is in; none for the kernel's own.
    pub file: Option<String>,
}

/// A test's world.
#[derive(Debug)]
pub struct Scene<'k> {
    kernel: &'k Kernel<'k>,
    /// What programs find.
    pub world: World,
    /// What can be resolved.
    pub symbols: Vec<Symbol>,
    /// The process of `-p` or `-c`, whose events they are unless a test says otherwise.
    pid: Option<u32>,
    /// Where text is put next: in the kernel's half, in a process's.
    free: (u64, u64),
}

impl<'k> Scene<'k> {
    /// A world where nothing has happened.
    pub fn new(kernel: &'k Kernel<'k>, pid: Option<u32>) -> Scene<'k> {
        let world = World {
            monotonic_ns: START_NS,
            boot_ns: START_NS,
            tai_ns: START_NS,
            max_steps: 100_000_000,
            ..World::default()
        };
        let symbol =
            |(name, address): &(String, u64)| Symbol { name: name.clone(), address: *address, file: None };
        let symbols = kernel.symbols.iter().map(symbol).collect();
        let mut scene =
            Scene { kernel, world, symbols, pid, free: (0xffff_8800_0000_0000, 0x7e00_0000_0000) };
        scene.nobody_in_particular();
        scene
    }

    /// By how much the wall clock is ahead of a test's clocks.
    pub fn clock_to_wall_ns() -> i64 {
        WALL_NS_AT_ZERO
    }

    /// The task and stacks of an event of which nothing is said.
    fn nobody_in_particular(&mut self) {
        let pid = self.pid.unwrap_or(1000);
        self.world.task = Task {
            pid,
            tid: pid,
            ns_pid: pid,
            ns_tid: pid,
            comm: "task".into(),
            address: TASK,
            ..Task::default()
        };
        self.world.cpu = 0;
        self.world.numa_node = 0;
        self.world.kernel_stack = None;
        self.world.user_stack = None;
    }

    /// Puts a value at an address.
    ///
    /// # Errors
    /// If the value is not of the type.
    pub fn memory(&mut self, address: u64, ty: &TypeExpr, value: &Expr) -> Result<(), Finding> {
        let shape = self.kernel.records.shape(ty)?;
        let bytes = match shape {
            Shape::Text => [text(value)?, b"\0"].concat(),
            shape => self.encode(&shape, value, address >= KERNEL_HALF)?,
        };
        self.put(address, &bytes);
        Ok(())
    }

    fn put(&mut self, address: u64, bytes: &[u8]) {
        let memory = if address >= KERNEL_HALF { &mut self.world.kernel } else { &mut self.world.user };
        memory.put(address, bytes);
    }

    /// A value's bytes; text that it points to is put into the kernel's memory or the process's.
    fn encode(&mut self, shape: &Shape, value: &Expr, in_kernel: bool) -> Result<Vec<u8>, Finding> {
        let mut texts = Vec::new();
        let free = if in_kernel { &mut self.free.0 } else { &mut self.free.1 };
        let bytes = encode(&self.kernel.records, shape, value, &mut |text| {
            let address = *free;
            *free += (text.len() as u64 + 1).next_multiple_of(16);
            texts.push((address, [text, b"\0"].concat()));
            address
        })?;
        for (address, text) in texts {
            self.put(address, &text);
        }
        Ok(bytes)
    }

    /// Sets the world for an event, and gives the context of its program.
    ///
    /// # Errors
    /// If a value is unknown there, or does not fit.
    pub fn event(&mut self, point: &AttachPoint, values: &[NamedValue]) -> Result<Vec<u8>, Finding> {
        self.nobody_in_particular();
        let mut rest = Vec::new();
        let (mut tid_given, mut args) = (false, None);
        for value in values {
            if COMMON.contains(&value.name.text.as_str()) {
                tid_given |= value.name.text == "tid";
                self.common(value)?;
            } else if value.name.text == "args" && has_typed_arguments(point) {
                args = Some(&value.value);
            } else {
                rest.push(value);
            }
        }
        if !tid_given {
            self.world.task.tid = self.world.task.pid;
        }
        (self.world.task.ns_pid, self.world.task.ns_tid) = (self.world.task.pid, self.world.task.tid);
        let args = args.map(record).transpose()?.unwrap_or_default();
        match point.kind() {
            // Of a test's kernel, no iterator is known; benchmarks are run under `--bench` only.
            ProgramKind::TestRun | ProgramKind::Iter | ProgramKind::Bench => {
                self.no_more(point, &rest, &[])?;
                Ok(Vec::new())
            }
            ProgramKind::Tracepoint => {
                self.no_more(point, &rest, &["args"])?;
                self.tracepoint(point, &args)
            }
            ProgramKind::RawTracepoint | ProgramKind::Fentry | ProgramKind::Fexit => {
                self.slots(point, &args, &rest)
            }
            ProgramKind::PerfEvent
            | ProgramKind::Kprobe
            | ProgramKind::Kretprobe
            | ProgramKind::Uprobe
            | ProgramKind::Uretprobe
            | ProgramKind::Usdt => self.registers(point, &rest),
        }
    }

    fn common(&mut self, given: &NamedValue) -> Result<(), Finding> {
        let NamedValue { name, value } = given;
        let small = |value: &Expr| {
            let wrong = || diagnostics::wrong_value(value.span, "a number of at most 32 bits");
            word(value).and_then(|n| u32::try_from(n).map_err(|_| wrong()))
        };
        let world = &mut self.world;
        match name.text.as_str() {
            "pid" => world.task.pid = small(value)?,
            "tid" => world.task.tid = small(value)?,
            "uid" => world.task.uid = small(value)?,
            "gid" => world.task.gid = small(value)?,
            "comm" => {
                let wrong = || diagnostics::wrong_value(value.span, "a thread's name, at most 15 bytes");
                let comm = String::from_utf8(text(value)?.to_vec()).map_err(|_| wrong())?;
                if comm.len() > 15 {
                    return Err(wrong());
                }
                world.task.comm = comm;
            }
            "nsecs" => {
                let now = word(value)?;
                if now < world.boot_ns {
                    let wanted = format!("a time that is not before {} ns: time goes forward", world.boot_ns);
                    return Err(diagnostics::wrong_value(value.span, &wanted));
                }
                (world.boot_ns, world.monotonic_ns, world.tai_ns) = (now, now, now);
            }
            "cpu" => match small(value)? {
                cpu if cpu < world.cpus => world.cpu = cpu,
                _ => {
                    return Err(diagnostics::wrong_value(value.span, &format!("a CPU below {}", world.cpus)));
                }
            },
            "numaid" => world.numa_node = small(value)?,
            "cgroup" => world.task.cgroup = word(value)?,
            "curtask" => world.task.address = word(value)?,
            "rand" => world.random = word(value)?,
            "kstack" => self.world.kernel_stack = Some(self.stack(value, false)?),
            "ustack" => self.world.user_stack = Some(self.stack(value, true)?),
            _ => unreachable!("internal error: `{}` is listed and not handled", name.text),
        }
        Ok(())
    }

    /// `("malloc+0x12 [libc.so.6]", "main+4")`, innermost first; numbers are addresses.
    fn stack(&mut self, value: &Expr, user: bool) -> Result<Vec<u64>, Finding> {
        list(value).into_iter().map(|frame| self.frame(frame, user)).collect()
    }

    fn frame(&mut self, frame: &Expr, user: bool) -> Result<u64, Finding> {
        let ExprKind::Str(literal) = &frame.kind else { return word(frame) };
        let wrong = || diagnostics::wrong_value(frame.span, "a frame such as `\"malloc+0x12 [libc.so.6]\"`");
        let text = std::str::from_utf8(&literal.bytes).map_err(|_| wrong())?.trim();
        let (place, file) = match text.strip_suffix(']').and_then(|text| text.split_once(" [")) {
            Some((place, file)) => (place, Some(file.to_owned())),
            None => (text, None),
        };
        let (name, offset) = place.split_once('+').unwrap_or((place, "0"));
        let offset = match offset.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => offset.parse(),
        };
        // Functions lie so far apart.
        const APART: u64 = 0x10000;
        let offset = offset.ok().filter(|offset| *offset < APART).ok_or_else(wrong)?;
        if name.is_empty() || (file.is_some() && !user) {
            return Err(wrong());
        }
        let file = if user { Some(file.unwrap_or_else(|| "program".into())) } else { None };
        let known = self.symbols.iter().find(|s| s.name == name && s.file == file);
        let base = match known {
            Some(symbol) => symbol.address,
            None => {
                let first = if user { 0x5555_0000_0000 } else { 0xffff_ffff_a000_0000 };
                let address = first + APART * self.symbols.len() as u64;
                self.symbols.push(Symbol { name: name.to_owned(), address, file });
                address
            }
        };
        Ok(base + offset)
    }

    /// Refuses values that mean nothing there.
    fn no_more(&self, point: &AttachPoint, rest: &[&NamedValue], more: &[&str]) -> Result<(), Finding> {
        match rest.first() {
            None => Ok(()),
            Some(value) => {
                let known: Vec<String> = COMMON.iter().chain(more).map(|n| (*n).to_owned()).collect();
                Err(diagnostics::unknown_value(&value.name, &format!("an event of `{point}`"), &known))
            }
        }
    }

    /// A tracepoint's record.
    fn tracepoint(&mut self, point: &AttachPoint, args: &[NamedValue]) -> Result<Vec<u8>, Finding> {
        let AttachPoint::Tracepoint { category, name } = point else { return Ok(Vec::new()) };
        let syscall = category == "syscalls";
        let format = self.kernel.target.tracepoints.get(&(category.clone(), name.clone()));
        let fields = format.map_or(&[][..], |format| &format.fields);
        let types = self.fields(point);
        check_names(point, args, types)?;
        let end = fields.iter().map(|f| f.offset + f.size).max().unwrap_or(0).max(16);
        let mut bytes = vec![0; end.next_multiple_of(8) as usize];
        for (TracepointField { name, offset, size, form, .. }, FactField { ty, .. }) in
            fields.iter().zip(types)
        {
            let at = *offset as usize;
            let given = args.iter().find(|a| a.name.text == *name).map(|a| &a.value);
            if matches!(form, FieldForm::DataLoc { .. }) {
                let text = [given.map_or(Ok(&b""[..]), text)?, b"\0"].concat();
                let location = (text.len() as u32) << 16 | bytes.len() as u32;
                bytes[at..at + 4].copy_from_slice(&location.to_le_bytes());
                bytes.extend(text);
                continue;
            }
            let Some(value) = given else { continue };
            let shape = self.kernel.records.shape(ty)?;
            let encoded = widened(self.encode(&shape, value, !syscall)?, &shape, *size as usize);
            bytes[at..at + encoded.len()].copy_from_slice(&encoded);
        }
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        Ok(bytes)
    }

    /// The context of programs whose arguments BTF describes: a word for each, and the result behind them.
    fn slots(
        &mut self,
        point: &AttachPoint,
        args: &[NamedValue],
        rest: &[&NamedValue],
    ) -> Result<Vec<u8>, Finding> {
        let fields = self.fields(point);
        check_names(point, args, fields)?;
        let exit = point.kind() == ProgramKind::Fexit;
        let returned = rest.iter().find(|value| exit && value.name.text == "retval");
        let more: Vec<&NamedValue> =
            rest.iter().copied().filter(|value| !(exit && value.name.text == "retval")).collect();
        self.no_more(point, &more, if exit { &["args", "retval"] } else { &["args"] })?;
        let (mut bytes, mut result) = (Vec::new(), vec![0; 8]);
        for FactField { name, ty } in fields {
            let shape = self.kernel.records.shape(ty)?;
            let is_result = name.text == "retval";
            let given = match is_result {
                true => returned.map(|r| &r.value),
                false => args.iter().find(|a| a.name == *name || a.name.text == name.text).map(|a| &a.value),
            };
            let (size, _) = self.kernel.records.size(&shape, ty.span)?;
            let mut slot = match given {
                Some(value) => widened(self.encode(&shape, value, true)?, &shape, 8),
                None => vec![0; size as usize],
            };
            slot.resize(slot.len().next_multiple_of(8).max(8), 0);
            if is_result {
                result = slot;
            } else {
                bytes.extend(slot);
            }
        }
        bytes.extend(result);
        Ok(bytes)
    }

    /// `struct pt_regs`, and room behind it for what a perf event has more.
    fn registers(&mut self, point: &AttachPoint, rest: &[&NamedValue]) -> Result<Vec<u8>, Finding> {
        let registers = arch::registers(self.kernel.target.features.arch);
        let mut bytes = vec![0; REGISTER_BYTES];
        let mut set = |offset: u32, value: u64| {
            bytes[offset as usize..offset as usize + 8].copy_from_slice(&value.to_le_bytes());
        };
        set(registers.stack_pointer, STACK_POINTER);
        let in_kernel = !point.kind().is_user();
        let mut known: BTreeMap<String, u32> = named(registers, point.kind());
        known.extend(registers.named.iter().map(|(name, offset)| ((*name).to_owned(), *offset)));
        for NamedValue { name, value } in rest.iter().copied() {
            let Some(offset) = known.get(&name.text) else {
                let mut names: Vec<String> = named(registers, point.kind()).into_keys().collect();
                names.push("sp".into());
                names.extend(COMMON.iter().map(|n| (*n).to_owned()));
                return Err(diagnostics::unknown_value(name, &format!("an event of `{point}`"), &names));
            };
            let word = match &value.kind {
                ExprKind::Str(_) => {
                    let bytes = self.encode(&Shape::Text, value, in_kernel)?;
                    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
                }
                _ => word(value)?,
            };
            set(*offset, word);
        }
        Ok(bytes)
    }

    /// The declared arguments of a point.
    fn fields(&self, point: &AttachPoint) -> &'k [FactField] {
        let key = match point {
            AttachPoint::Fentry { function, .. } => format!("fentry:{function}"),
            point => point.to_string(),
        };
        self.kernel.fields.get(&key).copied().unwrap_or_default()
    }
}

fn has_typed_arguments(point: &AttachPoint) -> bool {
    matches!(
        point.kind(),
        ProgramKind::Tracepoint | ProgramKind::RawTracepoint | ProgramKind::Fentry | ProgramKind::Fexit
    )
}

/// `arg0`..., or `retval`, and where they are.
fn named(registers: &Registers, kind: ProgramKind) -> BTreeMap<String, u32> {
    match kind {
        ProgramKind::Kprobe | ProgramKind::Uprobe | ProgramKind::Usdt => {
            registers.arguments.iter().enumerate().map(|(n, offset)| (format!("arg{n}"), *offset)).collect()
        }
        ProgramKind::Kretprobe | ProgramKind::Uretprobe => {
            BTreeMap::from([("retval".to_owned(), registers.return_value)])
        }
        _ => BTreeMap::new(),
    }
}

fn check_names(point: &AttachPoint, args: &[NamedValue], fields: &[FactField]) -> Result<(), Finding> {
    for NamedValue { name, .. } in args {
        if !fields.iter().any(|field| field.name.text == name.text) {
            let known: Vec<String> = fields.iter().map(|field| field.name.text.clone()).collect();
            return Err(diagnostics::unknown_value(name, &format!("`{point}`"), &known));
        }
    }
    Ok(())
}

/// A scalar in a place that is wider than itself, extended by its sign.
fn widened(mut bytes: Vec<u8>, shape: &Shape, size: usize) -> Vec<u8> {
    if let Shape::Int { signed: true, .. } = shape
        && bytes.len() < size
    {
        let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        bytes.resize(size, sign);
    }
    bytes
}
