//! `printf` formats: text to [`Format`].
//!
//! ```text
//! %[-+ 0#]*[width][.precision][hh|h|l|ll|j|z|t]verb     verb: d i u x X o p c s r rx rh gr
//! %%                                                    a percent sign
//! ```

use memql_grammar::ast::StrLit;

use crate::plan::{Conversion, Format, FormatPiece, Verb};

/// A conversion that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// The text from `%` to where it went wrong.
    pub conversion: String,
    /// What is wrong with it.
    pub message: String,
}

/// The conversions that the language has, for messages.
pub const CONVERSIONS: &str = "%d %i %u %x %X %o %p %c %s %r %rx %rh %gr %%";

/// The largest width or precision: far beyond any terminal, and no way to exhaust memory.
const MAX_WIDTH: u32 = 4096;

/// Parses a format.
///
/// # Errors
/// If a `%` does not begin a conversion that the language has.
pub fn parse_format(literal: &StrLit) -> Result<Format, FormatError> {
    let mut reader = Reader { bytes: &literal.bytes, at: 0 };
    let mut pieces = Vec::new();
    let mut text = Vec::new();
    while let Some(byte) = reader.next() {
        if byte != b'%' {
            text.push(byte);
        } else if reader.peek() == Some(b'%') {
            reader.at += 1;
            text.push(b'%');
        } else {
            if !text.is_empty() {
                pieces.push(FormatPiece::Text(std::mem::take(&mut text)));
            }
            pieces.push(FormatPiece::Conversion(reader.conversion()?));
        }
    }
    if !text.is_empty() {
        pieces.push(FormatPiece::Text(text));
    }
    Ok(Format { pieces })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// A conversion after its `%`.
    fn conversion(&mut self) -> Result<Conversion, FormatError> {
        let start = self.at;
        let (mut left, mut zero, mut plus, mut space, mut alternate) = (false, false, false, false, false);
        while let Some(flag) = self.peek() {
            match flag {
                b'-' => left = true,
                b'0' => zero = true,
                b'+' => plus = true,
                b' ' => space = true,
                b'#' => alternate = true,
                _ => break,
            }
            self.at += 1;
        }
        let width = self.number(start)?;
        let precision = if self.eat(b'.') { Some(self.number(start)?.unwrap_or(0)) } else { None };
        let bits = self.length();
        let verb = self.verb(start)?;
        // `%r` escapes what is not printable; `%rx`, its alternative form, escapes every byte.
        alternate |= verb == Verb::EscapedHex && self.eat(b'x');
        Ok(Conversion { left, zero, plus, space, alternate, width, precision, bits, verb })
    }

    fn number(&mut self, start: usize) -> Result<Option<u32>, FormatError> {
        let mut value = None;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            self.at += 1;
            let next = value.unwrap_or(0u32).saturating_mul(10).saturating_add(u32::from(digit - b'0'));
            if next > MAX_WIDTH {
                return Err(self.error(start, format!("widths go up to {MAX_WIDTH}")));
            }
            value = Some(next);
        }
        if value.is_none() && self.peek() == Some(b'*') {
            self.at += 1;
            return Err(
                self.error(start, "a width cannot be taken from an argument; write the number".to_owned())
            );
        }
        Ok(value)
    }

    /// The width in bits that a length modifier asks for; 0 without one.
    fn length(&mut self) -> u8 {
        match self.peek() {
            Some(b'h') => {
                self.at += 1;
                if self.eat(b'h') { 8 } else { 16 }
            }
            Some(b'l') => {
                self.at += 1;
                let _ = self.eat(b'l');
                64
            }
            Some(b'j' | b'z' | b't') => {
                self.at += 1;
                64
            }
            _ => 0,
        }
    }

    fn verb(&mut self, start: usize) -> Result<Verb, FormatError> {
        let verb = match self.next() {
            Some(b'd' | b'i') => Verb::Signed,
            Some(b'u') => Verb::Unsigned,
            Some(b'x') => Verb::Hex,
            Some(b'X') => Verb::HexUpper,
            Some(b'o') => Verb::Octal,
            Some(b'p') => Verb::Pointer,
            Some(b'c') => Verb::Char,
            Some(b's') => Verb::Text,
            Some(b'r') if self.eat(b'h') => Verb::SpacedHex,
            Some(b'r') => Verb::EscapedHex,
            Some(b'g') if self.eat(b'r') => Verb::GfpFlags,
            Some(_) => return Err(self.error(start, "there is no such conversion".to_owned())),
            None => return Err(self.error(start, "the conversion is not finished".to_owned())),
        };
        Ok(verb)
    }

    fn error(&self, start: usize, message: String) -> FormatError {
        let text = String::from_utf8_lossy(&self.bytes[start..self.at]);
        FormatError { conversion: format!("%{text}"), message }
    }
}

#[cfg(test)]
mod tests {
    use memql_grammar::ast::Span;

    use super::*;

    fn parse(text: &str) -> Result<Format, FormatError> {
        parse_format(&StrLit { bytes: text.as_bytes().to_vec(), span: Span::default() })
    }

    fn only(text: &str) -> Conversion {
        match parse(text).expect("it is a format").pieces.as_slice() {
            [FormatPiece::Conversion(c)] => c.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_width_precision_and_length_are_read() {
        let c = only("%-+08.3hhd");
        assert!(c.left && c.plus && c.zero && !c.space && !c.alternate);
        assert_eq!((c.width, c.precision, c.bits, c.verb), (Some(8), Some(3), 8, Verb::Signed));
        assert_eq!(only("%llx").bits, 64);
        assert_eq!(only("%rh").verb, Verb::SpacedHex);
        assert_eq!(only("%gr").verb, Verb::GfpFlags);
    }

    #[test]
    fn percent_signs_are_text() {
        assert_eq!(parse("5%%!").map(|f| f.pieces), Ok(vec![FormatPiece::Text(b"5%!".to_vec())]));
    }

    #[test]
    fn what_is_no_conversion_is_an_error_that_shows_it() {
        assert_eq!(parse("a %z").unwrap_err().conversion, "%z");
        assert_eq!(parse("%5y").unwrap_err().conversion, "%5y");
        assert_eq!(parse("%").unwrap_err().message, "the conversion is not finished");
        assert_eq!(parse("%99999d").unwrap_err().message, "widths go up to 4096");
        assert!(parse("%*d").is_err());
    }
}
