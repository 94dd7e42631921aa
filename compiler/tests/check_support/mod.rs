//! The frozen kernels that scripts are checked for in tests.

#[path = "../../src/btf/fixture.rs"]
#[allow(dead_code, clippy::precedence)]
mod fixture;

use std::collections::BTreeMap;

// The fixture refers to it as its parent's.
use memql_compiler::btf::Btf;
use memql_compiler::target::{
    Arch, Features, FieldForm, Frozen, TracepointField, TracepointFormat, UserFile,
};
use memql_compiler::usdt::UsdtNote;

/// A kernel with everything, and a C library.
pub fn kernel() -> Frozen {
    let libc = file("/usr/lib/libc.so.6");
    let functions = ["calloc", "free", "malloc", "malloc_usable_size"];
    let functions: Vec<(String, u64)> =
        functions.iter().zip(0x1000..).map(|(f, at)| ((*f).to_owned(), at)).collect();
    let kernel = types();
    let btf = kernel.btf();
    Frozen {
        features: features(),
        tracepoints: tracepoints(),
        modules: BTreeMap::from([("nf_tables".to_owned(), module_types(&kernel).btf_over(&btf))]),
        bpf_programs: BTreeMap::from([(41, program_types().btf())]),
        btf: Some(btf),
        functions: ["do_exit", "oom_kill_process", "vfs_read", "vfs_write"].map(str::to_owned).to_vec(),
        usdt_probes: BTreeMap::from([("/usr/lib/libc.so.6".to_owned(), static_probes())]),
        signatures: Default::default(),
        source_lines: Default::default(),
        code: stepper_code(),
        user_files: BTreeMap::from([
            ("libc".to_owned(), (libc, functions)),
            ("stepper".to_owned(), stepper()),
            ("flat".to_owned(), (file("/srv/flat"), Vec::new())),
        ]),
        symbols: BTreeMap::new(),
    }
}

fn file(path: &str) -> UserFile {
    UserFile { path: path.to_owned(), shown_path: path.to_owned() }
}

/// A program whose code is known.
const STEPPER: &str = "/usr/bin/stepper";

fn stepper() -> (UserFile, Vec<(String, u64)>) {
    let functions = [("step", 0x2000), ("_init", 0x2100), ("table", 0x2200)];
    (file(STEPPER), functions.map(|(name, at)| (name.to_owned(), at)).to_vec())
}

/// `step`: `test %rdi,%rdi; lea 8(%rdi),%r10; lea 1(%rdi),%eax; ret`. `_init` has no size, and `table` is no
/// code behind a `nop`.
fn stepper_code() -> BTreeMap<(String, u64), Vec<u8>> {
    let step = vec![0x48, 0x85, 0xff, 0x4c, 0x8d, 0x57, 0x08, 0x8d, 0x47, 0x01, 0xc3];
    let code = [(0x2000, step), (0x2100, Vec::new()), (0x2200, vec![0x90, 0x06, 0x06, 0x06])];
    code.map(|(at, code)| ((STEPPER.to_owned(), at), code)).into()
}

/// Two probes, one of which is at two places.
fn static_probes() -> Vec<UsdtNote> {
    let note = |name: &str, address: u64, arguments: &str| UsdtNote {
        provider: "libc".to_owned(),
        name: name.to_owned(),
        address,
        file_offset: address,
        semaphore: None,
        arguments: arguments.to_owned(),
    };
    vec![
        note("memory_heap_new", 0x2000, "8@%rax 8@-16(%rbp) 8f@%xmm0"),
        note("memory_heap_new", 0x2100, "8@%rbx 8@%rsi 8f@%xmm1"),
        note("setjmp", 0x2200, ""),
    ]
}

fn features() -> Features {
    Features::all(Arch::X86_64, 4)
}

fn field(name: &str, ctype: &str, offset: u32, size: u32, signed: bool, form: FieldForm) -> TracepointField {
    TracepointField { name: name.to_owned(), ctype: ctype.to_owned(), offset, size, signed, form }
}

fn tracepoints() -> BTreeMap<(String, String), TracepointFormat> {
    let int = FieldForm::Int;
    let openat = vec![
        field("__syscall_nr", "int", 8, 4, true, int),
        field("dfd", "int", 16, 8, false, int),
        field("filename", "const char *", 24, 8, false, FieldForm::Pointer),
        field("flags", "int", 32, 8, false, int),
        field("mode", "umode_t", 40, 8, false, int),
    ];
    let open = vec![
        field("__syscall_nr", "int", 8, 4, true, int),
        field("filename", "const char *", 16, 8, false, FieldForm::Pointer),
        field("flags", "int", 24, 8, false, int),
        field("mode", "umode_t", 32, 8, false, int),
    ];
    let exit = vec![field("__syscall_nr", "int", 8, 4, true, int), field("ret", "long", 16, 8, true, int)];
    let victim = vec![
        field("pid", "int", 8, 4, true, int),
        field("comm", "__data_loc char[]", 12, 4, false, FieldForm::DataLoc { is_char: true }),
        field("total_vm", "unsigned long", 16, 8, false, int),
    ];
    let switch = vec![
        field("prev_comm", "char", 8, 16, false, FieldForm::Array { len: 16, is_char: true }),
        field("prev_pid", "pid_t", 24, 4, true, int),
        field("next_pid", "pid_t", 60, 4, true, int),
    ];
    let alloc = vec![
        field("call_site", "unsigned long", 8, 8, false, int),
        field("ptr", "const void *", 16, 8, false, FieldForm::Pointer),
        field("bytes_alloc", "size_t", 24, 8, false, int),
        field("gfp_flags", "unsigned long", 32, 8, false, int),
        field("nodes", "u32", 40, 8, false, FieldForm::Array { len: 2, is_char: false }),
    ];
    [
        ("syscalls", "sys_enter_openat", openat),
        ("syscalls", "sys_enter_open", open),
        ("syscalls", "sys_exit_openat", exit),
        ("oom", "mark_victim", victim),
        ("sched", "sched_switch", switch),
        ("kmem", "kmalloc", alloc),
        ("odd", "shapes", vec![field("triple", "struct triple", 8, 3, false, int)]),
    ]
    .into_iter()
    .map(|(category, name, fields)| ((category.to_owned(), name.to_owned()), TracepointFormat { fields }))
    .collect()
}

/// The kernel's types from a task to the return addresses that return probes replaced.
#[allow(dead_code)] // not every test binary asks for it
pub fn return_probe_types() -> Btf {
    let mut b = fixture::Builder::new();
    let long = b.int("unsigned long", 8, false);
    let pointer = b.ptr(0);
    b.structure("xol_area", 32, &[("vaddr", long, 24 * 8, 0)]);
    let state = b.structure("uprobes_state", 16, &[("xol_area", pointer, 8 * 8, 0)]);
    b.structure("mm_struct", 48, &[("uprobes_state", state, 32 * 8, 0)]);
    b.structure("task_struct", 24, &[("mm", pointer, 8 * 8, 0), ("utask", pointer, 16 * 8, 0)]);
    b.structure("uprobe_task", 40, &[("return_instances", pointer, 32 * 8, 0)]);
    let members = [("next", pointer, 0, 0), ("stack", long, 8 * 8, 0), ("orig_ret_vaddr", long, 16 * 8, 0)];
    b.structure("return_instance", 24, &members);
    b.btf()
}

/// A handful of the kernel's types, with what fields can be: nested, anonymous, bit-fields, arrays.
fn types() -> fixture::Builder {
    let mut b = fixture::Builder::new();
    let int = b.int("int", 4, true);
    let unsigned = b.int("unsigned int", 4, false);
    let long = b.int("unsigned long", 8, false);
    let signed_long = b.int("long", 8, true);
    let character = b.int("char", 1, true);
    let boolean = b.bool();
    let comm = b.array(character, 16);
    let text = b.ptr(character);
    let counters = b.array(signed_long, 4);
    let stat = b.structure("mm_rss_stat", 32, &[("count", counters, 0, 0)]);
    let anonymous = b.union("", 8, &[("owner", long, 0, 0), ("owner_low", unsigned, 0, 0)]);
    let mm = b.structure(
        "mm_struct",
        56,
        &[("total_vm", long, 0, 0), ("", anonymous, 64, 0), ("rss_stat", stat, 128, 0)],
    );
    let mm_ptr = b.ptr(mm);
    let state = b.enumeration("task_state", false, &[("TASK_RUNNING", 0), ("TASK_STOPPED", 4)]);
    let task = b.structure(
        "task_struct",
        72,
        &[
            ("pid", int, 0, 0),
            ("tgid", int, 32, 0),
            ("comm", comm, 64, 0),
            ("mm", mm_ptr, 192, 0),
            ("in_execve", unsigned, 256, 1),
            ("in_iowait", unsigned, 257, 3),
            ("state", state, 288, 0),
            ("flags", unsigned, 320, 0),
            ("name", text, 384, 0),
            ("real_parent", 16, 448, 0),
            ("on_cpu", boolean, 512, 0),
        ],
    );
    let task_ptr = b.ptr(task);
    assert_eq!(task_ptr, 16, "the struct names its pointer before it is made");
    let read = b.proto(signed_long, &[("task", task_ptr), ("buf", text), ("count", long)]);
    b.function("vfs_read", read);
    b.function("vfs_write", read);
    let exit = b.proto(0, &[("code", signed_long)]);
    b.function("do_exit", exit);
    let data = b.ptr(0);
    let traced =
        b.proto(0, &[("__data", data), ("preempt", boolean), ("prev", task_ptr), ("next", task_ptr)]);
    let traced = b.ptr(traced);
    b.typedef("btf_trace_sched_switch", traced);
    let meta = b.structure("bpf_iter_meta", 24, &[("session_id", long, 64, 0), ("seq_num", long, 128, 0)]);
    let meta = b.ptr(meta);
    let path = b.structure("path", 16, &[("mnt", data, 0, 0), ("dentry", data, 64, 0)]);
    let file = b.structure("file", 32, &[("f_flags", unsigned, 0, 0), ("f_path", path, 64, 0)]);
    let file = b.ptr(file);
    let area = [("vm_start", long, 0, 0), ("vm_end", long, 64, 0), ("vm_file", file, 128, 0)];
    let area = b.structure("vm_area_struct", 24, &area);
    let area = b.ptr(area);
    iterator(&mut b, "task", &[("meta", meta), ("task", task_ptr)]);
    iterator(&mut b, "task_file", &[("meta", meta), ("task", task_ptr), ("fd", unsigned), ("file", file)]);
    iterator(&mut b, "task_vma", &[("meta", meta), ("task", task_ptr), ("vma", area)]);
    let regs = b.structure(
        "pt_regs",
        168,
        &[("di", long, 14 * 64, 0), ("ip", long, 16 * 64, 0), ("cs", unsigned, 17 * 64, 0)],
    );
    let event = [("regs", regs, 0, 0), ("sample_period", long, 168 * 8, 0), ("addr", long, 176 * 8, 0)];
    b.structure("bpf_perf_event_data", 184, &event);
    b
}

/// What a module adds: structs of its own, a function, an event.
fn module_types(kernel: &fixture::Builder) -> fixture::Builder {
    let mut b = fixture::Builder::over(kernel);
    let (int, unsigned) = (1, 2);
    let family = b.enumeration("nft_family", false, &[("NFT_INET", 1), ("NFT_ARP", 3)]);
    // The kernel has one of that name too.
    let state = b.structure("mm_rss_stat", 4, &[("rules", unsigned, 0, 0)]);
    let table = b.structure(
        "nft_table",
        12,
        &[("handle", int, 0, 0), ("family", family, 32, 0), ("stat", state, 64, 0)],
    );
    let table = b.ptr(table);
    let proto = b.proto(int, &[("table", table), ("count", unsigned)]);
    b.function("nf_tables_newtable", proto);
    let data = b.ptr(0);
    let traced = b.proto(0, &[("__data", data), ("table", table)]);
    let traced = b.ptr(traced);
    b.typedef("btf_trace_nft_commit", traced);
    b
}

/// The types of a loaded eBPF program.
fn program_types() -> fixture::Builder {
    let mut b = fixture::Builder::new();
    let (int, long) = (b.int("int", 4, true), b.int("unsigned long long", 8, false));
    let proto = b.proto(int, &[("ctx", long)]);
    b.function("p0_malloc", proto);
    b
}

/// An iterator: the struct of its context, whose members are at multiples of eight bytes, and the function that its
/// programs are bound to.
fn iterator(b: &mut fixture::Builder, name: &str, members: &[(&str, u32)]) {
    let int = b.int("int", 4, true);
    let placed = members.iter().zip((0..).step_by(64)).map(|((name, ty), at)| (*name, *ty, at, 0));
    b.structure(&format!("bpf_iter__{name}"), members.len() as u32 * 8, &placed.collect::<Vec<_>>());
    let function = b.proto(int, members);
    b.function(&format!("bpf_iter_{name}"), function);
}

/// The kernel's types as the kernel gives them.
#[allow(dead_code)] // not every test binary asks for it
pub fn type_bytes() -> Vec<u8> {
    types().bytes()
}
