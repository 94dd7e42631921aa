//! Reports.

use memql_compiler::plan::{
    Arg, BinaryOp, EventPlan, Format, ReportColumn, ReportExpr, ReportExprKind, ReportPlan, ReportValue,
};
use memql_compiler::types::{Agg, StackMode, StackType, Type};

use super::formats::printf;
use super::{Script, int, record, string, uint, words};

fn expr(ty: Type, kind: ReportExprKind) -> ReportExpr {
    ReportExpr { kind, ty }
}

fn value(ty: Type, offset: u32) -> ReportExpr {
    expr(ty, ReportExprKind::Value { offset })
}

fn key(ty: Type) -> ReportExpr {
    expr(ty, ReportExprKind::Key { offset: 0 })
}

fn constant(n: i64) -> ReportExpr {
    expr(Type::I64, ReportExprKind::Int(n))
}

fn binary(op: BinaryOp, a: ReportExpr, b: ReportExpr) -> ReportExpr {
    expr(Type::I64, ReportExprKind::Binary(op, Box::new(a), Box::new(b)))
}

fn column(name: &str, ty: Type, value: ReportValue) -> ReportColumn {
    ReportColumn { name: name.into(), value, ty }
}

fn report(columns: Vec<ReportColumn>) -> ReportPlan {
    ReportPlan { map: 0, filter: None, columns, order: None, limit: None, format: None }
}

fn with_format(report: ReportPlan, text: &str) -> ReportPlan {
    match printf(text)(Vec::new()) {
        EventPlan::Printf { format, .. } => ReportPlan { format: Some(format), ..report },
        _ => ReportPlan { format: Some(Format::default()), ..report },
    }
}

/// `@allocs[address] = { .size, .who }`
fn allocations(list: &[(u64, u64, &str)]) -> Script {
    let of = |size: u64, who: &str| record(&[("size", uint(64, size)), ("who", string(8, who))]);
    let elements: Vec<_> = list
        .iter()
        .map(|(address, size, who)| (address.to_ne_bytes().to_vec(), vec![of(*size, who).1]))
        .collect();
    Script::new().map("@allocs", Some(Type::U64), of(0, "").0, &elements)
}

fn size() -> ReportExpr {
    value(Type::U64, 0)
}

fn who() -> ReportExpr {
    value(Type::Str { cap: 8 }, 8)
}

fn by_who() -> ReportPlan {
    report(vec![
        column("who", Type::Str { cap: 8 }, ReportValue::Group(who())),
        column("bytes", Type::U64, ReportValue::Sum(size())),
        column("blocks", Type::U64, ReportValue::Count),
    ])
}

fn with(script: Script, report: ReportPlan) -> Script {
    script.event(&[], |_| EventPlan::Report(Box::new(report)))
}

const SOME: &[(u64, u64, &str)] = &[(1, 10, "a"), (2, 20, "b"), (3, 30, "a"), (4, 5, "c")];

#[test]
fn groups_are_summed_and_ordered() {
    let script = with(allocations(SOME), ReportPlan { order: Some((1, true)), ..by_who() });
    assert_eq!(
        script.text(),
        "who  bytes  blocks\na       40       2\nb       20       1\nc        5       1\n"
    );
    assert_eq!(
        script.json(),
        "{\"type\": \"report\", \"data\": {\"map\": \"@allocs\", \"rows\": [{\"who\": \"a\", \"bytes\": 40, \"blocks\": 2}, \
         {\"who\": \"b\", \"bytes\": 20, \"blocks\": 1}, {\"who\": \"c\", \"bytes\": 5, \"blocks\": 1}]}}\n"
    );
}

#[test]
fn without_an_order_rows_are_sorted_by_their_columns() {
    let script = with(allocations(&[(9, 2, "b"), (1, 1, "a"), (5, 3, "c")]), by_who());
    assert_eq!(
        script.text(),
        "who  bytes  blocks\na        1       1\nb        2       1\nc        3       1\n"
    );
}

#[test]
fn limits_cut_and_zero_is_no_limit() {
    let limited = |n| {
        let report = ReportPlan { order: Some((1, true)), limit: Some(constant(n)), ..by_who() };
        with(allocations(SOME), with_format(report, "%s:%d ")).text()
    };
    assert_eq!(limited(1), "a:40 ");
    assert_eq!(limited(2), "a:40 b:20 ");
    assert_eq!(limited(0), "a:40 b:20 c:5 ");
}

#[test]
fn filters_see_values_keys_and_what_the_probe_captured() {
    let filter = |captured: Arg| {
        let large = binary(BinaryOp::Ge, size(), expr(Type::U64, ReportExprKind::Captured(captured)));
        let not_third = binary(BinaryOp::Ne, key(Type::U64), constant(3));
        binary(BinaryOp::And, large, not_third)
    };
    let script = allocations(SOME).event(&[uint(64, 10)], |mut args| {
        let report = ReportPlan { filter: Some(filter(args.remove(0))), ..by_who() };
        EventPlan::Report(Box::new(with_format(report, "%s=%d\n")))
    });
    assert_eq!(script.text(), "a=10\nb=20\n");
}

#[test]
fn smallest_largest_and_average() {
    let plan = report(vec![
        column("min", Type::U64, ReportValue::Min(size())),
        column("max", Type::U64, ReportValue::Max(size())),
        column("avg", Type::U64, ReportValue::Avg(size())),
    ]);
    assert_eq!(with(allocations(SOME), plan.clone()).text(), "min  max  avg\n  5   30   16\n");
    assert_eq!(with(allocations(&[]), plan).text(), "min  max  avg\n");
}

#[test]
fn sums_are_exact_beyond_64_bits() {
    let script = with(allocations(&[(1, u64::MAX, "a"), (2, u64::MAX, "a")]), with_format(by_who(), "%s %s"));
    assert_eq!(script.text(), "a 36893488147419103230");
}

#[test]
fn aggregations_count_as_their_results() {
    let elements =
        [(words(&[1]), vec![words(&[2]), words(&[3])]), (words(&[2]), vec![words(&[1]), words(&[0])])];
    let plan = report(vec![
        column("k", Type::I64, ReportValue::Group(key(Type::I64))),
        column("n", Type::U64, ReportValue::Sum(value(Type::Agg(Agg::Count), 0))),
    ]);
    let script = Script::new().map("@x", Some(Type::I64), Type::Agg(Agg::Count), &elements);
    assert_eq!(with(script, with_format(plan, "%d:%d ")).text(), "1:5 2:1 ");
}

#[test]
fn other_maps_are_looked_up_and_missing_keys_are_zero() {
    let script = allocations(&[(1, 10, "a"), (2, 20, "b")]).map(
        "@names",
        Some(Type::U64),
        Type::U64,
        &[(words(&[1]), vec![words(&[77])])],
    );
    let looked_up = expr(Type::U64, ReportExprKind::Lookup { map: 1, key: Box::new(key(Type::U64)) });
    let plan = report(vec![
        column("address", Type::U64, ReportValue::Group(key(Type::U64))),
        column("name", Type::U64, ReportValue::Group(looked_up)),
    ]);
    assert_eq!(with(script, plan).text(), "address  name\n      1    77\n      2     0\n");
}

#[test]
fn arithmetic_is_that_of_ebpf() {
    let result = |op, a: ReportExpr, b: ReportExpr| {
        let column = column("x", Type::I64, ReportValue::Group(binary(op, a, b)));
        with(allocations(&SOME[..1]), with_format(report(vec![column]), "%d")).text()
    };
    assert_eq!(result(BinaryOp::Div, constant(7), constant(0)), "0");
    assert_eq!(result(BinaryOp::Mod, constant(7), constant(0)), "7");
    assert_eq!(result(BinaryOp::Div, constant(i64::MIN), constant(-1)), "-9223372036854775808");
    assert_eq!(result(BinaryOp::Add, constant(i64::MAX), constant(1)), "-9223372036854775808");
    assert_eq!(result(BinaryOp::Shl, constant(1), constant(65)), "2");
    assert_eq!(result(BinaryOp::Shr, constant(-8), constant(1)), "-4");
    assert_eq!(result(BinaryOp::Lt, constant(-1), constant(1)), "1");
    assert_eq!(result(BinaryOp::Lt, constant(-1), size()), "0");
}

#[test]
fn stacks_stand_below_their_row_and_are_lists_in_json() {
    let ty = Type::Stack(StackType { user: false, limit: 3, mode: StackMode::Raw });
    let mut stack = 9u64.to_ne_bytes().to_vec();
    stack.extend_from_slice(&[0, 0, 0, 0, 2, 0, 0, 0]);
    let script = |format: Option<&str>| {
        let plan = report(vec![
            column("bytes", Type::I64, ReportValue::Sum(value(Type::I64, 0))),
            column("stack", ty.clone(), ReportValue::Group(key(ty.clone()))),
        ]);
        let plan = format.map_or(plan.clone(), |text| with_format(plan, text));
        let script = Script::new().stack(9, &[0x10, 0xabc]).map(
            "@x",
            Some(ty.clone()),
            Type::I64,
            &[(stack.clone(), vec![words(&[5])])],
        );
        with(script, plan)
    };
    assert_eq!(script(None).text(), "bytes\n    5\n10\nabc\n");
    assert_eq!(script(Some("%d bytes from stack%s")).text(), "5 bytes from stack\n10\nabc\n");
    assert_eq!(
        script(None).json(),
        "{\"type\": \"report\", \"data\": {\"map\": \"@x\", \"rows\": [{\"bytes\": 5, \"stack\": \
         [{\"address\": \"0x10\", \"unresolved\": \"no symbol is there\"}, \
         {\"address\": \"0xabc\", \"unresolved\": \"no symbol is there\"}]}]}}\n"
    );
}

#[test]
fn plans_that_disagree_with_the_map_are_internal_errors() {
    let broken = [
        report(vec![column("x", Type::U64, ReportValue::Sum(value(Type::U64, 1000)))]),
        ReportPlan { order: Some((7, true)), ..by_who() },
        with_format(report(vec![]), "%d"),
        ReportPlan { map: 3, ..by_who() },
        ReportPlan { limit: Some(size()), ..by_who() },
    ];
    for plan in broken {
        let script = with(allocations(SOME), plan);
        let told = script.answer(&script.events[0]).map(drop).map_err(|e| e.to_string());
        assert!(told.as_ref().is_err_and(|text| text.starts_with("internal error: ")), "{told:?}");
    }
}

#[test]
fn a_million_elements_in_a_hundred_thousand_groups_take_seconds() {
    let elements: Vec<_> = (0..1_000_000i64).map(|i| (words(&[i]), vec![words(&[i % 100_000, 1])])).collect();
    let pair = record(&[("group", int(64, 0)), ("size", int(64, 0))]).0;
    let plan = report(vec![
        column("group", Type::I64, ReportValue::Group(value(Type::I64, 0))),
        column("size", Type::I64, ReportValue::Sum(value(Type::I64, 8))),
    ]);
    let plan = ReportPlan { order: Some((1, true)), limit: Some(constant(2)), ..with_format(plan, "%d:%d ") };
    let script = with(Script::new().map("@x", Some(Type::I64), pair, &elements), plan);
    let start = std::time::Instant::now();
    assert_eq!(script.text(), "0:10 1:10 ");
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
