//! From events to deliveries: what is unmarked, and who listens.
//!
//! An event is marked in the transaction that makes its deliveries, by a look at what is unmarked and never by "later
//! than the last one": ids are not the order of commits. One that nobody can want is marked as it is written (see
//! `Tx::record`), so a shop without endpoints has nothing to do here.

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::connections::Ask as _;
use super::events::event_from;
use super::row::Record;
use super::webhooks::endpoint_from;
use super::{Result, Store, Tx};
use crate::domain::event::Event;
use crate::domain::time::Timestamp;
use crate::domain::webhook::Endpoint;

/// An event with what it happened to.
#[derive(Debug, Clone)]
pub struct UntoldEvent {
    pub event: Event,
    pub subject_kind: String,
    pub subject_id: String,
}

impl Store {
    /// Whether there is anything to fan out.
    pub async fn has_untold_events(&self) -> Result<bool> {
        let query = sqlx::query("SELECT id FROM events WHERE fanned_out_at IS NULL LIMIT 1");
        Ok(query.optional_from(&self.reader).await?.is_some())
    }
}

impl Tx {
    /// Marks some events and returns them, in the order of their ids.
    pub async fn take_untold_events(&mut self, now: Timestamp, at_most: u32) -> Result<Vec<UntoldEvent>> {
        // Another replica may have marked some of them while this one waited: the predicate is looked at again.
        let rows = sqlx::query(
            "UPDATE events SET fanned_out_at = $1 WHERE id IN \
             (SELECT id FROM events WHERE fanned_out_at IS NULL ORDER BY id LIMIT $2) AND fanned_out_at IS NULL \
             RETURNING id, type, subject_kind, subject_id, sequence, occurred_at, data",
        )
        .bind(now.millis())
        .bind(i64::from(at_most))
        .fetch_all(&mut *self.inner)
        .await?;
        let mut untold = rows.iter().map(untold_from).collect::<Result<Vec<_>>>()?;
        untold.sort_by_key(|untold| untold.event.id);
        Ok(untold)
    }

    /// The account that an order, a subscription or a webhook is of, or that it is; of nothing else is anybody told but the
    /// operator.
    pub async fn owner_of(&mut self, subject_kind: &str, subject_id: &str) -> Result<Option<Uuid>> {
        let sql = match subject_kind {
            "order" => "SELECT id, account_id FROM orders WHERE id = $1",
            "subscription" => "SELECT id, account_id FROM subscriptions WHERE id = $1",
            "webhook" => "SELECT id, account_id FROM webhook_endpoints WHERE id = $1",
            "account" => "SELECT id, id AS account_id FROM accounts WHERE id = $1",
            _ => return Ok(None),
        };
        let row = sqlx::query(sql).bind(subject_id.to_owned()).fetch_optional(&mut *self.inner).await?;
        row.map_or(Ok(None), |row| Record::new("orders", &row).optional_id("account_id"))
    }

    /// Endpoints that may be told of what happened to this subject, of this account's, then.
    pub async fn listening_endpoints(
        &mut self,
        order: Option<&str>,
        account: Option<Uuid>,
        at: Timestamp,
    ) -> Result<Vec<Endpoint>> {
        let rows = sqlx::query(
            "SELECT id, kind, account_id, order_id, url, events, rotating_until, created_at, failing_since, \
             disabled_at, disabled_because FROM webhook_endpoints WHERE disabled_at IS NULL AND created_at <= $1 \
             AND ((order_id IS NULL AND (account_id IS NULL OR account_id = $2)) OR order_id = $3) ORDER BY id",
        )
        .bind(at.millis())
        .bind(account.map(|id| id.to_string()))
        .bind(order)
        .fetch_all(&mut *self.inner)
        .await?;
        rows.iter().map(endpoint_from).collect()
    }

    /// Enters a delivery that is due at once; one that is there already stays as it is.
    pub async fn insert_delivery(&mut self, id: Uuid, endpoint: Uuid, event: Uuid, now: Timestamp) -> Result<()> {
        sqlx::query(
            "INSERT INTO webhook_deliveries (id, endpoint_id, event_id, state, attempts, next_at, created_at) \
             VALUES ($1, $2, $3, 'pending', 0, $4, $4) ON CONFLICT (event_id, endpoint_id) DO NOTHING",
        )
        .bind(id.to_string())
        .bind(endpoint.to_string())
        .bind(event.to_string())
        .bind(now.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }
}

fn untold_from(row: &AnyRow) -> Result<UntoldEvent> {
    let record = Record::new("events", row);
    Ok(UntoldEvent {
        event: event_from(row)?,
        subject_kind: record.text("subject_kind")?,
        subject_id: record.text("subject_id")?,
    })
}
