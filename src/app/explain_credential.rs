//! An API key or a webhook by its id: what it is, and who did what to it.

use uuid::Uuid;

use super::{App, Error};
use crate::domain::account::StoredApiKey;
use crate::domain::event::{Event, Subject};
use crate::domain::webhook::Endpoint;
use crate::store::ActFilter;

/// The newest acts of a key's owner that are looked through.
const AT_MOST: u32 = 1_000;

/// An API key with who made and who revoked it, and what was done with it, in time order.
#[derive(Debug)]
pub struct ExplainedKey {
    pub key: StoredApiKey,
    pub events: Vec<Event>,
}

/// A webhook with everything that happened to it; of one that was removed, only that is left.
#[derive(Debug)]
pub struct ExplainedWebhook {
    pub id: Uuid,
    pub endpoint: Option<Endpoint>,
    pub events: Vec<Event>,
}

/// None where no API key has this id.
pub async fn explain_api_key(app: &App, id: Uuid) -> Result<Option<ExplainedKey>, Error> {
    let Some(key) = app.store.api_key(id).await? else { return Ok(None) };
    let mut events = app.store.events_of(Subject::Account(key.account)).await?;
    let by_its_owner = ActFilter { account: Some(key.account), at_most: AT_MOST, ..ActFilter::default() };
    events.extend(app.store.acts(&by_its_owner).await?.into_iter().map(|act| act.event));
    let id = id.to_string();
    events.retain(|event| event.data.to_string().contains(&id));
    events.sort_by_key(|event| (event.occurred_at, event.id));
    events.dedup_by_key(|event| event.id);
    Ok(Some(ExplainedKey { key, events }))
}

/// None where no webhook has or had this id.
pub async fn explain_webhook(app: &App, id: Uuid) -> Result<Option<ExplainedWebhook>, Error> {
    let endpoint = app.store.endpoint(id).await?;
    let events = app.store.events_of(Subject::Webhook(id)).await?;
    let is_known = endpoint.is_some() || !events.is_empty();
    Ok(is_known.then_some(ExplainedWebhook { id, endpoint, events }))
}
