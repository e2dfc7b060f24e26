//! Subscriptions as an operator asks for them.

use uuid::Uuid;

use super::connections::Ask as _;
use super::row::Record;
use super::subscriptions::{select_subscriptions, standing_name, subscription_from};
use super::{Result, Store};
use crate::domain::keys::PublicKey;
use crate::domain::server::ServerId;
use crate::domain::subscription::{Holds, Stage, Standing, Subscription};
use crate::domain::time::Timestamp;

/// Which subscriptions to list.
#[derive(Debug, Clone, Default)]
pub struct SubscriptionFilter {
    pub server: Option<ServerId>,
    pub stage: Option<Stage>,
    pub ends_before: Option<Timestamp>,
    /// The last subscription of the page before.
    pub after: Option<Uuid>,
    pub at_most: u32,
}

/// A key that is or was a subscription's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHeld {
    pub public_key: PublicKey,
    pub bound_at: Timestamp,
    pub released_at: Option<Timestamp>,
}

/// A stage in the words of the table's columns.
struct Columns {
    standing: Option<&'static str>,
    /// 0 no, 1 yes, -1 either.
    suspended: i64,
    ends_from: i64,
    ends_before: i64,
}

impl Columns {
    fn of(stage: Option<Stage>, now: Timestamp, holds: Holds) -> Self {
        let now = now.millis();
        let traffic_ended = now.saturating_sub(holds.grace_millis);
        let held = |suspended, ends_from: i64, ends_to: i64| {
            // Both times belong to the later stage.
            (Some(Standing::Held), suspended, ends_from.saturating_add(1), ends_to.saturating_add(1))
        };
        let any = (i64::MIN, i64::MAX);
        let (standing, suspended, ends_from, ends_before) = match stage {
            None => (None, -1, any.0, any.1),
            Some(Stage::Active) => held(0, now, any.1),
            Some(Stage::Lapsed) => held(0, traffic_ended, now),
            Some(Stage::Held) => held(0, any.0, traffic_ended),
            Some(Stage::Suspended) => held(1, any.0, any.1),
            Some(Stage::Released) => (Some(Standing::Released), -1, any.0, any.1),
            Some(Stage::Revoked) => (Some(Standing::Revoked), -1, any.0, any.1),
        };
        Self { standing: standing.map(standing_name), suspended, ends_from, ends_before }
    }
}

impl Store {
    /// Subscriptions, the newest first: ids grow with time.
    pub async fn subscriptions(
        &self,
        filter: &SubscriptionFilter,
        now: Timestamp,
        holds: Holds,
    ) -> Result<Vec<Subscription>> {
        let columns = Columns::of(filter.stage, now, holds);
        let ends_before = filter.ends_before.map_or(i64::MAX, Timestamp::millis).min(columns.ends_before);
        let rows = sqlx::query(select_subscriptions!(
            "WHERE ($1 IS NULL OR server_id = $1) AND ($2 IS NULL OR standing = $2) \
             AND ($3 = -1 OR CASE WHEN suspended_at IS NULL THEN 0 ELSE 1 END = $3) \
             AND ends_at >= $4 AND ends_at < $5 AND id < $6 ORDER BY id DESC LIMIT $7"
        ))
        .bind(filter.server.as_ref().map(ServerId::as_str))
        .bind(columns.standing)
        .bind(columns.suspended)
        .bind(columns.ends_from)
        .bind(ends_before)
        .bind(filter.after.unwrap_or(Uuid::max()).to_string())
        .bind(i64::from(filter.at_most))
        .all_from(&self.reader)
        .await?;
        rows.iter().map(subscription_from).collect()
    }

    /// An account's subscriptions, the newest first; `before` is the last one of the page before.
    pub async fn subscriptions_of(
        &self,
        account: Uuid,
        before: Option<Uuid>,
        at_most: u32,
    ) -> Result<Vec<Subscription>> {
        let rows = sqlx::query(select_subscriptions!("WHERE account_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"))
            .bind(account.to_string())
            .bind(before.unwrap_or(Uuid::max()).to_string())
            .bind(i64::from(at_most))
            .all_from(&self.reader)
            .await?;
        rows.iter().map(subscription_from).collect()
    }

    /// The keys that are or were a subscription's, in the order in which they became so.
    pub async fn keys_of(&self, subscription: Uuid) -> Result<Vec<KeyHeld>> {
        let rows = sqlx::query(
            "SELECT public_key AS id, public_key, bound_at, released_at FROM subscription_keys \
             WHERE subscription_id = $1 ORDER BY bound_at",
        )
        .bind(subscription.to_string())
        .all_from(&self.reader)
        .await?;
        let keys = rows.iter().map(|row| {
            let record = Record::new("subscription_keys", row);
            Ok(KeyHeld {
                public_key: record.parsed("public_key", PublicKey::parse(&record.text("public_key")?))?,
                bound_at: record.time("bound_at")?,
                released_at: record.optional_time("released_at")?,
            })
        });
        keys.collect()
    }
}
