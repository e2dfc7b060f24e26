//! Events: written with their cause, read by subject.

use serde_json::Value;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::connections::Ask as _;
use super::row::Record;
use super::{Result, Store, Tx};
use crate::domain::Invalid;
use crate::domain::event::{Act, Event, EventType, SCHEMA_VERSION, Subject};
use crate::domain::time::Timestamp;

impl Store {
    /// Everything that happened to a subject, in order.
    pub async fn events_of(&self, subject: Subject<'_>) -> Result<Vec<Event>> {
        let rows = sqlx::query(
            "SELECT id, type, sequence, occurred_at, data FROM events \
             WHERE subject_kind = $1 AND subject_id = $2 ORDER BY sequence",
        )
        .bind(subject.kind())
        .bind(subject.id())
        .all_from(&self.reader)
        .await?;
        rows.iter().map(event_from).collect()
    }

    /// When the newest of all events was written: ids grow with time.
    pub async fn last_event_at(&self) -> Result<Option<Timestamp>> {
        let newest = "SELECT id, occurred_at FROM events ORDER BY id DESC LIMIT 1";
        let row = sqlx::query(newest).optional_from(&self.reader).await?;
        row.map(|row| Record::new("events", &row).time("occurred_at")).transpose()
    }
}

/// Which acts to list.
#[derive(Debug, Clone, Default)]
pub struct ActFilter {
    pub since: Option<Timestamp>,
    /// The id of what it was done to.
    pub about: Option<String>,
    pub actor: Option<String>,
    pub account: Option<Uuid>,
    /// The last act of the page before.
    pub before: Option<Uuid>,
    pub at_most: u32,
}

impl Store {
    /// What somebody did, the newest first: ids grow with time.
    pub async fn acts(&self, filter: &ActFilter) -> Result<Vec<Act>> {
        let rows = sqlx::query(
            "SELECT id, type, subject_kind, subject_id, sequence, occurred_at, data, actor, actor_account_id FROM events \
             WHERE actor IS NOT NULL AND ($1 IS NULL OR actor = $1) AND ($2 IS NULL OR actor_account_id = $2) \
             AND ($3 IS NULL OR subject_id = $3) AND occurred_at >= $4 AND id < $5 ORDER BY id DESC LIMIT $6",
        )
        .bind(filter.actor.as_deref())
        .bind(filter.account.map(|id| id.to_string()))
        .bind(filter.about.as_deref())
        .bind(filter.since.unwrap_or(Timestamp::EPOCH).millis())
        .bind(filter.before.unwrap_or(Uuid::max()).to_string())
        .bind(i64::from(filter.at_most))
        .all_from(&self.reader)
        .await?;
        rows.iter().map(act_from).collect()
    }
}

impl Tx {
    /// Adds an event; the subject's row must be locked or new, so that its numbers have no gap.
    ///
    /// Where no endpoint could be told of it, it is marked as fanned out at once: a shop without webhooks writes what it
    /// always wrote, and no worker passes over its events again.
    pub async fn record(
        &mut self,
        id: Uuid,
        event: EventType,
        subject: Subject<'_>,
        data: &Value,
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO events (id, type, subject_kind, subject_id, sequence, occurred_at, schema_version, data, actor, \
             actor_account_id, fanned_out_at) SELECT $1, $2, $3, $4, CAST(count(*) AS BIGINT), $5, $6, $7, $8, $9, \
             CASE WHEN EXISTS (SELECT 1 FROM webhook_endpoints WHERE disabled_at IS NULL AND (order_id IS NULL OR \
             order_id = $4)) THEN NULL ELSE CAST($5 AS BIGINT) END FROM events \
             WHERE subject_kind = $3 AND subject_id = $4",
        )
        .bind(id.to_string())
        .bind(event.name())
        .bind(subject.kind())
        .bind(subject.id())
        .bind(now.millis())
        .bind(SCHEMA_VERSION)
        .bind(data.to_string())
        .bind(said(data, "by"))
        .bind(said(data, "byAccount"))
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }
}

/// Who did it, as a verb wrote it into the data: kept in columns, too, so that it can be searched for.
fn said<'d>(data: &'d Value, key: &str) -> Option<&'d str> {
    data.get(key).and_then(Value::as_str)
}

fn act_from(row: &AnyRow) -> Result<Act> {
    let record = Record::new("events", row);
    Ok(Act {
        event: event_from(row)?,
        subject_kind: record.text("subject_kind")?,
        subject_id: record.text("subject_id")?,
        actor: record.text("actor")?,
        account: record.optional_id("actor_account_id")?,
    })
}

pub(super) fn event_from(row: &AnyRow) -> Result<Event> {
    let record = Record::new("events", row);
    let data = serde_json::from_str(&record.text("data")?).map_err(|e| Invalid::new(e.to_string()));
    Ok(Event {
        id: record.id("id")?,
        event_type: record.text("type")?,
        sequence: record.integer("sequence")?,
        occurred_at: record.time("occurred_at")?,
        data: record.parsed("data", data)?,
    })
}
