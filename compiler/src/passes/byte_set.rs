//! A set of bytes of one piece of memory, as ranges.

use std::ops::Range;

/// Disjoint ranges in ascending order, none touching the next.
#[derive(Clone, Debug, Default)]
pub(super) struct ByteSet(Vec<Range<i64>>);

impl ByteSet {
    /// Whether all bytes of a range are in the set.
    pub(super) fn contains(&self, range: &Range<i64>) -> bool {
        range.is_empty() || self.0.iter().any(|r| r.start <= range.start && range.end <= r.end)
    }

    /// Adds the bytes of a range.
    pub(super) fn insert(&mut self, range: Range<i64>) {
        if range.is_empty() {
            return;
        }
        let touches = |r: &Range<i64>| r.start <= range.end && range.start <= r.end;
        let (start, end) = self
            .0
            .iter()
            .filter(|r| touches(r))
            .fold((range.start, range.end), |(start, end), r| (start.min(r.start), end.max(r.end)));
        self.0.retain(|r| !touches(r));
        let at = self.0.partition_point(|r| r.start < start);
        self.0.insert(at, start..end);
    }

    /// Takes the bytes of a range out.
    pub(super) fn remove(&mut self, range: Range<i64>) {
        let rest = |r: &Range<i64>| [r.start..r.end.min(range.start), r.start.max(range.end)..r.end];
        self.0 = self.0.iter().flat_map(rest).filter(|r| !r.is_empty()).collect();
    }

    /// What remains of a range when bytes of the set are taken off its two ends.
    pub(super) fn trim(&self, mut range: Range<i64>) -> Range<i64> {
        for r in &self.0 {
            if r.contains(&range.start) {
                range.start = r.end.min(range.end);
            }
        }
        for r in self.0.iter().rev() {
            if r.contains(&(range.end - 1)) {
                range.end = r.start.max(range.start);
            }
        }
        range
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut set = ByteSet::default();
        set.insert(0..4);
        set.insert(8..12);
        assert!(!set.contains(&(0..12)));
        set.insert(4..8);
        assert!(set.contains(&(0..12)));
        assert_eq!(set.0, vec![0..12]);
    }

    #[test]
    fn removal_leaves_both_sides() {
        let mut set = ByteSet::default();
        set.insert(0..12);
        set.remove(4..8);
        assert_eq!(set.0, vec![0..4, 8..12]);
        set.remove(0..100);
        assert_eq!(set.0, vec![]);
    }

    #[test]
    fn trimming_takes_both_ends() {
        let mut set = ByteSet::default();
        set.insert(0..4);
        set.insert(12..20);
        assert_eq!(set.trim(0..16), 4..12);
        assert_eq!(set.trim(5..7), 5..7);
    }
}
