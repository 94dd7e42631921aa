//! What the compiler needs to know of the kernel and the programs it compiles for.
//!
//! The compiler is pure: it reads no file and makes no system call. Facts reach it through this
//! trait. `memql-runtime` implements it for the running kernel and reads each fact when it is first
//! asked for (so kernel BTF costs nothing unless a script needs it); tests use [`Frozen`] values.

use std::collections::BTreeMap;

use crate::attach::ProgramKind;
use crate::btf::Btf;
use crate::debug_info::{DebugTypes, LinePlaces, Signature, TypeRef};
use crate::usdt::UsdtNote;

/// Facts about one kernel and machine.
pub trait Target {
    /// What the kernel's eBPF can do, and the machine's shape.
    fn features(&self) -> &Features;

    /// All tracepoints as `(category, name)`, sorted.
    ///
    /// # Errors
    /// If tracefs cannot be read.
    fn tracepoints(&self) -> Result<Vec<(String, String)>, FactError>;

    /// All functions that kprobes can be put on, as `(function, module)`, sorted; the module is empty
    /// for the kernel itself.
    ///
    /// # Errors
    /// If neither tracefs nor kallsyms tells.
    fn kernel_functions(&self) -> Result<Vec<(String, String)>, FactError>;

    /// Whether the kernel can put a kprobe on this function, without listing all of them.
    ///
    /// # Errors
    /// If neither tracefs nor kallsyms tells.
    fn has_kernel_function(&self, name: &str) -> Result<bool, FactError>;

    /// Whether this kind of program can be loaded and attached here; `Err` says what is lacking.
    ///
    /// # Errors
    /// What is lacking, and what to use instead.
    fn supports(&self, kind: ProgramKind) -> Result<(), FactError>;

    /// The files that a uprobe's first part names: a path (wildcards allowed), a program in `PATH`,
    /// or a library (`libc`, `libssl.so.3`). Under `-p`, as that process sees them.
    ///
    /// # Errors
    /// If a folder cannot be read.
    fn user_files(&self, name: &str) -> Result<Vec<UserFile>, FactError>;

    /// The functions of an executable or library: symbol and offset in the file, sorted.
    ///
    /// # Errors
    /// If the file cannot be read or is not ELF.
    fn user_functions(&self, file: &UserFile) -> Result<Vec<(String, u64)>, FactError>;

    /// The offset in the file of one function's first byte; `None` if the file has no such function.
    ///
    /// # Errors
    /// If the file cannot be read or is not ELF.
    fn user_function(&self, file: &UserFile, name: &str) -> Result<Option<u64>, FactError> {
        let functions = self.user_functions(file)?;
        Ok(functions.binary_search_by(|(n, _)| n.as_str().cmp(name)).ok().map(|i| functions[i].1))
    }

    /// What the symbol tables say of the function whose first byte is at this offset of a file; `None` if
    /// they know none there, or the file cannot be read.
    fn user_function_extent(&self, path: &str, offset: u64) -> Option<FunctionExtent> {
        let _unknown = (path, offset);
        None
    }

    /// Up to `length` bytes of machine code at an offset of a file, fewer at its end; `None` if it cannot be
    /// read.
    fn user_code(&self, path: &str, offset: u64, length: usize) -> Option<Vec<u8>> {
        let _unknown = (path, offset, length);
        None
    }
    /// The process that `-p` or `-c` names: files are those that it sees.
    fn process(&self) -> Option<u32> {
        None
    }

    /// All programs and libraries that processes have mapped; under `-p`, those of that process.
    ///
    /// # Errors
    /// If processes cannot be looked at.
    fn mapped_files(&self) -> Result<Vec<UserFile>, FactError>;

    /// The static probes of an executable or library, each of their locations, sorted by name.
    ///
    /// # Errors
    /// If the file cannot be read or is not ELF.
    fn usdt_probes(&self, file: &UserFile) -> Result<Vec<UsdtNote>, FactError>;

    /// The offset in the file of an address as the file has it (before the loader moves it); `None` for one
    /// that is in no part of the file that is loaded.
    ///
    /// # Errors
    /// If the file cannot be read or is not ELF.
    fn user_place(&self, file: &UserFile, address: u64) -> Result<Option<u64>, FactError>;

    /// Where the code of a line of source is; `source` is the whole path of a source file or its last parts.
    ///
    /// # Errors
    /// If the file has no debug information, or it cannot be read.
    fn source_line(
        &self,
        file: &UserFile,
        source: &str,
        line: u64,
        column: Option<u64>,
    ) -> Result<LinePlaces, FactError>;

    /// What debug information says of the function whose first byte is at this offset of a file; `None`
    /// where there is none.
    ///
    /// # Errors
    /// If debug information cannot be read.
    fn user_signature(&self, path: &str, entry: u64) -> Result<Option<Signature>, FactError>;

    /// A type of a file's debug information, by its keyword (`struct`, `union`, `enum`, or nothing for a
    /// typedef) and name; `None` where there is none.
    ///
    /// # Errors
    /// If debug information cannot be read.
    fn user_type(
        &self,
        path: &str,
        keyword: &str,
        name: &str,
    ) -> Result<Option<(DebugTypes, TypeRef)>, FactError>;

    /// The functions of an executable or library with their names in C++ or Rust; a name that is not mangled
    /// stands for itself.
    ///
    /// # Errors
    /// If the file cannot be read or is not ELF.
    fn demangled_functions(&self, file: &UserFile) -> Result<Vec<Demangled>, FactError>;

    /// A tracepoint's fields, from its tracefs format file; `None` if there is no such tracepoint.
    ///
    /// # Errors
    /// If tracefs cannot be read.
    fn tracepoint(&self, category: &str, name: &str) -> Result<Option<TracepointFormat>, FactError>;

    /// The kernel's own types.
    ///
    /// # Errors
    /// If the kernel has no BTF or it cannot be read.
    fn btf(&self) -> Result<&Btf, FactError>;

    /// The kernel modules that have types of their own, sorted.
    ///
    /// # Errors
    /// If they cannot be listed.
    fn modules_with_types(&self) -> Result<Vec<String>, FactError>;

    /// A kernel module's types, on top of the kernel's; `None` if it has none of its own.
    ///
    /// # Errors
    /// If they, or the kernel's, cannot be read.
    fn module_btf(&self, module: &str) -> Result<Option<Btf>, FactError>;

    /// The functions of loaded eBPF programs that other programs can trace, sorted.
    ///
    /// # Errors
    /// If programs cannot be looked at.
    fn bpf_functions(&self) -> Result<Vec<BpfFunction>, FactError>;

    /// The types of a loaded eBPF program, by its id; `None` if it has gone or has none.
    ///
    /// # Errors
    /// If they cannot be read.
    fn bpf_program_btf(&self, program: u32) -> Result<Option<Btf>, FactError>;

    /// The address of a kernel symbol, for `kaddr("name")`.
    ///
    /// # Errors
    /// If kallsyms cannot be read.
    fn kernel_symbol(&self, name: &str) -> Result<Option<u64>, FactError>;

    /// A symbol of an executable or library, for `uaddr("name")`; `path` is that of the uprobe it is
    /// used in.
    ///
    /// # Errors
    /// If the file cannot be read.
    fn user_symbol(&self, path: &str, name: &str) -> Result<Option<UserSymbol>, FactError>;

    /// The address, as the file has it, of an offset in a file that the loader puts anywhere in memory (a
    /// library, a position-independent program); `None` of one that is loaded where it says.
    ///
    /// # Errors
    /// If the file cannot be read.
    fn movable_address(&self, path: &str, file_offset: u64) -> Result<Option<u64>, FactError>;

    /// The id of the cgroup at a path of the unified hierarchy, for `cgroupid("path")`.
    ///
    /// # Errors
    /// If there is no cgroup there.
    fn cgroup_id(&self, path: &str) -> Result<u64, FactError>;
}

/// What the kernel's eBPF can do and the machine's shape. Found by trying, never by version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// The processor's architecture.
    pub arch: Arch,
    /// Possible CPUs (`/sys/devices/system/cpu/possible`), at least 1.
    pub cpus: u32,
    /// Where memql runs in a PID namespace other than the first, that namespace's device and inode:
    /// pids are then read with `bpf_get_ns_current_pid_tgid`.
    pub pid_ns: Option<(u64, u64)>,
    /// Atomic operations that return the old value, exchange and compare-exchange (Linux 5.12).
    pub atomic_fetch: bool,
    /// Instructions of cpu v4: signed division, sign-extending loads and moves, `bswap` (Linux 6.6).
    pub cpu_v4: bool,
    /// `bpf_loop` (Linux 5.17).
    pub bpf_loop: bool,
    /// `bpf_for_each_map_elem` (Linux 5.13).
    pub for_each_map_elem: bool,
    /// `bpf_map_lookup_percpu_elem` (Linux 5.19).
    pub lookup_percpu_elem: bool,
    /// `bpf_get_attach_cookie` (Linux 5.15).
    pub attach_cookie: bool,
    /// `bpf_get_func_ip` (Linux 5.15).
    pub func_ip: bool,
    /// `bpf_ktime_get_tai_ns` (Linux 6.1).
    pub ktime_tai: bool,
    /// `bpf_get_current_task_btf` (Linux 5.11).
    pub current_task_btf: bool,
    /// `bpf_task_pt_regs` (Linux 5.15).
    pub task_pt_regs: bool,
    /// Keys of hash maps beyond [`SMALL_KEY_BYTES`] (Linux 5.11).
    pub large_keys: bool,
    /// `kprobe_multi` links.
    pub kprobe_multi: bool,
    /// `uprobe_multi` links (Linux 6.6).
    pub uprobe_multi: bool,
    /// The offset between the realtime and the boot clock when memql started, in nanoseconds.
    pub boot_to_realtime_ns: i64,
    /// The same between atomic time and the boot clock.
    pub boot_to_tai_ns: i64,
    /// The frame limit of a stack (`kernel.perf_event_max_stack`).
    pub max_stack: u32,
}

/// The longest key of a hash map where the kernel has no large ones: the stack of a program
/// (`MAX_BPF_STACK` in `htab_map_alloc_check`, kernel/bpf/hashtab.c of Linux 5.10).
pub const SMALL_KEY_BYTES: u32 = 512;

impl Features {
    /// A kernel that has everything, on a machine with so many CPUs.
    pub fn all(arch: Arch, cpus: u32) -> Features {
        Features {
            arch,
            cpus,
            pid_ns: None,
            atomic_fetch: true,
            cpu_v4: true,
            bpf_loop: true,
            for_each_map_elem: true,
            lookup_percpu_elem: true,
            attach_cookie: true,
            func_ip: true,
            ktime_tai: true,
            current_task_btf: true,
            task_pt_regs: true,
            large_keys: true,
            kprobe_multi: true,
            uprobe_multi: true,
            boot_to_realtime_ns: 0,
            boot_to_tai_ns: 0,
            max_stack: 127,
        }
    }
}

/// Processor architectures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// AMD64.
    X86_64,
    /// ARMv8 in 64-bit mode.
    Aarch64,
}

/// The fields of a tracepoint's record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracepointFormat {
    /// The fields after the common ones, in order.
    pub fields: Vec<TracepointField>,
}

/// One field of a tracepoint's record (`field:TYPE NAME; offset:N; size:N; signed:B;`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracepointField {
    /// The field's name.
    pub name: String,
    /// Its C type as written, without array brackets: `const char *`, `gfp_t`, `__data_loc char[]`.
    pub ctype: String,
    /// Bytes from the record's start.
    pub offset: u32,
    /// Size in bytes, of the whole array for an array.
    pub size: u32,
    /// Whether the kernel says it is signed.
    pub signed: bool,
    /// The form of the field.
    pub form: FieldForm,
}

/// The form of a tracepoint's field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldForm {
    /// An integer (also booleans, enums).
    Int,
    /// An address. Of user memory in the `syscalls` category, otherwise of kernel memory.
    Pointer,
    /// So many elements in the record itself.
    Array {
        /// How many.
        len: u32,
        /// Of which type: characters are read as a string.
        is_char: bool,
    },
    /// `__data_loc`: a 32-bit word, low half the offset from the record's start, high half the length.
    DataLoc {
        /// Whether the elements are characters.
        is_char: bool,
    },
    /// `__rel_loc`: the same, the offset counted from the end of this word.
    RelLoc {
        /// Whether the elements are characters.
        is_char: bool,
    },
}

/// A file that uprobes go into.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserFile {
    /// The file as memql opens it (through `/proc/PID/root` where `-p` asks for it).
    pub path: String,
    /// The file as its users know it.
    pub shown_path: String,
}

/// A symbol of a program or library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserSymbol {
    /// Its address as the file has it (before the loader moves it).
    pub address: u64,
    /// Bytes of the function or variable; 0 if the file does not say.
    pub size: u64,
}

/// A function of a loaded eBPF program: the program's own, or one that it calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BpfFunction {
    /// The program's id.
    pub program: u32,
    /// The function's name in the program's types.
    pub name: String,
}

/// How far a function of a file reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionExtent {
    /// Its bytes.
    pub size: u64,
    /// The offset in the file of the next symbol behind its first byte.
    pub next_symbol: Option<u64>,
    /// What its machine code is for; `None` for a processor that memql does not know.
    pub arch: Option<Arch>,
}

/// A function under its name in C++ or Rust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Demangled {
    /// As its source has it, with the types of its parameters: `zoo::hatch(zoo::Animal const&)`.
    pub name: String,
    /// Its symbol.
    pub symbol: String,
    /// Offset in the file of its first byte.
    pub file_offset: u64,
}

/// A fact that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactError {
    /// What was attempted, on what, and the system's answer: ``cannot read `/sys/kernel/btf/vmlinux`: permission denied``.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A target made of given values, for tests and for `--check` without a kernel.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// See [`Target::features`].
    pub features: Features,
    /// Tracepoints by `(category, name)`.
    pub tracepoints: BTreeMap<(String, String), TracepointFormat>,
    /// The kernel's types, if there are any.
    pub btf: Option<Btf>,
    /// Kernel functions that kprobes and fentry can attach to.
    pub functions: Vec<String>,
    /// The types of kernel modules, on top of the kernel's; their functions can be attached to as well.
    pub modules: BTreeMap<String, Btf>,
    /// The types of loaded eBPF programs by id; all of their functions can be traced.
    pub bpf_programs: BTreeMap<u32, Btf>,
    /// Executables and libraries by the names scripts may give them, and their functions.
    pub user_files: BTreeMap<String, (UserFile, Vec<(String, u64)>)>,
    /// The static probes of files, by the path as memql opens it.
    pub usdt_probes: BTreeMap<String, Vec<UsdtNote>>,
    /// Addresses of kernel symbols.
    pub symbols: BTreeMap<String, u64>,
    /// What debug information says of functions, by the path as memql opens it and the offset of the first
    /// byte.
    pub signatures: BTreeMap<(String, u64), Signature>,
    /// The addresses of lines of source, by the path as memql opens it, the source file and the line.
    pub source_lines: BTreeMap<(String, String, u64), Vec<u64>>,
    /// The machine code of functions, by the path as memql opens it and the offset of the first byte; empty
    /// for one whose size is not known. All others are [`FROZEN_FUNCTION`] bytes of `nop`.
    pub code: BTreeMap<(String, u64), Vec<u8>>,
}

/// See [`Frozen::code`].
const FROZEN_FUNCTION: u64 = 1 << 16;

impl Frozen {
    fn has_function_at(&self, path: &str, offset: u64) -> bool {
        let mut of_file = self.user_files.values().filter(|(file, _)| file.path == path);
        of_file.any(|(_, functions)| functions.iter().any(|(_, at)| *at == offset))
    }
}

impl Target for Frozen {
    fn features(&self) -> &Features {
        &self.features
    }

    fn tracepoints(&self) -> Result<Vec<(String, String)>, FactError> {
        Ok(self.tracepoints.keys().cloned().collect())
    }

    fn kernel_functions(&self) -> Result<Vec<(String, String)>, FactError> {
        let mut functions: Vec<_> = self.functions.iter().map(|f| (f.clone(), String::new())).collect();
        for (module, types) in &self.modules {
            functions.extend(types.own_function_names().map(|f| (f.to_owned(), module.clone())));
        }
        functions.sort();
        Ok(functions)
    }

    fn has_kernel_function(&self, name: &str) -> Result<bool, FactError> {
        Ok(self.kernel_functions()?.iter().any(|(f, _)| f == name))
    }

    /// Everything, except probes on kernel functions where there are none.
    fn supports(&self, kind: ProgramKind) -> Result<(), FactError> {
        match kind {
            ProgramKind::Kprobe | ProgramKind::Kretprobe if self.functions.is_empty() => {
                Err(lacking("this kernel has no kprobes", "use a tracepoint"))
            }
            ProgramKind::Fentry | ProgramKind::Fexit if self.functions.is_empty() || self.btf.is_none() => {
                Err(lacking("this kernel has no fentry and fexit", "use a tracepoint"))
            }
            ProgramKind::TestRun
            | ProgramKind::PerfEvent
            | ProgramKind::Tracepoint
            | ProgramKind::RawTracepoint
            | ProgramKind::Kprobe
            | ProgramKind::Kretprobe
            | ProgramKind::Fentry
            | ProgramKind::Fexit
            | ProgramKind::Uprobe
            | ProgramKind::Uretprobe
            | ProgramKind::Usdt
            | ProgramKind::Iter
            | ProgramKind::Bench => Ok(()),
        }
    }

    fn user_files(&self, name: &str) -> Result<Vec<UserFile>, FactError> {
        let found = self.user_files.iter().filter(|(key, _)| crate::providers::glob::matches(name, key));
        Ok(found.map(|(_, (file, _))| file.clone()).collect())
    }

    fn user_functions(&self, file: &UserFile) -> Result<Vec<(String, u64)>, FactError> {
        let mut functions: Vec<(String, u64)> = self
            .user_files
            .values()
            .filter(|(f, _)| f == file)
            .flat_map(|(_, functions)| functions.clone())
            .collect();
        functions.sort();
        functions.dedup();
        Ok(functions)
    }

    fn source_line(
        &self,
        file: &UserFile,
        source: &str,
        line: u64,
        _: Option<u64>,
    ) -> Result<LinePlaces, FactError> {
        let of_file = self.source_lines.iter().filter(|((p, s, _), _)| *p == file.path && s == source);
        let others: Vec<(u64, u64)> = of_file.map(|((_, _, line), _)| (*line, 1)).collect();
        let found = self.source_lines.get(&(file.path.clone(), source.to_owned(), line));
        let addresses = found.cloned().unwrap_or_default();
        Ok(LinePlaces { addresses, file_known: !others.is_empty(), others })
    }

    fn user_function_extent(&self, path: &str, offset: u64) -> Option<FunctionExtent> {
        let size = match self.code.get(&(path.to_owned(), offset)) {
            Some(code) => code.len() as u64,
            None if self.has_function_at(path, offset) => FROZEN_FUNCTION,
            None => 0,
        };
        let arch = Some(self.features.arch);
        (size > 0).then_some(FunctionExtent { size, next_symbol: None, arch })
    }

    fn user_code(&self, path: &str, offset: u64, length: usize) -> Option<Vec<u8>> {
        let mut given = self.code.range((path.to_owned(), 0)..=(path.to_owned(), offset));
        let given = given.next_back().and_then(|((_, start), code)| code.get((offset - start) as usize..));
        Some(match given {
            Some(rest) if !rest.is_empty() => rest[..rest.len().min(length)].to_vec(),
            _ => vec![0x90; length],
        })
    }

    fn user_signature(&self, path: &str, entry: u64) -> Result<Option<Signature>, FactError> {
        Ok(self.signatures.get(&(path.to_owned(), entry)).cloned())
    }

    fn user_type(
        &self,
        path: &str,
        keyword: &str,
        name: &str,
    ) -> Result<Option<(DebugTypes, TypeRef)>, FactError> {
        let of_file = self.signatures.iter().filter(|((p, _), _)| p == path).map(|(_, s)| &s.types);
        let mut found = of_file.filter_map(|types| Some((types.clone(), types.named(keyword, name)?)));
        Ok(found.next())
    }

    fn user_place(&self, _: &UserFile, address: u64) -> Result<Option<u64>, FactError> {
        Ok(Some(address))
    }

    fn demangled_functions(&self, file: &UserFile) -> Result<Vec<Demangled>, FactError> {
        let functions = self.user_functions(file)?.into_iter();
        Ok(functions
            .map(|(symbol, at)| Demangled { name: symbol.clone(), symbol, file_offset: at })
            .collect())
    }

    fn mapped_files(&self) -> Result<Vec<UserFile>, FactError> {
        Ok(self.user_files.values().map(|(file, _)| file.clone()).collect())
    }

    fn usdt_probes(&self, file: &UserFile) -> Result<Vec<UsdtNote>, FactError> {
        Ok(self.usdt_probes.get(&file.path).cloned().unwrap_or_default())
    }

    fn tracepoint(&self, category: &str, name: &str) -> Result<Option<TracepointFormat>, FactError> {
        Ok(self.tracepoints.get(&(category.to_owned(), name.to_owned())).cloned())
    }

    fn btf(&self) -> Result<&Btf, FactError> {
        self.btf
            .as_ref()
            .ok_or_else(|| lacking("this kernel has no BTF", "use a kernel with CONFIG_DEBUG_INFO_BTF"))
    }

    fn modules_with_types(&self) -> Result<Vec<String>, FactError> {
        Ok(self.modules.keys().cloned().collect())
    }

    fn module_btf(&self, module: &str) -> Result<Option<Btf>, FactError> {
        Ok(self.modules.get(module).cloned())
    }

    fn bpf_functions(&self) -> Result<Vec<BpfFunction>, FactError> {
        let of = |(program, types): (&u32, &Btf)| {
            let program = *program;
            let names: Vec<String> = types.own_function_names().map(str::to_owned).collect();
            names.into_iter().map(move |name| BpfFunction { program, name })
        };
        Ok(self.bpf_programs.iter().flat_map(of).collect())
    }

    fn bpf_program_btf(&self, program: u32) -> Result<Option<Btf>, FactError> {
        Ok(self.bpf_programs.get(&program).cloned())
    }

    /// A function without an address has its place in the list as one.
    fn kernel_symbol(&self, name: &str) -> Result<Option<u64>, FactError> {
        if let Some(address) = self.symbols.get(name) {
            return Ok(Some(*address));
        }
        let place = self.functions.iter().position(|f| f == name);
        Ok(place.map(|i| 0xffff_ffff_8100_0000 + i as u64 * 16))
    }

    /// The function's offset in the file: frozen files are loaded at 0.
    fn user_symbol(&self, path: &str, name: &str) -> Result<Option<UserSymbol>, FactError> {
        let named = |key: &str, file: &UserFile| key == path || file.path == path || file.shown_path == path;
        let files = self.user_files.iter().filter(|(key, (file, _))| named(key, file));
        let mut functions = files.flat_map(|(_, (_, functions))| functions);
        let symbol = |at: u64| UserSymbol { address: at, size: 0 };
        Ok(functions.find(|(n, _)| n == name).map(|(_, at)| symbol(*at)))
    }

    /// Frozen libraries are where a loader has put them, frozen programs where they say.
    fn movable_address(&self, path: &str, file_offset: u64) -> Result<Option<u64>, FactError> {
        Ok(path.contains(".so").then_some(file_offset))
    }

    /// Frozen machines have one cgroup.
    fn cgroup_id(&self, path: &str) -> Result<u64, FactError> {
        match path {
            "/sys/fs/cgroup" => Ok(1),
            _ => Err(lacking(&format!("there is no cgroup `{path}`"), "list /sys/fs/cgroup")),
        }
    }
}

fn lacking(message: &str, help: &str) -> FactError {
    FactError { message: message.to_owned(), help: Some(help.to_owned()) }
}
