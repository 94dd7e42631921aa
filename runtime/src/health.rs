//! What a run has lost, in words. Nothing is lost in silence.
//!
//! Programs count what they could not do in words of the `.bss` section; the kernel counts runs it left
//! out. Both are read at the end, when everything else has been printed, and each that is not zero
//! is one line that says how many, of what, why, and which setting helps.

use memql_compiler::plan::{HealthCounter, Loss, LostAt, MapPlan, MapStorage, Plan};
use memql_grammar::ast::Span;

use crate::attach::Attached;
use crate::kernel_info;
use crate::load::{Loaded, probe_name};
use crate::maps::Bss;

/// Something that was lost, with how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Which kind of loss, as a word that does not change: `events`, `map_full`...
    pub kind: &'static str,
    /// What it is about, where there are several: a map's or a probe's name.
    pub subject: Option<String>,
    /// The limit that was met, where there is one: keys of a map, bytes of the ring buffer.
    pub limit: Option<u64>,
    /// How many times; not zero.
    pub count: u64,
    /// One line: how many, of what, why, what helps.
    pub text: String,
}

/// Events that found the ring buffer full, up to now.
pub fn lost_events(plan: &Plan, bss: Option<&Bss>) -> u64 {
    let counters = plan.health.iter().filter(|counter| counter.what == Loss::Event);
    counters.filter_map(|counter| bss?.read_u64(counter.offset)).sum()
}

/// Counts lost events from zero.
pub fn forget_lost_events(plan: &Plan, bss: Option<&Bss>) {
    let Some(bss) = bss else { return };
    for counter in plan.health.iter().filter(|counter| counter.what == Loss::Event) {
        // One that has no place there is not counted either.
        bss.write_u64(counter.offset, 0);
    }
}

/// Events that were there when a signal came and were not handled in time.
pub fn not_printed(count: u64) -> Option<Lost> {
    let text = || {
        format!(
            "{} not handled: memql was asked to end while earlier ones took their time",
            many(count, "event was", "events were")
        )
    };
    (count > 0).then(|| Lost { kind: "events_not_handled", subject: None, limit: None, count, text: text() })
}

/// All that was lost, in the order of the plan's counters, then what the kernel left out.
pub fn losses(plan: &Plan, bss: Option<&Bss>, loaded: &Loaded, attached: Option<&Attached>) -> Vec<Lost> {
    let mut lost = counted(plan, |offset| bss?.read_u64(offset));
    lost.extend(left_out(plan, loaded, attached));
    lost
}

/// What programs have counted, in the order of the plan; `read` gives a word of the `.bss` section.
pub fn counted(plan: &Plan, read: impl Fn(u32) -> Option<u64>) -> Vec<Lost> {
    let counter = |counter: &HealthCounter| {
        let count = read(counter.offset)?;
        (count > 0).then(|| lost(&counter.what, count, plan))
    };
    plan.health.iter().filter_map(counter).collect()
}

/// Elements of a map that were missed because it changed faster than it could be read.
pub fn unread_map(name: &str, count: u64) -> Lost {
    let text =
        format!("map {name} changed while it was read: {} may miss elements", many(count, "print", "prints"));
    Lost { kind: "map_unread", subject: Some(name.to_owned()), limit: None, count, text }
}

/// What processes mapped while the kernel had no room to tell it.
pub fn lost_mappings(count: u64) -> Option<Lost> {
    let text = || {
        format!(
            "{} of what processes map came faster than memql could read: stacks of those that have ended may lack names",
            many(count, "record", "records")
        )
    };
    (count > 0).then(|| Lost { kind: "mappings", subject: None, limit: None, count, text: text() })
}

fn lost(what: &Loss, count: u64, plan: &Plan) -> Lost {
    let (kind, subject, limit) = match what {
        Loss::Event => ("events", None, Some(u64::from(plan.settings.ring_bytes))),
        Loss::MapFull(map) => {
            let map = plan.maps.get(*map);
            let limit = map.and_then(max_entries).map(u64::from);
            ("map_full", map.map(|map| map.name.clone()), limit)
        }
        Loss::KernelRead => ("kernel_reads", None, None),
        Loss::UserRead => ("user_reads", None, None),
        Loss::StringCut => ("strings_cut", None, None),
        Loss::StackFailed => ("stacks_failed", None, None),
        Loss::StackCut => ("stacks_cut", None, None),
        Loss::StackWithoutTables => ("stacks_without_tables", None, None),
        Loss::StackUnknown => ("stacks_unknown", None, None),
        Loss::StackUnread => ("stacks_unread", None, None),
        Loss::StackMapFull => ("stacks_not_kept", None, None),
        Loss::ScratchBusy => ("runs_skipped", None, None),
    };
    Lost { kind, subject, limit, count, text: in_words(what, count, plan) }
}

/// How many keys fit into a map.
fn max_entries(map: &MapPlan) -> Option<u32> {
    match &map.storage {
        MapStorage::Keyed { max_entries, .. } => Some(*max_entries),
        MapStorage::Global { .. } => None,
    }
}

/// Under `-k`, what was lost at each place of the script, in its order.
pub fn lost_at(plan: &Plan, read: impl Fn(u32) -> Option<u64>) -> Vec<(Span, String)> {
    let place = |place: &LostAt| {
        let count = read(place.offset)?;
        (count > 0).then(|| (place.span, in_words(&place.what, count, plan)))
    };
    plan.lost_at.iter().filter_map(place).collect()
}

/// Runs that the kernel left out, by program.
fn left_out(plan: &Plan, loaded: &Loaded, attached: Option<&Attached>) -> Vec<Lost> {
    let mut lost = Vec::new();
    for (index, program) in plan.programs.iter().enumerate() {
        let of_program = loaded.program(index).and_then(|fd| kernel_info::program(fd).ok());
        let busy = of_program.map_or(0, |info| info.recursion_misses);
        if busy > 0 {
            let text = format!(
                "{} of `{}` left out by the kernel: a probe was running on that CPU already",
                many(busy, "run", "runs"),
                probe_name(program)
            );
            let subject = Some(probe_name(program));
            lost.push(Lost { kind: "runs_left_out", subject, limit: None, count: busy, text });
        }
        let links = attached.into_iter().flat_map(Attached::links).filter(|link| link.program == index);
        let missed: u64 = links
            .flat_map(|link| &link.fds)
            .map(|fd| {
                use std::os::fd::AsFd;
                // A perf event without a link is no link to ask about; it has no such counter.
                kernel_info::missed_by_link(fd.as_fd()).unwrap_or(0)
            })
            .sum();
        if missed > 0 {
            let text = format!(
                "{} of `{}` missed by the kernel: it was inside another probe",
                many(missed, "hit", "hits"),
                probe_name(program)
            );
            let subject = Some(probe_name(program));
            lost.push(Lost { kind: "hits_missed", subject, limit: None, count: missed, text });
        }
    }
    lost
}

fn in_words(what: &Loss, count: u64, plan: &Plan) -> String {
    match what {
        Loss::Event => format!(
            "{} lost: the ring buffer of {} was full (more with `config = {{ perf_rb_pages = N }}`)",
            many(count, "event", "events"),
            bytes(plan.settings.ring_bytes)
        ),
        Loss::MapFull(map) => {
            let (name, limit) = match plan.maps.get(*map) {
                Some(map) => (map.name.as_str(), max_entries(map)),
                None => ("a map", None),
            };
            let limit = limit.map(|limit| format!(" at {limit} keys")).unwrap_or_default();
            format!(
                "map {name} was full{limit}: {} refused (more with `let {name} = hash(N);` or `config = {{ max_map_keys = N }}`)",
                many(count, "update", "updates")
            )
        }
        Loss::KernelRead => {
            format!("{} of kernel memory failed; zeros were used instead", many(count, "read", "reads"))
        }
        Loss::UserRead => format!(
            "{} of user memory failed (not in memory at the time, or a bad address); zeros were used instead",
            many(count, "read", "reads")
        ),
        Loss::StringCut => {
            format!(
                "{} cut (longer with `config = {{ max_strlen = N }}`)",
                many(count, "string was", "strings were")
            )
        }
        Loss::StackFailed => format!("{} could not be taken", many(count, "stack", "stacks")),
        Loss::StackCut => {
            format!(
                "{} more frames than were kept; the outermost are missing",
                many(count, "stack had", "stacks had")
            )
        }
        Loss::StackWithoutTables => format!(
            "{} asked of a process whose unwind tables memql has not read (name it with `-p` or `--dwarf-pid`)",
            many(count, "stack was", "stacks were")
        ),
        Loss::StackUnknown => format!(
            "{} where unwind tables do not tell how to go on; the outer frames are missing",
            many(count, "stack ends", "stacks end")
        ),
        Loss::StackUnread => format!(
            "{} where the process's stack could not be read (not in memory at the time, or a bad address); the outer frames are missing",
            many(count, "stack ends", "stacks end")
        ),
        Loss::StackMapFull => format!(
            "{} not kept: there were too many different ones (more with `config = {{ max_map_keys = N }}`)",
            many(count, "stack was", "stacks were")
        ),
        Loss::ScratchBusy => format!(
            "{} skipped: too many runs of the same probe were interrupted on one CPU at the same time",
            many(count, "run of a probe was", "runs of a probe were")
        ),
    }
}

fn many(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

/// `2 MiB`; sizes of ring buffers are powers of two.
fn bytes(bytes: u32) -> String {
    match bytes {
        b if b >= 1 << 20 && b.is_multiple_of(1 << 20) => format!("{} MiB", b >> 20),
        b if b >= 1 << 10 && b.is_multiple_of(1 << 10) => format!("{} KiB", b >> 10),
        b => format!("{b} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use memql_compiler::types::Type;

    use super::*;

    fn plan() -> Plan {
        let storage = MapStorage::Keyed { elf_name: "map_x".into(), per_cpu: false, max_entries: 4096 };
        let int = Type::Int { bits: 64, signed: true };
        Plan {
            maps: vec![MapPlan { name: "@x".into(), key: Some(int.clone()), value: int, storage }],
            ..Plan::default()
        }
    }

    #[test]
    fn lost_events_say_how_large_the_ring_buffer_was() {
        assert_eq!(
            in_words(&Loss::Event, 3, &plan()),
            "3 events lost: the ring buffer of 2 MiB was full (more with `config = { perf_rb_pages = N }`)"
        );
    }

    #[test]
    fn a_full_map_is_named_with_its_limit_and_the_setting_that_raises_it() {
        assert_eq!(
            in_words(&Loss::MapFull(0), 12, &plan()),
            "map @x was full at 4096 keys: 12 updates refused (more with `let @x = hash(N);` or `config = { max_map_keys = N }`)"
        );
    }

    #[test]
    fn one_is_singular() {
        assert!(in_words(&Loss::StackCut, 1, &plan()).starts_with("1 stack had more frames"));
        assert!(in_words(&Loss::StringCut, 2, &plan()).starts_with("2 strings were cut"));
    }
}
