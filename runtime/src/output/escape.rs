//! Bytes that must not reach a reader as they are.
//!
//! Text that memql read from somewhere (a process's name, a path, a string) may hold anything. On a
//! terminal, control characters in it could move the cursor, rename the window or worse, so there
//! they are written as `\x1b`; files and pipes get the bytes. JSON is always valid UTF-8.

/// Appends text for a terminal: control characters but tab and newline, and bytes that are not
/// UTF-8, are written as `\x..`.
pub(super) fn push_for_terminal(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() && c != '\t' && c != '\n' {
                push_escaped(out, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        push_escaped(out, chunk.invalid());
    }
}

/// Appends each byte as `\x..`.
pub(super) fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.extend_from_slice(b"\\x");
        push_hex(out, *byte);
    }
}

/// Appends each byte as two digits, with blanks between.
pub(super) fn push_spaced(out: &mut Vec<u8>, bytes: &[u8]) {
    for (i, byte) in bytes.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        push_hex(out, *byte);
    }
}

/// Appends binary data: printable ASCII as it is, the rest as `\x..`.
pub(super) fn push_printable(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b' '..=b'~' => out.push(*byte),
            _ => push_escaped(out, std::slice::from_ref(byte)),
        }
    }
}

/// Appends a JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD.
pub(super) fn push_json_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..=0x1f => {
                    out.extend_from_slice(b"\\u00");
                    push_hex(out, byte);
                }
                _ => out.push(byte),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

fn push_hex(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 15)]);
}
