//! How an order is to be paid: what `create` and `renew` answer alike.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::order::{Order, Rail};
use crate::domain::time::Timestamp;
use crate::http::error::Error;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HowToPay {
    /// Null where it is paid by card: such an order goes by its id.
    #[schema(required = true, example = "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925")]
    payment_hash: Option<String>,
    /// BOLT 11; left out where it is paid by card.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "lnbc30u1p...")]
    invoice: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 3000)]
    amount_sats: Option<u64>,
    /// The same amount, by the name that older clients read.
    #[serde(rename = "amount_sats", skip_serializing_if = "Option::is_none")]
    #[schema(example = 3000)]
    amount_sats_by_its_old_name: Option<u64>,
    /// The page to pay on by card; left out where it is paid on Lightning.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://checkout.stripe.com/c/pay/cs_live_a1b2c3")]
    checkout_url: Option<String>,
    /// US cents, for a card.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 300)]
    amount_cents: Option<u64>,
    /// When it can no longer be paid.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:15:00.000Z")]
    expires_at: Timestamp,
}

impl HowToPay {
    /// Of an order that can be paid: one that is shown to its customer.
    pub fn of(order: &Order) -> Result<Self, Error> {
        let shown = order.invoice().ok_or_else(Error::internal)?;
        let (sats, cents) = match &order.rail {
            Rail::Lightning { quote, .. } => (Some(quote.amount.get()), None),
            Rail::Card { price, .. } => (None, Some(price.get())),
        };
        Ok(Self {
            payment_hash: order.payment_hash().map(|hash| hash.to_string()),
            invoice: sats.map(|_| shown.text.clone()),
            amount_sats: sats,
            amount_sats_by_its_old_name: sats,
            checkout_url: cents.map(|_| shown.text.clone()),
            amount_cents: cents,
            expires_at: shown.expires_at,
        })
    }
}
