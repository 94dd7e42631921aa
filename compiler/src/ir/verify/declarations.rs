//! Invariants of what a module declares: maps, globals, and programs' headers.

use std::collections::HashSet;

use super::super::text::is_identifier;
use super::super::{GlobalDef, MapDef, MapKind, Module, Program};
use super::Violation;

/// Bytes of a map's name that the kernel keeps (`BPF_OBJ_NAME_LEN` less the NUL, include/uapi/linux/bpf.h).
const MAP_NAME_BYTES: usize = 15;

pub(super) fn check(module: &Module, violations: &mut Vec<Violation>) {
    let mut report = |program: Option<&str>, at: String, message: String| {
        violations.push(Violation { program: program.map(str::to_string), function: None, at, message });
    };
    let mut names = HashSet::new();
    for (map, def) in &module.maps {
        if let Some(message) = map_message(def).or_else(|| repeated(&mut names, &def.name)) {
            report(None, map.to_string(), message);
        }
    }
    let mut names = HashSet::new();
    for (global, def) in &module.globals {
        if let Some(message) = global_message(def).or_else(|| repeated(&mut names, &def.name)) {
            report(None, global.to_string(), message);
        }
    }
    let mut by_offset: Vec<_> = module.globals.iter().collect();
    by_offset.sort_by_key(|(_, def)| def.offset);
    for pair in by_offset.windows(2) {
        let [(first, a), (second, b)] = pair else { continue };
        if u64::from(a.offset) + u64::from(a.size) > u64::from(b.offset) {
            report(None, second.to_string(), format!("it overlaps {first}"));
        }
    }
    let mut names = HashSet::new();
    for program in &module.programs {
        if let Some(message) = program_message(program).or_else(|| repeated(&mut names, &program.name)) {
            report(Some(&program.name), "header".into(), message);
        }
    }
}

fn repeated<'a>(names: &mut HashSet<&'a str>, name: &'a str) -> Option<String> {
    (!names.insert(name)).then(|| format!("the name `{name}` is taken"))
}

fn map_message(def: &MapDef) -> Option<String> {
    let MapDef { name, kind, key_size, value_size, max_entries, flags: _ } = def;
    if !is_identifier(name) || name.len() > MAP_NAME_BYTES {
        return Some(format!("`{name}` is not an identifier of at most {MAP_NAME_BYTES} bytes"));
    }
    if *max_entries == 0 {
        return Some("a map without room for entries".into());
    }
    match kind {
        MapKind::RingBuf if *key_size != 0 || *value_size != 0 => {
            Some("a ring buffer has neither key nor value".into())
        }
        MapKind::RingBuf if !max_entries.is_power_of_two() => {
            Some(format!("a ring buffer's size is a power of two, found {max_entries}"))
        }
        MapKind::RingBuf => None,
        MapKind::Array | MapKind::PerCpuArray if *key_size != 4 => {
            Some(format!("an array's key has 4 bytes, found {key_size}"))
        }
        _ if *key_size == 0 || *value_size == 0 => Some("a map without key or value".into()),
        _ => None,
    }
}

fn global_message(def: &GlobalDef) -> Option<String> {
    let GlobalDef { name, size, align, offset } = def;
    if !is_identifier(name) {
        return Some(format!("`{name}` is not an identifier"));
    }
    if *size == 0 || !matches!(align, 1 | 2 | 4 | 8) || offset % align != 0 {
        return Some(format!("size {size}, alignment {align} and offset {offset} do not fit together"));
    }
    None
}

fn program_message(program: &Program) -> Option<String> {
    if !is_identifier(&program.name) {
        return Some(format!("`{}` is not an identifier", program.name));
    }
    match (program.kind.one_point_each(), &program.attach_to) {
        (true, None) => Some("a program of this kind is bound to a target, and none is named".into()),
        (false, Some(target)) => {
            Some(format!("a program of this kind is not bound to a target, found `{target}`"))
        }
        _ if program.functions.is_empty() => Some("a program without functions".into()),
        _ => None,
    }
}
