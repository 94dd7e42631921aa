//! What `-v` says: which programs were loaded, what they are attached to, and how long it took.
//!
//! ```text
//! loaded 2 programs in 1.3 ms
//!   begin: 14 instructions, 12 verified, id 71
//!   uprobe:/lib/libc.so.6:malloc: 96 instructions, 240 verified, id 72
//! attached 27 points in 30.2 ms
//!   uprobe:/lib/libc.so.6:malloc and 25 more: uprobe_multi, 26 points in 1 link
//!     uprobe:/lib/libc.so.6:free at +3
//! ```

use std::fmt::Write;
use std::time::Duration;

use memql_compiler::attach::AttachPoint;
use memql_compiler::plan::Plan;

use crate::attach::Attached;
use crate::kernel_info;
use crate::load::{Loaded, probe_name};

/// What was loaded.
pub fn loaded(plan: &Plan, loaded: &Loaded) -> String {
    let programs: Vec<_> =
        (0..plan.programs.len()).filter_map(|i| loaded.program(i).map(|fd| (i, fd))).collect();
    let mut text = format!("loaded {} programs in {}\n", programs.len(), in_ms(loaded.took()));
    for (index, fd) in programs {
        let info = kernel_info::program(fd).unwrap_or_default();
        line(
            &mut text,
            format_args!(
                "  {}: {} instructions, {} verified, id {}",
                probe_name(&plan.programs[index]),
                info.translated_bytes / 8,
                info.verified_insns,
                info.id
            ),
        );
    }
    for message in loaded.messages() {
        line(&mut text, format_args!("  libbpf: {message}"));
    }
    text
}

/// What was attached.
pub fn attached(plan: &Plan, loaded: &Loaded, attached: &Attached) -> String {
    let mut text = format!("attached {} points in {}\n", attached.points(), in_ms(attached.took()));
    for (index, program) in plan.programs.iter().enumerate() {
        let Some(style) = loaded.style(index).filter(|_| loaded.program(index).is_some()) else { continue };
        let links: Vec<_> = attached.links().filter(|link| link.program == index).collect();
        let points: usize = links.iter().map(|link| link.points).sum();
        let how = match links.len() {
            0 => style.name().to_string(),
            1 => format!("{}, {points} points in 1 link", style.name()),
            n => format!("{}, {points} points in {n} links", style.name()),
        };
        line(&mut text, format_args!("  {}: {how}", probe_name(program)));
        for (point, _) in &program.points {
            if let AttachPoint::Uprobe { skip: skip @ 1.., .. } = point {
                line(&mut text, format_args!("    {point} at +{skip}"));
            }
        }
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{arguments}");
}

/// `1.3 ms`
fn in_ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
