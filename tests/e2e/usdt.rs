//! usdt: static probes by every name, arguments in every place, semaphores, probes at several places.

use crate::need;
use crate::support::{machine, memql, programs::program, programs::static_program, text, trigger::Trigger};
use std::path::Path;

/// Traces three rounds of `static_probes` and gives what memql printed, and what the program said.
/// `FILE` in the script stands for the program's path.
fn traced_in(file: &Path, with_pid: bool, script: &str) -> Result<(String, String), String> {
    machine::uprobes()?;
    let mut trigger = Trigger::start(file, &["3"]);
    let script = script.replace("FILE", &file.display().to_string());
    let pid = trigger.pid();
    let mut args = vec!["-e", script.as_str()];
    if with_pid {
        args.extend(["-p", pid.as_str()]);
    }
    let tracing = memql::attached(args);
    let said = trigger.work();
    Ok((tracing.stop().output(), said))
}

fn traced(script: &str) -> Result<String, String> {
    traced_in(&program("static_probes")?, true, script).map(|(out, _)| out)
}

#[test]
fn arguments_have_the_size_and_sign_that_the_note_gives() {
    let out = need!(traced(
        r#"usdt:FILE:sizes { printf("%lx %ld %ld %ld %ld %ld %ld\n", arg0, arg1, arg2, arg3, arg4, arg5, arg6); }"#
    ));
    assert_eq!(out, "8182838485868788 -2054781048 34696 -120 -121 4294967291 -6\n".repeat(3));
}

#[test]
fn arguments_are_read_through_registers_an_index_and_the_instruction_pointer() {
    let out = need!(traced(
        r#"usdt:FILE:memql:places { printf("%ld %ld %ld %ld %ld\n", arg0, arg1, arg2, arg3, arg4); }"#
    ));
    assert_eq!(
        text::lines(&out),
        ["100 -200 -200 -7 300", "100 -200 300 -7 300", "100 -200 1234605616436508552 -7 300"]
    );
}

#[test]
fn a_probe_at_several_places_is_one_probe_with_the_arguments_of_each_place() {
    let out = need!(traced("usdt:FILE:memql:twice { @sum[probe] = sum(arg0); @args[arg0] = count(); }"));
    let file = need!(program("static_probes")).display().to_string();
    let mut expected: Vec<String> = [0, 1, 2, 100, 101, 102].map(|n| format!("@args[{n}]: 1")).to_vec();
    expected.push(format!("@sum[usdt:{file}:memql:twice]: 306"));
    expected.sort();
    assert_eq!(text::sorted(&out), expected);
}

#[test]
fn without_a_provider_those_of_all_are_meant() {
    let out = need!(traced("usdt:FILE:twice { @[probe] = count(); }"));
    let file = need!(program("static_probes")).display().to_string();
    let expected = [format!("@[usdt:{file}:memql:twice]: 6"), format!("@[usdt:{file}:other:twice]: 3")];
    assert_eq!(text::sorted(&out), expected);
}

#[test]
fn without_a_file_those_of_the_process_are_meant() {
    for script in ["usdt::memql:sizes { @ = count(); }", "usdt:*:sizes { @ = count(); }"] {
        assert_eq!(text::lines(&need!(traced(script))), ["@: 3"], "{script}");
    }
}

#[test]
fn a_semaphore_is_raised_while_the_probe_is_attached() {
    // A file of its own: without a process, the probe sees whoever runs it, and other tests run the same program.
    let shared = need!(program("static_probes"));
    let file = shared.with_file_name(format!("static_probes-watched-{}", std::process::id()));
    std::fs::copy(&shared, &file).expect("copy the program");
    for with_pid in [true, false] {
        let (out, said) = need!(traced_in(&file, with_pid, "usdt:FILE:watched { @[arg0] = count(); }"));
        assert_eq!(text::sorted(&out), ["@[0]: 1", "@[1]: 1", "@[2]: 1"]);
        assert_eq!(said, "semaphore 1\n");
    }
    let (_, said) = need!(traced_in(&file, true, "usdt:FILE:sizes { @ = count(); }"));
    assert_eq!(said, "semaphore 0\n", "somebody else's probe");
    std::fs::remove_file(&file).expect("the copy is still there");
}

#[test]
fn a_program_that_is_loaded_where_it_was_linked_is_no_different() {
    let file = need!(static_program("static_probes"));
    let (out, _) = need!(traced_in(&file, true, r#"usdt:FILE:places { printf("%ld %ld\n", arg3, arg4); }"#));
    assert_eq!(out, "-7 300\n".repeat(3));
}

#[test]
fn a_list_names_each_probe_once() {
    let file = need!(program("static_probes")).display().to_string();
    let names = ["memql:places", "memql:sizes", "memql:twice", "memql:watched", "other:twice"];
    let all = names.map(|name| format!("usdt:{file}:{name}"));
    let listed = |pattern: String| {
        let ended = memql::run(["-l", &pattern]);
        text::lines(&ended.output()).iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(format!("usdt:{file}:*")), all);
    assert_eq!(listed(format!("usdt:{file}")), all);
    assert_eq!(listed(format!("usdt:{file}:other:*")), all[4..]);
}
