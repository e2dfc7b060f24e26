//! What a simulated node is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use lightning_invoice::Currency;
use serde::{Deserialize, Serialize};

/// How the simulated node is set up; the default is a fresh regtest node in memory on a free port.
#[derive(Debug, Clone)]
pub struct SimulatorSettings {
    /// Where gRPC listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the HTTP control listens, if it shall.
    pub control: Option<SocketAddr>,
    /// Where everything is kept across a `kill -9`; `None` keeps it in memory.
    pub data_dir: Option<PathBuf>,
    pub network: SimulatedNetwork,
    pub store: StoreMode,
    pub alias: String,
    /// How long one `AddInvoice` holds the registry; a real node needs 1 ms on a fast disk, 10 on a slow one.
    pub add_invoice_latency: Duration,
    /// How long the canceller needs for each expired invoice; a real node needs about 2 ms.
    pub expiry_latency: Duration,
    /// How long a subscriber that has left is still in the list, where it makes others miss events.
    pub teardown_blindness: Duration,
    pub canceled_invoices: CanceledInvoices,
    /// Makes every random choice repeatable; `None` takes a random seed.
    pub seed: Option<u64>,
}

impl Default for SimulatorSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            control: None,
            data_dir: None,
            network: SimulatedNetwork::Regtest,
            store: StoreMode::Kv,
            alias: "simulated".to_owned(),
            add_invoice_latency: Duration::ZERO,
            expiry_latency: Duration::ZERO,
            teardown_blindness: Duration::from_micros(150),
            canceled_invoices: CanceledInvoices::Keep,
            seed: None,
        }
    }
}

/// Which of LND's invoice stores is copied; they replay and number differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreMode {
    /// bbolt, and SQLite without native SQL.
    Kv,
    /// Native SQL.
    Sql,
}

/// LND's `gc-canceled-invoices-on-startup` and `-on-the-fly`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CanceledInvoices {
    Keep,
    DeleteOnStart,
    DeleteAtOnce,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SimulatedNetwork {
    Mainnet,
    Testnet,
    Signet,
    Regtest,
    Simnet,
}

impl SimulatedNetwork {
    /// LND's name for it in `GetInfo`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mainnet => "mainnet",
            Self::Testnet => "testnet",
            Self::Signet => "signet",
            Self::Regtest => "regtest",
            Self::Simnet => "simnet",
        }
    }

    pub(super) fn currency(self) -> Currency {
        match self {
            Self::Mainnet => Currency::Bitcoin,
            Self::Testnet => Currency::BitcoinTestnet,
            Self::Signet => Currency::Signet,
            Self::Regtest => Currency::Regtest,
            Self::Simnet => Currency::Simnet,
        }
    }
}
