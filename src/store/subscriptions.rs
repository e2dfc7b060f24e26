//! Subscriptions and the grants that their ends are folded from.

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::connections::Ask as _;
use super::row::Record;
use super::{Result, Store, Tx};
use crate::domain::Invalid;
use crate::domain::server::ServerId;
use crate::domain::subscription::{Cause, Grant, Span, Standing, Subscription};
use crate::domain::time::Timestamp;

/// Everything that [`subscription_from`] reads.
macro_rules! subscription_columns {
    () => {
        "id, founded_by, account_id, server_id, ends_at, standing, suspended_at, created_at, revision"
    };
}

macro_rules! select_subscriptions {
    ($rest:literal) => {
        concat!("SELECT ", $crate::store::subscriptions::subscription_columns!(), " FROM subscriptions ", $rest)
    };
}

pub(super) use {select_subscriptions, subscription_columns};

const GRANTS: &str = "SELECT id, order_id, months, days, granted_at FROM grants \
     WHERE subscription_id = $1 AND revoked_at IS NULL AND NOT EXISTS \
         (SELECT disputes.id FROM disputes WHERE disputes.order_id = grants.order_id AND closed_at IS NULL) \
     ORDER BY sequence";

impl Store {
    pub async fn subscription(&self, id: Uuid) -> Result<Option<Subscription>> {
        let query = sqlx::query(select_subscriptions!("WHERE id = $1")).bind(id.to_string());
        query.optional_from(&self.reader).await?.as_ref().map(subscription_from).transpose()
    }

    /// Grants that count, in the order in which they were made, each with the order that caused it; none of an operator's.
    pub async fn grants(&self, subscription: Uuid) -> Result<Vec<(Option<Uuid>, Grant)>> {
        let rows = sqlx::query(GRANTS).bind(subscription.to_string()).all_from(&self.reader).await?;
        rows.iter().map(grant_from).collect()
    }

    /// Held subscriptions that ended before `deadline`; none that a dispute may still give back its time.
    pub async fn ended_subscriptions(&self, deadline: Timestamp, at_most: u32) -> Result<Vec<Subscription>> {
        let rows = sqlx::query(select_subscriptions!(
            "WHERE standing = 'held' AND ends_at < $1 AND NOT EXISTS \
             (SELECT disputes.id FROM disputes JOIN grants ON grants.order_id = disputes.order_id \
             WHERE closed_at IS NULL AND grants.subscription_id = subscriptions.id AND revoked_at IS NULL) \
             ORDER BY ends_at LIMIT $2"
        ))
        .bind(deadline.millis())
        .bind(i64::from(at_most))
        .all_from(&self.reader)
        .await?;
        rows.iter().map(subscription_from).collect()
    }
}

impl Tx {
    /// The subscription with its row locked until the transaction ends.
    pub async fn lock_subscription(&mut self, id: Uuid) -> Result<Option<Subscription>> {
        let lock =
            concat!("UPDATE subscriptions SET revision = revision WHERE id = $1 RETURNING ", subscription_columns!());
        let row = sqlx::query(lock).bind(id.to_string()).fetch_optional(&mut *self.inner).await?;
        row.as_ref().map(subscription_from).transpose()
    }

    pub async fn insert_subscription(&mut self, subscription: &Subscription) -> Result<()> {
        sqlx::query(
            "INSERT INTO subscriptions (id, founded_by, account_id, server_id, ends_at, standing, created_at, revision) \
             VALUES ($1, $2, $3, $4, $5, 'held', $6, 0)",
        )
        .bind(subscription.id.to_string())
        .bind(subscription.founded_by.to_string())
        .bind(subscription.account.map(|id| id.to_string()))
        .bind(subscription.server_id.as_str())
        .bind(subscription.ends_at.millis())
        .bind(subscription.created_at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    pub async fn set_end(&mut self, id: Uuid, ends_at: Timestamp, standing: Standing) -> Result<()> {
        sqlx::query("UPDATE subscriptions SET ends_at = $2, standing = $3, revision = revision + 1 WHERE id = $1")
            .bind(id.to_string())
            .bind(ends_at.millis())
            .bind(standing_name(standing))
            .execute(&mut *self.inner)
            .await?;
        // How long a peer may be used is part of what its server is to have.
        self.change_peer(id).await
    }

    pub async fn grants(&mut self, subscription: Uuid) -> Result<Vec<(Option<Uuid>, Grant)>> {
        let rows = sqlx::query(GRANTS).bind(subscription.to_string()).fetch_all(&mut *self.inner).await?;
        rows.iter().map(grant_from).collect()
    }

    /// Adds a grant at the end of the subscription's list; the subscription's row must be locked or new.
    pub async fn insert_grant(&mut self, id: Uuid, subscription: Uuid, cause: Cause, grant: Grant) -> Result<()> {
        let (kind, order, account) = match cause {
            Cause::Purchase(order) => ("purchase", Some(order), None),
            Cause::Renewal(order) => ("renewal", Some(order), None),
            Cause::Referral { order, account } => ("referral", Some(order), Some(account)),
            Cause::Operator => ("operator", None, None),
        };
        let (months, days) = match grant.span {
            Span::Months(months) => (Some(i64::from(months)), None),
            Span::Days(days) => (None, Some(i64::from(days))),
        };
        sqlx::query(
            "INSERT INTO grants (id, order_id, kind, subscription_id, sequence, months, days, granted_at, account_id) \
             SELECT $1, $2, $3, $4, CAST(count(*) AS BIGINT), $5, $6, $7, $8 FROM grants WHERE subscription_id = $4",
        )
        .bind(id.to_string())
        .bind(order.map(|id| id.to_string()))
        .bind(kind)
        .bind(subscription.to_string())
        .bind(months)
        .bind(days)
        .bind(grant.granted_at.millis())
        .bind(account.map(|id| id.to_string()))
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }
}

impl Tx {
    /// Locks what an order granted and did not take back; returns the subscriptions that it was granted to, by id.
    pub async fn lock_grants_of(&mut self, order: Uuid) -> Result<Vec<Uuid>> {
        let rows = sqlx::query(
            "UPDATE grants SET granted_at = granted_at WHERE order_id = $1 AND revoked_at IS NULL \
             RETURNING subscription_id",
        )
        .bind(order.to_string())
        .fetch_all(&mut *self.inner)
        .await?;
        let ids = rows.iter().map(|row| Record::new("grants", row).optional_id("subscription_id"));
        let mut ids: Vec<_> = ids.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Whether something that a subscription was granted is under an open dispute.
    pub async fn is_under_dispute(&mut self, subscription: Uuid) -> Result<bool> {
        let row = sqlx::query(
            "SELECT disputes.id AS id FROM disputes JOIN grants ON grants.order_id = disputes.order_id \
             WHERE closed_at IS NULL AND grants.subscription_id = $1 AND revoked_at IS NULL LIMIT 1",
        )
        .bind(subscription.to_string())
        .fetch_optional(&mut *self.inner)
        .await?;
        Ok(row.is_some())
    }

    /// Takes back what an order granted, also what is banked; its grants must be locked, and what they count for.
    pub async fn revoke_grants(&mut self, order: Uuid, now: Timestamp) -> Result<()> {
        sqlx::query("UPDATE grants SET revoked_at = $2 WHERE order_id = $1 AND revoked_at IS NULL")
            .bind(order.to_string())
            .bind(now.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }
}

pub(super) fn subscription_from(row: &AnyRow) -> Result<Subscription> {
    let record = Record::new("subscriptions", row);
    Ok(Subscription {
        id: record.id("id")?,
        founded_by: record.id("founded_by")?,
        account: record.optional_id("account_id")?,
        server_id: record.parsed("server_id", ServerId::parse(&record.text("server_id")?))?,
        ends_at: record.time("ends_at")?,
        standing: standing_from(&record)?,
        suspended_at: record.optional_time("suspended_at")?,
        created_at: record.time("created_at")?,
        revision: record.integer("revision")?,
    })
}

pub(super) fn standing_from(record: &Record<'_>) -> Result<Standing> {
    match record.text("standing")?.as_str() {
        "held" => Ok(Standing::Held),
        "released" => Ok(Standing::Released),
        "revoked" => Ok(Standing::Revoked),
        other => Err(record.corrupt("standing", Invalid::new(format!("{other} is not a standing")))),
    }
}

fn grant_from(row: &AnyRow) -> Result<(Option<Uuid>, Grant)> {
    let record = Record::new("grants", row);
    let span = match record.optional_integer("days")? {
        None => Span::Months(record.unsigned_u32("months")?),
        Some(_) => Span::Days(record.unsigned_u32("days")?),
    };
    Ok((record.optional_id("order_id")?, Grant { span, granted_at: record.time("granted_at")? }))
}

pub(super) const fn standing_name(standing: Standing) -> &'static str {
    match standing {
        Standing::Held => "held",
        Standing::Released => "released",
        Standing::Revoked => "revoked",
    }
}
