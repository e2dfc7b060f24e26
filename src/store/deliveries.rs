//! Deliveries: claimed for an attempt, kept with what became of it, listed for whoever asks.

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::connections::Ask as _;
use super::events::event_from;
use super::row::Record;
use super::webhooks::owner_from;
use super::{Result, Store, Tx};
use crate::domain::event::{Event, Subject};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{Owner, WebhookUrl};
use crate::domain::webhook_body::ToldSubject;

/// One event to be told to one endpoint, as it stands.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub id: Uuid,
    pub endpoint: Uuid,
    /// Whom that reaches, with the port where it names one; the rest of its URL may be secret.
    pub host: String,
    pub event: Event,
    pub subject: ToldSubject,
    /// `pending`, `delivered` or `failed`.
    pub state: String,
    pub attempts: i64,
    pub next_at: Option<Timestamp>,
    /// What became of the last attempt, in a word.
    pub outcome: Option<String>,
    /// What the receiver answered last, where it did.
    pub status: Option<i64>,
    pub attempted_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Attempted {
    pub delivery: Uuid,
    /// Counts this one: an attempt that was taken for lost says nothing any more.
    pub attempt: i64,
    pub outcome: &'static str,
    pub status: Option<i64>,
    pub at: Timestamp,
    pub next: Next,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Delivered,
    /// Another attempt then.
    Again(Timestamp),
    Failed,
}

/// Which deliveries to list.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    pub endpoint: Option<Uuid>,
    pub state: Option<String>,
    /// Of an event.
    pub event_type: Option<String>,
    /// Of an order, a subscription, a server, ...
    pub subject: Option<String>,
    /// The last delivery of the page before.
    pub before: Option<Uuid>,
    pub at_most: u32,
}

/// An endpoint that something is due for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueEndpoint {
    pub id: Uuid,
    pub owner: Owner,
    pub url: WebhookUrl,
    /// So many deliveries.
    pub count: u64,
    /// Since when the first of them is.
    pub due: Timestamp,
}

/// Deliveries that wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingDeliveries {
    /// `operator`, `account`, or `buyer` for the callback of an order.
    pub owner: String,
    pub count: u64,
    /// When the oldest one was made.
    pub since: Timestamp,
}

/// Everything that [`delivery_from`] reads; `events.id` takes the place of `id` where an event is read.
macro_rules! select_deliveries {
    ($rest:literal) => {
        concat!(
            "SELECT d.id AS delivery_id, d.endpoint_id, d.state AS delivery_state, d.attempts, d.next_at, d.outcome, ",
            "d.status, d.attempted_at, d.created_at, d.finished_at, e.id AS id, e.type, e.sequence, e.occurred_at, ",
            "e.data, e.subject_kind, e.subject_id, o.payment_hash, s.founded_by, w.url FROM webhook_deliveries d ",
            "JOIN events e ON e.id = d.event_id JOIN webhook_endpoints w ON w.id = d.endpoint_id ",
            "LEFT JOIN orders o ON e.subject_kind = 'order' AND o.id = e.subject_id ",
            "LEFT JOIN subscriptions s ON e.subject_kind = 'subscription' AND s.id = e.subject_id ",
            $rest
        )
    };
}

/// Deliveries of a [`DeliveryFilter`].
macro_rules! list_deliveries {
    ($to:literal) => {
        concat!(
            select_deliveries!(""),
            "WHERE ",
            $to,
            " AND d.id < $2 AND ($3 IS NULL OR d.state = $3) AND ($4 IS NULL OR e.type = $4) ",
            "AND ($5 IS NULL OR e.subject_id = $5) ORDER BY d.id DESC LIMIT $6"
        )
    };
}

const DELIVERIES_TO_ALL: &str = list_deliveries!("($1 IS NULL OR d.endpoint_id = $1)");
/// By the index of its deliveries: owners ask, too, and wait for no others'.
const DELIVERIES_TO_ONE: &str = list_deliveries!("d.endpoint_id = $1");

impl Store {
    pub async fn delivery(&self, id: Uuid) -> Result<Option<Delivery>> {
        let query = sqlx::query(select_deliveries!("WHERE d.id = $1")).bind(id.to_string());
        query.optional_from(&self.reader).await?.as_ref().map(delivery_from).transpose()
    }

    /// Deliveries, the newest first: ids grow with time.
    pub async fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<Delivery>> {
        let sql = if filter.endpoint.is_some() { DELIVERIES_TO_ONE } else { DELIVERIES_TO_ALL };
        let rows = sqlx::query(sql)
            .bind(filter.endpoint.map(|id| id.to_string()))
            .bind(filter.before.unwrap_or(Uuid::max()).to_string())
            .bind(filter.state.as_deref())
            .bind(filter.event_type.as_deref())
            .bind(filter.subject.as_deref())
            .bind(i64::from(filter.at_most))
            .all_from(&self.reader)
            .await?;
        rows.iter().map(delivery_from).collect()
    }

    /// What was and is to be told of a subject's events, in the order in which it was entered.
    pub async fn deliveries_about(&self, subject: Subject<'_>) -> Result<Vec<Delivery>> {
        let rows = sqlx::query(select_deliveries!("WHERE e.subject_kind = $1 AND e.subject_id = $2 ORDER BY d.id"))
            .bind(subject.kind())
            .bind(subject.id())
            .all_from(&self.reader)
            .await?;
        rows.iter().map(delivery_from).collect()
    }

    /// Endpoints that something is due for: the operator's, then all others, of both the longest overdue first. `after` is
    /// the last one of the page before.
    pub async fn due_endpoints(
        &self,
        now: Timestamp,
        after: Option<&DueEndpoint>,
        at_most: usize,
    ) -> Result<Vec<DueEndpoint>> {
        let (turn, due, id) =
            after.map_or((-1, Timestamp::EPOCH, Uuid::nil()), |after| (turn(after), after.due, after.id));
        let rows = sqlx::query(
            "SELECT id, kind, account_id, order_id, url, n, due FROM (SELECT e.id AS id, kind, account_id, order_id, url, n, \
             due, CASE WHEN kind IN ('operator', 'configured') THEN 0 ELSE 1 END AS turn \
             FROM (SELECT endpoint_id, CAST(min(next_at) AS BIGINT) AS due, CAST(count(*) AS BIGINT) AS n FROM webhook_deliveries \
             WHERE state = 'pending' AND next_at <= $1 GROUP BY endpoint_id) d \
             JOIN webhook_endpoints e ON e.id = d.endpoint_id) all_due \
             WHERE turn > $2 OR (turn = $2 AND (due > $3 OR (due = $3 AND id > $4))) ORDER BY turn, due, id LIMIT $5",
        )
        .bind(now.millis())
        .bind(turn)
        .bind(due.millis())
        .bind(id.to_string())
        .bind(i64::try_from(at_most).unwrap_or(i64::MAX))
        .all_from(&self.reader)
        .await?;
        rows.iter().map(due_endpoint_from).collect()
    }

    /// By owner; whoever waits for nothing is not among them.
    pub async fn count_waiting_deliveries(&self) -> Result<Vec<WaitingDeliveries>> {
        let rows = sqlx::query(
            "SELECT CASE e.kind WHEN 'account' THEN 'account' WHEN 'callback' THEN 'buyer' ELSE 'operator' END AS owner, \
             CAST(count(*) AS BIGINT) AS n, CAST(min(d.created_at) AS BIGINT) AS since FROM webhook_deliveries d \
             JOIN webhook_endpoints e ON e.id = d.endpoint_id WHERE d.state = 'pending' GROUP BY 1",
        )
        .all_from(&self.reader)
        .await?;
        let counted = |row: &AnyRow| {
            let record = Record::new("webhook_deliveries", row);
            let (owner, count) = (record.text("owner")?, record.unsigned_u64("n")?);
            Ok(WaitingDeliveries { owner, count, since: record.time("since")? })
        };
        rows.iter().map(counted).collect()
    }
}

impl Tx {
    /// Takes some deliveries of an endpoint for an attempt each, which counts as lost after `lost_at`.
    pub async fn claim_deliveries(
        &mut self,
        endpoint: Uuid,
        now: Timestamp,
        lost_at: Timestamp,
        at_most: usize,
    ) -> Result<Vec<Uuid>> {
        // Without the second look at the predicate Postgres gives one row to two replicas.
        let rows = sqlx::query(
            "UPDATE webhook_deliveries SET next_at = $3, attempts = attempts + 1 WHERE id IN \
             (SELECT id FROM webhook_deliveries WHERE endpoint_id = $1 AND state = 'pending' AND next_at <= $2 \
             ORDER BY next_at, id LIMIT $4) AND state = 'pending' AND next_at <= $2 RETURNING id",
        )
        .bind(endpoint.to_string())
        .bind(now.millis())
        .bind(lost_at.millis())
        .bind(i64::try_from(at_most).unwrap_or(i64::MAX))
        .fetch_all(&mut *self.inner)
        .await?;
        rows.iter().map(|row| Record::new("webhook_deliveries", row).id("id")).collect()
    }

    /// Takes one delivery for an attempt; false where it is not due.
    pub async fn claim_delivery(&mut self, id: Uuid, now: Timestamp, lost_at: Timestamp) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE webhook_deliveries SET next_at = $3, attempts = attempts + 1 \
             WHERE id = $1 AND state = 'pending' AND next_at <= $2",
        )
        .bind(id.to_string())
        .bind(now.millis())
        .bind(lost_at.millis());
        Ok(done.execute(&mut *self.inner).await?.rows_affected() == 1)
    }

    /// Enters what became of an attempt; false where it was taken for lost meanwhile, or its endpoint was disabled.
    pub async fn finish_attempt(&mut self, attempted: &Attempted) -> Result<bool> {
        let (state, next_at) = match attempted.next {
            Next::Delivered => ("delivered", None),
            Next::Again(at) => ("pending", Some(at)),
            Next::Failed => ("failed", None),
        };
        let finished_at = if next_at.is_none() { Some(attempted.at.millis()) } else { None };
        let done = sqlx::query(
            "UPDATE webhook_deliveries SET state = $3, next_at = $4, outcome = $5, status = $6, attempted_at = $7, \
             finished_at = $8 WHERE id = $1 AND attempts = $2 AND state = 'pending'",
        )
        .bind(attempted.delivery.to_string())
        .bind(attempted.attempt)
        .bind(state)
        .bind(next_at.map(Timestamp::millis))
        .bind(attempted.outcome)
        .bind(attempted.status)
        .bind(attempted.at.millis())
        .bind(finished_at)
        .execute(&mut *self.inner)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Begins a delivery anew, whatever became of it; false where there is none. One that waits is due at once.
    pub async fn redeliver(&mut self, id: Uuid, now: Timestamp) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE webhook_deliveries SET state = 'pending', attempts = CASE WHEN state = 'pending' THEN attempts \
             ELSE 0 END, next_at = $2, finished_at = NULL WHERE id = $1",
        )
        .bind(id.to_string())
        .bind(now.millis());
        Ok(done.execute(&mut *self.inner).await?.rows_affected() == 1)
    }

    /// Begins all failed deliveries of an endpoint anew.
    pub async fn redeliver_failed(&mut self, endpoint: Uuid, now: Timestamp) -> Result<u64> {
        let done = sqlx::query(
            "UPDATE webhook_deliveries SET state = 'pending', attempts = 0, next_at = $2, finished_at = NULL \
             WHERE endpoint_id = $1 AND state = 'failed'",
        )
        .bind(endpoint.to_string())
        .bind(now.millis());
        Ok(done.execute(&mut *self.inner).await?.rows_affected())
    }

    /// Forgets deliveries that ended before then, at most so many at a time.
    pub async fn forget_deliveries(&mut self, before: Timestamp, at_most: u32) -> Result<u64> {
        let done = sqlx::query(
            "DELETE FROM webhook_deliveries WHERE id IN (SELECT id FROM webhook_deliveries \
             WHERE state <> 'pending' AND finished_at < $1 ORDER BY finished_at LIMIT $2)",
        )
        .bind(before.millis())
        .bind(i64::from(at_most));
        Ok(done.execute(&mut *self.inner).await?.rows_affected())
    }
}

/// The operator's come first.
const fn turn(endpoint: &DueEndpoint) -> i64 {
    if endpoint.owner.is_operator() { 0 } else { 1 }
}

fn due_endpoint_from(row: &AnyRow) -> Result<DueEndpoint> {
    let record = Record::new("webhook_endpoints", row);
    Ok(DueEndpoint {
        id: record.id("id")?,
        owner: owner_from(&record)?,
        url: record.parsed("url", WebhookUrl::parse(&record.text("url")?))?,
        count: record.unsigned_u64("n")?,
        due: record.time("due")?,
    })
}

fn delivery_from(row: &AnyRow) -> Result<Delivery> {
    let record = Record::new("webhook_deliveries", row);
    Ok(Delivery {
        id: record.id("delivery_id")?,
        endpoint: record.id("endpoint_id")?,
        host: record.parsed("url", WebhookUrl::parse(&record.text("url")?))?.host().to_owned(),
        event: event_from(row)?,
        subject: ToldSubject {
            kind: record.text("subject_kind")?,
            id: record.text("subject_id")?,
            payment_hash: record.optional_text("payment_hash")?,
            founded_by: record.optional_text("founded_by")?,
        },
        state: record.text("delivery_state")?,
        attempts: record.integer("attempts")?,
        next_at: record.optional_time("next_at")?,
        outcome: record.optional_text("outcome")?,
        status: record.optional_integer("status")?,
        attempted_at: record.optional_time("attempted_at")?,
        created_at: record.time("created_at")?,
        finished_at: record.optional_time("finished_at")?,
    })
}
