//! Numbers and strings.

use pest::iterators::Pair;

use super::Builder;
use crate::ast::StrLit;
use crate::error::SyntaxError;
use crate::outline::span;
use crate::parser::Rule;

impl Builder {
    /// The value of a `number`.
    pub(super) fn integer(&self, pair: &Pair<'_, Rule>) -> u64 {
        match integer(pair.as_str()) {
            Ok(value) => value,
            Err(wrong) => {
                let error = SyntaxError::new(self.span_of(pair), wrong.message(pair.as_str()));
                self.error(match wrong.help() {
                    Some(help) => error.with_help(help),
                    None => error,
                });
                0
            }
        }
    }

    /// The number of a positional parameter, `$1`.
    pub(super) fn positional(&self, pair: &Pair<'_, Rule>) -> u32 {
        let digits = &pair.as_str()[1..];
        match digits.parse() {
            Ok(0) => self.error(SyntaxError::new(
                self.span_of(pair),
                "there is no parameter `$0`; the first one is `$1`",
            )),
            Ok(number) => return number,
            Err(_) => {
                self.error(SyntaxError::new(self.span_of(pair), format!("there is no parameter `${digits}`")))
            }
        }
        1
    }

    /// The bytes of a `string`, escapes resolved.
    pub(super) fn string(&self, pair: &Pair<'_, Rule>) -> StrLit {
        let literal = self.span_of(pair);
        let quoted = pair.as_str();
        let text = &quoted[1..quoted.len() - 1];
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            bytes.extend_from_slice(&rest.as_bytes()[..at]);
            rest = &rest[at..];
            match escape(rest) {
                Ok((byte, length)) => {
                    bytes.push(byte);
                    rest = &rest[length..];
                }
                Err((length, message)) => {
                    let start = literal.start as usize + 1 + (text.len() - rest.len());
                    self.error(
                        SyntaxError::new(span(start, start + length), message)
                            .with_help(r#"escapes are \n \t \r \\ \" \0 \033 (octal) \x1b (hexadecimal)"#),
                    );
                    rest = &rest[length..];
                }
            }
        }
        bytes.extend_from_slice(rest.as_bytes());
        StrLit { bytes, span: literal }
    }
}

/// The byte of the escape that a text begins with, and the escape's length. An error has a length, too.
fn escape(text: &str) -> Result<(u8, usize), (usize, String)> {
    let letter = text[1..].chars().next().unwrap_or_default();
    let simple = |byte| Ok((byte, 2));
    match letter {
        'n' => simple(b'\n'),
        't' => simple(b'\t'),
        'r' => simple(b'\r'),
        '\\' => simple(b'\\'),
        '"' => simple(b'"'),
        '0'..='7' => {
            let digits = digits(&text[1..], 8, 3);
            byte(digits, 8)
                .map(|byte| (byte, 1 + digits.len()))
                .ok_or_else(|| (1 + digits.len(), format!("`\\{digits}` is more than a byte can hold")))
        }
        'x' => {
            let digits = digits(&text[2..], 16, 2);
            byte(digits, 16)
                .map(|byte| (byte, 2 + digits.len()))
                .ok_or((2, "`\\x` needs one or two hexadecimal digits".to_owned()))
        }
        _ if letter.is_control() => {
            Err((1 + letter.len_utf8(), "a `\\` stands before no character".to_owned()))
        }
        _ => Err((1 + letter.len_utf8(), format!("there is no escape `\\{letter}`"))),
    }
}

/// Up to `most` digits at the start of a text.
fn digits(text: &str, radix: u32, most: usize) -> &str {
    let length = text.chars().take(most).take_while(|c| c.is_digit(radix)).count();
    &text[..length]
}

fn byte(digits: &str, radix: u32) -> Option<u8> {
    u8::from_str_radix(digits, radix).ok()
}

/// Why a text that begins with a digit is not a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotANumber {
    /// More than 64 bits.
    TooLarge,
    /// A leading zero, and a digit above 7.
    NotOctal,
    /// An `e` without digits: a negative exponent, or a C float.
    NoExponent,
    /// Something else sticks to the digits.
    Malformed,
}

impl NotANumber {
    fn message(self, text: &str) -> String {
        match self {
            NotANumber::TooLarge => format!("`{text}` is more than 64 bits can hold"),
            NotANumber::NotOctal => format!("`{text}` is not an octal number"),
            NotANumber::NoExponent => format!("`{text}` has no exponent"),
            NotANumber::Malformed => format!("`{text}` is not a number"),
        }
    }

    fn help(self) -> Option<&'static str> {
        match self {
            NotANumber::TooLarge => Some("the largest number is 18446744073709551615"),
            NotANumber::NotOctal => {
                Some("a number that begins with 0 is octal; leave the 0 out for a decimal number")
            }
            NotANumber::NoExponent => {
                Some("numbers are integers: `1e6` is a million, fractions do not exist")
            }
            NotANumber::Malformed => {
                Some("numbers look like `42`, `0x2a`, `052`, `1_000`, `1e6`, `42UL`, `10ms`")
            }
        }
    }
}

/// Suffixes that make a number a duration, and their nanoseconds.
const DURATIONS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// The value of an integer literal, durations in nanoseconds.
fn integer(text: &str) -> Result<u64, NotANumber> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let (digits, suffix) = split(hex, |c| c.is_ascii_hexdigit());
        return if is_c_suffix(suffix) { number(digits, 16) } else { Err(NotANumber::Malformed) };
    }
    let (digits, suffix) = split(text, |c| c.is_ascii_digit());
    if let Some(exponent) = suffix.strip_prefix('e') {
        return scientific(digits, exponent);
    }
    let octal = digits.len() > 1 && digits.starts_with('0');
    if octal && digits.contains(['8', '9']) {
        return Err(NotANumber::NotOctal);
    }
    let value = number(digits, if octal { 8 } else { 10 })?;
    if is_c_suffix(suffix) {
        return Ok(value);
    }
    let (_, nanoseconds) = DURATIONS.iter().find(|(name, _)| *name == suffix).ok_or(NotANumber::Malformed)?;
    value.checked_mul(*nanoseconds).ok_or(NotANumber::TooLarge)
}

/// `2e3` is 2000.
fn scientific(digits: &str, exponent: &str) -> Result<u64, NotANumber> {
    let (exponent, suffix) = split(exponent, |c| c.is_ascii_digit());
    if exponent.is_empty() {
        return Err(NotANumber::NoExponent);
    }
    if !is_c_suffix(suffix) {
        return Err(NotANumber::Malformed);
    }
    let mantissa = number(digits, 10)?;
    if mantissa == 0 {
        return Ok(0);
    }
    let power = number(exponent, 10).ok().and_then(|exponent| u32::try_from(exponent).ok());
    power
        .and_then(|power| 10u64.checked_pow(power))
        .and_then(|power| mantissa.checked_mul(power))
        .ok_or(NotANumber::TooLarge)
}

/// Digits (and the `_` between them) and what follows.
fn split(text: &str, is_digit: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| c != '_' && !is_digit(c)).unwrap_or(text.len()))
}

/// The value of digits of which `_` may separate groups.
fn number(digits: &str, radix: u32) -> Result<u64, NotANumber> {
    let plain: String = digits.chars().filter(|&c| c != '_').collect();
    if plain.is_empty() || digits.ends_with('_') {
        return Err(NotANumber::Malformed);
    }
    // All are digits, so the only thing that can be wrong is the size.
    u64::from_str_radix(&plain, radix).map_err(|_| NotANumber::TooLarge)
}

/// `U`, `L` and `LL` in either case and order, as in C, or nothing.
fn is_c_suffix(suffix: &str) -> bool {
    matches!(suffix.to_ascii_lowercase().as_str(), "" | "u" | "l" | "ll" | "ul" | "ull" | "lu" | "llu")
}

#[cfg(test)]
mod tests {
    use super::{NotANumber, integer};

    #[test]
    fn numbers_have_the_value_that_the_language_reference_says() {
        let cases = [
            ("0", 0),
            ("42", 42),
            ("0123", 0o123),
            ("00", 0),
            ("0x2A", 42),
            ("0Xff", 255),
            ("0xd", 13),
            ("1_000_123_000", 1_000_123_000),
            ("2e3", 2000),
            ("0e99", 0),
            ("1e19", 10_000_000_000_000_000_000),
            ("123UL", 123),
            ("123u", 123),
            ("123LL", 123),
            ("0xffULL", 255),
            ("18446744073709551615", u64::MAX),
            ("3ns", 3),
            ("3us", 3_000),
            ("3ms", 3_000_000),
            ("3s", 3_000_000_000),
            ("1m", 60_000_000_000),
            ("1h", 3_600_000_000_000),
            ("1d", 86_400_000_000_000),
        ];
        for (text, value) in cases {
            assert_eq!(integer(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_number_says_why() {
        let cases = [
            ("18446744073709551616", NotANumber::TooLarge),
            ("0x10000000000000000", NotANumber::TooLarge),
            ("2e19", NotANumber::TooLarge),
            ("1e4294967297", NotANumber::TooLarge),
            ("300000d", NotANumber::TooLarge),
            ("08", NotANumber::NotOctal),
            ("1e", NotANumber::NoExponent),
            ("0x", NotANumber::Malformed),
            ("0xfg", NotANumber::Malformed),
            ("12abc", NotANumber::Malformed),
            ("1_", NotANumber::Malformed),
            ("1e3ms", NotANumber::Malformed),
            ("1ULU", NotANumber::Malformed),
        ];
        for (text, why) in cases {
            assert_eq!(integer(text), Err(why), "{text}");
        }
    }
}
