//! The texts that a script is made of: its own, and those of what it imports.
//!
//! One text stands behind the other, so that a place in any of them is an offset into all, and spans of
//! different files never meet:
//!
//! ```text
//! opens.mq                     helpers.bt
//! import "helpers.bt"; ...  \n macro name() { ... }
//! 0                            base
//! ```

use std::borrow::Cow;
use std::ops::Range;

use codespan_reporting::files::{self, Files};

use crate::printable::{in_place, printable};

/// Several texts, the script's own first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    files: Vec<SourceFile>,
}

/// One file's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name, as a user knows it.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Where it begins among all.
    pub base: usize,
    /// Where each of its lines begins, counted from its start.
    lines: Vec<usize>,
    /// Its text as people may see it, where that is another: each diagnostic asks for it.
    shown: Option<String>,
}

impl Sources {
    /// One text.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Sources {
        let mut sources = Sources::default();
        sources.add(name, text);
        sources
    }

    /// Adds a text; where it begins.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> usize {
        let (name, text) = (name.into(), text.into());
        // One byte between, so that the end of a text is not the start of the next.
        let base = self.files.last().map_or(0, |last| last.base + last.text.len() + 1);
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let shown = match in_place(&text) {
            Cow::Borrowed(_) => None,
            Cow::Owned(shown) => Some(shown),
        };
        self.files.push(SourceFile { name, text, base, lines, shown });
        base
    }

    /// All texts, in order.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// How many bytes all texts have.
    pub fn len(&self) -> usize {
        self.files.iter().map(|file| file.text.len()).sum()
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the text that an offset is in.
    pub fn index_of(&self, offset: u32) -> usize {
        self.files.partition_point(|file| file.base <= offset as usize).saturating_sub(1)
    }

    /// The text that an offset is in, the number of its line there, counted from 0, and where the line begins.
    pub fn line_of(&self, offset: u32) -> Option<(&SourceFile, usize, usize)> {
        let file = self.files.get(self.index_of(offset))?;
        let within = offset as usize - file.base;
        let line = file.lines.partition_point(|start| *start <= within).saturating_sub(1);
        Some((file, line, file.lines[line]))
    }
}

impl SourceFile {
    /// A line's text, without its break.
    pub fn line(&self, index: usize) -> &str {
        let start = self.lines.get(index).copied().unwrap_or(self.text.len());
        let rest = &self.text[start..];
        rest.split('\n').next().unwrap_or_default().trim_end_matches('\r')
    }
}

impl<'a> Files<'a> for Sources {
    type FileId = usize;
    type Name = Cow<'a, str>;
    type Source = Cow<'a, str>;

    fn name(&'a self, id: usize) -> Result<Cow<'a, str>, files::Error> {
        self.files.get(id).map(|file| printable(&file.name)).ok_or(files::Error::FileMissing)
    }

    fn source(&'a self, id: usize) -> Result<Cow<'a, str>, files::Error> {
        let file = self.files.get(id).ok_or(files::Error::FileMissing)?;
        Ok(Cow::Borrowed(file.shown.as_ref().unwrap_or(&file.text)))
    }

    fn line_index(&'a self, id: usize, at: usize) -> Result<usize, files::Error> {
        let file = self.files.get(id).ok_or(files::Error::FileMissing)?;
        Ok(file.lines.partition_point(|start| *start <= at).saturating_sub(1))
    }

    fn line_range(&'a self, id: usize, index: usize) -> Result<Range<usize>, files::Error> {
        let file = self.files.get(id).ok_or(files::Error::FileMissing)?;
        let max = file.lines.len().saturating_sub(1);
        let start = *file.lines.get(index).ok_or(files::Error::LineTooLarge { given: index, max })?;
        Ok(start..file.lines.get(index + 1).copied().unwrap_or(file.text.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_the_text_that_they_come_from() {
        let mut sources = Sources::new("a", "one\ntwo");
        assert_eq!(sources.add("b", "three\nfour\n"), 8);
        let place =
            |offset| sources.line_of(offset).map(|(file, line, _)| (file.name.as_str(), file.line(line)));
        assert_eq!(place(0), Some(("a", "one")));
        assert_eq!(place(4), Some(("a", "two")));
        assert_eq!(place(7), Some(("a", "two")));
        assert_eq!(place(8), Some(("b", "three")));
        assert_eq!(place(14), Some(("b", "four")));
        assert_eq!(place(19), Some(("b", "")));
    }
}
