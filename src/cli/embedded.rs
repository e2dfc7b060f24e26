//! The embedded parts of `demo` and `dev`: a simulated node over real TLS, and the service beside it on SQLite.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;

use super::simulator::{lock, save_macaroon};
use crate::clock::Clock;
use crate::config::Config;
use crate::lifecycle::Running;
use crate::lnd_simulator::Simulator;
use crate::lnd_simulator::settings::SimulatorSettings;

/// Two servers in two regions, plans in sats, and the network regtest.
const CONFIG: &str = include_str!("embedded.toml");

/// The node and the service.
pub struct Embedded {
    pub simulator: Simulator,
    pub service: Running,
    /// Of the node's folder, for as long as the node runs.
    pub lock: File,
}

impl Embedded {
    /// Starts both, with everything that they keep in `folder`.
    pub async fn start(folder: &Path, listen: SocketAddr, change: impl FnOnce(&mut Config)) -> anyhow::Result<Self> {
        let node_folder = folder.join("node");
        let lock = lock(&node_folder)?;
        let settings = SimulatorSettings { data_dir: Some(node_folder.clone()), ..SimulatorSettings::default() };
        let simulator = Simulator::start(settings).await.context("the simulated node did not start")?;
        let macaroon = save_macaroon(&simulator, &node_folder).await?;
        let certificate = simulator.tls_certificate_path().context("the simulated node keeps no certificate")?;
        let mut config = config(folder, listen, simulator.address(), &certificate, &macaroon)?;
        change(&mut config);
        let service = Running::start(&config, Clock::System, Some(simulator.clone())).await?;
        Ok(Self { simulator, service, lock })
    }

    pub async fn stop(self) {
        self.service.stop().await;
        self.simulator.stop().await;
    }
}

fn config(
    folder: &Path,
    listen: SocketAddr,
    node: SocketAddr,
    certificate: &Path,
    macaroon: &Path,
) -> anyhow::Result<Config> {
    let absolute = |path: &Path| Ok::<_, std::io::Error>(path.canonicalize()?.display().to_string());
    let settings = [
        ("WIRETOLL_SERVICE__LISTEN", listen.to_string()),
        ("WIRETOLL_LND__ADDRESS", format!("https://{node}")),
        ("WIRETOLL_LND__CERTIFICATE_FILE", absolute(certificate)?),
        ("WIRETOLL_LND__MACAROON_FILE", absolute(macaroon)?),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value));
    Ok(Config::parse(CONFIG, &folder.canonicalize()?, settings, Clock::System.now())?)
}
