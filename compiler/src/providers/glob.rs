//! Wildcards: `*` any text, `?` any character, `[a-z]` and `[!a-z]` one character of a set.
//!
//! Matching takes at most pattern length times text length steps: after a mismatch only the last `*`
//! takes one character more. A `[` without `]` stands for itself.

/// Whether a text has wildcards.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a pattern matches the whole of a text.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on after a mismatch: behind the last star, one character further in the text.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p + 1, t));
            p += 1;
        } else if let Some(length) = matches_one(&pattern[p..], text[t]) {
            p += length;
            t += 1;
        } else if let Some((star, at)) = retry {
            retry = Some((star, at + 1));
            (p, t) = (star, at + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// If the pattern's first element matches the character: how long the element is.
fn matches_one(pattern: &[u8], c: u8) -> Option<usize> {
    match pattern.first()? {
        b'?' => Some(1),
        b'[' => match set(pattern) {
            Some((members, length)) => contains(members, c).then_some(length),
            None => (c == b'[').then_some(1),
        },
        literal => (*literal == c).then_some(1),
    }
}

/// The inside of `[...]` and the length with its brackets. A `]` right at the start is a member.
fn set(pattern: &[u8]) -> Option<(&[u8], usize)> {
    let negated = usize::from(matches!(pattern.get(1), Some(b'!' | b'^')));
    let end = pattern.iter().skip(2 + negated).position(|b| *b == b']')? + 2 + negated;
    Some((&pattern[1..end], end + 1))
}

fn contains(members: &[u8], c: u8) -> bool {
    let (negated, mut rest) = match members {
        [b'!' | b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    while let [first, tail @ ..] = rest {
        match tail {
            [b'-', last, tail @ ..] => {
                found |= (*first..=*last).contains(&c);
                rest = tail;
            }
            tail => {
                found |= *first == c;
                rest = tail;
            }
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_marks_and_sets_match_as_in_a_shell() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "abc"),
            ("a*c", "abbc"),
            ("a*b*c", "axxbyybc"),
            ("a?c", "abc"),
            ("sys_[eE]nter_*", "sys_enter_openat"),
            ("v[0-9]", "v7"),
            ("v[!0-9]", "vx"),
            ("a[]]b", "a]b"),
            ("a[b", "a[b"),
            ("**", "x"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("a*c", "ab"), ("a?c", "ac"), ("v[0-9]", "vx"), ("v[!0-9]", "v7"), ("abc", "ab")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_more_than_a_product_of_lengths() {
        let (pattern, text) = ("*a".repeat(2_000), "a".repeat(1_999) + "b");
        assert!(!matches(&pattern, &text));
    }
}
