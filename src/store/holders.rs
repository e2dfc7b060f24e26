//! Who has a slot now, and who had it before.

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::connections::Ask as _;
use super::row::Record;
use super::{Result, Store};
use crate::domain::server::{ServerId, Slot};
use crate::domain::time::Timestamp;

/// Somebody whose slot it was for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub subscription: Uuid,
    /// From its reservation on; nothing is forwarded before a key is bound.
    pub from: Timestamp,
    /// None while they have it, and until the server's agent has taken their peer away.
    pub until: Option<Timestamp>,
}

const NOW: &str = "SELECT holder_id AS id, created_at AS held_from, CAST(NULL AS BIGINT) AS gone_at FROM peers \
     WHERE server_id = $1 AND slot = $2 AND holder_kind = 'subscription'";
const BEFORE: &str = "SELECT subscription_id AS id, held_from, gone_at FROM removed_peers \
     WHERE server_id = $1 AND slot = $2 ORDER BY held_from DESC";

impl Store {
    /// Everybody who had a slot, the latest first.
    pub async fn holders(&self, server: &ServerId, slot: Slot) -> Result<Vec<Holder>> {
        let mut holders = Vec::new();
        for sql in [NOW, BEFORE] {
            let query = sqlx::query(sql).bind(server.as_str()).bind(i64::from(slot.0));
            let rows = query.all_from(&self.reader).await?;
            holders.extend(rows.iter().map(holder_from).collect::<Result<Vec<_>>>()?);
        }
        Ok(holders)
    }
}

fn holder_from(row: &AnyRow) -> Result<Holder> {
    let record = Record::new("removed_peers", row);
    Ok(Holder {
        subscription: record.id("id")?,
        from: record.time("held_from")?,
        until: record.optional_time("gone_at")?,
    })
}
