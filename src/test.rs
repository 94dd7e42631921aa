//! `memql test FILE...`: runs the tests that scripts, or files beside them, have of themselves.
//!
//! A file of tests names its script: `script "../memleak.mq";`. Both are one tree then, in which what comes from the
//! file of tests stands behind the script's text ([`Texts`]), so that every place in either can be pointed at.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};
use memql_compiler::check::{self, RunConfig};
use memql_compiler::diagnostic::Diagnostic;
use memql_compiler::testing::diagnostics;
use memql_grammar::ast::{Item, Script as Tree, Test};
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
        .about("Run the `test \"NAME\" { ... }` blocks of scripts in an interpreter, without root and without a kernel (`memql --test` runs `test:NAME` probes in the kernel)")
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
                    eprint!("{}", file.script.render(&findings));
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
    /// The script's items, then those of the file of tests.
    tree: Tree,
    /// The script, with the text of the file of tests behind its own.
    script: Script,
}

impl File {
    /// Reads a file, and the script that it names; a failure as it is shown.
    fn read(path: &Path) -> Result<File, String> {
        let show = |error: RunError| format!("{error}\n");
        let read = |path: &Path| Script::read(&ScriptSource::File(path.as_os_str().to_owned())).map_err(show);
        let mut file = read(path)?;
        let tree = file.parse().map_err(|findings| file.render(&findings))?;
        let mut named =
            tree.items.iter().filter_map(|i| if let Item::TestedScript(s) = i { Some(s) } else { None });
        let (script, tree) = match (named.next(), named.next()) {
            (_, Some(second)) => {
                let (title, help) = ("a file of tests is about one script", "put the tests into two files");
                return Err(file.render(&[*diagnostics::step_order(second.span, title, help)]));
            }
            (None, None) => (file, tree),
            (Some(named), None) => {
                let beside = path.parent().unwrap_or(Path::new("")).join(named.path.bytes_as_path());
                let mut script = read(&beside)?;
                let mut tree = script.parse().map_err(|findings| script.render(&findings))?;
                // The script's own tests are run with the script itself.
                tree.items.retain(|item| !matches!(item, Item::Test(_)));
                let tests = script.parse_beside(&file).map_err(|findings| script.render(&findings))?;
                tree.items.extend(tests.items);
                (script, tree)
            }
        };
        if testing::tests_of(&tree).1.is_empty() {
            let error = RunError::plain(format!("there are no tests in `{}`", path.display()));
            return Err(show(
                error.help("write `test \"what is expected\" { ... }`: see `memql test --help`"),
            ));
        }
        Ok(File { tree, script })
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
        let args = args::parse(
            &Split { before: Vec::new(), script: source, after, left_out: 0 },
            &declared,
            &self.script.help(),
        )
        .map_err(|error| {
            wrong(error.to_string().trim().trim_start_matches("error: ").lines().next().unwrap_or_default())
        })?;
        let run = RunConfig {
            purpose: Default::default(),
            pid: args.pid,
            child: args.command.as_ref().map(|_| CHILD),
            allow_unsafe: args.allow_unsafe,
            lost_by_place: false,
            positional: args.positional,
            named: args.named,
            options: args.options,
            environment: Default::default(),
        };
        Ok(TestRun { run, json: args.format == memql_runtime::OutputFormat::Json })
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
