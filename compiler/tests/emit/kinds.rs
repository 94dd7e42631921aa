//! Every kind of program is loaded as the type that the kernel knows it by.

use libbpf_rs::ProgramType;

use crate::kernel::{back_end, can_load, load, old_kernel, parse};

/// A program of a kind, bound to a target if it needs one.
fn program(kind: &str, attach_to: Option<&str>) -> Vec<u8> {
    let ir = format!(
        "
        license \"GPL\"
        map0 = hash \"at_counts\", key 8, value 8, max_entries 64
        program %a_program_with_a_long_name on {kind} {{
        fn0(ptr.ctx):
            ss0 = stack 8, align 8
        block0(v0: ptr.ctx):
            v1 = call get_current_pid_tgid()
            v2: ptr.stack = slot_addr ss0
            store.64 v2, v1
            v3: map = map_object map0
            v4: ptr.map = call map_lookup_elem(v3, v2)
            v5 = const 0
            brif eq v4, v5, block1, block2
        block1:
            return v5
        block2:
            v6 = const 1
            atomic_add.64 v4, v6
            return v5
        }}"
    );
    let mut module = parse(&ir);
    module.programs[0].attach_to = attach_to.map(str::to_owned);
    back_end(module, &old_kernel()).object
}

#[test]
fn each_kind_is_loaded_as_its_program_type() {
    if !can_load() {
        return;
    }
    let kinds = [
        ("test_run", None, ProgramType::RawTracepoint),
        ("perf_event", None, ProgramType::PerfEvent),
        ("tracepoint", None, ProgramType::Tracepoint),
        ("raw_tracepoint", Some("sched_switch"), ProgramType::Tracing),
        ("kprobe", None, ProgramType::Kprobe),
        ("kretprobe", None, ProgramType::Kprobe),
        ("uprobe", None, ProgramType::Kprobe),
        ("uretprobe", None, ProgramType::Kprobe),
        ("fentry", Some("try_to_free_pages"), ProgramType::Tracing),
        ("fexit", Some("try_to_free_pages"), ProgramType::Tracing),
    ];
    let mut refused = Vec::new();
    for (kind, attach_to, expected) in kinds {
        match load(&program(kind, attach_to)) {
            Ok(object) => {
                let types: Vec<ProgramType> = object.progs().map(|p| p.prog_type()).collect();
                assert_eq!(types, [expected], "{kind}");
            }
            // Some machines refuse trampolines altogether.
            Err(error) if kind.starts_with('f') => refused.push(format!("{kind}: {error}")),
            Err(error) => panic!("{kind}: {error}"),
        }
    }
    if !refused.is_empty() {
        crate::skip::skipped(&refused.join("; "));
    }
}
