//! Making an API key: its text is returned here, once, and is nowhere else.

use serde_json::json;
use uuid::Uuid;

use super::create_account::create_account;
use super::operator::By;
use super::{App, Error};
use crate::domain::account::{ApiKey, KeyName, Mode, Scopes, StoredApiKey};
use crate::domain::event::{EventType, Subject};
use crate::random;
use crate::store::Tx;

/// Keys of one account that are good at a time.
const MAX_KEYS: usize = 100;

/// What a key is to be.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    pub account: KeyOwner,
    pub name: KeyName,
    pub scopes: Scopes,
}

/// For whom.
#[derive(Debug, Clone, Copy)]
pub enum KeyOwner {
    Account(Uuid),
    /// An account that is made with it.
    NewAccount,
}

/// A key that was made.
#[derive(Debug)]
pub struct MadeApiKey {
    pub key: ApiKey,
    pub stored: StoredApiKey,
}

/// Makes a key for an account; one that works on this network.
///
/// # Errors
/// [`Error::Forbidden`] for scopes that the giver has not; [`Error::Conflict`] beyond 100 keys.
pub async fn create_api_key(app: &App, new: NewApiKey, by: By<'_>) -> Result<MadeApiKey, Error> {
    if let By::Account(giver) = by
        && !giver.scopes.contain(&new.scopes)
    {
        let message = format!("a key makes keys with its own scopes or fewer; this one has: {}", giver.scopes);
        return Err(Error::Forbidden(message));
    }
    let key = ApiKey::new(Mode::of(app.shop.network), random::bytes()?);
    let mut tx = app.store.begin().await?;
    let account = owner(app, &mut tx, new.account, by).await?;
    if tx.good_api_keys(account).await?.len() >= MAX_KEYS {
        return Err(Error::Conflict(format!("this account has {MAX_KEYS} keys already: revoke one first")));
    }
    let stored = StoredApiKey {
        id: app.new_id(),
        account,
        name: new.name,
        mode: key.mode(),
        beginning: key.beginning(),
        scopes: new.scopes,
        created_at: app.clock.now(),
        last_used_at: None,
        revoked_at: None,
    };
    tx.insert_api_key(&stored, &key.hash()).await?;
    let facts = json!({ "apiKeyId": stored.id, "name": stored.name.as_str(), "scopes": stored.scopes.names() });
    let (subject, data) = (Subject::Account(account), by.tells(&facts));
    tx.record(app.new_id(), EventType::AccountApiKeyCreated, subject, &data, stored.created_at).await?;
    tx.commit().await?;
    Ok(MadeApiKey { key, stored })
}

async fn owner(app: &App, tx: &mut Tx, owner: KeyOwner, by: By<'_>) -> Result<Uuid, Error> {
    match owner {
        KeyOwner::Account(id) => match tx.lock_account(id).await? {
            Some(account) => Ok(account.id),
            None => Err(Error::NotFound("no account has this id")),
        },
        KeyOwner::NewAccount => {
            let id = app.new_id();
            create_account(app, tx, id, by).await?;
            Ok(id)
        }
    }
}
