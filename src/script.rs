//! A script's text: where it is read from, what it says of itself, and its diagnostics.

use std::io::{IsTerminal, Read};
use std::path::Path;

use memql_compiler::diagnostic::{self, Diagnostic};
use memql_compiler::import;
use memql_compiler::sources::Sources;
use memql_grammar::ast::Script as Tree;
use memql_runtime::error::RunError;

use crate::args::{ScriptHelp, ScriptSource};
use crate::imports::{self, FromDisk};

/// A script that was read.
pub struct Script {
    /// Its name in diagnostics.
    pub name: String,
    /// Its text, and those of what it imports.
    pub sources: Sources,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// If the file cannot be read or is not UTF-8.
    pub fn read(source: &ScriptSource) -> Result<Script, RunError> {
        let path = match source {
            ScriptSource::Inline(text) => {
                return Ok(Script { name: "-e".into(), sources: Sources::new("-e", text.clone()) });
            }
            ScriptSource::File(path) => path,
        };
        let name = path.to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        let read = if path == "-" {
            std::io::stdin().lock().read_to_end(&mut bytes).map(|_| ())
        } else {
            std::fs::read(path).map(|read| bytes = read)
        };
        read.map_err(|error| {
            let failed = RunError::system(format!("cannot read the script `{name}`"), &error);
            if error.kind() == std::io::ErrorKind::NotFound {
                failed.help("a program on the command line is given with -e: `memql -e 'PROGRAM'`")
            } else {
                failed
            }
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            RunError::plain(format!("the script `{name}` is not UTF-8 text: byte {at} does not belong there"))
        })?;
        Ok(Script { sources: Sources::new(name.clone(), text), name })
    }

    /// Its own text.
    pub fn text(&self) -> &str {
        self.sources.files().first().map_or("", |file| &file.text)
    }

    /// Its tree, with what it imports.
    ///
    /// # Errors
    /// What is wrong with its text, and with what it imports.
    pub fn parse(&mut self) -> Result<Tree, Vec<Diagnostic>> {
        let identity = imports::identity(Path::new(&self.name));
        import::load(&mut self.sources, 0, &identity, &FromDisk)
    }

    /// The tree of a file about this script, whose text comes to stand behind its own.
    ///
    /// # Errors
    /// What is wrong with that file's text, and with what it imports.
    pub fn parse_beside(&mut self, file: &Script) -> Result<Tree, Vec<Diagnostic>> {
        let index = self.sources.files().len();
        self.sources.add(file.name.clone(), file.text());
        import::load(&mut self.sources, index, &imports::identity(Path::new(&file.name)), &FromDisk)
    }

    /// Its diagnostics as text, coloured if standard error is a terminal.
    pub fn render(&self, diagnostics: &[Diagnostic]) -> String {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        diagnostic::render_in(&self.sources, diagnostics, colour)
    }

    /// What it says of itself: the first paragraph of its opening comment.
    pub fn help(&self) -> ScriptHelp {
        let comment = self.text().lines().skip_while(|line| line.starts_with("#!") || line.trim().is_empty());
        let about: Vec<&str> = comment
            .map_while(|line| line.trim().strip_prefix("//"))
            .map(str::trim)
            .take_while(|line| !line.is_empty())
            .collect();
        ScriptHelp { name: self.name.clone(), about: about.join(" ") }
    }
}
