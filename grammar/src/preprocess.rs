//! The preprocessor's directives, read before the grammar runs.
//!
//! ```text
//! #ifndef BPFTRACE_HAVE_BTF        left out, with everything up to #else or #endif
//! #include <linux/fs.h>            noted; headers are not read, types come from BTF
//! #define AF_INET 2                noted; the value is an expression of the language
//! ```
//!
//! Directives, and what a condition leaves out, become blanks of the same length, so that all spans stay
//! those of the source. Nothing is replaced in the text: a `#define` is a name that the compiler knows.

use std::borrow::Cow;
use std::collections::HashMap;

use pest::Parser;

use crate::ast::{BinaryOp, Define, Expr, ExprKind, Include, Item, Name, Span, UnaryOp};
use crate::build::Builder;
use crate::error::SyntaxError;
use crate::outline::{Outline, outline, span};
use crate::parser::{Grammar, Rule};

/// What scripts ask for where they have definitions for kernels without BTF.
const HAVE_BTF: &str = "BPFTRACE_HAVE_BTF";

/// A source without directives.
pub(crate) struct Preprocessed<'s> {
    /// The source with blanks in place of directives and of what they leave out.
    pub(crate) text: Cow<'s, str>,
    /// The definitions and includes that hold, as items of the script.
    pub(crate) items: Vec<Item>,
}

/// Reads the directives that the outline found; `base` is where the source begins among all sources.
///
/// # Errors
/// Directives that are not known, that do not match, or whose condition is no number.
pub(crate) fn preprocess<'s>(
    source: &'s str,
    outline: &Outline,
    base: usize,
) -> Result<Preprocessed<'s>, Vec<SyntaxError>> {
    if outline.directives.is_empty() {
        return Ok(Preprocessed { text: Cow::Borrowed(source), items: Vec::new() });
    }
    let mut reader = Reader {
        source,
        base,
        blank: Vec::new(),
        branches: Vec::new(),
        items: Vec::new(),
        values: HashMap::new(),
        errors: Vec::new(),
    };
    for &(start, end) in &outline.directives {
        reader.directive(start, end);
    }
    if let Some(open) = reader.branches.last() {
        let error = SyntaxError::new(open.span, "this condition is never closed");
        reader.errors.push(error.with_help("end the part that it chooses with `#endif`"));
    }
    if !reader.errors.is_empty() {
        return Err(reader.errors);
    }
    Ok(Preprocessed { text: Cow::Owned(blanked(source, &reader.blank)), items: reader.items })
}

/// The source with every byte in the ranges a blank, line breaks excepted.
fn blanked(source: &str, ranges: &[(usize, usize)]) -> String {
    let mut text = String::with_capacity(source.len());
    let mut at = 0;
    for &(start, end) in ranges {
        let start = start.max(at);
        if end <= start {
            continue;
        }
        text.push_str(&source[at..start]);
        text.extend(source.as_bytes()[start..end].iter().map(|b| if *b == b'\n' { '\n' } else { ' ' }));
        at = end;
    }
    text.push_str(&source[at..]);
    text
}

/// A condition that is open: `#if` up to `#endif`.
struct Branch {
    span: Span,
    /// Whether the part around it counts.
    outer: bool,
    /// Whether one of its parts was taken.
    taken: bool,
    /// Whether this part counts.
    live: bool,
    /// Where this part begins.
    from: usize,
    /// Whether `#else` was seen.
    closed: bool,
}

struct Reader<'s> {
    source: &'s str,
    base: usize,
    /// What becomes blanks, in order.
    blank: Vec<(usize, usize)>,
    branches: Vec<Branch>,
    items: Vec<Item>,
    /// Definitions by name, for conditions.
    values: HashMap<String, Option<Expr>>,
    errors: Vec<SyntaxError>,
}

impl<'s> Reader<'s> {
    fn live(&self) -> bool {
        self.branches.last().is_none_or(|branch| branch.live)
    }

    fn span(&self, start: usize, end: usize) -> Span {
        span(self.base + start, self.base + end)
    }

    fn error(&mut self, span: Span, message: impl Into<String>, help: &str) {
        self.errors.push(SyntaxError::new(span, message).with_help(help));
    }

    fn directive(&mut self, start: usize, end: usize) {
        let (line, from) = (&self.source[start..end], start);
        let whole = self.span(start, start + line.trim_end().len());
        let after_sign = line[1..].trim_start();
        let word_end = after_sign.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(after_sign.len());
        let word = &after_sign[..word_end];
        let rest_at = from + (line.len() - after_sign.len()) + word_end;
        match word {
            "if" | "ifdef" | "ifndef" => {
                let outer = self.live();
                let live = outer && self.condition(word, rest_at, end, whole);
                let branch = Branch { span: whole, outer, taken: live, live, from: end, closed: false };
                self.branches.push(branch);
            }
            "elif" | "else" | "endif" => self.next_branch(word, (rest_at, start, end), whole),
            "define" if self.live() => self.define(rest_at, end, whole),
            "include" if self.live() => self.include(rest_at, end, whole),
            "undef" if self.live() => {
                let name = self.source[rest_at..end].trim().to_owned();
                self.values.remove(&name);
                self.items.retain(|item| !matches!(item, Item::Define(d) if d.name.text == name));
            }
            "pragma" | "" => {}
            "error" if self.live() => {
                let text = self.source[rest_at..end].trim().to_owned();
                self.error(whole, format!("#error {text}"), "the script says that it cannot run here");
            }
            "define" | "include" | "undef" | "error" => {}
            _ if self.live() => self.error(
                whole,
                format!("there is no directive `#{word}`"),
                "directives are `#define`, `#include`, `#undef`, `#if`, `#ifdef`, `#ifndef`, `#elif`, `#else`, `#endif`",
            ),
            _ => {}
        }
        self.blank.push((start, end));
    }

    /// `#elif`, `#else`, `#endif`: ends the part before it.
    fn next_branch(&mut self, word: &str, (rest_at, start, end): (usize, usize, usize), whole: Span) {
        let Some(mut branch) = self.branches.pop() else {
            let message = format!("`#{word}` without `#if`");
            return self.error(whole, message, "begin the part with `#ifdef NAME` or `#if CONDITION`");
        };
        if !branch.live {
            self.blank.push((branch.from, start));
        }
        if word == "endif" {
            return;
        }
        if branch.closed {
            self.error(whole, format!("`#{word}` after `#else`"), "`#else` is the last part before `#endif`");
        }
        let open = branch.outer && !branch.taken;
        branch.live = open && (word == "else" || self.condition("if", rest_at, end, whole));
        branch.taken |= branch.live;
        branch.closed |= word == "else";
        branch.from = end;
        self.branches.push(branch);
    }

    fn condition(&mut self, word: &str, start: usize, end: usize, whole: Span) -> bool {
        let text = self.source[start..end].trim();
        match word {
            "ifdef" => self.is_defined(text),
            "ifndef" => !self.is_defined(text),
            _ => match self.expression(start, end).and_then(|value| self.number(&value)) {
                Some(value) => value != 0,
                None => {
                    self.error(
                        whole,
                        "this condition is no number",
                        "conditions are made of numbers, `defined(NAME)` and the operators of C",
                    );
                    false
                }
            },
        }
    }

    fn is_defined(&self, name: &str) -> bool {
        name == HAVE_BTF || self.values.contains_key(name)
    }

    /// The value of a constant expression; names that are not defined are 0, as in C.
    fn number(&self, expr: &Expr) -> Option<i128> {
        Some(match &expr.kind {
            ExprKind::Int(value) => i128::from(*value),
            ExprKind::Ident(name) => match self.values.get(&name.text) {
                Some(Some(value)) => self.number(value)?,
                Some(None) => return None,
                None => i128::from(name.text == HAVE_BTF),
            },
            ExprKind::Call { name, args } if name.text == "defined" => match args.as_slice() {
                [Expr { kind: ExprKind::Ident(name), .. }] => i128::from(self.is_defined(&name.text)),
                _ => return None,
            },
            ExprKind::Unary { op, operand } => {
                let value = self.number(operand)?;
                match op {
                    UnaryOp::Not => i128::from(value == 0),
                    UnaryOp::Neg => -value,
                    UnaryOp::BitNot => !value,
                    UnaryOp::Comptime => value,
                    UnaryOp::Deref | UnaryOp::AddressOf => return None,
                }
            }
            ExprKind::Binary { op, left, right } => {
                let (a, b) = (self.number(left)?, self.number(right)?);
                match op {
                    BinaryOp::Add => a.checked_add(b)?,
                    BinaryOp::Sub => a.checked_sub(b)?,
                    BinaryOp::Mul => a.checked_mul(b)?,
                    BinaryOp::Div => a.checked_div(b)?,
                    BinaryOp::Mod => a.checked_rem(b)?,
                    BinaryOp::BitAnd => a & b,
                    BinaryOp::BitOr => a | b,
                    BinaryOp::BitXor => a ^ b,
                    BinaryOp::Shl => a.checked_shl(u32::try_from(b).ok().filter(|n| *n < 64)?)?,
                    BinaryOp::Shr => a.checked_shr(u32::try_from(b).ok().filter(|n| *n < 64)?)?,
                    BinaryOp::Eq => i128::from(a == b),
                    BinaryOp::Ne => i128::from(a != b),
                    BinaryOp::Lt => i128::from(a < b),
                    BinaryOp::Le => i128::from(a <= b),
                    BinaryOp::Gt => i128::from(a > b),
                    BinaryOp::Ge => i128::from(a >= b),
                    BinaryOp::And => i128::from(a != 0 && b != 0),
                    BinaryOp::Or => i128::from(a != 0 || b != 0),
                }
            }
            _ => return None,
        })
    }

    /// The expression that a part of the source is, if it is one.
    fn expression(&self, start: usize, end: usize) -> Option<Expr> {
        let part = &self.source[start..end];
        let at = start + (part.len() - part.trim_start().len());
        // A line may go on behind a backslash.
        let text = part.trim().replace("\\\n", " \n");
        outline(&text).ok()?;
        let pairs = Grammar::parse(Rule::define_value, &text).ok()?;
        let builder = Builder::at(self.base + at);
        let value = builder.define_value(pairs);
        builder.finish(value).ok()
    }

    fn define(&mut self, start: usize, end: usize, whole: Span) {
        let rest = &self.source[start..end];
        let name_at = start + (rest.len() - rest.trim_start().len());
        let name = word_of(&self.source[name_at..end]);
        if name.is_empty() {
            return self.error(whole, "`#define` without a name", "write `#define NAME value`");
        }
        let mut value_at = name_at + name.len();
        let span = self.span(name_at, value_at);
        let mut params = None;
        if self.source[value_at..end].starts_with('(') {
            let Some(length) = self.source[value_at..end].find(')') else {
                return self.error(
                    whole,
                    "the parameters are never closed",
                    "write `#define NAME(a, b) value`",
                );
            };
            params = self.params(value_at + 1, value_at + length, whole);
            value_at += length + 1;
        }
        let value = self.expression(value_at, end);
        self.values.insert(name.to_owned(), value.clone());
        let name = Name { text: name.to_owned(), span };
        // The last definition of a name counts.
        self.items.retain(|item| !matches!(item, Item::Define(d) if d.name.text == name.text));
        self.items.push(Item::Define(Define { name, params, value, span: whole }));
    }

    fn params(&mut self, start: usize, end: usize, whole: Span) -> Option<Vec<Name>> {
        let (mut at, mut params) = (start, Vec::new());
        for part in self.source[start..end].split(',') {
            let name = part.trim();
            let name_at = at + (part.len() - part.trim_start().len());
            at += part.len() + 1;
            if name.is_empty() && end - start == part.len() {
                break;
            }
            if name.is_empty() || word_of(name).len() != name.len() {
                self.error(whole, format!("`{name}` is no parameter"), "write `#define NAME(a, b) value`");
                return None;
            }
            params.push(Name { text: name.to_owned(), span: self.span(name_at, name_at + name.len()) });
        }
        Some(params)
    }

    fn include(&mut self, start: usize, end: usize, whole: Span) {
        let header = self.source[start..end].trim();
        let quoted = |open, close| header.len() > 2 && header.starts_with(open) && header.ends_with(close);
        if !quoted('<', '>') && !quoted('"', '"') {
            return self.error(whole, "`#include` without a header", "write `#include <linux/fs.h>`");
        }
        self.items.push(Item::Include(Include { header: header.to_owned(), span: whole }));
    }
}

/// The identifier that a text begins with.
fn word_of(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { "" } else { &text[..end] }
}
