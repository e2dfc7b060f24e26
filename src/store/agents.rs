//! What agents say about their servers: who speaks for one, what is installed, what was used.

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::connections::Ask as _;
use super::row::{Record, to_bigint};
use super::{Result, Store, Tx};
use crate::domain::Invalid;
use crate::domain::desired::Usage;
use crate::domain::keys::PublicKey;
use crate::domain::server::{Server, ServerId};
use crate::domain::time::Timestamp;
use crate::domain::trouble::Trouble;

/// A server as its agent and its desired peers are known.
#[derive(Debug, Clone)]
pub struct ServerState {
    pub id: ServerId,
    /// Which life of the database the revisions belong to.
    pub epoch: Uuid,
    pub epoch_began_at: Timestamp,
    /// Of the desired peers.
    pub revision: i64,
    /// A delta from an older revision would lack removals.
    pub pruned_revision: i64,
    pub applied_revision: i64,
    pub public_key: Option<PublicKey>,
    pub agent_id: Option<Uuid>,
    pub agent_seen_at: Option<Timestamp>,
    pub removals_allowed_until: Option<Timestamp>,
    /// What its agent keeps although it is not desired any more.
    pub withheld_peers: i64,
    /// What its agent said last that it cannot do.
    pub troubles: Vec<Trouble>,
    pub drained_at: Option<Timestamp>,
}

impl ServerState {
    /// The key of this server: as the configuration names it, or as its agent has reported it.
    pub fn key_of(&self, server: &Server) -> Option<PublicKey> {
        server.public_key.or(self.public_key)
    }

    /// Changes of its peers that its agent has not applied.
    pub const fn behind(&self) -> i64 {
        self.revision - self.applied_revision
    }
}

/// What a subscription has used in a month.
#[derive(Debug, Clone, Copy)]
pub struct MonthUsed {
    pub subscription: Uuid,
    pub bytes: i64,
    /// So much of its month was told to its owner: 0, 70 or 100 in a hundred.
    pub told_percent: i64,
    /// Nobody had seen its key in use before.
    pub is_first_handshake: bool,
}

/// What a subscription has used, as far as its server has reported.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// In one month, inner, both ways, less what resets took off.
    pub bytes: i64,
    /// Bandwidth resets that settled in that month.
    pub resets: u32,
    pub reported_at: Option<Timestamp>,
    /// The last handshake with its peer, rounded down to the minute.
    pub handshake_at: Option<Timestamp>,
}

/// Who speaks for a server, and what it has installed.
#[derive(Debug, Clone)]
pub struct AgentWord {
    pub agent_id: Uuid,
    pub public_key: PublicKey,
    /// -1 before anything is installed.
    pub applied_revision: i64,
    /// How many peers it keeps although they are not desired any more.
    pub withheld_peers: i64,
    pub troubles: Vec<Trouble>,
    pub at: Timestamp,
}

const STATES: &str = "SELECT servers.id AS id, epoch, began_at, peer_revision, pruned_revision, applied_revision, public_key, \
     agent_id, agent_seen_at, removals_allowed_until, withheld_peers, agent_troubles, drained_at FROM servers, database_epoch ORDER BY servers.id";

impl Store {
    pub async fn server_states(&self) -> Result<Vec<ServerState>> {
        let rows = sqlx::query(STATES).all_from(&self.reader).await?;
        rows.iter().map(state_from).collect()
    }

    /// What a subscription used in a month.
    pub async fn used(&self, subscription: Uuid, month: &str) -> Result<Used> {
        let row = sqlx::query(
            "SELECT subscriptions.id AS id, agent_seen_at, handshake_at, coalesce(bytes, 0) AS bytes, \
             coalesce(reset_bytes, 0) AS reset_bytes, coalesce(resets, 0) AS resets FROM subscriptions \
             JOIN servers ON servers.id = subscriptions.server_id \
             LEFT JOIN peers ON holder_kind = 'subscription' AND holder_id = subscriptions.id AND superseded_at IS NULL \
             LEFT JOIN monthly_usage ON subscription_id = subscriptions.id AND month = $2 WHERE subscriptions.id = $1",
        )
        .bind(subscription.to_string())
        .bind(month.to_owned())
        .one_from(&self.reader)
        .await?;
        let record = Record::new("subscriptions", &row);
        Ok(Used {
            bytes: counted_from(&record)?,
            resets: record.unsigned_u32("resets")?,
            reported_at: record.optional_time("agent_seen_at")?,
            handshake_at: record.optional_time("handshake_at")?,
        })
    }
}

impl Tx {
    /// Gives the database its epoch, unless it has one.
    pub async fn ensure_epoch(&mut self, epoch: Uuid, now: Timestamp) -> Result<()> {
        sqlx::query("INSERT INTO database_epoch (id, epoch, began_at) VALUES (1, $1, $2) ON CONFLICT (id) DO NOTHING")
            .bind(epoch.to_string())
            .bind(now.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// A new life of the database: nothing that an agent has applied counts as applied any more, and what the operator
    /// allowed in another life is not allowed.
    pub async fn renew_epoch(&mut self, epoch: Uuid, now: Timestamp) -> Result<()> {
        sqlx::query("UPDATE database_epoch SET epoch = $1, began_at = $2 WHERE id = 1")
            .bind(epoch.to_string())
            .bind(now.millis())
            .execute(&mut *self.inner)
            .await?;
        // One after the other in this order, as everybody locks them.
        let servers = sqlx::query("SELECT id FROM servers ORDER BY id").fetch_all(&mut *self.inner).await?;
        for server in &servers {
            sqlx::query("UPDATE servers SET applied_revision = -1, removals_allowed_until = NULL WHERE id = $1")
                .bind(Record::new("servers", server).text("id")?)
                .execute(&mut *self.inner)
                .await?;
        }
        Ok(())
    }

    /// Writes down who speaks for a server; what it installed never goes back within one epoch. False where another
    /// epoch began since `known` was read, or somebody else speaks for it: then the word is of another time.
    pub async fn hear_agent(&mut self, known: &ServerState, word: &AgentWord) -> Result<bool> {
        let heard = sqlx::query(
            "UPDATE servers SET agent_id = $2, public_key = $3, agent_seen_at = $4, withheld_peers = $6, agent_troubles = $7, \
             applied_revision = CASE WHEN applied_revision < $5 THEN $5 ELSE applied_revision END \
             WHERE id = $1 AND coalesce(agent_id, '') = $8 AND EXISTS (SELECT 1 FROM database_epoch WHERE epoch = $9)",
        )
        .bind(known.id.as_str())
        .bind(word.agent_id.to_string())
        .bind(word.public_key.to_string())
        .bind(word.at.millis())
        .bind(word.applied_revision)
        .bind(word.withheld_peers)
        .bind(serde_json::to_string(&word.troubles).unwrap_or_else(|_| "[]".to_owned()))
        .bind(known.agent_id.map(|agent| agent.to_string()).unwrap_or_default())
        .bind(known.epoch.to_string())
        .execute(&mut *self.inner)
        .await?;
        Ok(heard.rows_affected() == 1)
    }

    /// Whoever speaks next is the server's agent, and nothing counts as installed before it says so; false where there is
    /// no such server.
    pub async fn forget_agent(&mut self, server: &ServerId) -> Result<bool> {
        let forgotten = sqlx::query(
            "UPDATE servers SET agent_id = NULL, applied_revision = -1, withheld_peers = 0, agent_troubles = '[]' \
             WHERE id = $1",
        )
        .bind(server.as_str())
        .execute(&mut *self.inner)
        .await?;
        Ok(forgotten.rows_affected() == 1)
    }

    /// No agent speaks for the server any more. One that does again all the same is told everything.
    pub async fn end_agent(&mut self, server: &ServerId) -> Result<()> {
        sqlx::query("UPDATE servers SET agent_seen_at = NULL, pruned_revision = peer_revision WHERE id = $1")
            .bind(server.as_str())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Peers whose removal this revision of the agent's covers and that nobody has confirmed.
    pub async fn awaited_removals(&mut self, server: &ServerId, applied: i64) -> Result<Vec<Uuid>> {
        let rows = sqlx::query(
            "SELECT peer_id AS id FROM removed_peers WHERE server_id = $1 AND revision <= $2 AND gone_at IS NULL",
        )
        .bind(server.as_str())
        .bind(applied)
        .fetch_all(&mut *self.inner)
        .await?;
        rows.iter().map(|row| Record::new("removed_peers", row).id("id")).collect()
    }

    /// The agent has taken a peer away: its slot rests until `free_from`.
    pub async fn confirm_removal(
        &mut self,
        server: &ServerId,
        peer: Uuid,
        free_from: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        let confirmed = sqlx::query("UPDATE removed_peers SET gone_at = $2 WHERE peer_id = $1 AND gone_at IS NULL")
            .bind(peer.to_string())
            .bind(now.millis())
            .execute(&mut *self.inner)
            .await?;
        if confirmed.rows_affected() == 0 {
            return Ok(());
        }
        self.free_held(server.as_str(), peer, free_from).await
    }

    /// A delta from before this revision would lack removals now: a snapshot is told in its place.
    pub async fn prune(&mut self, server: &ServerId, revision: i64) -> Result<()> {
        sqlx::query("UPDATE servers SET pruned_revision = $2 WHERE id = $1 AND pruned_revision < $2")
            .bind(server.as_str())
            .bind(revision)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Adds what a peer used since its last report to its subscription's month. None for a peer that is
    /// not on this server.
    ///
    /// A counter that went down began anew: all of it is new.
    pub async fn add_usage(&mut self, server: &ServerId, usage: &Usage, month: &str) -> Result<Option<MonthUsed>> {
        let row = sqlx::query(
            "SELECT id, holder_id, counter_run, counted_bytes, handshake_at FROM peers \
             WHERE id = $1 AND server_id = $2 AND holder_kind = 'subscription'",
        )
        .bind(usage.peer.to_string())
        .bind(server.as_str())
        .fetch_optional(&mut *self.inner)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let record = Record::new("peers", &row);
        let same_run = record.optional_text("counter_run")? == Some(usage.run.to_string());
        let (before, total) = (record.integer("counted_bytes")?, to_bigint(usage.bytes)?);
        let new = if same_run && total >= before { total - before } else { total };
        sqlx::query(
            "UPDATE peers SET counter_run = $2, counted_bytes = $3, handshake_at = coalesce($4, handshake_at) \
             WHERE id = $1",
        )
        .bind(usage.peer.to_string())
        .bind(usage.run.to_string())
        .bind(total)
        .bind(usage.handshake_at.map(Timestamp::millis))
        .execute(&mut *self.inner)
        .await?;
        let subscription = record.id("holder_id")?;
        let (bytes, told_percent) = self.add_to_month(subscription, month, new).await?;
        let is_first_handshake = usage.handshake_at.is_some() && record.optional_time("handshake_at")?.is_none();
        Ok(Some(MonthUsed { subscription, bytes, told_percent, is_first_handshake }))
    }

    async fn add_to_month(&mut self, subscription: Uuid, month: &str, bytes: i64) -> Result<(i64, i64)> {
        let row = sqlx::query(
            "INSERT INTO monthly_usage (subscription_id, month, bytes) VALUES ($1, $2, $3) \
             ON CONFLICT (subscription_id, month) DO UPDATE SET bytes = monthly_usage.bytes + $3 \
             RETURNING subscription_id AS id, bytes, reset_bytes, told_percent",
        )
        .bind(subscription.to_string())
        .bind(month.to_owned())
        .bind(bytes)
        .fetch_one(&mut *self.inner)
        .await?;
        let record = Record::new("monthly_usage", &row);
        Ok((counted_from(&record)?, record.integer("told_percent")?))
    }

    /// Remembers that a subscription was told of so much of its month; false where it was told of it, or of more.
    pub async fn mark_usage_told(&mut self, subscription: Uuid, month: &str, percent: i64) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE monthly_usage SET told_percent = $3 WHERE subscription_id = $1 AND month = $2 AND told_percent < $3",
        )
        .bind(subscription.to_string())
        .bind(month.to_owned())
        .bind(percent);
        Ok(done.execute(&mut *self.inner).await?.rows_affected() == 1)
    }

    /// Takes a whole amount of bandwidth off what was used in a month, or all of it where that is more; returns how many
    /// resets the month has had.
    pub async fn reset_usage(&mut self, subscription: Uuid, month: &str, amount: i64) -> Result<i64> {
        let row = sqlx::query(
            "INSERT INTO monthly_usage (subscription_id, month, bytes, reset_bytes, resets) VALUES ($1, $2, 0, $3, 1) \
             ON CONFLICT (subscription_id, month) DO UPDATE SET resets = monthly_usage.resets + 1, \
             reset_bytes = CASE WHEN monthly_usage.bytes > monthly_usage.reset_bytes + $3 THEN monthly_usage.bytes \
             ELSE monthly_usage.reset_bytes + $3 END RETURNING subscription_id AS id, resets",
        )
        .bind(subscription.to_string())
        .bind(month.to_owned())
        .bind(amount)
        .fetch_one(&mut *self.inner)
        .await?;
        Record::new("monthly_usage", &row).integer("resets")
    }

    /// Resets that settled in a month.
    pub async fn resets_in(&mut self, subscription: Uuid, month: &str) -> Result<i64> {
        let row = sqlx::query(
            "SELECT subscription_id AS id, resets FROM monthly_usage WHERE subscription_id = $1 AND month = $2",
        )
        .bind(subscription.to_string())
        .bind(month.to_owned())
        .fetch_optional(&mut *self.inner)
        .await?;
        row.map_or(Ok(0), |row| Record::new("monthly_usage", &row).integer("resets"))
    }
}

/// What counts of a month's bytes.
pub(super) fn counted_from(record: &Record<'_>) -> Result<i64> {
    Ok((record.integer("bytes")? - record.integer("reset_bytes")?).max(0))
}

fn state_from(row: &AnyRow) -> Result<ServerState> {
    let record = Record::new("servers", row);
    let public_key = record.optional_text("public_key")?;
    Ok(ServerState {
        id: record.parsed("id", ServerId::parse(&record.text("id")?))?,
        epoch: record.id("epoch")?,
        epoch_began_at: record.time("began_at")?,
        revision: record.integer("peer_revision")?,
        pruned_revision: record.integer("pruned_revision")?,
        applied_revision: record.integer("applied_revision")?,
        public_key: public_key.map(|key| record.parsed("public_key", PublicKey::parse(&key))).transpose()?,
        agent_id: record.optional_id("agent_id")?,
        agent_seen_at: record.optional_time("agent_seen_at")?,
        removals_allowed_until: record.optional_time("removals_allowed_until")?,
        withheld_peers: record.integer("withheld_peers")?,
        troubles: troubles_from(&record)?,
        drained_at: record.optional_time("drained_at")?,
    })
}

fn troubles_from(record: &Record<'_>) -> Result<Vec<Trouble>> {
    let read = serde_json::from_str(&record.text("agent_troubles")?);
    record.parsed("agent_troubles", read.map_err(|error| Invalid::new(error.to_string())))
}
