//! From spans in the script to lines and columns.

use memql_grammar::ast::Span;

use super::btf::{Builder, Line, Name};
use super::code::Code;

/// The script's lines.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    file: Name,
    /// Start and text of each line.
    lines: Vec<(u32, &'a str)>,
}

impl<'a> Lines<'a> {
    /// Cuts a script into lines.
    pub fn new(btf: &mut Builder, source_name: &str, source: &'a str) -> Lines<'a> {
        let mut start = 0;
        let mut lines = Vec::new();
        for line in source.split('\n') {
            lines.push((start, line.trim_end_matches('\r')));
            start += line.len() as u32 + 1;
        }
        Lines { file: btf.name(source_name), lines }
    }

    /// Where a span begins. The line's text is added to the strings.
    fn line(&self, btf: &mut Builder, span: Span) -> Line {
        let index = self.lines.partition_point(|(start, _)| *start <= span.start).saturating_sub(1);
        let (start, text) = self.lines[index];
        Line { file: self.file, text: btf.name(text), line: index as u32 + 1, column: span.start - start + 1 }
    }

    /// The line entries of a function: word index and place, one for the first instruction and one for
    /// each that comes from another place than the one before.
    pub fn of(&self, btf: &mut Builder, code: &Code) -> Vec<(u32, Line)> {
        let mut entries: Vec<(u32, Line)> = Vec::new();
        let mut last = None;
        for (at, span) in &code.spans {
            if last != Some(span.start) {
                last = Some(span.start);
                entries.push((*at as u32, self.line(btf, *span)));
            }
        }
        entries
    }
}
