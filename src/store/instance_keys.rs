//! Whether the instance keys that were given are the ones that this database depends on.

use sqlx::Row as _;
use subtle::ConstantTimeEq;

use super::connections::Ask as _;
use super::{Error, Result, Store, Tx};
use crate::domain::instance_key::{KeyId, Keyring};
use crate::domain::time::Timestamp;

impl Store {
    /// Whether the schema is there.
    pub async fn is_set_up(&self) -> bool {
        sqlx::query("SELECT id FROM instance_keys LIMIT 1").optional_from(&self.reader).await.is_ok()
    }

    /// Whether no key was ever used: only then may a new one be made.
    pub async fn has_no_instance_key(&self) -> Result<bool> {
        let row = sqlx::query("SELECT CAST(count(*) AS BIGINT) AS n FROM instance_keys").one_from(&self.reader).await?;
        Ok(row.try_get::<i64, _>("n")? == 0)
    }
}

impl Tx {
    /// Refuses a missing or different key, and remembers a new one.
    ///
    /// # Errors
    /// [`Error::Refused`] names the key and the way out.
    pub async fn check_instance_keys(&mut self, keyring: &Keyring, now: Timestamp) -> Result<()> {
        // Written before it is read: of two replicas that start at once with different keys, the second one sees the
        // first one's here, and refuses.
        for (id, key) in keyring.iter() {
            sqlx::query("INSERT INTO instance_keys (id, check_value, created_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING")
                .bind(id.0)
                .bind(key.check_value().to_vec())
                .bind(now.millis())
                .execute(&mut *self.inner)
                .await?;
        }
        let rows = sqlx::query("SELECT id, check_value FROM instance_keys").fetch_all(&mut *self.inner).await?;
        for row in rows {
            let stored: Vec<u8> = row.try_get("check_value")?;
            check(keyring, KeyId(row.try_get("id")?), &stored)?;
        }
        Ok(())
    }
}

fn check(keyring: &Keyring, id: KeyId, stored: &[u8]) -> Result<()> {
    let key = keyring.get(id).map_err(|_| {
        Error::Refused(format!(
            "this database depends on instance key {}, which is not given: restore it from its backup",
            id.0
        ))
    })?;
    if bool::from(key.check_value().ct_eq(stored)) {
        Ok(())
    } else {
        Err(Error::Refused(format!(
            "instance key {} is not the one that this database was made with: restore the right one from its backup",
            id.0
        )))
    }
}
