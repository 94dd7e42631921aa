//! How time grows: with probes, with keys, with functions that a wildcard matches.

use crate::loads;
use crate::startup::left_out;
use crate::table::Table;
use crate::tools::{self, ms, names};

pub fn measure(rounds: usize) -> Vec<Table> {
    let tools = tools::speakers();
    let names = names(&tools);
    let mut compile = Table::new("compiling a script of many probes", "ms", &["memql"]);
    let mut keys = Table::new("filling and printing a map", "ms", &names);
    let mut wildcard = Table::new("a wildcard of many functions: to attached", "ms", &names);
    let program = loads::functions(10_000);
    for _ in 0..rounds {
        for probes in [10, 100, 1000] {
            let script: String = (0..probes)
                .map(|n| {
                    format!(
                        "interval:s:{} {{ @a[pid, comm] = count(); @b{n} = hist(nsecs / {}); }}\n",
                        n + 1,
                        n + 1
                    )
                })
                .collect();
            let run = tools::memql().start(["--check", "-e", &script]).end();
            assert_eq!(run.output, "", "the script is right");
            compile.add(&format!("{probes} probes"), "memql", ms(run.time));
        }
        for count in [100, 10_000, 1_000_000] {
            let script = format!("begin {{ for ($i : 0..{count}) {{ @[$i] = $i; }} exit(); }}");
            for tool in &tools {
                let run = tool.script(&script).end();
                let lines = run.output.lines().filter(|line| line.starts_with("@[")).count();
                match lines == count {
                    true => keys.add(&format!("{count} keys"), tool.name, ms(run.time)),
                    false => left_out(tool.name, "keys", &format!("{lines} of {count} keys were printed")),
                }
            }
        }
        for pattern in ["f1?", "f1??", "f*"] {
            for tool in &tools {
                let mut running =
                    tool.script(&format!("uprobe:{}:{pattern} {{ @ = count(); }}", program.display()));
                let row = format!("uprobe:...:{pattern}");
                match running.until_attached() {
                    Ok(time) => {
                        wildcard.add(&row, tool.name, ms(time));
                        running.interrupt();
                    }
                    Err(said) => left_out(tool.name, &row, &said),
                }
            }
        }
    }
    vec![compile, keys, wildcard]
}
