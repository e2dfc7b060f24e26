//! The built program as processes, which end with the test at the latest. Every wait is bounded.

mod command;

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

pub use command::command;

/// Longer than anything takes here; a debug build on a busy machine is slow.
const PATIENCE: Duration = Duration::from_mins(1);

/// A program that runs beside the test; killed when it is dropped.
pub struct Process {
    child: Child,
    /// Standard output and standard error, line by line.
    lines: Receiver<String>,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        forward(child.stdout.take().unwrap(), sender.clone());
        forward(child.stderr.take().unwrap(), sender);
        Self { child, lines }
    }

    /// What follows `marker` in the first line that has it, up to the next white space.
    pub fn says(&self, marker: &str) -> String {
        let mut heard = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("it never said {marker:?}, but: {heard:#?}");
            };
            if let Some((_, rest)) = line.split_once(marker) {
                return rest.split_whitespace().next().unwrap_or_default().to_owned();
            }
            heard.push(line);
        }
    }

    /// Asks it to end, waits until it has, and returns what it said since it was last listened to.
    pub fn terminate(mut self) -> (ExitStatus, Vec<String>) {
        let signalled = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.child.id())).status().unwrap();
        assert!(signalled.success());
        let mut said = Vec::new();
        // Its pipes close when it ends.
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Disconnected) => return (self.child.wait().unwrap(), said),
                Err(RecvTimeoutError::Timeout) => panic!("it did not end"),
            }
        }
    }
}

impl Drop for Process {
    /// As `kill -9` does.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward(stream: impl Read + Send + 'static, to: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let _ = to.send(line);
        }
    });
}
