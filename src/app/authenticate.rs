//! Whose request it is, by the credential that came with it.
//!
//! What is unknown, revoked or wrong gets one answer, so that nobody learns which keys there are or were.

use std::fmt;

use uuid::Uuid;

use super::{App, Error};
use crate::domain::account::{ApiKey, Mode, Scope, Scopes};
use crate::domain::time::{MINUTE, Timestamp};

const NO_SUCH_KEY: &str = "this API key is not one of ours, or was revoked";

/// An owner who has shown a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    pub account: Uuid,
    pub credential: Credential,
    pub scopes: Scopes,
}

/// By what an owner is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// The key's id.
    ApiKey(Uuid),
}

/// The owner of an API key.
///
/// # Errors
/// [`Error::Unauthorized`], in one text and after one look-up for every key that is not good.
pub async fn authenticate_api_key(app: &App, key: &ApiKey) -> Result<Authenticated, Error> {
    check_mode(app, key.mode())?;
    let hash = key.hash();
    let found = app.store.api_key_by_hash(&hash).await?;
    let good = found.filter(|(key, stored)| stored.matches(&hash) && key.revoked_at.is_none());
    let (key, _) = good.ok_or(Error::Unauthorized(NO_SUCH_KEY.into()))?;
    note_use(app, key.id, key.last_used_at).await?;
    Ok(Authenticated { account: key.account, credential: Credential::ApiKey(key.id), scopes: key.scopes })
}

/// A test key is no key where real money is paid, nor the other way round.
fn check_mode(app: &App, mode: Mode) -> Result<(), Error> {
    match (Mode::of(app.shop.network), mode) {
        (Mode::Live, Mode::Test) => Err(Error::Unauthorized(
            "test keys (sk_test_) are refused on mainnet: use a key that begins with sk_live_".into(),
        )),
        (Mode::Test, Mode::Live) => Err(Error::Unauthorized(
            "live keys (sk_live_) are refused here, this is not mainnet: use a key that begins with sk_test_".into(),
        )),
        (Mode::Live, Mode::Live) | (Mode::Test, Mode::Test) => Ok(()),
    }
}

/// To the minute, so that a busy key is not written down at each request.
async fn note_use(app: &App, key: Uuid, last: Option<Timestamp>) -> Result<(), Error> {
    let now = app.clock.now();
    if last.is_some_and(|last| now.since(last) < MINUTE) {
        return Ok(());
    }
    let mut tx = app.store.begin().await?;
    tx.api_key_was_used(key, now).await?;
    Ok(tx.commit().await?)
}

impl Authenticated {
    /// # Errors
    /// [`Error::Forbidden`] where the credential was not made for this.
    pub fn check(&self, scope: Scope) -> Result<(), Error> {
        if self.scopes.allow(scope) {
            return Ok(());
        }
        Err(Error::Forbidden(format!("this needs the scope `{}`; the credential has: {}", scope.name(), self.scopes)))
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ApiKey(id) => write!(f, "API key {id}"),
        }
    }
}
