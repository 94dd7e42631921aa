//! memql's command line: reads a script, compiles it for the running kernel and runs it.
//!
//! Exit status: 0 when the run ended well (or what the script gave to `exit()`), 1 for an error in
//! the script or from the system, 2 for wrong usage, 3 when something was lost under
//! `--strict`, 130 after a second Ctrl-C. Data goes to
//! standard output, everything else to standard error.

mod args;
mod imports;
mod script;
mod test;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use args::{Args, Debug, Emit, Mode, ScriptHelp, Split};
use memql_compiler::check::{self, RunConfig};
use memql_compiler::compile::{Compilation, compile};
use memql_compiler::diagnostic;
use memql_compiler::printable::printable;
use memql_runtime::error::RunError;
use memql_runtime::output::create_output;
use memql_runtime::process::{Child, Process};
use memql_runtime::target::Running;
use memql_runtime::{Logs, RunOptions, info, list, probe_filter};
use script::Script;

/// An error in the script or from the system.
const FAILED: u8 = 1;
/// Wrong usage.
const USAGE: u8 = 2;
/// Under `--strict`: something was lost.
const INCOMPLETE: u8 = 3;

fn main() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().skip(1).collect();
    let is_file = |word: &std::ffi::OsStr| std::path::Path::new(word).is_file();
    let done =
        if test::is_asked_for(&argv) { test::run(&argv) } else { invoke(&args::split(&argv, is_file)) };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(Failure::Usage(error)) => {
            let wrong = error.use_stderr();
            // A closed pipe ends quietly.
            let _ = error.print();
            ExitCode::from(if wrong { USAGE } else { 0 })
        }
        Err(Failure::Script(text)) => {
            eprint!("{text}");
            ExitCode::from(FAILED)
        }
        Err(Failure::System(error)) => {
            eprintln!("{}", printable(&error.to_string()));
            ExitCode::from(FAILED)
        }
    }
}

/// Why there is nothing to run, or why a run ended early.
enum Failure {
    /// Wrong usage, or a request for help or the version.
    Usage(clap::Error),
    /// The script is wrong: rendered diagnostics.
    Script(String),
    /// The system says no, or memql is wrong.
    System(RunError),
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Failure::Usage(error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Failure::System(error)
    }
}

fn invoke(split: &Split) -> Result<u8, Failure> {
    let Some(source) = &split.script else {
        return without_script(args::parse(split, &[], &ScriptHelp::default())?);
    };
    // memql's own flags before the script come first: `memql --help FILE` is memql's help.
    args::parse_before(split)?;
    let mut script = Script::read(source)?;
    let tree = script.parse().map_err(|errors| script.failure(&errors))?;
    let declared = check::script_options(&tree).map_err(|errors| script.failure(&errors))?;
    let args = args::parse(split, &declared, &script.help())?;
    if !args.quiet && !args.warnings.none {
        args.notes.iter().for_each(|note| eprintln!("warning: {note}"));
    }
    if args.mode == Mode::Emit(Emit::Ast) {
        return print(memql_grammar::print(&tree).as_bytes());
    }
    if args.mode == Mode::Format {
        let formatted = memql_grammar::format(script.text());
        let formatted = formatted.map_err(|errors| script.failure(&check::syntax_diagnostics(&errors)))?;
        return print(formatted.as_bytes());
    }
    if args.debug.ast {
        eprint!("{}", memql_grammar::print(&tree));
    }

    if let Some(pid) = args.pid {
        // Before anything is looked up in it: a process that does not exist is best named as such.
        Process::open(pid as i32)?;
    }
    if let Some(fd) = args.ready_fd {
        keep_from_children(fd)?;
    }
    let child = args.command.as_deref().map(Child::start_stopped).transpose()?;
    let child_pid = child.as_ref().map(Child::pid);
    let target = target(&args, child_pid)?;
    let run = RunConfig {
        purpose: args.purpose,
        pid: args.pid,
        child: child_pid,
        allow_unsafe: args.allow_unsafe,
        lost_by_place: args.warnings.at_run_time,
        positional: args.positional.clone(),
        named: args.named.clone(),
        options: args.options.clone(),
        environment: settings_of_environment(),
    };
    if args.list {
        let points = check::attach_points(&tree, &target, &run).map_err(|errors| script.failure(&errors))?;
        return listed(&args, &target, |out| list::list_points(&target, &points, args.verbose, out));
    }
    let mut compilation =
        compile(&script.sources, &tree, &target, &run).map_err(|errors| script.failure(&errors))?;
    if !compilation.warnings.is_empty() && !args.quiet && !args.warnings.none {
        eprint!("{}", script.render(&compilation.warnings));
    }
    show_stages(args.debug, &compilation);
    // In a run, what this kernel lacks is an error, unless an alternative has taken its place.
    if args.mode != Mode::Run && !args.warnings.none {
        say_refusals(&target);
    }
    match &args.mode {
        Mode::Run | Mode::Format => {}
        Mode::Check => return Ok(0),
        Mode::Emit(stage) => return emit(*stage, &compilation),
        Mode::EmitElf(path) => return write_object(path, &compilation.compiled.object),
    }
    if let Some(pattern) = &args.probe_filter {
        probe_filter::keep_matching(&mut compilation.compiled.plan, pattern)?;
    }
    let options = RunOptions {
        pid: args.pid,
        child,
        unwound: args.dwarf_pids,
        format: args.format,
        output: args.output.map(Into::into),
        buffering: args.buffering,
        quiet: args.quiet,
        verbose: args.verbose,
        logs: Logs { libbpf: args.debug.libbpf, verifier: args.debug.verifier },
        dry_run: args.dry_run,
        no_warnings: args.warnings.none,
        strict: args.strict,
        ready_fd: args.ready_fd,
    };
    let outcome = memql_runtime::run(compilation.compiled, &target, options)?;
    let lost_at = outcome
        .lost_at
        .into_iter()
        .map(|(span, what)| diagnostic::Diagnostic::warning("W0901", what, span, "here"));
    eprint!("{}", script.render(&lost_at.collect::<Vec<_>>()));
    if args.strict && !outcome.losses.is_empty() {
        eprintln!("error: the run is not complete: something was lost");
        return Ok(if outcome.exit_code == 0 { INCOMPLETE } else { outcome.exit_code });
    }
    Ok(outcome.exit_code)
}

fn without_script(args: Args) -> Result<u8, Failure> {
    if args.info {
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        info::info(&target(&args, None)?, &mut out)?;
        return Ok(0);
    }
    if args.list {
        let target = target(&args, None)?;
        return listed(&args, &target, |out| list::list(&target, args.pattern.as_deref(), args.verbose, out));
    }
    Err(args::missing_script().into())
}

/// The running kernel as the flags want it seen.
fn target(args: &Args, child: Option<u32>) -> Result<Running, RunError> {
    let mut target =
        Running::new(args.pid.or(child)).without(args.without).debug_folders(&args.debug_folders);
    if args.list || args.mode != Mode::Run {
        target = target.not_to_run();
    }
    match &args.traceable_functions {
        Some(path) => target.traceable_functions(path),
        None => Ok(target),
    }
}

/// Prints a list, and says what had to be left out of it.
fn listed(
    args: &Args,
    target: &Running,
    list: impl FnOnce(&mut dyn Write) -> Result<Vec<String>, RunError>,
) -> Result<u8, Failure> {
    let mut stdout = std::io::stdout().lock();
    let left_out = if stdout.is_terminal() {
        // Names come from files, too, and those from anybody.
        let mut text = Vec::new();
        let left_out = list(&mut text)?;
        print(printable(&String::from_utf8_lossy(&text)).as_bytes())?;
        left_out
    } else {
        list(&mut stdout)?
    };
    if !args.warnings.none {
        left_out.iter().for_each(|what| eprintln!("warning: {}", printable(what)));
        say_refusals(target);
    }
    Ok(0)
}

/// Says what of a list or of a script that was checked cannot run on this kernel.
fn say_refusals(target: &Running) {
    target.refusals().iter().for_each(|why| eprintln!("warning: not on this kernel: {}", printable(why)));
}

/// Prints the stages of `-d` that the compilation has passed.
fn show_stages(debug: Debug, compilation: &Compilation) {
    if debug.ir {
        eprint!("{}", memql_compiler::ir::text::print_module(&compilation.module));
    }
    if debug.asm {
        eprint!("{}", compilation.assembly);
    }
}

/// `--emit-elf`
fn write_object(path: &str, object: &[u8]) -> Result<u8, Failure> {
    let written = create_output(std::path::Path::new(path)).and_then(|mut file| file.write_all(object));
    match written {
        Ok(()) => Ok(0),
        Err(error) => Err(RunError::system(format!("cannot write the object to `{path}`"), &error).into()),
    }
}

/// Prints a stage of the compilation.
fn emit(stage: Emit, compilation: &Compilation) -> Result<u8, Failure> {
    match stage {
        Emit::Ast => Ok(0),
        Emit::Ir => print(memql_compiler::ir::text::print_module(&compilation.module).as_bytes()),
        Emit::Asm => print(compilation.assembly.as_bytes()),
        Emit::Elf if std::io::stdout().is_terminal() => {
            Err(RunError::plain("the object is binary, and standard output is a terminal")
                .help("send it to a file: `memql --emit elf SCRIPT >script.o`")
                .into())
        }
        Emit::Elf => print(&compilation.compiled.object),
    }
}

/// Writes data to standard output; a closed pipe ends quietly.
fn print(bytes: &[u8]) -> Result<u8, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(0),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(RunError::system("cannot write to standard output", &error).into()),
    }
}

/// Marks the descriptor of `--ready-fd` as memql's own: a command of `-c` does not inherit it.
fn keep_from_children(fd: i32) -> Result<(), RunError> {
    // SAFETY: the call takes two numbers, and only changes a flag of a descriptor.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(RunError::system(format!("cannot use the file descriptor {fd} of `--ready-fd`"), &error))
}

/// Environment variables that set settings.
fn settings_of_environment() -> std::collections::BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("BPFTRACE_") || name.starts_with("MEMQL_"))
        .collect()
}

impl Script {
    /// Diagnostics as a failure.
    fn failure(&self, diagnostics: &[diagnostic::Diagnostic]) -> Failure {
        Failure::Script(self.render(diagnostics))
    }
}
