//! `usdt`: static probes that programs and libraries declare.
//!
//! A probe that was inlined has several locations; each is a point of its own, since its arguments may
//! be elsewhere there.

use super::glob::{is_pattern, matches};
use super::{ExpandError, Parts};
use crate::arch;
use crate::attach::AttachPoint;
use crate::diagnostic::similar;
use crate::target::{FactError, Target, UserFile};
use crate::usdt::UsdtNote;

pub(super) fn expand(parts: &Parts<'_>, target: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    let (file, provider, name) = match parts.texts {
        [file @ ("" | "*")] => (*file, "", "*"),
        [file, name] => (*file, "", *name),
        [file, provider, name] => (*file, *provider, *name),
        _ => return Err(parts.wrong_count()),
    };
    if name.is_empty() {
        return Err(parts.malformed(parts.texts.len(), "the probe's name is missing"));
    }
    target.supports(parts.provider.kind)?;
    // Everything that is mapped may be of other kinds than programs, and vanish meanwhile.
    let everything = matches!(file, "" | "*");
    let files = if everything { target.mapped_files()? } else { target.user_files(file)? };
    if files.is_empty() {
        let message = match file.contains('/') {
            true => format!("there is no program or library `{file}`"),
            false => format!("there is no program in PATH and no library `{file}`"),
        };
        return Err(ExpandError::NotFound { part: 1, message, similar: Vec::new() });
    }
    let wanted = |note: &UsdtNote| {
        (provider.is_empty() || matches(provider, &note.provider)) && matches(name, &note.name)
    };
    let mut points = Vec::new();
    for file in &files {
        match target.usdt_probes(file) {
            Ok(notes) => {
                points.extend(notes.iter().filter(|note| wanted(note)).map(|note| point(file, note, target)))
            }
            Err(_) if everything || is_pattern(&file.shown_path) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if points.is_empty() {
        return Err(not_found(parts, &files, name, target)?);
    }
    Ok(points)
}

fn point(file: &UserFile, note: &UsdtNote, target: &dyn Target) -> AttachPoint {
    // A symbol that cannot be looked up leaves the argument unreadable, which is said where it is used.
    let symbol =
        |name: &str| target.user_symbol(&file.path, name).ok().flatten().map(|symbol| symbol.address);
    AttachPoint::Usdt {
        path: file.path.clone(),
        shown_path: file.shown_path.clone(),
        provider: note.provider.clone(),
        name: note.name.clone(),
        file_offset: note.file_offset,
        semaphore: note.semaphore,
        args: note.args(arch::registers(target.features().arch), &symbol),
    }
}

fn not_found(
    parts: &Parts<'_>,
    files: &[UserFile],
    name: &str,
    target: &dyn Target,
) -> Result<ExpandError, FactError> {
    let (where_, mut close) = (where_(files), Vec::new());
    if let [file] = files {
        let notes = target.usdt_probes(file)?;
        if notes.is_empty() {
            let message = format!("{where_} has no static probes");
            return Ok(ExpandError::NotFound { part: 1, message, similar: Vec::new() });
        }
        let mut names = similar(name, notes.iter().map(|note| note.name.as_str()));
        if names.is_empty() {
            names = notes.iter().take(5).map(|note| note.name.clone()).collect();
        }
        let close_notes = notes.iter().filter(|note| names.contains(&note.name));
        close.extend(
            close_notes.map(|note| format!("usdt:{}:{}:{}", file.shown_path, note.provider, note.name)),
        );
        close.dedup();
    }
    let message = match parts.texts {
        [_, provider, _] if !provider.is_empty() => {
            format!("there is no static probe `{provider}:{name}` in {where_}")
        }
        _ => format!("there is no static probe `{name}` in {where_}"),
    };
    Ok(ExpandError::NotFound { part: parts.texts.len(), message, similar: close })
}

fn where_(files: &[UserFile]) -> String {
    match files {
        [file] => format!("`{}`", file.shown_path),
        files => format!("any of {} files", files.len()),
    }
}
