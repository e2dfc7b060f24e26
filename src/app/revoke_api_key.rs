//! Revoking an API key: it is good for nothing from the next request on.

use serde_json::json;
use uuid::Uuid;

use super::authenticate::Authenticated;
use super::operator::{By, Effect};
use super::{App, Error};
use crate::domain::account::{Scope, StoredApiKey};
use crate::domain::event::{EventType, Subject};
use crate::store::Tx;

pub const NO_SUCH_KEY: &str = "no API key has this id";

/// Revokes a key; a repeat changes nothing.
///
/// # Errors
/// [`Error::NotFound`] also for a key of another account; [`Error::Forbidden`] for a key with more scopes than the
/// asker's own; [`Error::Conflict`] for the last credential by which an account could make others.
pub async fn revoke_api_key(app: &App, id: Uuid, by: By<'_>) -> Result<Effect, Error> {
    let key = app.store.api_key(id).await?.ok_or(Error::NotFound(NO_SUCH_KEY))?;
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    tx.lock_account(key.account).await?;
    if let By::Account(owner) = by {
        check(&key, owner)?;
    }
    if !tx.revoke_api_key(id, now).await? {
        tx.rollback().await?;
        return Ok(Effect::Before);
    }
    if let By::Account(owner) = by {
        keep_one_that_makes_keys(&mut tx, owner.account).await?;
    }
    let data = by.tells(&json!({ "apiKeyId": id, "name": key.name.as_str() }));
    let subject = Subject::Account(key.account);
    tx.record(app.new_id(), EventType::AccountApiKeyRevoked, subject, &data, now).await?;
    tx.commit().await?;
    Ok(Effect::Now)
}

/// Whether an owner may take this key away.
fn check(key: &StoredApiKey, owner: &Authenticated) -> Result<(), Error> {
    if key.account != owner.account {
        return Err(Error::NotFound(NO_SUCH_KEY));
    }
    // A key that leaked must not shut its owner out.
    if !owner.scopes.contain(&key.scopes) {
        return Err(Error::Forbidden("this key has scopes that the credential has not".into()));
    }
    Ok(())
}

/// Whether an account can still make credentials after one was taken away; if not, only the operator takes it away.
pub async fn keep_one_that_makes_keys(tx: &mut Tx, account: Uuid) -> Result<(), Error> {
    let makes_keys = tx.good_api_keys(account).await?.iter().any(|key| key.scopes.allow(Scope::Keys));
    if makes_keys || tx.count_nostr_keys(account).await? > 0 {
        return Ok(());
    }
    let message = "this is the last credential by which the account can make others: make another one with the scope \
                   `keys` first";
    Err(Error::Conflict(message.into()))
}
