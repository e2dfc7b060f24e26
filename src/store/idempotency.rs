//! `Idempotency-Key`: which order an earlier request with the same key made.

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::connections::Ask as _;
use super::row::Record;
use super::{Result, Store, Tx};
use crate::domain::time::Timestamp;

/// A key as a client sent it, with where it counts and what it was sent with.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    /// The account, or `anonymous`.
    pub scope: String,
    pub route: &'static str,
    pub key: String,
    /// A hash of the request's body.
    pub fingerprint: String,
}

/// What is known of a key.
#[derive(Debug, Clone)]
pub struct Remembered {
    pub order_id: Uuid,
    pub fingerprint: String,
    pub created_at: Timestamp,
}

impl Tx {
    /// Takes the key for an order, or tells which order has it already.
    pub async fn take_idempotency_key(
        &mut self,
        key: &IdempotencyKey,
        order: Uuid,
        now: Timestamp,
    ) -> Result<Option<Remembered>> {
        // DO UPDATE rather than NOTHING: it locks the row, so that what is read next is what stays.
        let row = sqlx::query(
            "INSERT INTO idempotency_keys (scope, route, key, fingerprint, order_id, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (scope, route, key) DO UPDATE SET key = excluded.key RETURNING order_id AS id, fingerprint, created_at",
        )
        .bind(key.scope.as_str())
        .bind(key.route)
        .bind(key.key.as_str())
        .bind(key.fingerprint.as_str())
        .bind(order.to_string())
        .bind(now.millis())
        .fetch_one(&mut *self.inner)
        .await?;
        let remembered = remembered_from(&row)?;
        Ok((remembered.order_id != order).then_some(remembered))
    }

    /// Gives a key whose order is dead to a new one.
    pub async fn repoint_idempotency_key(&mut self, key: &IdempotencyKey, order: Uuid, now: Timestamp) -> Result<()> {
        sqlx::query(
            "UPDATE idempotency_keys SET order_id = $4, created_at = $5, fingerprint = $6 WHERE scope = $1 AND route = $2 AND key = $3",
        )
        .bind(key.scope.as_str())
        .bind(key.route)
        .bind(key.key.as_str())
        .bind(order.to_string())
        .bind(now.millis())
            .bind(key.fingerprint.as_str())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }
}

impl Store {
    pub async fn remembered(&self, key: &IdempotencyKey) -> Result<Option<Remembered>> {
        let row = sqlx::query(
            "SELECT order_id AS id, fingerprint, created_at FROM idempotency_keys \
             WHERE scope = $1 AND route = $2 AND key = $3",
        )
        .bind(key.scope.as_str())
        .bind(key.route)
        .bind(key.key.as_str())
        .optional_from(&self.reader)
        .await?;
        row.as_ref().map(remembered_from).transpose()
    }

    /// Forgets keys older than `deadline`.
    pub async fn forget_idempotency_keys(&self, deadline: Timestamp) -> Result<u64> {
        let mut tx = self.begin().await?;
        let forget = sqlx::query("DELETE FROM idempotency_keys WHERE created_at < $1").bind(deadline.millis());
        let forgotten = forget.execute(&mut *tx.inner).await?.rows_affected();
        tx.commit_if(forgotten > 0).await?;
        Ok(forgotten)
    }
}

fn remembered_from(row: &AnyRow) -> Result<Remembered> {
    let record = Record::new("idempotency_keys", row);
    Ok(Remembered {
        order_id: record.id("id")?,
        fingerprint: record.text("fingerprint")?,
        created_at: record.time("created_at")?,
    })
}
