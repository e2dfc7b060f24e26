//! The peers that a server is to have, and the revision that counts every change of them.
//!
//! Every change raises its server's revision first, which locks that row, and leaves the new number on the peer. So
//! what an agent has not seen yet is what carries a higher number than the one it asks from.

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::connections::Ask as _;
use super::peers::{StoredPeer, stored_peer_from};
use super::row::Record;
use super::{Result, Store, Tx};
use crate::domain::desired::TakenAway;
use crate::domain::keys::PublicKey;
use crate::domain::server::{ServerId, Slot};
use crate::domain::time::Timestamp;

/// A peer with a key, and what decides whether its traffic passes.
#[derive(Debug, Clone)]
pub struct InstalledPeer {
    pub peer: StoredPeer,
    pub ends_at: Timestamp,
    pub suspended: bool,
    pub target_port: u32,
    pub throttled: bool,
}

/// How far a peer's key has come.
#[derive(Debug, Clone, Copy)]
pub struct Installation {
    bound_revision: i64,
    applied_revision: i64,
    /// None where no agent ever spoke for the server: what is recorded is set up by hand.
    pub agent_seen_at: Option<Timestamp>,
}

impl Installation {
    /// Whether the server has the peer, as far as anybody can know.
    pub const fn is_installed(&self) -> bool {
        self.agent_seen_at.is_none() || self.bound_revision <= self.applied_revision
    }
}

/// A peer whose key stands on its server since its agent's last word.
#[derive(Debug, Clone, Copy)]
pub struct ReadyPeer {
    id: Uuid,
    bound_revision: i64,
    pub subscription: Uuid,
    pub founded_by: Uuid,
}

/// How far what was changed on a subscription's server has come.
#[derive(Debug, Clone, Copy)]
pub struct ChangesTold {
    /// Of the last change there.
    pub revision: i64,
    applied_revision: i64,
    /// A peer of the subscription's that was taken away, and that the agent has not said to be gone.
    lingers: bool,
    pub agent_seen_at: Option<Timestamp>,
}

impl ChangesTold {
    /// Whether the agent has applied the changes up to this revision.
    pub const fn have_reached(&self, revision: i64) -> bool {
        revision <= self.applied_revision && !self.lingers
    }
}

const INSTALLED: &str = "SELECT peers.id AS id, peers.server_id AS server_id, slot, peers.public_key AS public_key, key_id, \
     sealed_preshared_key, target_port, throttled, ends_at, suspended_at FROM peers \
     JOIN subscriptions ON holder_kind = 'subscription' AND holder_id = subscriptions.id \
     WHERE peers.server_id = $1 AND peers.public_key IS NOT NULL AND peers.revision > $2 AND peers.public_key <> $3";

impl Store {
    /// Peers that are ready and were not told to be.
    pub async fn peers_to_be_told_ready(&self, server: &ServerId, at_most: u32) -> Result<Vec<ReadyPeer>> {
        let rows = sqlx::query(
            "SELECT p.id AS id, p.bound_revision, p.holder_id, s.founded_by FROM peers p \
             JOIN servers v ON v.id = p.server_id JOIN subscriptions s ON s.id = p.holder_id \
             WHERE p.server_id = $1 AND p.holder_kind = 'subscription' AND p.public_key IS NOT NULL \
             AND p.ready_revision < p.bound_revision AND p.bound_revision <= v.applied_revision \
             ORDER BY p.bound_revision LIMIT $2",
        )
        .bind(server.as_str())
        .bind(i64::from(at_most))
        .all_from(&self.reader)
        .await?;
        let ready = rows.iter().map(|row| {
            let record = Record::new("peers", row);
            Ok(ReadyPeer {
                id: record.id("id")?,
                bound_revision: record.integer("bound_revision")?,
                subscription: record.id("holder_id")?,
                founded_by: record.id("founded_by")?,
            })
        });
        ready.collect()
    }

    /// Peers with a key that changed after this revision; all of them after -1. None with the server's own key, which no
    /// server can have.
    pub async fn installed_peers(
        &self,
        server: &ServerId,
        after: i64,
        own: Option<PublicKey>,
    ) -> Result<Vec<InstalledPeer>> {
        let query = sqlx::query(INSTALLED).bind(server.as_str()).bind(after).bind(text_of(own));
        let rows = query.all_from(&self.reader).await?;
        rows.iter().map(installed_peer_from).collect()
    }

    /// Peers that were taken away after this revision and that no agent has confirmed, those whose key was, and those
    /// with the server's own.
    pub async fn removed_peers(&self, server: &ServerId, after: i64, own: Option<PublicKey>) -> Result<Vec<Uuid>> {
        let rows = sqlx::query(
            "SELECT peer_id AS id FROM removed_peers WHERE server_id = $1 AND revision > $2 AND gone_at IS NULL \
             UNION ALL SELECT id FROM peers \
             WHERE server_id = $1 AND revision > $2 AND public_key IS NULL AND generation > 0 \
             UNION ALL SELECT id FROM peers WHERE server_id = $1 AND revision > $2 AND public_key = $3",
        )
        .bind(server.as_str())
        .bind(after)
        .bind(text_of(own))
        .all_from(&self.reader)
        .await?;
        rows.iter().map(|row| Record::new("removed_peers", row).id("id")).collect()
    }

    /// What the operator took away: peers of subscriptions that were revoked, unless they ended before `ended` anyway, and
    /// peers whose key was taken, with the keys that they had. A server that withholds removals keeps none of them.
    pub async fn taken_away(&self, server: &ServerId, ended: Timestamp) -> Result<TakenAway> {
        let rows = sqlx::query(
            "SELECT peer_id AS id, CAST(NULL AS TEXT) AS taken_key \
             FROM removed_peers JOIN subscriptions ON subscriptions.id = subscription_id \
             WHERE removed_peers.server_id = $1 AND standing = 'revoked' AND ends_at > $2 \
             UNION ALL SELECT peers.id, subscription_keys.public_key AS taken_key \
             FROM peers LEFT JOIN subscription_keys ON subscription_id = holder_id \
             WHERE server_id = $1 AND peers.public_key IS NULL AND generation > 0",
        )
        .bind(server.as_str())
        .bind(ended.millis())
        .all_from(&self.reader)
        .await?;
        taken_away_from(&rows)
    }

    /// The subscription that this peer holds a slot for, where no key is bound, and this one was not taken from it.
    pub async fn keyless_holder(
        &self,
        server: &ServerId,
        slot: Slot,
        peer: Uuid,
        key: PublicKey,
    ) -> Result<Option<Uuid>> {
        let row = sqlx::query(
            "SELECT holder_id AS id FROM peers WHERE server_id = $1 AND slot = $2 AND holder_kind = 'subscription' \
             AND superseded_at IS NULL AND public_key IS NULL AND id = $3 AND (generation = 0 OR NOT EXISTS \
             (SELECT 1 FROM subscription_keys WHERE subscription_id = holder_id AND public_key = $4))",
        )
        .bind(server.as_str())
        .bind(i64::from(slot.0))
        .bind(peer.to_string())
        .bind(key.to_string())
        .optional_from(&self.reader)
        .await?;
        row.map(|row| Record::new("peers", &row).id("id")).transpose()
    }

    /// Subscriptions whose key is their server's own.
    pub async fn with_own_key(&self, server: &ServerId, own: PublicKey) -> Result<Vec<Uuid>> {
        let rows = sqlx::query(
            "SELECT subscription_id AS id FROM subscription_keys JOIN peers ON holder_kind = 'subscription' \
             AND holder_id = subscription_id AND peers.public_key = subscription_keys.public_key \
             WHERE subscription_keys.public_key = $2 AND server_id = $1 ORDER BY subscription_id",
        )
        .bind(server.as_str())
        .bind(own.to_string())
        .all_from(&self.reader)
        .await?;
        rows.iter().map(|row| Record::new("subscription_keys", row).id("id")).collect()
    }

    /// How far a subscription's peer has come to its server; none while it has no key, or no slot.
    pub async fn installation(&self, subscription: Uuid) -> Result<Option<Installation>> {
        let row = sqlx::query(
            "SELECT peers.id AS id, bound_revision, applied_revision, agent_seen_at FROM peers \
             JOIN servers ON servers.id = peers.server_id WHERE holder_kind = 'subscription' AND holder_id = $1 \
             AND superseded_at IS NULL AND peers.public_key IS NOT NULL",
        )
        .bind(subscription.to_string())
        .optional_from(&self.reader)
        .await?;
        row.as_ref().map(|row| installation_from(&Record::new("peers", row))).transpose()
    }

    /// How far the changes of a subscription have come to its server.
    pub async fn changes_told(&self, subscription: Uuid) -> Result<ChangesTold> {
        let row = sqlx::query(
            "SELECT subscriptions.id AS id, peer_revision, applied_revision, agent_seen_at, (SELECT min(revision) \
             FROM removed_peers WHERE subscription_id = subscriptions.id AND gone_at IS NULL) AS lingers \
             FROM subscriptions JOIN servers ON servers.id = subscriptions.server_id WHERE subscriptions.id = $1",
        )
        .bind(subscription.to_string())
        .one_from(&self.reader)
        .await?;
        let record = Record::new("servers", &row);
        Ok(ChangesTold {
            revision: record.integer("peer_revision")?,
            applied_revision: record.integer("applied_revision")?,
            lingers: record.optional_integer("lingers")?.is_some(),
            agent_seen_at: record.optional_time("agent_seen_at")?,
        })
    }
}

impl Tx {
    /// Remembers that a binding was told to be ready; false where it was, or is another one by now.
    pub async fn mark_ready(&mut self, peer: &ReadyPeer) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE peers SET ready_revision = $2 WHERE id = $1 AND bound_revision = $2 AND ready_revision < $2",
        )
        .bind(peer.id.to_string())
        .bind(peer.bound_revision);
        Ok(done.execute(&mut *self.inner).await?.rows_affected() == 1)
    }

    /// Gives nobody a slot before `free_from`: somebody whom this database does not know still answers there.
    pub async fn rest_slot(&mut self, server: &ServerId, slot: Slot, free_from: Timestamp) -> Result<()> {
        sqlx::query(
            "UPDATE slots SET released_at = $3 WHERE server_id = $1 AND n = $2 AND peer_id IS NULL AND released_at < $3",
        )
        .bind(server.as_str())
        .bind(i64::from(slot.0))
        .bind(free_from.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Raises the revision of the server that a subscription's peer is on, and leaves it on the peer.
    pub(super) async fn change_peer(&mut self, subscription: Uuid) -> Result<()> {
        self.raise_revision(subscription).await?;
        sqlx::query(
            "UPDATE peers SET revision = (SELECT peer_revision FROM servers WHERE id = peers.server_id) \
             WHERE holder_kind = 'subscription' AND holder_id = $1 AND superseded_at IS NULL",
        )
        .bind(subscription.to_string())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Raises the revision of the server that a subscription's peer is on.
    pub(super) async fn raise_revision(&mut self, subscription: Uuid) -> Result<()> {
        sqlx::query(
            "UPDATE servers SET peer_revision = peer_revision + 1 WHERE id = (SELECT server_id FROM peers \
             WHERE holder_kind = 'subscription' AND holder_id = $1 AND superseded_at IS NULL)",
        )
        .bind(subscription.to_string())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Locks a server's row until the transaction ends: before rows of its peers, as whoever changes a peer does.
    pub async fn lock_server(&mut self, server: &ServerId) -> Result<()> {
        sqlx::query("UPDATE servers SET peer_revision = peer_revision WHERE id = $1")
            .bind(server.as_str())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Locks all in the order of their ids, as everybody does who needs several: so nobody waits for who waits for them.
    pub async fn lock_servers<'s>(&mut self, servers: impl IntoIterator<Item = &'s ServerId>) -> Result<()> {
        let mut servers: Vec<_> = servers.into_iter().collect();
        servers.sort();
        servers.dedup();
        for server in servers {
            self.lock_server(server).await?;
        }
        Ok(())
    }

    /// Subscriptions whose peer is slowed down and that used less than `limit` bytes in this month.
    pub async fn throttled_below(
        &mut self,
        server: &ServerId,
        month: &str,
        limit: i64,
        at_most: u32,
    ) -> Result<Vec<Uuid>> {
        let rows = sqlx::query(
            "SELECT holder_id AS id FROM peers \
             LEFT JOIN monthly_usage ON subscription_id = holder_id AND month = $1 \
             WHERE throttled = 1 AND server_id = $2 AND holder_kind = 'subscription' AND superseded_at IS NULL \
             AND coalesce(bytes - reset_bytes, 0) < $3 LIMIT $4",
        )
        .bind(month.to_owned())
        .bind(server.as_str())
        .bind(limit)
        .bind(i64::from(at_most))
        .fetch_all(&mut *self.inner)
        .await?;
        rows.iter().map(|row| Record::new("peers", row).id("id")).collect()
    }

    /// Slows a subscription's peer down, or lets it go again; false where it was so already.
    pub async fn set_throttled(&mut self, subscription: Uuid, throttled: bool) -> Result<bool> {
        let changed = sqlx::query(
            "UPDATE peers SET throttled = $2 WHERE holder_kind = 'subscription' AND holder_id = $1 \
             AND superseded_at IS NULL AND throttled <> $2",
        )
        .bind(subscription.to_string())
        .bind(i64::from(throttled))
        .execute(&mut *self.inner)
        .await?;
        if changed.rows_affected() > 0 {
            self.change_peer(subscription).await?;
        }
        Ok(changed.rows_affected() > 0)
    }
}

/// From the columns of a peer with those of its server.
pub(super) fn installation_from(record: &Record<'_>) -> Result<Installation> {
    Ok(Installation {
        bound_revision: record.integer("bound_revision")?,
        applied_revision: record.integer("applied_revision")?,
        agent_seen_at: record.optional_time("agent_seen_at")?,
    })
}

fn taken_away_from(rows: &[AnyRow]) -> Result<TakenAway> {
    let mut taken_away = TakenAway::default();
    for row in rows {
        let record = Record::new("removed_peers", row);
        let peer = record.id("id")?;
        taken_away.peers.insert(peer);
        if let Some(key) = record.optional_text("taken_key")? {
            let key = record.parsed("taken_key", PublicKey::parse(&key))?;
            taken_away.keys.entry(peer).or_default().insert(key);
        }
    }
    Ok(taken_away)
}

/// No peer's where none is known.
fn text_of(key: Option<PublicKey>) -> String {
    key.map(|key| key.to_string()).unwrap_or_default()
}

fn installed_peer_from(row: &AnyRow) -> Result<InstalledPeer> {
    let record = Record::new("peers", row);
    Ok(InstalledPeer {
        peer: stored_peer_from(row)?,
        ends_at: record.time("ends_at")?,
        suspended: record.optional_time("suspended_at")?.is_some(),
        target_port: record.unsigned_u32("target_port")?,
        throttled: record.integer("throttled")? != 0,
    })
}
