//! Splits `-c CMD` into words as a POSIX shell would, without running one.
//!
//! Quotes and backslashes mean what they mean in a shell (XCU 2.2, "Quoting"). Nothing is expanded:
//! `$HOME`, `*` and `~` stay as they are, and `;`, `|` and `>` are ordinary characters; a command that
//! needs those is written `-c "sh -c '...'"`.

use std::fmt;

/// Why a command could not be split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitError {
    /// There is no word in it.
    Empty,
    /// This quote is not closed.
    OpenQuote(char),
    /// It ends in a backslash.
    TrailingBackslash,
    /// A word has a NUL byte, which no program can be given.
    Nul,
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SplitError::Empty => f.write_str("the command is empty"),
            SplitError::OpenQuote(quote) => write!(f, "the command has a {quote} that is not closed"),
            SplitError::TrailingBackslash => f.write_str("the command ends in a backslash"),
            SplitError::Nul => f.write_str("the command has a NUL byte"),
        }
    }
}

/// The words of a command, at least one.
///
/// # Errors
/// If a quote is not closed, or there is no word.
pub fn split(command: &str) -> Result<Vec<String>, SplitError> {
    if command.contains('\0') {
        return Err(SplitError::Nul);
    }
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => single_quoted(&mut chars, word.get_or_insert_default())?,
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next() {
                // A backslash before a line feed joins two lines.
                Some('\n') => {}
                Some(escaped) => word.get_or_insert_default().push(escaped),
                None => return Err(SplitError::TrailingBackslash),
            },
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if words.is_empty() { Err(SplitError::Empty) } else { Ok(words) }
}

/// Everything up to the next `'` as it is.
fn single_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), SplitError> {
    for c in chars {
        match c {
            '\'' => return Ok(()),
            _ => word.push(c),
        }
    }
    Err(SplitError::OpenQuote('\''))
}

/// Everything up to the next `"`; a backslash escapes only what a shell treats specially in there.
fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), SplitError> {
    while let Some(c) = chars.next() {
        match c {
            '"' => return Ok(()),
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(escaped @ ('$' | '`' | '"' | '\\')) => word.push(escaped),
                Some(other) => word.extend(['\\', other]),
                None => return Err(SplitError::OpenQuote('"')),
            },
            _ => word.push(c),
        }
    }
    Err(SplitError::OpenQuote('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: &str, expected: &[&str]) {
        assert_eq!(
            split(command).as_deref(),
            Ok(&expected.iter().map(|s| s.to_string()).collect::<Vec<_>>()[..])
        );
    }

    #[test]
    fn splits_at_any_run_of_blanks() {
        check("  ./prog  -a\tb\n", &["./prog", "-a", "b"]);
    }

    #[test]
    fn keeps_blanks_inside_quotes() {
        check(r#"echo 'a  b' "c  d""#, &["echo", "a  b", "c  d"]);
    }

    #[test]
    fn joins_adjacent_quoted_parts_into_one_word() {
        check(r#"a'b'"c"\ d"#, &["abc d"]);
    }

    #[test]
    fn keeps_empty_quotes_as_an_empty_word() {
        check("prog '' \"\"", &["prog", "", ""]);
    }

    #[test]
    fn a_backslash_in_double_quotes_escapes_only_special_characters() {
        check(r#""\n \" \\ \$x""#, &[r#"\n " \ $x"#]);
        check(r"'\n'", &[r"\n"]);
    }

    #[test]
    fn expands_nothing() {
        check("echo $HOME * ~ | cat", &["echo", "$HOME", "*", "~", "|", "cat"]);
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert_eq!(split("echo 'abc"), Err(SplitError::OpenQuote('\'')));
        assert_eq!(split("echo \"abc\\"), Err(SplitError::OpenQuote('"')));
        assert_eq!(split("echo \\"), Err(SplitError::TrailingBackslash));
    }

    #[test]
    fn a_command_without_words_is_an_error() {
        assert_eq!(split(" \t"), Err(SplitError::Empty));
        assert_eq!(split("a\0b"), Err(SplitError::Nul));
    }
}
