//! Attach points in, concrete attach points or an error out, against a frozen target.

use std::collections::BTreeMap;

use memql_grammar::ast::{AttachSpec, Name, Span};

use super::{ExpandError, PROVIDERS, expand, provider};
use crate::attach::AttachPoint;
use crate::btf::fixture::Builder;
use crate::target::{Arch, Features, Frozen, TracepointFormat, UserFile};
use crate::usdt::UsdtNote;

fn target() -> Frozen {
    let mut b = Builder::new();
    let int = b.int("int", 4, true);
    let void = b.ptr(0);
    let proto = b.proto(int, &[("order", int)]);
    b.function("shrink_node", proto);
    let event = b.proto(0, &[("", void), ("", int)]);
    let event = b.ptr(event);
    b.typedef("btf_trace_mark_victim", event);
    b.typedef("btf_trace_mark_all", event);
    for name in ["task", "task_vma"] {
        b.structure(&format!("bpf_iter__{name}"), 16, &[("meta", void, 0, 0), ("task", void, 64, 0)]);
        let proto = b.proto(int, &[("meta", void), ("task", void)]);
        b.function(&format!("bpf_iter_{name}"), proto);
    }
    // What only tells the kernel verifier something.
    b.structure("bpf_iter__task__safe_trusted", 16, &[("meta", void, 0, 0)]);
    let kernel = b.btf();
    let module = |build: &dyn Fn(&mut Builder)| {
        let mut types = Builder::over(&b);
        build(&mut types);
        types.btf_over(&kernel)
    };
    let kvm = module(&|b| {
        b.function("kvm_run", proto);
        b.function("kvm_exit", proto);
        b.typedef("btf_trace_kvm_entry", event);
    });
    let xfs = module(&|b| {
        b.typedef("btf_trace_xfs_read", event);
    });
    let program = |name: &str| {
        let mut types = Builder::new();
        let int = types.int("int", 4, true);
        let proto = types.proto(int, &[("ctx", int)]);
        types.function(name, proto);
        types.function("helper", proto);
        types.btf()
    };
    let libc = UserFile { path: "/proc/7/root/lib/libc.so.6".into(), shown_path: "/lib/libc.so.6".into() };
    let functions = [("__libc_malloc", 0x500), ("calloc", 0x600), ("malloc", 0x500), ("mallinfo", 0x700)];
    let tracepoints = [("oom", "mark_victim"), ("oom", "wake_reaper"), ("vmscan", "mm_vmscan_wakeup")];
    Frozen {
        features: Features::all(Arch::X86_64, 2),
        tracepoints: tracepoints.map(|(c, n)| ((c.into(), n.into()), TracepointFormat::default())).into(),
        btf: Some(kernel.clone()),
        functions: ["shrink_node", "oom_kill_process", "oom_badness"].map(Into::into).to_vec(),
        usdt_probes: BTreeMap::from([("/proc/7/root/lib/libc.so.6".into(), static_probes())]),
        signatures: Default::default(),
        source_lines: Default::default(),
        code: Default::default(),
        modules: BTreeMap::from([("kvm".into(), kvm), ("xfs".into(), xfs)]),
        bpf_programs: BTreeMap::from([(7, program("p0_malloc")), (12, program("p1_free"))]),
        user_files: BTreeMap::from([(
            "libc".into(),
            (libc, functions.map(|(n, at)| (n.into(), at)).to_vec()),
        )]),
        symbols: BTreeMap::new(),
    }
}

fn static_probes() -> Vec<UsdtNote> {
    let note = |name: &str, file_offset, arguments: &str| UsdtNote {
        provider: "libc".into(),
        name: name.into(),
        address: file_offset,
        file_offset,
        semaphore: None,
        arguments: arguments.into(),
    };
    vec![note("arena_new", 0x900, "8@%rax"), note("arena_new", 0x980, "8@%rbx"), note("setjmp", 0x800, "")]
}

#[test]
fn static_probes_are_named_with_or_without_their_provider() {
    let setjmp = ["usdt:/lib/libc.so.6:libc:setjmp"];
    for text in ["usdt:libc:setjmp", "usdt:libc:libc:setjmp", "usdt:libc::setjmp", "U:libc:l*c:set*"] {
        assert_eq!(expanded(text), setjmp, "{text}");
    }
    assert_eq!(expanded("usdt:*:setjmp"), setjmp, "in whatever is mapped");
    assert_eq!(expanded("usdt::setjmp"), setjmp, "in whatever is mapped");
    assert_eq!(expanded("usdt:libc:*").len(), 3, "a location is a point of its own");
}

#[test]
fn static_probes_that_are_not_there_are_named_with_those_that_are() {
    let there = "not found 2: there is no static probe `setjump` in `/lib/libc.so.6`; usdt:/lib/libc.so.6:libc:setjmp";
    assert_eq!(expanded("usdt:libc:setjump"), [there]);
    assert_eq!(
        expanded("usdt:libm:setjmp"),
        ["not found 1: there is no program in PATH and no library `libm`; "]
    );
    assert!(expanded("usdt:libc")[0].starts_with("malformed"));
}

fn spec(text: &str) -> AttachSpec {
    let parts = text.split(':').map(|t| Name { text: t.to_owned(), span: Span::default() }).collect();
    AttachSpec { parts, span: Span::default() }
}

/// The points in full, or the error's kind, part and text.
fn expanded(text: &str) -> Vec<String> {
    match expand(&spec(text), &target()) {
        Ok(points) => points.iter().map(ToString::to_string).collect(),
        Err(ExpandError::Malformed { part, message, .. }) => vec![format!("malformed {part}: {message}")],
        Err(ExpandError::NotFound { part, message, similar }) => {
            vec![format!("not found {part}: {message}; {}", similar.join(" "))]
        }
        Err(ExpandError::UnknownProvider { similar }) => {
            vec![format!("unknown provider; {}", similar.join(" "))]
        }
        Err(ExpandError::Unsupported { message, .. }) => vec![format!("unsupported: {message}")],
        Err(ExpandError::Fact(error)) => vec![format!("fact: {}", error.message)],
    }
}

fn one(text: &str) -> AttachPoint {
    let mut points = expand(&spec(text), &target()).expect(text);
    assert_eq!(points.len(), 1, "{text}");
    points.remove(0)
}

#[test]
fn each_name_short_name_and_alias_means_one_provider() {
    let mut names: Vec<&str> = PROVIDERS.iter().flat_map(|p| p.names()).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
    assert_eq!(provider("kfunc").map(|p| p.name), Some("fentry"));
    assert_eq!(one("BEGIN"), AttachPoint::Begin);
    assert_eq!(one("END"), AttachPoint::End);
    assert_eq!(expanded("begin:now"), ["malformed 1: nothing can follow `begin`"]);
    assert!(expanded("none").is_empty());
    assert_eq!(expanded("none:of:them"), ["malformed 1: nothing can follow `none`"]);
}

#[test]
fn unknown_providers_get_names_that_are_close() {
    assert_eq!(expanded("tracepiont:oom:mark_victim"), ["unknown provider; tracepoint"]);
    assert_eq!(expanded("Begin"), ["unknown provider; begin"]);
    assert_eq!(expanded("aw:f+arg1:8:rw"), ["unsupported: `asyncwatchpoint` probes are not supported yet"]);
}

#[test]
fn watchpoints_have_an_address_a_length_and_a_mode() {
    assert_eq!(expanded("w:0x10:8:rw"), ["watchpoint:0x10:8:rw"]);
    assert_eq!(expanded("watchpoint:0x1000:1:x"), ["watchpoint:0x1000:1:x"]);
    assert_eq!(
        expanded("watchpoint:0x11:8:w"),
        ["malformed 1: `0x11` is not aligned to 8 bytes, as the processor wants it"]
    );
    assert_eq!(expanded("watchpoint:0x10:3:w"), ["malformed 2: the processor watches 1, 2, 4 or 8 bytes"]);
    assert_eq!(expanded("watchpoint:0x10:4:xw"), ["malformed 3: `xw` is not a mode"]);
    assert_eq!(expanded("watchpoint:jiffies:4:w"), ["malformed 1: `jiffies` is not an address"]);
}

#[test]
fn places_in_programs_are_addresses_and_names_in_cpp_too() {
    assert_eq!(expanded("uprobe:libc:0x504"), ["uprobe:/lib/libc.so.6:0x504"]);
    let AttachPoint::Uprobe { symbol, file_offset, offset, .. } = one("uprobe:libc:0x504") else {
        panic!("it is a uprobe")
    };
    assert_eq!((symbol.as_str(), file_offset, offset), ("malloc", 0x500, 4));
    assert_eq!(expanded("uprobe:libc:cpp:mallo*"), ["uprobe:/lib/libc.so.6:cpp:malloc"]);
    assert!(expanded("uprobe:libc:cpp:zoo::f")[0].starts_with("malformed 3: a name in C++ has colons"));
}

#[test]
fn clocks_take_durations_units_and_rates() {
    let ns = |text| match one(text) {
        AttachPoint::Interval { period_ns, .. } => period_ns,
        other => panic!("{other}"),
    };
    assert_eq!(ns("interval:1s"), 1_000_000_000);
    assert_eq!(ns("i:1000000000"), 1_000_000_000);
    assert_eq!(ns("interval:s:1"), 1_000_000_000);
    assert_eq!(ns("interval:ms:100"), 100_000_000);
    assert_eq!(ns("interval:us:7"), 7_000);
    assert_eq!(ns("interval:hz:5"), 200_000_000);
    assert_eq!(one("profile:hz:99").to_string(), "profile:hz:99");
    assert_eq!(one("p:10ms").to_string(), "profile:10ms");
}

#[test]
fn clocks_that_never_tick_are_refused() {
    assert_eq!(expanded("interval:s:0"), ["malformed 2: the period is zero"]);
    assert_eq!(expanded("interval:hz:0"), ["malformed 2: a rate is from 1 to 1000000000 a second, not 0"]);
    assert_eq!(expanded("interval:fortnights:1"), ["malformed 1: `fortnights` is not a unit of time"]);
    assert_eq!(expanded("interval:soon"), ["malformed 1: `soon` is not a duration"]);
    assert_eq!(expanded("interval:s:1:2"), ["malformed 3: `interval` does not take 3 parts after its name"]);
    assert_eq!(expanded("interval"), ["malformed 0: `interval` needs to be told what to attach to"]);
    assert_eq!(
        expanded("interval:s:99999999999999999"),
        ["malformed 2: the period is longer than 584 years"]
    );
}

#[test]
fn signals_are_those_that_do_not_end_the_run() {
    let usr1 = AttachPoint::SelfSignal { name: "SIGUSR1".into(), signal: 10 };
    assert_eq!(one("self:signal:SIGUSR1"), usr1);
    assert_eq!(
        expanded("self:signal:SIGINT"),
        ["malformed 2: `SIGINT` is not a signal that a script can wait for"]
    );
    assert_eq!(expanded("self:x:SIGUSR1"), ["malformed 1: `self` has no event `x`"]);
}

#[test]
fn tracepoints_match_wildcards_in_both_parts() {
    assert_eq!(expanded("t:oom:mark_victim"), ["tracepoint:oom:mark_victim"]);
    assert_eq!(expanded("t:oom:*"), ["tracepoint:oom:mark_victim", "tracepoint:oom:wake_reaper"]);
    assert_eq!(expanded("t:*:*wake*"), ["tracepoint:oom:wake_reaper", "tracepoint:vmscan:mm_vmscan_wakeup"]);
    assert_eq!(expanded("t:*").len(), 3);
}

#[test]
fn a_lone_pattern_is_that_of_an_event_in_any_category() {
    assert_eq!(expanded("t:*wake*"), ["tracepoint:oom:wake_reaper", "tracepoint:vmscan:mm_vmscan_wakeup"]);
    assert_eq!(
        expanded("t:oo*"),
        ["not found 1: there is no tracepoint `oo*` in any category; tracepoint:oo*:*"]
    );
    assert_eq!(expanded("t:x*"), ["not found 1: there is no tracepoint `x*` in any category; "]);
}

#[test]
fn missing_tracepoints_get_the_part_and_what_is_close() {
    assert_eq!(
        expanded("tracepoint:oom:mark_vicitm"),
        ["not found 2: there is no tracepoint `oom:mark_vicitm`; tracepoint:oom:mark_victim"]
    );
    assert_eq!(
        expanded("tracepoint:ooom:mark_victim"),
        ["not found 1: there is no category `ooom` of tracepoints; tracepoint:oom:mark_victim"]
    );
    assert_eq!(
        expanded("tracepoint:vmscn:x"),
        ["not found 1: there is no category `vmscn` of tracepoints; tracepoint:vmscan:x"]
    );
    assert_eq!(expanded("tracepoint:oom:x*"), ["not found 2: there is no tracepoint `oom:x*`; "]);
    assert_eq!(
        expanded("tracepoint:mark_victim"),
        ["malformed 1: `tracepoint` does not take one part after its name"]
    );
    assert_eq!(expanded("tracepoint:..:x/y"), ["malformed 2: `x/y` is not the name of a tracepoint"]);
}

#[test]
fn iterators_are_those_of_btf() {
    assert_eq!(expanded("it:task_vma"), ["iter:task_vma"]);
    assert_eq!(expanded("iter:*"), ["iter:task", "iter:task_vma"]);
    assert_eq!(expanded("iter:task:list"), ["iter:task:list"]);
    assert_eq!(expanded("iter:task:/sys/fs/bpf/x"), ["iter:task:/sys/fs/bpf/x"]);
    assert_eq!(
        expanded("iter:task_vm"),
        ["not found 1: this kernel has no iterator `task_vm`; iter:task_vma"]
    );
    assert!(expanded("iter")[0].starts_with("malformed"));
    assert!(expanded("iter:task*:list")[0].starts_with("malformed"));
}

#[test]
fn tests_and_benchmarks_have_names() {
    assert_eq!(expanded("test:adds_up"), ["test:adds_up"]);
    assert_eq!(expanded("bench:count"), ["bench:count"]);
    for text in ["test", "test:", "bench", "bench:a:b"] {
        assert!(expanded(text)[0].starts_with("malformed"), "{text}");
    }
}

#[test]
fn raw_tracepoints_are_those_of_btf() {
    assert_eq!(expanded("rt:mark_victim"), ["rawtracepoint:mark_victim"]);
    assert_eq!(expanded("rawtracepoint:vmlinux:mark_victim"), ["rawtracepoint:mark_victim"]);
    assert_eq!(expanded("rt:mark_*"), ["rawtracepoint:mark_all", "rawtracepoint:mark_victim"]);
    assert_eq!(
        expanded("rt:mark_vctim"),
        ["not found 1: there is no raw tracepoint `mark_vctim`; rawtracepoint:mark_victim"]
    );
}

#[test]
fn kprobes_take_names_offsets_addresses_and_wildcards() {
    assert_eq!(expanded("kprobe:oom_kill_process"), ["kprobe:oom_kill_process"]);
    assert_eq!(expanded("k:oom_kill_process+0x10"), ["kprobe:oom_kill_process+16"]);
    assert_eq!(expanded("kprobe:0xffffffff81000000"), ["kprobe:0xffffffff81000000"]);
    assert_eq!(expanded("kr:oom_*"), ["kretprobe:oom_badness", "kretprobe:oom_kill_process"]);
    assert_eq!(expanded("kprobe:vmlinux:oom_badness"), ["kprobe:oom_badness"]);
    assert_eq!(
        expanded("kprobe:oom_kil_process"),
        [
            "not found 1: this kernel has no function `oom_kil_process` that can be traced; kprobe:oom_kill_process"
        ]
    );
    assert_eq!(
        expanded("kprobe:kvm:oom_badness"),
        ["not found 2: the kernel has no function `oom_badness` in module `kvm`; "]
    );
    assert_eq!(
        expanded("kretprobe:oom_badness+4"),
        ["malformed 1: a function returns as a whole: `kretprobe` takes no offset"]
    );
    assert_eq!(expanded("kprobe:oom_badness+x"), ["malformed 1: `x` is not an offset"]);
}

#[test]
fn fentry_wants_functions_that_btf_describes() {
    assert_eq!(expanded("f:shrink_node"), ["fentry:shrink_node"]);
    assert_eq!(expanded("kretfunc:shrink_*"), ["fexit:shrink_node"]);
    assert_eq!(
        expanded("fentry:oom_badness"),
        ["unsupported: the kernel's BTF does not describe the function `oom_badness`"]
    );
}

#[test]
fn functions_of_modules_are_found_with_the_module_they_are_in() {
    assert_eq!(expanded("fentry:kvm_run"), ["fentry:kvm:kvm_run"]);
    assert_eq!(expanded("fexit:kvm:kvm_*"), ["fexit:kvm:kvm_exit", "fexit:kvm:kvm_run"]);
    assert_eq!(expanded("fentry:k*:kvm_run"), ["fentry:kvm:kvm_run"]);
    assert_eq!(expanded("fentry:*:*r*n*"), ["fentry:kvm:kvm_run", "fentry:shrink_node"]);
    assert_eq!(
        expanded("fentry:xfs:kvm_run"),
        ["not found 2: the kernel has no function `kvm_run` in module `xfs`; "]
    );
    assert_eq!(expanded("kprobe:kvm_run"), ["kprobe:kvm_run"]);
    assert_eq!(expanded("kprobe:kvm:kvm_run"), ["kprobe:kvm:kvm_run"]);
}

#[test]
fn raw_tracepoints_of_modules_are_found_with_the_module_they_are_in() {
    assert_eq!(expanded("rt:kvm_entry"), ["rawtracepoint:kvm:kvm_entry"]);
    assert_eq!(expanded("rt:*:kvm_entry"), ["rawtracepoint:kvm:kvm_entry"]);
    assert_eq!(expanded("rt:xfs:*"), ["rawtracepoint:xfs:xfs_read"]);
    assert_eq!(expanded("rt:*_a*"), ["rawtracepoint:mark_all"]);
    assert_eq!(
        expanded("rt:kvm:mark_all"),
        ["not found 2: there is no raw tracepoint `mark_all` in module `kvm`; "]
    );
}

#[test]
fn functions_of_loaded_programs_are_found_by_name_and_program() {
    assert_eq!(expanded("fentry:bpf:p0_malloc"), ["fentry:bpf:7:p0_malloc"]);
    assert_eq!(expanded("fexit:bpf:helper"), ["fexit:bpf:7:helper", "fexit:bpf:12:helper"]);
    assert_eq!(expanded("fentry:bpf:12:*"), ["fentry:bpf:12:helper", "fentry:bpf:12:p1_free"]);
    assert_eq!(
        expanded("fentry:bpf:p0_maloc"),
        [
            "not found 2: no loaded eBPF program has a function `p0_maloc` that can be traced; fentry:bpf:p0_malloc"
        ]
    );
    assert_eq!(expanded("fentry:bpf:x:y"), ["malformed 2: `x` is not the id of an eBPF program"]);
}

#[test]
fn a_kernel_without_kprobes_says_so_whatever_the_function() {
    let target = Frozen { functions: Vec::new(), ..target() };
    let Err(ExpandError::Fact(error)) = expand(&spec("kprobe:whatever"), &target) else {
        panic!("kprobes expand without kprobes")
    };
    assert_eq!(error.message, "this kernel has no kprobes");
}

#[test]
fn uprobes_find_functions_by_symbol_offset_and_wildcard() {
    assert_eq!(expanded("u:libc:malloc"), ["uprobe:/lib/libc.so.6:malloc"]);
    assert_eq!(expanded("ur:libc:calloc"), ["uretprobe:/lib/libc.so.6:calloc"]);
    assert_eq!(expanded("uprobe:libc:malloc+4"), ["uprobe:/lib/libc.so.6:malloc+4"]);
    assert_eq!(expanded("uprobe:libc:0x1234"), ["uprobe:/lib/libc.so.6:0x1234"]);
    let AttachPoint::Uprobe { path, file_offset, offset, .. } = one("uprobe:libc:malloc+4") else {
        panic!("an uprobe")
    };
    assert_eq!((path.as_str(), file_offset, offset), ("/proc/7/root/lib/libc.so.6", 0x500, 4));
}

#[test]
fn a_wildcard_takes_a_function_of_several_names_once() {
    assert_eq!(expanded("u:libc:*malloc"), ["uprobe:/lib/libc.so.6:malloc"]);
    assert_eq!(expanded("u:libc:__*"), ["uprobe:/lib/libc.so.6:__libc_malloc"]);
    assert_eq!(expanded("u:lib*:mall*"), ["uprobe:/lib/libc.so.6:mallinfo", "uprobe:/lib/libc.so.6:malloc"]);
}

#[test]
fn missing_files_and_functions_are_told_apart() {
    assert_eq!(
        expanded("uprobe:libnone:f"),
        ["not found 1: there is no program in PATH and no library `libnone`; "]
    );
    assert_eq!(expanded("uprobe:/no/such:f"), ["not found 1: there is no file `/no/such`; "]);
    assert_eq!(
        expanded("uprobe:libc:maloc"),
        ["not found 2: there is no function `maloc` in `/lib/libc.so.6`; uprobe:/lib/libc.so.6:malloc"]
    );
    assert_eq!(
        expanded("uretprobe:libc:malloc+1"),
        ["malformed 2: a function returns as a whole: `uretprobe` takes no offset"]
    );
}

#[test]
fn perf_events_have_second_names_and_default_counts() {
    assert_eq!(expanded("software:faults"), ["software:faults:100"]);
    assert_eq!(expanded("s:cs:"), ["software:cs:1000"]);
    assert_eq!(expanded("hardware:cache-misses:1e6"), ["hardware:cache-misses:1000000"]);
    assert_eq!(
        expanded("s:page-fualts"),
        ["not found 1: there is no software event `page-fualts`; software:page-faults"]
    );
    assert_eq!(expanded("h:cycles:0"), ["malformed 2: the count is zero"]);
    assert_eq!(expanded("h:cycles:many"), ["malformed 2: `many` is not a number"]);
}
