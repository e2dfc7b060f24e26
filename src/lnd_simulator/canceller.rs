//! What happens to invoices as time passes: expired ones are cancelled, incomplete payments released.
//!
//! LND's canceller works one invoice at a time, so with many of them a payment can still settle after expiry.

use tokio::sync::{Mutex, watch};

use super::hash::PaymentHash;
use super::node::Node;
use crate::lnd_proto::lnrpc::WalletState;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum CancellerState {
    #[default]
    Running,
    Paused,
}

#[derive(Default)]
pub(super) struct Canceller {
    state: watch::Sender<CancellerState>,
    one_at_a_time: Mutex<()>,
}

impl Canceller {
    pub(super) fn switch(&self, state: CancellerState) {
        self.state.send_replace(state);
    }

    async fn running(&self) {
        let mut state = self.state.subscribe();
        // The sender is ours, so waiting cannot fail.
        let _ = state.wait_for(|state| *state == CancellerState::Running).await;
    }

    fn is_running(&self) -> bool {
        *self.state.borrow() == CancellerState::Running
    }
}

impl Node {
    /// Cancels whatever expires, for ever.
    pub(super) async fn watch_expiries(&self) {
        loop {
            self.registry.expiries.wait(&self.clock).await;
            self.started().await;
            self.canceller.running().await;
            self.cancel_expired().await;
        }
    }

    /// Releases parts whose payment did not become complete, for ever.
    pub(super) async fn watch_releases(&self) {
        loop {
            self.registry.releases.wait(&self.clock).await;
            self.started().await;
            self.release_overdue().await;
        }
    }

    /// Catches up with the clock; returns when nothing is overdue or the canceller is paused.
    pub(super) async fn cancel_expired(&self) {
        let _turn = self.canceller.one_at_a_time.lock().await;
        while self.canceller.is_running() && self.is_running() {
            let Some(hash) = self.registry.expiries.overdue(self.clock.now_ms()) else {
                return;
            };
            self.expire(hash).await;
            self.registry.expiries.done(hash);
        }
    }

    async fn expire(&self, hash: PaymentHash) {
        if let Err(error) = self.registry.expire(hash).await {
            tracing::warn!(payment_hash = &hash.hex()[..8], %error, "the simulated node cannot cancel an invoice");
        }
    }

    pub(super) async fn release_overdue(&self) {
        while let Some((hash, htlc)) = self.registry.releases.overdue(self.clock.now_ms()) {
            if let Err(error) = self.registry.release(hash, htlc).await {
                tracing::warn!(payment_hash = &hash.hex()[..8], %error, "the simulated node cannot release a part");
            }
            self.registry.releases.done((hash, htlc));
        }
    }

    async fn started(&self) {
        let mut wallet = self.wallet.subscribe();
        // The sender is ours, so waiting cannot fail.
        let _ = wallet.wait_for(|state| *state == WalletState::ServerActive).await;
    }
}
