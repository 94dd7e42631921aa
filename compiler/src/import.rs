//! Imports: a script with the items of the scripts that it imports, each once.
//!
//! ```text
//! import "helpers.bt";     -> what helpers.bt has, then what the script has
//! import "lib";            -> all scripts in that folder
//! ```
//!
//! Reading files is left to a [`Reader`]. Spans of each file count from where its text begins in the
//! [`Sources`]. A script that is imported has no `config` block: there is one run, and its settings are those of
//! the script that is run.

use std::collections::HashSet;

use memql_grammar::ast::{Import, Item, Script};
use memql_grammar::{MAX_SOURCE_BYTES, parse_at};

use crate::check::diagnostics::imports as errors;
use crate::check::syntax_diagnostics;
use crate::diagnostic::Diagnostic;
use crate::sources::Sources;
use crate::target::FactError;

/// The most files that a script may be made of.
const MAX_FILES: usize = 1000;

/// A file that an import names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The file as a user knows it.
    pub name: String,
    /// What tells it from all other files, however it is named.
    pub identity: String,
    /// Its text.
    pub text: String,
}

/// Reads the files that imports name.
pub trait Reader {
    /// The scripts that `path` names, as written in the file called `importing`: one, or all in a folder, in the
    /// order of their names.
    ///
    /// # Errors
    /// What cannot be read, and why.
    fn read(&self, importing: &str, path: &str) -> Result<Vec<Imported>, FactError>;
}

/// Parses one of the texts of `sources` and all that it imports, whose texts are added. `identity` tells its
/// file from all others.
///
/// # Errors
/// Syntax errors of all files, and imports that cannot be followed.
pub fn load(
    sources: &mut Sources,
    index: usize,
    identity: &str,
    reader: &dyn Reader,
) -> Result<Script, Vec<Diagnostic>> {
    let mut loader = Loader {
        sources,
        reader,
        done: HashSet::new(),
        root: index,
        open: vec![identity.to_owned()],
        items: Vec::new(),
        findings: Vec::new(),
    };
    loader.file(index);
    if !loader.findings.is_empty() {
        return Err(loader.findings);
    }
    Ok(Script { items: loader.items })
}

struct Loader<'a> {
    sources: &'a mut Sources,
    reader: &'a dyn Reader,
    /// The text that is not imported.
    root: usize,
    /// Files that were imported.
    done: HashSet<String>,
    /// The files around this one, each imported by the one before.
    open: Vec<String>,
    items: Vec<Item>,
    findings: Vec<Diagnostic>,
}

impl Loader<'_> {
    /// Parses a file of the sources; what it imports comes before its own items.
    fn file(&mut self, index: usize) {
        let file = &self.sources.files()[index];
        let (name, base) = (file.name.clone(), file.base);
        let script = match parse_at(&file.text, base) {
            Ok(script) => script,
            Err(errors) => return self.findings.extend(syntax_diagnostics(&errors)),
        };
        for item in &script.items {
            match item {
                Item::Import(import) => self.import(&name, import),
                Item::Config(config) if index != self.root => {
                    self.findings.push(errors::config_in_import(config.span))
                }
                _ => {}
            }
        }
        self.items.extend(script.items);
    }

    fn import(&mut self, importing: &str, import: &Import) {
        let path = String::from_utf8_lossy(&import.path.bytes).into_owned();
        if let Some(ending) = [".bpf.c", ".c", ".h"].into_iter().find(|ending| path.ends_with(ending)) {
            return self.findings.push(errors::import_of_c(&path, ending, import.path.span));
        }
        let files = match self.reader.read(importing, &path) {
            Ok(files) => files,
            Err(error) => return self.findings.push(errors::unreadable(&error, import.path.span)),
        };
        for file in files {
            if let Some(at) = self.open.iter().position(|open| *open == file.identity) {
                let mut chain = self.open[at..].to_vec();
                chain.push(file.identity);
                return self.findings.push(errors::import_cycle(&file.name, &chain, import.path.span));
            }
            if !self.done.insert(file.identity.clone()) {
                continue;
            }
            let bytes = self.sources.len() + file.text.len();
            if bytes > MAX_SOURCE_BYTES || self.sources.files().len() >= MAX_FILES {
                return self.findings.push(errors::imports_too_large(import.path.span, MAX_SOURCE_BYTES));
            }
            self.sources.add(file.name, file.text);
            self.open.push(file.identity);
            self.file(self.sources.files().len() - 1);
            self.open.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files by path.
    struct Folder(&'static [(&'static str, &'static str)]);

    impl Reader for Folder {
        fn read(&self, _importing: &str, path: &str) -> Result<Vec<Imported>, FactError> {
            let named: Vec<Imported> = self
                .0
                .iter()
                .filter(|(name, _)| *name == path || name.starts_with(&format!("{path}/")))
                .map(|(name, text)| Imported {
                    name: (*name).to_owned(),
                    identity: (*name).to_owned(),
                    text: (*text).to_owned(),
                })
                .collect();
            match named.is_empty() {
                true => Err(FactError { message: format!("cannot read `{path}`"), help: None }),
                false => Ok(named),
            }
        }
    }

    fn load_with(text: &str, files: &'static [(&'static str, &'static str)]) -> String {
        let mut sources = Sources::new("main.mq", text);
        match load(&mut sources, 0, "main.mq", &Folder(files)) {
            Ok(script) => memql_grammar::print(&script),
            Err(findings) => crate::diagnostic::render_in(&sources, &findings, false),
        }
    }

    #[test]
    fn what_is_imported_comes_first_and_once() {
        let found = load_with(
            "import \"a.bt\"; import \"lib\"; import \"a.bt\"; end { }",
            &[
                ("a.bt", "import \"lib/b.bt\"; begin { }"),
                ("lib/b.bt", "macro b() { }"),
                ("lib/c.bt", "macro c() { }"),
            ],
        );
        let heads: Vec<&str> = found.lines().filter(|line| !line.starts_with(' ')).collect();
        let kinds: Vec<&str> = heads.iter().filter_map(|line| line.split(" @").next()).collect();
        assert_eq!(
            kinds,
            ["macro b", "import", "probe", "macro c", "import", "import", "import", "probe"],
            "{found}"
        );
    }

    #[test]
    fn mistakes_are_shown_in_their_file() {
        let found = load_with("import \"a.bt\";\nbegin { }", &[("a.bt", "begin { }\n\nbegin { 1 2 }")]);
        assert!(found.contains("a.bt:3:11"), "{found}");
    }

    #[test]
    fn imports_end() {
        let cycle = load_with(
            "import \"a.bt\"; begin { }",
            &[("a.bt", "import \"main.mq\"; begin { }"), ("main.mq", "")],
        );
        assert!(cycle.contains("E0922") && cycle.contains("main.mq > a.bt > main.mq"), "{cycle}");
        let missing = load_with("import \"no.bt\"; begin { }", &[]);
        assert!(missing.contains("E0921") && missing.contains("cannot read `no.bt`"), "{missing}");
        let config = load_with("import \"a.bt\"; begin { }", &[("a.bt", "config = { max_strlen = 64 }")]);
        assert!(config.contains("E0923"), "{config}");
        let c = load_with("import \"a.bpf.c\"; begin { }", &[]);
        assert!(c.contains("E0924"), "{c}");
        let large: &str = Box::leak(" ".repeat(MAX_SOURCE_BYTES).into_boxed_str());
        let files = Box::leak(Box::new([("large.bt", large)]));
        let large = load_with("import \"large.bt\"; begin { }", files);
        assert!(large.contains("E0925"), "{large}");
    }
}
