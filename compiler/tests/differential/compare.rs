//! Whether two executions showed the same.

use memql_compiler::interpret::Event;

use crate::execute::Outcome;

/// Says in words in what an outcome differs from the reference's. Maps and bytes of `.bss` that the
/// reference does not have (scratch memory) are ignored, and bytes of events that it did not write.
pub fn difference(reference: &Outcome, other: &Outcome, ordered: &[bool]) -> Option<String> {
    for (n, (a, b)) in reference.returned.iter().zip(&other.returned).enumerate() {
        if a != b {
            return Some(format!("program {n} returns {b}, not {a}"));
        }
    }
    for (n, (a, b)) in reference.events.iter().zip(&other.events).enumerate() {
        if let Some(words) = events_differ(a, b, ordered.get(n).copied().unwrap_or(true)) {
            return Some(format!("program {n}: {words}"));
        }
    }
    for (name, elements) in &reference.maps {
        let found = other.maps.get(name);
        if found != Some(elements) {
            return Some(format!("map {name} is\n  {found:x?}, not\n  {:x?}", Some(elements)));
        }
    }
    let same = reference.bss.iter().zip(&other.bss).position(|(a, b)| a != b);
    match same {
        Some(byte) => {
            let word = |bss: &[u8]| {
                bss.iter().skip(byte / 8 * 8).take(8).map(|b| format!("{b:02x}")).collect::<String>()
            };
            let (a, b) = (word(&reference.bss), word(&other.bss));
            Some(format!("byte {byte} of .bss differs: its word is {b}, not {a}"))
        }
        None if other.bss.len() < reference.bss.len() => Some(".bss is too short".into()),
        None => None,
    }
}

fn events_differ(reference: &[Event], other: &[Event], ordered: bool) -> Option<String> {
    if reference.len() != other.len() {
        return Some(format!("{} events, not {}", other.len(), reference.len()));
    }
    let mut left: Vec<&Event> = other.iter().collect();
    for (n, wanted) in reference.iter().enumerate() {
        let found = if ordered {
            left.first().is_some_and(|event| same(wanted, event)).then_some(0)
        } else {
            left.iter().position(|event| same(wanted, event))
        };
        match found {
            Some(at) => {
                left.remove(at);
            }
            None => {
                let next = left.first().map(|e| hex(e, &e.written));
                return Some(format!(
                    "event {n} is\n  {}, not\n  {}",
                    next.unwrap_or_default(),
                    hex(wanted, &wanted.written)
                ));
            }
        }
    }
    None
}

fn same(wanted: &Event, event: &Event) -> bool {
    let bytes = wanted.bytes.iter().zip(&wanted.written).zip(event.bytes.iter().zip(&event.written));
    wanted.bytes.len() == event.bytes.len()
        && bytes.into_iter().all(|((a, wanted), (b, written))| !wanted || (*written && a == b))
}

fn hex(event: &Event, written: &[bool]) -> String {
    let byte = |(b, w): (&u8, &bool)| if *w { format!("{b:02x}") } else { "__".into() };
    let bytes: Vec<String> = event.bytes.iter().zip(written).map(byte).collect();
    bytes.chunks(8).map(|chunk| chunk.concat()).collect::<Vec<_>>().join(" ")
}
