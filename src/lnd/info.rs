//! What the node says about itself.

use std::fmt;

use super::Error;
use crate::domain::lightning::NodeId;
use crate::lnd_proto::lnrpc;

/// LND's start-up, in the order in which it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalletState {
    WaitingToStart,
    /// No wallet; every start passes here or through `Locked` for a moment.
    NonExisting,
    Locked,
    Unlocked,
    /// Calls are accepted, but adding an invoice stores it and hangs.
    RpcActive,
    /// The only state in which to sell.
    ServerActive,
}

/// LND's own name of it, as `lncli state` prints it.
impl fmt::Display for WalletState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WaitingToStart => "WAITING_TO_START",
            Self::NonExisting => "NON_EXISTING",
            Self::Locked => "LOCKED",
            Self::Unlocked => "UNLOCKED",
            Self::RpcActive => "RPC_ACTIVE",
            Self::ServerActive => "SERVER_ACTIVE",
        })
    }
}

/// The node's identity and condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    pub id: NodeId,
    /// LND's name of the network, which may be one that we do not know.
    pub network: String,
    pub active_channels: u32,
}

impl WalletState {
    pub(super) fn parse(answer: lnrpc::GetStateResponse) -> Result<Self, Error> {
        use lnrpc::WalletState as Said;
        Ok(match Said::try_from(answer.state) {
            Ok(Said::WaitingToStart) => Self::WaitingToStart,
            Ok(Said::NonExisting) => Self::NonExisting,
            Ok(Said::Locked) => Self::Locked,
            Ok(Said::Unlocked) => Self::Unlocked,
            Ok(Said::RpcActive) => Self::RpcActive,
            Ok(Said::ServerActive) => Self::ServerActive,
            Err(_) => return Err(Error::malformed(format!("a wallet in state {}", answer.state))),
        })
    }
}

impl NodeInfo {
    /// Reads LND's message.
    pub fn parse(answer: lnrpc::GetInfoResponse) -> Result<Self, Error> {
        let chain = answer.chains.into_iter().next().ok_or_else(|| Error::malformed("a node without a chain"))?;
        Ok(Self {
            id: NodeId::parse(&answer.identity_pubkey).map_err(|e| Error::malformed(e.to_string()))?,
            network: chain.network,
            active_channels: answer.num_active_channels,
        })
    }
}
