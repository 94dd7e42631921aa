//! Executing a format: `printf`, and the paths and commands of `cat` and `system`.
//!
//! Numbers are formatted as C's `printf` does, after being cut to the width that the length modifier
//! asks for. Widths and precisions count bytes. Values that a number's conversion cannot take (the
//! compiler lets none through) are printed as text.

use memql_compiler::plan::{Conversion, Format, FormatPiece, Verb};

use super::text::push_value;
use super::{OutputError, Value, escape, gfp};

/// Widths and precisions of numbers above this count as this.
const MOST_COLUMNS: u32 = 1 << 16;

/// Appends the formatted text; `terminal` says that control characters in the values' text are to be
/// escaped (those of the format itself are the script's own and stay).
///
/// # Errors
/// If there are fewer values than conversions.
pub(super) fn push_formatted(
    out: &mut Vec<u8>,
    format: &Format,
    values: &[Value],
    terminal: bool,
) -> Result<(), OutputError> {
    let mut values = values.iter();
    for piece in &format.pieces {
        match piece {
            FormatPiece::Text(text) => out.extend_from_slice(text),
            FormatPiece::Conversion(conversion) => {
                let value = values
                    .next()
                    .ok_or_else(|| OutputError::Internal("more conversions than values".into()))?;
                push_converted(out, conversion, value, terminal);
            }
        }
    }
    Ok(())
}

/// Appends one value by its conversion.
fn push_converted(out: &mut Vec<u8>, conversion: &Conversion, value: &Value, terminal: bool) {
    let number = value.number();
    match (conversion.verb, number) {
        (Verb::Signed, Some(n)) => push_signed(out, conversion, n),
        (Verb::Unsigned, Some(n)) => {
            push_unsigned(out, conversion, "", unsigned(n, conversion.bits).to_string())
        }
        (Verb::Hex, Some(n)) => {
            let n = unsigned(n, conversion.bits);
            push_unsigned(out, conversion, if n != 0 { "0x" } else { "" }, format!("{n:x}"));
        }
        (Verb::HexUpper, Some(n)) => {
            let n = unsigned(n, conversion.bits);
            push_unsigned(out, conversion, if n != 0 { "0X" } else { "" }, format!("{n:X}"));
        }
        (Verb::Octal, Some(n)) => {
            let n = unsigned(n, conversion.bits);
            push_unsigned(out, conversion, if n != 0 { "0" } else { "" }, format!("{n:o}"));
        }
        (Verb::Pointer, Some(n)) => {
            let n = unsigned(n, 64);
            let text = if n == 0 { "0".into() } else { format!("{n:#x}") };
            push_padded(out, conversion, text.as_bytes(), b' ');
        }
        (Verb::Char, Some(n)) => push_padded(out, conversion, &[n as u8], b' '),
        (Verb::GfpFlags, Some(n)) => {
            push_padded(out, conversion, gfp::names(unsigned(n, 64)).as_bytes(), b' ')
        }
        (Verb::EscapedHex, _) => {
            let push = if conversion.alternate { escape::push_escaped } else { escape::push_printable };
            push_bytes(out, conversion, value, terminal, push)
        }
        (Verb::SpacedHex, _) => push_bytes(out, conversion, value, terminal, escape::push_spaced),
        (Verb::Text, _)
        | (
            Verb::Signed
            | Verb::Unsigned
            | Verb::Hex
            | Verb::HexUpper
            | Verb::Octal
            | Verb::Pointer
            | Verb::Char
            | Verb::GfpFlags,
            None,
        ) => push_text(out, conversion, value, terminal),
    }
}

/// Text is cut to the precision, then padded. `0` pads with zeros on the left, as in bpftrace.
fn push_text(out: &mut Vec<u8>, conversion: &Conversion, value: &Value, terminal: bool) {
    if conversion.width.is_none() && conversion.precision.is_none() {
        return push_value(out, value, terminal);
    }
    let mut text = Vec::new();
    push_value(&mut text, value, terminal);
    if let Some(precision) = conversion.precision {
        text.truncate(precision as usize);
    }
    push_padded(out, conversion, &text, if conversion.zero { b'0' } else { b' ' });
}

fn push_bytes(
    out: &mut Vec<u8>,
    conversion: &Conversion,
    value: &Value,
    terminal: bool,
    push: fn(&mut Vec<u8>, &[u8]),
) {
    match value {
        Value::Buf(bytes) => {
            let mut text = Vec::with_capacity(bytes.len() * 4);
            push(&mut text, bytes);
            push_padded(out, conversion, &text, b' ');
        }
        _ => push_text(out, conversion, value, terminal),
    }
}

fn push_signed(out: &mut Vec<u8>, conversion: &Conversion, n: i128) {
    let n = signed(n, conversion.bits);
    let sign = match n {
        ..0 => "-",
        _ if conversion.plus => "+",
        _ if conversion.space => " ",
        _ => "",
    };
    push_digits(out, conversion, sign, n.unsigned_abs().to_string());
}

fn push_unsigned(out: &mut Vec<u8>, conversion: &Conversion, base: &str, digits: String) {
    push_digits(out, conversion, if conversion.alternate { base } else { "" }, digits);
}

/// Sign or base, then at least as many digits as the precision says, all padded to the width.
fn push_digits(out: &mut Vec<u8>, conversion: &Conversion, prefix: &str, digits: String) {
    let width = columns(conversion.width);
    let mut least = columns(conversion.precision);
    // A zero flag means zeros up to the width, unless a precision or `-` says otherwise.
    if conversion.zero && !conversion.left && conversion.precision.is_none() {
        least = width.saturating_sub(prefix.len());
    }
    // As in C, zero with no digits asked for has none.
    let digits = if conversion.precision == Some(0) && digits == "0" { String::new() } else { digits };
    let zeros = least.saturating_sub(digits.len());
    let mut text = Vec::with_capacity(prefix.len() + zeros + digits.len());
    text.extend_from_slice(prefix.as_bytes());
    text.resize(text.len() + zeros, b'0');
    text.extend_from_slice(digits.as_bytes());
    push_padded(out, conversion, &text, b' ');
}

fn push_padded(out: &mut Vec<u8>, conversion: &Conversion, text: &[u8], fill: u8) {
    let padding = columns(conversion.width).saturating_sub(text.len());
    if !conversion.left {
        out.resize(out.len() + padding, fill);
    }
    out.extend_from_slice(text);
    if conversion.left {
        out.resize(out.len() + padding, b' ');
    }
}

/// A width or precision, which a script may have made absurd.
fn columns(asked: Option<u32>) -> usize {
    asked.map_or(0, |columns| columns.min(MOST_COLUMNS) as usize)
}

/// The number's low bits as a signed one.
fn signed(n: i128, bits: u8) -> i64 {
    let shift = 64 - width_of(bits);
    ((n as u64) << shift) as i64 >> shift
}

/// The number's low bits as an unsigned one.
fn unsigned(n: i128, bits: u8) -> u64 {
    let shift = 64 - width_of(bits);
    ((n as u64) << shift) >> shift
}

/// A conversion's width in bits: all 64 where it asks for none.
fn width_of(bits: u8) -> u32 {
    if bits == 0 { 64 } else { u32::from(bits.min(64)) }
}
