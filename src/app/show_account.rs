//! One account with all that belongs to it.

use uuid::Uuid;

use super::{App, Error};
use crate::domain::account::{Account, StoredApiKey, StoredNostrKey};
use crate::domain::event::{Event, Subject};
use crate::domain::subscription::Subscription;
use crate::domain::webhook::{Endpoint, Owner};
use crate::store::ApiKeyFilter;

/// Keys and subscriptions that are shown, the newest of each.
const AT_MOST: u32 = 1_000;

const NO_SUCH_ACCOUNT: &str = "no account has this id";

#[derive(Debug)]
pub struct ShownAccount {
    pub account: Account,
    pub api_keys: Vec<StoredApiKey>,
    pub nostr_keys: Vec<StoredNostrKey>,
    pub subscriptions: Vec<Subscription>,
    pub webhooks: Vec<Endpoint>,
    /// Who did what to it, its credentials and its webhooks, in time order.
    pub events: Vec<Event>,
}

/// What an owner is told of it.
#[derive(Debug)]
pub struct AccountSummary {
    pub account: Account,
    /// Good ones.
    pub api_keys: usize,
    pub nostr_keys: usize,
}

pub async fn account_summary(app: &App, id: Uuid) -> Result<AccountSummary, Error> {
    Ok(AccountSummary {
        account: app.store.account(id).await?.ok_or(Error::NotFound(NO_SUCH_ACCOUNT))?,
        api_keys: app.store.good_api_keys(id).await?.len(),
        nostr_keys: app.store.nostr_keys_of(id).await?.len(),
    })
}

pub async fn show_account(app: &App, id: Uuid) -> Result<ShownAccount, Error> {
    let account = app.store.account(id).await?.ok_or(Error::NotFound(NO_SUCH_ACCOUNT))?;
    let of_account = ApiKeyFilter { account: Some(id), before: None, at_most: AT_MOST };
    let webhooks = app.store.endpoints(Some(Owner::Account(id))).await?;
    let mut events = app.store.events_of(Subject::Account(id)).await?;
    for webhook in &webhooks {
        events.extend(app.store.events_of(Subject::Webhook(webhook.id)).await?);
    }
    events.sort_by_key(|event| (event.occurred_at, event.id));
    Ok(ShownAccount {
        account,
        api_keys: app.store.api_keys(&of_account).await?,
        nostr_keys: app.store.nostr_keys_of(id).await?,
        subscriptions: app.store.subscriptions_of(id, None, AT_MOST).await?,
        webhooks,
        events,
    })
}
