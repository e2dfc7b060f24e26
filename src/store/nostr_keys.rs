//! The Nostr keys of accounts, and the signed requests that were taken already.

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::connections::Ask as _;
use super::row::Record;
use super::{Result, Store, Tx};
use crate::domain::account::StoredNostrKey;
use crate::domain::nip98::{EventId, NostrKey};
use crate::domain::time::Timestamp;

macro_rules! select_nostr_keys {
    ($rest:literal) => {
        concat!("SELECT public_key AS id, public_key, account_id, created_at, last_used_at FROM nostr_keys ", $rest)
    };
}

impl Store {
    pub async fn nostr_key(&self, key: NostrKey) -> Result<Option<StoredNostrKey>> {
        let query = sqlx::query(select_nostr_keys!("WHERE public_key = $1")).bind(key.to_string());
        query.optional_from(&self.reader).await?.as_ref().map(nostr_key_from).transpose()
    }

    /// An account's keys, in the order in which they became so.
    pub async fn nostr_keys_of(&self, account: Uuid) -> Result<Vec<StoredNostrKey>> {
        let rows = sqlx::query(select_nostr_keys!("WHERE account_id = $1 ORDER BY created_at, public_key"))
            .bind(account.to_string())
            .all_from(&self.reader)
            .await?;
        rows.iter().map(nostr_key_from).collect()
    }

    /// Notes a signed request as taken; false where it was before, by this replica or another one.
    pub async fn take_nostr_request(&self, id: EventId, forget_at: Timestamp) -> Result<bool> {
        let mut tx = self.begin().await?;
        let take = "INSERT INTO nostr_requests (event_id, forget_at) VALUES ($1, $2) ON CONFLICT (event_id) DO NOTHING";
        let done = sqlx::query(take).bind(id.to_string()).bind(forget_at.millis()).execute(&mut *tx.inner).await?;
        let is_first = done.rows_affected() == 1;
        tx.commit_if(is_first).await?;
        Ok(is_first)
    }

    /// Forgets signed requests that are too old to be taken by anybody.
    pub async fn forget_nostr_requests(&self, now: Timestamp) -> Result<u64> {
        let mut tx = self.begin().await?;
        let forget = sqlx::query("DELETE FROM nostr_requests WHERE forget_at < $1").bind(now.millis());
        let forgotten = forget.execute(&mut *tx.inner).await?.rows_affected();
        tx.commit_if(forgotten > 0).await?;
        Ok(forgotten)
    }
}

impl Tx {
    /// Makes a key an account's; false where it is one's already.
    pub async fn insert_nostr_key(&mut self, key: NostrKey, account: Uuid, now: Timestamp) -> Result<bool> {
        let done = sqlx::query(
            "INSERT INTO nostr_keys (public_key, account_id, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT (public_key) DO NOTHING",
        )
        .bind(key.to_string())
        .bind(account.to_string())
        .bind(now.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// False where it is not the account's.
    pub async fn delete_nostr_key(&mut self, key: NostrKey, account: Uuid) -> Result<bool> {
        let done = sqlx::query("DELETE FROM nostr_keys WHERE public_key = $1 AND account_id = $2")
            .bind(key.to_string())
            .bind(account.to_string())
            .execute(&mut *self.inner)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// How many keys an account has; its row must be locked.
    pub async fn count_nostr_keys(&mut self, account: Uuid) -> Result<i64> {
        let row = sqlx::query("SELECT CAST(count(*) AS BIGINT) AS n FROM nostr_keys WHERE account_id = $1")
            .bind(account.to_string())
            .fetch_one(&mut *self.inner)
            .await?;
        Record::new("nostr_keys", &row).integer("n")
    }

    pub async fn nostr_key_was_used(&mut self, key: NostrKey, now: Timestamp) -> Result<()> {
        sqlx::query("UPDATE nostr_keys SET last_used_at = $2 WHERE public_key = $1")
            .bind(key.to_string())
            .bind(now.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }
}

fn nostr_key_from(row: &AnyRow) -> Result<StoredNostrKey> {
    let record = Record::new("nostr_keys", row);
    Ok(StoredNostrKey {
        key: record.parsed("public_key", NostrKey::parse(&record.text("public_key")?))?,
        account: record.id("account_id")?,
        created_at: record.time("created_at")?,
        last_used_at: record.optional_time("last_used_at")?,
    })
}
