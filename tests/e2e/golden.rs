//! Scripts with the output they give: `tests/e2e/golden/NAME.mq` and, beside it, `NAME.out`.
//!
//! A first line `// args: -f json` gives memql's arguments. What goes to stderr stands in the output
//! below a line of its own, as does an exit code that is not 0. `MEMQL_BLESS=1` writes the outputs anew.

use std::fs;
use std::path::Path;

use crate::need;
use crate::support::{machine, memql};

fn shown(ended: &memql::Ended) -> String {
    let mut text = ended.stdout.clone();
    if !ended.stderr.is_empty() {
        text.push_str("--- stderr\n");
        text.push_str(&ended.stderr);
    }
    if ended.code() != 0 {
        text.push_str(&format!("--- exit code {}\n", ended.code()));
    }
    text
}

#[test]
fn every_script_prints_what_it_did() {
    need!(machine::root());
    let folder = Path::new("tests/e2e/golden");
    let mut scripts: Vec<_> = fs::read_dir(folder)
        .expect("the golden scripts are there")
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|e| e == "mq"))
        .collect();
    scripts.sort();
    let mut wrong = Vec::new();
    for script in scripts {
        let text = fs::read_to_string(&script).expect("a script is text");
        let args = text.lines().next().and_then(|line| line.strip_prefix("// args: ")).unwrap_or_default();
        let name = script.to_string_lossy().into_owned();
        let got = shown(&memql::run(args.split_whitespace().chain([name.as_str()])));
        let expected = script.with_extension("out");
        if std::env::var_os("MEMQL_BLESS").is_some() {
            fs::write(&expected, &got).expect("an output can be written");
        }
        let wanted = fs::read_to_string(&expected).unwrap_or_default();
        if got != wanted {
            wrong.push(format!("{name}\n--- expected\n{wanted}--- got\n{got}"));
        }
    }
    assert!(wrong.is_empty(), "{}\nMEMQL_BLESS=1 takes over what was got\n", wrong.join("\n"));
}
