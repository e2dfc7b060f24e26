//! What the node says of its invoices.

use std::collections::BTreeMap;

use wiretoll::domain::settle_progress::Position;
use wiretoll::lnd::{InvoiceState, NodeInvoice};

use super::Story;
use super::books::Fact;

impl Story<'_> {
    pub async fn look_up(&self, number: usize) -> Option<NodeInvoice> {
        self.app.node.lookup_invoice(self.made[number].hash).await.unwrap()
    }

    pub async fn facts(&self) -> BTreeMap<usize, Fact> {
        let mut facts = BTreeMap::new();
        for number in 0..self.made.len() {
            if let Some(invoice) = self.look_up(number).await {
                facts.insert(number, fact(&invoice));
            }
        }
        facts
    }

    /// What a stream replays after this position.
    pub async fn replayed(&self, after: Position) -> Vec<(usize, NodeInvoice)> {
        let mut settled = BTreeMap::new();
        for number in 0..self.made.len() {
            if let Some(invoice) = self.look_up(number).await
                && let InvoiceState::Settled(settlement) = invoice.state
                && settlement.settle_index > after.settle_index
            {
                settled.insert(settlement.settle_index, (number, invoice));
            }
        }
        settled.into_values().collect()
    }

    /// In the order in which the node lists them.
    pub async fn listed(&self) -> Vec<(usize, Fact)> {
        let mut listed = BTreeMap::new();
        for number in 0..self.made.len() {
            if let Some(invoice) = self.look_up(number).await {
                listed.insert(invoice.add_index, (number, fact(&invoice)));
            }
        }
        listed.into_values().collect()
    }
}

pub fn fact(invoice: &NodeInvoice) -> Fact {
    let parsed = wiretoll::domain::bolt11::Invoice::parse(&invoice.payment_request).unwrap();
    let settled = match invoice.state {
        InvoiceState::Settled(settlement) => Some((settlement.amount.get(), settlement.settled_at)),
        _ => None,
    };
    let cancelled = invoice.state == InvoiceState::Canceled;
    Fact { price: invoice.amount.get(), expires_at: parsed.expires_at(), settled, cancelled }
}
