//! The command line: memql's flags, and the options that a script declares.
//!
//! ```text
//! memql [FLAGS] FILE [FLAGS] [SCRIPT ARGS]
//! memql [FLAGS] -e PROGRAM [FLAGS] [SCRIPT ARGS]
//! ```
//!
//! A script's options are known only after the script is read, so parsing has two steps:
//! [`split`] finds the script among the arguments, then [`parse`] reads what stands before it with
//! memql's flags alone and what stands after it with the script's options as well. Where both
//! declare a flag, the script's wins after the script and memql's wins before it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

mod flags;
mod script_options;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Arg, ArgMatches, Command};
use memql_compiler::check::{OptionSpec, OptionValue, Purpose};
use memql_runtime::{Buffering, OutputFormat, Without};

use flags::{Flag, Take, flags};

/// What a run was asked to do.
#[derive(Debug, Default)]
pub struct Args {
    /// `-p`
    pub pid: Option<u32>,
    /// `--dwarf-pid`, each
    pub dwarf_pids: Vec<u32>,
    /// `-c`
    pub command: Option<String>,
    /// `-l`
    pub list: bool,
    /// The pattern of `-l`.
    pub pattern: Option<String>,
    /// `-f`
    pub format: OutputFormat,
    /// `-o`
    pub output: Option<String>,
    /// `-B`
    pub buffering: Buffering,
    /// `-q`
    pub quiet: bool,
    /// `-v`
    pub verbose: bool,
    /// `-k`, `--no-warnings`
    pub warnings: Warnings,
    /// What is done with the script.
    pub mode: Mode,
    /// `--test`, `--bench`
    pub purpose: Purpose,
    /// `--strict`
    pub strict: bool,
    /// `--dry-run`
    pub dry_run: bool,
    /// `-d`
    pub debug: Debug,
    /// `--info`
    pub info: bool,
    /// `--ready-fd`
    pub ready_fd: Option<i32>,
    /// `--probe-filter`
    pub probe_filter: Option<String>,
    /// `--no-feature`
    pub without: Without,
    /// `--debuginfo`: folders of debug files, in the order in which they are searched.
    pub debug_folders: Vec<PathBuf>,
    /// `--traceable-functions`
    pub traceable_functions: Option<PathBuf>,
    /// `--unsafe`
    pub allow_unsafe: bool,
    /// `-e` beside a script.
    second_program: bool,
    /// Flags that were given and have no effect: why not.
    pub notes: Vec<&'static str>,
    /// Positional parameters of the script.
    pub positional: Vec<String>,
    /// Named parameters of the script, after `--`.
    pub named: BTreeMap<String, String>,
    /// Declared options of the script that were given.
    pub options: BTreeMap<String, OptionValue>,
}

/// What is done with a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is run.
    #[default]
    Run,
    /// `--fmt`
    Format,
    /// `--check`
    Check,
    /// `--emit`
    Emit(Emit),
    /// `--emit-elf`, and the file.
    EmitElf(String),
}

/// `--emit`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// The syntax tree.
    Ast,
    /// The optimised intermediate representation.
    Ir,
    /// The eBPF instructions.
    Asm,
    /// The object, as bytes.
    Elf,
}

impl Emit {
    fn named(name: &str) -> Option<Emit> {
        match name {
            "ast" => Some(Emit::Ast),
            "ir" => Some(Emit::Ir),
            "asm" => Some(Emit::Asm),
            "elf" => Some(Emit::Elf),
            _ => None,
        }
    }
}

/// `-d`: what is printed to standard error on the way to a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Debug {
    /// The syntax tree.
    pub ast: bool,
    /// The optimised intermediate representation.
    pub ir: bool,
    /// The eBPF instructions.
    pub asm: bool,
    /// What libbpf says while it loads the object.
    pub libbpf: bool,
    /// What the kernel verifier says of each program.
    pub verifier: bool,
}

impl Debug {
    /// Adds a stage by memql's name or bpftrace's.
    fn add(&mut self, stage: &str) -> Result<(), String> {
        match stage {
            "ast" | "parse" | "types" => self.ast = true,
            "ir" | "codegen" | "codegen-opt" => self.ir = true,
            "asm" | "dis" => self.asm = true,
            "libbpf" => self.libbpf = true,
            "verifier" => self.verifier = true,
            "all" => *self = Debug { ast: true, ir: true, asm: true, libbpf: true, verifier: true },
            _ => return Err("expected `ast`, `ir`, `asm`, `libbpf`, `verifier` or `all`".into()),
        }
        Ok(())
    }
}

/// Which warnings are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warnings {
    /// `--no-warnings`: none.
    pub none: bool,
    /// `-k`: those of run time too.
    pub at_run_time: bool,
}

/// Where the script is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptSource {
    /// `-e PROGRAM`
    Inline(String),
    /// A file; `-` is standard input.
    File(OsString),
}

/// The arguments around the script.
#[derive(Debug)]
pub struct Split {
    /// What stands before it.
    pub before: Vec<OsString>,
    /// The script, if there is one.
    pub script: Option<ScriptSource>,
    /// What stands after it.
    pub after: Vec<OsString>,
    /// How many programs stand before the one that is run.
    pub left_out: usize,
}

const EXAMPLES: &str = "\
Examples:
  memql scripts/memleak.mq -p 1234
  memql -e 'tracepoint:syscalls:sys_enter_openat { printf(\"%s %s\\n\", comm, str(args.filename)); }'
  memql -e 'uprobe:libc:malloc { @[comm] = hist(arg0); }' -c './prog args'
  memql -lv 'tracepoint:oom:*'
  memql -l scripts/memleak.mq
  memql scripts/memleak.mq --help
  memql test my_script.mq

Exit status: 0 when the run ended well (or what the script gave to exit()), 1 for an error in the
script or from the system, 2 for wrong usage, 3 when something was lost under --strict, 130 after a second Ctrl-C.";

fn styles() -> Styles {
    Styles::styled()
        .header(AnsiColor::Yellow.on_default())
        .usage(AnsiColor::Yellow.on_default())
        .literal(AnsiColor::Green.on_default())
        .placeholder(AnsiColor::Cyan.on_default())
}

fn command() -> Command {
    Command::new("memql")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A memory-first tracer for Linux: bpftrace's language, compiled straight to eBPF")
        .override_usage("memql [FLAGS] FILE [SCRIPT ARGS]\n       memql [FLAGS] -e PROGRAM [SCRIPT ARGS]\n       memql -l [PATTERN]\n       memql test FILE...")
        .after_help(EXAMPLES)
        .styles(styles())
        .args(flags().into_iter().map(|flag| flag.arg))
        .args_override_self(true)
        .arg(Arg::new("rest").value_name("FILE").num_args(0..).help("The script; `-` is standard input").hide(true))
}

/// Finds the script among the arguments (without the program's name). After `-l`, a word is the script only
/// if it names one, as `is_file` says; any other is a pattern.
pub fn split(argv: &[OsString], is_file: impl Fn(&OsStr) -> bool) -> Split {
    let known = flags();
    let mut before = Vec::new();
    let mut listing = false;
    let mut i = 0;
    while i < argv.len() {
        let text = argv[i].to_string_lossy().into_owned();
        let rest = |i: usize| argv.get(i..).unwrap_or_default().to_vec();
        if text == "-" || (!text.starts_with('-') && (!listing || is_file(&argv[i]))) {
            return Split {
                before,
                script: Some(ScriptSource::File(argv[i].clone())),
                after: rest(i + 1),
                left_out: 0,
            };
        }
        if text == "--" {
            before.extend(rest(i));
            break;
        }
        before.push(argv[i].clone());
        i += 1;
        if !text.starts_with('-') {
            continue;
        }
        if let Some(long) = text.strip_prefix("--") {
            listing |= long == "list";
            let wants = known.iter().any(|flag| flag.arg.get_long() == Some(long) && flag.takes_value());
            if wants && i < argv.len() {
                before.push(argv[i].clone());
                i += 1;
            }
            continue;
        }
        // A cluster of short flags; the first that takes a value takes the rest of the cluster.
        let letters: Vec<char> = text.chars().skip(1).collect();
        for (n, letter) in letters.iter().enumerate() {
            listing |= *letter == 'l';
            let Some(flag) = known.iter().find(|f| f.arg.get_short() == Some(*letter)) else { break };
            if !flag.takes_value() {
                continue;
            }
            let attached: String = letters[n + 1..].iter().collect();
            if *letter == 'e' {
                before.pop();
                let earlier: String = letters[..n].iter().collect();
                if !earlier.is_empty() {
                    before.push(format!("-{earlier}").into());
                }
                let program = if attached.is_empty() {
                    argv.get(i).map(|p| p.to_string_lossy().into_owned())
                } else {
                    Some(attached.clone())
                };
                let after = rest(if attached.is_empty() { i + 1 } else { i });
                match program {
                    Some(program) => return with_last_program(before, program, after),
                    None => before.push("-e".into()),
                }
                break;
            }
            if attached.is_empty() && i < argv.len() {
                before.push(argv[i].clone());
                i += 1;
            }
            break;
        }
    }
    Split { before, script: None, after: Vec::new(), left_out: 0 }
}

/// Of several programs the last one is run, as in bpftrace; [`Split::left_out`] tells of the others.
fn with_last_program(before: Vec<OsString>, first: String, mut after: Vec<OsString>) -> Split {
    let (mut program, mut left_out) = (first, 0);
    let end = |after: &[OsString]| after.iter().position(|word| word == "--").unwrap_or(after.len());
    while let Some(at) = after[..end(&after)].iter().position(|word| word == "-e")
        && at + 1 < end(&after)
    {
        program = after[at + 1].to_string_lossy().into_owned();
        after.drain(at..=at + 1);
        left_out += 1;
    }
    Split { before, script: Some(ScriptSource::Inline(program)), after, left_out }
}

/// What a script says of itself, for its `--help`.
#[derive(Clone, Debug, Default)]
pub struct ScriptHelp {
    /// Its name as given on the command line.
    pub name: String,
    /// The first paragraph of its opening comment.
    pub about: String,
}

/// Reads only what stands before the script: requests for memql's own help are answered before the
/// script is read.
///
/// # Errors
/// Wrong usage, and requests for help or the version, as clap's error value.
pub fn parse_before(split: &Split) -> Result<(), clap::Error> {
    command().no_binary_name(true).try_get_matches_from(&split.before).map(|_| ())
}

/// The error for a command line that names nothing to do.
pub fn missing_script() -> clap::Error {
    command().error(
        clap::error::ErrorKind::MissingRequiredArgument,
        "no script was given: name a file, or a program with -e",
    )
}

/// Reads the arguments around a script, with the options that it declares.
///
/// # Errors
/// Wrong usage, and requests for help or the version, as clap's error value.
pub fn parse(split: &Split, options: &[OptionSpec], help: &ScriptHelp) -> Result<Args, clap::Error> {
    let mut args = Args::default();
    let mut own = command().no_binary_name(true);
    let matches = own.try_get_matches_from_mut(&split.before)?;
    take_flags(&mut args, &matches, &mut own)?;
    args.pattern = matches.get_many::<String>("rest").and_then(|mut r| r.next().cloned());
    if split.left_out > 0 {
        args.notes.push("-e was given more than once: only the last program is run");
    }
    if split.script.is_some() {
        let mut script = script_command(options, help);
        let matches = script.try_get_matches_from_mut(&split.after)?;
        take_flags(&mut args, &matches, &mut script)?;
        if args.second_program {
            let message = "-e after the script: a run has one script, of as many probes as you like";
            return Err(script.error(clap::error::ErrorKind::ArgumentConflict, message));
        }
        script_options::take(&mut args, &matches, options, &mut script)?;
    }
    check_together(&args, &mut own)?;
    Ok(args)
}

/// Flags that say the opposite of each other.
fn check_together(args: &Args, command: &mut Command) -> Result<(), clap::Error> {
    let conflict = match (args, args.warnings) {
        (Args { pid: Some(_), command: Some(_), .. }, _) => {
            "`-p` and `-c` cannot be used together: a run is about one process"
        }
        (_, Warnings { none: true, at_run_time: true }) => "`-k` and `--no-warnings` cannot be used together",
        _ => return Ok(()),
    };
    Err(command.error(clap::error::ErrorKind::ArgumentConflict, conflict))
}

/// The command after the script: its options, and memql's flags that it does not declare itself.
fn script_command(options: &[OptionSpec], help: &ScriptHelp) -> Command {
    let declares = |flag: &Flag| {
        options.iter().flat_map(|o| &o.flags).any(|f| {
            flag.arg.get_short().is_some_and(|s| *f == format!("-{s}"))
                || flag.arg.get_long().is_some_and(|l| *f == format!("--{l}"))
        })
    };
    let mut command = Command::new(help.name.clone())
        .bin_name(format!("memql {}", help.name))
        .about(help.about.clone())
        .styles(styles())
        .no_binary_name(true)
        .disable_version_flag(true)
        .args_override_self(true);
    for option in options {
        command = command.arg(script_options::arg(option));
    }
    for flag in flags() {
        if !declares(&flag) {
            command = command.arg(flag.arg.help_heading("Flags of memql"));
        }
    }
    if options.is_empty() {
        command = command.arg(Arg::new("ARGS").num_args(0..).help("Positional parameters: $1, $2, ..."));
    }
    command.arg(
        Arg::new("parameters")
            .last(true)
            .num_args(0..)
            .value_name("--NAME=VALUE")
            .help("Named parameters, for getopt(), and further positional ones"),
    )
}

/// Lets each flag that was given do what it does.
fn take_flags(args: &mut Args, matches: &ArgMatches, command: &mut Command) -> Result<(), clap::Error> {
    for flag in flags() {
        let name = flag.arg.get_id().as_str();
        // A flag that the script declares itself is not among the matches.
        let given: Vec<String> = match matches.try_get_raw(name) {
            Ok(Some(values)) => values.map(|value| value.to_string_lossy().into_owned()).collect(),
            Ok(None) | Err(_) => Vec::new(),
        };
        let written = flag.written();
        let switched = flag.takes_value() || given.iter().any(|value| value == "true");
        if given.is_empty() || !switched {
            continue;
        }
        match flag.take {
            Take::Switch(take) => take(args),
            Take::Value(take) => given.iter().try_for_each(|value| {
                take(args, value).map_err(|expected| {
                    let message = format!("invalid value '{value}' for '{written}': {expected}");
                    command.error(clap::error::ErrorKind::InvalidValue, message)
                })
            })?,
            Take::Needless(why) => args.notes.push(why),
            Take::Instead(what) => {
                let message = format!("there is no '{written}' in memql: {what}");
                return Err(command.error(clap::error::ErrorKind::UnknownArgument, message));
            }
        }
    }
    Ok(())
}
