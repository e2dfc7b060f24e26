//! Stripe's events that were applied, and the disputes that they told of.

use uuid::Uuid;

use super::connections::Ask as _;
use super::{Result, Store, Tx};
use crate::domain::time::Timestamp;

/// How a dispute ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisputeEnd {
    Won,
    Lost,
}

impl Store {
    pub async fn knows_stripe_event(&self, id: &str) -> Result<bool> {
        let query = sqlx::query("SELECT id FROM stripe_events WHERE id = $1").bind(id);
        Ok(query.optional_from(&self.reader).await?.is_some())
    }

    /// Forgets those that were applied before `deadline`.
    pub async fn forget_stripe_events(&self, deadline: Timestamp) -> Result<u64> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("DELETE FROM stripe_events WHERE applied_at < $1")
            .bind(deadline.millis())
            .execute(&mut *tx.inner)
            .await?;
        tx.commit_if(done.rows_affected() > 0).await?;
        Ok(done.rows_affected())
    }
}

impl Tx {
    /// False where it is remembered already.
    pub async fn remember_stripe_event(&mut self, id: &str, now: Timestamp) -> Result<bool> {
        let done =
            sqlx::query("INSERT INTO stripe_events (id, applied_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING")
                .bind(id)
                .bind(now.millis())
                .execute(&mut *self.inner)
                .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Enters a dispute; false where it is known, open or closed.
    pub async fn open_dispute(&mut self, id: &str, order: Uuid, now: Timestamp) -> Result<bool> {
        let done = sqlx::query(
            "INSERT INTO disputes (id, order_id, opened_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
        )
        .bind(id)
        .bind(order.to_string())
        .bind(now.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Whether a dispute was entered, open or closed.
    pub async fn knows_dispute(&mut self, id: &str) -> Result<bool> {
        let query = sqlx::query("SELECT id FROM disputes WHERE id = $1").bind(id);
        Ok(query.fetch_optional(&mut *self.inner).await?.is_some())
    }

    /// Closes a dispute, also one that nobody told of; false where it is closed already.
    pub async fn close_dispute(&mut self, id: &str, order: Uuid, end: DisputeEnd, now: Timestamp) -> Result<bool> {
        let outcome = match end {
            DisputeEnd::Won => "won",
            DisputeEnd::Lost => "lost",
        };
        let done = sqlx::query(
            "INSERT INTO disputes (id, order_id, opened_at, closed_at, outcome) VALUES ($1, $2, $3, $3, $4) \
             ON CONFLICT (id) DO UPDATE SET closed_at = excluded.closed_at, outcome = excluded.outcome \
             WHERE disputes.closed_at IS NULL",
        )
        .bind(id)
        .bind(order.to_string())
        .bind(now.millis())
        .bind(outcome)
        .execute(&mut *self.inner)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Whether a dispute of the order is open.
    pub async fn is_disputed(&mut self, order: Uuid) -> Result<bool> {
        let row = sqlx::query("SELECT id FROM disputes WHERE order_id = $1 AND closed_at IS NULL LIMIT 1")
            .bind(order.to_string())
            .fetch_optional(&mut *self.inner)
            .await?;
        Ok(row.is_some())
    }
}
