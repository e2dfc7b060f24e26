//! Webhook endpoints and their sealed secrets.

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::connections::Ask as _;
use super::row::Record;
use super::{Result, Store, Tx};
use crate::domain::Invalid;
use crate::domain::instance_key::KeyId;
use crate::domain::time::Timestamp;
use crate::domain::webhook::{Disabled, Endpoint, EventFilter, Owner, WebhookUrl};

/// Everything that [`endpoint_from`] reads.
macro_rules! select_endpoints {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, account_id, order_id, url, events, rotating_until, created_at, failing_since, ",
            "disabled_at, disabled_because FROM webhook_endpoints ",
            $rest
        )
    };
}

/// A secret as it is stored.
#[derive(Debug, Clone)]
pub struct SealedSecret {
    pub key_id: KeyId,
    pub sealed: Vec<u8>,
}

/// What signs for an endpoint; of a callback, none is stored.
#[derive(Debug, Clone)]
pub struct SealedSecrets {
    pub current: Option<SealedSecret>,
    /// The one before, and until when it signs besides.
    pub old: Option<(SealedSecret, Timestamp)>,
}

/// Endpoints that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointCount {
    /// `operator` or `account`.
    pub owner: String,
    /// Why they are disabled, or `no`.
    pub disabled: String,
    pub count: u64,
}

impl Store {
    /// Endpoints of one owner's kind, the oldest first; all but callbacks where none is named.
    pub async fn endpoints(&self, of: Option<Owner>) -> Result<Vec<Endpoint>> {
        let account = match of {
            Some(Owner::Account(account)) => Some(account.to_string()),
            _ => None,
        };
        let rows = sqlx::query(select_endpoints!(
            "WHERE kind <> 'callback' AND ($1 IS NULL OR kind = $1) AND ($2 IS NULL OR account_id = $2) ORDER BY id"
        ))
        .bind(of.map(Owner::kind))
        .bind(account)
        .all_from(&self.reader)
        .await?;
        rows.iter().map(endpoint_from).collect()
    }

    pub async fn endpoint(&self, id: Uuid) -> Result<Option<Endpoint>> {
        let query = sqlx::query(select_endpoints!("WHERE id = $1")).bind(id.to_string());
        query.optional_from(&self.reader).await?.as_ref().map(endpoint_from).transpose()
    }

    pub async fn endpoint_secrets(&self, id: Uuid) -> Result<Option<SealedSecrets>> {
        let row = sqlx::query(
            "SELECT id, key_id, sealed_secret, old_key_id, old_sealed_secret, rotating_until FROM webhook_endpoints \
             WHERE id = $1",
        )
        .bind(id.to_string())
        .optional_from(&self.reader)
        .await?;
        row.as_ref().map(secrets_from).transpose()
    }

    /// How many endpoints there are but callbacks, by whose they are and why they are disabled.
    pub async fn count_endpoints(&self) -> Result<Vec<EndpointCount>> {
        let rows = sqlx::query(
            "SELECT CASE WHEN kind = 'account' THEN 'account' ELSE 'operator' END AS owner, \
             coalesce(disabled_because, 'no') AS disabled, CAST(count(*) AS BIGINT) AS n FROM webhook_endpoints \
             WHERE kind <> 'callback' GROUP BY 1, 2",
        )
        .all_from(&self.reader)
        .await?;
        let counted = |row: &AnyRow| {
            let record = Record::new("webhook_endpoints", row);
            let (owner, disabled) = (record.text("owner")?, record.text("disabled")?);
            Ok(EndpointCount { owner, disabled, count: record.unsigned_u64("n")? })
        };
        rows.iter().map(counted).collect()
    }
}

impl Tx {
    pub async fn insert_endpoint(&mut self, endpoint: &Endpoint, secret: Option<&SealedSecret>) -> Result<()> {
        let (account, order) = match endpoint.owner {
            Owner::Account(account) => (Some(account.to_string()), None),
            Owner::Order(order) => (None, Some(order.to_string())),
            Owner::Operator | Owner::Configuration => (None, None),
        };
        sqlx::query(
            "INSERT INTO webhook_endpoints (id, kind, account_id, order_id, url, events, key_id, sealed_secret, \
             created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(endpoint.id.to_string())
        .bind(endpoint.owner.kind())
        .bind(account)
        .bind(order)
        .bind(endpoint.url.as_str())
        .bind(endpoint.events.to_string())
        .bind(secret.map(|secret| secret.key_id.0))
        .bind(secret.map(|secret| secret.sealed.clone()))
        .bind(endpoint.created_at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// How many endpoints an owner has. On Postgres others may count at the same moment: lock what they share first.
    pub async fn count_endpoints_of(&mut self, owner: Owner) -> Result<i64> {
        let account = match owner {
            Owner::Account(account) => Some(account.to_string()),
            _ => None,
        };
        let row = sqlx::query(
            "SELECT CAST(count(*) AS BIGINT) AS n FROM webhook_endpoints \
             WHERE kind = $1 AND ($2 IS NULL OR account_id = $2)",
        )
        .bind(owner.kind())
        .bind(account)
        .fetch_one(&mut *self.inner)
        .await?;
        Record::new("webhook_endpoints", &row).integer("n")
    }

    /// The endpoint with its row locked until the transaction ends.
    pub async fn lock_endpoint(&mut self, id: Uuid) -> Result<Option<Endpoint>> {
        sqlx::query("UPDATE webhook_endpoints SET url = url WHERE id = $1")
            .bind(id.to_string())
            .execute(&mut *self.inner)
            .await?;
        let query = sqlx::query(select_endpoints!("WHERE id = $1")).bind(id.to_string());
        query.fetch_optional(&mut *self.inner).await?.as_ref().map(endpoint_from).transpose()
    }

    /// Gives an endpoint another secret; the present one signs besides until then.
    pub async fn rotate_secret(&mut self, id: Uuid, new: &SealedSecret, until: Timestamp) -> Result<()> {
        sqlx::query(
            "UPDATE webhook_endpoints SET old_key_id = key_id, old_sealed_secret = sealed_secret, rotating_until = $4, \
             key_id = $2, sealed_secret = $3 WHERE id = $1 AND sealed_secret IS NOT NULL",
        )
        .bind(id.to_string())
        .bind(new.key_id.0)
        .bind(new.sealed.clone())
        .bind(until.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    pub async fn set_endpoint_events(&mut self, id: Uuid, events: &EventFilter) -> Result<()> {
        sqlx::query("UPDATE webhook_endpoints SET events = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(events.to_string())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Tells an endpoint elsewhere, or of other events; how often another URL failed does not count for this one.
    pub async fn readdress_endpoint(&mut self, id: Uuid, url: &WebhookUrl, events: &EventFilter) -> Result<()> {
        sqlx::query(
            "UPDATE webhook_endpoints SET failing_since = CASE WHEN url = $2 THEN failing_since END, url = $2, \
             events = $3 WHERE id = $1",
        )
        .bind(id.to_string())
        .bind(url.as_str())
        .bind(events.to_string())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Tells an endpoint nothing any more; false where it was so already, or where it has another URL by now. What waited
    /// for it has failed.
    pub async fn disable_endpoint(&mut self, endpoint: &Endpoint, because: Disabled, now: Timestamp) -> Result<bool> {
        let id = endpoint.id;
        let done = sqlx::query(
            "UPDATE webhook_endpoints SET disabled_at = $2, disabled_because = $3 \
             WHERE id = $1 AND url = $4 AND disabled_at IS NULL",
        )
        .bind(id.to_string())
        .bind(now.millis())
        .bind(because.name())
        .bind(endpoint.url.as_str())
        .execute(&mut *self.inner)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query(
            "UPDATE webhook_deliveries SET state = 'failed', next_at = NULL, finished_at = $2, \
             outcome = coalesce(outcome, 'disabled') WHERE endpoint_id = $1 AND state = 'pending'",
        )
        .bind(id.to_string())
        .bind(now.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(true)
    }

    /// Tells an endpoint of events again; false where it was so already.
    pub async fn enable_endpoint(&mut self, id: Uuid) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE webhook_endpoints SET disabled_at = NULL, disabled_because = NULL, failing_since = NULL \
             WHERE id = $1 AND disabled_at IS NOT NULL",
        )
        .bind(id.to_string());
        Ok(done.execute(&mut *self.inner).await?.rows_affected() == 1)
    }

    /// Removes an endpoint with all of its deliveries.
    pub async fn remove_endpoint(&mut self, id: Uuid) -> Result<()> {
        for sql in
            ["DELETE FROM webhook_deliveries WHERE endpoint_id = $1", "DELETE FROM webhook_endpoints WHERE id = $1"]
        {
            sqlx::query(sql).bind(id.to_string()).execute(&mut *self.inner).await?;
        }
        Ok(())
    }

    /// Notes a success or a failure; the first of nothing but failures is what counts. A failure locks the row until the
    /// transaction ends: the endpoint may be disabled next, which locks its deliveries, and everybody begins with it.
    pub async fn note_attempt(&mut self, endpoint: Uuid, failed_at: Option<Timestamp>) -> Result<()> {
        let sql = match failed_at {
            Some(_) => "UPDATE webhook_endpoints SET failing_since = coalesce(failing_since, $2) WHERE id = $1",
            None => "UPDATE webhook_endpoints SET failing_since = $2 WHERE id = $1 AND failing_since IS NOT NULL",
        };
        sqlx::query(sql)
            .bind(endpoint.to_string())
            .bind(failed_at.map(Timestamp::millis))
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Forgets callbacks that were made before then and wait for nothing; at most so many at a time.
    pub async fn forget_callbacks(&mut self, before: Timestamp, at_most: u32) -> Result<u64> {
        let rows = sqlx::query(
            "SELECT id FROM webhook_endpoints WHERE kind = 'callback' AND created_at < $1 AND NOT EXISTS \
             (SELECT 1 FROM webhook_deliveries WHERE endpoint_id = webhook_endpoints.id) ORDER BY created_at LIMIT $2",
        )
        .bind(before.millis())
        .bind(i64::from(at_most))
        .fetch_all(&mut *self.inner)
        .await?;
        for row in &rows {
            self.remove_endpoint(Record::new("webhook_endpoints", row).id("id")?).await?;
        }
        Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
    }

    pub async fn endpoint_secrets(&mut self, id: Uuid) -> Result<Option<SealedSecrets>> {
        let row = sqlx::query(
            "SELECT id, key_id, sealed_secret, old_key_id, old_sealed_secret, rotating_until FROM webhook_endpoints \
             WHERE id = $1",
        )
        .bind(id.to_string())
        .fetch_optional(&mut *self.inner)
        .await?;
        row.as_ref().map(secrets_from).transpose()
    }
}

pub(super) fn owner_from(record: &Record<'_>) -> Result<Owner> {
    match (record.text("kind")?.as_str(), record.optional_id("account_id")?, record.optional_id("order_id")?) {
        ("operator", None, None) => Ok(Owner::Operator),
        ("configured", None, None) => Ok(Owner::Configuration),
        ("account", Some(account), None) => Ok(Owner::Account(account)),
        ("callback", None, Some(order)) => Ok(Owner::Order(order)),
        (other, ..) => Err(record.corrupt("kind", Invalid::new(format!("{other} is not known here")))),
    }
}

pub(super) fn endpoint_from(row: &AnyRow) -> Result<Endpoint> {
    let record = Record::new("webhook_endpoints", row);
    let because = record.optional_text("disabled_because")?.map(|because| Disabled::parse(&because)).transpose();
    let disabled = record.optional_time("disabled_at")?.zip(record.parsed("disabled_because", because)?);
    Ok(Endpoint {
        id: record.id("id")?,
        owner: owner_from(&record)?,
        url: record.parsed("url", WebhookUrl::parse(&record.text("url")?))?,
        events: EventFilter::from_stored(&record.text("events")?),
        created_at: record.time("created_at")?,
        failing_since: record.optional_time("failing_since")?,
        rotating_until: record.optional_time("rotating_until")?,
        disabled,
    })
}

fn secrets_from(row: &AnyRow) -> Result<SealedSecrets> {
    let record = Record::new("webhook_endpoints", row);
    let current = sealed(&record, "key_id", "sealed_secret")?;
    let old = sealed(&record, "old_key_id", "old_sealed_secret")?;
    Ok(SealedSecrets { current, old: old.zip(record.optional_time("rotating_until")?) })
}

fn sealed(record: &Record<'_>, key_id: &'static str, sealed: &'static str) -> Result<Option<SealedSecret>> {
    let (Some(key_id), Some(sealed)) = (record.optional_integer(key_id)?, record.optional_bytes(sealed)?) else {
        return Ok(None);
    };
    Ok(Some(SealedSecret { key_id: KeyId(key_id), sealed }))
}
