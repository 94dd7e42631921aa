//! Numbers in attach points: counts, offsets, addresses, durations.

/// An unsigned number as the language writes it: `1000`, `1_000`, `0x3e8`, `1e3`.
pub fn number(text: &str) -> Option<u64> {
    let digits = text.replace('_', "");
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return all_of(hex, char::is_ascii_hexdigit).and_then(|h| u64::from_str_radix(h, 16).ok());
    }
    match digits.split_once(['e', 'E']) {
        Some((base, exponent)) => {
            decimal(base)?.checked_mul(10u64.checked_pow(decimal(exponent)?.try_into().ok()?)?)
        }
        None => decimal(&digits),
    }
}

/// Nanoseconds of a duration: `1s`, `100ms`, or a bare number of nanoseconds.
pub fn duration_ns(text: &str) -> Option<u64> {
    match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) if at > 0 && unit_ns(&text[at..]).is_some() => {
            number(&text[..at])?.checked_mul(unit_ns(&text[at..])?)
        }
        Some(_) | None => number(text),
    }
}

/// Nanoseconds of a unit of time.
pub fn unit_ns(unit: &str) -> Option<u64> {
    match unit {
        "ns" => Some(1),
        "us" => Some(1_000),
        "ms" => Some(1_000_000),
        "s" => Some(1_000_000_000),
        "m" => Some(60_000_000_000),
        "h" => Some(3_600_000_000_000),
        "d" => Some(86_400_000_000_000),
        _ => None,
    }
}

/// `name+offset` in its parts; an offset that is not a number is an error that holds its text.
pub fn with_offset(text: &str) -> Result<(&str, u64), &str> {
    match text.rsplit_once('+') {
        Some((name, offset)) => number(offset).map(|n| (name, n)).ok_or(offset),
        None => Ok((text, 0)),
    }
}

fn decimal(text: &str) -> Option<u64> {
    all_of(text, char::is_ascii_digit)?.parse().ok()
}

fn all_of(text: &str, wanted: fn(&char) -> bool) -> Option<&str> {
    (!text.is_empty() && text.chars().all(|c| wanted(&c))).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_all_their_forms() {
        let read = ["1000", "1_000", "0x3e8", "1e3"].map(number);
        assert_eq!(read, [Some(1000); 4]);
        for wrong in ["", "x", "1x", "0x", "1e", "e3", "-1", "+1", "1e20", "99999999999999999999"] {
            assert_eq!(number(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_take_units_and_default_to_nanoseconds() {
        assert_eq!(duration_ns("1s"), Some(1_000_000_000));
        assert_eq!(duration_ns("100ms"), Some(100_000_000));
        assert_eq!(duration_ns("1e9"), Some(1_000_000_000));
        assert_eq!(duration_ns("0x10"), Some(16));
        assert_eq!(duration_ns("1parsec"), None);
        assert_eq!(duration_ns("999999999999d"), None);
        assert_eq!(duration_ns("s"), None);
    }
}
