//! Whose request it is, by the credential that came with it.
//!
//! What is unknown, revoked or wrong gets one answer, so that nobody learns which keys there are or were.

use std::fmt;

use uuid::Uuid;

use super::{App, Error, nostr_accounts};
use crate::domain::account::{ApiKey, Mode, Scope, Scopes};
use crate::domain::lightning::Network;
use crate::domain::nip98::NostrKey;
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
    NostrKey(NostrKey),
}

/// The owner of an API key.
///
/// # Errors
/// [`Error::Unauthorized`], in one text and after one look-up for every key that is not good.
pub async fn authenticate_api_key(app: &App, key: &ApiKey) -> Result<Authenticated, Error> {
    check_mode(app.shop.network, key.mode())?;
    let hash = key.hash();
    let found = app.store.api_key_by_hash(&hash).await?;
    let good = found.filter(|(key, stored)| stored.matches(&hash) && key.revoked_at.is_none());
    let (key, _) = good.ok_or(Error::Unauthorized(NO_SUCH_KEY.into()))?;
    if is_to_be_noted(app, key.last_used_at) {
        let mut tx = app.store.begin().await?;
        tx.api_key_was_used(key.id, app.clock.now()).await?;
        tx.commit().await?;
    }
    Ok(Authenticated { account: key.account, credential: Credential::ApiKey(key.id), scopes: key.scopes })
}

/// The owner of a Nostr key that has signed a request, if it is one's.
pub async fn authenticate_nostr_key(app: &App, key: NostrKey) -> Result<Option<Authenticated>, Error> {
    let Some(found) = app.store.nostr_key(key).await? else { return Ok(None) };
    if is_to_be_noted(app, found.last_used_at) {
        let mut tx = app.store.begin().await?;
        tx.nostr_key_was_used(key, app.clock.now()).await?;
        tx.commit().await?;
    }
    Ok(Some(nostr_accounts::owner(found.account, key)))
}

/// A test key is no key where real money is paid, nor the other way round.
fn check_mode(network: Network, mode: Mode) -> Result<(), Error> {
    match (Mode::of(network), mode) {
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
fn is_to_be_noted(app: &App, last: Option<Timestamp>) -> bool {
    last.is_none_or(|last| app.clock.now().since(last) >= MINUTE)
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
            Self::NostrKey(key) => write!(f, "Nostr key {key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_good_on_its_own_side_of_real_money_only() {
        let refusal = |network, mode| check_mode(network, mode).err().map(|error| error.to_string());
        assert_eq!(refusal(Network::Mainnet, Mode::Live), None);
        assert_eq!(refusal(Network::Regtest, Mode::Test), None);
        assert!(refusal(Network::Mainnet, Mode::Test).unwrap().contains("refused on mainnet"));
        assert!(refusal(Network::Regtest, Mode::Live).unwrap().contains("not mainnet"));
        let is_unauthorized = |refused| matches!(refused, Err(Error::Unauthorized(_)));
        assert!(is_unauthorized(check_mode(Network::Mainnet, Mode::Test)));
    }
}
