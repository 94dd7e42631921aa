//! Tracepoint format files: lines such as
//! `field:__data_loc char[] comm;	offset:12;	size:4;	signed:0;`.

use memql_compiler::target::{FieldForm, TracepointField, TracepointFormat};

/// Parses a format file.
///
/// # Errors
/// What is wrong with it, in words.
pub fn parse(text: &str) -> Result<TracepointFormat, String> {
    let mut fields = Vec::new();
    for line in text.lines() {
        let Some(rest) = line.trim_start().strip_prefix("field:") else { continue };
        let field = parse_field(rest).ok_or_else(|| format!("`{}`", line.trim()))?;
        // The common fields are those of every tracepoint's record header.
        if !field.name.starts_with("common_") {
            fields.push(field);
        }
    }
    Ok(TracepointFormat { fields })
}

fn parse_field(text: &str) -> Option<TracepointField> {
    let mut parts = text.split(';').map(str::trim);
    let declaration = parts.next()?;
    let (mut offset, mut size, mut signed) = (None, None, None);
    for part in parts {
        match part.split_once(':') {
            Some(("offset", n)) => offset = n.parse::<u32>().ok(),
            Some(("size", n)) => size = n.parse::<u32>().ok(),
            Some(("signed", n)) => signed = Some(n != "0"),
            Some(_) | None => {}
        }
    }
    let (offset, size, signed) = (offset?, size?, signed.unwrap_or(false));
    let (ctype, name, length) = split_declaration(declaration)?;
    let form = form(&ctype, length, size);
    let ctype = ctype.trim_start_matches("__data_loc ").trim_start_matches("__rel_loc ").to_owned();
    Some(TracepointField { name, ctype, offset, size, signed, form })
}

/// `const char * name` or `u8 name[16]`, into the type, the name, and the text in brackets.
fn split_declaration(declaration: &str) -> Option<(String, String, Option<String>)> {
    let (before, length) = match declaration.strip_suffix(']').and_then(|d| d.rsplit_once('[')) {
        Some((before, length)) => (before.trim_end(), Some(length.to_owned())),
        None => (declaration, None),
    };
    let at = before.rfind(|c: char| !(c.is_alphanumeric() || c == '_'))? + 1;
    let (ctype, name) = before.split_at(at);
    if name.is_empty() {
        return None;
    }
    Some((ctype.trim().to_owned(), name.to_owned(), length))
}

fn form(ctype: &str, length: Option<String>, size: u32) -> FieldForm {
    let element = ctype
        .trim_start_matches("__data_loc ")
        .trim_start_matches("__rel_loc ")
        .trim_end_matches("[]")
        .trim();
    let is_char = is_char(element);
    if ctype.starts_with("__data_loc") {
        return FieldForm::DataLoc { is_char };
    }
    if ctype.starts_with("__rel_loc") {
        return FieldForm::RelLoc { is_char };
    }
    if length.is_some() || ctype.ends_with("[]") || !matches!(size, 1 | 2 | 4 | 8) {
        // The length may be a name (`TASK_COMM_LEN`): the size says it.
        let counted =
            length.and_then(|n| n.parse::<u32>().ok()).filter(|n| *n > 0 && size.is_multiple_of(*n));
        return FieldForm::Array { len: counted.unwrap_or(size), is_char };
    }
    // An address-space mark may stand between the type and the star: `void __seg_gs *`.
    if ctype.ends_with('*') { FieldForm::Pointer } else { FieldForm::Int }
}

fn is_char(element: &str) -> bool {
    matches!(
        element.trim_start_matches("const ").trim(),
        "char" | "signed char" | "unsigned char" | "u8" | "__u8" | "s8"
    ) && !matches!(element, "u8" | "__u8" | "s8" | "unsigned char")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<(String, FieldForm, u32, u32, bool)> {
        let format = parse(text).expect("a format");
        format.fields.into_iter().map(|f| (f.name, f.form, f.offset, f.size, f.signed)).collect()
    }

    #[test]
    fn common_fields_are_left_out_and_kinds_are_told_apart() {
        let text = "name: x\nID: 1\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
            \tfield:int pid;\toffset:8;\tsize:4;\tsigned:1;\n\
            \tfield:__data_loc char[] comm;\toffset:12;\tsize:4;\tsigned:0;\n\
            \tfield:const char * filename;\toffset:16;\tsize:8;\tsigned:0;\n\
            \tfield:char name[TASK_COMM_LEN];\toffset:24;\tsize:16;\tsigned:0;\n\
            \tfield:u32 ids[4];\toffset:40;\tsize:16;\tsigned:0;\n\
            \tfield:void __seg_gs * ptr;\toffset:56;\tsize:8;\tsigned:0;\n\nprint fmt: \"x\"\n";
        assert_eq!(
            fields(text),
            [
                ("pid".into(), FieldForm::Int, 8, 4, true),
                ("comm".into(), FieldForm::DataLoc { is_char: true }, 12, 4, false),
                ("filename".into(), FieldForm::Pointer, 16, 8, false),
                ("name".into(), FieldForm::Array { len: 16, is_char: true }, 24, 16, false),
                ("ids".into(), FieldForm::Array { len: 4, is_char: false }, 40, 16, false),
                ("ptr".into(), FieldForm::Pointer, 56, 8, false),
            ]
        );
    }

    #[test]
    fn relative_locations_are_told_from_absolute_ones() {
        let text = "\tfield:__rel_loc char[] s;\toffset:8;\tsize:4;\tsigned:1;\n";
        assert_eq!(fields(text), [("s".into(), FieldForm::RelLoc { is_char: true }, 8, 4, true)]);
    }

    #[test]
    fn a_line_that_is_cut_off_is_an_error_that_shows_it() {
        assert_eq!(parse("\tfield:int pid;\toffset:8;\n"), Err("`field:int pid;\toffset:8;`".into()));
        assert!(parse("\tfield:").is_err());
    }
}
