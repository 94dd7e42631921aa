//! Run as a service that says when it is ready (systemd's `Type=notify`).

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use crate::need;
use crate::support::machine;

#[test]
fn the_service_manager_hears_when_everything_is_attached_and_when_it_ends() {
    need!(machine::root());
    let path = std::env::temp_dir().join(format!("memql-service-{}", std::process::id()));
    let socket = UnixDatagram::bind(&path).expect("the temporary folder can be written");
    let status = Command::new(env!("CARGO_BIN_EXE_memql"))
        .args(["-q", "-e", "interval:ms:1 { exit(); }"])
        .env("NOTIFY_SOCKET", &path)
        .stdout(Stdio::null())
        .status()
        .expect("memql runs");
    std::fs::remove_file(&path).expect("it was made above");
    assert!(status.success());
    socket.set_nonblocking(true).expect("a socket");
    let heard = || {
        let mut bytes = [0; 200];
        let length = socket.recv(&mut bytes).expect("memql says something");
        String::from_utf8_lossy(&bytes[..length]).lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!((heard(), heard()), ("READY=1".to_owned(), "STOPPING=1".to_owned()));
}
