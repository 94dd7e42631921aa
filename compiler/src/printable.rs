//! Text of others that is shown to people: a script's, its name, a name that it mentions.
//!
//! Control characters in it could move a terminal's cursor, rename its window or worse; none reaches a reader.

use std::borrow::Cow;

/// The text with control characters but line breaks and tabs written as `\x1b`.
pub fn printable(text: &str) -> Cow<'_, str> {
    replaced(text, |c, out| {
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    })
}

/// The text with `?` for each byte of such characters, so that places in it stay where they are.
pub(crate) fn in_place(text: &str) -> Cow<'_, str> {
    replaced(text, |c, out| out.extend(std::iter::repeat_n('?', c.len_utf8())))
}

fn replaced(text: &str, replace: impl Fn(char, &mut String)) -> Cow<'_, str> {
    let unwanted = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(|c| unwanted(c) && c != '\r') && !text.replace("\r\n", "").contains('\r') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        // A carriage return belongs to the line break that follows it.
        if unwanted(c) && !(c == '\r' && rest.peek() == Some(&'\n')) {
            replace(c, &mut out);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_as_what_they_are() {
        assert_eq!(
            printable("a\x1b[31mb\u{9b}c\x07\td\ne\r\n\rf"),
            "a\\x1b[31mb\\xc2\\x9bc\\x07\td\ne\r\n\\x0df"
        );
        assert!(matches!(printable("plain\r\ntext ü"), Cow::Borrowed(_)));
    }

    #[test]
    fn places_stay_where_they_are() {
        let text = "a\x1b\u{9b}b";
        assert_eq!(in_place(text), "a???b");
        assert_eq!(in_place(text).len(), text.len());
    }
}
