//! Which bucket `hist()` and `lhist()` put a value in.

use memql_compiler::plan::MapStorage;
use memql_compiler::types::hist_buckets;

use crate::script;

/// The bucket that a one-value histogram has its value in.
#[track_caller]
fn bucket(statement: &str) -> usize {
    let source = format!("begin {{ {statement} }}");
    let mut found = Vec::new();
    for (stage, ran) in script::run(&source) {
        let MapStorage::Keyed { elf_name, .. } = &ran.plan.maps[0].storage else {
            panic!("a map with a key")
        };
        let (_, values) = &ran.elements[elf_name][0];
        let words: Vec<u64> =
            values[0].chunks(8).map(|w| u64::from_le_bytes(w.try_into().expect("8 bytes"))).collect();
        let set: Vec<usize> = (0..words.len()).filter(|n| words[*n] != 0).collect();
        assert!(set.len() == 1 && words[set[0]] == 1, "{statement}, {stage}: buckets {set:?}");
        found.push(set[0]);
    }
    assert_eq!(found[0], found[1], "{statement}");
    found[0]
}

/// Values at the ends of buckets.
fn edges() -> Vec<i64> {
    let mut all = vec![i64::MIN, -2, -1, 0, i64::MAX];
    for power in 0..63 {
        let value = 1i64 << power;
        all.extend([value - 1, value, value + 1, value + value / 2]);
    }
    all
}

#[test]
fn hist_has_the_bucket_that_its_layout_says() {
    for bits in 0..=5u32 {
        // All values in one script would hide which is wrong; every seventh is enough of them.
        for value in edges().into_iter().skip(bits as usize).step_by(7) {
            let expected = match value {
                ..0 => 0,
                _ if value < 1 << bits => 1 + value as u64,
                _ => {
                    let log = u64::from(63 - value.leading_zeros());
                    let (b, step) = (u64::from(bits), 1u64 << bits);
                    1 + step * (log - b + 1) + ((value as u64 >> (log - b)) & (step - 1))
                }
            };
            let statement = format!("$v = (int64){:#x}; @h[1] = hist($v, {bits});", value as u64);
            assert_eq!(bucket(&statement) as u64, expected, "{value} with {bits} bits");
            assert!(expected < u64::from(hist_buckets(bits as u8)));
        }
    }
}

#[test]
fn lhist_has_a_bucket_below_the_steps_and_one_above() {
    for (value, expected) in
        [(-101, 0), (-100, 1), (-91, 1), (-90, 2), (0, 11), (99, 20), (100, 21), (5000, 21)]
    {
        let statement = format!("$v = {value}; @h[1] = lhist($v, -100, 100, 10);");
        assert_eq!(bucket(&statement), expected, "{value}");
    }
}
