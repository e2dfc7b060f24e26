//! An account's subscriptions, as their owner sees them.

use uuid::Uuid;

use super::agents::counted_from;
use super::connections::Ask as _;
use super::row::Record;
use super::subscriptions::subscription_from;
use super::{Result, Store};
use crate::domain::lightning::PaymentHash;
use crate::domain::server::Slot;
use crate::domain::subscription::Subscription;

/// A subscription with the order that founded it, its peer, and what it used in a month.
#[derive(Debug, Clone)]
pub struct OwnedSubscription {
    pub subscription: Subscription,
    /// None of an order that was paid by card.
    pub payment_hash: Option<PaymentHash>,
    pub months: u32,
    /// While it has one.
    pub slot: Option<Slot>,
    pub public_key: Option<String>,
    pub bytes: i64,
}

impl Store {
    /// The newest first; `before` is the last one of the page before.
    pub async fn owned_subscriptions(
        &self,
        account: Uuid,
        month: &str,
        before: Option<Uuid>,
        at_most: u32,
    ) -> Result<Vec<OwnedSubscription>> {
        let rows = sqlx::query(
            "SELECT subscriptions.id AS id, founded_by, subscriptions.account_id AS account_id, \
             subscriptions.server_id AS server_id, ends_at, standing, suspended_at, \
             subscriptions.created_at AS created_at, subscriptions.revision AS revision, payment_hash, months, slot, \
             peers.public_key AS bound_key, coalesce(bytes, 0) AS bytes, coalesce(reset_bytes, 0) AS reset_bytes \
             FROM subscriptions JOIN orders ON orders.id = founded_by \
             LEFT JOIN peers ON holder_kind = 'subscription' AND holder_id = subscriptions.id AND superseded_at IS NULL \
             LEFT JOIN monthly_usage ON monthly_usage.subscription_id = subscriptions.id AND month = $2 \
             WHERE subscriptions.account_id = $1 AND subscriptions.id < $3 ORDER BY subscriptions.id DESC LIMIT $4",
        )
        .bind(account.to_string())
        .bind(month.to_owned())
        .bind(before.unwrap_or(Uuid::max()).to_string())
        .bind(i64::from(at_most))
        .all_from(&self.reader)
        .await?;
        let owned = rows.iter().map(|row| {
            let record = Record::new("subscriptions", row);
            let hash = record.optional_text("payment_hash")?.map(|hash| PaymentHash::parse(&hash)).transpose();
            let slot = record.optional_integer("slot")?.map(|_| record.unsigned_u32("slot").map(Slot)).transpose()?;
            Ok(OwnedSubscription {
                subscription: subscription_from(row)?,
                payment_hash: record.parsed("payment_hash", hash)?,
                months: record.unsigned_u32("months")?,
                slot,
                public_key: record.optional_text("bound_key")?,
                bytes: counted_from(&record)?,
            })
        });
        owned.collect()
    }
}
