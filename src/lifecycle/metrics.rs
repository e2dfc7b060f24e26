//! The listener for metrics, where the configuration asks for one.

use std::net::{SocketAddr, TcpListener};

use actix_web::dev::ServerHandle;
use tokio::task::JoinHandle;

use super::{StartError, run};
use crate::app::App;
use crate::http;

/// A running listener.
#[derive(Debug)]
pub struct MetricsServer {
    pub address: SocketAddr,
    handle: ServerHandle,
    serving: JoinHandle<std::io::Result<()>>,
}

impl MetricsServer {
    pub fn start(wanted: SocketAddr, app: &App) -> Result<Self, StartError> {
        let failed = |source| StartError::ListenForMetrics { address: wanted, source };
        let listener = TcpListener::bind(wanted).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let server = http::metrics::server(listener, app.clone()).map_err(failed)?;
        let handle = server.handle();
        tracing::info!(metrics_address = %address, "metrics can be asked for");
        Ok(Self { address, handle, serving: run(server) })
    }

    /// At once: whoever reads metrics comes again.
    pub async fn stop(self) {
        self.handle.stop(false).await;
        self.serving.abort();
    }
}
