//! How far subscriptions were told of their ends: by a position among the ends, so that each is passed over once.

use uuid::Uuid;

use super::connections::Ask as _;
use super::row::Record;
use super::{Result, Store, Tx};
use crate::domain::subscription::EndNotice;
use crate::domain::time::Timestamp;

/// An end, and the subscription whose it is: those at one moment follow each other by their ids.
pub type End = (Timestamp, Uuid);

impl Store {
    /// The last end that such a notice passed; None where none ever did.
    pub async fn end_notice(&self, notice: EndNotice) -> Result<Option<End>> {
        let row = sqlx::query("SELECT kind, ends_at, subscription_id AS id FROM end_notices WHERE kind = $1")
            .bind(notice.name())
            .optional_from(&self.reader)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let record = Record::new("end_notices", &row);
        Ok(Some((record.time("ends_at")?, record.id("id")?)))
    }

    /// Ends of held subscriptions after one and up to a moment, in their order.
    pub async fn ends_between(&self, after: End, until: Timestamp, at_most: u32) -> Result<Vec<End>> {
        let rows = sqlx::query(
            "SELECT id, ends_at FROM subscriptions WHERE standing = 'held' AND ends_at <= $1 AND ends_at >= $2 \
             AND (ends_at > $2 OR id > $3) ORDER BY ends_at, id LIMIT $4",
        )
        .bind(until.millis())
        .bind(after.0.millis())
        .bind(after.1.to_string())
        .bind(i64::from(at_most))
        .all_from(&self.reader)
        .await?;
        let ends = rows.iter().map(|row| {
            let record = Record::new("subscriptions", row);
            Ok((record.time("ends_at")?, record.id("id")?))
        });
        ends.collect()
    }
}

impl Tx {
    /// Begins with what ends later than this; where somebody else began, that stands.
    pub async fn begin_end_notices(&mut self, notice: EndNotice, from: Timestamp) -> Result<()> {
        sqlx::query(
            "INSERT INTO end_notices (kind, ends_at, subscription_id) VALUES ($1, $2, $3) ON CONFLICT (kind) DO NOTHING",
        )
        .bind(notice.name())
        .bind(from.millis())
        .bind(Uuid::nil().to_string())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Passes from one end to another; false where another replica did.
    pub async fn advance_end_notices(&mut self, notice: EndNotice, from: End, to: End) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE end_notices SET ends_at = $4, subscription_id = $5 \
             WHERE kind = $1 AND ends_at = $2 AND subscription_id = $3",
        )
        .bind(notice.name())
        .bind(from.0.millis())
        .bind(from.1.to_string())
        .bind(to.0.millis())
        .bind(to.1.to_string())
        .execute(&mut *self.inner)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}
