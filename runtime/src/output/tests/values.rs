//! One value of each type, as text and as JSON.

use memql_compiler::attach::AttachPoint;
use memql_compiler::types::{AddrSpace, Clock, PointText, StackMode, StackType, StructRef, Type};

use super::{Script, buffer, int, record, string, tuple, uint};

/// A value's text and its JSON, without the message around it.
fn both((ty, bytes): (Type, Vec<u8>)) -> (String, String) {
    let script = Script::new().print(ty, bytes);
    let json = script.json();
    let data =
        json.strip_prefix("{\"type\": \"value\", \"data\": ").and_then(|rest| rest.strip_suffix("}\n"));
    (script.text().trim_end_matches('\n').to_owned(), data.unwrap_or(&json).to_owned())
}

fn check(value: (Type, Vec<u8>), text: &str, json: &str) {
    assert_eq!(both(value), (text.to_owned(), json.to_owned()));
}

fn color(value: u32) -> (Type, Vec<u8>) {
    (Type::Enum { name: "color".into(), id: 7, bits: 32, signed: false }, value.to_ne_bytes().to_vec())
}

#[test]
fn integers_print_with_their_sign() {
    check(int(8, -1), "-1", "-1");
    check(uint(8, 255), "255", "255");
    check(int(16, -32768), "-32768", "-32768");
    check(uint(32, 4294967295), "4294967295", "4294967295");
    check(int(64, -3), "-3", "-3");
}

#[test]
fn integers_that_a_double_cannot_hold_are_strings_in_json() {
    check(uint(64, 1 << 53), "9007199254740992", "9007199254740992");
    check(uint(64, (1 << 53) + 1), "9007199254740993", "\"9007199254740993\"");
    check(uint(64, u64::MAX), "18446744073709551615", "\"18446744073709551615\"");
    check(int(64, i64::MIN), "-9223372036854775808", "-9223372036854775808");
}

#[test]
fn booleans_pointers_and_nothing() {
    check((Type::Bool, vec![1]), "true", "true");
    check((Type::Bool, vec![0]), "false", "false");
    let to = Box::new(Type::Void);
    check((Type::Ptr { to, space: AddrSpace::Kernel }, 0x1234u64.to_ne_bytes().to_vec()), "0x1234", "4660");
    check((Type::Void, vec![]), "null", "null");
}

#[test]
fn enumerations_are_names_in_text_and_numbers_in_json() {
    check(color(5), "GREEN", "5");
    check(color(7), "7", "7");
}

#[test]
fn strings_end_at_the_nul() {
    check(string(16, "abc"), "abc", "\"abc\"");
    check(string(4, ""), "", "\"\"");
}

#[test]
fn strings_that_were_cut_say_so_and_full_arrays_do_not() {
    check(string(4, "abcd"), "abcd", "\"abcd\"");
    let (ty, bytes) = string(4, "abcd");
    let script = Script::new().plan(|plan| plan.settings.max_strlen = 4).print(ty, bytes);
    assert_eq!(script.text(), "abcd..\n");
}

#[test]
fn json_strings_are_escaped_and_always_utf8() {
    // bpftrace 0.27 writes `\uffffffc3` for the first byte of an e with an acute accent, which is not JSON.
    let text = "q\" b\\ n\n t\t \u{1} \u{e9}".to_owned();
    let mut bytes = text.clone().into_bytes();
    bytes.push(0xff);
    bytes.push(0);
    let ty = Type::Str { cap: bytes.len() as u32 };
    let script = Script::new().print(ty, bytes);
    assert_eq!(
        script.json(),
        "{\"type\": \"value\", \"data\": \"q\\\" b\\\\ n\\n t\\t \\u0001 \u{e9}\u{fffd}\"}\n"
    );
}

#[test]
fn buffers_are_escaped_text_or_a_list_of_bytes() {
    check(buffer(8, b"a\x01b"), "a\\x01b", "[97,1,98]");
    check(buffer(5, b""), "", "[]");
}

#[test]
fn a_buffer_longer_than_its_place_is_cut_to_it() {
    let (ty, mut bytes) = buffer(4, b"abcd");
    bytes[..4].copy_from_slice(&1000u32.to_ne_bytes());
    check((ty, bytes), "abcd", "[97,98,99,100]");
}

#[test]
fn tuples_have_blanks_and_nest() {
    let inner = tuple(&[int(64, 2), int(64, 3)]);
    check(tuple(&[uint(8, 1), string(8, "abc"), inner]), "(1, abc, (2, 3))", "[1,\"abc\",[2,3]]");
}

#[test]
fn records_have_names() {
    check(
        record(&[("a", uint(8, 1)), ("b", string(4, "x"))]),
        "{ .a = 1, .b = x }",
        "{\"a\": 1, \"b\": \"x\"}",
    );
}

#[test]
fn arrays_have_no_blanks() {
    let ty = Type::Array { elem: Box::new(Type::I32), len: 3 };
    let bytes = [1i32, -2, 3].iter().flat_map(|n| n.to_ne_bytes()).collect();
    check((ty, bytes), "[1,-2,3]", "[1,-2,3]");
}

#[test]
fn structs_have_fields_and_bit_fields() {
    let pair = Type::Struct(StructRef { name: "pair".into(), id: 1, size: 12, is_union: false });
    let mut bytes = (-7i32).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&[0b0001_0111, 0, 0, 0, b'h', b'i', 0, 0]);
    check((pair, bytes), "{ .a = -7, .flag = 5, .name = hi }", "{\"a\": -7, \"flag\": 5, \"name\": \"hi\"}");
}

#[test]
fn structs_whose_fields_are_unknown_print_as_bytes() {
    let other = Type::Struct(StructRef { name: "other".into(), id: 2, size: 2, is_union: false });
    check((other, vec![b'A', 1]), "A\\x01", "[65,1]");
}

#[test]
fn addresses_that_are_no_symbol_print_as_addresses() {
    check((Type::Ksym, 5u64.to_ne_bytes().to_vec()), "0x5", "\"0x5\"");
}

#[test]
fn empty_stacks_are_an_empty_line() {
    let ty = Type::Stack(StackType { user: false, limit: 3, mode: StackMode::Bpftrace });
    check((ty, vec![0; 16]), "", "\"\\n\"");
}

#[test]
fn raw_stacks_are_addresses_and_end_where_the_event_says() {
    let ty = Type::Stack(StackType { user: false, limit: 3, mode: StackMode::Raw });
    let mut bytes = 9u64.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&[0, 0, 0, 0, 2, 0, 0, 0]);
    let script = Script::new().stack(9, &[0x10, 0xabc, 0xdead]).print(ty, bytes);
    assert_eq!(script.text(), "\n10\nabc\n\n");
    assert_eq!(script.json(), "{\"type\": \"value\", \"data\": \"\\n10\\nabc\\n\"}\n");
}

#[test]
fn a_stack_that_left_its_map_says_so() {
    let ty = Type::Stack(StackType { user: true, limit: 3, mode: StackMode::Bpftrace });
    let mut bytes = 9u64.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&[1, 0, 0, 0, 2, 0, 0, 0]);
    assert_eq!(
        Script::new().print(ty, bytes).text(),
        "\n        [stack missing: the map of stacks was full]\n\n"
    );
}

#[test]
fn points_print_the_attach_point_or_its_function() {
    let script = |text| {
        Script::new()
            .plan(|plan| {
                plan.points = vec![
                    AttachPoint::Begin,
                    AttachPoint::Kprobe { module: None, function: "do_exit".into(), offset: 4, ret: false },
                ];
            })
            .print(Type::Point(text), 1u64.to_ne_bytes().to_vec())
    };
    assert_eq!(script(PointText::Probe).text(), "kprobe:do_exit+4\n");
    assert_eq!(script(PointText::Func).text(), "do_exit\n");
}

#[test]
fn timestamps_have_parts_of_seconds() {
    let script = Script::new().plan(|plan| plan.time_formats = vec!["%Y %f|%k|%l|%%f".into()]).print(
        Type::Timestamp { format: 0, clock: Clock::Realtime },
        1_000_000_123_456_789_012u64.to_ne_bytes().to_vec(),
    );
    assert_eq!(script.text(), "2001 456789|456789012|456|%f\n");
}

#[test]
fn on_a_terminal_control_characters_in_data_are_escaped() {
    let script = || Script::new().print(string(16, "a\u{1b}[31m\tb\n").0, string(16, "a\u{1b}[31m\tb\n").1);
    assert_eq!(script().text(), "a\u{1b}[31m\tb\n\n");
    assert_eq!(script().on_terminal().text(), "a\\x1b[31m\tb\n\n");
}
