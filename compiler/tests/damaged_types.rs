//! What a kernel says of its types is input, too: whatever numbers stand in its BTF, compiling gives an object or
//! diagnostics, soon and without a panic.

#[path = "check_support/mod.rs"]
mod support;

use memql_compiler::btf::Btf;
use memql_compiler::check::RunConfig;
use memql_compiler::compile::compile;
use memql_compiler::diagnostic::Diagnostic;
use memql_compiler::sources::Sources;
use memql_compiler::target::Frozen;

/// All compile for the undamaged kernel. Members have three words, so that their number must not be a multiple of that.
const SCRIPTS: [&str; 7] = [
    "kprobe:vfs_read { $t = (struct task_struct *)arg0; print($t->comm); print($t->mm->rss_stat); @x = *$t; }",
    "kprobe:vfs_read { $t = *(struct task_struct *)arg0; print(($t.comm, $t.pid, $t.in_iowait, $t.mm->owner)); }",
    r#"kprobe:vfs_read { if (curtask.comm == "a") { print(offsetof(struct task_struct, comm)); exit(); } }"#,
    "fentry:vfs_read { print(args); print(str(args.buf)); print(args.task.state); }",
    "fexit:vfs_read { print(retval); @[args.task.comm] = count(); }",
    "rawtracepoint:sched_switch { print(args); print(args.next.real_parent.comm[1]); }",
    "kprobe:vfs_read { $t = *(struct task_struct *)arg0; print($t.comm); print($t.pid); print($t.on_cpu); }",
];

/// Written over each word: nothing, a size or an offset that is too large, a bit-field far away.
const WORDS: [u32; 3] = [0, 0x7fff_ffff, 0x0100_ffff];

/// The header of BTF (`struct btf_header`, include/uapi/linux/btf.h).
const HEADER_BYTES: usize = 24;

fn compiled(script: &str, kernel: &Frozen) -> Result<(), Vec<Diagnostic>> {
    let tree = memql_grammar::parse(script).expect("the script is right");
    compile(&Sources::new("odd.mq", script), &tree, kernel, &RunConfig::default()).map(|_| ())
}

#[test]
fn types_with_odd_numbers_give_an_object_or_diagnostics() {
    let (bytes, mut kernel) = (support::type_bytes(), support::kernel());
    for script in SCRIPTS {
        compiled(script, &kernel).unwrap_or_else(|findings| panic!("{script}: {findings:?}"));
    }
    let (mut unreadable, mut objects, mut refused) = (0, 0, 0);
    for (n, at) in (HEADER_BYTES..bytes.len() - 3).step_by(4).enumerate() {
        for (m, word) in WORDS.into_iter().enumerate() {
            let mut damaged = bytes.clone();
            damaged[at..at + 4].copy_from_slice(&word.to_ne_bytes());
            let Ok(btf) = Btf::parse(damaged) else {
                unreadable += 1;
                continue;
            };
            kernel.btf = Some(btf);
            match compiled(SCRIPTS[(n + m) % SCRIPTS.len()], &kernel) {
                Ok(()) => objects += 1,
                Err(findings) => {
                    assert!(!findings.is_empty(), "refused without a word: byte {at} is {word:x}");
                    refused += 1;
                }
            }
        }
    }
    println!("{unreadable} unreadable, {objects} objects, {refused} refused");
    assert!(objects > 50 && refused > 20, "{unreadable} unreadable, {objects} objects, {refused} refused");
}
