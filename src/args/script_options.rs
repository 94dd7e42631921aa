//! The options that a script declares, and its parameters.

use clap::{Arg, ArgAction, ArgMatches, Command};
use memql_compiler::check::{OptionSpec, OptionType, OptionValue};

use super::Args;

/// A declared option as clap knows it.
pub(super) fn arg(option: &OptionSpec) -> Arg {
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

/// Takes the options and parameters that were given.
pub(super) fn take(
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
