//! memql's own flags: one table that help, splitting and parsing use.
//!
//! bpftrace's flags mean the same here. Those of its compiler and of its kernel headers, which memql
//! does not have, are answered in words ([`Take::Instead`]).

use clap::{Arg, ArgAction};

use memql_compiler::check::Purpose;

use super::{Args, Buffering, Emit, Mode, OutputFormat};

/// A flag: how it is written, and what it does to the arguments.
pub(super) struct Flag {
    /// As clap knows it.
    pub(super) arg: Arg,
    /// What it does.
    pub(super) take: Take,
}

/// What a flag does.
pub(super) enum Take {
    /// Without a value.
    Switch(fn(&mut Args)),
    /// With a value, each time that it is given; or what was expected instead of that value.
    Value(fn(&mut Args, &str) -> Result<(), String>),
    /// It goes on without, and this is why.
    Needless(&'static str),
    /// It is wrong usage, and this is what to use instead.
    Instead(&'static str),
}

/// All of them, in the order of `--help`.
pub(super) fn flags() -> Vec<Flag> {
    let mut all = running();
    all.extend(looking());
    all.extend(compiling());
    all.extend(not_needed());
    all
}

/// What is run, on what, and where its output goes.
fn running() -> Vec<Flag> {
    vec![
        value("program", "PROGRAM", "Run this program instead of a file", |args, _| {
            args.second_program = true;
            Ok(())
        })
        .short('e'),
        value("pid", "PID", "Trace only this process; end when it does", |args, text| {
            args.pid = Some(number(text, "the number of a process")?);
            Ok(())
        })
        .short('p')
        .long("pid"),
        value(
            "command",
            "COMMAND",
            "Start this command and trace only it; end when it does",
            |args, text| {
                args.command = Some(text.to_owned());
                Ok(())
            },
        )
        .short('c')
        .long("cmd"),
        value(
            "dwarf-pid",
            "PID",
            "Read the unwind tables of this process too, for `dw_ustack`",
            |args, text| {
                args.dwarf_pids.push(number(text, "the number of a process")?);
                Ok(())
            },
        )
        .long("dwarf-pid"),
        value("format", "FORMAT", "Output format: text, json or ndjson", |args, text| {
            args.format = match text {
                "text" => OutputFormat::Text,
                "json" => OutputFormat::Json,
                "ndjson" => OutputFormat::Ndjson,
                _ => return Err("expected `text`, `json` or `ndjson`".into()),
            };
            Ok(())
        })
        .short('f'),
        value("output", "FILE", "Write the output to a file", |args, text| {
            args.output = Some(text.to_owned());
            Ok(())
        })
        .short('o')
        .long("output"),
        value(
            "buffering",
            "MODE",
            "When output is written: line (as soon as there is nothing more to print), full or none",
            |args, text| {
                args.buffering = match text {
                    "line" => Buffering::Line,
                    "full" => Buffering::Full,
                    "none" => Buffering::None,
                    _ => return Err("expected `line`, `full` or `none`".into()),
                };
                Ok(())
            },
        )
        .short('B'),
        switch("quiet", "Print nothing but what the script prints", |args| args.quiet = true)
            .short('q')
            .long("quiet"),
        switch(
            "verbose",
            "Say what was loaded and attached; show the kernel verifier's log on failure",
            |args| {
                args.verbose = true;
            },
        )
        .short('v')
        .long("verbose"),
        switch("warnings", "Say at the end where in the script something was lost", |args| {
            args.warnings.at_run_time = true;
        })
        .short('k')
        .long("warnings"),
        switch("no-warnings", "Leave out warnings", |args| args.warnings.none = true).long("no-warnings"),
        switch("strict", "Exit with 3 if anything was lost: the run is not complete", |args| {
            args.strict = true
        })
        .long("strict"),
        value("probe-filter", "REGEX", "Attach only probes whose name matches", |args, text| {
            args.probe_filter = Some(text.to_owned());
            Ok(())
        })
        .long("probe-filter"),
        switch("unsafe", "Allow scripts to run commands, to send signals and to write to memory", |args| {
            args.allow_unsafe = true;
        })
        .long("unsafe"),
        switch("test", "Run the script's `test:NAME` probes, in the kernel, and say which pass", |args| {
            args.purpose = Purpose::Test;
        })
        .long("test"),
        switch("bench", "Run the script's `bench:NAME` probes and say what each takes", |args| {
            args.purpose = Purpose::Bench;
        })
        .long("bench"),
        value(
            "ready-fd",
            "N",
            "Write a byte to this file descriptor when everything is attached",
            |args, text| {
                args.ready_fd = Some(number(text, "the number of a file descriptor")?);
                Ok(())
            },
        )
        .long("ready-fd"),
    ]
}

/// What looks at a kernel or a script without running one.
fn looking() -> Vec<Flag> {
    vec![
        switch(
            "list",
            "List the probes that match a pattern or are in a script; with -v their arguments too",
            |args| {
                args.list = true;
            },
        )
        .short('l')
        .long("list"),
        switch("fmt", "Print the script in one style, with its comments", |args| args.mode = Mode::Format)
            .long("fmt"),
        switch("info", "Say what this kernel offers", |args| args.info = true).long("info"),
    ]
}

/// What shows or keeps stages of the compilation, and what is left out of it.
fn compiling() -> Vec<Flag> {
    vec![
        switch("check", "Compile only", |args| args.mode = Mode::Check).long("check"),
        switch("dry-run", "Compile, load and attach, and end without running anything", |args| {
            args.dry_run = true
        })
        .long("dry-run"),
        value("emit", "STAGE", "Compile only, and print a stage: ast, ir, asm or elf", |args, text| {
            let stage = Emit::named(text).ok_or("expected `ast`, `ir`, `asm` or `elf`")?;
            args.mode = Mode::Emit(stage);
            Ok(())
        })
        .long("emit"),
        value("emit-elf", "FILE", "Compile only, and write the object to a file", |args, text| {
            args.mode = Mode::EmitElf(text.to_owned());
            Ok(())
        })
        .long("emit-elf"),
        value(
            "debug",
            "STAGE",
            "Print a stage on the way: ast, ir, asm, libbpf, verifier or all",
            |args, text| {
                text.split(',').filter(|stage| !stage.is_empty()).try_for_each(|stage| args.debug.add(stage))
            },
        )
        .short('d')
        .long("debug"),
        value("no-feature", "FEATURES", "Do without kprobe_multi or uprobe_multi", |args, text| {
            for feature in text.split(',') {
                match feature {
                    "kprobe_multi" => args.without.kprobe_multi = true,
                    "uprobe_multi" => args.without.uprobe_multi = true,
                    // memql never makes one program of a kprobe and its kretprobe.
                    "kprobe_session" => {}
                    _ => return Err("expected `kprobe_multi`, `uprobe_multi` or `kprobe_session`".into()),
                }
            }
            Ok(())
        })
        .long("no-feature"),
        value(
            "debuginfo",
            "DIR",
            "Look for files of debug information here too, before /usr/lib/debug",
            |args, text| {
                args.debug_folders.push(text.into());
                Ok(())
            },
        )
        .long("debuginfo"),
        value(
            "traceable-functions",
            "FILE",
            "The list of kernel functions that can be traced",
            |args, text| {
                args.traceable_functions = Some(text.into());
                Ok(())
            },
        )
        .long("traceable-functions"),
    ]
}

/// bpftrace's flags for what memql does not have or need.
fn not_needed() -> Vec<Flag> {
    vec![
        value("include-dir", "DIR", "", |_, _| Ok(()))
            .short('I')
            .needless("`-I` has no effect: memql reads no C headers, types come from the kernel's BTF"),
        value("include", "FILE", "", |_, _| Ok(())).long("include").needless(
            "`--include` has no effect: memql reads no C headers, types come from the kernel's BTF",
        ),
        switch("btf", "", |_| ()).short('b').long("btf"),
        // The kernel counts the semaphores of USDT probes by file, in all processes, in any case.
        switch("usdt-file-activation", "", |_| ()).long("usdt-file-activation"),
        value("emit-llvm", "FILE", "", |_, _| Ok(())).long("emit-llvm").instead(
            "memql compiles without LLVM; `--emit ir` prints its intermediate representation, `--emit asm` the instructions",
        ),
        switch("verify-llvm-ir", "", |_| ())
            .long("verify-llvm-ir")
            .needless("`--verify-llvm-ir` has no effect: memql compiles without LLVM"),
        value("aot", "FILE", "", |_, _| Ok(())).long("aot").instead(
            "memql compiles a script in milliseconds when it is run; `--emit-elf FILE` keeps the object",
        ),
        value("mode", "MODE", "", |args, text| {
            match text {
                "codegen" => args.mode = Mode::Check,
                "format" => args.mode = Mode::Format,
                "test" => args.purpose = Purpose::Test,
                "bench" => args.purpose = Purpose::Bench,
                "compiler-bench" => return Err("measure `memql --check SCRIPT` instead".into()),
                _ => return Err("expected `codegen`, `format`, `test` or `bench`".into()),
            }
            Ok(())
        })
        .long("mode"),
    ]
}

fn number<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, String> {
    match text.parse() {
        Ok(number) => Ok(number),
        Err(_) => Err(format!("expected {what}")),
    }
}

fn switch(name: &'static str, help: &'static str, take: fn(&mut Args)) -> Flag {
    let arg = Arg::new(name).action(ArgAction::SetTrue).help(help).hide(help.is_empty());
    Flag { arg, take: Take::Switch(take) }
}

fn value(
    name: &'static str,
    placeholder: &'static str,
    help: &'static str,
    take: fn(&mut Args, &str) -> Result<(), String>,
) -> Flag {
    let arg = Arg::new(name).action(ArgAction::Append).value_name(placeholder).help(help);
    Flag { arg: arg.allow_hyphen_values(true).hide(help.is_empty()), take: Take::Value(take) }
}

impl Flag {
    fn short(self, letter: char) -> Flag {
        Flag { arg: self.arg.short(letter), ..self }
    }

    fn long(self, name: &'static str) -> Flag {
        Flag { arg: self.arg.long(name), ..self }
    }

    fn needless(self, why: &'static str) -> Flag {
        Flag { take: Take::Needless(why), ..self }
    }

    fn instead(self, what: &'static str) -> Flag {
        Flag { take: Take::Instead(what), ..self }
    }

    /// Whether it is followed by a value.
    pub(super) fn takes_value(&self) -> bool {
        matches!(self.arg.get_action(), ArgAction::Append)
    }

    /// As people write it.
    pub(super) fn written(&self) -> String {
        match (self.arg.get_long(), self.arg.get_short()) {
            (Some(long), _) => format!("--{long}"),
            (None, Some(short)) => format!("-{short}"),
            (None, None) => self.arg.get_id().to_string(),
        }
    }
}
