//! A payer with a channel to the node: what arrives of a payment, and what comes of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::bolt11::{self, PaymentRequest};
use super::hash::PaymentHash;
use super::invoice::{HtlcFailure, Invoice, InvoiceState};
use super::node::{BLOCK_HEIGHT, Node};
use super::registry::{PaymentFailure, RegistryError};

/// What to pay; the plain way is one part of exactly the invoice's amount.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PaymentOrder {
    /// The BOLT11 text.
    pub invoice: String,
    /// Needed for an invoice without an amount; another amount than the invoice's is sent as it is.
    #[serde(default)]
    pub amount_msat: Option<u64>,
    #[serde(default = "one")]
    pub parts: u32,
    /// So many of the parts never arrive.
    #[serde(default)]
    pub withheld_parts: u32,
}

impl PaymentOrder {
    pub fn of(invoice: impl Into<String>) -> Self {
        Self { invoice: invoice.into(), amount_msat: None, parts: 1, withheld_parts: 0 }
    }
}

/// What came of a payment, durable in the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum PaymentOutcome {
    /// This payment settled the invoice.
    Settled { payment_hash: String, amount_msat: u64 },
    /// An earlier payment has.
    AlreadySettled { payment_hash: String },
    /// The node holds what has arrived: parts are missing, or it is a hold invoice.
    Held { payment_hash: String },
    /// The node does not know the invoice.
    Unknown { payment_hash: String },
    /// The invoice is cancelled, which is also how it expires.
    Closed { payment_hash: String },
    /// Nothing was paid.
    Failed { reason: String },
}

fn one() -> u32 {
    1
}

impl Node {
    /// Pays as told, without a look at the invoice's expiry: HTLCs may have been long on their way.
    pub(super) async fn pay(&self, order: &PaymentOrder) -> PaymentOutcome {
        let request = match bolt11::parse(&order.invoice) {
            Ok(request) => request,
            Err(reason) => return PaymentOutcome::Failed { reason },
        };
        let total_msat = order.amount_msat.unwrap_or(request.value_msat);
        if total_msat == 0 {
            return failed("the invoice leaves the amount to the payer, so one is needed");
        }
        let arriving = order.parts.saturating_sub(order.withheld_parts);
        let parts = split(total_msat, order.parts);
        let parts = parts.take(usize::try_from(arriving).unwrap_or(usize::MAX));
        self.deliver(&request, total_msat, parts).await
    }

    /// Lets the parts arrive one after another, each promising `total_msat` in all.
    pub(super) async fn deliver(
        &self,
        request: &PaymentRequest,
        total_msat: u64,
        parts: impl Iterator<Item = u64>,
    ) -> PaymentOutcome {
        let hash = request.hash;
        if !self.is_running() {
            return failed("the node is not running");
        }
        let found = self.registry.ledger().get(hash);
        let Some(mut invoice) = found else {
            return PaymentOutcome::Unknown { payment_hash: hash.hex() };
        };
        if invoice.payment_addr != request.payment_addr {
            return failed("the payment secret is not this invoice's");
        }
        for amount_msat in parts {
            match self.registry.receive(hash, amount_msat, total_msat, BLOCK_HEIGHT).await {
                Ok(updated) => invoice = updated,
                Err(failure) => return self.rejected(hash, &failure),
            }
        }
        outcome(&invoice)
    }

    fn rejected(&self, hash: PaymentHash, failure: &PaymentFailure) -> PaymentOutcome {
        let payment_hash = hash.hex();
        match failure {
            PaymentFailure::Rejected(HtlcFailure::InvoiceNotOpen) => self.not_open(hash),
            PaymentFailure::Rejected(HtlcFailure::TotalTooLow) => failed("the amount is too low"),
            PaymentFailure::Rejected(HtlcFailure::TotalMismatch) => {
                failed("another payment of another amount is incomplete")
            }
            PaymentFailure::Registry(RegistryError::NotFound) => PaymentOutcome::Unknown { payment_hash },
            PaymentFailure::Registry(error) => failed(&error.to_string()),
        }
    }

    fn not_open(&self, hash: PaymentHash) -> PaymentOutcome {
        let payment_hash = hash.hex();
        let state = self.registry.ledger().get(hash).map(|invoice| invoice.state);
        match state {
            Some(InvoiceState::Settled { .. }) => PaymentOutcome::AlreadySettled { payment_hash },
            Some(InvoiceState::Canceled { .. }) => PaymentOutcome::Closed { payment_hash },
            Some(_) => PaymentOutcome::Held { payment_hash },
            None => PaymentOutcome::Unknown { payment_hash },
        }
    }
}

fn outcome(invoice: &Arc<Invoice>) -> PaymentOutcome {
    let payment_hash = invoice.hash.hex();
    match invoice.state {
        InvoiceState::Settled { .. } => PaymentOutcome::Settled { payment_hash, amount_msat: invoice.paid_msat() },
        InvoiceState::Canceled { .. } => PaymentOutcome::Closed { payment_hash },
        InvoiceState::Open | InvoiceState::Accepted => PaymentOutcome::Held { payment_hash },
    }
}

fn failed(reason: &str) -> PaymentOutcome {
    PaymentOutcome::Failed { reason: reason.to_owned() }
}

/// Even parts, the first with what is left over.
fn split(total_msat: u64, parts: u32) -> impl Iterator<Item = u64> {
    let count = u64::from(parts.max(1));
    let (even, rest) = (total_msat / count, total_msat % count);
    (0..count).map(move |number| if number == 0 { even + rest } else { even })
}
