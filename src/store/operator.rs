//! What only an operator changes of servers and subscriptions.

use uuid::Uuid;

use super::orders::{order_from, select_orders};
use super::subscriptions::standing_name;
use super::{Result, Tx};
use crate::domain::order::Order;
use crate::domain::server::ServerId;
use crate::domain::subscription::Standing;
use crate::domain::time::Timestamp;

impl Tx {
    /// Sells nothing new on a server, or does so again; false where it was so already, or there is no such server.
    pub async fn set_drained(&mut self, server: &ServerId, since: Option<Timestamp>) -> Result<bool> {
        let sql = match since {
            Some(_) => "UPDATE servers SET drained_at = $2 WHERE id = $1 AND drained_at IS NULL",
            None => "UPDATE servers SET drained_at = $2 WHERE id = $1 AND drained_at IS NOT NULL",
        };
        let done = sqlx::query(sql).bind(server.as_str()).bind(since.map(Timestamp::millis));
        Ok(done.execute(&mut *self.inner).await?.rows_affected() == 1)
    }

    /// Lets a server's agent take many peers away at once until then; false where there is no such server.
    ///
    /// It asks for what changed and would be told nothing, or a delta, which has no such word. So the revision is raised,
    /// and nothing before it is told as a delta any more.
    pub async fn allow_removals(&mut self, server: &ServerId, until: Timestamp) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE servers SET removals_allowed_until = $2, peer_revision = peer_revision + 1, \
             pruned_revision = peer_revision + 1 WHERE id = $1",
        )
        .bind(server.as_str())
        .bind(until.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Lets no traffic of a subscription's pass, or lets it pass again.
    pub async fn set_suspended(&mut self, subscription: Uuid, since: Option<Timestamp>) -> Result<()> {
        sqlx::query("UPDATE subscriptions SET suspended_at = $2, revision = revision + 1 WHERE id = $1")
            .bind(subscription.to_string())
            .bind(since.map(Timestamp::millis))
            .execute(&mut *self.inner)
            .await?;
        self.change_peer(subscription).await
    }

    pub async fn set_standing(&mut self, subscription: Uuid, standing: Standing) -> Result<()> {
        sqlx::query("UPDATE subscriptions SET standing = $2, revision = revision + 1 WHERE id = $1")
            .bind(subscription.to_string())
            .bind(standing_name(standing))
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Orders with an open invoice that would extend a subscription: its renewals, and new ones with a key of it.
    pub async fn orders_to_extend(&mut self, subscription: Uuid) -> Result<Vec<Order>> {
        let rows = sqlx::query(select_orders!(
            "WHERE state IN ('creating', 'pending') AND state = 'pending' AND (target_id = $1 OR public_key IN \
             (SELECT public_key FROM subscription_keys WHERE subscription_id = $1)) ORDER BY id"
        ))
        .bind(subscription.to_string())
        .fetch_all(&mut *self.inner)
        .await?;
        rows.iter().map(order_from).collect()
    }
}
