//! `printf`.

use memql_compiler::plan::{Arg, Conversion, EventPlan, Format, FormatPiece, Verb};
use memql_compiler::types::Type;

use super::{Script, buffer, int, string, tuple, uint};

/// Parses a C-like format: enough for these tests. Without a length modifier, numbers have 64 bits.
fn format(text: &str) -> Format {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        pieces.push(FormatPiece::Text(before.as_bytes().to_vec()));
        let flags = after.len() - after.trim_start_matches(['-', '0', '+', ' ', '#']).len();
        let (flags, after) = after.split_at(flags);
        let number = |s: &'_ str| s.len() - s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (width, mut after) = after.split_at(number(after));
        let mut precision = "";
        if let Some(digits) = after.strip_prefix('.') {
            (precision, after) = digits.split_at(number(digits));
        }
        let (bits, after) = [("hh", 8), ("h", 16), ("ll", 64), ("l", 64)]
            .iter()
            .find_map(|(name, bits)| after.strip_prefix(name).map(|after| (*bits, after)))
            .unwrap_or((64, after));
        let verbs = [
            ("d", Verb::Signed),
            ("u", Verb::Unsigned),
            ("x", Verb::Hex),
            ("X", Verb::HexUpper),
            ("o", Verb::Octal),
            ("p", Verb::Pointer),
            ("c", Verb::Char),
            ("s", Verb::Text),
            ("rh", Verb::SpacedHex),
            ("rx", Verb::EscapedHex),
            ("gr", Verb::GfpFlags),
        ];
        let (verb, after) = verbs
            .iter()
            .find_map(|(name, verb)| after.strip_prefix(name).map(|after| (*verb, after)))
            .expect("a known conversion");
        pieces.push(FormatPiece::Conversion(Conversion {
            left: flags.contains('-'),
            zero: flags.contains('0'),
            plus: flags.contains('+'),
            space: flags.contains(' '),
            alternate: flags.contains('#') || verb == Verb::EscapedHex,
            width: width.parse().ok(),
            precision: precision.parse().ok(),
            bits,
            verb,
        }));
        rest = after;
    }
    pieces.push(FormatPiece::Text(rest.as_bytes().to_vec()));
    Format { pieces }
}

pub(super) fn printf(text: &str) -> impl FnOnce(Vec<Arg>) -> EventPlan {
    let format = format(text);
    |args| EventPlan::Printf { format, args }
}

/// What `printf(text, values...)` prints.
fn printed(text: &str, values: &[(Type, Vec<u8>)]) -> String {
    Script::new().event(values, printf(text)).text()
}

/// The same of one integer under many conversions, with bars between.
fn number(conversions: &str, value: i64) -> String {
    let count = conversions.matches('%').count();
    printed(conversions, &vec![int(64, value); count])
}

#[test]
fn numbers_are_padded_and_signed_as_in_c() {
    assert_eq!(number("%5d|%-5d|%05d|%+d|%d", 42), "   42|42   |00042|+42|42");
    assert_eq!(number("%-5d|%5d|%d|%u", -42), "-42  |  -42|-42|18446744073709551574");
}

#[test]
fn signs_and_bases_come_before_zeros_unlike_in_bpftrace() {
    // bpftrace 0.27 pads `00-42`, `00+42` and `00000xff`, and leaves the blank of `% d` out.
    assert_eq!(number("%05d|%-05d", -42), "-0042|-42  ");
    assert_eq!(number("%+05d|% d", 42), "+0042| 42");
    assert_eq!(number("%#08x", 255), "0x0000ff");
}

#[test]
fn precision_is_digits_of_numbers_and_bytes_of_text_unlike_in_bpftrace() {
    // bpftrace 0.27 ignores both.
    assert_eq!(number("%5.3d|%.0d|%.3d", 7), "  007|7|007");
    assert_eq!(number("[%.0d|%2.0d|%d]", 0), "[|  |0]");
    assert_eq!(
        printed("%.2s|%6.2s|%-6.2s|", &[string(8, "abcdef"), string(8, "abcdef"), string(8, "abcdef")]),
        "ab|    ab|ab    |"
    );
}

#[test]
fn bases() {
    assert_eq!(number("%x|%X|%o|%#x|%#X|%#o", 255), "ff|FF|377|0xff|0XFF|0377");
    assert_eq!(number("%#x|%#o|%x", 0), "0|0|0");
    assert_eq!(number("%p|%8p|%-8p|", 4096), "0x1000|  0x1000|0x1000  |");
    assert_eq!(number("%p", 0), "0");
}

#[test]
fn length_modifiers_cut_numbers() {
    assert_eq!(number("%hhd|%hd|%hhx|%lx", 300), "44|300|2c|12c");
    assert_eq!(number("%hd", 70000), "4464");
    assert_eq!(number("%hhx|%hx|%lx", -1), "ff|ffff|ffffffffffffffff");
    assert_eq!(number("%hhu", 255), "255");
    assert_eq!(number("%hhd", 255), "-1");
}

#[test]
fn characters_are_bytes() {
    let text = printed("%c|%5c|%-3c|", &[int(64, 65), int(64, 65), int(64, 65)]);
    assert_eq!(text, "A|    A|A  |");
    assert_eq!(number("%c", 300), ",");
}

#[test]
fn text_prints_anything() {
    let values = [tuple(&[int(64, 1), string(4, "a")]), (Type::Bool, vec![1]), int(64, -5), uint(8, 255)];
    assert_eq!(printed("%s %s %s %s", &values), "(1, a) true -5 255");
    assert_eq!(
        printed("%5s|%-5s|%05s|", &[string(4, "ab"), string(4, "ab"), string(4, "ab")]),
        "   ab|ab   |000ab|"
    );
}

#[test]
fn booleans_and_enumerations_are_numbers_too() {
    let color = Type::Enum { name: "color".into(), id: 7, bits: 32, signed: false };
    let green = || (color.clone(), 5u32.to_ne_bytes().to_vec());
    assert_eq!(
        printed("%d %x %s %d", &[(Type::Bool, vec![1]), (Type::Bool, vec![1]), green(), green()]),
        "1 1 GREEN 5"
    );
}

#[test]
fn buffers_in_three_ways() {
    let b = || buffer(8, b"a\x01b");
    assert_eq!(
        printed("%s|%rx|%rh|%12rx|%-9rh|", &[b(), b(), b(), b(), b()]),
        "a\\x01b|\\x61\\x01\\x62|61 01 62|\\x61\\x01\\x62|61 01 62 |"
    );
}

#[test]
fn allocation_flags_have_names() {
    assert_eq!(number("%gr|%-12gr|", 0xcc0), "GFP_KERNEL|GFP_KERNEL  |");
}

#[test]
fn the_scripts_own_escapes_reach_a_terminal_and_data_does_not() {
    let script =
        Script::new().on_terminal().event(&[string(16, "\u{1b}]0;x\u{7}")], printf("\u{1b}[1m%s\u{1b}[0m\n"));
    assert_eq!(script.text(), "\u{1b}[1m\\x1b]0;x\\x07\u{1b}[0m\n");
}

#[test]
fn an_absurd_width_does_not_take_absurd_memory() {
    assert_eq!(number("%4000000000d", 1).len(), 1 << 16);
}

#[test]
fn json_holds_the_text() {
    let script = Script::new().event(&[int(64, 7)], printf("%d\n"));
    assert_eq!(script.json(), "{\"type\": \"printf\", \"data\": \"7\\n\"}\n");
}
