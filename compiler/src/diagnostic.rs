//! Diagnostics: what is wrong with a script, as values. Rendering to text is one function at the end.

use codespan_reporting::diagnostic::{Diagnostic as Rendered, Label as RenderedLabel, LabelStyle};
use codespan_reporting::term;
use memql_grammar::ast::Span;

use crate::printable::printable;
use crate::sources::Sources;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The script runs, but perhaps not as meant.
    Warning,
    /// The script cannot run.
    Error,
}

/// One finding about a script.
///
/// Titles are in the user's words: lower case, no full stop, names in backticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable code: `E0214`, `W0003`.
    pub code: &'static str,
    /// One line that says what is wrong.
    pub title: String,
    /// The place to mend: the smallest span.
    pub primary: (Span, String),
    /// Places that explain it.
    pub secondary: Vec<(Span, String)>,
    /// Facts: lists of what there is, limits.
    pub notes: Vec<String>,
    /// Something one can type.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(
        code: &'static str,
        title: impl Into<String>,
        span: Span,
        label: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            code,
            title: title.into(),
            primary: (span, label.into()),
            secondary: Vec::new(),
            notes: Vec::new(),
            help: None,
        }
    }

    /// A warning at a place.
    pub fn warning(
        code: &'static str,
        title: impl Into<String>,
        span: Span,
        label: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, title, span, label) }
    }

    /// Adds a place that explains it.
    pub fn because(mut self, span: Span, label: impl Into<String>) -> Diagnostic {
        self.secondary.push((span, label.into()));
        self
    }

    /// Adds a fact.
    pub fn note(mut self, note: impl Into<String>) -> Diagnostic {
        self.notes.push(note.into());
        self
    }

    /// The finding with names as the script has them: those in macros carry marks.
    pub(crate) fn without_marks(mut self) -> Diagnostic {
        let texts = [&mut self.title, &mut self.primary.1].into_iter();
        let labels = self.secondary.iter_mut().map(|(_, text)| text);
        for text in texts.chain(labels).chain(&mut self.notes).chain(&mut self.help) {
            if !text.is_ascii() {
                *text = crate::expand::plain(text);
            }
        }
        self
    }

    /// Adds something one can type.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }
}

/// Renders diagnostics of one text in source order, as text for a terminal (`colour`) or a file.
pub fn render(name: &str, source: &str, diagnostics: &[Diagnostic], colour: bool) -> String {
    render_in(&Sources::new(name, source), diagnostics, colour)
}

/// Renders diagnostics in the order of their places, as text for a terminal (`colour`) or a file.
pub fn render_in(sources: &Sources, diagnostics: &[Diagnostic], colour: bool) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|d| d.primary.0);
    let config = term::Config::default();
    let mut out = String::new();
    for diagnostic in sorted {
        let rendered = to_codespan(sources, diagnostic);
        let text = if colour {
            let mut buffer = term::termcolor::Ansi::new(Vec::new());
            term::emit_to_write_style(&mut buffer, &config, sources, &rendered)
                .map(|()| String::from_utf8_lossy(buffer.get_ref()).into_owned())
        } else {
            let mut buffer = String::new();
            term::emit_to_string(&mut buffer, &config, sources, &rendered).map(|()| buffer)
        };
        // A span outside of the text is the only way this fails; the finding itself must not be lost.
        out.push_str(
            &text.unwrap_or_else(|_| {
                format!("error[{}]: {}\n", diagnostic.code, printable(&diagnostic.title))
            }),
        );
    }
    out
}

fn to_codespan(sources: &Sources, diagnostic: &Diagnostic) -> Rendered<usize> {
    let Diagnostic { severity, code, title, primary, secondary, notes, help } = diagnostic;
    let mut rendered = match severity {
        Severity::Error => Rendered::error(),
        Severity::Warning => Rendered::warning(),
    };
    rendered = rendered.with_code(*code).with_message(printable(title));
    let label = |style, (span, text): &(Span, String)| {
        let index = sources.index_of(span.start);
        let base = sources.files().get(index).map_or(0, |file| file.base);
        let within = span.start as usize - base..(span.end as usize).saturating_sub(base);
        RenderedLabel::new(style, index, within).with_message(printable(text))
    };
    let mut labels = vec![label(LabelStyle::Primary, primary)];
    labels.extend(secondary.iter().map(|place| label(LabelStyle::Secondary, place)));
    let mut lines: Vec<String> = notes.iter().map(|note| printable(note).into_owned()).collect();
    lines.extend(help.iter().map(|help| format!("help: {}", printable(help))));
    rendered.with_labels(labels).with_notes(lines)
}

/// The names in `candidates` that are close to `name`, closest first, at most three.
pub fn similar<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let limit = (name.chars().count() / 3).max(1);
    let mut close: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter(|c| c.len().abs_diff(name.len()) <= limit)
        .filter(|c| *c != name)
        .filter_map(|c| Some((edit_distance(name, c, limit)?, c)))
        .collect();
    close.sort();
    close.dedup();
    close.into_iter().take(3).map(|(_, c)| c.to_owned()).collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`; `None` if they are more than `limit`.
///
/// A library has ten thousand names to compare with, nearly all of them far off: it ends where the difference is too large.
fn edit_distance(a: &str, b: &str, limit: usize) -> Option<usize> {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let (mut above, mut above_that) = (vec![0; row.len()], vec![0; row.len()]);
    let mut before = None;
    let mut is_far = false;
    for (i, letter) in a.chars().enumerate() {
        std::mem::swap(&mut above, &mut above_that);
        std::mem::swap(&mut row, &mut above);
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let cost = usize::from(letter != *other);
            let mut best = (above[j + 1] + 1).min(row[j] + 1).min(above[j] + cost);
            if j > 0 && letter == b[j - 1] && before == Some(*other) {
                best = best.min(above_that[j - 1] + 1);
            }
            row[j + 1] = best;
        }
        before = Some(letter);
        // A swap looks back two rows: all that follows is over the limit when two rows are.
        let was_far = std::mem::replace(&mut is_far, row.iter().all(|distance| *distance > limit));
        if is_far && was_far {
            return None;
        }
    }
    row.last().copied().filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_are_those_with_few_differences_closest_first() {
        let names =
            ["sys_exit_openat", "sys_enter_open", "sys_enter_openat", "sys_enter_opneat", "sched_switch"];
        assert_eq!(
            similar("sys_enter_openat", names),
            ["sys_enter_opneat", "sys_enter_open", "sys_exit_openat"]
        );
        assert_eq!(similar("mallco", ["calloc", "free", "malloc"]), ["malloc", "calloc"]);
    }

    #[test]
    fn a_distance_over_the_limit_is_none() {
        assert_eq!(edit_distance("", "ab", 2), Some(2));
        assert_eq!(edit_distance("kitten", "sitting", 3), Some(3));
        assert_eq!(edit_distance("kitten", "sitting", 2), None);
        assert_eq!(edit_distance("ab", "ba", 1), Some(1));
        assert_eq!(edit_distance("abcdefgh", "badcfehg", 4), Some(4));
        assert_eq!(edit_distance("abcdefgh", "zzzzzzzz", 3), None);
    }
}
