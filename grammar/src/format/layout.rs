//! Blanks, breaks and indentation between tokens.

use super::tokens::{Part, Token};

/// Blanks of one level.
const INDENT: usize = 4;

/// A block that would reach further on its line is broken up, in characters.
const WIDTH: usize = 110;

/// Lays out the tokens of a source.
pub(super) fn layout(source: &str, tokens: &[Token]) -> String {
    let mut layout = Layout { source, tokens, out: String::new(), open: Vec::new() };
    let mut end = 0;
    for (index, token) in tokens.iter().enumerate() {
        layout.gap(index, &Gap::read(&source[end..token.start]));
        layout.token(index);
        end = token.end;
    }
    layout.tail(&Gap::read(&source[end..]));
    layout.out
}

/// What stands between two tokens.
struct Gap<'s> {
    /// Comments, directives, text that a condition leaves out.
    pieces: Vec<Piece<'s>>,
    /// Line breaks behind the last of them.
    breaks: usize,
}

/// Text between tokens that is kept.
struct Piece<'s> {
    text: &'s str,
    kind: PieceKind,
    /// Line breaks before it.
    breaks: usize,
    /// Blanks before it, where it stands behind a token on the same line.
    blanks: &'s str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PieceKind {
    /// `// ...`
    Line,
    /// `/* ... */`
    Block,
    /// A line for the preprocessor, or one that it takes out.
    Raw,
}

impl<'s> Gap<'s> {
    fn read(text: &'s str) -> Gap<'s> {
        let (mut pieces, mut breaks, mut at) = (Vec::new(), 0, 0);
        let mut blanks_from = 0;
        while let Some(c) = text[at..].chars().next() {
            let rest = &text[at..];
            let (kind, length) = match c {
                '\n' => {
                    breaks += 1;
                    at += 1;
                    blanks_from = at;
                    continue;
                }
                c if c.is_whitespace() || c == '\u{feff}' => {
                    at += c.len_utf8();
                    continue;
                }
                _ if rest.starts_with("//") => (PieceKind::Line, rest.find('\n').unwrap_or(rest.len())),
                _ if rest.starts_with("/*") => {
                    (PieceKind::Block, rest.find("*/").map_or(rest.len(), |n| n + 2))
                }
                _ => (PieceKind::Raw, raw_length(rest)),
            };
            let blanks = &text[blanks_from..at];
            let text = if kind == PieceKind::Block { &rest[..length] } else { rest[..length].trim_end() };
            pieces.push(Piece { text, kind, breaks, blanks });
            (breaks, at) = (0, at + length);
            blanks_from = at;
        }
        Gap { pieces, breaks }
    }
}

/// The length of a line and of those that continue it.
fn raw_length(text: &str) -> usize {
    let mut length = 0;
    for line in text.split_inclusive('\n') {
        length += line.trim_end_matches('\n').len();
        if !line.ends_with("\\\n") {
            break;
        }
        length += 1;
    }
    length
}

/// A bracket that is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// A block whose statements have lines of their own.
    Lines,
    /// A block on one line.
    OneLine,
    /// Parentheses and the like.
    Group,
}

struct Layout<'s> {
    source: &'s str,
    tokens: &'s [Token],
    out: String,
    open: Vec<Open>,
}

impl Layout<'_> {
    /// Writes what stands before a token.
    fn gap(&mut self, index: usize, gap: &Gap<'_>) {
        let next = self.tokens[index].part;
        let previous = index.checked_sub(1).map(|i| self.tokens[i].part);
        let after_shebang = index == 1 && self.source[self.tokens[0].start..].starts_with("#!");
        let ends =
            previous.is_none() || after_shebang || previous.is_some_and(|p| self.ends_line(p, next, gap));
        let opens = previous == Some(Part::OpenBrace);
        let closes = matches!(next, Part::CloseBrace | Part::CloseBody);
        let indent = match next {
            Part::CloseBrace | Part::CloseBody if ends => (self.depth() - 1) * INDENT,
            Part::OpenBrace | Part::Else | Part::CloseParen => self.depth() * INDENT,
            _ if ends || self.begins_line_of_head(previous, next) => self.depth() * INDENT,
            _ => (self.depth() + 1) * INDENT,
        };
        // A comment before a block's end still belongs to the block.
        let pieces_indent = if closes && ends { indent + INDENT } else { indent };
        let mut first = true;
        let mut own_line = false;
        for piece in &gap.pieces {
            let paragraph = piece.breaks > 1 && !(first && opens);
            own_line = self.piece(piece, pieces_indent, paragraph) || own_line;
            first = false;
        }
        let paragraph = gap.breaks > 1 && !closes && !(opens && gap.pieces.is_empty());
        let stays_behind_comment = own_line && gap.breaks == 0 && !self.at_line_start();
        if ends && !stays_behind_comment {
            self.new_line(paragraph);
            self.indent(indent);
        } else if self.at_line_start() || gap.breaks > 0 && may_begin_line(next) && !ends {
            self.new_line(false);
            self.indent(indent);
        } else if !gap.pieces.is_empty() || index > 0 && self.blank_before(index) {
            self.out.push(' ');
        }
    }

    /// Writes a comment, directive or text that is left out; tells whether it began a line.
    fn piece(&mut self, piece: &Piece<'_>, indent: usize, paragraph: bool) -> bool {
        let behind = piece.breaks == 0 && piece.kind != PieceKind::Raw && !self.at_line_start();
        if behind {
            self.out.push_str(if piece.blanks.is_empty() { " " } else { piece.blanks });
        } else {
            self.new_line(paragraph);
            match piece.kind {
                PieceKind::Raw => self.out.push_str(piece.blanks),
                PieceKind::Line | PieceKind::Block => self.indent(indent),
            }
        }
        self.out.push_str(piece.text);
        if piece.kind != PieceKind::Block {
            self.out.push('\n');
        }
        !behind
    }

    fn token(&mut self, index: usize) {
        let token = self.tokens[index];
        self.out.push_str(&self.source[token.start..token.end]);
        match token.part {
            Part::OpenBrace => {
                let one_line = self.open.last() == Some(&Open::OneLine) || self.fits_on_line(index);
                self.open.push(if one_line { Open::OneLine } else { Open::Lines });
            }
            Part::OpenParen | Part::OpenCall | Part::OpenBracket => self.open.push(Open::Group),
            Part::CloseBrace | Part::CloseBody | Part::CloseParen | Part::CloseCast | Part::CloseBracket => {
                self.open.pop();
            }
            Part::Word
            | Part::Infix
            | Part::Prefix
            | Part::Postfix
            | Part::Tight
            | Part::Pointer
            | Part::TypeColon
            | Part::Comma
            | Part::EntryComma
            | Part::PointComma
            | Part::Semicolon
            | Part::OpenSlash
            | Part::CloseSlash
            | Part::Else => {}
        }
    }

    /// Writes what stands behind the last token.
    fn tail(&mut self, gap: &Gap<'_>) {
        for piece in &gap.pieces {
            self.piece(piece, 0, piece.breaks > 1);
        }
        self.new_line(false);
    }

    /// Levels of blocks whose statements have lines of their own.
    fn depth(&self) -> usize {
        self.open.iter().filter(|open| **open == Open::Lines).count()
    }

    /// Whether a line ends between two tokens whatever the source has there: a statement or an item is over.
    fn ends_line(&self, previous: Part, next: Part, gap: &Gap<'_>) -> bool {
        if self.open.last().is_some_and(|open| *open != Open::Lines) {
            return false;
        }
        match (previous, next) {
            (Part::OpenBrace, _) | (_, Part::CloseBrace | Part::CloseBody) => true,
            (Part::EntryComma, _) | (Part::CloseBody, Part::Word) => {
                gap.breaks > 0 || gap.pieces.iter().any(|piece| piece.breaks > 0)
            }
            (Part::Semicolon, next) => next != Part::Semicolon,
            (Part::CloseBrace, next) => {
                matches!(next, Part::Word | Part::Prefix | Part::OpenParen | Part::OpenBrace)
            }
            _ => false,
        }
    }

    /// Whether a token begins a line of a probe's head if the source breaks there: an attach point, the predicate.
    fn begins_line_of_head(&self, previous: Option<Part>, next: Part) -> bool {
        self.open.is_empty() && (previous == Some(Part::PointComma) || next == Part::OpenSlash)
    }

    /// Whether the block that opens here has one line in the source and fits on the one that is being written.
    fn fits_on_line(&self, index: usize) -> bool {
        let line = self.out.rfind('\n').map_or(0, |at| at + 1);
        let mut width = self.out[line..].chars().count();
        let mut nesting = 0;
        for n in index + 1..self.tokens.len() {
            let (previous, token) = (self.tokens[n - 1], self.tokens[n]);
            let between = &self.source[previous.end..token.start];
            if between.contains('\n') || between.contains("//") {
                return false;
            }
            let comments: usize = Gap::read(between).pieces.iter().map(|p| p.text.chars().count() + 2).sum();
            width += comments + usize::from(self.blank_before(n));
            width += self.source[token.start..token.end].chars().count();
            match token.part {
                Part::OpenBrace => nesting += 1,
                Part::CloseBrace | Part::CloseBody if nesting == 0 => return width <= WIDTH,
                Part::CloseBrace | Part::CloseBody => nesting -= 1,
                _ if width > WIDTH => return false,
                _ => {}
            }
        }
        false
    }

    /// Whether a blank stands between a token and the one before it on the same line.
    fn blank_before(&self, index: usize) -> bool {
        let (previous, next) = (self.tokens[index - 1], self.tokens[index]);
        match (previous.part, next.part) {
            (Part::OpenBrace, Part::CloseBrace | Part::CloseBody) => false,
            // `- -1` is not `--1`, nor `& &$x` a logical and.
            (Part::Prefix, Part::Prefix) => {
                let joined = &self.source[previous.start..previous.end];
                matches!(joined, "-" | "&") && self.source[next.start..].starts_with(joined)
            }
            (
                Part::OpenParen
                | Part::OpenCall
                | Part::OpenBracket
                | Part::OpenSlash
                | Part::Prefix
                | Part::Tight
                | Part::CloseCast,
                _,
            ) => false,
            (
                _,
                Part::CloseParen
                | Part::CloseCast
                | Part::CloseBracket
                | Part::CloseSlash
                | Part::Comma
                | Part::EntryComma
                | Part::PointComma
                | Part::Semicolon
                | Part::Postfix
                | Part::Tight
                | Part::TypeColon
                | Part::OpenCall
                | Part::OpenBracket,
            ) => false,
            (Part::Pointer, Part::Pointer | Part::Word) => false,
            _ => true,
        }
    }

    fn at_line_start(&self) -> bool {
        self.out.is_empty() || self.out.ends_with('\n')
    }

    /// Ends the line, if anything is on it; `paragraph` leaves one empty.
    fn new_line(&mut self, paragraph: bool) {
        if !self.at_line_start() {
            self.out.truncate(self.out.trim_end_matches([' ', '\t']).len());
            self.out.push('\n');
        }
        if paragraph && !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    fn indent(&mut self, blanks: usize) {
        self.out.extend(std::iter::repeat_n(' ', blanks));
    }
}

/// Whether a break before this token stays: not before what closes or goes with what is before it.
fn may_begin_line(next: Part) -> bool {
    !matches!(
        next,
        Part::OpenBrace
            | Part::Else
            | Part::Comma
            | Part::EntryComma
            | Part::PointComma
            | Part::Semicolon
            | Part::Postfix
            | Part::OpenCall
            | Part::OpenBracket
            | Part::TypeColon
            | Part::CloseSlash
    )
}
