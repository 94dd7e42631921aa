//! `uprobe` and `uretprobe`: functions of programs and libraries.
//!
//! A wildcard takes each place once: of several symbols for one function (`malloc`, `__libc_malloc`),
//! the plainest that matches names it, so that counts are not doubled.

use std::collections::BTreeMap;

use super::glob::{is_pattern, matches};
use super::numbers::{number, with_offset};
use super::{ExpandError, Parts};
use crate::attach::AttachPoint;
use crate::diagnostic::similar;
use crate::target::{Target, UserFile};

pub(super) fn entry(parts: &Parts<'_>, target: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    expand(parts, target, false)
}

pub(super) fn ret(parts: &Parts<'_>, target: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    expand(parts, target, true)
}

/// What to probe in a file.
enum Place<'a> {
    /// An offset in the file.
    Offset(u64),
    /// A function and bytes into it.
    Function(&'a str, u64),
    /// All functions that match.
    Pattern(&'a str),
}

fn expand(parts: &Parts<'_>, target: &dyn Target, ret: bool) -> Result<Vec<AttachPoint>, ExpandError> {
    let (file, text) = match parts.texts {
        [file, text] => (*file, *text),
        [file] if file.contains('@') => return Err(unsupported("a source line as a place to probe")),
        [_, "cpp", ..] => return Err(unsupported("the `cpp` qualifier")),
        _ => return Err(parts.wrong_count()),
    };
    if file.is_empty() {
        return Err(parts.malformed(1, "the program or library is missing"));
    }
    let place = place(parts, text, ret)?;
    target.supports(parts.provider.kind)?;
    let files = target.user_files(file)?;
    if files.is_empty() {
        return Err(ExpandError::NotFound { part: 1, message: no_file(file), similar: Vec::new() });
    }
    let mut points = Vec::new();
    for file in &files {
        let point = |symbol: &str, file_offset, offset| AttachPoint::Uprobe {
            path: file.path.clone(),
            shown_path: file.shown_path.clone(),
            symbol: symbol.to_owned(),
            file_offset,
            offset,
            skip: 0,
            ret,
        };
        match place {
            Place::Offset(file_offset) => points.push(point("", file_offset, 0)),
            Place::Function(name, offset) => {
                points.extend(target.user_function(file, name)?.map(|at| point(name, at, offset)));
            }
            Place::Pattern(pattern) => {
                points.extend(matching(file, pattern, target)?.iter().map(|(name, at)| point(name, *at, 0)));
            }
        }
    }
    if points.is_empty() {
        return Err(not_found(parts, &files, text, target)?);
    }
    Ok(points)
}

fn place<'a>(parts: &Parts<'_>, text: &'a str, ret: bool) -> Result<Place<'a>, ExpandError> {
    if let Some(offset) = number(text) {
        return Ok(Place::Offset(offset));
    }
    if is_pattern(text) {
        return Ok(Place::Pattern(text));
    }
    let (name, offset) =
        with_offset(text).map_err(|offset| parts.malformed(2, format!("`{offset}` is not an offset")))?;
    if name.is_empty() {
        return Err(parts.malformed(2, "the function's name is missing"));
    }
    if ret && offset != 0 {
        return Err(parts.malformed(2, "a function returns as a whole: `uretprobe` takes no offset"));
    }
    Ok(Place::Function(name, offset))
}

/// Functions that match a pattern, each place once.
fn matching(file: &UserFile, pattern: &str, target: &dyn Target) -> Result<Vec<(String, u64)>, ExpandError> {
    let plainness = |name: &str| (name.starts_with('_'), name.len(), name.to_owned());
    let mut by_place: BTreeMap<u64, String> = BTreeMap::new();
    for (name, at) in target.user_functions(file)? {
        if matches(pattern, &name) {
            let known = by_place.entry(at).or_insert_with(|| name.clone());
            if plainness(&name) < plainness(known) {
                *known = name;
            }
        }
    }
    let mut found: Vec<(String, u64)> = by_place.into_iter().map(|(at, name)| (name, at)).collect();
    found.sort();
    Ok(found)
}

fn not_found(
    parts: &Parts<'_>,
    files: &[UserFile],
    text: &str,
    target: &dyn Target,
) -> Result<ExpandError, ExpandError> {
    let mut close = Vec::new();
    for file in files.iter().take(3) {
        let functions = target.user_functions(file)?;
        let names = similar(text, functions.iter().map(|(name, _)| name.as_str()));
        close.extend(names.iter().map(|n| format!("{}:{}:{n}", parts.provider.name, file.shown_path)));
    }
    let where_ = match files {
        [file] => format!("`{}`", file.shown_path),
        files => format!("any of {} files", files.len()),
    };
    let message = format!("there is no function `{text}` in {where_}");
    Ok(ExpandError::NotFound { part: 2, message, similar: close })
}

fn no_file(file: &str) -> String {
    if is_pattern(file) {
        format!("no program or library matches `{file}`")
    } else if file.contains('/') {
        format!("there is no file `{file}`")
    } else {
        format!("there is no program in PATH and no library `{file}`")
    }
}

fn unsupported(what: &str) -> ExpandError {
    ExpandError::Unsupported {
        message: format!("{what} is not supported yet"),
        help: Some("name the function by its symbol (`nm -D FILE` lists them) and an offset".into()),
    }
}
