//! The one loop that takes events from the registry and tells subscribers, once the node has started.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::invoice::{Invoice, InvoiceState};
use super::node::Node;
use crate::lnd_proto::lnrpc::WalletState;

impl Node {
    pub(super) async fn dispatch_events(&self, mut events: mpsc::Receiver<Arc<Invoice>>) {
        let mut wallet = self.wallet.subscribe();
        loop {
            if wallet.wait_for(|state| *state == WalletState::ServerActive).await.is_err() {
                return;
            }
            tokio::select! {
                // A node that is put back into start-up must not take one more event.
                biased;
                _ = wallet.changed() => {}
                event = events.recv() => match event {
                    Some(event) => self.dispatch(event).await,
                    None => return,
                }
            }
        }
    }

    async fn dispatch(&self, event: Arc<Invoice>) {
        // Only additions and settlements are for everybody.
        let public = matches!(event.state, InvoiceState::Open | InvoiceState::Settled { .. });
        if public {
            for (event, delivery) in self.faults.deliveries(event.clone()) {
                self.subscriptions.dispatch_to_all(&event, delivery, &self.random).await;
            }
        }
        self.subscriptions.dispatch_to_single(&event).await;
    }
}
