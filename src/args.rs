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
use std::ffi::OsString;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Arg, ArgAction, ArgMatches, Command};
use memql_compiler::check::{OptionSpec, OptionType, OptionValue};

/// What a run was asked to do.
#[derive(Debug, Default)]
pub struct Args {
    /// `-p`
    pub pid: Option<u32>,
    /// `-c`
    pub command: Option<String>,
    /// `-l`
    pub list: bool,
    /// The pattern of `-l`.
    pub pattern: Option<String>,
    /// `-f json`
    pub json: bool,
    /// `-o`
    pub output: Option<String>,
    /// `-q`
    pub quiet: bool,
    /// `-v`
    pub verbose: bool,
    /// `--emit`
    pub emit: Option<Emit>,
    /// `--check`
    pub check: bool,
    /// `--info`
    pub info: bool,
    /// `--ready-fd`
    pub ready_fd: Option<i32>,
    /// `--unsafe`
    pub allow_unsafe: bool,
    /// Positional parameters of the script.
    pub positional: Vec<String>,
    /// Named parameters of the script, after `--`.
    pub named: BTreeMap<String, String>,
    /// Declared options of the script that were given.
    pub options: BTreeMap<String, OptionValue>,
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
}

const EXAMPLES: &str = "\
Examples:
  memql scripts/memleak.mq -p 1234
  memql -e 'tracepoint:syscalls:sys_enter_openat { printf(\"%s %s\\n\", comm, str(args.filename)); }'
  memql -e 'uprobe:libc:malloc { @[comm] = hist(arg0); }' -c './prog args'
  memql -lv 'tracepoint:oom:*'
  memql scripts/memleak.mq --help

Exit status: 0 when the run ended well (or what the script gave to exit()), 1 for an error in the
script or from the system, 2 for wrong usage, 130 after a second Ctrl-C.";

fn styles() -> Styles {
    Styles::styled()
        .header(AnsiColor::Yellow.on_default())
        .usage(AnsiColor::Yellow.on_default())
        .literal(AnsiColor::Green.on_default())
        .placeholder(AnsiColor::Cyan.on_default())
}

/// memql's own flags: the one list that help, parsing and splitting use.
fn flags() -> Vec<Arg> {
    let switch =
        |name: &'static str, help: &'static str| Arg::new(name).action(ArgAction::SetTrue).help(help);
    let value = |name: &'static str, placeholder: &'static str, help: &'static str| {
        Arg::new(name).value_name(placeholder).help(help).allow_hyphen_values(true)
    };
    vec![
        value("program", "PROGRAM", "Run this program instead of a file").short('e'),
        value("pid", "PID", "Trace only this process; end when it does")
            .short('p')
            .value_parser(clap::value_parser!(u32)),
        value("command", "COMMAND", "Start this command and trace only it; end when it does").short('c'),
        switch("list", "List the probes that match a pattern; with -v their arguments too")
            .short('l')
            .long("list"),
        value("format", "FORMAT", "Output format: text or json").short('f').value_parser(["text", "json"]),
        value("output", "FILE", "Write the output to a file").short('o').long("output"),
        switch("quiet", "Print nothing but what the script prints").short('q').long("quiet"),
        switch("verbose", "Say what was loaded and attached; show the kernel verifier's log on failure")
            .short('v')
            .long("verbose"),
        value("emit", "STAGE", "Compile only, and print a stage: ast, ir, asm or elf")
            .long("emit")
            .value_parser(["ast", "ir", "asm", "elf"]),
        switch("check", "Compile only").long("check"),
        switch("info", "Say what this kernel offers").long("info"),
        value("ready-fd", "N", "Write a byte to this file descriptor when everything is attached")
            .long("ready-fd")
            .value_parser(clap::value_parser!(i32).range(0..)),
        switch("unsafe", "Allow scripts to run commands and to send signals").long("unsafe"),
    ]
}

fn command() -> Command {
    Command::new("memql")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A memory-first tracer for Linux: bpftrace's language, compiled straight to eBPF")
        .override_usage("memql [FLAGS] FILE [SCRIPT ARGS]\n       memql [FLAGS] -e PROGRAM [SCRIPT ARGS]\n       memql -l [PATTERN]")
        .after_help(EXAMPLES)
        .styles(styles())
        .args(flags())
        .args_override_self(true)
        .arg(Arg::new("rest").value_name("FILE").num_args(0..).help("The script; `-` is standard input").hide(true))
}

/// Finds the script among the arguments (without the program's name).
pub fn split(argv: &[OsString]) -> Split {
    let known = flags();
    let takes_value = |arg: &Arg| matches!(arg.get_action(), ArgAction::Set);
    let mut before = Vec::new();
    let mut listing = false;
    let mut i = 0;
    while i < argv.len() {
        let text = argv[i].to_string_lossy().into_owned();
        let rest = |i: usize| argv.get(i..).unwrap_or_default().to_vec();
        if text == "-" || (!text.starts_with('-') && !listing) {
            return Split { before, script: Some(ScriptSource::File(argv[i].clone())), after: rest(i + 1) };
        }
        if text == "--" {
            before.extend(rest(i));
            break;
        }
        before.push(argv[i].clone());
        i += 1;
        if let Some(long) = text.strip_prefix("--") {
            listing |= long == "list";
            let wants = known.iter().any(|a| a.get_long() == Some(long) && takes_value(a));
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
            let Some(arg) = known.iter().find(|a| a.get_short() == Some(*letter)) else { break };
            if !takes_value(arg) {
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
                    Some(program) => {
                        return Split { before, script: Some(ScriptSource::Inline(program)), after };
                    }
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
    Split { before, script: None, after: Vec::new() }
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
    let matches = command().no_binary_name(true).try_get_matches_from(&split.before)?;
    take_flags(&mut args, &matches);
    args.pattern = matches.get_many::<String>("rest").and_then(|mut r| r.next().cloned());
    if split.script.is_none() {
        return Ok(args);
    }
    let mut script = script_command(options, help);
    let matches = script.try_get_matches_from_mut(&split.after)?;
    take_flags(&mut args, &matches);
    take_options(&mut args, &matches, options, &mut script)?;
    Ok(args)
}

/// The command after the script: its options, and memql's flags that it does not declare itself.
fn script_command(options: &[OptionSpec], help: &ScriptHelp) -> Command {
    let declares = |flag: &Arg| {
        options.iter().flat_map(|o| &o.flags).any(|f| {
            flag.get_short().is_some_and(|s| *f == format!("-{s}"))
                || flag.get_long().is_some_and(|l| *f == format!("--{l}"))
        })
    };
    let own = flags().into_iter().filter(|f| f.get_id() != "program");
    let mut command = Command::new(help.name.clone())
        .bin_name(format!("memql {}", help.name))
        .about(help.about.clone())
        .styles(styles())
        .no_binary_name(true)
        .disable_version_flag(true)
        .args_override_self(true);
    for option in options {
        command = command.arg(option_arg(option));
    }
    for flag in own {
        if !declares(&flag) {
            command = command.arg(flag.help_heading("Flags of memql"));
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

/// A declared option as clap knows it.
fn option_arg(option: &OptionSpec) -> Arg {
    let mut arg = Arg::new(option_id(option)).help(help_text(option));
    if let Some(short) = option.flags.iter().find_map(|f| short_flag(f)) {
        arg = arg.short(short);
    }
    for flag in &option.flags {
        if let Some(long) = flag.strip_prefix("--") {
            arg = if arg.get_long().is_none() {
                arg.long(long.to_owned())
            } else {
                arg.visible_alias(long.to_owned())
            };
        }
    }
    if option.ty == OptionType::Bool {
        return arg.action(ArgAction::SetTrue);
    }
    arg = arg.allow_hyphen_values(!option.is_positional()).required(option.default.is_none());
    arg.value_name(option.value_name.clone().unwrap_or_else(|| option.name.to_uppercase()))
}

/// Script options live beside memql's flags: their ids must not meet.
fn option_id(option: &OptionSpec) -> String {
    format!("opt.{}", option.name)
}

fn short_flag(flag: &str) -> Option<char> {
    let mut letters = flag.strip_prefix('-')?.chars();
    letters.next().filter(|c| *c != '-' && letters.next().is_none())
}

fn help_text(option: &OptionSpec) -> String {
    match &option.default {
        Some(OptionValue::Int(n)) => format!("{} [default: {n}]", option.help),
        Some(OptionValue::Str(text)) if !text.is_empty() => format!("{} [default: {text}]", option.help),
        Some(OptionValue::Str(_) | OptionValue::Bool(_)) | None => option.help.clone(),
    }
}

fn take_flags(args: &mut Args, matches: &ArgMatches) {
    fn given<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
        matches.try_get_one::<T>(name).ok().flatten().cloned()
    }
    let switch = |name: &str| given::<bool>(matches, name).unwrap_or(false);
    args.pid = given(matches, "pid").or(args.pid);
    args.command = given(matches, "command").or(args.command.take());
    args.list |= switch("list");
    args.json = given::<String>(matches, "format").map_or(args.json, |format| format == "json");
    args.output = given(matches, "output").or(args.output.take());
    args.quiet |= switch("quiet");
    args.verbose |= switch("verbose");
    args.emit = match given::<String>(matches, "emit").as_deref() {
        Some("ast") => Some(Emit::Ast),
        Some("ir") => Some(Emit::Ir),
        Some("asm") => Some(Emit::Asm),
        Some(_) => Some(Emit::Elf),
        None => args.emit,
    };
    args.check |= switch("check");
    args.info |= switch("info");
    args.ready_fd = given(matches, "ready-fd").or(args.ready_fd);
    args.allow_unsafe |= switch("unsafe");
}

fn take_options(
    args: &mut Args,
    matches: &ArgMatches,
    options: &[OptionSpec],
    command: &mut Command,
) -> Result<(), clap::Error> {
    for option in options {
        let id = option_id(option);
        if option.ty == OptionType::Bool {
            if matches.get_flag(&id) {
                args.options.insert(option.name.clone(), OptionValue::Bool(true));
            }
        } else if let Some(text) = matches.get_one::<String>(&id) {
            let value = option.parse(text).map_err(|expected| {
                let name = option.flags.first().unwrap_or(&option.name);
                let message = format!("invalid value '{text}' for '{name}': {expected}");
                command.error(clap::error::ErrorKind::InvalidValue, message)
            })?;
            args.options.insert(option.name.clone(), value);
        }
    }
    if options.is_empty()
        && let Some(positional) = matches.get_many::<String>("ARGS")
    {
        args.positional.extend(positional.cloned());
    }
    for parameter in matches.get_many::<String>("parameters").into_iter().flatten() {
        match parameter.strip_prefix("--") {
            Some(named) => {
                let (name, value) = named.split_once('=').unwrap_or((named, ""));
                args.named.insert(name.to_owned(), value.to_owned());
            }
            None => args.positional.push(parameter.clone()),
        }
    }
    Ok(())
}
