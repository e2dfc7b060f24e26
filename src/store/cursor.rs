//! How far a node's settlements are applied without a gap.

use super::connections::Ask as _;
use super::row::{Record, to_bigint};
use super::{Result, Store, Tx};
use crate::domain::lightning::{NodeId, PaymentHash};
use crate::domain::settle_progress::Position;
use crate::domain::time::Timestamp;

impl Store {
    pub async fn cursor(&self, node: NodeId) -> Result<Option<Position>> {
        let row = sqlx::query(
            "SELECT node_id AS id, settle_index, payment_hash, previous_index FROM settlement_cursor WHERE node_id = $1",
        )
        .bind(node.to_string())
        .optional_from(&self.reader)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let record = Record::new("settlement_cursor", &row);
        Ok(Some(Position {
            settle_index: record.unsigned_u64("settle_index")?,
            payment_hash: record.parsed("payment_hash", PaymentHash::parse(&record.text("payment_hash")?))?,
            previous_index: record.unsigned_u64("previous_index")?,
        }))
    }

    /// Forgets a position that the node does not confirm: the next stream starts live, and the sweep finds the rest.
    pub async fn forget_cursor(&self, node: NodeId) -> Result<()> {
        let mut tx = self.begin().await?;
        let forget = sqlx::query("DELETE FROM settlement_cursor WHERE node_id = $1").bind(node.to_string());
        forget.execute(&mut *tx.inner).await?;
        tx.commit().await
    }
}

impl Tx {
    /// Moves forward only; another replica may have been further already.
    pub async fn advance_cursor(&mut self, node: NodeId, position: &Position, now: Timestamp) -> Result<()> {
        sqlx::query(
            "INSERT INTO settlement_cursor (node_id, settle_index, payment_hash, previous_index, updated_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (node_id) DO UPDATE SET settle_index = excluded.settle_index, \
             payment_hash = excluded.payment_hash, previous_index = excluded.previous_index, updated_at = excluded.updated_at \
             WHERE settlement_cursor.settle_index < excluded.settle_index",
        )
        .bind(node.to_string())
        .bind(to_bigint(position.settle_index)?)
        .bind(position.payment_hash.to_string())
        .bind(to_bigint(position.previous_index)?)
        .bind(now.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }
}
