//! How much work allocation takes, counted and not timed.

use std::collections::BTreeSet;

use memql_compiler::alloc::intervals::{Position, first_common, meetings};

use crate::random::Random;

#[test]
fn things_that_never_meet_are_never_compared() {
    let mut compared = 0;
    // As thousands of temporaries of a long program are: one after the other, beside a few that stay.
    let passing = (10..50_000u32).map(|n| (n, 2 * n, 2 * n + 2));
    let staying = (0..3).map(|n| (n, 0, Position::MAX));
    meetings(passing.chain(staying), |_, _| compared += 1);
    assert_eq!(compared, 3 * (50_000 - 10) + 3);
}

#[test]
fn those_that_meet_are_those_with_a_position_in_common() {
    let mut random = Random::new(7);
    for _ in 0..200 {
        let ranges: Vec<Vec<(Position, Position)>> = (0..8)
            .map(|_| {
                let mut at = 0;
                let range = |_| {
                    let from = at + 1 + random.below(9) as Position;
                    at = from + 1 + random.below(9) as Position;
                    (from, at)
                };
                (0..4).map(range).collect()
            })
            .collect();
        let mut expected = BTreeSet::new();
        for a in 0..ranges.len() {
            for b in 0..a {
                if first_common(&ranges[a], &ranges[b]).is_some() {
                    expected.insert((b, a));
                }
            }
        }
        let all =
            ranges.iter().enumerate().flat_map(|(n, own)| own.iter().map(move |(from, to)| (n, *from, *to)));
        let mut found = BTreeSet::new();
        meetings(all, |a, b| {
            // A thing's own ranges do not touch.
            assert_ne!(a, b);
            found.insert((a.min(b), a.max(b)));
        });
        assert_eq!(found, expected);
    }
}
