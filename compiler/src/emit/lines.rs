//! From spans in the script to lines and columns.

use memql_grammar::ast::Span;

use super::btf::{Builder, Line};
use super::code::Code;
use crate::sources::Sources;

/// The script's lines.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    sources: &'a Sources,
}

impl<'a> Lines<'a> {
    /// The lines of all texts.
    pub fn new(sources: &'a Sources) -> Lines<'a> {
        Lines { sources }
    }

    /// Where a span begins. The file's name and the line's text are added to the strings.
    fn line(&self, btf: &mut Builder, span: Span) -> Line {
        let Some((file, index, start)) = self.sources.line_of(span.start) else {
            return Line { file: btf.name(""), text: btf.name(""), line: 1, column: 1 };
        };
        let column = span.start - (file.base + start) as u32 + 1;
        Line { file: btf.name(&file.name), text: btf.name(file.line(index)), line: index as u32 + 1, column }
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
