//! What libbpf has to say, taken aside while memql opens and loads an object.
//!
//! libbpf prints for people who wrote the C of the object; here that is memql. Its messages are shown
//! with `-v`, and errors are built from them: the kernel verifier's log arrives only this way.

use std::sync::{Mutex, MutexGuard, PoisonError};

use libbpf_rs::{PrintCallback, PrintLevel, set_print};

/// libbpf has one print function for the whole process, so one recording at a time.
static RECORDING: Mutex<()> = Mutex::new(());
static MESSAGES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Records libbpf's messages while it lives.
pub struct Recording {
    previous: Option<(PrintLevel, PrintCallback)>,
    _only_one: MutexGuard<'static, ()>,
}

impl Recording {
    /// Starts one, of messages down to a level; waits while another thread has one.
    pub fn start(level: PrintLevel) -> Recording {
        let only_one = RECORDING.lock().unwrap_or_else(PoisonError::into_inner);
        MESSAGES.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Recording { previous: set_print(Some((level, record))), _only_one: only_one }
    }

    /// What was said so far, a message each, without the `libbpf: ` in front.
    pub fn messages(&self) -> Vec<String> {
        let messages = MESSAGES.lock().unwrap_or_else(PoisonError::into_inner);
        messages.iter().map(|m| m.strip_prefix("libbpf: ").unwrap_or(m).trim_end().to_string()).collect()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        set_print(self.previous.take());
    }
}

fn record(_level: PrintLevel, message: String) {
    MESSAGES.lock().unwrap_or_else(PoisonError::into_inner).push(message);
}
