//! No input makes the parser panic, overflow its stack or take long.
//!
//! What nests is tried with the 8 MiB of stack that a main thread has, in unoptimised code.

use std::fmt::Write;
use std::time::{Duration, Instant};

use memql_grammar::{MAX_NESTING, MAX_SOURCE_BYTES, MAX_TREE_DEPTH, SyntaxError, ast::Script, parse, print};

/// Parses, with all that a caller may do with the result, within a time that only something other
/// than linear work could take.
fn check(source: &str) -> Result<Script, Vec<SyntaxError>> {
    let start = Instant::now();
    let result = parse(source);
    let took = start.elapsed();
    let allowed =
        Duration::from_millis(500) + Duration::from_micros(50) * u32::try_from(source.len()).unwrap();
    assert!(took < allowed, "{took:?} for {} bytes: {source:.200}", source.len());
    match &result {
        Ok(script) => assert_eq!(print(script).is_empty(), script.items.is_empty()),
        Err(errors) => {
            assert!(!errors.is_empty());
            for SyntaxError { span, message, .. } in errors {
                assert!(source.get(span.range()).is_some(), "{message}: {span:?} of {source}");
            }
        }
    }
    result
}

/// Runs a test on the stack of a main thread.
fn on_main_stack(test: fn()) {
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(test).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn message(source: &str) -> String {
    check(source).expect_err("the source is wrong")[0].message.clone()
}

fn nested(open: &str, inner: &str, close: &str, levels: usize) -> String {
    format!("begin {{ $x = {}{inner}{}; }}", open.repeat(levels), close.repeat(levels))
}

#[test]
fn nested_brackets_take_linear_time() {
    on_main_stack(|| {
        for (open, close) in [
            ("(", ")"),
            ("{", "}"),
            ("f(", ")"),
            ("@x[", "]"),
            ("(1, ", ")"),
            ("(a = ", ")"),
            ("-(", ")"),
            ("(int32)(", ")"),
            ("$y[", "]"),
            ("sizeof(", ")"),
            ("1 ? (", ") : 2"),
            ("{ if (1) { 2 } ", "}"),
            ("if (1) { 2 } else { ", "}"),
            ("typeof(", ")"),
            ("{ if (1) { ", " } else { 3 } }"),
        ] {
            let source = nested(open, "1", close, 95);
            check(&source).unwrap_or_else(|errors| panic!("{open}: {errors:?}"));
            // The same with something wrong in the middle, where a backtracking parser tries everything.
            assert!(check(&nested(open, "1 1", close, 95)).is_err());
        }
        check(&nested("(", "1", ")", 150)).unwrap();
    });
}

#[test]
fn the_deepest_nesting_that_is_allowed_parses_and_one_more_is_an_error() {
    on_main_stack(|| {
        for (open, close) in [("(", ")"), ("{ ", " }"), ("f(", ")"), ("@x[", "]")] {
            check(&nested(open, "1", close, MAX_NESTING - 1)).unwrap();
            assert_eq!(
                message(&nested(open, "1", close, MAX_NESTING)),
                "nested too deeply: more than 200 levels"
            );
        }
    });
}

#[test]
fn blocks_nest_as_deep_as_brackets() {
    on_main_stack(|| {
        for head in ["if (1)", "while 1", "for ($i : 0..2)", "for $kv : @m", "unroll (2)", ""] {
            let open = format!("{head} {{").repeat(MAX_NESTING - 2);
            check(&format!("begin {{ {open} {} }}", "}".repeat(MAX_NESTING - 2))).unwrap();
        }
    });
}

#[test]
fn what_nests_without_brackets_is_limited() {
    on_main_stack(|| {
        let deep = "nested too deeply: more than 200 levels";
        let tree = "nested too deeply: more than 500 operators and blocks within each other";
        let n = 5_000;
        assert_eq!(message(&format!("begin {{ $x = {}1; }}", "1 ? ".repeat(n))), deep);
        for prefix in ["!", "- ", "~", "*", "(int32)", "++", "& "] {
            assert_eq!(message(&format!("begin {{ $x = {}$y; }}", prefix.repeat(n))), tree, "{prefix}");
        }
        for postfix in [".a", "->b", "[1]", " + 1", " || 1"] {
            assert_eq!(message(&format!("begin {{ $x = $y{}; }}", postfix.repeat(n))), tree, "{postfix}");
        }
        assert_eq!(message(&format!("begin {{ $x = {}1; }}", "1 ? 2 : ".repeat(n))), tree);
        assert_eq!(message(&format!("begin {{ if (1) {{ }}{} }}", " else if (1) { }".repeat(n))), tree);
        let choice = " else if (1) { 1 }".repeat(n);
        assert_eq!(message(&format!("begin {{ $x = if (1) {{ 1 }}{choice} else {{ 2 }}; }}")), tree);
        assert_eq!(message(&format!("begin {{ $x = {}$y; }}", "comptime ".repeat(n))), tree);
        assert_eq!(message(&format!("begin {{ $x = 1{}; }}", " ?: 1".repeat(n))), tree);
    });
}

#[test]
fn c_definitions_nest_as_deep_as_brackets() {
    on_main_stack(|| {
        let n = MAX_NESTING - 2;
        for (open, inner, close) in
            [("struct { ", "int x;", " } x;"), ("int (*", "x", ")(int);"), ("enum { A = (", "1", ") } x;")]
        {
            let nested = format!("struct s {{ {}{inner}{} }};", open.repeat(n / 2), close.repeat(n / 2));
            let _ = check(&nested);
        }
        check(&format!("struct s {{ {}int x;{} }};", "struct { ".repeat(n), " } x;".repeat(n))).unwrap();
        check(&format!("struct s {{ int {}x{}; }};", "*".repeat(1_000), "[1]".repeat(1_000))).unwrap();
        check(&format!("{}#define A 1\n{}", "#if 1\n".repeat(5_000), "#endif\n".repeat(5_000))).unwrap();
        check(&"#define A A\n".repeat(5_000)).unwrap();
    });
}

#[test]
fn brackets_cannot_hide_in_what_looks_like_a_path_or_a_string() {
    on_main_stack(|| {
        let (open, close) = ("(".repeat(5_000), ")".repeat(5_000));
        for source in [
            format!("kprobe:f /a ? b :/**/{open}1{close}/ {{ }}"),
            format!("option x:/*\"*/int = {open}1{close}, \"-x\", \"x\";"),
            format!("option u:x/*\"*/ = {open}1{close}, \"-x\", \"x\";"),
            format!("kprobe:u:lib/*\" */ /{open}1{close}/ {{ \"\" }}"),
            format!("usdt:x /a/ {{ }} option ur:./y{open}1{close} {{ }}"),
        ] {
            check(&source).unwrap_err();
        }
    });
}

#[test]
fn long_chains_below_the_limit_parse() {
    on_main_stack(|| {
        check(&format!("begin {{ $x = 0{}; }}", " || comm == \"a\"".repeat(MAX_TREE_DEPTH - 5))).unwrap();
        check(&format!("begin {{ if (1) {{ }}{} }}", " else if (1) { }".repeat(MAX_TREE_DEPTH - 10)))
            .unwrap();
        check(&format!("begin {{ {}1; }}", "1 ? 2 : ".repeat(MAX_TREE_DEPTH - 10))).unwrap();
    });
}

#[test]
fn wide_scripts_parse() {
    check(&"begin { @x = count(); }\n".repeat(1_000)).unwrap();
    check(&format!("begin {{ {} }}", "$x = 1; if (1) { a } ".repeat(1_000))).unwrap();
    check(&format!("begin {{ f({}1); }}", "1, ".repeat(4_000))).unwrap();
    check(&format!("{}begin {{ }}", "kprobe:f, ".repeat(4_000))).unwrap();
    check(&format!("begin {{ }}{}", "/* x */".repeat(4_000))).unwrap();
}

#[test]
fn many_errors_take_linear_time() {
    assert_eq!(check(&"begin { $x = ; }\n".repeat(1_000)).unwrap_err().len(), 20);
    check(&"}".repeat(4_000)).unwrap_err();
    check(&"begin { ".repeat(150)).unwrap_err();
    check(&"{}+".repeat(4_000)).unwrap_err();
}

#[test]
fn a_source_that_is_too_large_is_an_error() {
    let error = &parse(&" ".repeat(MAX_SOURCE_BYTES + 1)).unwrap_err()[0];
    assert_eq!(error.message, "the script is 4194305 bytes long, more than 4 MiB");
}

#[test]
fn any_rearrangement_of_tokens_is_parsed_or_explained() {
    const TOKENS: &[&str] = &[
        "begin",
        "kprobe:f",
        "uprobe:/bin/sh:main",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ";",
        ",",
        ":",
        "?",
        "/",
        "||",
        "&&",
        "|",
        "=",
        "==",
        "+=",
        "<<=",
        "++",
        "--",
        "-",
        "->",
        ".",
        "..",
        "*",
        "&",
        "!",
        "~",
        "<",
        ">>",
        "$x",
        "@m",
        "@",
        "$1",
        "$#",
        "$",
        "x",
        "if",
        "else",
        "for",
        "while",
        "unroll",
        "let",
        "return",
        "break",
        "sizeof",
        "offsetof",
        "struct",
        "uint64",
        "pid",
        "1",
        "0x1",
        "1e",
        "08",
        "10ms",
        "\"s\"",
        "\"\\q\"",
        "\"",
        "'",
        "//",
        "/*",
        "*/",
        "\n",
        "#",
        "#!",
        "report",
        "as",
        "where",
        "select",
        "order",
        "by",
        "limit",
        "print",
        "option",
        "config",
        "true",
        "_",
        "ä",
        "\u{a0}",
        "\0",
        "\\",
        "#ifndef BPFTRACE_HAVE_BTF",
        "#endif",
        "int8[",
        "begin {",
        "} end {",
        "$x = ",
        "@m[",
        "f(",
        "(a = ",
        "{ $y; $z }",
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut valid, rounds) = (0, 2_000);
    for _ in 0..rounds {
        let mut source = String::from(["", "begin { ", "kprobe:f /", "begin { $x = "][random.below(4)]);
        for _ in 0..random.below(24) {
            write!(source, "{}{}", TOKENS[random.below(TOKENS.len())], ["", " "][random.below(2)]).unwrap();
        }
        source.push_str(["", " }", "; }", " / { }"][random.below(4)]);
        valid += usize::from(check(&source).is_ok());
    }
    assert!(valid > rounds / 200, "only {valid} of {rounds} were valid: the generator tests little");
}

#[test]
fn any_damage_to_a_script_is_parsed_or_explained() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut random = Random(42);
    let mut valid = 0;
    let mut rounds = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "mq") {
            continue;
        }
        let script: Vec<char> = std::fs::read_to_string(path).unwrap().chars().collect();
        for _ in 0..25 {
            let mut damaged = script.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(damaged.len().max(1));
                match random.below(3) {
                    0 => damaged.truncate(at),
                    1 if at < damaged.len() => drop(damaged.remove(at)),
                    _ => damaged.insert(
                        at.min(damaged.len()),
                        ['{', '}', '(', ')', '"', '/', '?', ':', ';', '$', 'é'][random.below(11)],
                    ),
                }
            }
            rounds += 1;
            valid += usize::from(check(&damaged.iter().collect::<String>()).is_ok());
        }
    }
    assert!(valid > rounds / 100, "only {valid} of {rounds} were valid: the generator tests little");
}

/// xorshift64*, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % limit
    }
}
