//! A first look over the source: where strings and comments end, how brackets nest.
//!
//! It runs before the grammar and guarantees that every string and comment is closed and that
//! nothing nests deeper than [`MAX_NESTING`], so the recursive descent after it cannot overflow the
//! stack. What it remembers (where items end, which bracket is open at the end, which strings span
//! lines) is used only to explain a syntax error and to go on behind it.
//!
//! It knows just enough of the language to tell text from brackets; whether brackets match, and
//! everything else, is left to the grammar.

use crate::ast::Span;
use crate::error::SyntaxError;

/// How many brackets and ternary operators may be open at once.
pub const MAX_NESTING: usize = 200;

/// The largest source that is read, in bytes. Parsing takes some hundred bytes of memory for each.
pub const MAX_SOURCE_BYTES: usize = 4 << 20;

/// What one pass over the source shows.
#[derive(Debug, Default)]
pub(crate) struct Outline {
    /// Offsets just behind each `}` or `;` that stands outside of all braces: where items end.
    pub(crate) item_ends: Vec<usize>,
    /// Opening brackets that are never closed, outermost first.
    pub(crate) unclosed: Vec<usize>,
    /// Start and end of each line of the preprocessor, from its `#` to the line break or a comment.
    pub(crate) directives: Vec<(usize, usize)>,
    /// Strings with a line break in them: often a forgotten quote.
    pub(crate) multiline_strings: Vec<Span>,
}

/// A half-open span of the source.
///
/// The casts are exact: the source is at most [`MAX_SOURCE_BYTES`] long.
pub(crate) fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}

/// Outlines the source.
///
/// # Errors
/// The source is too large, nests too deeply, or ends within a string or comment.
pub(crate) fn outline(source: &str) -> Result<Outline, SyntaxError> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(SyntaxError::new(
            Span::default(),
            format!("the script is {} bytes long, more than {} MiB", source.len(), MAX_SOURCE_BYTES >> 20),
        ));
    }
    Scanner {
        source,
        bytes: source.as_bytes(),
        at: 0,
        open: Vec::new(),
        questions: vec![0],
        in_predicate: false,
        outline: Outline::default(),
    }
    .run()
}

struct Scanner<'s> {
    source: &'s str,
    bytes: &'s [u8],
    at: usize,
    /// Offsets of the open brackets.
    open: Vec<usize>,
    /// For the outside and for each open bracket: the `?` that still wait for their `:`.
    questions: Vec<usize>,
    /// Whether a slash stands between the attach points and here: no path can follow.
    in_predicate: bool,
    outline: Outline,
}

impl Scanner<'_> {
    fn run(mut self) -> Result<Outline, SyntaxError> {
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'"' => self.string()?,
                b'/' if self.next_is(b'/') => self.skip_line(),
                b'#' if self.at == 0 && self.next_is(b'!') => self.skip_line(),
                b'#' if self.begins_line() => self.directive(),
                b'/' if self.next_is(b'*') => self.comment()?,
                b'/' => self.slash(),
                b':' => self.colon(),
                b'(' | b'[' | b'{' => self.open_bracket()?,
                b')' | b']' | b'}' => self.close_bracket(byte),
                b';' | b',' => self.separator(byte),
                b'?' => self.question()?,
                _ => self.at += 1,
            }
        }
        self.outline.unclosed = self.open;
        Ok(self.outline)
    }

    fn next_is(&self, byte: u8) -> bool {
        self.bytes.get(self.at + 1) == Some(&byte)
    }

    fn outside_braces(&self) -> bool {
        self.open.iter().all(|&open| self.bytes[open] != b'{')
    }

    fn slash(&mut self) {
        self.at += 1;
        self.in_predicate = true;
    }

    fn skip_line(&mut self) {
        let length = self.rest().find('\n');
        self.at = length.map_or(self.source.len(), |length| self.at + length);
    }

    /// Whether only blanks stand before this place on its line.
    fn begins_line(&self) -> bool {
        let line = self.source[..self.at].rfind('\n').map_or(0, |newline| newline + 1);
        self.source[line..self.at].trim_start_matches('\u{feff}').trim().is_empty()
    }

    /// A line of the preprocessor; it goes on behind a backslash at its end.
    fn directive(&mut self) {
        let start = self.at;
        let mut quoted = false;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'\\' if !quoted && self.next_is(b'\n') => self.at += 1,
                b'\\' if quoted && !self.next_is(b'\n') => self.at += 1,
                b'\n' => break,
                b'"' => quoted = !quoted,
                b'/' if !quoted && (self.next_is(b'/') || self.next_is(b'*')) => break,
                _ => {}
            }
            self.at += 1;
        }
        self.at = self.at.min(self.source.len());
        while !self.source.is_char_boundary(self.at) {
            self.at += 1;
        }
        // What comes after it begins anew: the directive is no part of an item.
        self.outline.directives.push((start, self.at));
    }

    fn comment(&mut self) -> Result<(), SyntaxError> {
        match self.source[self.at + 2..].find("*/") {
            Some(length) => {
                self.at += 2 + length + 2;
                Ok(())
            }
            None => Err(SyntaxError::new(span(self.at, self.at + 2), "this comment is never closed")
                .with_help("end the comment with `*/`")),
        }
    }

    fn string(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += 1;
            match byte {
                b'\\' => self.at += 1,
                b'"' => {
                    if self.bytes[start..self.at].contains(&b'\n') {
                        self.outline.multiline_strings.push(span(start, self.at));
                    }
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(self.unterminated_string(start))
    }

    /// The string that runs to the end of the source is the wrong one if a quote is missing before
    /// it, and then an earlier one contains a line break.
    fn unterminated_string(&self, start: usize) -> SyntaxError {
        let suspect = self.outline.multiline_strings.first().map_or(start, |first| first.start as usize);
        let line_end = self.source[suspect..].find('\n').map_or(self.source.len(), |length| suspect + length);
        SyntaxError::new(span(suspect, line_end), "this string is never closed")
            .with_help("end the string with `\"`")
    }

    fn colon(&mut self) {
        let before = &self.source[..self.at];
        self.at += 1;
        if let Some(questions) = self.questions.last_mut() {
            *questions = questions.saturating_sub(1);
        }
        if !self.in_predicate
            && self.outside_braces()
            && (begins_a_path(self.rest()) || names_a_binary(before))
        {
            self.skip_path();
        }
    }

    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    /// Skips a path in an attach point, which may contain `//` and `/*`.
    fn skip_path(&mut self) {
        let rest = self.rest();
        let ends_it = |c: char| c.is_ascii_whitespace() || matches!(c, ':' | ',' | '{' | '"' | '|');
        self.at += rest.find(ends_it).unwrap_or(rest.len());
    }

    fn open_bracket(&mut self) -> Result<(), SyntaxError> {
        if self.open.is_empty() {
            self.questions[0] = 0; // Those were wildcards in attach points.
        }
        if self.bytes[self.at] == b'{' {
            self.in_predicate = false;
        }
        self.open.push(self.at);
        self.questions.push(0);
        self.at += 1;
        self.check_nesting()
    }

    fn close_bracket(&mut self, byte: u8) {
        self.at += 1;
        let opens_it = match byte {
            b')' => b'(',
            b']' => b'[',
            _ => b'{',
        };
        // Closes what was left open inside, too; a bracket that closes nothing is passed over.
        if let Some(index) = self.open.iter().rposition(|&open| self.bytes[open] == opens_it) {
            self.open.truncate(index);
            self.questions.truncate(index + 1);
        }
        if byte == b'}' && self.outside_braces() {
            self.outline.item_ends.push(self.at);
        }
    }

    fn separator(&mut self, byte: u8) {
        self.at += 1;
        if let Some(questions) = self.questions.last_mut() {
            *questions = 0;
        }
        if byte == b';' && self.outside_braces() {
            self.outline.item_ends.push(self.at);
        }
    }

    fn question(&mut self) -> Result<(), SyntaxError> {
        self.at += 1;
        if let Some(questions) = self.questions.last_mut() {
            *questions += 1;
        }
        self.check_nesting()
    }

    fn check_nesting(&self) -> Result<(), SyntaxError> {
        if self.open.len() + self.questions.iter().sum::<usize>() <= MAX_NESTING {
            return Ok(());
        }
        Err(SyntaxError::new(
            span(self.at - 1, self.at),
            format!("nested too deeply: more than {MAX_NESTING} levels"),
        )
        .with_help("split the expression: give its parts names with `let $x = ...;`"))
    }
}

/// Whether a part of an attach point is a path, from how it begins.
fn begins_a_path(part: &str) -> bool {
    let comment = part.starts_with("//") || part.starts_with("/*");
    !comment && ["/", "./", "../"].iter().any(|start| part.starts_with(start))
}

/// Whether a text ends with a provider whose first part is a path.
fn names_a_binary(text: &str) -> bool {
    let provider = text.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
    let before = text[..text.len() - provider.len()].chars().next_back();
    matches!(provider, "uprobe" | "uretprobe" | "usdt" | "ur" | "u" | "U")
        && before.is_none_or(|c| c.is_ascii_whitespace() || matches!(c, ',' | '|' | '}' | ';' | '/'))
}
