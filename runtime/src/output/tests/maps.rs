//! Maps at the end of a run and by `print(@map)`.

use memql_compiler::plan::EventPlan;
use memql_compiler::types::{Agg, Type};

use super::{Script, int, record, string, tuple, uint, words};

type Element = (Vec<u8>, Vec<Vec<u8>>);

/// An element of one copy.
fn element(key: (Type, Vec<u8>), value: (Type, Vec<u8>)) -> Element {
    (key.1, vec![value.1])
}

fn ints(pairs: &[(i64, i64)]) -> Vec<Element> {
    pairs.iter().map(|(k, v)| element(int(64, *k), int(64, *v))).collect()
}

/// `print(@map, top, div)`
fn print_map(script: Script, top: u64, div: u64) -> Script {
    script.event(&[uint(64, top), uint(64, div)], |mut args| {
        let div = args.pop();
        EventPlan::PrintMap { map: 0, top: args.pop(), div }
    })
}

fn hist(bits: u8, values: &[i64]) -> Vec<u8> {
    let mut buckets = vec![0i64; memql_compiler::types::hist_buckets(bits) as usize];
    let b = u32::from(bits);
    for value in values {
        let bucket = match u64::try_from(*value) {
            Err(_) => 0,
            Ok(v) if v < 1 << b => 1 + v,
            Ok(v) => {
                let l = v.ilog2();
                1 + (1u64 << b) * u64::from(l - b + 1) + ((v >> (l - b)) & ((1 << b) - 1))
            }
        };
        buckets[bucket as usize] += 1;
    }
    words(&buckets)
}

fn single(value: Type, copies: Vec<Vec<u8>>) -> Script {
    Script::new().map("@x", None, value, &[(Vec::new(), copies)])
}

const FULL: &str = "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@";
const NONE: &str = "                                                    ";

/// Lines of label, count and bar.
fn table(rows: &[(&str, u64, &str)]) -> String {
    rows.iter().map(|(label, count, bar)| format!("{label:<16}{count:>8} |{bar:<52}|\n")).collect()
}

#[test]
fn a_map_without_a_key_is_one_line() {
    let script = single(Type::I64, vec![words(&[5])]);
    assert_eq!(script.maps_text(), "@x: 5\n");
    assert_eq!(script.maps_json(), "{\"type\": \"map\", \"data\": {\"@x\": 5}}\n");
}

#[test]
fn integer_maps_are_ordered_by_value_then_key() {
    let script =
        Script::new().map("@x", Some(Type::I64), Type::I64, &ints(&[(9, 5), (1, 7), (2, -6), (3, 5)]));
    assert_eq!(script.maps_text(), "@x[2]: -6\n@x[3]: 5\n@x[9]: 5\n@x[1]: 7\n");
    assert_eq!(
        script.maps_json(),
        "{\"type\": \"map\", \"data\": {\"@x\": {\"2\": -6, \"3\": 5, \"9\": 5, \"1\": 7}}}\n"
    );
}

#[test]
fn unsigned_values_are_ordered_as_such() {
    let elements = [element(int(64, 1), uint(64, u64::MAX)), element(int(64, 2), uint(64, 1))];
    let script = Script::new().map("@x", Some(Type::I64), Type::U64, &elements);
    assert_eq!(script.maps_text(), "@x[2]: 1\n@x[1]: 18446744073709551615\n");
}

#[test]
fn other_maps_are_ordered_by_key() {
    let text = |t| string(4, t);
    let elements =
        [element(int(64, 1), text("z")), element(int(64, 0), text("y")), element(int(64, -1), text("x"))];
    let script = Script::new().map("@v", Some(Type::I64), text("").0, &elements);
    assert_eq!(script.maps_text(), "@v[-1]: x\n@v[0]: y\n@v[1]: z\n");
}

#[test]
fn tuple_keys_are_ordered_field_by_field_and_lose_their_parentheses() {
    let key = |n: i64, s: &str| tuple(&[int(64, n), string(4, s)]);
    let elements = [
        element(key(2, "a"), string(2, "1")),
        element(key(1, "b"), string(2, "2")),
        element(key(1, "a"), string(2, "3")),
        element(key(-1, "z"), string(2, "4")),
    ];
    let script = Script::new().map("@x", Some(key(0, "").0), string(2, "").0, &elements);
    assert_eq!(script.maps_text(), "@x[-1, z]: 4\n@x[1, a]: 3\n@x[1, b]: 2\n@x[2, a]: 1\n");
    assert_eq!(
        script.maps_json(),
        "{\"type\": \"map\", \"data\": {\"@x\": {\"-1,z\": \"4\", \"1,a\": \"3\", \"1,b\": \"2\", \"2,a\": \"1\"}}}\n"
    );
}

#[test]
fn nested_keys_and_records_keep_theirs() {
    let nested = tuple(&[int(64, 1), tuple(&[int(64, 2), int(64, 3)])]);
    let script = Script::new().map("@zz", Some(nested.0.clone()), Type::I64, &[element(nested, int(64, 1))]);
    assert_eq!(script.maps_text(), "@zz[1, (2, 3)]: 1\n");
    assert_eq!(script.maps_json(), "{\"type\": \"map\", \"data\": {\"@zz\": {\"1,(2,3)\": 1}}}\n");
    let key = record(&[("a", uint(8, 1)), ("b", string(4, "x"))]);
    let script = Script::new().map("@t", Some(key.0.clone()), Type::I64, &[element(key, int(64, 3))]);
    assert_eq!(script.maps_text(), "@t[{ .a = 1, .b = x }]: 3\n");
    assert_eq!(script.maps_json(), "{\"type\": \"map\", \"data\": {\"@t\": {\"{.a=1,.b=x}\": 3}}}\n");
}

#[test]
fn blanks_and_parentheses_of_string_keys_stay_unlike_in_bpftrace() {
    // bpftrace 0.27 prints `@x[a]` for the first and makes `ab` of the second in JSON.
    let elements = [element(string(8, "(a)"), int(64, 1)), element(string(8, "a b"), int(64, 2))];
    let script = Script::new().map("@x", Some(string(8, "").0), Type::I64, &elements);
    assert_eq!(script.maps_text(), "@x[(a)]: 1\n@x[a b]: 2\n");
    assert_eq!(script.maps_json(), "{\"type\": \"map\", \"data\": {\"@x\": {\"(a)\": 1, \"a b\": 2}}}\n");
}

#[test]
fn empty_maps_are_not_printed_at_the_end() {
    let script = Script::new().map("@a", Some(Type::I64), Type::I64, &[]).map("@b", None, Type::I64, &[]);
    assert_eq!(script.maps_text(), "");
    assert_eq!(script.maps_json(), "");
}

#[test]
fn blank_lines_stand_before_the_maps_if_there_are_any() {
    let full = single(Type::I64, vec![words(&[5])]);
    let text = full.run(super::OutputFormat::Text, |output, maps| output.print_all_maps(maps)).0;
    assert_eq!(text, "\n\n@x: 5\n");
}

#[test]
fn top_keeps_the_largest_and_div_divides() {
    let script =
        || Script::new().map("@top", Some(Type::I64), Type::I64, &ints(&[(1, 1), (2, 2), (3, 30), (4, -7)]));
    assert_eq!(print_map(script(), 2, 1).text(), "@top[2]: 2\n@top[3]: 30\n");
    assert_eq!(print_map(script(), 2, 10).text(), "@top[2]: 0\n@top[3]: 3\n");
    assert_eq!(print_map(script(), 0, 2).text(), "@top[4]: -3\n@top[1]: 0\n@top[2]: 1\n@top[3]: 15\n");
    assert_eq!(print_map(script(), 100, 0).text(), "@top[4]: -7\n@top[1]: 1\n@top[2]: 2\n@top[3]: 30\n");
}

#[test]
fn copies_of_all_cpus_are_added() {
    assert_eq!(
        single(Type::Agg(Agg::Count), vec![words(&[2]), words(&[3]), words(&[0])]).maps_text(),
        "@x: 5\n"
    );
    assert_eq!(
        single(Type::Agg(Agg::Sum { signed: true }), vec![words(&[-9]), words(&[3])]).maps_text(),
        "@x: -6\n"
    );
    let wrapped = single(Type::Agg(Agg::Sum { signed: false }), vec![words(&[-9]), words(&[3])]);
    assert_eq!(wrapped.maps_text(), "@x: 18446744073709551610\n");
}

#[test]
fn minima_and_maxima_ignore_cpus_that_saw_nothing() {
    let copies = || vec![words(&[0, 0]), words(&[-7, 1]), words(&[3, 1])];
    assert_eq!(single(Type::Agg(Agg::Min { signed: true }), copies()).maps_text(), "@x: -7\n");
    assert_eq!(single(Type::Agg(Agg::Max { signed: true }), copies()).maps_text(), "@x: 3\n");
    assert_eq!(
        single(Type::Agg(Agg::Max { signed: false }), copies()).maps_text(),
        "@x: 18446744073709551609\n"
    );
    let none = vec![words(&[0, 0]), words(&[0, 0])];
    assert_eq!(single(Type::Agg(Agg::Min { signed: true }), none).maps_text(), "@x: 0\n");
}

#[test]
fn averages_are_exact_over_cpus_and_cut_towards_zero() {
    let copies = || vec![words(&[2, -7]), words(&[1, -4])];
    let average = single(Type::Agg(Agg::Avg { signed: true }), copies());
    assert_eq!(average.maps_text(), "@x: -3\n");
    assert_eq!(average.maps_json(), "{\"type\": \"stats\", \"data\": {\"@x\": -3}}\n");
    let stats = single(Type::Agg(Agg::Stats { signed: true }), copies());
    assert_eq!(stats.maps_text(), "@x: { .count = 3, .average = -3, .total = -11 }\n");
    assert_eq!(
        stats.maps_json(),
        "{\"type\": \"stats\", \"data\": {\"@x\": {\"count\": 3, \"average\": -3, \"total\": -11}}}\n"
    );
    // Two totals that do not fit 64 bits together.
    let large = vec![words(&[1, i64::MAX]), words(&[1, i64::MAX])];
    let stats = single(Type::Agg(Agg::Stats { signed: true }), large);
    assert_eq!(
        stats.maps_text(),
        "@x: { .count = 2, .average = 9223372036854775807, .total = 18446744073709551614 }\n"
    );
}

#[test]
fn stats_divide_the_average_only() {
    let script = single(Type::Agg(Agg::Stats { signed: true }), vec![words(&[2, 20])]);
    assert_eq!(print_map(script, 0, 2).text(), "@x: { .count = 2, .average = 5, .total = 20 }\n");
}

#[test]
fn averages_order_maps_by_average() {
    let average = |count, total| vec![words(&[count, total])];
    let elements =
        [(words(&[1]), average(2, 20)), (words(&[2]), average(1, 3)), (words(&[3]), average(10, 50))];
    let script = Script::new().map("@x", Some(Type::I64), Type::Agg(Agg::Avg { signed: true }), &elements);
    assert_eq!(script.maps_text(), "@x[2]: 3\n@x[3]: 5\n@x[1]: 10\n");
}

#[test]
fn histograms_by_powers_of_two() {
    let script = single(Type::Agg(Agg::Hist { bits: 0 }), vec![hist(0, &[5, 2, 3]), hist(0, &[-1, 0, 600])]);
    let expected = table(&[
        ("(..., 0)", 1, &FULL[..26]),
        ("[0]", 1, &FULL[..26]),
        ("[1]", 0, NONE),
        ("[2, 4)", 2, FULL),
        ("[4, 8)", 1, &FULL[..26]),
        ("[8, 16)", 0, NONE),
        ("[16, 32)", 0, NONE),
        ("[32, 64)", 0, NONE),
        ("[64, 128)", 0, NONE),
        ("[128, 256)", 0, NONE),
        ("[256, 512)", 0, NONE),
        ("[512, 1K)", 1, &FULL[..26]),
    ]);
    assert_eq!(script.maps_text(), format!("@x:\n{expected}\n"));
    let json = single(Type::Agg(Agg::Hist { bits: 0 }), vec![hist(0, &[-1, 0, 3])]).maps_json();
    assert_eq!(
        json,
        "{\"type\": \"hist\", \"data\": {\"@x\": [{\"max\": -1, \"count\": 1},{\"min\": 0, \"max\": 0, \"count\": 1},\
         {\"min\": 1, \"max\": 1, \"count\": 0},{\"min\": 2, \"max\": 3, \"count\": 1}]}}\n"
    );
}

#[test]
fn the_largest_bucket_ends_at_16_exa() {
    let mut buckets = vec![0i64; 66];
    buckets[65] = 1;
    let script = single(Type::Agg(Agg::Hist { bits: 0 }), vec![words(&buckets)]);
    assert_eq!(script.maps_text(), format!("@x:\n{}\n", table(&[("[8E, 16E)", 1, FULL)])));
    assert_eq!(
        script.maps_json(),
        "{\"type\": \"hist\", \"data\": {\"@x\": [{\"min\": 9223372036854775808, \"max\": \"18446744073709551615\", \"count\": 1}]}}\n"
    );
}

#[test]
fn finer_histograms_cut_each_power_of_two() {
    let script = single(Type::Agg(Agg::Hist { bits: 2 }), vec![hist(2, &[5, 9, 33])]);
    let expected = table(&[
        ("[5]", 1, FULL),
        ("[6]", 0, NONE),
        ("[7]", 0, NONE),
        ("[8, 10)", 1, FULL),
        ("[10, 12)", 0, NONE),
        ("[12, 14)", 0, NONE),
        ("[14, 16)", 0, NONE),
        ("[16, 20)", 0, NONE),
        ("[20, 24)", 0, NONE),
        ("[24, 28)", 0, NONE),
        ("[28, 32)", 0, NONE),
        ("[32, 40)", 1, FULL),
    ]);
    assert_eq!(script.maps_text(), format!("@x:\n{expected}\n"));
}

#[test]
fn linear_histograms() {
    let lhist = Agg::Lhist { min: 0, max: 10, step: 2 };
    let script = single(Type::Agg(lhist), vec![words(&[1, 0, 0, 1, 0, 0, 1])]);
    let expected = table(&[
        ("(..., 0)", 1, FULL),
        ("[0, 2)", 0, NONE),
        ("[2, 4)", 0, NONE),
        ("[4, 6)", 1, FULL),
        ("[6, 8)", 0, NONE),
        ("[8, 10)", 0, NONE),
        ("[10, ...)", 1, FULL),
    ]);
    assert_eq!(script.maps_text(), format!("@x:\n{expected}\n"));
    let json = single(Type::Agg(lhist), vec![words(&[1, 1, 0, 0, 0, 0, 1])]).maps_json();
    assert_eq!(
        json,
        "{\"type\": \"hist\", \"data\": {\"@x\": [{\"max\": -1, \"count\": 1},{\"min\": 0, \"max\": 1, \"count\": 1},\
         {\"min\": 2, \"max\": 3, \"count\": 0},{\"min\": 4, \"max\": 5, \"count\": 0},{\"min\": 6, \"max\": 7, \"count\": 0},\
         {\"min\": 8, \"max\": 9, \"count\": 0},{\"min\": 10, \"count\": 1}]}}\n"
    );
}

#[test]
fn linear_steps_of_a_kibi_are_written_in_k_and_m() {
    let lhist = Agg::Lhist { min: 0, max: 4 << 20, step: 1 << 20 };
    let script = single(Type::Agg(lhist), vec![words(&[0, 1, 1, 0, 0, 0])]);
    assert_eq!(
        script.maps_text(),
        format!("@x:\n{}\n", table(&[("[0, 1M)", 1, FULL), ("[1M, 2M)", 1, FULL)]))
    );
    let lhist = Agg::Lhist { min: 0, max: 10, step: 1 };
    let mut buckets = [0; 12];
    buckets[4] = 1;
    let script = single(Type::Agg(lhist), vec![words(&buckets)]);
    assert_eq!(script.maps_text(), format!("@x:\n{}\n", table(&[("[3]", 1, FULL)])));
}

#[test]
fn histograms_are_divided_by_count_and_linear_ones_are_not() {
    let script = single(Type::Agg(Agg::Hist { bits: 0 }), vec![hist(0, &[5, 5, 5])]);
    assert_eq!(print_map(script, 0, 2).text(), format!("@x:\n{}\n", table(&[("[4, 8)", 1, FULL)])));
    let script = single(Type::Agg(Agg::Hist { bits: 0 }), vec![hist(0, &[5])]);
    assert_eq!(print_map(script, 0, 2).text(), format!("@x:\n{}\n", table(&[("[4, 8)", 0, NONE)])));
    let lhist = Agg::Lhist { min: 0, max: 10, step: 5 };
    let script = single(Type::Agg(lhist), vec![words(&[0, 2, 0, 0])]);
    assert_eq!(print_map(script, 0, 2).text(), format!("@x:\n{}\n", table(&[("[0, 5)", 2, FULL)])));
}

#[test]
fn histograms_with_keys_are_ordered_by_total() {
    let elements = [(string(2, "b").1, vec![hist(0, &[3, 3])]), (string(2, "a").1, vec![hist(0, &[3])])];
    let script = Script::new().map("@k", Some(string(2, "").0), Type::Agg(Agg::Hist { bits: 0 }), &elements);
    let one = table(&[("[2, 4)", 1, FULL)]);
    let two = table(&[("[2, 4)", 2, FULL)]);
    assert_eq!(script.maps_text(), format!("@k[a]:\n{one}\n@k[b]:\n{two}\n"));
    assert_eq!(
        script.maps_json(),
        "{\"type\": \"hist\", \"data\": {\"@k\": {\"a\": [{\"min\": 2, \"max\": 3, \"count\": 1}], \"b\": [{\"min\": 2, \"max\": 3, \"count\": 2}]}}}\n"
    );
}

#[test]
fn stacks_are_keys() {
    use memql_compiler::types::{StackMode, StackType};
    let ty = Type::Stack(StackType { user: false, limit: 3, mode: StackMode::Raw });
    let mut key = 9u64.to_ne_bytes().to_vec();
    key.extend_from_slice(&[0, 0, 0, 0, 2, 0, 0, 0]);
    let script = Script::new().stack(9, &[0x10, 0xabc]).map(
        "@w",
        Some(ty),
        Type::Agg(Agg::Count),
        &[(key, vec![words(&[1])])],
    );
    assert_eq!(script.maps_text(), "@w[\n10\nabc\n]: 1\n");
    assert_eq!(script.maps_json(), "{\"type\": \"map\", \"data\": {\"@w\": {\"\\n10\\nabc\\n\": 1}}}\n");
}

#[test]
fn asked_for_by_name_a_map_that_was_never_assigned_is_zero() {
    let script = |value| print_map(Script::new().map("@nope", None, value, &[]), 0, 1);
    assert_eq!(script(Type::Agg(Agg::Count)).text(), "@nope: 0\n");
    assert_eq!(script(string(4, "").0).text(), "@nope: \n");
    let stats = script(Type::Agg(Agg::Stats { signed: true })).text();
    assert_eq!(stats, "@nope: { .count = 0, .average = 0, .total = 0 }\n");
    assert_eq!(script(Type::Agg(Agg::Hist { bits: 0 })).text(), "");
    let keyed = print_map(Script::new().map("@nope", Some(Type::I64), Type::I64, &[]), 0, 1);
    assert_eq!(keyed.text(), "");
    assert_eq!(keyed.json(), "");
}

#[test]
fn one_element_prints_as_a_value() {
    let elements = [(words(&[1]), vec![words(&[3, 30]), words(&[1, 10])])];
    let print = |agg, key: i64| {
        Script::new()
            .map("@x", Some(Type::I64), Type::Agg(agg), &elements)
            .event(&[int(64, key)], |mut args| EventPlan::PrintMapElem { map: 0, key: args.remove(0) })
    };
    assert_eq!(print(Agg::Avg { signed: true }, 1).text(), "10\n");
    assert_eq!(print(Agg::Stats { signed: true }, 1).text(), "{ .count = 4, .average = 10, .total = 40 }\n");
    assert_eq!(print(Agg::Avg { signed: true }, 2).text(), "0\n");
    assert_eq!(print(Agg::Avg { signed: true }, 1).json(), "{\"type\": \"value\", \"data\": 10}\n");
}

#[test]
fn a_million_elements_are_ordered_within_seconds() {
    let count = 1_000_000i64;
    let elements: Vec<Element> =
        (0..count).map(|i| (words(&[i]), vec![words(&[(i * 7919) % 1000])])).collect();
    let script = print_map(Script::new().map("@x", Some(Type::I64), Type::I64, &elements), 3, 1);
    let start = std::time::Instant::now();
    assert_eq!(script.text().lines().count(), 3);
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn an_element_is_found_whatever_follows_its_string_key_in_the_event() {
    let elements = [element(string(8, "ab"), int(64, 7))];
    let mut key = string(8, "ab");
    key.1[4] = b'?';
    let script = Script::new()
        .map("@x", Some(key.0.clone()), Type::I64, &elements)
        .event(&[key], |mut args| EventPlan::PrintMapElem { map: 0, key: args.remove(0) });
    assert_eq!(script.text(), "7\n");
}
