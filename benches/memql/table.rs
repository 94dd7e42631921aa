//! Tables of figures: a row for what was measured, a column for each tool.

use std::fmt::Write;

/// Figures of one kind.
pub struct Table {
    title: String,
    unit: &'static str,
    tools: Vec<&'static str>,
    rows: Vec<Row>,
    /// Whether the ratios' middle row is shown too.
    median_row: bool,
}

struct Row {
    name: String,
    /// By tool; empty where a tool cannot do it.
    samples: Vec<Vec<f64>>,
}

impl Table {
    /// A table of these tools, memql first; its peers are compared with it.
    pub fn new(title: impl Into<String>, unit: &'static str, tools: &[&'static str]) -> Table {
        Table { title: title.into(), unit, tools: tools.to_vec(), rows: Vec::new(), median_row: false }
    }

    /// Adds a sample.
    pub fn add(&mut self, row: &str, tool: &str, sample: f64) {
        let Some(column) = self.tools.iter().position(|t| *t == tool) else { return };
        let index = self.rows.iter().position(|r| r.name == row).unwrap_or_else(|| {
            self.rows.push(Row { name: row.to_string(), samples: vec![Vec::new(); self.tools.len()] });
            self.rows.len() - 1
        });
        self.rows[index].samples[column].push(sample);
    }

    /// Shows the middle of all rows' ratios too.
    pub fn note_median_row(&mut self) {
        self.median_row = true;
    }

    /// The table for people: medians with their spread, and memql's part of each peer's.
    pub fn text(&self) -> String {
        let mut text = format!("{} ({})\n{:<38}", self.title, self.unit, "");
        for tool in &self.tools {
            write!(text, "{tool:>30}").expect("a string takes all text");
        }
        for peer in &self.tools[1..] {
            write!(text, "{:>16}", format!("memql/{peer}")).expect("a string takes all text");
        }
        for Row { name, samples } in &self.rows {
            write!(text, "\n{name:<38}").expect("a string takes all text");
            for samples in samples {
                write!(text, "{:>30}", figure(samples)).expect("a string takes all text");
            }
            for peer in &samples[1..] {
                let ratio = ratio(&samples[0], peer).map_or("-".into(), |ratio| format!("{ratio:.3}"));
                write!(text, "{ratio:>16}").expect("a string takes all text");
            }
        }
        if self.median_row {
            for (place, peer) in self.tools.iter().enumerate().skip(1) {
                let ratios: Vec<f64> =
                    self.rows.iter().filter_map(|row| ratio(&row.samples[0], &row.samples[place])).collect();
                if let (Some(middle), Some(most)) = (median(&ratios), ratios.iter().copied().reduce(f64::max))
                {
                    write!(text, "\nmemql/{peer}: {middle:.3} on the median row, {most:.3} at most")
                        .expect("a string takes all text");
                }
            }
        }
        text
    }

    /// All samples.
    pub fn json(&self) -> String {
        let rows: Vec<String> = self.rows.iter().flat_map(|row| self.row_json(row)).collect();
        format!(
            r#"{{"title": {:?}, "unit": {:?}, "samples": [{}]}}"#,
            self.title,
            self.unit,
            rows.join(",\n  ")
        )
    }

    fn row_json(&self, row: &Row) -> Vec<String> {
        let of_tool = |(tool, samples): (&&str, &Vec<f64>)| {
            let median = median(samples).unwrap_or_default();
            let ratio = ratio(&row.samples[0], samples).map_or("null".into(), |ratio| ratio.to_string());
            format!(
                r#"{{"row": {:?}, "tool": {tool:?}, "median": {median}, "memql_to_this": {ratio}, "values": {samples:?}}}"#,
                row.name
            )
        };
        self.tools.iter().zip(&row.samples).filter(|(_, s)| !s.is_empty()).map(of_tool).collect()
    }
}

/// The first tool's part of another's figure.
fn ratio(ours: &[f64], theirs: &[f64]) -> Option<f64> {
    let ratio = median(ours)? / median(theirs)?;
    ratio.is_finite().then_some(ratio)
}

/// The middle sample.
pub fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

fn figure(samples: &[f64]) -> String {
    let (low, high) = samples.iter().fold((f64::MAX, f64::MIN), |(l, h), s| (l.min(*s), h.max(*s)));
    match median(samples) {
        Some(median) if samples.len() > 1 => {
            format!("{} [{} .. {}]", number(median), number(low), number(high))
        }
        Some(median) => number(median),
        None => "-".into(),
    }
}

/// Three significant digits, or all before the point.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}
