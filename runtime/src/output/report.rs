//! `report @map ...`: a snapshot of a map filtered, grouped, summed up, ordered, cut and printed.
//!
//! ```text
//! elements --filter--> elements --group by the columns that are groups--> rows --order, limit--> printed
//! ```
//! Groups are found by the raw bytes of their columns; nothing is decoded, and no symbol resolved,
//! before the rows that are printed are known.

use std::cmp::Ordering;
use std::collections::HashMap;

use memql_compiler::plan::{Format, FormatPiece, ReportColumn, ReportPlan, ReportValue};
use memql_compiler::types::Type;

use super::decode::Decoder;
use super::format::push_formatted;
use super::map::compare;
use super::report_expr::{Cell, Evaluator, Row};
use super::text::push_value;
use super::{OutputError, Value};

/// A report's rows, ready to be printed.
#[derive(Debug)]
pub(super) struct Table<'a> {
    /// The map's name.
    pub map: &'a str,
    /// The columns' names.
    pub headings: Vec<&'a str>,
    /// The rows, a value a column.
    pub rows: Vec<Vec<Value>>,
    /// How a row is printed as text; without it, as an aligned table.
    pub format: Option<&'a Format>,
}

/// Computes a report. `event` is the event that asked for it, with the values it carries.
pub(super) fn run<'a>(
    report: &'a ReportPlan,
    event: &[u8],
    decoder: &mut Decoder<'a>,
) -> Result<Table<'a>, OutputError> {
    let map = decoder
        .plan
        .maps
        .get(report.map)
        .ok_or_else(|| OutputError::Internal(format!("a report on a map with index {}", report.map)))?;
    let columns = &report.columns;
    let conversions =
        report.format.iter().flat_map(|f| &f.pieces).filter(|p| matches!(p, FormatPiece::Conversion(_)));
    if conversions.count() > columns.len() {
        return Err(OutputError::Internal("a report's format has more conversions than columns".into()));
    }
    let mut evaluator = Evaluator::new(decoder.plan, decoder.maps, event);
    let entries = decoder.maps.entries(report.map)?;
    let mut groups = Groups::new(columns);
    for i in 0..entries.len() {
        let row = Row { map, key: entries.key(i), value: entries.value(i) };
        let wanted = match &report.filter {
            Some(filter) => evaluator.eval(filter, Some(row))?.number() != 0,
            None => true,
        };
        if wanted {
            groups.add(&mut evaluator, row)?;
        }
    }
    let mut rows = groups.finish();
    if let Some((column, _)) = report.order
        && column >= columns.len()
    {
        return Err(OutputError::Internal(format!("a report is ordered by its column {column}")));
    }
    rows.sort_by(|a, b| by_order(report, a, b));
    if let Some(limit) = &report.limit {
        // As with `print(@map, top)`: 0 is no limit.
        let most = usize::try_from(evaluator.eval(limit, None)?.number()).unwrap_or(0);
        if most > 0 {
            rows.truncate(most);
        }
    }
    let mut decoded = Vec::with_capacity(rows.len());
    for row in rows {
        let mut values = Vec::with_capacity(row.len());
        for (cell, column) in row.into_iter().zip(columns) {
            values.push(cell.decode(&column.ty, decoder)?);
        }
        decoded.push(values);
    }
    Ok(Table {
        map: &map.name,
        headings: columns.iter().map(|c| &*c.name).collect(),
        rows: decoded,
        format: report.format.as_ref(),
    })
}

/// A column of one row before it is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RawCell {
    /// A number: also sums, which may need more than 64 bits.
    Number(i128),
    /// The bytes of a value that is none.
    Bytes(Box<[u8]>),
}

impl RawCell {
    fn decode(self, ty: &Type, decoder: &mut Decoder<'_>) -> Result<Value, OutputError> {
        match (self, ty) {
            (RawCell::Bytes(bytes), _) => decoder.value(ty, &bytes),
            // Printed as it is: a sum is exact even where its type is too narrow for it.
            (RawCell::Number(n), Type::Int { .. } | Type::Agg(_)) => Ok(Value::Int(n)),
            (RawCell::Number(n), _) => decoder.value(ty, &(n as u64).to_ne_bytes()),
        }
    }
}

/// What is kept of a column while elements are added to a group.
#[derive(Clone, Copy, Debug)]
struct Tally {
    count: i128,
    sum: i128,
    min: i128,
    max: i128,
}

/// The groups found so far.
struct Groups<'a> {
    columns: &'a [ReportColumn],
    /// The index of a group by the bytes of its group columns.
    index: HashMap<Box<[u8]>, usize>,
    /// A row of cells a group; those of other columns are filled in at the end.
    cells: Vec<Vec<RawCell>>,
    /// A tally a column that is not a group, one group after another.
    tallies: Vec<Tally>,
    /// How many of those a group has.
    tallied: usize,
    /// The bytes of the group looked for, kept to save an allocation an element.
    wanted: Vec<u8>,
}

impl<'a> Groups<'a> {
    fn new(columns: &'a [ReportColumn]) -> Groups<'a> {
        let tallied = columns.iter().filter(|c| !matches!(c.value, ReportValue::Group(_))).count();
        Groups {
            columns,
            index: HashMap::new(),
            cells: Vec::new(),
            tallies: Vec::new(),
            tallied,
            wanted: Vec::new(),
        }
    }

    /// Adds an element to its group.
    fn add(&mut self, evaluator: &mut Evaluator<'_>, row: Row<'_>) -> Result<(), OutputError> {
        let group = self.find(evaluator, row)?;
        let mut at = group * self.tallied;
        for column in self.columns {
            let number = match &column.value {
                ReportValue::Group(_) => continue,
                ReportValue::Count => 0,
                ReportValue::Sum(e) | ReportValue::Min(e) | ReportValue::Max(e) | ReportValue::Avg(e) => {
                    evaluator.eval(e, Some(row))?.typed_number(&e.ty)
                }
            };
            let tally = &mut self.tallies[at];
            tally.count += 1;
            tally.sum += number;
            tally.min = tally.min.min(number);
            tally.max = tally.max.max(number);
            at += 1;
        }
        Ok(())
    }

    fn find(&mut self, evaluator: &mut Evaluator<'_>, row: Row<'_>) -> Result<usize, OutputError> {
        self.wanted.clear();
        for column in self.columns {
            if let ReportValue::Group(expr) = &column.value {
                match evaluator.eval(expr, Some(row))? {
                    Cell::Number(n) => self.wanted.extend_from_slice(&n.to_ne_bytes()),
                    Cell::Bytes(bytes) => self.wanted.extend_from_slice(&bytes),
                }
            }
        }
        if let Some(group) = self.index.get(&*self.wanted) {
            return Ok(*group);
        }
        let mut cells = Vec::with_capacity(self.columns.len());
        for column in self.columns {
            cells.push(match &column.value {
                ReportValue::Group(expr) => match evaluator.eval(expr, Some(row))? {
                    number @ Cell::Number(_) => RawCell::Number(number.typed_number(&expr.ty)),
                    Cell::Bytes(bytes) => RawCell::Bytes(bytes.into()),
                },
                ReportValue::Count
                | ReportValue::Sum(_)
                | ReportValue::Min(_)
                | ReportValue::Max(_)
                | ReportValue::Avg(_) => RawCell::Number(0),
            });
        }
        let group = self.cells.len();
        self.cells.push(cells);
        self.tallies.resize(
            self.tallies.len() + self.tallied,
            Tally { count: 0, sum: 0, min: i128::MAX, max: i128::MIN },
        );
        self.index.insert(self.wanted.as_slice().into(), group);
        Ok(group)
    }

    /// All rows, complete.
    fn finish(self) -> Vec<Vec<RawCell>> {
        let Groups { columns, mut cells, tallies, .. } = self;
        let mut tallies = tallies.into_iter();
        for row in &mut cells {
            for (cell, column) in row.iter_mut().zip(columns) {
                let result = |tallies: &mut dyn Iterator<Item = Tally>, of: fn(Tally) -> i128| {
                    RawCell::Number(tallies.next().map_or(0, of))
                };
                *cell = match &column.value {
                    ReportValue::Group(_) => continue,
                    ReportValue::Count => result(&mut tallies, |t| t.count),
                    ReportValue::Sum(_) => result(&mut tallies, |t| t.sum),
                    ReportValue::Min(_) => result(&mut tallies, |t| t.min),
                    ReportValue::Max(_) => result(&mut tallies, |t| t.max),
                    ReportValue::Avg(_) => {
                        result(&mut tallies, |t| if t.count == 0 { 0 } else { t.sum / t.count })
                    }
                };
            }
        }
        cells
    }
}

/// By the column asked for, then by all columns from left to right.
fn by_order(report: &ReportPlan, a: &[RawCell], b: &[RawCell]) -> Ordering {
    let column = |i: usize| match (&a[i], &b[i]) {
        (RawCell::Number(a), RawCell::Number(b)) => a.cmp(b),
        (RawCell::Bytes(a), RawCell::Bytes(b)) => compare(&report.columns[i].ty, a, b),
        // One column has one kind of cell.
        (RawCell::Number(_), RawCell::Bytes(_)) => Ordering::Less,
        (RawCell::Bytes(_), RawCell::Number(_)) => Ordering::Greater,
    };
    let first = match report.order {
        Some((i, true)) => column(i).reverse(),
        Some((i, false)) => column(i),
        None => Ordering::Equal,
    };
    first.then_with(|| (0..report.columns.len()).map(column).find(|o| o.is_ne()).unwrap_or(Ordering::Equal))
}

impl Table<'_> {
    /// Appends it as text.
    pub fn push_text(&self, out: &mut Vec<u8>, terminal: bool) -> Result<(), OutputError> {
        match self.format {
            Some(format) => self.rows.iter().try_for_each(|row| push_formatted(out, format, row, terminal)),
            None => {
                self.push_aligned(out, terminal);
                Ok(())
            }
        }
    }

    /// Columns are as wide as their widest cell; numbers stand on the right, text on the left, stacks
    /// below their row.
    fn push_aligned(&self, out: &mut Vec<u8>, terminal: bool) {
        let inline: Vec<usize> = (0..self.headings.len()).filter(|i| !self.is_stack(*i)).collect();
        let texts: Vec<Vec<Vec<u8>>> = self
            .rows
            .iter()
            .map(|row| {
                let text = |i: &usize| {
                    let mut text = Vec::new();
                    push_value(&mut text, &row[*i], terminal);
                    text
                };
                inline.iter().map(text).collect()
            })
            .collect();
        let headings: Vec<Vec<u8>> = inline.iter().map(|i| self.headings[*i].as_bytes().to_vec()).collect();
        let widths: Vec<usize> = (0..inline.len())
            .map(|c| texts.iter().chain([&headings]).map(|row| columns(&row[c])).max().unwrap_or(0))
            .collect();
        let right: Vec<bool> =
            inline.iter().map(|i| self.rows.iter().all(|row| row[*i].number().is_some())).collect();
        push_line(out, &headings, &widths, &right);
        for (row, cells) in self.rows.iter().zip(&texts) {
            push_line(out, cells, &widths, &right);
            for value in row.iter().filter(|v| matches!(v, Value::Stack(_))) {
                let mut text = Vec::new();
                push_value(&mut text, value, terminal);
                out.extend_from_slice(text.strip_prefix(b"\n").unwrap_or(&text));
            }
        }
    }

    fn is_stack(&self, column: usize) -> bool {
        self.rows.first().is_some_and(|row| matches!(row[column], Value::Stack(_)))
    }
}

fn push_line(out: &mut Vec<u8>, cells: &[Vec<u8>], widths: &[usize], right: &[bool]) {
    for (c, cell) in cells.iter().enumerate() {
        let last = c + 1 == cells.len();
        let padding = widths[c].saturating_sub(columns(cell));
        if right[c] {
            out.resize(out.len() + padding, b' ');
        }
        out.extend_from_slice(cell);
        if !right[c] && !last {
            out.resize(out.len() + padding, b' ');
        }
        if !last {
            out.extend_from_slice(b"  ");
        }
    }
    out.push(b'\n');
}

/// Columns that text takes: a character each. Wide and combining characters are not told apart.
fn columns(text: &[u8]) -> usize {
    String::from_utf8_lossy(text).chars().count()
}
