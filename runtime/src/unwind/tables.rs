//! All tables of a run, as they lie in the maps: what [`memql_compiler::unwind`] describes, without a kernel.
//!
//! Each file is read once, however many processes map it. Rows and rules are only ever added. What a process has mapped
//! lies in one range; when that changes, the new list takes a range that nobody uses, and the old one is free from then on.

use std::collections::HashMap;
use std::ops::Range;

use memql_compiler::unwind::{MAPPING_BYTES, MOST_MAPPINGS, Mapping, ROW_BYTES, RULE_BYTES, Rule};

use super::table::{Row, Table};

/// How many elements each array has room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub mappings: u32,
    pub rows: u32,
    pub rules: u32,
}

impl Room {
    /// Bytes that the arrays take.
    pub fn bytes(self) -> u64 {
        let Room { mappings, rows, rules } = self;
        let bytes = |n: u32, each: u32| u64::from(n) * u64::from(each);
        bytes(mappings, MAPPING_BYTES) + bytes(rows, ROW_BYTES) + bytes(rules, RULE_BYTES)
    }
}

/// The tables.
#[derive(Debug)]
pub(super) struct Tables {
    room: Room,
    /// As they lie in the map.
    pub rows: Vec<[u8; ROW_BYTES as usize]>,
    /// The same.
    pub rules: Vec<[u8; RULE_BYTES as usize]>,
    numbers: HashMap<Rule, u32>,
    ranges: Ranges,
}

/// Where a file's table is.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    first_row: u32,
    rows: u32,
    /// Without rows: what tells where a mapping's bytes are in the table.
    places: Table,
}

impl Tables {
    /// With nothing in them.
    pub fn new(room: Room) -> Tables {
        let mut tables = Tables {
            room,
            rows: Vec::new(),
            rules: Vec::new(),
            numbers: HashMap::new(),
            ranges: Ranges::default(),
        };
        tables.number(Rule::UNKNOWN);
        tables
    }

    /// Gives the arrays this room; it is not less than what is in them.
    pub fn set_room(&mut self, room: Room) {
        self.room = room;
    }

    /// The room that there is.
    pub fn room(&self) -> Room {
        self.room
    }

    /// Adds a file's table; `None` if there is no room for it.
    pub fn add(&mut self, table: Table) -> Option<Placed> {
        let (rows_before, rules_before) = (self.rows.len(), self.rules.len());
        if rows_before + table.rows.len() > self.room.rows as usize {
            return None;
        }
        for Row { place, rule } in &table.rows {
            let number = self.number(*rule);
            let [a, b, c, d] = place.to_le_bytes();
            let [e, f, g, h] = number.to_le_bytes();
            self.rows.push([a, b, c, d, e, f, g, h]);
        }
        if self.rules.len() > self.room.rules as usize {
            self.rows.truncate(rows_before);
            self.rules.truncate(rules_before);
            self.numbers.retain(|_, number| (*number as usize) < rules_before);
            return None;
        }
        let (first_row, rows) = (rows_before as u32, table.rows.len() as u32);
        Some(Placed { first_row, rows, places: Table { rows: Vec::new(), ..table } })
    }

    fn number(&mut self, rule: Rule) -> u32 {
        *self.numbers.entry(rule).or_insert_with(|| {
            self.rules.push(rule.bytes());
            self.rules.len() as u32 - 1
        })
    }

    /// A range for so many mappings; `None` if there is no room, or that is more than a process may have.
    pub fn take_range(&mut self, mappings: usize) -> Option<Range<u32>> {
        let count = u32::try_from(mappings).ok().filter(|count| *count <= MOST_MAPPINGS)?;
        self.ranges.take(count, self.room.mappings)
    }

    /// Gives a range back.
    pub fn give_back(&mut self, range: &Range<u32>) {
        self.ranges.live.retain(|live| live != range);
    }
}

impl Placed {
    /// How programs find the rows of what a process has mapped of the file; `None` of what is no code of it.
    pub fn mapping(&self, addresses: &Range<u64>, file_offset: u64) -> Option<Mapping> {
        let place = self.places.place_of(file_offset)?;
        Some(Mapping {
            start: addresses.start,
            end: addresses.end,
            bias: addresses.start.wrapping_sub(place),
            first_row: self.first_row,
            rows: self.rows,
        })
    }

    /// How many rows the file has.
    pub fn rows(&self) -> u32 {
        self.rows
    }
}

/// Ranges of an array that are in use. New ones are taken behind the last that was taken, so that one that was given back
/// is not used again at once: a program may still be reading it.
#[derive(Debug, Default)]
struct Ranges {
    live: Vec<Range<u32>>,
    next: u32,
}

impl Ranges {
    fn take(&mut self, count: u32, room: u32) -> Option<Range<u32>> {
        let starts: Vec<u32> = [self.next, 0].into_iter().chain(self.live.iter().map(|r| r.end)).collect();
        let free = |start: &u32| {
            let end = u64::from(*start) + u64::from(count);
            end <= u64::from(room) && self.live.iter().all(|r| u64::from(r.start) >= end || r.end <= *start)
        };
        let start = starts.into_iter().find(free)?;
        let range = start..start + count;
        self.next = range.end;
        self.live.push(range.clone());
        Some(range)
    }
}

#[cfg(test)]
mod tests {
    use memql_compiler::unwind::{Base, Cfa, Place, Saved};

    use super::super::table::Segment;
    use super::*;

    fn rule(offset: i32) -> Rule {
        Rule {
            cfa: Cfa::Register(Base::StackPointer, offset),
            frame_pointer: Saved::Same,
            return_address: Place::FromCfa(-8),
            signal: false,
        }
    }

    fn table(offsets: &[i32]) -> Table {
        let row = |(n, offset): (usize, &i32)| Row { place: n as u32 * 16, rule: rule(*offset) };
        let segments = vec![Segment { file: 0x1000..0x3000, address: 0x401000 }];
        Table { rows: offsets.iter().enumerate().map(row).collect(), base: 0x401100, segments }
    }

    #[test]
    fn a_file_without_room_leaves_no_trace() {
        let mut tables = Tables::new(Room { mappings: 10, rows: 10, rules: 3 });
        assert!(tables.add(table(&[8, 16])).is_some());
        assert!(tables.add(table(&[8, 24])).is_none(), "a fourth rule");
        assert!(tables.add(table(&[8; 9])).is_none(), "an eleventh row");
        assert_eq!((tables.rows.len(), tables.rules.len()), (2, 3));
        assert!(tables.add(table(&[16, 8])).is_some());
        assert_eq!(tables.rows[3], [16, 0, 0, 0, 1, 0, 0, 0]);
    }

    #[test]
    fn a_mapping_knows_its_place_in_the_table_wherever_it_is_mapped() {
        let placed = Tables::new(Room { mappings: 1, rows: 10, rules: 10 }).add(table(&[8])).unwrap();
        let mapping = placed.mapping(&(0x7f00_0000_2000..0x7f00_0000_3000), 0x2000).unwrap();
        // 0x2000 in the file is 0x402000 as the file has it, 0xf00 bytes behind place 0.
        assert_eq!(0x7f00_0000_2000 - mapping.bias, 0xf00);
        assert_eq!(placed.mapping(&(0..0x1000), 0), None, "the file's headers are no code");
    }

    #[test]
    fn ranges_in_use_are_not_given_away_and_free_ones_are_used_again_late() {
        let mut tables = Tables::new(Room { mappings: 10, rows: 0, rules: 1 });
        let first = tables.take_range(4).unwrap();
        let second = tables.take_range(4).unwrap();
        assert_eq!((first.clone(), second), (0..4, 4..8));
        assert_eq!(tables.take_range(4), None);
        tables.give_back(&first);
        assert_eq!(tables.take_range(2), Some(8..10));
        assert_eq!(tables.take_range(4), Some(0..4));
        assert_eq!(tables.take_range(MOST_MAPPINGS as usize + 1), None);
    }
}
