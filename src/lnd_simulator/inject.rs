//! Carries out the faults that a test asks for.

use std::sync::Arc;
use std::time::Duration;

use super::add_invoice::NewInvoice;
use super::canceller::CancellerState;
use super::error::SimulatorError;
use super::faults::Fault;
use super::node::Node;
use super::payer::PaymentOrder;
use crate::lnd_proto::lnrpc;
use crate::lnd_proto::lnrpc::WalletState;

impl Node {
    pub(super) async fn inject(self: &Arc<Self>, fault: Fault) -> Result<(), SimulatorError> {
        match fault {
            Fault::EndStreams { how } => self.subscriptions.end(|| how),
            Fault::FreezeConnections => self.connections.freeze_all(),
            Fault::LoseEvent { nth } => self.faults.lose_event(nth),
            Fault::DuplicateEvents { count } => self.faults.duplicate_events(count),
            Fault::ReverseEvents { count } => self.faults.reverse_events(count),
            Fault::SlowEvents { milliseconds } => {
                self.faults.set_event_delay(Duration::from_millis(milliseconds));
            }
            Fault::Delay { method, milliseconds } => {
                self.faults.set_delay(method, Duration::from_millis(milliseconds));
            }
            Fault::LoseReplies { method, count } => self.faults.lose_replies(method, count),
            Fault::Unavailable { milliseconds } => {
                self.faults.set_unavailable(Duration::from_millis(milliseconds));
            }
            Fault::ChainSync { synced } => {
                self.chain_synced.send_replace(synced);
            }
            Fault::ActiveChannels { count } => {
                self.active_channels.send_replace(count);
            }
            Fault::PauseCanceller => self.canceller.switch(CancellerState::Paused),
            Fault::ResumeCanceller => self.canceller.switch(CancellerState::Running),
            lasting => return self.change(lasting).await,
        }
        Ok(())
    }

    /// The faults that change what the node is, not how it answers.
    async fn change(self: &Arc<Self>, fault: Fault) -> Result<(), SimulatorError> {
        match fault {
            Fault::WalletState { state } => {
                let state = WalletState::from_str_name(&state).ok_or(SimulatorError::WalletState(state))?;
                self.wallet.send_replace(state);
                Ok(())
            }
            Fault::RotateCertificate => self.tls.rotate(self.clock.now_ms()).map_err(SimulatorError::Certificate),
            Fault::RevokeMacaroons { root_key_id } => self.revoke(&root_key_id).await,
            Fault::SwapNode => self.swap().await,
            Fault::SkipSettleIndices { count } => Ok(self.registry.skip_settle_indices(count).await?),
            Fault::Backlog { settled } => self.settle_strangers(settled).await,
            _ => Ok(()),
        }
    }

    /// Invoices of somebody else on the same node, added and paid.
    async fn settle_strangers(self: &Arc<Self>, count: u32) -> Result<(), SimulatorError> {
        for _ in 0..count {
            let request = lnrpc::Invoice { value_msat: 1000, ..lnrpc::Invoice::default() };
            let new = NewInvoice::regular(self, request).map_err(SimulatorError::Refused)?;
            let signed = new.sign(self).map_err(SimulatorError::Refused)?;
            let added = self.registry.add(signed).await?;
            self.pay(&PaymentOrder::of(added.payment_request.clone())).await;
        }
        Ok(())
    }
}
