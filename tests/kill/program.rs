//! One process of the built program, which is killed and started again.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::PATIENCE;

const KILL: i32 = 9;
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Killed when it is dropped.
pub struct Program {
    child: Child,
}

impl Program {
    /// `wiretoll` in `folder`, without settings of whoever runs the tests; what it says is added to the file `log`.
    pub fn start(folder: &Path, log: &str, arguments: &[&str], variables: &[(String, String)]) -> Self {
        let log = OpenOptions::new().create(true).append(true).open(folder.join(log)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wiretoll"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WIRETOLL_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).envs(variables.iter().cloned()).current_dir(folder);
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        Self { child }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it listens.
    pub async fn listens(&mut self, address: SocketAddr) {
        let listening = async {
            while TcpStream::connect(address).await.is_err() {
                let ended = self.child.try_wait().unwrap();
                assert!(ended.is_none(), "it ended ({ended:?}) instead of listening on {address}; its log says why");
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(PATIENCE, listening).await.expect("the program never listened");
    }

    /// Waits until it has done what it was started for.
    pub async fn ends_well(&mut self) {
        let status = self.ended().await.expect("the program did not end");
        assert!(status.success(), "{status}");
    }

    /// Waits until it has died as by `kill -9`; nobody but a crash point does that to it.
    pub async fn dies(&mut self, point: &str) {
        let status = self.ended().await.unwrap_or_else(|| panic!("{point} was not reached"));
        assert_eq!(status.signal(), Some(KILL), "{point}: {status}");
    }

    async fn ended(&mut self) -> Option<ExitStatus> {
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(PATIENCE, ended).await.ok()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
