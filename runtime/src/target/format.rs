//! Tracepoint format files. A field is a line of parts that semicolons end, with tabs between them:
//! `field:__data_loc char[] comm;`, `offset:12;`, `size:4;`, `signed:0;`.

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
    let name = before.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next()?;
    let ctype = before.strip_suffix(name).filter(|ctype| !ctype.is_empty())?;
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

    /// `oom:mark_victim` of Linux 5.10 (short form).
    const MARK_VICTIM_5_10: &str = "name: mark_victim\nID: 507\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
        \tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:int pid;\toffset:8;\tsize:4;\tsigned:1;\n\n\
        print fmt: \"pid=%d\", REC->pid\n";

    /// The same of Linux 6.18.
    const MARK_VICTIM_6_18: &str = "name: mark_victim\nID: 655\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
        \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
        \tfield:int pid;\toffset:8;\tsize:4;\tsigned:1;\n\
        \tfield:__data_loc char[] comm;\toffset:12;\tsize:4;\tsigned:0;\n\
        \tfield:unsigned long total_vm;\toffset:16;\tsize:8;\tsigned:0;\n\
        \tfield:uid_t uid;\toffset:48;\tsize:4;\tsigned:0;\n\
        \tfield:short oom_score_adj;\toffset:64;\tsize:2;\tsigned:1;\n\n\
        print fmt: \"pid=%d comm=%s total-vm=%lukB\", REC->pid, __get_str(comm), REC->total_vm\n";

    #[test]
    fn the_same_event_of_two_kernels_keeps_its_own_fields() {
        assert_eq!(fields(MARK_VICTIM_5_10), [("pid".into(), FieldForm::Int, 8, 4, true)]);
        let names: Vec<String> = fields(MARK_VICTIM_6_18).into_iter().map(|f| f.0).collect();
        assert_eq!(names, ["pid", "comm", "total_vm", "uid", "oom_score_adj"]);
    }

    #[test]
    fn fields_that_kernels_write_in_unusual_ways_are_understood() {
        // Syscall arguments take 8 bytes each, whatever their type (5.10 to 7.2).
        let syscall = "\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n\
            \tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;\n\
            \tfield:const char __user * filename;\toffset:24;\tsize:8;\tsigned:0;\n\
            \tfield:umode_t mode;\toffset:40;\tsize:8;\tsigned:0;\n";
        let forms: Vec<_> = fields(syscall).into_iter().map(|f| (f.1, f.3)).collect();
        assert_eq!(
            forms,
            [(FieldForm::Int, 4), (FieldForm::Int, 8), (FieldForm::Pointer, 8), (FieldForm::Int, 8)]
        );
        // Arrays of structs and of bytes, enums, booleans, function pointers (`timer:timer_start`).
        let others = "\tfield:__u8 saddr[28];\toffset:8;\tsize:28;\tsigned:0;\n\
            \tfield:enum skb_drop_reason reason;\toffset:36;\tsize:4;\tsigned:0;\n\
            \tfield:bool is_atomic;\toffset:40;\tsize:1;\tsigned:0;\n\
            \tfield:struct in6_addr a;\toffset:41;\tsize:16;\tsigned:0;\n\
            \tfield:__data_loc cpumask_t[] cpus;\toffset:60;\tsize:4;\tsigned:0;\n\
            \tfield:__data_loc __u8[] buf;\toffset:64;\tsize:4;\tsigned:0;\n\
            \tfield:unsigned long ip[0];\toffset:72;\tsize:0;\tsigned:0;\n";
        let forms: Vec<_> = fields(others).into_iter().map(|f| f.1).collect();
        let (array, loc) =
            (|len| FieldForm::Array { len, is_char: false }, FieldForm::DataLoc { is_char: false });
        assert_eq!(forms, [array(28), FieldForm::Int, FieldForm::Int, array(16), loc, loc, array(0)]);
    }

    #[test]
    fn damaged_formats_give_fields_or_errors() {
        let pieces = [
            "\u{20ac}",
            "field:",
            ";",
            "[",
            "]",
            "99999999999",
            "-1",
            "\0",
            "\t",
            "offset:",
            "",
            "__data_loc ",
        ];
        for text in [MARK_VICTIM_5_10, MARK_VICTIM_6_18] {
            let ends = (0..=text.len()).filter(|at| text.is_char_boundary(*at));
            for at in ends {
                // Cut off, and with something strange in the place of nothing, of a byte, and of all that follows.
                let _ = parse(&text[..at]);
                for piece in pieces {
                    for rest in [at, at + 1, text.len()] {
                        let _ = parse(&format!("{}{piece}{}", &text[..at], text.get(rest..).unwrap_or("")));
                    }
                }
            }
        }
        assert!(parse("\tfield:int pid\u{20ac}x;\toffset:8;\tsize:4;\tsigned:1;\n").is_ok());
        assert!(parse("\tfield:\u{20ac};\toffset:8;\tsize:4;\tsigned:1;\n").is_err());
        assert!(parse("\tfield:int pid;\toffset:99999999999;\tsize:4;\tsigned:1;\n").is_err());
    }

    #[test]
    fn every_format_of_the_running_kernel_is_understood() {
        let Ok(tracefs) = super::super::tracefs::Tracefs::open() else {
            return crate::skip::skipped("tracefs cannot be opened here");
        };
        let mut seen = 0;
        for (category, name) in tracefs.tracepoints().expect("tracefs lists its events") {
            let path = format!("events/{category}/{name}/format");
            let Some(text) = tracefs.read(&path).expect("a format can be read") else { continue };
            let format = parse(&text).unwrap_or_else(|problem| panic!("{path}: {problem}"));
            let mut end = 0;
            for field in &format.fields {
                assert!(field.offset >= end, "{path}: `{}` overlaps what is before it", field.name);
                end = field.offset + field.size;
            }
            seen += 1;
        }
        assert!(seen > 500, "a kernel has more events than {seen}");
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
