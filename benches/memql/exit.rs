//! From Ctrl-C to the end, by the number of uprobes.

use crate::loads;
use crate::startup::left_out;
use crate::table::Table;
use crate::tools::{self, ms, names};

pub fn measure(rounds: usize) -> Vec<Table> {
    let tools = tools::speakers();
    let program = loads::functions(100);
    let mut table = Table::new("Ctrl-C to the end", "ms", &names(&tools));
    for probes in [1, 25, 100] {
        let one = |n| format!("uprobe:{}:f{n} {{ @[{n}] = count(); }}\n", program.display());
        let script: String = (0..probes).map(one).collect();
        let row = format!("{probes} uprobes");
        for _ in 0..rounds {
            for tool in &tools {
                let mut running = tool.script(&script);
                match running.until_attached() {
                    Ok(_) => table.add(&row, tool.name, ms(running.interrupt().0)),
                    Err(said) => left_out(tool.name, &row, &said),
                }
            }
        }
    }
    vec![table]
}
