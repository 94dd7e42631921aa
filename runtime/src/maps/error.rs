//! What can go wrong with a map.

use std::fmt;
use std::io;

/// A map could not be read or written.
#[derive(Debug)]
pub enum MapError {
    /// The kernel refused an operation.
    System {
        /// What was attempted: `read`, `clear`, `zero`, `map into memory`.
        operation: &'static str,
        /// The map as the script or the object names it.
        map: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The object and the plan do not agree. This is memql's fault.
    Internal(String),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::System { operation, map, source } => {
                write!(f, "cannot {operation} map `{map}`: {source}")
            }
            MapError::Internal(what) => write!(f, "internal error: {what}"),
        }
    }
}

impl std::error::Error for MapError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            MapError::System { source, .. } => Some(source),
            MapError::Internal(_) => None,
        }
    }
}
