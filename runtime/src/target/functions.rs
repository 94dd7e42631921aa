//! Kernel functions: which ones probes can be put on, and symbols' addresses.
//!
//! Two lists tell, both of which the kernel takes tens of milliseconds to write: what ftrace can trace
//! (`available_filter_functions`, not readable under lockdown) and all symbols (`/proc/kallsyms`). Each is
//! read when first needed and kept as the text that it is.

use std::cell::OnceCell;

use memql_compiler::target::FactError;

use super::refused;
use super::tracefs::Tracefs;

/// The kernel's functions and symbols.
#[derive(Default)]
pub struct KernelFunctions {
    /// `available_filter_functions`; `None` where it cannot be read.
    traceable: OnceCell<Option<String>>,
    symbols: OnceCell<Result<String, FactError>>,
}

impl KernelFunctions {
    /// With a list of the functions that can be traced, as `available_filter_functions` has it.
    pub fn listed(text: String) -> KernelFunctions {
        KernelFunctions { traceable: OnceCell::from(Some(text)), symbols: OnceCell::new() }
    }

    /// All functions that can be traced, as `(function, module)`, sorted.
    pub fn all(&self, tracefs: Option<&Tracefs>) -> Result<Vec<(String, String)>, FactError> {
        let owned =
            |name: &str, module: Option<&str>| (name.to_owned(), module.unwrap_or_default().to_owned());
        let mut all: Vec<_> = match self.traceable(tracefs) {
            Some(text) => traceables(text).map(|(name, module)| owned(name, module)).collect(),
            None => symbols(self.kallsyms()?).filter(|s| s.code).map(|s| owned(s.name, s.module)).collect(),
        };
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// Whether there is a function of this name. One that ftrace does not list (since it begins without a
    /// call of it, say) may take a kprobe all the same; the kernel tells when it is attached.
    pub fn has(&self, name: &str, tracefs: Option<&Tracefs>) -> Result<bool, FactError> {
        match self.traceable(tracefs) {
            Some(text) if lines_with(text, name).flat_map(traceables).any(|(of, _)| of == name) => Ok(true),
            Some(_) | None => Ok(named(self.kallsyms()?, name).any(|s| s.code)),
        }
    }

    /// A symbol's address; the kernel's own before those of modules. `None` if there is no such symbol.
    ///
    /// # Errors
    /// If kallsyms cannot be read or hides addresses.
    pub fn address(&self, name: &str) -> Result<Option<u64>, FactError> {
        let mut in_module = None;
        for symbol in named(self.kallsyms()?, name) {
            match (symbol.address, symbol.module) {
                (0, _) => {
                    return Err(FactError {
                        message: format!("the kernel hides the address of `{name}`"),
                        help: Some("run as root, with kernel.kptr_restrict at 1 or 0".into()),
                    });
                }
                (address, None) => return Ok(Some(address)),
                (address, Some(_)) => in_module = in_module.or(Some(address)),
            }
        }
        Ok(in_module)
    }

    fn traceable(&self, tracefs: Option<&Tracefs>) -> Option<&str> {
        // Under lockdown the list opens but does not read: kallsyms then has to do.
        let read = || tracefs.and_then(|t| t.read("available_filter_functions").ok().flatten());
        self.traceable.get_or_init(|| read().filter(|text| !text.is_empty())).as_deref()
    }

    fn kallsyms(&self) -> Result<&str, FactError> {
        let read = || match std::fs::read("/proc/kallsyms") {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => Err(refused("cannot read `/proc/kallsyms`", &error)),
        };
        self.symbols.get_or_init(read).as_deref().map_err(Clone::clone)
    }
}

/// The functions of `available_filter_functions` with their modules. Where the kernel left a weak function out
/// that another one replaced, the list has a line for the hole (`FTRACE_INVALID_FUNCTION`,
/// include/linux/ftrace.h).
fn traceables(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.lines().map(traceable).filter(|(name, _)| !name.starts_with("__ftrace_invalid_address__"))
}

/// A line of `available_filter_functions`: `name` or `name [module]`.
fn traceable(line: &str) -> (&str, Option<&str>) {
    match line.split_once([' ', '\t']) {
        Some((name, module)) => (name, Some(module.trim_matches(['[', ']', ' ', '\t']))),
        None => (line, None),
    }
}

/// A line of kallsyms: `ffffffff81000000 T _stext`, or with `[module]` at its end.
struct KernelSymbol<'a> {
    /// 0 where the kernel hides it.
    address: u64,
    name: &'a str,
    module: Option<&'a str>,
    /// Whether it is a function that somebody wrote.
    code: bool,
}

fn symbols(text: &str) -> impl Iterator<Item = KernelSymbol<'_>> {
    text.lines().filter_map(|line| {
        let mut words = line.split([' ', '\t']);
        let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
        Some(KernelSymbol {
            address: u64::from_str_radix(address, 16).ok()?,
            name,
            module: words.next().map(|module| module.trim_matches(['[', ']'])),
            code: matches!(kind, "t" | "T" | "w" | "W") && !is_artefact(name),
        })
    })
}

/// The symbols of a name.
fn named<'t>(text: &'t str, name: &'t str) -> impl Iterator<Item = KernelSymbol<'t>> {
    lines_with(text, name).flat_map(symbols).filter(move |symbol| symbol.name == name)
}

/// The lines of a text in which a word stands. There are hundreds of thousands: only these are looked at closely.
fn lines_with<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = &'t str> {
    let is_edge = |byte: Option<&u8>| byte.is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'\n'));
    let bytes = text.as_bytes();
    let stands_alone = move |at: usize| {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        !word.is_empty() && is_edge(before) && is_edge(bytes.get(at + word.len()))
    };
    text.match_indices(word).filter(move |(at, _)| stands_alone(*at)).map(move |(at, _)| {
        let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
        &text[start..end]
    })
}

/// Symbols that the compiler or the kernel's build made, which nobody can trace.
fn is_artefact(name: &str) -> bool {
    const PREFIXES: [&str; 6] = ["__pfx_", "__cfi_", "__probestub_", "__SCT__", "__SCK__", "__tracepoint_"];
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || name.contains(".cold")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(traceable: Option<&str>, kallsyms: &str) -> KernelFunctions {
        let functions = KernelFunctions::default();
        functions.traceable.set(traceable.map(str::to_owned)).expect("it is empty");
        functions.symbols.set(Ok(kallsyms.to_owned())).expect("it is empty");
        functions
    }

    const KALLSYMS: &str = "ffffffff81000000 T _stext\n\
        ffffffff81000010 T __pfx_oom_badness\n\
        ffffffff81000020 t oom_badness\n\
        ffffffff81000030 t oom_badness.cold\n\
        ffffffff81000040 t shrink.isra.0\n\
        ffffffff82000000 D jiffies_64\n\
        ffffffffc0000000 t kvm_run\t[kvm]\n\
        ffffffffc0000010 d jiffies_64\t[odd]\n";

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(name, module)| (name.to_string(), module.to_string())).collect()
    }

    #[test]
    fn what_ftrace_can_trace_is_the_list_where_it_can_be_read() {
        let functions =
            with(Some("vfs_read\nkvm_run [kvm]\n__ftrace_invalid_address___24\ndo_exit\n"), KALLSYMS);
        assert_eq!(functions.all(None), Ok(pairs(&[("do_exit", ""), ("kvm_run", "kvm"), ("vfs_read", "")])));
        assert_eq!(functions.has("kvm_run", None), Ok(true));
        assert_eq!(functions.has("oom_badness", None), Ok(true), "kallsyms has it");
        assert_eq!(functions.has("oom_worseness", None), Ok(false));
    }

    #[test]
    fn code_among_all_symbols_is_the_list_elsewhere() {
        let functions = with(None, KALLSYMS);
        let expected = [("_stext", ""), ("kvm_run", "kvm"), ("oom_badness", ""), ("shrink.isra.0", "")];
        assert_eq!(functions.all(None), Ok(pairs(&expected)));
        assert_eq!(functions.has("shrink.isra.0", None), Ok(true));
        assert_eq!(functions.has("jiffies_64", None), Ok(false));
        assert_eq!(functions.has("oom_badness.cold", None), Ok(false));
    }

    #[test]
    fn addresses_are_the_kernels_own_before_a_modules() {
        let functions = with(None, KALLSYMS);
        assert_eq!(functions.address("jiffies_64"), Ok(Some(0xffff_ffff_8200_0000)));
        assert_eq!(functions.address("kvm_run"), Ok(Some(0xffff_ffff_c000_0000)));
        assert_eq!(functions.address("nothing"), Ok(None));
    }

    #[test]
    fn hidden_addresses_are_an_error_that_says_so() {
        let functions = with(None, "0000000000000000 T _stext\n");
        let error = functions.address("_stext").expect_err("its address is hidden");
        assert_eq!(error.message, "the kernel hides the address of `_stext`");
    }

    #[test]
    fn lines_that_are_no_symbols_are_passed_over() {
        assert_eq!(with(None, "\n\nx\nzz T a\n1 T\n12 T good\n").all(None), Ok(pairs(&[("good", "")])));
    }
}
