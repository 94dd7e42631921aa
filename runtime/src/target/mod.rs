//! Facts of the running kernel, each read when it is first asked for.
//!
//! ```text
//! features     what its eBPF can do, by trying
//! tracefs      tracepoints and their ids; a private instance where it is not mounted
//! format       tracepoint format files
//! functions    kernel functions and addresses (tracefs, kallsyms)
//! module_btf   types of kernel modules
//! programs     functions and types of loaded eBPF programs
//! files        programs and libraries by name, as the traced process sees them
//! dwarf        what debug information says of programs and libraries
//! elf          functions of programs and libraries
//! usdt         static probes of programs and libraries
//! kinds        which kinds of probes can be attached
//! ```

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use memql_compiler::attach::ProgramKind;
use memql_compiler::btf::Btf;
use memql_compiler::debug_info::{DebugTypes, LinePlaces, Signature, TypeRef};
use memql_compiler::target::{
    BpfFunction, Demangled, FactError, Features, FunctionExtent, Target, TracepointFormat, UserFile,
    UserSymbol,
};
use memql_compiler::usdt::UsdtNote;

pub(crate) mod archive;
mod dwarf;
mod elf;
mod features;
mod files;
mod format;
mod functions;
mod kernel_btf;
mod kinds;
mod mapped;
mod module_btf;
pub(crate) mod programs;
mod tracefs;
mod usdt;

pub(crate) use features::smallest_program;

use crate::error::RunError;
use functions::KernelFunctions;
use tracefs::Tracefs;

/// What to do without although the kernel has it: `--no-feature`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// Links of many kernel functions.
    pub kprobe_multi: bool,
    /// Links of many user functions.
    pub uprobe_multi: bool,
}

/// The running kernel, and the process that is to be traced if there is one.
pub struct Running {
    pid: Option<u32>,
    without: Without,
    not_to_run: bool,
    /// Symbols that are not there, in words.
    missing: RefCell<Vec<String>>,
    features: OnceCell<Features>,
    tracefs: OnceCell<Result<Tracefs, FactError>>,
    btf: OnceCell<Result<Btf, FactError>>,
    module_btf: RefCell<HashMap<String, Option<Btf>>>,
    functions: KernelFunctions,
    kinds: RefCell<HashMap<ProgramKind, Result<(), FactError>>>,
    symbols: elf::SymbolTables,
    debug_info: dwarf::DebugInfo,
}

impl Running {
    /// Facts for a run; under `-p` or `-c`, files are those that this process sees.
    pub fn new(pid: Option<u32>) -> Running {
        Running {
            pid,
            without: Without::default(),
            not_to_run: false,
            missing: RefCell::default(),
            features: OnceCell::new(),
            tracefs: OnceCell::new(),
            btf: OnceCell::new(),
            module_btf: RefCell::default(),
            functions: KernelFunctions::default(),
            kinds: RefCell::default(),
            symbols: elf::SymbolTables::default(),
            debug_info: dwarf::DebugInfo::default(),
        }
    }

    /// The same kernel without some of what it has.
    pub fn without(self, without: Without) -> Running {
        Running { without, ..self }
    }

    /// The same kernel for what is not going to run, a list or a check: what cannot be attached, and a
    /// symbol that is not there, are no errors but kept for [`Running::refusals`].
    pub fn not_to_run(self) -> Running {
        Running { not_to_run: true, ..self }
    }

    /// What a run would have been refused, in words, sorted; nothing for a target that is for a run, which is
    /// refused itself or goes on without.
    pub fn refusals(&self) -> Vec<String> {
        if !self.not_to_run {
            return Vec::new();
        }
        let kinds = self.kinds.borrow();
        let kinds = kinds.values().filter_map(|answer| answer.as_ref().err().map(|e| e.message.clone()));
        let mut refusals: Vec<String> = kinds.chain(self.missing.borrow().iter().cloned()).collect();
        refusals.sort();
        refusals.dedup();
        refusals
    }

    /// With more folders to look for files of debug information in, before those of the system.
    pub fn debug_folders(self, folders: &[PathBuf]) -> Running {
        Running { debug_info: dwarf::DebugInfo::with_folders(folders), ..self }
    }

    /// The functions that can be traced are those of this file, in the form of ftrace's
    /// `available_filter_functions`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn traceable_functions(self, path: &Path) -> Result<Running, RunError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| RunError::system(format!("cannot read `{}`", path.display()), &error))?;
        Ok(Running { functions: KernelFunctions::listed(text), ..self })
    }

    /// The number by which perf events name a tracepoint.
    ///
    /// # Errors
    /// If tracefs cannot be read or has no such tracepoint.
    pub fn tracepoint_id(&self, category: &str, name: &str) -> Result<u64, FactError> {
        let path = format!("events/{category}/{name}/id");
        let text = self.tracefs()?.read(&path)?.ok_or_else(|| FactError {
            message: format!("there is no tracepoint `{category}:{name}`"),
            help: Some(format!("list what there is: `memql -l 'tracepoint:{category}:*'`")),
        })?;
        text.trim().parse().map_err(|_| FactError {
            message: format!("`{path}` in tracefs does not hold a number: `{}`", text.trim()),
            help: None,
        })
    }

    fn tracefs(&self) -> Result<&Tracefs, FactError> {
        self.tracefs.get_or_init(Tracefs::open).as_ref().map_err(Clone::clone)
    }
}

impl Target for Running {
    fn features(&self) -> &Features {
        self.features.get_or_init(|| {
            let found = features::probe();
            Features {
                kprobe_multi: found.kprobe_multi && !self.without.kprobe_multi,
                uprobe_multi: found.uprobe_multi && !self.without.uprobe_multi,
                ..found
            }
        })
    }

    fn tracepoints(&self) -> Result<Vec<(String, String)>, FactError> {
        self.tracefs()?.tracepoints()
    }

    fn kernel_functions(&self) -> Result<Vec<(String, String)>, FactError> {
        self.functions.all(self.tracefs().ok())
    }

    fn has_kernel_function(&self, name: &str) -> Result<bool, FactError> {
        // The kernel's lists of functions take 50 ms to write; its BTF is read in a few.
        if self.btf().is_ok_and(|btf| btf.function_id(name).is_some()) {
            return Ok(true);
        }
        self.functions.has(name, self.tracefs().ok())
    }

    fn supports(&self, kind: ProgramKind) -> Result<(), FactError> {
        let known = self.kinds.borrow().get(&kind).cloned();
        let answer = match known {
            Some(known) => known,
            None => {
                let answer = kinds::supports(kind, || self.btf());
                self.kinds.borrow_mut().insert(kind, answer.clone());
                answer
            }
        };
        if self.not_to_run { Ok(()) } else { answer }
    }

    fn user_files(&self, name: &str) -> Result<Vec<UserFile>, FactError> {
        files::find(name, self.pid)
    }

    fn user_functions(&self, file: &UserFile) -> Result<Vec<(String, u64)>, FactError> {
        self.symbols.functions(file)
    }

    fn user_function(&self, file: &UserFile, name: &str) -> Result<Option<u64>, FactError> {
        self.symbols.function(file, name)
    }

    fn user_function_extent(&self, path: &str, offset: u64) -> Option<FunctionExtent> {
        self.symbols.extent(path, offset)
    }

    fn user_code(&self, path: &str, offset: u64, length: usize) -> Option<Vec<u8>> {
        self.symbols.code(path, offset, length)
    }

    fn source_line(
        &self,
        file: &UserFile,
        source: &str,
        line: u64,
        column: Option<u64>,
    ) -> Result<LinePlaces, FactError> {
        self.debug_info.line(file, source, line, column)
    }

    fn user_signature(&self, path: &str, entry: u64) -> Result<Option<Signature>, FactError> {
        match self.symbols.address_at(path, entry)? {
            Some(address) => self.debug_info.signature(path, address),
            None => Ok(None),
        }
    }

    fn user_type(
        &self,
        path: &str,
        keyword: &str,
        name: &str,
    ) -> Result<Option<(DebugTypes, TypeRef)>, FactError> {
        self.debug_info.type_named(path, keyword, name)
    }

    fn user_place(&self, file: &UserFile, address: u64) -> Result<Option<u64>, FactError> {
        self.symbols.place(file, address)
    }

    fn demangled_functions(&self, file: &UserFile) -> Result<Vec<Demangled>, FactError> {
        let functions = self.symbols.functions(file)?.into_iter();
        let demangled = |(symbol, file_offset): (String, u64)| Demangled {
            name: crate::symbols::demangle(&symbol),
            symbol,
            file_offset,
        };
        Ok(functions.map(demangled).collect())
    }

    fn process(&self) -> Option<u32> {
        self.pid
    }

    fn mapped_files(&self) -> Result<Vec<UserFile>, FactError> {
        files::mapped(self.pid)
    }

    fn usdt_probes(&self, file: &UserFile) -> Result<Vec<UsdtNote>, FactError> {
        usdt::probes(file)
    }

    fn tracepoint(&self, category: &str, name: &str) -> Result<Option<TracepointFormat>, FactError> {
        let Some(text) = self.tracefs()?.read(&format!("events/{category}/{name}/format"))? else {
            return Ok(None);
        };
        format::parse(&text).map(Some).map_err(|problem| FactError {
            message: format!("cannot understand the format of `tracepoint:{category}:{name}`: {problem}"),
            help: Some("please report it with the output of `memql --info`".into()),
        })
    }

    fn btf(&self) -> Result<&Btf, FactError> {
        self.btf.get_or_init(kernel_btf::read).as_ref().map_err(Clone::clone)
    }

    fn modules_with_types(&self) -> Result<Vec<String>, FactError> {
        module_btf::list()
    }

    fn module_btf(&self, module: &str) -> Result<Option<Btf>, FactError> {
        if let Some(known) = self.module_btf.borrow().get(module) {
            return Ok(known.clone());
        }
        let read = module_btf::read(module, self.btf()?)?;
        self.module_btf.borrow_mut().insert(module.to_owned(), read.clone());
        Ok(read)
    }

    fn bpf_functions(&self) -> Result<Vec<BpfFunction>, FactError> {
        programs::functions()
    }

    fn bpf_program_btf(&self, program: u32) -> Result<Option<Btf>, FactError> {
        programs::types(program)
    }

    fn kernel_symbol(&self, name: &str) -> Result<Option<u64>, FactError> {
        let address = self.functions.address(name)?;
        if address.is_none() && self.not_to_run {
            self.missing.borrow_mut().push(format!("there is no symbol `{name}` in the kernel"));
            return Ok(Some(0));
        }
        Ok(address)
    }

    fn user_symbol(&self, path: &str, name: &str) -> Result<Option<UserSymbol>, FactError> {
        self.symbols.symbol(path, name)
    }

    fn movable_address(&self, path: &str, file_offset: u64) -> Result<Option<u64>, FactError> {
        self.symbols.movable_address(path, file_offset)
    }

    fn cgroup_id(&self, path: &str) -> Result<u64, FactError> {
        use std::os::unix::fs::MetadataExt;
        let folder = std::fs::metadata(path)
            .map_err(|error| refused(&format!("cannot look at the cgroup `{path}`"), &error))?;
        if !folder.is_dir() {
            return Err(FactError {
                message: format!("`{path}` is no cgroup: it is no folder"),
                help: Some("give the cgroup's folder, such as `/sys/fs/cgroup/system.slice`".to_owned()),
            });
        }
        // The kernel takes the inode's number for the id (kernfs_id_ino, include/linux/kernfs.h).
        Ok(folder.ino())
    }
}

/// A fact that the system refuses to give.
fn refused(what: &str, error: &std::io::Error) -> FactError {
    let help = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            Some("run as root, or with the capabilities CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN".to_owned())
        }
        _ => None,
    };
    FactError { message: format!("{what}: {}", crate::errno::in_words(error)), help }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_this_kernel_agree_with_each_other() {
        let target = Running::new(None);
        assert!(target.features().cpus >= 1);
        if let Err(error) = target.tracepoints() {
            return crate::skip::skipped(&error.message);
        }
        let (category, name) = target.tracepoints().expect("it was asked above").swap_remove(0);
        let format = target.tracepoint(&category, &name).expect("tracefs can be read");
        assert!(format.is_some(), "{category}:{name} is listed, so it has a format");
        assert!(target.tracepoint_id(&category, &name).is_ok());
        assert_eq!(target.tracepoint(&category, "no_such_event"), Ok(None));
        assert_eq!(target.tracepoint("..", "options"), Ok(None));
        let error = target.tracepoint_id(&category, "no_such_event").expect_err("it does not exist");
        assert_eq!(error.message, format!("there is no tracepoint `{category}:no_such_event`"));
    }

    #[test]
    fn what_is_not_supported_says_what_to_use_instead() {
        let target = Running::new(None);
        for kind in [ProgramKind::Kprobe, ProgramKind::Fentry, ProgramKind::Uprobe, ProgramKind::Tracepoint] {
            let first = target.supports(kind);
            assert_eq!(target.supports(kind), first, "asked twice, answered alike");
            if let Err(error) = first {
                assert!(error.help.is_some(), "{}", error.message);
            }
        }
    }

    #[test]
    fn the_kernels_types_know_its_tasks() {
        let target = Running::new(None);
        let btf = match target.btf() {
            Ok(btf) => btf,
            Err(error) => return crate::skip::skipped(&error.message),
        };
        let task = btf.struct_named("task_struct").expect("every kernel has tasks");
        let comm = btf.field(task, "comm").expect("every task has a name");
        assert!(btf.c_declaration(comm.type_id, "comm").starts_with("char comm["));
        assert!(btf.raw_tracepoint_args("sched_switch").is_some_and(|args| args.len() >= 3));
    }
}
