//! Instructions as text: each `cases/NAME.ir` is emitted and compared with `cases/NAME.asm`.
//!
//! A case's first line says what it is about and for which kernel: `; old: ...`, `; new: ...` or
//! `; both: ...`. After a deliberate change: `MEMQL_BLESS=1 cargo test -p memql-compiler --test emit golden`,
//! and read the difference.

use std::fs;
use std::path::{Path, PathBuf};

use crate::kernel::{back_end, new_kernel, old_kernel, parse};

#[test]
fn cases_are_emitted_as_written_beside_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emit/cases");
    let mut cases: Vec<PathBuf> =
        fs::read_dir(&folder).expect("the folder is there").map(|e| e.expect("is read").path()).collect();
    cases.retain(|path| path.extension().is_some_and(|e| e == "ir"));
    cases.sort();
    assert!(!cases.is_empty());
    let wrong: Vec<&PathBuf> = cases.iter().filter(|case| !check(case)).collect();
    assert!(wrong.is_empty(), "these differ; MEMQL_BLESS=1 accepts them: {wrong:#?}");
}

fn check(case: &Path) -> bool {
    let ir = fs::read_to_string(case).expect("is read");
    let emit = |features| back_end(parse(&ir), &features).asm;
    let kernel = ir.trim_start_matches("; ").split(':').next().unwrap_or_default();
    let text = match kernel {
        "old" => emit(old_kernel()),
        "new" => emit(new_kernel()),
        "both" => {
            let (old, new) = (emit(old_kernel()), emit(new_kernel()));
            assert_eq!(old, new, "{}", case.display());
            new
        }
        other => panic!("{}: `{other}` is no kernel", case.display()),
    };
    let expected = case.with_extension("asm");
    if std::env::var_os("MEMQL_BLESS").is_some() {
        fs::write(&expected, &text).expect("is written");
        return true;
    }
    let same = fs::read_to_string(&expected).is_ok_and(|expected| expected == text);
    if !same {
        println!("{}:\n{text}", expected.display());
    }
    same
}
