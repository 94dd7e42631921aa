//! `uprobe` and `uretprobe`: functions of programs and libraries.
//!
//! A wildcard takes each place once: of several symbols for one function (`malloc`, `__libc_malloc`),
//! the plainest that matches names it, so that counts are not doubled.

use std::collections::BTreeMap;

use super::glob::{is_pattern, matches};
use super::numbers::{number, with_offset};
use super::{ExpandError, Parts};
use crate::attach::{AttachPoint, PlaceName};
use crate::debug_info::LinePlaces;
use crate::diagnostic::similar;
use crate::target::{Demangled, Target, UserFile};

pub(super) fn entry(parts: &Parts<'_>, target: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    expand(parts, target, false)
}

pub(super) fn ret(parts: &Parts<'_>, target: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    expand(parts, target, true)
}

/// What to probe in a file.
enum Place<'a> {
    /// An address, as the file has it.
    Address(u64),
    /// A function and bytes into it.
    Function(&'a str, u64),
    /// All functions that match.
    Pattern(&'a str),
    /// All functions whose name in C++ matches.
    Demangled(&'a str),
    /// A line of source, and a column.
    Line(&'a str, u64, Option<u64>),
}

fn expand(parts: &Parts<'_>, target: &dyn Target, ret: bool) -> Result<Vec<AttachPoint>, ExpandError> {
    let (file, place) = match parts.texts {
        [binary, numbers @ ..] if binary.contains('@') && matches!(numbers.len(), 1 | 2) => {
            line(parts, binary, numbers, ret)?
        }
        [file, text] => (*file, place(parts, text, ret)?),
        [file, "cpp", name] if !name.is_empty() => (*file, Place::Demangled(name)),
        [file, "cpp", words @ ..] if words.len() > 1 => {
            let message = "a name in C++ has colons, so it stands between quotes";
            let help = format!("write `{}:{file}:cpp:\"{}\"`", parts.provider.name, words.join(":"));
            return Err(ExpandError::Malformed { part: 3, message: message.into(), help: Some(help) });
        }
        _ => return Err(parts.wrong_count()),
    };
    if file.is_empty() {
        return Err(parts.malformed(1, "the program or library is missing"));
    }
    target.supports(parts.provider.kind)?;
    let files = target.user_files(file)?;
    if files.is_empty() {
        return Err(ExpandError::NotFound { part: 1, message: no_file(file), similar: Vec::new() });
    }
    let mut points = Vec::new();
    for file in &files {
        let point = |symbol: &str, named: PlaceName, file_offset, offset| AttachPoint::Uprobe {
            path: file.path.clone(),
            shown_path: file.shown_path.clone(),
            symbol: symbol.to_owned(),
            named,
            file_offset,
            offset,
            ret,
            skip: 0,
        };
        match place {
            Place::Address(address) => {
                let Some(at) = target.user_place(file, address)? else { continue };
                let (symbol, start) = function_around(file, at, target)?;
                if ret && at != start {
                    let message = format!(
                        "a function returns as a whole: {address:#x} is {} bytes into `{symbol}`",
                        at - start
                    );
                    return Err(parts.malformed(2, message));
                }
                points.push(point(&symbol, PlaceName::Address(address), start, at - start));
            }
            Place::Function(name, offset) => {
                let found = target.user_function(file, name)?;
                points.extend(found.map(|at| point(name, PlaceName::Symbol, at, offset)));
            }
            Place::Pattern(pattern) => {
                let found = matching(file, pattern, target)?;
                points.extend(found.iter().map(|(name, at)| point(name, PlaceName::Symbol, *at, 0)));
            }
            Place::Line(source, line, column) => {
                for (symbol, start, offset) in statements(file, source, line, column, target)? {
                    points.push(point(&symbol, PlaceName::Line(source_text(&place)), start, offset));
                }
            }
            Place::Demangled(pattern) => {
                let found = demangled(file, pattern, target)?;
                points.extend(found.iter().map(|(name, at)| point(name, PlaceName::Demangled, *at, 0)));
            }
        }
    }
    if points.is_empty() {
        return Err(not_found(parts, &files, &place, target)?);
    }
    Ok(points)
}

fn place<'a>(parts: &Parts<'_>, text: &'a str, ret: bool) -> Result<Place<'a>, ExpandError> {
    if let Some(address) = number(text) {
        return Ok(Place::Address(address));
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

/// `FILE@SOURCE:LINE`, `FILE@SOURCE:LINE:COLUMN`
fn line<'a>(
    parts: &Parts<'_>,
    binary: &'a str,
    numbers: &[&str],
    ret: bool,
) -> Result<(&'a str, Place<'a>), ExpandError> {
    // The last one: paths of programs may have such characters of their own.
    let (file, source) = binary.rsplit_once('@').unwrap_or((binary, ""));
    if source.is_empty() {
        return Err(parts.malformed(1, "the source file is missing after `@`"));
    }
    if ret {
        return Err(parts.malformed(1, "a function returns as a whole: `uretprobe` takes no source line"));
    }
    let wanted = |part: usize, what: &str| match numbers.get(part - 2) {
        None => Ok(None),
        Some(text) => match number(text) {
            Some(number) if number > 0 => Ok(Some(number)),
            _ => Err(parts.malformed(part, format!("`{text}` is not a {what}"))),
        },
    };
    let (line, column) = (wanted(2, "line number")?, wanted(3, "column")?);
    match line {
        Some(line) => Ok((file, Place::Line(source, line, column))),
        None => Err(parts.wrong_count()),
    }
}

fn source_text(place: &Place<'_>) -> String {
    match place {
        Place::Line(source, line, Some(column)) => format!("{source}:{line}:{column}"),
        Place::Line(source, line, None) => format!("{source}:{line}"),
        _ => String::new(),
    }
}

/// The first statement of a line in each function that has code of it, as the function, its start and
/// the offset in it.
fn statements(
    file: &UserFile,
    source: &str,
    line: u64,
    column: Option<u64>,
    target: &dyn Target,
) -> Result<Vec<(String, u64, u64)>, ExpandError> {
    let mut by_function: BTreeMap<u64, (String, u64)> = BTreeMap::new();
    for address in target.source_line(file, source, line, column)?.addresses {
        let Some(at) = target.user_place(file, address)? else { continue };
        let (symbol, start) = function_around(file, at, target)?;
        let first = by_function.entry(start).or_insert((symbol, at - start));
        first.1 = first.1.min(at - start);
    }
    Ok(by_function.into_iter().map(|(start, (symbol, offset))| (symbol, start, offset)).collect())
}

/// The function that a place in a file is in, and where it starts; the place itself if none is known.
fn function_around(file: &UserFile, at: u64, target: &dyn Target) -> Result<(String, u64), ExpandError> {
    // A file without a list of its functions: a flat binary.
    let Ok(functions) = target.user_functions(file) else { return Ok((String::new(), at)) };
    let start = functions.iter().map(|(_, start)| *start).filter(|start| *start <= at).max();
    let Some(start) = start else { return Ok((String::new(), at)) };
    // Beyond its end is whatever has no symbol.
    let ends = target.user_function_extent(&file.path, start).is_some_and(|known| at - start >= known.size);
    if ends && at != start {
        return Ok((String::new(), at));
    }
    let names = functions.iter().filter(|(_, s)| *s == start).map(|(name, _)| name);
    Ok((names.min_by_key(|name| plainness(name)).cloned().unwrap_or_default(), start))
}

/// Functions whose name in C++ matches, each place once. Where the pattern has no parameters, those of the
/// function do not matter.
fn demangled(file: &UserFile, pattern: &str, target: &dyn Target) -> Result<Vec<(String, u64)>, ExpandError> {
    let with_parameters = pattern.contains('(');
    let fits = |function: &Demangled| {
        let name = match with_parameters {
            true => function.name.as_str(),
            false => without_parameters(&function.name),
        };
        matches(pattern, name)
    };
    let mut by_place: BTreeMap<u64, String> = BTreeMap::new();
    for function in target.demangled_functions(file)?.into_iter().filter(fits) {
        by_place.entry(function.file_offset).or_insert(function.symbol);
    }
    Ok(by_place.into_iter().map(|(at, symbol)| (symbol, at)).collect())
}

/// `zoo::hatch` of `zoo::hatch(zoo::Animal const&)`, also of `operator()(int)` and
/// `(anonymous namespace)::f(int)`.
fn without_parameters(name: &str) -> &str {
    let mut depth = 0;
    for (at, c) in name.char_indices() {
        match c {
            '<' if !name[..at].ends_with("operator") && !name[..at].ends_with("operator<") => depth += 1,
            '>' if depth > 0 => depth -= 1,
            '(' if depth == 0
                && at > 0
                && !name[..at].ends_with("operator")
                && !name[at..].starts_with("(anonymous namespace)") =>
            {
                return &name[..at];
            }
            _ => {}
        }
    }
    name
}

/// What to prefer among several names of one place: the smallest.
fn plainness(name: &str) -> (bool, usize, String) {
    (name.starts_with('_'), name.len(), name.to_owned())
}

/// Functions that match a pattern, each place once.
fn matching(file: &UserFile, pattern: &str, target: &dyn Target) -> Result<Vec<(String, u64)>, ExpandError> {
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
    place: &Place<'_>,
    target: &dyn Target,
) -> Result<ExpandError, ExpandError> {
    let where_ = match files {
        [file] => format!("`{}`", file.shown_path),
        files => format!("any of {} files", files.len()),
    };
    let mut close = Vec::new();
    let (part, message) = match place {
        Place::Address(address) => {
            (2, format!("the address {address:#x} is in no part of {where_} that is loaded"))
        }
        Place::Function(text, _) | Place::Pattern(text) => {
            for file in files.iter().take(3) {
                let functions = target.user_functions(file)?;
                let names = similar(text, functions.iter().map(|(name, _)| name.as_str()));
                close
                    .extend(names.iter().map(|n| format!("{}:{}:{n}", parts.provider.name, file.shown_path)));
            }
            (2, format!("there is no function `{text}` in {where_}"))
        }
        Place::Line(source, line, column) => {
            let mut known = LinePlaces::default();
            for file in files {
                let places = target.source_line(file, source, *line, *column)?;
                known.file_known |= places.file_known;
                known.others.extend(places.others);
            }
            if !known.file_known {
                (1, format!("{where_} has no code of a source file `{source}`"))
            } else if column.is_some() && known.others.iter().any(|(l, _)| l == line) {
                known.others.retain(|(l, _)| l == line);
                let shown = |(_, column): &(u64, u64)| {
                    format!("uprobe:{}@{source}:{line}:{column}", files[0].shown_path)
                };
                close.extend(known.others.iter().map(shown));
                (3, format!("no statement begins at column {} of line {line}", column.unwrap_or_default()))
            } else {
                let mut lines: Vec<u64> = known.others.iter().map(|(line, _)| *line).collect();
                lines.dedup();
                lines.sort_by_key(|other| (other.abs_diff(*line), *other));
                lines.truncate(2);
                let shown = |other: &u64| format!("uprobe:{}@{source}:{other}", files[0].shown_path);
                close.extend(lines.iter().map(shown));
                (2, format!("line {line} of `{source}` has no code in {where_}"))
            }
        }
        Place::Demangled(text) => {
            for file in files.iter().take(3) {
                let functions = target.demangled_functions(file)?;
                let names = similar(text, functions.iter().map(|f| without_parameters(&f.name)));
                let shown = |n: &String| format!("{}:{}:cpp:\"{n}\"", parts.provider.name, file.shown_path);
                close.extend(names.iter().map(shown));
            }
            (3, format!("there is no function `{text}` in {where_}"))
        }
    };
    Ok(ExpandError::NotFound { part, message, similar: close })
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

#[cfg(test)]
mod tests {
    use super::without_parameters;

    #[test]
    fn names_in_cpp_are_known_without_their_parameters() {
        for (name, bare) in [
            ("zoo::hatch(zoo::Animal const&)", "zoo::hatch"),
            ("zoo::Keeper<int (*)(long)>::keep(int)", "zoo::Keeper<int (*)(long)>::keep"),
            ("F::operator()(int) const", "F::operator()"),
            ("F::operator<(F)", "F::operator<"),
            ("F::operator<<(F)", "F::operator<<"),
            ("(anonymous namespace)::f(int)", "(anonymous namespace)::f"),
            ("a::(anonymous namespace)::f(int)", "a::(anonymous namespace)::f"),
            ("main", "main"),
        ] {
            assert_eq!(without_parameters(name), bare);
        }
    }
}
