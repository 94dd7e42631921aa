//! The kernel's symbols, from `/proc/kallsyms`.
//!
//! The file is read once and kept as one text with an index sorted by address: on a kernel with
//! 200,000 symbols that is about 15 MB and a few tens of milliseconds, most of them the kernel's.
//! Programs loaded into the kernel later (eBPF, modules) are found by reading it again when an
//! address in no symbol's reach turns up.

use std::fs;
use std::rc::Rc;

use super::frame::{Frame, Symbol, Unresolved};

const PATH: &str = "/proc/kallsyms";

/// Kernel addresses have the highest bit set on 64-bit machines; lower values in the file are
/// per-CPU offsets and absolute constants.
const KERNEL_START: u64 = 1 << 63;

/// No function is longer than this, so an address farther from the symbol before it belongs to
/// something that has no symbol.
const REACH: u64 = 1 << 20;

/// The kernel's symbols.
#[derive(Debug)]
pub(super) struct Kallsyms {
    text: String,
    /// Sorted by address.
    symbols: Vec<Entry>,
    /// `kernel`, then the kernel modules' names.
    modules: Vec<Rc<str>>,
}

/// A symbol.
#[derive(Clone, Copy, Debug)]
struct Entry {
    address: u64,
    /// Where its name is in the text.
    name: (u32, u32),
    /// Index into the modules.
    module: u32,
    /// Whether it is preferred among symbols of one address: global ones are.
    global: bool,
}

impl Kallsyms {
    /// Reads the running kernel's.
    pub fn read() -> Result<Kallsyms, Unresolved> {
        let bytes = fs::read(PATH).map_err(|error| Unresolved::Kallsyms(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| Unresolved::Kallsyms(error.to_string()))?;
        Kallsyms::parse(text)
    }

    /// Reads lines of `ADDRESS TYPE NAME [\t[MODULE]]`.
    fn parse(text: String) -> Result<Kallsyms, Unresolved> {
        let mut modules: Vec<Rc<str>> = vec!["kernel".into()];
        let mut symbols = Vec::with_capacity(text.len() / 45);
        let mut hidden = false;
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let Ok(address) = u64::from_str_radix(address, 16) else {
                continue;
            };
            hidden |= address == 0;
            if address < KERNEL_START {
                continue;
            }
            let module = match words.next().map(|m| m.trim_matches(['[', ']'])) {
                None => 0,
                // A module's symbols follow one another.
                Some(module) if modules.last().is_some_and(|last| &**last == module) => modules.len() - 1,
                Some(module) => modules.iter().position(|m| &**m == module).unwrap_or_else(|| {
                    modules.push(module.into());
                    modules.len() - 1
                }),
            };
            let start = name.as_ptr().addr() - text.as_ptr().addr();
            let (Ok(from), Ok(to), Ok(module)) =
                (u32::try_from(start), u32::try_from(start + name.len()), u32::try_from(module))
            else {
                return Err(Unresolved::Kallsyms("more than 4 GiB".into()));
            };
            let global = kind.starts_with(|c: char| c.is_ascii_uppercase());
            symbols.push(Entry { address, name: (from, to), module, global });
        }
        if symbols.is_empty() && hidden {
            return Err(Unresolved::Hidden);
        }
        // Stable: symbols of one address keep the file's order.
        symbols.sort_by_key(|s| s.address);
        Ok(Kallsyms { text, symbols, modules })
    }

    /// Resolves an address. Symbols have no sizes here, so a return address is looked up as it is, as in
    /// the kernel's own traces.
    pub fn frame(&mut self, address: u64) -> Frame {
        let mut found = self.find(address);
        if found.is_none() && address >= KERNEL_START {
            // Perhaps a program or module that was loaded after the last reading.
            if let Ok(newer) = Kallsyms::read()
                && newer.symbols.len() != self.symbols.len()
            {
                *self = newer;
                found = self.find(address);
            }
        }
        let Some(entry) = found else {
            return Frame { address, module: None, symbol: Err(Unresolved::NoSymbol), code_at: None };
        };
        let name = self.text[entry.name.0 as usize..entry.name.1 as usize].to_owned();
        let symbol = Symbol { name, offset: address - entry.address, code: None, inlined: Vec::new() };
        Frame {
            address,
            module: Some(Rc::clone(&self.modules[entry.module as usize])),
            symbol: Ok(Rc::new(symbol)),
            code_at: None,
        }
    }

    fn find(&self, address: u64) -> Option<Entry> {
        let after = self.symbols.partition_point(|s| s.address <= address);
        let last = *self.symbols[..after].last()?;
        if address - last.address >= REACH {
            return None;
        }
        // Of several symbols with this address the first global one, or else the first.
        let aliases =
            &self.symbols[self.symbols[..after].partition_point(|s| s.address < last.address)..after];
        aliases.iter().find(|s| s.global).or(aliases.first()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(kallsyms: &str, address: u64) -> String {
        let mut kallsyms = match Kallsyms::parse(kallsyms.to_owned()) {
            Ok(kallsyms) => kallsyms,
            Err(reason) => return reason.to_string(),
        };
        match kallsyms.find(address) {
            Some(_) => match kallsyms.frame(address) {
                Frame { symbol: Ok(s), module, .. } => format!("{}+{} {}", s.name, s.offset, module.unwrap()),
                Frame { .. } => "no symbol".into(),
            },
            None => "no symbol".into(),
        }
    }

    const SMALL: &str = "0000000000000000 A fixed_percpu_data\n\
        ffffffff81000000 t local_alias\n\
        ffffffff81000000 T _stext\n\
        ffffffff81000100 T schedule\n\
        ffffffffc0000000 t nf_hook\t[nf_tables]\n";

    #[test]
    fn an_address_belongs_to_the_symbol_before_it() {
        assert_eq!(text_of(SMALL, 0xffffffff81000100), "schedule+0 kernel");
        assert_eq!(text_of(SMALL, 0xffffffff810001ff), "schedule+255 kernel");
        assert_eq!(text_of(SMALL, 0xffffffffc0000010), "nf_hook+16 nf_tables");
    }

    #[test]
    fn a_global_name_is_preferred_among_aliases() {
        assert_eq!(text_of(SMALL, 0xffffffff81000004), "_stext+4 kernel");
    }

    #[test]
    fn addresses_far_from_any_symbol_are_not_resolved() {
        assert_eq!(text_of(SMALL, 0xffffffff90000000), "no symbol");
        assert_eq!(text_of(SMALL, 5), "no symbol");
    }

    #[test]
    fn hidden_addresses_are_a_reason_and_not_a_symbol() {
        let hidden = "0000000000000000 T _stext\n0000000000000000 T schedule\n";
        assert_eq!(
            text_of(hidden, 0xffffffff81000100),
            "the kernel hides its addresses (kernel.kptr_restrict or lockdown)"
        );
    }
}
