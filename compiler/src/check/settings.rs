//! Settings: the `config` block and the environment variables that override it.

use memql_grammar::ast::{self, ConfigEntry, ExprKind as Ast, Item};

use super::diagnostics::options as errors;
use super::run::RunConfig;
use crate::diagnostic::{Diagnostic, similar};
use crate::plan::{MissingProbes, Settings};
use crate::types::StackMode;

/// What a script's checking and running is set to.
#[derive(Clone, Debug)]
pub(crate) struct ScriptSettings {
    /// Capacity in bytes of strings and buffers whose length nothing else says.
    pub max_strlen: u32,
    /// How stacks print without a mode of their own.
    pub stack_mode: StackMode,
    /// `max_entries` of maps that are not declared.
    pub max_map_keys: u32,
    /// The most attach points.
    pub max_probes: usize,
    /// The most programs.
    pub max_programs: usize,
    /// Whether uprobes go where they cost least.
    pub probe_placement: bool,
    /// The object's license.
    pub license: String,
    /// The map, without its sigil, that time series take the time from.
    pub series_clock: Option<String>,
    /// What the runtime acts on.
    pub plan: Settings,
}

impl Default for ScriptSettings {
    fn default() -> ScriptSettings {
        ScriptSettings {
            max_strlen: 1024,
            stack_mode: StackMode::Bpftrace,
            max_map_keys: 4096,
            max_probes: 1024,
            max_programs: 1024,
            probe_placement: true,
            license: "GPL".to_owned(),
            series_clock: None,
            plan: Settings::default(),
        }
    }
}

/// A setting: its name, what it takes, and what it is for.
#[derive(Clone, Copy)]
pub struct SettingDoc {
    /// Its name in the config block; the environment variable is `BPFTRACE_` and the name in upper case.
    pub name: &'static str,
    /// What it takes.
    pub takes: &'static str,
    /// What it is for, in one line.
    pub doc: &'static str,
}

struct Setting {
    doc: SettingDoc,
    /// Takes a value; `false` if it is none of those that the setting takes.
    set: fn(&mut ScriptSettings, &str) -> bool,
}

const fn setting(
    name: &'static str,
    takes: &'static str,
    doc: &'static str,
    set: fn(&mut ScriptSettings, &str) -> bool,
) -> Setting {
    Setting { doc: SettingDoc { name, takes, doc }, set }
}

/// The page size that `perf_rb_pages` counts in.
const PAGE_BYTES: u32 = 4096;

const SETTINGS: &[Setting] = &[
    setting("max_strlen", "1 to 65536", "capacity of strings and buffers, in bytes", |s, v| {
        number(v, 1, 1 << 16).is_some_and(|n| {
            s.max_strlen = n as u32;
            s.plan.max_strlen = n as u32;
            true
        })
    }),
    setting("max_map_keys", "1 to 2147483647", "how many keys a map holds", |s, v| {
        number(v, 1, i128::from(i32::MAX)).is_some_and(|n| {
            s.max_map_keys = n as u32;
            true
        })
    }),
    setting("max_probes", "a number", "the most attach points", |s, v| {
        number(v, 1, 1 << 30).is_some_and(|n| {
            s.max_probes = n as usize;
            true
        })
    }),
    setting("max_bpf_progs", "a number", "the most programs", |s, v| {
        number(v, 1, 1 << 30).is_some_and(|n| {
            s.max_programs = n as usize;
            true
        })
    }),
    setting("stack_mode", "bpftrace, perf, raw, build_id or bcc", "how stacks print", |s, v| {
        let mode = match v {
            "bpftrace" => StackMode::Bpftrace,
            "perf" => StackMode::Perf,
            "raw" => StackMode::Raw,
            "build_id" => StackMode::BuildId,
            "bcc" => StackMode::Bcc,
            _ => return false,
        };
        s.stack_mode = mode;
        true
    }),
    setting(
        "missing_probes",
        "error, warn or ignore",
        "what to do about attach points that do not exist",
        |s, v| {
            let what = match v {
                "error" => MissingProbes::Error,
                "warn" => MissingProbes::Warn,
                "ignore" => MissingProbes::Ignore,
                _ => return false,
            };
            s.plan.missing_probes = what;
            true
        },
    ),
    setting(
        "probe_placement",
        "true or false",
        "whether uprobes go past instructions that are slow under a probe, where it makes no difference",
        |s, v| {
            boolean(v).is_some_and(|b| {
                s.probe_placement = b;
                true
            })
        },
    ),
    setting("print_maps_on_exit", "true or false", "whether maps are printed at the end", |s, v| {
        boolean(v).is_some_and(|b| {
            s.plan.print_maps_on_exit = b;
            true
        })
    }),
    setting("str_trunc_trailer", "text", "what follows a string that was cut", |s, v| {
        s.plan.str_trunc_trailer = v.to_owned();
        true
    }),
    setting("max_cat_bytes", "a number", "how much of a file `cat` prints", |s, v| {
        number(v, 0, i128::from(u32::MAX)).is_some_and(|n| {
            s.plan.max_cat_bytes = n as u32;
            true
        })
    }),
    setting("cpp_demangle", "true or false", "whether C++ and Rust symbols are demangled", |s, v| {
        boolean(v).is_some_and(|b| {
            s.plan.demangle = b;
            true
        })
    }),
    setting("show_debug_info", "true or false", "whether stacks show files and lines", |s, v| {
        boolean(v).is_some_and(|b| {
            s.plan.show_debug_info = b;
            true
        })
    }),
    setting(
        "perf_rb_pages",
        "1 to 262144",
        "size of the ring buffer in pages, rounded up to a power of two",
        |s, v| {
            number(v, 1, 1 << 18).is_some_and(|n| {
                s.plan.ring_bytes = (n as u32).next_power_of_two() * PAGE_BYTES;
                true
            })
        },
    ),
    setting("license", "a GPL-compatible license", "the license the programs are loaded with", |s, v| {
        let known =
            ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];
        s.license = v.to_owned();
        known.contains(&v)
    }),
    setting(
        "dummy_ts_map",
        "a map's name",
        "a map of which time series take the time in place of the clock, for tests",
        |s, v| {
            s.series_clock = v.strip_prefix('@').map(str::to_owned);
            s.series_clock.is_some()
        },
    ),
    // bpftrace's own machinery, which memql has no use for: accepted, so that scripts run as they are.
    setting(
        "cache_user_symbols",
        "PER_PID, PER_PROGRAM or NONE",
        "no effect: symbols are cached as needed",
        |_, v| matches!(v, "PER_PID" | "PER_PROGRAM" | "NONE"),
    ),
    setting(
        "lazy_symbolication",
        "true or false",
        "no effect: symbols are looked up when printed",
        |_, v| boolean(v).is_some(),
    ),
    setting("log_size", "a number", "no effect: the log grows as needed", |_, v| {
        number(v, 0, i128::from(u64::MAX)).is_some()
    }),
    setting(
        "on_stack_limit",
        "a number",
        "no effect: large values move to scratch memory by themselves",
        |_, v| number(v, 0, i128::from(u64::MAX)).is_some(),
    ),
    setting("unstable_map_decl", "error, warn or enable", "no effect", |_, v| unstable(v)),
    setting("unstable_typeinfo", "error, warn or enable", "no effect", |_, v| unstable(v)),
    setting("unstable_tseries", "error, warn or enable", "no effect", |_, v| unstable(v)),
    setting("unstable_dw_ustack", "error, warn or enable", "no effect", |_, v| unstable(v)),
];

/// The settings, for the manual.
pub fn setting_docs() -> impl Iterator<Item = SettingDoc> {
    SETTINGS.iter().map(|s| s.doc)
}

/// A setting's value as scripts see it.
pub(crate) enum Shown {
    Number(u64),
    Truth(bool),
    Text(String),
}

impl ScriptSettings {
    /// The settings that scripts can read: `config.max_strlen`.
    pub(crate) fn shown(&self) -> Vec<(&'static str, Shown)> {
        let mode = super::functions::mode_name(self.stack_mode);
        let missing = match self.plan.missing_probes {
            MissingProbes::Error => "error",
            MissingProbes::Warn => "warn",
            MissingProbes::Ignore => "ignore",
        };
        vec![
            ("cpp_demangle", Shown::Truth(self.plan.demangle)),
            ("print_maps_on_exit", Shown::Truth(self.plan.print_maps_on_exit)),
            ("show_debug_info", Shown::Truth(self.plan.show_debug_info)),
            ("max_bpf_progs", Shown::Number(self.max_programs as u64)),
            ("max_cat_bytes", Shown::Number(u64::from(self.plan.max_cat_bytes))),
            ("max_map_keys", Shown::Number(u64::from(self.max_map_keys))),
            ("max_probes", Shown::Number(self.max_probes as u64)),
            ("max_strlen", Shown::Number(u64::from(self.max_strlen))),
            ("perf_rb_pages", Shown::Number(u64::from(self.plan.ring_bytes / PAGE_BYTES))),
            ("str_trunc_trailer", Shown::Text(self.plan.str_trunc_trailer.clone())),
            ("missing_probes", Shown::Text(missing.to_owned())),
            ("stack_mode", Shown::Text(mode.to_owned())),
            ("license", Shown::Text(self.license.clone())),
        ]
    }

    /// The settings of a script's config block, overridden by the environment.
    pub(crate) fn of(
        script: &ast::Script,
        run: &RunConfig,
        findings: &mut Vec<Diagnostic>,
    ) -> ScriptSettings {
        let mut settings = ScriptSettings::default();
        for item in &script.items {
            let Item::Config(config) = item else { continue };
            for entry in &config.entries {
                if let Err(finding) = settings.entry(entry) {
                    findings.push(*finding);
                }
            }
        }
        let block = script.items.iter().find_map(|i| match i {
            Item::Config(c) => Some(c.span),
            _ => None,
        });
        for (variable, value) in &run.environment {
            let Some(setting) = variable_setting(variable) else { continue };
            if !(setting.set)(&mut settings, value) {
                findings.push(errors::bad_environment(
                    variable,
                    value,
                    setting.doc.takes,
                    block.unwrap_or_default(),
                ));
            }
        }
        settings
    }

    fn entry(&mut self, entry: &ConfigEntry) -> Result<(), Box<Diagnostic>> {
        let name = canonical(&entry.name.text);
        let Some(setting) = SETTINGS.iter().find(|s| s.doc.name == name) else {
            let close = similar(&name, SETTINGS.iter().map(|s| s.doc.name));
            return Err(Box::new(errors::unknown_setting(&entry.name, &close)));
        };
        let text = match &entry.value.kind {
            Ast::Int(v) => v.to_string(),
            Ast::Bool(v) => v.to_string(),
            Ast::Str(s) => String::from_utf8_lossy(&s.bytes).into_owned(),
            Ast::Ident(n) => n.text.clone(),
            _ => return Err(Box::new(errors::bad_setting(&entry.name, setting.doc.takes, entry.value.span))),
        };
        if (setting.set)(self, &text) {
            Ok(())
        } else {
            Err(Box::new(errors::bad_setting(&entry.name, setting.doc.takes, entry.value.span)))
        }
    }
}

/// A setting's name without prefix and in lower case: `BPFTRACE_STACK_MODE` is `stack_mode`.
fn canonical(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    match lower.strip_prefix("bpftrace_").or_else(|| lower.strip_prefix("memql_")) {
        Some(rest) => rest.to_owned(),
        None => lower,
    }
}

fn variable_setting(variable: &str) -> Option<&'static Setting> {
    if !variable.starts_with("BPFTRACE_") && !variable.starts_with("MEMQL_") {
        return None;
    }
    let name = canonical(variable);
    SETTINGS.iter().find(|s| s.doc.name == name)
}

fn number(text: &str, least: i128, most: i128) -> Option<i128> {
    super::options::parse_integer(text).filter(|n| (least..=most).contains(n))
}

fn boolean(text: &str) -> Option<bool> {
    super::options::parse_bool(text)
}

fn unstable(text: &str) -> bool {
    matches!(text, "error" | "warn" | "enable")
}
