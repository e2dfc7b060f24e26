//! Accounts and their API keys, of which only hashes are here.

use sqlx::any::AnyRow;
use uuid::Uuid;

use super::connections::Ask as _;
use super::row::Record;
use super::{Result, Store, Tx};
use crate::domain::account::{Account, ApiKeyHash, KeyName, Mode, Scopes, StoredApiKey};
use crate::domain::time::Timestamp;

macro_rules! select_api_keys {
    ($rest:literal) => {
        concat!(
            "SELECT id, account_id, name, mode, beginning, hash, scopes, created_at, last_used_at, revoked_at ",
            "FROM api_keys ",
            $rest
        )
    };
}

const GOOD_API_KEYS: &str = select_api_keys!("WHERE account_id = $1 AND revoked_at IS NULL ORDER BY id");

/// Which API keys to list.
#[derive(Debug, Clone, Default)]
pub struct ApiKeyFilter {
    pub account: Option<Uuid>,
    /// The last key of the page before.
    pub before: Option<Uuid>,
    pub at_most: u32,
}

impl Store {
    pub async fn account(&self, id: Uuid) -> Result<Option<Account>> {
        let query = sqlx::query("SELECT id, created_at FROM accounts WHERE id = $1").bind(id.to_string());
        query.optional_from(&self.reader).await?.as_ref().map(account_from).transpose()
    }

    /// Accounts, the newest first: ids grow with time.
    pub async fn accounts(&self, before: Option<Uuid>, at_most: u32) -> Result<Vec<Account>> {
        let rows = sqlx::query("SELECT id, created_at FROM accounts WHERE id < $1 ORDER BY id DESC LIMIT $2")
            .bind(before.unwrap_or(Uuid::max()).to_string())
            .bind(i64::from(at_most))
            .all_from(&self.reader)
            .await?;
        rows.iter().map(account_from).collect()
    }

    /// The key of a hash, revoked or not, with the hash as it is stored.
    pub async fn api_key_by_hash(&self, hash: &ApiKeyHash) -> Result<Option<(StoredApiKey, ApiKeyHash)>> {
        let query = sqlx::query(select_api_keys!("WHERE hash = $1")).bind(hash.to_string());
        let Some(row) = query.optional_from(&self.reader).await? else { return Ok(None) };
        let record = Record::new("api_keys", &row);
        let stored = record.parsed("hash", ApiKeyHash::parse(&record.text("hash")?))?;
        Ok(Some((api_key_from(&row)?, stored)))
    }

    pub async fn api_key(&self, id: Uuid) -> Result<Option<StoredApiKey>> {
        let query = sqlx::query(select_api_keys!("WHERE id = $1")).bind(id.to_string());
        query.optional_from(&self.reader).await?.as_ref().map(api_key_from).transpose()
    }

    /// An account's keys that were not revoked, the oldest first.
    pub async fn good_api_keys(&self, account: Uuid) -> Result<Vec<StoredApiKey>> {
        let rows = sqlx::query(GOOD_API_KEYS).bind(account.to_string()).all_from(&self.reader).await?;
        rows.iter().map(api_key_from).collect()
    }

    /// API keys, the newest first: ids grow with time.
    pub async fn api_keys(&self, filter: &ApiKeyFilter) -> Result<Vec<StoredApiKey>> {
        let rows = sqlx::query(select_api_keys!(
            "WHERE ($1 IS NULL OR account_id = $1) AND id < $2 ORDER BY id DESC LIMIT $3"
        ))
        .bind(filter.account.map(|id| id.to_string()))
        .bind(filter.before.unwrap_or(Uuid::max()).to_string())
        .bind(i64::from(filter.at_most))
        .all_from(&self.reader)
        .await?;
        rows.iter().map(api_key_from).collect()
    }
}

impl Tx {
    pub async fn insert_account(&mut self, id: Uuid, now: Timestamp) -> Result<()> {
        sqlx::query("INSERT INTO accounts (id, created_at, revision) VALUES ($1, $2, 0)")
            .bind(id.to_string())
            .bind(now.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// The account with its row locked until the transaction ends: whoever changes its credentials holds it.
    pub async fn lock_account(&mut self, id: Uuid) -> Result<Option<Account>> {
        let lock = "UPDATE accounts SET revision = revision + 1 WHERE id = $1 RETURNING id, created_at";
        let row = sqlx::query(lock).bind(id.to_string()).fetch_optional(&mut *self.inner).await?;
        row.as_ref().map(account_from).transpose()
    }

    pub async fn insert_api_key(&mut self, key: &StoredApiKey, hash: &ApiKeyHash) -> Result<()> {
        sqlx::query(
            "INSERT INTO api_keys (id, account_id, name, mode, beginning, hash, scopes, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(key.id.to_string())
        .bind(key.account.to_string())
        .bind(key.name.as_str())
        .bind(key.mode.name())
        .bind(key.beginning.as_str())
        .bind(hash.to_string())
        .bind(key.scopes.to_string())
        .bind(key.created_at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// The account's keys that were not revoked; its row must be locked.
    pub async fn good_api_keys(&mut self, account: Uuid) -> Result<Vec<StoredApiKey>> {
        let rows = sqlx::query(GOOD_API_KEYS).bind(account.to_string()).fetch_all(&mut *self.inner).await?;
        rows.iter().map(api_key_from).collect()
    }

    /// False where it was revoked before.
    pub async fn revoke_api_key(&mut self, id: Uuid, now: Timestamp) -> Result<bool> {
        let done = sqlx::query("UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
            .bind(id.to_string())
            .bind(now.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    pub async fn api_key_was_used(&mut self, id: Uuid, now: Timestamp) -> Result<()> {
        sqlx::query("UPDATE api_keys SET last_used_at = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(now.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Makes an order an account's; its row must be locked.
    pub async fn own_order(&mut self, order: Uuid, account: Uuid) -> Result<()> {
        sqlx::query("UPDATE orders SET account_id = $2, revision = revision + 1 WHERE id = $1")
            .bind(order.to_string())
            .bind(account.to_string())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Makes a subscription an account's; its row must be locked.
    pub async fn own_subscription(&mut self, subscription: Uuid, account: Uuid) -> Result<()> {
        sqlx::query("UPDATE subscriptions SET account_id = $2, revision = revision + 1 WHERE id = $1")
            .bind(subscription.to_string())
            .bind(account.to_string())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }
}

fn account_from(row: &AnyRow) -> Result<Account> {
    let record = Record::new("accounts", row);
    Ok(Account { id: record.id("id")?, created_at: record.time("created_at")? })
}

fn api_key_from(row: &AnyRow) -> Result<StoredApiKey> {
    let record = Record::new("api_keys", row);
    Ok(StoredApiKey {
        id: record.id("id")?,
        account: record.id("account_id")?,
        name: record.parsed("name", KeyName::parse(&record.text("name")?))?,
        mode: record.parsed("mode", Mode::parse(&record.text("mode")?))?,
        beginning: record.text("beginning")?,
        scopes: record.parsed("scopes", Scopes::parse(&record.text("scopes")?))?,
        created_at: record.time("created_at")?,
        last_used_at: record.optional_time("last_used_at")?,
        revoked_at: record.optional_time("revoked_at")?,
    })
}
