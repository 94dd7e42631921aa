//! What scripts mean, without a kernel: compiled, and run by the interpreter before and after optimising.

mod histograms;
mod script;

use memql_compiler::interpret::Event;
use memql_compiler::plan::{Arg, EventPlan};
use memql_compiler::types::Type;
use script::Ran;

/// A value in an event as text. Bytes that nobody wrote are seen: in the kernel they are those of older events.
fn show(arg: &Arg, event: &Event) -> String {
    let written =
        event.bytes.iter().zip(&event.written).map(|(byte, written)| if *written { *byte } else { b'?' });
    let bytes: Vec<u8> = written.skip(arg.offset as usize).take(arg.ty.size() as usize).collect();
    let mut word = [0; 8];
    let kept = bytes.len().min(8);
    word[..kept].copy_from_slice(&bytes[..kept]);
    let unsigned = u64::from_le_bytes(word);
    match &arg.ty {
        Type::Bool => (unsigned != 0).to_string(),
        Type::Int { bits, signed: true } => ((unsigned << (64 - bits)) as i64 >> (64 - bits)).to_string(),
        Type::Int { signed: false, .. } => unsigned.to_string(),
        Type::Str { .. } => {
            let text: Vec<u8> = bytes.iter().copied().take_while(|byte| *byte != 0).collect();
            format!("{:?}", String::from_utf8_lossy(&text))
        }
        other => panic!("a value of type {other} cannot be shown here"),
    }
}

/// What is printed last.
fn last_printed(ran: &Ran) -> String {
    let Some(event) = ran.events.last() else { return "nothing".into() };
    let id = u64::from_le_bytes(event.bytes[..8].try_into().expect("an event begins with its id"));
    match &ran.plan.events[id as usize] {
        EventPlan::Print(arg) => show(arg, event),
        other => panic!("not a value: {other:?}"),
    }
}

#[test]
fn text_that_fills_its_place_ends_where_a_longer_one_goes_on() {
    let source = r#"config = { max_strlen = 5 }
        begin { $text = "texts"; $p = &$text; print($p != 0 ? str($p) : "longer than that"); }"#;
    for (stage, ran) in script::run(source) {
        assert_eq!(last_printed(&ran), r#""texts""#, "{stage}");
    }
}

#[test]
fn expressions_have_the_values_that_the_table_says() {
    let table = include_str!("expressions.txt");
    let (mut wrong, mut items) = (Vec::new(), String::new());
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        if let Some(item) = line.strip_prefix("> ") {
            items.push_str(item);
            items.push('\n');
            continue;
        }
        if line.is_empty() {
            items.clear();
            continue;
        }
        let (program, expected) = line.rsplit_once(" => ").unwrap_or_else(|| panic!("no value in `{line}`"));
        // What comes last is printed; it stands after the last statement.
        let end = program.rfind("; ").map(|at| at + 2).max(program.rfind("} ").map(|at| at + 2)).unwrap_or(0);
        let (statements, expression) = program.split_at(end);
        let source = format!("{items}begin {{ {statements} $result = {expression}; print($result); }}");
        for (stage, ran) in script::run(&source) {
            let found = last_printed(&ran);
            if found != expected {
                wrong.push(format!("{line}\n    {stage}: {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
