//! One account with all that belongs to it.

use uuid::Uuid;

use super::{App, Error};
use crate::domain::account::{Account, StoredApiKey};
use crate::domain::event::{Event, Subject};
use crate::domain::subscription::Subscription;
use crate::store::ApiKeyFilter;

/// Keys and subscriptions that are shown, the newest of each.
const AT_MOST: u32 = 1_000;

#[derive(Debug)]
pub struct ShownAccount {
    pub account: Account,
    pub api_keys: Vec<StoredApiKey>,
    pub subscriptions: Vec<Subscription>,
    /// Who did what to it and its credentials.
    pub events: Vec<Event>,
}

pub async fn show_account(app: &App, id: Uuid) -> Result<ShownAccount, Error> {
    let account = app.store.account(id).await?.ok_or(Error::NotFound("no account has this id"))?;
    let of_account = ApiKeyFilter { account: Some(id), before: None, at_most: AT_MOST };
    Ok(ShownAccount {
        account,
        api_keys: app.store.api_keys(&of_account).await?,
        subscriptions: app.store.subscriptions_of(id, None, AT_MOST).await?,
        events: app.store.events_of(Subject::Account(id)).await?,
    })
}
