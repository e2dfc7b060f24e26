//! Why the simulator could not do what it was told.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::registry::RegistryError;
use super::settings::{SimulatedNetwork, StoreMode};

#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    #[error("cannot use the data folder {path}")]
    DataFolder { path: PathBuf, source: io::Error },
    #[error("the data folder holds a {store:?} node on {network:?}")]
    OtherNode { network: SimulatedNetwork, store: StoreMode },
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot make a certificate")]
    Certificate(#[source] io::Error),
    #[error("the system gives no randomness")]
    Randomness(#[source] io::Error),
    #[error("cannot write the journal")]
    Journal(#[source] io::Error),
    #[error("{0:?} is neither entity:action nor uri:/path")]
    Permission(String),
    #[error("{0:?} is not a wallet state")]
    WalletState(String),
    #[error("refused: {0}")]
    Refused(String),
    #[error("no backup of that name")]
    NoBackup,
    #[error("the node was stopped")]
    Stopped,
}

impl SimulatorError {
    pub(super) fn data_folder(path: &Path, source: io::Error) -> Self {
        Self::DataFolder { path: path.to_path_buf(), source }
    }
}

impl From<RegistryError> for SimulatorError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Journal(source) => Self::Journal(source),
            other => Self::Journal(io::Error::other(other)),
        }
    }
}
