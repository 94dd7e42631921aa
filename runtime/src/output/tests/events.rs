//! Events other than `printf` and `print`, and events that are not what the plan says.

use memql_compiler::plan::{EventPlan, Format, FormatPiece};
use memql_compiler::types::Type;

use super::formats::printf;
use super::{Action, OutputFormat, Script, int, string, words};

fn plain(text: &str) -> Format {
    Format { pieces: vec![FormatPiece::Text(text.as_bytes().to_vec())] }
}

#[test]
fn join_ends_at_the_first_empty_string() {
    let script = Script::new()
        .event(&[string(8, "ls"), string(8, "-l"), string(8, ""), string(8, "no")], |parts| {
            EventPlan::Join { parts, delimiter: " ".into() }
        });
    assert_eq!(script.text(), "ls -l\n");
    assert_eq!(script.json(), "{\"type\": \"join\", \"data\": \"ls -l\"}\n");
}

#[test]
fn exit_has_a_code() {
    let script = Script::new()
        .event(&[], |_| EventPlan::Exit { code: None })
        .event(&[int(32, 3)], |mut args| EventPlan::Exit { code: args.pop() });
    assert_eq!(script.answer(&script.events[0]).ok(), Some(Action::Exit(0)));
    assert_eq!(script.answer(&script.events[1]).ok(), Some(Action::Exit(3)));
}

#[test]
fn clear_and_zero_change_the_map() {
    let script = |event: fn() -> EventPlan| {
        Script::new()
            .map("@x", Some(Type::I64), Type::I64, &[(words(&[1]), vec![words(&[5])])])
            .event(&[], |_| event())
    };
    let after = |script: Script| {
        script
            .run(OutputFormat::Text, |output, maps| {
                script.send_all(output, maps)?;
                output.print_all_maps(maps)
            })
            .0
    };
    assert_eq!(after(script(|| EventPlan::Zero { map: 0 })), "\n\n@x[1]: 0\n");
    assert_eq!(after(script(|| EventPlan::Clear { map: 0 })), "");
}

#[test]
fn cat_prints_a_files_first_bytes() {
    let script = Script::new()
        .plan(|plan| plan.settings.max_cat_bytes = 5)
        .event(&[], |args| EventPlan::Cat { format: plain("/proc/self/comm"), args });
    assert_eq!(script.text().len(), 5);
    let missing =
        Script::new().event(&[], |args| EventPlan::Cat { format: plain("/no/such\u{1b}file"), args });
    let (out, told) = missing.run(OutputFormat::Text, |output, maps| missing.send_all(output, maps));
    assert_eq!(out, "");
    assert_eq!(
        told,
        "warning: cat: cannot read `/no/such\\x1bfile`: No such file or directory (os error 2)\n"
    );
}

#[test]
fn system_prints_what_the_command_prints_and_tells_how_it_failed() {
    let run = |command: &str| {
        let script = Script::new().event(&[], |args| EventPlan::System { format: plain(command), args });
        script.run(OutputFormat::Text, |output, maps| script.send_all(output, maps))
    };
    assert_eq!(run("echo hi; echo ho"), ("hi\nho\n\n".into(), String::new()));
    assert_eq!(run("exit 3"), ("\n".into(), "warning: system: `exit 3` exited with code 3\n".into()));
    assert_eq!(
        run("kill -9 $$"),
        ("\n".into(), "warning: system: `kill -9 $$` was killed by signal 9\n".into())
    );
    let script = Script::new().event(&[], |args| EventPlan::System { format: plain("echo hi"), args });
    assert_eq!(script.json(), "{\"type\": \"syscall\", \"data\": \"hi\\n\"}\n");
}

#[test]
fn time_uses_the_c_librarys_formats() {
    let script = Script::new().event(&[], |_| EventPlan::Time { format: "%%H:%n".into() });
    assert_eq!(script.text(), "%H:\n");
    assert_eq!(script.json(), "{\"type\": \"time\", \"data\": \"%H:\\n\"}\n");
}

#[test]
fn what_is_told_beside_the_output() {
    let script = Script::new();
    let both = |format| {
        script.run(format, |output, _| {
            output.attached_probes(1)?;
            output.attached_probes(2)?;
            output.lost_events(3)
        })
    };
    assert_eq!(
        both(OutputFormat::Text),
        (String::new(), "Attached 1 probe\nAttached 2 probes\nLost 3 events\n".into())
    );
    assert_eq!(
        both(OutputFormat::Json).0,
        "{\"type\": \"attached_probes\", \"count\": 1, \"data\": {\"probes\": 1}}\n\
         {\"type\": \"attached_probes\", \"count\": 2, \"data\": {\"probes\": 2}}\n\
         {\"type\": \"lost_events\", \"count\": 3, \"data\": {\"events\": 3}}\n"
    );
}

#[test]
fn events_that_the_plan_does_not_know_are_internal_errors() {
    let script = Script::new().event(&[int(64, 1)], printf("%d"));
    let told = |bytes: &[u8]| script.answer(bytes).map(drop).map_err(|e| e.to_string());
    assert_eq!(told(&[]), Err("internal error: an event of 0 bytes".into()));
    assert_eq!(told(&[0; 7]), Err("internal error: an event of 7 bytes".into()));
    assert_eq!(told(&9u64.to_ne_bytes()), Err("internal error: an event with id 9".into()));
    assert_eq!(
        told(&u64::MAX.to_ne_bytes()),
        Err("internal error: an event with id 18446744073709551615".into())
    );
    assert_eq!(
        told(&0u64.to_ne_bytes()),
        Err("internal error: 0 bytes for a value of type `int64` of 8".into())
    );
    assert_eq!(told(&[0; 12]), Err("internal error: 4 bytes for a value of type `int64` of 8".into()));
    assert_eq!(told(&[0; 16]), Ok(()));
}
