//! Peers with their keys: who holds a slot, which key it answers to, which private keys were made here.

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::connections::Ask as _;
use super::row::Record;
use super::{Result, Store, Tx};
use crate::domain::instance_key::KeyId;
use crate::domain::keys::PublicKey;
use crate::domain::server::{ServerId, Slot};
use crate::domain::time::Timestamp;

/// A peer as it is stored: its preshared key sealed.
#[derive(Debug, Clone)]
pub struct StoredPeer {
    pub id: Uuid,
    pub server_id: ServerId,
    pub slot: Slot,
    pub binding: Option<SealedBinding>,
}

/// A peer's key, with its preshared key sealed under an instance key.
#[derive(Debug, Clone)]
pub struct SealedBinding {
    pub public_key: PublicKey,
    pub key_id: KeyId,
    pub sealed_preshared_key: Vec<u8>,
}

/// A private key that was made here.
#[derive(Debug, Clone)]
pub struct SealedKey {
    pub order_id: Uuid,
    pub key_id: KeyId,
    /// None once it was erased, and where a restored backup does not know it.
    pub sealed: Option<Vec<u8>>,
}

/// What a first claim or a settlement binds.
#[derive(Debug, Clone)]
pub struct NewBinding {
    pub subscription: Uuid,
    pub public_key: PublicKey,
    pub key_id: KeyId,
    pub sealed_preshared_key: Vec<u8>,
}

/// The subscription that a key belongs to on this instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOwner {
    /// It is held: nobody else can have it.
    Held(Uuid),
    /// It was this subscription's until its hold ended.
    Released(Uuid),
}

const PEER_OF: &str = "SELECT id, server_id, slot, public_key, key_id, sealed_preshared_key FROM peers \
     WHERE holder_kind = 'subscription' AND holder_id = $1 AND superseded_at IS NULL";

const KEY_OWNER: &str = "SELECT subscription_id AS id, released_at FROM subscription_keys WHERE public_key = $1 \
     ORDER BY CASE WHEN released_at IS NULL THEN 0 ELSE 1 END, released_at DESC LIMIT 1";

impl Store {
    /// The current peer of a subscription; none after its hold ended.
    pub async fn peer_of(&self, subscription: Uuid) -> Result<Option<StoredPeer>> {
        let row = sqlx::query(PEER_OF).bind(subscription.to_string()).optional_from(&self.reader).await?;
        row.as_ref().map(stored_peer_from).transpose()
    }

    pub async fn key_owner(&self, key: PublicKey) -> Result<Option<KeyOwner>> {
        let row = sqlx::query(KEY_OWNER).bind(key.to_string()).optional_from(&self.reader).await?;
        row.as_ref().map(key_owner_from).transpose()
    }

    pub async fn private_key(&self, public_key: PublicKey) -> Result<Option<SealedKey>> {
        let row =
            sqlx::query("SELECT public_key AS id, order_id, key_id, sealed FROM private_keys WHERE public_key = $1")
                .bind(public_key.to_string())
                .optional_from(&self.reader)
                .await?;
        let Some(row) = row else { return Ok(None) };
        let record = Record::new("private_keys", &row);
        Ok(Some(SealedKey {
            order_id: record.id("order_id")?,
            key_id: KeyId(record.integer("key_id")?),
            sealed: record.optional_bytes("sealed")?,
        }))
    }
}

impl Tx {
    pub async fn peer_of(&mut self, subscription: Uuid) -> Result<Option<StoredPeer>> {
        let row = sqlx::query(PEER_OF).bind(subscription.to_string()).fetch_optional(&mut *self.inner).await?;
        row.as_ref().map(stored_peer_from).transpose()
    }

    pub async fn key_owner(&mut self, key: PublicKey) -> Result<Option<KeyOwner>> {
        let row = sqlx::query(KEY_OWNER).bind(key.to_string()).fetch_optional(&mut *self.inner).await?;
        row.as_ref().map(key_owner_from).transpose()
    }

    /// Makes the key this subscription's; false where another holds it.
    pub async fn own_key(&mut self, key: PublicKey, subscription: Uuid, now: Timestamp) -> Result<bool> {
        let inserted = sqlx::query(
            "INSERT INTO subscription_keys (public_key, subscription_id, bound_at) VALUES ($1, $2, $3) \
             ON CONFLICT DO NOTHING",
        )
        .bind(key.to_string())
        .bind(subscription.to_string())
        .bind(now.millis())
        .execute(&mut *self.inner)
        .await?;
        if inserted.rows_affected() == 1 {
            return Ok(true);
        }
        match self.key_owner(key).await? {
            Some(KeyOwner::Held(owner)) => Ok(owner == subscription),
            Some(KeyOwner::Released(_)) | None => self.own_key_again(key, subscription, now).await,
        }
    }

    async fn own_key_again(&mut self, key: PublicKey, subscription: Uuid, now: Timestamp) -> Result<bool> {
        let again = sqlx::query(
            "UPDATE subscription_keys SET released_at = NULL, bound_at = $3 WHERE public_key = $1 AND subscription_id = $2",
        )
        .bind(key.to_string())
        .bind(subscription.to_string())
        .bind(now.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(again.rows_affected() == 1)
    }

    /// Binds a key to a peer that has none; false where another claim was first.
    pub async fn bind_peer(&mut self, binding: &NewBinding) -> Result<bool> {
        self.raise_revision(binding.subscription).await?;
        let bound = sqlx::query(
            "UPDATE peers SET public_key = $2, key_id = $3, sealed_preshared_key = $4, generation = generation + 1, \
             revision = (SELECT peer_revision FROM servers WHERE id = peers.server_id), \
             bound_revision = (SELECT peer_revision FROM servers WHERE id = peers.server_id), handshake_at = NULL \
             WHERE holder_kind = 'subscription' AND holder_id = $1 AND superseded_at IS NULL AND public_key IS NULL",
        )
        .bind(binding.subscription.to_string())
        .bind(binding.public_key.to_string())
        .bind(binding.key_id.0)
        .bind(binding.sealed_preshared_key.clone())
        .execute(&mut *self.inner)
        .await?;
        Ok(bound.rows_affected() == 1)
    }

    /// Takes a peer's key away. It stays its subscription's; the slot stays, too.
    pub async fn unbind_peer(&mut self, subscription: Uuid) -> Result<()> {
        self.raise_revision(subscription).await?;
        sqlx::query(
            "UPDATE peers SET public_key = NULL, key_id = NULL, sealed_preshared_key = NULL, \
             revision = (SELECT peer_revision FROM servers WHERE id = peers.server_id) \
             WHERE holder_kind = 'subscription' AND holder_id = $1 AND superseded_at IS NULL",
        )
        .bind(subscription.to_string())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Erases the private key of this public key once that time comes, where one is kept for longer.
    pub async fn erase_private_key_at(&mut self, public_key: PublicKey, erase_at: Timestamp) -> Result<()> {
        sqlx::query(
            "UPDATE private_keys SET erase_at = $2 WHERE public_key = $1 AND erased_at IS NULL AND erase_at > $2",
        )
        .bind(public_key.to_string())
        .bind(erase_at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Keeps a private key that was made here, until `erase_at`.
    pub async fn insert_private_key(
        &mut self,
        public_key: PublicKey,
        key: &SealedKey,
        made_at: Timestamp,
        erase_at: Timestamp,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO private_keys (public_key, order_id, key_id, sealed, made_at, erase_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(public_key.to_string())
        .bind(key.order_id.to_string())
        .bind(key.key_id.0)
        .bind(key.sealed.clone())
        .bind(made_at.millis())
        .bind(erase_at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Enters a key whose private key is not known here, and may have been made here: a claim must not take it for the
    /// customer's own. What is entered already stays.
    pub async fn insert_lost_private_key(
        &mut self,
        public_key: PublicKey,
        subscription: Uuid,
        key_id: KeyId,
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO private_keys (public_key, order_id, key_id, made_at, erase_at, erased_at) \
             SELECT $1, founded_by, $3, $4, $4, $4 FROM subscriptions WHERE id = $2 ON CONFLICT DO NOTHING",
        )
        .bind(public_key.to_string())
        .bind(subscription.to_string())
        .bind(key_id.0)
        .bind(now.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Erases private keys that are due; returns the orders that made them.
    pub async fn erase_private_keys(&mut self, now: Timestamp) -> Result<Vec<Uuid>> {
        let rows = sqlx::query(
            "UPDATE private_keys SET sealed = NULL, erased_at = $1 WHERE erased_at IS NULL AND erase_at <= $1 \
             RETURNING order_id AS id",
        )
        .bind(now.millis())
        .fetch_all(&mut *self.inner)
        .await?;
        rows.iter().map(|row| Record::new("private_keys", row).id("id")).collect()
    }

    /// Lets go of a subscription's keys at the end of its hold.
    pub async fn release_keys(&mut self, subscription: Uuid, now: Timestamp) -> Result<()> {
        sqlx::query("UPDATE subscription_keys SET released_at = $2 WHERE subscription_id = $1 AND released_at IS NULL")
            .bind(subscription.to_string())
            .bind(now.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// The key that a released subscription had last.
    pub async fn last_key(&mut self, subscription: Uuid) -> Result<Option<PublicKey>> {
        let row = sqlx::query(
            "SELECT public_key AS id FROM subscription_keys WHERE subscription_id = $1 ORDER BY bound_at DESC LIMIT 1",
        )
        .bind(subscription.to_string())
        .fetch_optional(&mut *self.inner)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let record = Record::new("subscription_keys", &row);
        record.parsed("public_key", PublicKey::parse(&record.text("id")?)).map(Some)
    }
}

pub fn stored_peer_from(row: &AnyRow) -> Result<StoredPeer> {
    let record = Record::new("peers", row);
    Ok(StoredPeer {
        id: record.id("id")?,
        server_id: record.parsed("server_id", ServerId::parse(&record.text("server_id")?))?,
        slot: Slot(record.unsigned_u32("slot")?),
        binding: binding_from(&record)?,
    })
}

fn binding_from(record: &Record<'_>) -> Result<Option<SealedBinding>> {
    let Some(public_key) = record.optional_text("public_key")? else { return Ok(None) };
    Ok(Some(SealedBinding {
        public_key: record.parsed("public_key", PublicKey::parse(&public_key))?,
        key_id: KeyId(record.integer("key_id")?),
        sealed_preshared_key: record.bytes("sealed_preshared_key")?,
    }))
}

fn key_owner_from(row: &AnyRow) -> Result<KeyOwner> {
    let record = Record::new("subscription_keys", row);
    let subscription = record.id("id")?;
    Ok(match record.optional_time("released_at")? {
        None => KeyOwner::Held(subscription),
        Some(_) => KeyOwner::Released(subscription),
    })
}
