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
        .map(|c| (edit_distance(name, c), c))
        .filter(|(d, c)| *d <= limit && *c != name)
        .collect();
    close.sort();
    close.dedup();
    close.into_iter().take(3).map(|(_, c)| c.to_owned()).collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
