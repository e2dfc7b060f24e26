//! Stopping and starting the node as a client sees it.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::error::SimulatorError;
use super::listener::Listening;
use super::node::{MacaroonStore, Node};
use super::subscriptions::StreamEnd;
use crate::lnd_proto::lnrpc::WalletState;

/// How long streams have to end before connections are cut.
const GOODBYE: Duration = Duration::from_millis(20);

/// A port that was in use a moment ago may need another try.
const BIND_ATTEMPTS: u32 = 50;
const BIND_PAUSE: Duration = Duration::from_millis(20);

/// An LND that answers again has no active channel yet; measured were 0.2 to 3 s.
const RECONNECTING_MS: Range<u64> = 300..900;

impl Node {
    /// Ends every stream one of two ways, as the seed has it, then the connections and the port.
    pub(super) async fn go_down(&self, listening: Option<Listening>) {
        self.macaroon_store.send_replace(MacaroonStore::Locked);
        let coin = || if self.random.coin() { StreamEnd::Clean } else { StreamEnd::Reset };
        self.subscriptions.end(coin);
        tokio::time::sleep(GOODBYE).await;
        if let Some(listening) = listening {
            listening.close().await;
        }
        self.connections.reset_all();
        self.wallet.send_replace(WalletState::WaitingToStart);
        self.macaroon_store.send_replace(MacaroonStore::Open);
    }

    /// Opens the port again and passes through the states of a start-up, at LND's pace.
    pub(super) async fn come_up(self: &Arc<Self>, address: SocketAddr) -> Result<Listening, SimulatorError> {
        self.wallet.send_replace(WalletState::NonExisting);
        let listening = self.reopen(address).await?;
        tokio::time::sleep(self.random_between(10..200)).await;
        self.wallet.send_replace(WalletState::Unlocked);
        tokio::time::sleep(self.random_between(5..20)).await;
        self.wallet.send_replace(WalletState::RpcActive);
        tokio::time::sleep(self.random_between(10..70)).await;
        let reconnecting = self.random_between(RECONNECTING_MS);
        self.channels_active_from.send_replace(Instant::now() + reconnecting);
        self.activate().await?;
        Ok(listening)
    }

    async fn reopen(self: &Arc<Self>, address: SocketAddr) -> Result<Listening, SimulatorError> {
        let mut attempt = 1;
        loop {
            match Listening::open(self, address).await {
                Ok(listening) => return Ok(listening),
                Err(_) if attempt < BIND_ATTEMPTS => tokio::time::sleep(BIND_PAUSE).await,
                Err(source) => return Err(SimulatorError::Listen { address, source }),
            }
            attempt += 1;
        }
    }

    fn random_between(&self, milliseconds: Range<u64>) -> Duration {
        Duration::from_millis(milliseconds.start + self.random.below(milliseconds.end - milliseconds.start))
    }
}
