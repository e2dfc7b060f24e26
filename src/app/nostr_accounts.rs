//! Owners who are known by a Nostr key: the first signed request founds an account, and others can be tied to it.

use serde_json::json;
use uuid::Uuid;

use super::authenticate::{Authenticated, Credential};
use super::create_account::create_account;
use super::operator::By;
use super::revoke_api_key::keep_one_that_makes_keys;
use super::{App, Error};
use crate::domain::account::Scopes;
use crate::domain::event::{EventType, Subject};
use crate::domain::nip98::{NostrKey, SignedRequest};
use crate::store::Tx;

/// Nostr keys of one account.
const MAX_KEYS: i64 = 20;

/// Takes a signed request that changes something, once.
///
/// # Errors
/// [`Error::Unauthorized`] for one that was taken before, by whichever replica.
pub async fn take_once(app: &App, request: &SignedRequest) -> Result<(), Error> {
    if app.store.take_nostr_request(request.id(), request.forget_at()).await? {
        return Ok(());
    }
    Err(Error::Unauthorized("this signed request was taken before: sign each request afresh".into()))
}

/// A new account, whose owner has this key; or the one that somebody founded with it at the same moment.
pub async fn found_account(app: &App, key: NostrKey) -> Result<Authenticated, Error> {
    let owner = owner(app.new_id(), key);
    let mut tx = app.store.begin().await?;
    create_account(app, &mut tx, owner.account, By::Account(&owner)).await?;
    if tie(app, &mut tx, key, &owner).await? {
        tx.commit().await?;
        return Ok(owner);
    }
    tx.rollback().await?;
    let theirs = app.store.nostr_key(key).await?;
    let theirs = theirs.ok_or_else(|| Error::Conflict("this Nostr key was removed just now; try again".into()))?;
    Ok(self::owner(theirs.account, key))
}

/// Whoever has a Nostr key of an account may do everything that the account may.
pub fn owner(account: Uuid, key: NostrKey) -> Authenticated {
    Authenticated { account, credential: Credential::NostrKey(key), scopes: Scopes::all() }
}

/// Makes another Nostr key the account's; its holder has shown that they agree.
///
/// # Errors
/// [`Error::Conflict`] for a key that is another account's, and beyond 20 keys.
pub async fn add_nostr_key(app: &App, key: NostrKey, owner: &Authenticated) -> Result<(), Error> {
    let mut tx = app.store.begin().await?;
    tx.lock_account(owner.account).await?;
    if tx.count_nostr_keys(owner.account).await? >= MAX_KEYS {
        return Err(Error::Conflict(format!("this account has {MAX_KEYS} Nostr keys already: remove one first")));
    }
    if tie(app, &mut tx, key, owner).await? {
        return Ok(tx.commit().await?);
    }
    tx.rollback().await?;
    match app.store.nostr_key(key).await? {
        Some(theirs) if theirs.account == owner.account => Ok(()),
        _ => Err(Error::Conflict("this Nostr key belongs to another account".into())),
    }
}

/// Takes a Nostr key away from the account; it may found another one from then on.
///
/// # Errors
/// [`Error::NotFound`] for a key that is not the account's; [`Error::Conflict`] for the last credential by which the
/// account could make others.
pub async fn remove_nostr_key(app: &App, key: NostrKey, owner: &Authenticated) -> Result<(), Error> {
    let mut tx = app.store.begin().await?;
    tx.lock_account(owner.account).await?;
    if !tx.delete_nostr_key(key, owner.account).await? {
        return Err(Error::NotFound("this Nostr key is not one of the account's"));
    }
    keep_one_that_makes_keys(&mut tx, owner.account).await?;
    let data = By::Account(owner).tells(&json!({ "nostrKey": key.to_string() }));
    let subject = Subject::Account(owner.account);
    tx.record(app.new_id(), EventType::AccountNostrKeyRemoved, subject, &data, app.clock.now()).await?;
    Ok(tx.commit().await?)
}

async fn tie(app: &App, tx: &mut Tx, key: NostrKey, owner: &Authenticated) -> Result<bool, Error> {
    let now = app.clock.now();
    if !tx.insert_nostr_key(key, owner.account, now).await? {
        return Ok(false);
    }
    let data = By::Account(owner).tells(&json!({ "nostrKey": key.to_string() }));
    tx.record(app.new_id(), EventType::AccountNostrKeyAdded, Subject::Account(owner.account), &data, now).await?;
    Ok(true)
}
