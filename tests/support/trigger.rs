//! Trigger programs that stop at each of their steps until the test lets them go on.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A trigger program that is running.
pub struct Trigger {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Trigger {
    /// Starts it and waits until it stands at its first step, `start`.
    pub fn start(program: &Path, args: &[&str]) -> Trigger {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("start {}: {e}", program.display()));
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("stdout is piped"));
        let mut trigger = Trigger { child, stdin, stdout: BufReader::new(stdout) };
        trigger.until("start");
        trigger
    }

    /// Its process id.
    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Lets it go on to the step `done`; gives what it said on the way.
    pub fn work(&mut self) -> String {
        self.go();
        self.until("done")
    }

    /// Waits until it stands at another step.
    pub fn stands_at(&mut self, step: &str) -> String {
        self.until(step)
    }

    /// Lets it go on.
    pub fn go(&mut self) {
        self.stdin
            .as_mut()
            .expect("stdin is open until the end")
            .write_all(b"\n")
            .expect("let the trigger go on");
    }

    /// Lets it go on to its end, which must be a success.
    pub fn end(mut self) {
        self.stdin = None;
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("read the trigger's output");
        let status = self.child.wait().expect("wait for the trigger");
        assert!(status.success(), "the trigger failed: {status}, {rest}");
    }

    fn until(&mut self, step: &str) -> String {
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let n = self.stdout.read_line(&mut line).expect("read the trigger's output");
            assert!(n > 0, "the trigger ended before `{step}`; it said: {said}");
            if line.trim_end() == step {
                return said;
            }
            said.push_str(&line);
        }
    }
}

impl Drop for Trigger {
    fn drop(&mut self) {
        // A test that failed on the way leaves it running. After `end` both calls find nothing to do.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
