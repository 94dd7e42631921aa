//! A script's text: where it is read from, what it says of itself, and its diagnostics.

use std::io::{IsTerminal, Read};

use memql_compiler::diagnostic::{self, Diagnostic};
use memql_runtime::error::RunError;

use crate::args::{ScriptHelp, ScriptSource};

/// A script that was read.
pub struct Script {
    /// Its name in diagnostics.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// If the file cannot be read or is not UTF-8.
    pub fn read(source: &ScriptSource) -> Result<Script, RunError> {
        let path = match source {
            ScriptSource::Inline(text) => return Ok(Script { name: "-e".into(), text: text.clone() }),
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
        Ok(Script { name, text })
    }

    /// Its diagnostics as text, coloured if standard error is a terminal.
    pub fn render(&self, diagnostics: &[Diagnostic]) -> String {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        diagnostic::render(&self.name, &self.text, diagnostics, colour)
    }

    /// What it says of itself: the first paragraph of its opening comment.
    pub fn help(&self) -> ScriptHelp {
        let comment = self.text.lines().skip_while(|line| line.starts_with("#!") || line.trim().is_empty());
        let about: Vec<&str> = comment
            .map_while(|line| line.trim().strip_prefix("//"))
            .map(str::trim)
            .take_while(|line| !line.is_empty())
            .collect();
        ScriptHelp { name: self.name.clone(), about: about.join(" ") }
    }
}
