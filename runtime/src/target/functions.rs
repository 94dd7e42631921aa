//! Kernel functions: which ones probes can be put on, and symbols' addresses.

use std::cell::OnceCell;

use memql_compiler::target::FactError;

use super::refused;
use super::tracefs::Tracefs;

/// The kernel's symbols, read when first asked for.
pub struct KernelFunctions {
    /// `available_filter_functions`, where it can be read: what ftrace can trace.
    traceable: Option<String>,
    /// `/proc/kallsyms`
    symbols: OnceCell<Result<String, FactError>>,
}

/// One line of kallsyms: `ffffffff81000000 T _text` or, of a module, with `[module]` at the end.
struct Symbol<'a> {
    address: &'a str,
    is_code: bool,
    name: &'a str,
    module: Option<&'a str>,
}

impl KernelFunctions {
    /// From tracefs where it is at hand, else from kallsyms.
    pub fn new(tracefs: Option<&Tracefs>) -> KernelFunctions {
        // Under lockdown the list opens but does not read: kallsyms then has to do.
        let list = tracefs.and_then(|t| t.read("available_filter_functions").ok().flatten());
        KernelFunctions { traceable: list.filter(|text| !text.is_empty()), symbols: OnceCell::new() }
    }

    fn symbols(&self) -> Result<impl Iterator<Item = Symbol<'_>>, FactError> {
        let text = self.symbols.get_or_init(read_kallsyms).as_ref().map_err(Clone::clone)?;
        Ok(text.lines().filter_map(symbol))
    }

    /// All functions as `(function, module)`, sorted.
    pub fn all(&self) -> Result<Vec<(String, String)>, FactError> {
        let mut all: Vec<(String, String)> = match &self.traceable {
            Some(text) => text.lines().map(split_module).collect(),
            None => self
                .symbols()?
                .filter(|s| s.is_code && !is_artefact(s.name))
                .map(|s| (s.name.to_owned(), s.module.unwrap_or_default().to_owned()))
                .collect(),
        };
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// Whether there is such a function.
    pub fn has(&self, name: &str) -> Result<bool, FactError> {
        if let Some(text) = &self.traceable {
            return Ok(text.lines().any(|line| line.split([' ', '\t']).next() == Some(name)));
        }
        Ok(self.symbols()?.any(|s| s.name == name && s.is_code))
    }

    /// A symbol's address; `None` if there is no such symbol or the kernel hides addresses.
    pub fn address(&self, name: &str) -> Result<Option<u64>, FactError> {
        let mut symbols = self.symbols()?;
        let found = symbols.find(|s| s.name == name && s.module.is_none());
        Ok(found.and_then(|s| u64::from_str_radix(s.address, 16).ok()).filter(|address| *address != 0))
    }
}

/// `name` or `name [module]`.
fn split_module(line: &str) -> (String, String) {
    match line.split_once([' ', '\t']) {
        Some((name, module)) => (name.to_owned(), module.trim_matches(['[', ']', ' ', '\t']).to_owned()),
        None => (line.to_owned(), String::new()),
    }
}

fn read_kallsyms() -> Result<String, FactError> {
    let text = std::fs::read("/proc/kallsyms").map_err(|e| refused("cannot read `/proc/kallsyms`", &e))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn symbol(line: &str) -> Option<Symbol<'_>> {
    let (address, rest) = line.split_once(' ')?;
    let (kind, rest) = rest.split_once(' ')?;
    let (name, module) = match rest.split_once('\t') {
        Some((name, module)) => (name, Some(module.trim_matches(['[', ']']))),
        None => (rest, None),
    };
    Some(Symbol { address, is_code: matches!(kind, "t" | "T" | "w" | "W"), name, module })
}

/// Symbols that the compiler or the kernel's build made, which nobody can trace.
fn is_artefact(name: &str) -> bool {
    ["__pfx_", "__cfi_", "__probestub_", "__SCT__", "__SCK__", "__tracepoint_"]
        .iter()
        .any(|p| name.starts_with(p))
        || name.contains('.')
}
