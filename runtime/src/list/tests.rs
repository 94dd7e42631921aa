//! Patterns in, lists out, against a frozen target.

use std::collections::BTreeMap;

use memql_compiler::btf::Btf;
use memql_compiler::target::{
    Arch, FactError, Features, FieldForm, Frozen, TracepointField, TracepointFormat, UserFile,
};

use super::list;

/// `int oom_badness(struct task_struct *p, long unsigned int pages)`, as BTF.
fn btf() -> Btf {
    let mut strings = vec![0u8];
    let mut name = |text: &str| {
        let at = strings.len() as u32;
        strings.extend(text.bytes());
        strings.push(0);
        at
    };
    let (int, long, task) = (name("int"), name("long unsigned int"), name("task_struct"));
    let (p, pages, function) = (name("p"), name("pages"), name("oom_badness"));
    let kind = |kind: u32, vlen: u32| kind << 24 | vlen;
    let types: Vec<u32> = [
        &[int, kind(1, 0), 4, 1 << 24 | 32][..], // 1
        &[long, kind(1, 0), 8, 64],              // 2
        &[task, kind(4, 1), 8, p, 2, 0],         // 3
        &[0, kind(2, 0), 3],                     // 4
        &[0, kind(13, 2), 1, p, 4, pages, 2],    // 5
        &[function, kind(12, 0), 5],             // 6
    ]
    .concat();
    let (types_bytes, strings_bytes) = (types.len() as u32 * 4, strings.len() as u32);
    let mut bytes = vec![0x9f, 0xeb, 1, 0];
    for word in [24, 0, types_bytes, types_bytes, strings_bytes].iter().chain(&types) {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(strings);
    Btf::parse(bytes).expect("good BTF")
}

fn target() -> Frozen {
    let field = |ctype: &str, name: &str, size, form| TracepointField {
        name: name.into(),
        ctype: ctype.into(),
        offset: 8,
        size,
        signed: false,
        form,
    };
    let fields = vec![
        field("int", "pid", 4, FieldForm::Int),
        field("char[]", "comm", 4, FieldForm::DataLoc { is_char: true }),
        field("char", "name", 16, FieldForm::Array { len: 16, is_char: true }),
    ];
    let event = |category: &str, name: &str| {
        ((category.to_owned(), name.to_owned()), TracepointFormat { fields: fields.clone() })
    };
    let libc = UserFile { path: "/lib/libc.so.6".into(), shown_path: "/lib/libc.so.6".into() };
    let functions = [("__libc_malloc", 5), ("free", 6), ("malloc", 5)].map(|(n, at)| (n.to_owned(), at));
    Frozen {
        features: Features::all(Arch::X86_64, 1),
        tracepoints: BTreeMap::from([event("oom", "mark_victim"), event("kmem", "kmalloc")]),
        btf: Some(btf()),
        functions: vec!["oom_badness".into(), "oom_kill_process".into()],
        usdt_probes: Default::default(),
        signatures: Default::default(),
        source_lines: Default::default(),
        code: Default::default(),
        modules: Default::default(),
        bpf_programs: Default::default(),
        user_files: BTreeMap::from([("libc".into(), (libc, functions.to_vec()))]),
        symbols: BTreeMap::new(),
    }
}

/// The list, or the error and its notes and help; then what was left out.
fn listed_of(target: &Frozen, pattern: &str, verbose: bool) -> (String, Vec<String>) {
    let mut out = Vec::new();
    match list(target, Some(pattern), verbose, &mut out) {
        Ok(left_out) => (String::from_utf8(out).expect("text"), left_out),
        Err(error) => (error.to_string(), Vec::new()),
    }
}

fn listed(pattern: &str) -> String {
    listed_of(&target(), pattern, false).0
}

fn verbose(pattern: &str) -> String {
    listed_of(&target(), pattern, true).0
}

#[test]
fn arguments_stand_below_their_attach_point() {
    assert_eq!(
        verbose("tracepoint:oom:*"),
        "tracepoint:oom:mark_victim\n    int pid\n    __data_loc char[] comm\n    char name[16]\n"
    );
    assert_eq!(
        verbose("kprobe:oom_b*"),
        "kprobe:oom_badness\n    struct task_struct * p\n    long unsigned int pages\n"
    );
    assert_eq!(
        verbose("fexit:oom_badness"),
        "fexit:vmlinux:oom_badness\n    struct task_struct * p\n    long unsigned int pages\n    int retval\n"
    );
    assert_eq!(verbose("kr:oom_badness"), "kretprobe:oom_badness\n    int retval\n");
}

#[test]
fn a_function_that_btf_does_not_describe_is_listed_without_arguments() {
    assert_eq!(verbose("kprobe:oom_kill_process"), "kprobe:oom_kill_process\n");
}

#[test]
fn a_category_or_provider_alone_means_all_of_it() {
    assert_eq!(listed("t:kmem"), "tracepoint:kmem:kmalloc\n");
    assert_eq!(listed("tracepoint"), "tracepoint:kmem:kmalloc\ntracepoint:oom:mark_victim\n");
    assert_eq!(listed("tracepoint:*_*"), "tracepoint:oom:mark_victim\n");
    assert_eq!(listed("interval"), "interval:hz:\ninterval:ms:\ninterval:s:\ninterval:us:\n");
}

#[test]
fn several_patterns_are_parted_by_commas() {
    assert_eq!(listed("t:oom:*, k:oom_badness"), "tracepoint:oom:mark_victim\nkprobe:oom_badness\n");
}

#[test]
fn a_name_alone_is_looked_for_everywhere() {
    assert_eq!(listed("oom_b*"), "kprobe:oom_badness\nfentry:vmlinux:oom_badness\n");
    assert_eq!(listed("*:mark_victim"), "tracepoint:oom:mark_victim\n");
    assert_eq!(listed("cpu-c*"), "software:cpu-clock:\nhardware:cpu-cycles:\n");
}

#[test]
fn functions_of_programs_are_listed_under_all_of_their_names() {
    assert_eq!(
        listed("uprobe:libc:*malloc"),
        "uprobe:/lib/libc.so.6:__libc_malloc\nuprobe:/lib/libc.so.6:malloc\n"
    );
    assert_eq!(listed("uprobe:libc:malloc"), "uprobe:/lib/libc.so.6:malloc\n");
    assert_eq!(listed("uprobe:libc").lines().count(), 3);
}

#[test]
fn types_are_shown_with_their_members() {
    assert_eq!(listed("struct task_*"), "struct task_struct\n");
    assert_eq!(
        verbose("struct task_struct"),
        "vmlinux: struct task_struct {\n\tlong unsigned int p;\n};\n\n"
    );
    assert_eq!(
        listed("struct task_strcut"),
        "error: the kernel has no type `struct task_strcut`\nhelp: there is `struct task_struct`"
    );
}

#[test]
fn what_does_not_match_gets_names_that_are_close() {
    assert_eq!(
        listed("tracepoint:oom:mark_vitcim"),
        "error: nothing to attach to matches `tracepoint:oom:mark_vitcim`: there is no tracepoint `oom:mark_vitcim`\n\
         help: there is `tracepoint:oom:mark_victim`"
    );
    assert_eq!(
        listed("mark_vitcim"),
        "error: nothing to attach to matches `mark_vitcim`\nhelp: there is `tracepoint:oom:mark_victim`"
    );
    assert_eq!(
        listed("tracepiont:oom:*"),
        "error: nothing to attach to matches `tracepiont:oom:*`: there is no such provider\n\
         help: did you mean `tracepoint`?"
    );
}

#[test]
fn what_cannot_be_told_is_said_and_the_rest_is_listed() {
    let bare = Frozen { btf: None, ..target() };
    let (text, left_out) = listed_of(&bare, "*victim", false);
    assert_eq!(text, "tracepoint:oom:mark_victim\n");
    assert_eq!(
        left_out,
        [
            "`rawtracepoint` is left out: this kernel has no BTF",
            "`fentry` is left out: this kernel has no fentry and fexit",
            "`iter` is left out: this kernel has no BTF"
        ]
    );
    let no_types = Frozen { btf: None, ..super::tests::target() };
    let (text, left_out) = listed_of(&no_types, "kprobe:oom_badness", true);
    assert_eq!((text.as_str(), left_out.len()), ("kprobe:oom_badness\n", 1));
    assert_eq!(left_out, ["arguments are left out: this kernel has no BTF"]);
}

#[test]
fn without_a_pattern_everything_is_listed() {
    let mut out = Vec::new();
    let left_out = list(&target(), None, false, &mut out).expect("a frozen target tells everything");
    let text = String::from_utf8(out).expect("text");
    assert_eq!(left_out, Vec::<String>::new());
    for line in ["tracepoint:oom:mark_victim", "kprobe:oom_kill_process", "software:page-faults:"] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
}

#[test]
fn facts_that_fail_come_with_their_remedy() {
    let error = FactError { message: "m".into(), help: Some("h".into()) };
    let failed = super::failed("p", super::ExpandError::Fact(error));
    assert_eq!(failed.to_string(), "error: cannot list `p`: m\nhelp: h");
}
