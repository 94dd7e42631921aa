//! Tells systemd how far a run is, where it started memql as a service that says so (`Type=notify`).
//!
//! `NOTIFY_SOCKET` names a datagram socket, `@` at its start for one that is in no file system (sd_notify(3)).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// What a service says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything is attached.
    Ready,
    /// What is left is printed, then memql ends.
    Stopping,
}

/// Tells the service manager, if one wants to know. One that does not listen is no reason to end a run.
pub fn tell(state: State) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, state) {
        eprintln!("warning: cannot tell the service manager at `{}`: {error}", socket.display());
    }
}

fn send(socket: &OsStr, state: State) -> io::Result<()> {
    let text = match state {
        State::Ready => "READY=1\nSTATUS=Processing events...",
        State::Stopping => "STOPPING=1\nSTATUS=Shutting down...",
    };
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_with_and_without_a_file_are_told() {
        let name = format!("memql-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let heard = |socket: UnixDatagram, at: &OsStr| {
            send(at, State::Ready).expect("somebody listens");
            let mut bytes = [0; 100];
            let length = socket.recv(&mut bytes).expect("it was sent");
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        };
        let bound = UnixDatagram::bind(&path).expect("the temporary folder can be written");
        assert_eq!(heard(bound, path.as_os_str()).lines().next(), Some("READY=1"));
        std::fs::remove_file(&path).expect("it was made above");
        let abstracted = SocketAddr::from_abstract_name(&name).expect("a short name");
        let bound = UnixDatagram::bind_addr(&abstracted).expect("the name is free");
        assert_eq!(heard(bound, OsStr::new(&format!("@{name}"))).lines().next(), Some("READY=1"));
        assert!(send(OsStr::new("/no/such/socket"), State::Stopping).is_err());
    }
}
