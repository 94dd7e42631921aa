//! Makes outputs comparable: what differs from run to run is replaced, and nothing else.

/// Each number of the given pid becomes `PID`, where it stands alone.
pub fn hide_pid(text: &str, pid: &str) -> String {
    words(text, |word| (word == pid).then(|| "PID".to_string()))
}

/// Bytes into a function (`+0x1b`) become `+OFF`.
pub fn hide_offsets(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("+0x") {
        let digits = rest[at + 3..].bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str(&rest[..at]);
        out.push_str("+OFF");
        rest = &rest[at + 3 + digits..];
    }
    out + rest
}

/// A clock time `22:55:08` at the start of a line or after `[` becomes `HH:MM:SS`.
pub fn hide_times(text: &str) -> String {
    let is_time = |s: &[u8]| {
        s.iter().enumerate().all(|(i, b)| if i % 3 == 2 { *b == b':' } else { b.is_ascii_digit() })
    };
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let start = usize::from(line.starts_with('['));
        match line.as_bytes().get(start..start + 8) {
            Some(time) if is_time(time) => {
                out.push_str(&line[..start]);
                out.push_str("HH:MM:SS");
                out.push_str(&line[start + 8..]);
            }
            _ => out.push_str(line),
        }
    }
    out
}

/// The lines that are not empty.
pub fn lines(text: &str) -> Vec<&str> {
    text.lines().filter(|l| !l.is_empty()).collect()
}

/// The lines in sorted order, for output whose order is not promised.
pub fn sorted(text: &str) -> Vec<&str> {
    let mut lines = lines(text);
    lines.sort_unstable();
    lines
}

fn words(text: &str, replace: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_alphanumeric() {
            word.push(c);
            continue;
        }
        out.push_str(&replace(&word).unwrap_or_else(|| word.clone()));
        word.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    out
}
