//! A resolved frame, a stack of them, and the ways in which a stack is written.
//!
//! ```text
//! bpftrace          malloc+37@/src/malloc.c:3290          eight blanks before, inlined functions above
//! perf      \t7f3d2c4a1b25 malloc+37 (/lib/libc.so.6)     address first
//! raw       7f3d2c4a1b25
//! build_id  0d3b...e1 0x97b25                             the file's build id and the offset in it
//! bcc           malloc+0x25 [libc.so.6]                   four blanks before
//! ```
//!
//! A stack's text begins with a newline and ends every frame with one.

use std::fmt;
use std::rc::Rc;

use memql_compiler::types::StackMode;

/// A call stack, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Stack {
    /// The frames, innermost first.
    pub frames: Vec<Rc<Frame>>,
    /// How it is written.
    pub mode: StackMode,
    /// It was taken, but is not in the map of stacks any more.
    pub missing: bool,
}

/// One frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The address that was recorded.
    pub address: u64,
    /// The file that it is in as the process knows it, `kernel`, or the kernel module's name; `None`
    /// if the address is in no file.
    pub module: Option<Rc<str>>,
    /// What is there, or why that is not known.
    pub symbol: Result<Rc<Symbol>, Unresolved>,
    /// Where it is in the file.
    pub code_at: Option<FileOffset>,
}

/// A place in an executable or library.
#[derive(Clone, Debug, PartialEq)]
pub struct FileOffset {
    /// The file's build id in hex, if it has one.
    pub build_id: Option<Rc<str>>,
    /// Byte offset in the file.
    pub offset: u64,
}

/// A symbol and how far an address is into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name, demangled if asked.
    pub name: String,
    /// Bytes from its start.
    pub offset: u64,
    /// File and line, if known and asked for.
    pub code: Option<Code>,
    /// Functions inlined at the address, outermost first.
    pub inlined: Vec<Inlined>,
}

/// A function that was inlined at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inlined {
    /// Its name, demangled if asked.
    pub name: String,
    /// Where in it the address is.
    pub code: Option<Code>,
}

/// A place in source code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// The source file, as debug information has it.
    pub path: String,
    /// The line, from 1.
    pub line: Option<u32>,
}

/// Why an address has no symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// No such process any more, and nobody looked at it while it was there.
    ProcessGone,
    /// Not in any of the process's mappings that were seen.
    Unmapped,
    /// In memory that no file is behind: code made at run time, without a perf map.
    Anonymous,
    /// The file could not be opened or read; what the system said.
    File(String),
    /// The file, or the kernel, has no symbol there.
    NoSymbol,
    /// The kernel hides its addresses (`kernel.kptr_restrict`, lockdown).
    Hidden,
    /// `/proc/kallsyms` could not be read; what the system said.
    Kallsyms(String),
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unresolved::ProcessGone => f.write_str("the process had ended"),
            Unresolved::Unmapped => f.write_str("not in a mapping of the process that was seen"),
            Unresolved::Anonymous => f.write_str("in memory without a file"),
            Unresolved::File(error) => f.write_str(error),
            Unresolved::NoSymbol => f.write_str("no symbol is there"),
            Unresolved::Hidden => {
                f.write_str("the kernel hides its addresses (kernel.kptr_restrict or lockdown)")
            }
            Unresolved::Kallsyms(error) => write!(f, "cannot read /proc/kallsyms: {error}"),
        }
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\n")?;
        if self.missing {
            f.write_str("        [stack missing: the map of stacks was full]\n")?;
        }
        for frame in &self.frames {
            match self.mode {
                StackMode::Bpftrace => frame.write_bpftrace(f)?,
                StackMode::Perf => frame.write_perf(f)?,
                StackMode::Raw => writeln!(f, "{:x}", frame.address)?,
                StackMode::BuildId => frame.write_build_id(f)?,
                StackMode::Bcc => frame.write_bcc(f)?,
            }
        }
        Ok(())
    }
}

impl Frame {
    /// The module without its folders: `libc.so.6`.
    pub fn module_name(&self) -> Option<&str> {
        self.module.as_deref().map(|module| module.rsplit('/').next().unwrap_or(module))
    }

    fn write_bpftrace(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.symbol {
            Ok(symbol) => {
                for inlined in symbol.inlined.iter().rev() {
                    writeln!(f, "        [inlined] {}{}", inlined.name, At(inlined.code.as_ref()))?;
                }
                writeln!(f, "        {}+{}{}", symbol.name, symbol.offset, At(symbol.code.as_ref()))
            }
            Err(_) => writeln!(f, "        {:#x}", self.address),
        }
    }

    fn write_perf(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        match &self.symbol {
            Ok(symbol) => {
                for inlined in symbol.inlined.iter().rev() {
                    writeln!(f, "\t{address:x} {} (inlined)", inlined.name)?;
                }
                write!(f, "\t{address:x} {}+{}", symbol.name, symbol.offset)?;
            }
            Err(_) => write!(f, "\t{address:x} {address:#x}")?,
        }
        match (&self.module, self.is_kernel()) {
            (_, true) => f.write_str("\n"),
            (Some(module), false) => writeln!(f, " ({module})"),
            (None, false) => f.write_str(" ([unknown])\n"),
        }
    }

    fn write_build_id(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code_at {
            Some(FileOffset { build_id: Some(build_id), offset }) => writeln!(f, "{build_id} 0x{offset:02x}"),
            _ => writeln!(f, "{:x}", self.address),
        }
    }

    fn write_bcc(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.symbol {
            Ok(symbol) => {
                for inlined in symbol.inlined.iter().rev() {
                    write!(f, "    {} (inlined)", inlined.name)?;
                    self.write_module(f)?;
                }
                write!(f, "    {}+{:#x}", symbol.name, symbol.offset)?;
            }
            Err(_) => write!(f, "    {:#x}", self.address)?,
        }
        self.write_module(f)
    }

    fn write_module(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.module_name() {
            Some(module) => writeln!(f, " [{module}]"),
            None => writeln!(f, " [unknown]"),
        }
    }

    /// Kernel frames have a module but no file.
    fn is_kernel(&self) -> bool {
        self.module.as_deref().is_some_and(|module| !module.starts_with(['/', '[']))
    }
}

/// `@file:line`, or nothing.
struct At<'a>(Option<&'a Code>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Code { path, line: Some(line) }) => write!(f, "@{path}:{line}"),
            Some(Code { path, line: None }) => write!(f, "@{path}"),
            None => Ok(()),
        }
    }
}
