//! A thread that looks at a process's mappings while it runs.
//!
//! Stacks that a script keeps in maps are resolved when they are printed. By then the process may
//! have ended, and with it what tells which library was where; a program that memql starts is loaded
//! within milliseconds of its first instruction and may be done soon after. So it is looked at often
//! at first and seldom later: after a quarter, half, one, two... milliseconds, then twice a second, each
//! time for some tens of microseconds. The count starts when it is let go, if it is stopped at first.
//!
//! A program that is done within the first millisecond may be missed. Only who can stop it at its end
//! (`PTRACE_O_TRACEEXIT`) and look then ([`super::Symbols::note_process_now`]) misses nothing.

use std::collections::HashMap;
use std::fs::{self, File};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::mappings::{self, FileKey, Mapping};
use super::module::MOST_FILES;
use super::open::open_mapped;

const SHORTEST: Duration = Duration::from_micros(250);
const LONGEST: Duration = Duration::from_millis(500);

/// A thread that watches a process; it ends with the process, or when this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    seen: Arc<Mutex<Option<Seen>>>,
    /// Dropping it ends the thread's wait, and the thread.
    _running: mpsc::Sender<()>,
}

/// What a process had mapped, over all looks since it was last asked for.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Sorted by address.
    pub mappings: Vec<Mapping>,
    /// Files behind them, opened while the process was there.
    pub files: HashMap<FileKey, File>,
}

impl Watch {
    /// Starts to watch a process; `None` if no thread can be had.
    pub fn start(tgid: u32) -> Option<Watch> {
        let seen = Arc::new(Mutex::new(None));
        let (running, ended) = mpsc::channel();
        let shared = Arc::clone(&seen);
        let watch = move || watch(tgid, &shared, &ended);
        thread::Builder::new().name("memql-watch".into()).spawn(watch).ok()?;
        Some(Watch { seen, _running: running })
    }

    /// What was new since the last time.
    pub fn take(&self) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

fn watch(tgid: u32, shared: &Mutex<Option<Seen>>, ended: &mpsc::Receiver<()>) {
    let mut pause = SHORTEST;
    let mut last: Vec<Mapping> = Vec::new();
    let mut opened = 0;
    while let Ok(text) = fs::read(format!("/proc/{tgid}/maps")) {
        let fresh = mappings::parse(&text);
        if text.is_empty() {
            return;
        }
        if fresh != last {
            let files = open_new(tgid, &fresh, &last, MOST_FILES.saturating_sub(opened));
            opened += files.len();
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let seen = shared.get_or_insert_default();
            seen.mappings = mappings::merge(std::mem::take(&mut seen.mappings), fresh.clone(), |m| m);
            seen.files.extend(files);
            last = fresh;
        }
        pause = if is_stopped(tgid) { SHORTEST } else { (pause * 2).min(LONGEST) };
        match ended.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Opens the files that were not mapped at the last look, at most so many.
fn open_new(tgid: u32, fresh: &[Mapping], last: &[Mapping], most: usize) -> HashMap<FileKey, File> {
    let mut files = HashMap::new();
    for mapping in fresh.iter().filter(|m| m.inode != 0) {
        let known = last.iter().any(|l| l.inode == mapping.inode && l.file_key() == mapping.file_key());
        if known || files.contains_key(&mapping.file_key()) || files.len() >= most {
            continue;
        }
        if let Ok(file) = open_mapped(tgid, mapping) {
            files.insert(mapping.file_key(), file);
        }
    }
    files
}

/// Whether a process is stopped by its tracer or a signal (`/proc/PID/stat`, after the name in parentheses).
fn is_stopped(tgid: u32) -> bool {
    let Ok(stat) = fs::read(format!("/proc/{tgid}/stat")) else { return false };
    let state = stat.iter().rposition(|b| *b == b')').and_then(|at| stat.get(at + 2));
    matches!(state, Some(b't' | b'T'))
}
