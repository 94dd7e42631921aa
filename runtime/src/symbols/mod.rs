//! Addresses become symbols.
//!
//! Nothing is read before the first address is asked for; what was read is kept for the run: the
//! kernel's symbols once, each executable and library once however many processes map it, and each
//! address in it once. Ten thousand stacks of one program are a few thousand addresses.
//!
//! A process may be gone when its stack is printed, so its mappings are noted, and the files behind
//! them opened, when it is first seen ([`Symbols::note_process`]); what a later look finds is
//! added, what it no longer finds is kept. A process that ended before anybody looked, and
//! libraries that it loaded after the last look, cannot be resolved: such addresses print as
//! addresses. What the process that a run is about (`-p`, `-c`) and its children map while it goes on, or any
//! process if it is about all, the kernel tells ([`Symbols::watch_process`], [`Symbols::watch_all`]): they may end
//! whenever they like.
//!
//! Frames but the innermost hold return addresses, the instruction after the call. They are looked up
//! as the call's own last byte, so that a call that ends a function, and the line of a call, come out
//! right; the offset shown is that of the address itself.

mod build_id;
mod demangle;

pub use demangle::demangle;
mod frame;
mod given;
mod kallsyms;
mod mappings;
mod module;
mod open;
mod perf_map;
mod process;
mod watch;

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

pub(crate) use mappings::{FileKey, Mapping, parse as parse_mappings};
pub(crate) use open::{open_mapped, own_vdso};
pub(crate) use watch::{Change, Wake, Watch};

pub use frame::{Code, FileOffset, Frame, Inlined, Stack, Symbol, Unresolved};
use given::Given;
pub use given::GivenSymbol;
use kallsyms::Kallsyms;
use module::Modules;
use process::Process;

/// So many processes are remembered at most.
const MOST_PROCESSES: usize = 8192;

/// What is shown of symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolOptions {
    /// Demangle C++ and Rust names.
    pub demangle: bool,
    /// File and line, and inlined functions, where debug information is at hand.
    pub debug_info: bool,
}

/// Resolves addresses of the kernel and of processes.
#[derive(Debug)]
pub struct Symbols {
    kernel: Option<Result<Kallsyms, Unresolved>>,
    /// Resolved kernel addresses.
    kernel_frames: HashMap<u64, Rc<Frame>>,
    modules: Modules,
    processes: HashMap<u32, Process>,
    watch: Option<Watch>,
    /// Instead of all that.
    given: Option<Given>,
}

impl Symbols {
    /// Nothing resolved yet, and nothing read.
    pub fn new(options: SymbolOptions) -> Symbols {
        Symbols {
            kernel: None,
            kernel_frames: HashMap::new(),
            modules: Modules::new(options),
            processes: HashMap::new(),
            watch: None,
            given: None,
        }
    }

    /// Resolves to these symbols and looks at nothing else.
    pub fn given(options: SymbolOptions, symbols: Vec<GivenSymbol>) -> Symbols {
        Symbols { given: Some(Given::new(symbols)), ..Symbols::new(options) }
    }

    /// Looks at a process (by its thread group id) while it is there, so that its addresses can be
    /// resolved later. Cheap when repeated: it looks again only after a tenth of a second.
    pub fn note_process(&mut self, tgid: u32) {
        self.catch_up();
        let (process, modules) = self.process(tgid);
        process.note(modules);
    }

    /// The same, even if it was just done: before a process is let go or is about to end.
    pub fn note_process_now(&mut self, tgid: u32) {
        self.catch_up();
        let (process, modules) = self.process(tgid);
        process.refresh(modules);
    }

    /// Looks at a process now, and has the kernel tell what it and its children map, for stacks that are printed
    /// only after they ended.
    pub fn watch_process(&mut self, tgid: u32) {
        self.watch = Watch::of_process(tgid, Wake::InTime);
        self.note_process_now(tgid);
    }

    /// Has the kernel tell what all processes map from now on.
    pub fn watch_all(&mut self) {
        self.watch = Watch::all();
    }

    /// What becomes readable when there is much to [catch up](Symbols::catch_up) with.
    pub fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.watch.iter().flat_map(Watch::fds)
    }

    /// How much of what processes mapped the kernel had to drop, up to now.
    pub fn lost_mappings(&self) -> u64 {
        self.watch.as_ref().map_or(0, Watch::lost)
    }

    /// Takes what the kernel told.
    pub fn catch_up(&mut self) {
        for change in self.watch.as_mut().map(Watch::take).unwrap_or_default() {
            match change {
                Change::Mapped { tgid, mapping } => {
                    let (process, modules) = self.process(tgid);
                    process.mapped(mapping, modules);
                }
                Change::Forked { child, parent } => {
                    let mapped = self.process(parent).0.mapped_so_far().to_vec();
                    self.process(child).0.begin_with(mapped);
                }
            }
        }
    }

    /// Resolves a kernel stack, innermost frame first.
    pub fn kernel_frames(&mut self, addresses: &[u64]) -> Vec<Rc<Frame>> {
        addresses.iter().map(|address| self.kernel_frame(*address)).collect()
    }

    /// Resolves a process's stack, innermost frame first.
    pub fn user_frames(&mut self, tgid: u32, addresses: &[u64]) -> Vec<Rc<Frame>> {
        if let Some(given) = &self.given {
            return addresses.iter().map(|address| given.frame(*address, true)).collect();
        }
        self.catch_up();
        let (process, modules) = self.process(tgid);
        process.frames(addresses, modules)
    }

    /// The name of the kernel function or variable at an address, without an offset; the address in hex
    /// if there is none.
    pub fn kernel_symbol(&mut self, address: u64) -> String {
        name_or_address(&self.kernel_frame(address))
    }

    /// The name of a process's function at an address, without an offset; the address in hex if there
    /// is none.
    pub fn user_symbol(&mut self, tgid: u32, address: u64) -> String {
        match self.user_frames(tgid, &[address]).first() {
            Some(frame) => name_or_address(frame),
            None => format!("{address:#x}"),
        }
    }

    /// A process, and the files it may need. Of very many processes, those that were looked at longest
    /// ago are forgotten: they are looked at again if they are still there.
    fn process(&mut self, tgid: u32) -> (&mut Process, &mut Modules) {
        if self.processes.len() >= MOST_PROCESSES && !self.processes.contains_key(&tgid) {
            let mut looked: Vec<_> = self.processes.values().map(Process::looked).collect();
            let (_, median, _) = looked.select_nth_unstable(MOST_PROCESSES / 2);
            let median = *median;
            self.processes.retain(|_, process| process.looked() > median);
        }
        (self.processes.entry(tgid).or_insert_with(|| Process::new(tgid)), &mut self.modules)
    }

    fn kernel_frame(&mut self, address: u64) -> Rc<Frame> {
        if let Some(given) = &self.given {
            return given.frame(address, false);
        }
        let kernel = self.kernel.get_or_insert_with(Kallsyms::read);
        let frame = self.kernel_frames.entry(address).or_insert_with(|| {
            Rc::new(match kernel {
                Ok(kallsyms) => kallsyms.frame(address),
                Err(reason) => Frame {
                    address,
                    module: Some("kernel".into()),
                    symbol: Err(reason.clone()),
                    code_at: None,
                },
            })
        });
        Rc::clone(frame)
    }
}

fn name_or_address(frame: &Frame) -> String {
    match &frame.symbol {
        Ok(symbol) => symbol.name.clone(),
        // bpftrace writes no base before a zero.
        Err(_) if frame.address == 0 => "0".to_owned(),
        Err(_) => format!("{:#x}", frame.address),
    }
}

#[cfg(test)]
mod tests;
