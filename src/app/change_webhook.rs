//! What becomes of an endpoint: told elsewhere or of other events, disabled and enabled, removed, given another secret.

use serde_json::json;
use uuid::Uuid;

use super::add_webhook::{check_url, purpose_of};
use super::operator::{By, Effect};
use super::{App, Error, secrets};
use crate::domain::event::{EventType, Subject};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{Disabled, Endpoint, EventFilter, Owner, ROTATION, WebhookUrl};
use crate::domain::webhook_secret::WebhookSecret;
use crate::store::Tx;

/// One text for an endpoint that is not there and for one that is not yours.
pub const NO_SUCH_WEBHOOK: &str = "no webhook has this id";

/// Who may change it: the operator all of them, an account its own.
#[derive(Debug, Clone, Copy)]
pub enum Whose {
    Anybodys,
    Accounts(Uuid),
}

impl Whose {
    pub fn includes(self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Anybodys => true,
            Self::Accounts(account) => endpoint.owner == Owner::Account(account),
        }
    }
}

pub async fn find_webhook(app: &App, id: Uuid, whose: Whose) -> Result<Endpoint, Error> {
    let found = app.store.endpoint(id).await?.filter(|endpoint| whose.includes(endpoint));
    found.ok_or(Error::NotFound(NO_SUCH_WEBHOOK))
}

/// What is to be different about an endpoint; None stays as it is.
#[derive(Debug, Clone, Default)]
pub struct WebhookChange {
    pub url: Option<WebhookUrl>,
    /// Types and patterns; which there are follows from whose endpoint it is, and none at all is all of them.
    pub events: Option<Vec<String>>,
    /// What failed while it was disabled can be delivered again by hand.
    pub enabled: Option<bool>,
}

/// Changes an endpoint; all of it or nothing, and a repeat changes nothing.
///
/// # Errors
/// [`Error::Invalid`] for a URL that is never called, or an event that its owner is never told of; [`Error::Conflict`]
/// for what only the configuration changes, or follows from an order.
pub async fn change_webhook(
    app: &App,
    id: Uuid,
    whose: Whose,
    change: &WebhookChange,
    by: By<'_>,
) -> Result<(Endpoint, Effect), Error> {
    let mut tx = app.store.begin().await?;
    let before = lock(&mut tx, id, whose).await?;
    let is_readdressed = readdress(app, &mut tx, &before, change, by).await?;
    let is_switched = match change.enabled {
        Some(true) => enable(app, &mut tx, &before, by).await?,
        Some(false) => disable_by_hand(app, &mut tx, id, by).await?,
        None => false,
    };
    let after = lock(&mut tx, id, whose).await?;
    tx.commit_if(is_readdressed || is_switched).await?;
    Ok((after, if is_readdressed || is_switched { Effect::Now } else { Effect::Before }))
}

async fn readdress(
    app: &App,
    tx: &mut Tx,
    before: &Endpoint,
    change: &WebhookChange,
    by: By<'_>,
) -> Result<bool, Error> {
    let url = change.url.as_ref().unwrap_or(&before.url);
    let events = change.events.as_ref().map(|patterns| EventFilter::parse(patterns, before.owner)).transpose()?;
    let events = events.as_ref().unwrap_or(&before.events);
    if (url, events) == (&before.url, &before.events) {
        return Ok(false);
    }
    refuse_configured(before)?;
    refuse_callback(before, "a callback is told where its order said, and of that order")?;
    check_url(app, purpose_of(before.owner), url)?;
    tx.readdress_endpoint(before.id, url, events).await?;
    let data = by.tells(&json!({ "host": url.host(), "events": events.patterns() }));
    tx.record(app.new_id(), EventType::WebhookChanged, Subject::Webhook(before.id), &data, app.clock.now()).await?;
    Ok(true)
}

/// Tells a disabled endpoint of events again, from now on.
async fn enable(app: &App, tx: &mut Tx, endpoint: &Endpoint, by: By<'_>) -> Result<bool, Error> {
    if !tx.enable_endpoint(endpoint.id).await? {
        return Ok(false);
    }
    let (subject, data) = (Subject::Webhook(endpoint.id), by.tells(&json!({})));
    tx.record(app.new_id(), EventType::WebhookEnabled, subject, &data, app.clock.now()).await?;
    Ok(true)
}

async fn disable_by_hand(app: &App, tx: &mut Tx, id: Uuid, by: By<'_>) -> Result<bool, Error> {
    let endpoint = lock(tx, id, Whose::Anybodys).await?;
    refuse_configured(&endpoint)?;
    let (because, now) = (Disabled::ByHand, app.clock.now());
    if !tx.disable_endpoint(&endpoint, because, now).await? {
        return Ok(false);
    }
    let facts = json!({ "kind": endpoint.owner.kind(), "host": endpoint.url.host(), "because": because.name() });
    tx.record(app.new_id(), EventType::WebhookDisabled, Subject::Webhook(id), &by.tells(&facts), now).await?;
    Ok(true)
}

/// Removes an endpoint with what was and is to be told to it.
pub async fn remove_webhook(app: &App, id: Uuid, whose: Whose, by: By<'_>) -> Result<(), Error> {
    let mut tx = app.store.begin().await?;
    let endpoint = lock(&mut tx, id, whose).await?;
    refuse_configured(&endpoint)?;
    tx.remove_endpoint(id).await?;
    let data = by.tells(&json!({ "host": endpoint.url.host() }));
    tx.record(app.new_id(), EventType::WebhookRemoved, Subject::Webhook(id), &data, app.clock.now()).await?;
    tx.commit().await?;
    Ok(())
}

/// Gives an endpoint another secret, which nothing shows again; for a day both sign, so that its receiver can change
/// over.
pub async fn rotate_webhook(app: &App, id: Uuid, whose: Whose, by: By<'_>) -> Result<(Endpoint, WebhookSecret), Error> {
    let secret = secrets::new_webhook_secret()?;
    let sealed = secrets::seal_webhook_secret(app, id, &secret)?;
    let now = app.clock.now();
    let until = now.plus_millis(ROTATION);
    let mut tx = app.store.begin().await?;
    let endpoint = lock(&mut tx, id, whose).await?;
    refuse_configured(&endpoint)?;
    refuse_callback(&endpoint, "the secret of a callback follows from its order")?;
    tx.rotate_secret(id, &sealed, until).await?;
    let data = by.tells(&json!({ "rotatingUntil": until }));
    tx.record(app.new_id(), EventType::WebhookRotated, Subject::Webhook(id), &data, now).await?;
    tx.commit().await?;
    Ok((Endpoint { rotating_until: Some(until), ..endpoint }, secret))
}

/// Tells an endpoint nothing any more, by what became of an attempt; and the operator why.
pub async fn disable(
    app: &App,
    tx: &mut Tx,
    endpoint: &Endpoint,
    because: Disabled,
    now: Timestamp,
) -> Result<bool, Error> {
    if !tx.disable_endpoint(endpoint, because, now).await? {
        return Ok(false);
    }
    if matches!(endpoint.owner, Owner::Order(_)) {
        return Ok(true); // one customer's, of one order: nobody's notice
    }
    let data = json!({ "kind": endpoint.owner.kind(), "host": endpoint.url.host(), "because": because.name() });
    tx.record(app.new_id(), EventType::WebhookDisabled, Subject::Webhook(endpoint.id), &data, now).await?;
    Ok(true)
}

/// The endpoint with its row locked until the transaction ends.
pub async fn lock(tx: &mut Tx, id: Uuid, whose: Whose) -> Result<Endpoint, Error> {
    let found = tx.lock_endpoint(id).await?.filter(|endpoint| whose.includes(endpoint));
    found.ok_or(Error::NotFound(NO_SUCH_WEBHOOK))
}

fn refuse_configured(endpoint: &Endpoint) -> Result<(), Error> {
    if endpoint.owner == Owner::Configuration {
        return Err(Error::Conflict("this webhook is in the configuration: change it there, and restart".into()));
    }
    Ok(())
}

fn refuse_callback(endpoint: &Endpoint, why: &str) -> Result<(), Error> {
    match endpoint.owner {
        Owner::Order(_) => Err(Error::Conflict(why.into())),
        Owner::Operator | Owner::Configuration | Owner::Account(_) => Ok(()),
    }
}
