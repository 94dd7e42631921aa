//! Scripts in several files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::need;
use crate::support::{machine, memql};

/// A folder of scripts that only its owner may write into.
fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("memql-imports-{}-{name}", std::process::id()));
    for (file, text) in files {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder can be made");
        fs::write(path, text).expect("a file can be written");
    }
    folder
}

#[test]
fn what_is_imported_runs_first_and_is_relative_to_the_file_that_names_it() {
    need!(machine::root());
    let folder = folder(
        "runs",
        &[
            (
                "main.mq",
                "import \"lib/all.bt\";\nimport \"more\";\nimport \"lib/all.bt\";\nbegin { print(twice(LIMIT)); count(@seen); exit(); }",
            ),
            ("lib/all.bt", "import \"one.bt\";\nbegin { print(\"all\"); }"),
            ("lib/one.bt", "#define LIMIT 21\nmacro twice(x) { x * 2 }\nbegin { print(\"one\"); }"),
            ("more/a.mq", "macro count(@m) { @m[1] = 1; clear(@m); }"),
            ("more/b.bt", "let @seen = hash(10);"),
        ],
    );
    let out = memql::run(["-q", &folder.join("main.mq").to_string_lossy()]).output();
    assert_eq!(out, "one\nall\n42\n");
    fs::remove_dir_all(folder).expect("the folder can be removed");
}

#[test]
fn mistakes_are_shown_where_they_are() {
    let folder = folder(
        "wrong",
        &[
            ("main.mq", "import \"lib.bt\";\nbegin { print(wrong(1)); }"),
            ("lib.bt", "\n\nmacro wrong(x) {\n    $nothing + x\n}"),
            ("cycle.mq", "import \"back.bt\";\nbegin { }"),
            ("back.bt", "import \"cycle.mq\";"),
            ("open/x.bt", ""),
            ("from_open.mq", "import \"open/x.bt\";\nbegin { }"),
        ],
    );
    let fails = |name: &str| {
        let ended = memql::run(["--check", &folder.join(name).to_string_lossy()]);
        assert_eq!(ended.code(), 1, "{}", ended.stderr);
        ended.stderr.clone()
    };
    let wrong = fails("main.mq");
    assert!(wrong.contains("lib.bt:4:5") && wrong.contains("main.mq:2:15"), "{wrong}");
    assert!(fails("cycle.mq").contains("imports itself"));
    let open = folder.join("open");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("the mode can be set");
    assert!(fails("from_open.mq").contains("anybody may write into"));
    fs::remove_dir_all(folder).expect("the folder can be removed");
}
