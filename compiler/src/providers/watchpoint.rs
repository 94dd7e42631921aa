//! `watchpoint`: a place in memory that the processor watches.

use super::numbers::number;
use super::{ExpandError, Parts};
use crate::attach::AttachPoint;
use crate::target::Target;

pub(super) fn expand(parts: &Parts<'_>, _: &dyn Target) -> Result<Vec<AttachPoint>, ExpandError> {
    let [address, length, mode] = parts.texts else { return Err(parts.wrong_count()) };
    let Some(address) = number(address) else {
        return Err(parts.malformed(1, format!("`{address}` is not an address")));
    };
    let Some(length) = number(length).filter(|length| matches!(length, 1 | 2 | 4 | 8)) else {
        return Err(parts.malformed(2, "the processor watches 1, 2, 4 or 8 bytes"));
    };
    if address % length != 0 {
        let message = format!("`{address:#x}` is not aligned to {length} bytes, as the processor wants it");
        return Err(parts.malformed(1, message));
    }
    let mode = match *mode {
        "w" | "x" | "r" => *mode,
        "rw" | "wr" => "rw",
        other => {
            let message = format!("`{other}` is not a mode");
            let help = "modes are `w` (writes), `rw` (reads and writes) and `x` (execution)";
            return Err(ExpandError::Malformed { part: 3, message, help: Some(help.into()) });
        }
    };
    Ok(vec![AttachPoint::Watchpoint { address, length, mode: mode.to_owned() }])
}
