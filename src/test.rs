//! `memql test FILE...`: runs the tests that scripts, or files beside them, have of themselves.
//!
//! A file of tests names its script: `script "../memleak.mq";`. Both are one tree then, in which what comes from the
//! file of tests stands behind the script's text ([`Texts`]), so that every place in either can be pointed at.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use memql_compiler::check::{self, RunConfig};
use memql_compiler::diagnostic::{self, Diagnostic};
use memql_compiler::testing::diagnostics;
use memql_grammar::ast::{Item, Script as Tree, Span, Test};
use memql_runtime::error::RunError;
use memql_runtime::testing::{self, TestRun};
use memql_runtime::words;

use crate::Failure;
use crate::args::{self, ScriptSource, Split};
use crate::script::Script;

/// A test failed, or a file is wrong.
const FAILED: u8 = 1;

/// The process that `-c` would start.
const CHILD: u32 = 1000;

const HELP: &str = "\
A test stands in the script itself, or in a file that begins with `script \"SCRIPT\";`:

  test \"large reads are counted\" {
      fire kprobe:vfs_read (pid = 7, comm = \"cat\", arg2 = 5000);
      expect @large[\"cat\"] == 1;
  }

It runs without root, a kernel, or the machine's own types: docs/testing-scripts.md has it all.

Exit status: 0 when all tests passed, 1 when one failed or a file is wrong, 2 for wrong usage.";

/// Whether the command line is one of `memql test`. (A script of that name is `./test`.)
pub fn is_asked_for(argv: &[OsString]) -> bool {
    argv.first().is_some_and(|first| first == "test")
}

/// Runs all tests of all files.
pub fn run(argv: &[OsString]) -> Result<u8, Failure> {
    let command = Command::new("memql test")
        .about("Run the tests of scripts, without root and without a kernel")
        .after_help(HELP)
        .no_binary_name(true)
        .arg(
            Arg::new("filter")
                .long("filter")
                .value_name("TEXT")
                .help("Run only tests whose title contains TEXT"),
        )
        .arg(
            Arg::new("quiet")
                .short('q')
                .long("quiet")
                .action(ArgAction::SetTrue)
                .help("Print only what fails, and the summary"),
        )
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .num_args(1..)
                .value_parser(clap::value_parser!(PathBuf))
                .help("Scripts with tests, or files of tests"),
        );
    let matches = command.try_get_matches_from(argv.iter().skip(1))?;
    let filter = matches.get_one::<String>("filter").map(String::as_str).unwrap_or_default();
    let mut runner = Runner { filter, quiet: matches.get_flag("quiet"), ..Runner::default() };
    for file in matches.get_many::<PathBuf>("file").into_iter().flatten() {
        runner.file(file)?;
    }
    runner.summary()
}

/// Counts what happens.
#[derive(Default)]
struct Runner<'f> {
    filter: &'f str,
    quiet: bool,
    passed: usize,
    failed: usize,
    filtered: usize,
    /// Files that could not be tested at all.
    wrong: usize,
}

impl Runner<'_> {
    /// Runs the tests of a file; one that is wrong is reported, and does not keep others from being run.
    fn file(&mut self, path: &Path) -> Result<(), Failure> {
        crate::print(format!("{}\n", path.display()).as_bytes())?;
        match File::read(path) {
            Ok(file) => self.tests(&file),
            Err(text) => {
                self.wrong += 1;
                eprint!("{text}");
                Ok(())
            }
        }
    }

    fn tests(&mut self, file: &File) -> Result<(), Failure> {
        for test in testing::tests_of(&file.tree).1 {
            let title = String::from_utf8_lossy(&test.title.bytes);
            if !title.contains(self.filter) {
                self.filtered += 1;
                continue;
            }
            match file.test(test) {
                Ok(()) => {
                    self.passed += 1;
                    if !self.quiet {
                        crate::print(format!("  ok    {title}\n").as_bytes())?;
                    }
                }
                Err(findings) => {
                    self.failed += 1;
                    crate::print(format!("  FAIL  {title}\n").as_bytes())?;
                    eprint!("{}", file.texts.render(&findings));
                }
            }
        }
        Ok(())
    }

    fn summary(&self) -> Result<u8, Failure> {
        let Runner { filter: _, quiet: _, passed, failed, filtered, wrong } = self;
        let mut line = format!("{passed} passed, {failed} failed");
        if *filtered > 0 {
            line.push_str(&format!(", {filtered} filtered out"));
        }
        if *wrong > 0 {
            line.push_str(&format!(", {wrong} file{} not tested", if *wrong == 1 { "" } else { "s" }));
        }
        crate::print(format!("{line}\n").as_bytes())?;
        Ok(if *failed + *wrong > 0 { FAILED } else { 0 })
    }
}

/// A file of tests with its script.
struct File {
    texts: Texts,
    /// The script's items, then those of the file of tests.
    tree: Tree,
    script: Script,
}

impl File {
    /// Reads a file, and the script that it names; a failure as it is shown.
    fn read(path: &Path) -> Result<File, String> {
        let show = |error: RunError| format!("{error}\n");
        let read = |path: &Path| Script::read(&ScriptSource::File(path.as_os_str().to_owned())).map_err(show);
        let file = read(path)?;
        let alone =
            Texts { script: (String::new(), String::new()), tests: (file.name.clone(), file.text.clone()) };
        let tree = alone.parse_tests()?;
        let mut named =
            tree.items.iter().filter_map(|i| if let Item::TestedScript(s) = i { Some(s) } else { None });
        let (script, texts, tree) = match (named.next(), named.next()) {
            (_, Some(second)) => {
                let (title, help) = ("a file of tests is about one script", "put the tests into two files");
                return Err(alone.render(&[*diagnostics::step_order(second.span, title, help)]));
            }
            (None, None) => (file, alone, tree),
            (Some(named), None) => {
                let beside = path.parent().unwrap_or(Path::new("")).join(named.path.bytes_as_path());
                let script = read(&beside)?;
                let texts = Texts {
                    script: (script.name.clone(), script.text.clone()),
                    tests: (file.name, file.text),
                };
                let mut tree = memql_grammar::parse(&script.text)
                    .map_err(|errors| texts.render(&check::syntax_diagnostics(&errors)))?;
                // The script's own tests are run with the script itself.
                tree.items.retain(|item| !matches!(item, Item::Test(_)));
                tree.items.extend(texts.parse_tests()?.items);
                (script, texts, tree)
            }
        };
        if testing::tests_of(&tree).1.is_empty() {
            let error = RunError::plain(format!("there are no tests in `{}`", path.display()));
            return Err(show(
                error.help("write `test \"what is expected\" { ... }`: see `memql test --help`"),
            ));
        }
        Ok(File { texts, tree, script })
    }

    fn test(&self, test: &Test) -> Result<(), Vec<Diagnostic>> {
        let how = self.command_line(test)?;
        testing::run(&self.tree, &testing::tests_of(&self.tree).0, test, &how)
    }

    /// What `run` asks for, read as a real command line is.
    fn command_line(&self, test: &Test) -> Result<TestRun, Vec<Diagnostic>> {
        let given = testing::command_line(test).map_err(|finding| vec![*finding])?;
        let (text, span) = given.unwrap_or((b"", test.title.span));
        let wrong = |why: &str| vec![*diagnostics::wrong_run(span, why)];
        let text = std::str::from_utf8(text).map_err(|_| wrong("it is not UTF-8"))?;
        let words = match text.trim() {
            "" => Vec::new(),
            text => words::split(text).map_err(|error| wrong(&error.to_string()))?,
        };
        let after: Vec<OsString> = words.into_iter().map(Into::into).collect();
        let source = Some(ScriptSource::File(self.script.name.clone().into()));
        let declared = check::script_options(&self.tree)?;
        let args =
            args::parse(&Split { before: Vec::new(), script: source, after }, &declared, &self.script.help())
                .map_err(|error| {
                    wrong(
                        error
                            .to_string()
                            .trim()
                            .trim_start_matches("error: ")
                            .lines()
                            .next()
                            .unwrap_or_default(),
                    )
                })?;
        let run = RunConfig {
            pid: args.pid,
            child: args.command.as_ref().map(|_| CHILD),
            allow_unsafe: args.allow_unsafe,
            lost_by_place: false,
            positional: args.positional,
            named: args.named,
            options: args.options,
            environment: Default::default(),
        };
        Ok(TestRun { run, json: args.json })
    }
}

/// The texts that the places of one tree are in: the script, and behind it the file of tests.
struct Texts {
    /// Name and text.
    script: (String, String),
    /// Name and text.
    tests: (String, String),
}

impl Texts {
    /// The items of the file of tests. Blanks in place of the script's text move its places behind those of the script.
    fn parse_tests(&self) -> Result<Tree, String> {
        let (_, text) = &self.tests;
        let shebang = if text.starts_with("#!") { text.find('\n').unwrap_or(text.len()) } else { 0 };
        let moved = format!("{}{}", " ".repeat(self.script.1.len() + shebang), &text[shebang..]);
        memql_grammar::parse(&moved).map_err(|errors| self.render(&check::syntax_diagnostics(&errors)))
    }

    /// Diagnostics as text, each with the file that its main place is in.
    fn render(&self, findings: &[Diagnostic]) -> String {
        let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let mut files = BTreeSet::new();
        files.extend(findings.iter().map(|finding| self.is_test(finding.primary.0)));
        let of_file = |is_test: &bool| {
            let (name, text) = if *is_test { &self.tests } else { &self.script };
            let own: Vec<Diagnostic> = findings
                .iter()
                .filter(|finding| self.is_test(finding.primary.0) == *is_test)
                .map(|finding| self.in_one_file(finding, *is_test))
                .collect();
            diagnostic::render(name, text, &own, colour)
        };
        files.iter().map(of_file).collect()
    }

    fn is_test(&self, span: Span) -> bool {
        span.start as usize >= self.script.1.len()
    }

    /// Places in the other file become notes.
    fn in_one_file(&self, finding: &Diagnostic, is_test: bool) -> Diagnostic {
        let shift = if is_test { self.script.1.len() as u32 } else { 0 };
        let moved = |span: Span| Span { start: span.start - shift, end: span.end.saturating_sub(shift) };
        let mut own = finding.clone();
        own.primary.0 = moved(finding.primary.0);
        own.secondary.clear();
        for (span, label) in &finding.secondary {
            if self.is_test(*span) == is_test {
                own.secondary.push((moved(*span), label.clone()));
            } else {
                let (name, text, from) = match self.is_test(*span) {
                    true => (&self.tests.0, &self.tests.1, span.start as usize - self.script.1.len()),
                    false => (&self.script.0, &self.script.1, span.start as usize),
                };
                let line = 1 + text.get(..from).unwrap_or(text).matches('\n').count();
                own.notes.push(format!("{name}:{line}: {label}"));
            }
        }
        own
    }
}

/// A string of a script as a path.
trait AsPath {
    fn bytes_as_path(&self) -> &Path;
}

impl AsPath for memql_grammar::ast::StrLit {
    fn bytes_as_path(&self) -> &Path {
        use std::os::unix::ffi::OsStrExt;
        Path::new(std::ffi::OsStr::from_bytes(&self.bytes))
    }
}
