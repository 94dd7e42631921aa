//! Lines of source: where their code is.

use std::collections::BTreeSet;

use gimli::ColumnType;

use super::{Failed, Info};

/// What is known of a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Addresses of statements that begin there, as the file has them.
    pub addresses: BTreeSet<u64>,
    /// Whether any code is from such a file.
    pub file_known: bool,
    /// Lines (and columns, where the line is known) that have code, for advice.
    pub others: BTreeSet<(u64, u64)>,
}

/// Statements of a line. `source` is the whole path of a source file or its last parts.
pub fn find(info: &Info, source: &str, line: u64, column: Option<u64>) -> Result<Found, Failed> {
    let mut found = Found::default();
    for unit in info.all_units() {
        let unit = unit?;
        let Some(program) = unit.skeleton.line_program.clone() else { continue };
        let comp_dir = unit.skeleton.comp_dir.as_ref().map(super::text).unwrap_or_default();
        let header = program.header();
        let string = |value| info.dwarf.attr_string(&unit.skeleton, value).map(|s| super::text(&s)).ok();
        let wanted: Vec<bool> = (0..=header.file_names().len() as u64)
            .map(|index| {
                let Some(file) = header.file(index) else { return false };
                let name = string(file.path_name()).unwrap_or_default();
                let folder = file.directory(header).and_then(string).unwrap_or_default();
                is_source(&[&comp_dir, &folder, &name], source)
            })
            .collect();
        if !wanted.iter().any(|wanted| *wanted) {
            continue;
        }
        let mut rows = program.rows();
        while let Some((_, row)) = rows.next_row()? {
            let of_file = wanted.get(row.file_index() as usize).copied().unwrap_or(false);
            let Some(at) = row.line().filter(|_| of_file && row.is_stmt() && !row.end_sequence()) else {
                continue;
            };
            found.file_known = true;
            let at_column = match row.column() {
                ColumnType::LeftEdge => 0,
                ColumnType::Column(column) => column.get(),
            };
            if at.get() == line && column.is_none_or(|wanted| wanted == at_column) {
                found.addresses.insert(row.address());
            } else if column.is_none() || at.get() == line {
                found.others.insert((at.get(), at_column));
            }
        }
    }
    Ok(found)
}

/// Whether the parts of a path, of which a later absolute one counts alone, are or end in `source`.
fn is_source(parts: &[&str], source: &str) -> bool {
    let mut path = std::path::PathBuf::new();
    parts.iter().for_each(|part| path.push(part));
    let source = std::path::Path::new(source.strip_prefix("./").unwrap_or(source));
    path.ends_with(source)
}

#[cfg(test)]
mod tests {
    use super::is_source;

    #[test]
    fn a_source_file_is_known_by_its_last_parts() {
        let parts = ["/build/app", "src", "main.c"];
        for name in ["main.c", "src/main.c", "app/src/main.c", "/build/app/src/main.c", "./src/main.c"] {
            assert!(is_source(&parts, name), "{name}");
        }
        for name in ["ain.c", "other/main.c", "/src/main.c", "src"] {
            assert!(!is_source(&parts, name), "{name}");
        }
        assert!(is_source(&["/build", "/usr/include", "stdio.h"], "/usr/include/stdio.h"));
    }
}
