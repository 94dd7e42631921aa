//! `-l 'struct NAME'`: the kernel's types.

use std::io::{self, Write};

use memql_compiler::providers::glob::matches;
use memql_compiler::target::Target;

use crate::error::RunError;

/// Prints the types of a keyword (`struct`, `union`, `enum`) whose names match, with their members if
/// `verbose`. The inner result is the output's.
///
/// # Errors
/// If no type matches or there are none.
pub fn print(
    target: &dyn Target,
    keyword: &str,
    pattern: &str,
    verbose: bool,
    out: &mut dyn Write,
) -> Result<io::Result<()>, RunError> {
    let asked = format!("{keyword} {pattern}");
    let btf = target
        .btf()
        .map_err(|e| RunError::plain(format!("cannot list `{asked}`: {}", e.message)).help_if(e.help))?;
    let mut found: Vec<(String, u32)> = btf
        .named_types()
        .into_iter()
        .filter(|id| matches(pattern, btf.name(*id)))
        .map(|id| (btf.c_name(id), id))
        .filter(|(name, _)| name.split(' ').next() == Some(keyword))
        .collect();
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    if found.is_empty() {
        let close: Vec<String> =
            btf.similar_types(pattern).iter().map(|name| format!("`{keyword} {name}`")).collect();
        let help = (!close.is_empty()).then(|| format!("there is {}", close.join(", ")));
        return Err(RunError::plain(format!("the kernel has no type `{asked}`")).help_if(help));
    }
    let mut print = |(name, id): &(String, u32)| match btf.c_definition(*id).filter(|_| verbose) {
        Some(definition) => writeln!(out, "vmlinux: {definition}\n"),
        None => writeln!(out, "{name}"),
    };
    Ok(found.iter().try_for_each(&mut print))
}
