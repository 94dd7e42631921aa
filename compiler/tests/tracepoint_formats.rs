//! What a kernel says of its tracepoints is input, too: whatever numbers stand in a format, compiling gives an object
//! or diagnostics, soon and without a panic.

#[path = "check_support/mod.rs"]
mod support;

use memql_compiler::check::RunConfig;
use memql_compiler::compile::compile;
use memql_compiler::diagnostic::Diagnostic;
use memql_compiler::sources::Sources;
use memql_compiler::target::{FieldForm, Frozen, TracepointField, TracepointFormat};

/// Each alone, since what is refused hides what follows.
const SCRIPTS: [&str; 12] = [
    r#"tracepoint:odd:odd { print(args.x); @[args.x] = count(); printf("%d", args.x); }"#,
    "tracepoint:odd:odd { print(args); }",
    "tracepoint:odd:odd { @m = args.x; print(@m); print(sizeof(args.x)); }",
    "tracepoint:odd:odd { print(args.x[1]); }",
    "tracepoint:odd:odd { print(args.x[pid]); }",
    "tracepoint:odd:odd { print(str(args.x)); }",
    "tracepoint:odd:odd { print(buf(args.x)); }",
    "tracepoint:odd:odd { print(buf(args.x, 8)); }",
    r#"tracepoint:odd:odd { if (args.x == args.y) { print(args.y); } }"#,
    r#"tracepoint:odd:odd / args.x == "text" / { exit(); }"#,
    "tracepoint:odd:odd { $args = args; print(pid > 1 ? args.x : args.y); }",
    "tracepoint:odd:odd { $x = (uint64)args.x; print($x + 1); }",
];

const NUMBERS: [u32; 13] =
    [0, 1, 3, 8, 255, 4_096, 8_191, 65_535, 65_536, 0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX];

const TYPES: [&str; 8] =
    ["int", "char", "", "const char *", "struct task_struct", "__data_loc char[]", "no such type", "gfp_t"];

/// How many forms a field is given.
const FORMS: usize = 10;

/// Every pair of an offset and a size, in every form.
fn formats() -> Vec<TracepointFormat> {
    let mut formats = Vec::new();
    for (n, offset) in NUMBERS.into_iter().enumerate() {
        for (m, size) in NUMBERS.into_iter().enumerate() {
            let len = NUMBERS[(n + m) % NUMBERS.len()];
            let of_element = |is_char| {
                [
                    FieldForm::Array { len, is_char },
                    FieldForm::Array { len: size, is_char },
                    FieldForm::DataLoc { is_char },
                    FieldForm::RelLoc { is_char },
                ]
            };
            let elements = of_element(false).into_iter().chain(of_element(true));
            let forms: Vec<FieldForm> =
                [FieldForm::Int, FieldForm::Pointer].into_iter().chain(elements).collect();
            assert_eq!(forms.len(), FORMS);
            for form in forms {
                let ctype = TYPES[(n * 3 + m) % TYPES.len()].to_owned();
                let x = TracepointField { name: "x".into(), ctype, offset, size, signed: n % 2 == 0, form };
                let y = TracepointField { name: "y".into(), ..x.clone() };
                formats.push(TracepointFormat { fields: vec![x, y] });
            }
        }
    }
    formats
}

/// Whether there is an object, or what is said instead.
fn compiled(script: &str, kernel: &Frozen) -> Result<(), Vec<Diagnostic>> {
    let tree = memql_grammar::parse(script).expect("the script is right");
    compile(&Sources::new("odd.mq", script), &tree, kernel, &RunConfig::default()).map(|_| ())
}

fn event() -> (String, String) {
    ("odd".to_owned(), "odd".to_owned())
}

#[test]
fn formats_with_odd_numbers_give_an_object_or_diagnostics() {
    let mut kernel = support::kernel();
    let (mut objects, mut refused) = (0, 0);
    for (n, format) in formats().into_iter().enumerate() {
        kernel.tracepoints.insert(event(), format.clone());
        // In turn, one further with each pair of numbers, so that each form meets each script.
        let script = SCRIPTS[(n + n / FORMS) % SCRIPTS.len()];
        match compiled(script, &kernel) {
            Ok(()) => objects += 1,
            Err(findings) => {
                assert!(!findings.is_empty(), "refused without a word: {script} {format:?}");
                let own = findings.iter().find(|f| f.code == "E0899");
                assert!(own.is_none(), "{script} {format:?}: {own:?}");
                refused += 1;
            }
        }
    }
    println!("{objects} objects, {refused} refused");
    assert!(objects > 50 && refused > 50, "{objects} objects, {refused} refused");
}

#[test]
fn a_field_behind_the_end_of_every_record_is_an_error() {
    let mut kernel = support::kernel();
    let mut findings = |offset, size| {
        let form = FieldForm::Array { len: size, is_char: true };
        let field =
            TracepointField { name: "x".into(), ctype: "char".into(), offset, size, signed: false, form };
        kernel.tracepoints.insert(event(), TracepointFormat { fields: vec![field] });
        let found = compiled("tracepoint:odd:odd { print(args.x); }", &kernel).err().unwrap_or_default();
        found.into_iter().map(|f| (f.code, f.title)).collect::<Vec<_>>()
    };
    assert_eq!(findings(8_000, 192), []);
    let title = "`x` ends at byte 8193 of what the kernel passes, 8192 are the most";
    assert_eq!(findings(8_000, 193), [("E0209", title.to_owned())]);
}
