//! Where the breakpoints of uprobes go: wherever that is, counts, arguments, results and stacks are the
//! same.

use crate::need;
use crate::support::{machine, memql, programs::program, text, trigger::Trigger};

/// The functions of `entries`, and where their probes go: without a stack, and with one.
#[rustfmt::skip]
const FUNCTIONS: &[(&str, u32, u32)] = &[
    ("test_then_jump",    3, 3),
    ("endbr_then_frame",  4, 0),
    ("endbr_then_push",   4, 0),
    ("several",          13, 13),
    ("plain_push",        0, 0),
    ("argument_changes",  0, 0),
    ("memory_changes",    0, 0),
    ("stack_moves",       0, 0),
    ("loop_head",         0, 0),
    ("cold_part_returns", 0, 0),
    ("by_table",          0, 0),
    ("falls_into",        0, 0),
    ("back_to_entry",     3, 3),
];

/// Runs one such probe on each function, and five calls of each: what was printed, and what `-v` said of places.
fn traced(probe: &str, placement: bool) -> Result<(String, Vec<String>), String> {
    machine::uprobes()?;
    let entries = program("entries")?;
    let mut trigger = Trigger::start(&entries, &["5"]);
    let mut script = format!("config = {{ probe_placement = {placement} }}\n");
    for (name, ..) in FUNCTIONS {
        script += &probe.replace("FUNCTION", &format!("{}:{name}", entries.display())).replace("NAME", name);
    }
    let tracing = memql::attached(["-v", "-p", &trigger.pid(), "-e", &script]);
    trigger.work();
    let ended = tracing.stop();
    let places =
        ended.stderr.lines().filter_map(|line| line.rsplit_once(':')).map(|(_, place)| place.to_string());
    let places = places.filter(|place| place.contains(" at +")).collect();
    Ok((ended.stdout, places))
}

fn expected_places(of: impl Fn(&(&str, u32, u32)) -> u32) -> Vec<String> {
    let moved = FUNCTIONS.iter().filter(|f| of(f) > 0);
    moved.map(|f| format!("{} at +{}", f.0, of(f))).collect()
}

#[test]
fn counts_and_arguments_are_the_same_wherever_the_breakpoint_is() {
    let probe = r#"uprobe:FUNCTION { @["NAME", arg0, arg1] = count(); }"#;
    let (moved, places) = need!(traced(probe, true));
    assert_eq!(places, expected_places(|f| f.1));
    let mut lines: Vec<String> = FUNCTIONS.iter().map(|(name, ..)| format!("@[{name}, 7, 11]: 5")).collect();
    lines.sort();
    assert_eq!(text::sorted(&moved), lines);
    let (kept, places) = need!(traced(probe, false));
    assert_eq!(text::sorted(&kept), lines);
    assert_eq!(places, [""; 0]);
}

#[test]
fn results_are_the_same_wherever_the_breakpoint_is() {
    let probe = r#"uretprobe:FUNCTION { @["NAME", retval] = count(); }"#;
    let (moved, places) = need!(traced(probe, true));
    assert_eq!(places, expected_places(|f| f.1));
    let mut lines: Vec<String> = FUNCTIONS.iter().map(|(name, ..)| format!("@[{name}, 18]: 5")).collect();
    lines.sort();
    assert_eq!(text::sorted(&moved), lines);
}

#[test]
fn stacks_are_the_same_wherever_the_breakpoint_is() {
    let probe = r#"uprobe:FUNCTION { @["NAME", ustack(4), func] = count(); }"#;
    let (moved, places) = need!(traced(probe, true));
    assert_eq!(places, expected_places(|f| f.2));
    let (kept, _) = need!(traced(probe, false));
    assert_eq!(text::sorted(&moved), text::sorted(&kept));
    for (name, ..) in FUNCTIONS {
        assert!(moved.contains(&format!("    {name}+0\n")), "{name} in {moved}");
    }
}

#[test]
fn probes_that_read_registers_that_may_change_stay_on_the_first_instruction() {
    let probe = r#"uprobe:FUNCTION { @["NAME", reg("sp")] = count(); }"#;
    let (_, places) = need!(traced(probe, true));
    assert_eq!(places, expected_places(|f| f.1));
    let probe = r#"uprobe:FUNCTION { @["NAME", reg("ax")] = count(); }"#;
    let (_, places) = need!(traced(probe, true));
    assert_eq!(places, [""; 0]);
}

#[test]
fn a_function_that_one_probe_must_enter_at_its_first_byte_is_entered_once() {
    let both = r#"uprobe:FUNCTION { @a["NAME", ustack(4)] = count(); } uretprobe:FUNCTION { @b["NAME"] = count(); }"#;
    let (_, places) = need!(traced(both, true));
    let twice: Vec<String> = expected_places(|f| f.2).into_iter().flat_map(|p| [p.clone(), p]).collect();
    assert_eq!(places, twice);
}
