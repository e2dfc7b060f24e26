//! The socket on which this machine's agent meets its control plane, where the configuration names one.

use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use actix_web::dev::ServerHandle;
use tokio::task::JoinHandle;

use super::{StartError, run};
use crate::app::App;
use crate::config::Agent;
use crate::http;

/// The owner and the group, which the agent's user belongs to.
const MODE: u32 = 0o660;

/// A running listener.
#[derive(Debug)]
pub struct AgentsServer {
    socket: PathBuf,
    handle: ServerHandle,
    serving: JoinHandle<std::io::Result<()>>,
}

impl AgentsServer {
    pub fn start(agent: &Agent, app: &App) -> Result<Self, StartError> {
        let failed = |source| StartError::ListenForAgent { socket: agent.socket.clone(), source };
        let listener = bind(&agent.socket).map_err(failed)?;
        let server = http::agents::server(listener, app.clone(), agent.server.clone()).map_err(failed)?;
        let handle = server.handle();
        tracing::info!(server = %agent.server, socket = %agent.socket.display(), "waits for this server's agent");
        Ok(Self { socket: agent.socket.clone(), handle, serving: run(server) })
    }

    /// At once: an agent comes again.
    pub async fn stop(self) {
        self.handle.stop(false).await;
        self.serving.abort();
        // What stays is removed by the next start.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Takes the place of a socket that nobody answers on any more.
fn bind(path: &Path) -> std::io::Result<UnixListener> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket {
        if UnixStream::connect(path).is_ok() {
            return Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, "another service answers on it"));
        }
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(MODE))?;
    Ok(listener)
}
