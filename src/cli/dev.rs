//! `dev`: the embedded parts, kept running, for building a client against.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::embedded::Embedded;
use super::{logs, output};
use crate::config::{Log, LogFormat};

#[derive(Debug, Args)]
pub struct Dev {
    /// Where the API listens; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Keeps orders and the simulated node here, also over a kill -9; without it everything ends with the program.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where Prometheus may ask for /metrics; without it, nowhere.
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
}

impl Dev {
    pub async fn run(self) -> anyhow::Result<()> {
        logs::start(&Log { format: LogFormat::Text, level: tracing::Level::INFO });
        let Some(folder) = &self.data_dir else {
            let folder = tempfile::tempdir().context("no temporary folder")?;
            return serve(folder.path(), self.listen, self.metrics).await;
        };
        std::fs::create_dir_all(folder).with_context(|| format!("no folder {}", folder.display()))?;
        serve(folder, self.listen, self.metrics).await
    }
}

async fn serve(folder: &Path, listen: SocketAddr, metrics: Option<SocketAddr>) -> anyhow::Result<()> {
    let Embedded { simulator, service, lock: _lock } =
        Embedded::start(folder, listen, |config| config.metrics = metrics).await?;
    say(service.address, service.metrics_address)?;
    service.until_told().await?;
    simulator.stop().await;
    Ok(())
}

fn say(address: SocketAddr, metrics: Option<SocketAddr>) -> anyhow::Result<()> {
    output::print("wiretoll for development: a simulated node, so its bitcoin is worth nothing. Ctrl-C ends it.")?;
    output::print(format_args!("  API    http://{address}/api/public/v1/servers"))?;
    output::print(format_args!("  docs   http://{address}/docs/"))?;
    output::print(format_args!("  payer  curl -s http://{address}/dev/pay -d '{{\"invoice\": \"lnbcrt...\"}}'"))?;
    metrics.map_or(Ok(()), |metrics| output::print(format_args!("  metrics  http://{metrics}/metrics")))
}
