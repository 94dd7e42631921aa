//! Where output goes: stdout, a file, or a buffer in tests.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Buffered bytes above this are written without waiting for a flush.
const ENOUGH: usize = 64 << 10;

/// When output is written: `-B`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Buffering {
    /// As soon as there is nothing more to print for the moment.
    #[default]
    Line,
    /// When much has come together, and at the end.
    Full,
    /// After each event.
    None,
}

/// A buffered writer for output, and one for what people are told beside it.
pub struct Sink {
    out: Box<dyn Write>,
    errors: Box<dyn Write>,
    /// Bytes not yet written.
    buffer: Vec<u8>,
    terminal: bool,
    buffering: Buffering,
}

impl Sink {
    /// Output to stdout, the rest to stderr.
    pub fn stdout() -> Sink {
        let terminal = io::stdout().is_terminal();
        Sink::new(Box::new(StdoutRaw), Box::new(io::stderr()), terminal)
    }

    /// Output to a file (`-o`), which is created or emptied; the rest to stderr.
    ///
    /// In a folder that others may write to, a link in the file's place is not followed, and neither
    /// a file of somebody else's nor one with a second name is written to: anybody could have put it
    /// there to make a privileged memql write elsewhere.
    ///
    /// # Errors
    /// If the file cannot be opened, or for that reason must not be.
    pub fn file(path: &Path) -> io::Result<Sink> {
        let file = create_output(path)?;
        let terminal = file.is_terminal();
        Ok(Sink::new(Box::new(file), Box::new(io::stderr()), terminal))
    }

    /// Output to any writer. `terminal` says that control characters in data are to be escaped.
    pub fn new(out: Box<dyn Write>, errors: Box<dyn Write>, terminal: bool) -> Sink {
        Sink { out, errors, buffer: Vec::with_capacity(ENOUGH), terminal, buffering: Buffering::default() }
    }

    /// The same with another time of writing.
    pub fn buffered(self, buffering: Buffering) -> Sink {
        Sink { buffering, ..self }
    }

    /// Whether a terminal reads the output.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Where to append output; call [`Sink::settle`] afterwards.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// After an event: writes the buffer if it has grown large, or if everything is written at once.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        match self.buffer.len() >= ENOUGH || self.buffering == Buffering::None {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// When there is nothing more to print for the moment.
    pub(super) fn pause(&mut self) -> io::Result<()> {
        if self.buffering == Buffering::Full { Ok(()) } else { self.flush() }
    }

    /// Writes everything that is buffered.
    ///
    /// # Errors
    /// If it cannot be written; it is then dropped, so that it is not written twice.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let result = self.out.write_all(&self.buffer).and_then(|()| self.out.flush());
        self.buffer.clear();
        result
    }

    /// Tells people something beside the output. Output so far comes first.
    pub(super) fn tell(&mut self, text: &[u8]) -> io::Result<()> {
        self.flush()?;
        // Nobody can be told that telling failed.
        let _ = self.errors.write_all(text).and_then(|()| self.errors.flush());
        Ok(())
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sink { out: _, errors: _, buffer, terminal, buffering } = self;
        f.debug_struct("Sink")
            .field("buffered", &buffer.len())
            .field("terminal", terminal)
            .field("buffering", buffering)
            .finish()
    }
}

/// Stdout without the standard library's line buffer: the sink has its own.
struct StdoutRaw;

impl Write for StdoutRaw {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: the buffer is valid for its length.
        let written = unsafe { libc::write(libc::STDOUT_FILENO, bytes.as_ptr().cast(), bytes.len()) };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Creates or empties a file for output, as [`Sink::file`] does.
///
/// # Errors
/// If it cannot be opened, or for the reasons given there must not be.
pub fn create_output(path: &Path) -> io::Result<File> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let shared = folder.metadata()?.mode() & 0o022 != 0;
    let mut options = OpenOptions::new();
    // Emptied after the checks, not by opening.
    options.write(true).create(true).truncate(false).mode(0o644);
    // Opening a pipe that nobody reads would wait, and no signal would end that.
    options.custom_flags(libc::O_NONBLOCK | if shared { libc::O_NOFOLLOW } else { 0 });
    let file = options.open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) if shared => refused("it is a symbolic link in a folder that others may write to"),
        Some(libc::ENXIO) => io::Error::other("nobody reads from it: start the pipe's reader first"),
        _ => error,
    })?;
    wait_when_writing(&file)?;
    let meta = file.metadata()?;
    // SAFETY: `geteuid` cannot fail.
    let own = meta.uid() == unsafe { libc::geteuid() };
    if shared && (!own || (meta.is_file() && meta.nlink() > 1)) {
        return Err(refused(
            "it belongs to another user or has another name, in a folder that others may write to",
        ));
    }
    if meta.is_file() {
        // Devices and pipes have nothing to empty.
        file.set_len(0)?;
    }
    Ok(file)
}

/// Takes `O_NONBLOCK` back: a reader that is slow is waited for.
fn wait_when_writing(file: &File) -> io::Result<()> {
    let fd = file.as_raw_fd();
    // SAFETY: the descriptor is open, and the calls change nothing but its flags.
    let failed = unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        flags < 0 || libc::fcntl(fd, libc::F_SETFL, flags & !libc::O_NONBLOCK) < 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}
