//! `simulator`: a simulated LND node alone, so that `serve` can be pointed at it and killed apart from it.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::output;
use crate::lifecycle;
use crate::lnd_simulator::Simulator;
use crate::lnd_simulator::settings::SimulatorSettings;

#[derive(Debug, Args)]
pub struct SimulatorCommand {
    /// Where gRPC listens, over TLS.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10009")]
    listen: SocketAddr,
    /// Where the control listens: pay, advance the clock, inject faults, over HTTP.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10010")]
    control: SocketAddr,
    /// Where the node's key, certificate, macaroons and invoices are kept.
    #[arg(long, value_name = "DIR", default_value = "simulator")]
    data_dir: PathBuf,
}

impl SimulatorCommand {
    pub async fn run(self) -> anyhow::Result<()> {
        let _lock = lock(&self.data_dir)?;
        let settings = SimulatorSettings {
            listen: self.listen,
            control: Some(self.control),
            data_dir: Some(self.data_dir.clone()),
            ..SimulatorSettings::default()
        };
        let simulator = Simulator::start(settings).await.context("the simulated node did not start")?;
        let macaroon = save_macaroon(&simulator, &self.data_dir).await?;
        output::print("A simulated LND node, for development only: its bitcoin is worth nothing.")?;
        output::print(format_args!("  gRPC         https://{}", simulator.address()))?;
        let certificate = simulator.tls_certificate_path().unwrap_or_default();
        output::print(format_args!("  certificate  {}", certificate.display()))?;
        output::print(format_args!("  macaroon     {}", macaroon.display()))?;
        let control = simulator.control_address().unwrap_or(self.control);
        output::print(format_args!("  control      http://{control}"))?;
        output::print(format_args!("  seed         {}", simulator.seed()))?;
        lifecycle::told_to_end().await?;
        simulator.stop().await;
        Ok(())
    }
}

/// Keeps other programs out of a node's folder while the file is open: two journals in one folder would lose invoices.
pub fn lock(folder: &Path) -> anyhow::Result<File> {
    std::fs::create_dir_all(folder).with_context(|| format!("no folder {}", folder.display()))?;
    let file = OpenOptions::new().create(true).append(true).open(folder.join("lock"))?;
    let used = || format!("{} is used by another simulated node; choose another --data-dir", folder.display());
    file.try_lock().map_err(std::io::Error::from).with_context(used)?;
    Ok(file)
}

/// Writes the macaroon that a service needs, and no more.
pub async fn save_macaroon(simulator: &Simulator, folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("wiretoll.macaroon");
    let macaroon = simulator.service_macaroon().await?;
    write_secret(&path, &macaroon.to_bytes())?;
    Ok(path)
}

/// Writes a file that only its owner can read.
fn write_secret(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes));
    written.with_context(|| format!("{} cannot be written", path.display()))
}
