//! What becomes of an endpoint: removed, given another secret, enabled again, and disabled by itself.

use serde_json::json;
use uuid::Uuid;

use super::operator::{By, Effect};
use super::{App, Error, secrets};
use crate::domain::event::{EventType, Subject};
use crate::domain::time::Timestamp;
use crate::domain::webhook::{Disabled, Endpoint, Owner, ROTATION};
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

/// Gives an endpoint another secret; for a day both sign, so that its receiver can change over.
pub async fn rotate_webhook(
    app: &App,
    id: Uuid,
    whose: Whose,
    by: By<'_>,
) -> Result<(WebhookSecret, Timestamp), Error> {
    let secret = secrets::new_webhook_secret()?;
    let sealed = secrets::seal_webhook_secret(app, id, &secret)?;
    let now = app.clock.now();
    let until = now.plus_millis(ROTATION);
    let mut tx = app.store.begin().await?;
    let endpoint = lock(&mut tx, id, whose).await?;
    refuse_configured(&endpoint)?;
    if matches!(endpoint.owner, Owner::Order(_)) {
        return Err(Error::Conflict("the secret of a callback follows from its order".into()));
    }
    tx.rotate_secret(id, &sealed, until).await?;
    let data = by.tells(&json!({ "rotatingUntil": until }));
    tx.record(app.new_id(), EventType::WebhookRotated, Subject::Webhook(id), &data, now).await?;
    tx.commit().await?;
    Ok((secret, until))
}

/// Tells a disabled endpoint of events again, from now on; what failed meanwhile can be delivered again by hand.
pub async fn enable_webhook(app: &App, id: Uuid, whose: Whose, by: By<'_>) -> Result<Effect, Error> {
    let mut tx = app.store.begin().await?;
    lock(&mut tx, id, whose).await?;
    if !tx.enable_endpoint(id).await? {
        tx.rollback().await?;
        return Ok(Effect::Before);
    }
    let data = by.tells(&json!({}));
    tx.record(app.new_id(), EventType::WebhookEnabled, Subject::Webhook(id), &data, app.clock.now()).await?;
    tx.commit().await?;
    Ok(Effect::Now)
}

/// Tells an endpoint nothing any more, and the operator why.
pub async fn disable(
    app: &App,
    tx: &mut Tx,
    endpoint: &Endpoint,
    because: Disabled,
    now: Timestamp,
) -> Result<bool, Error> {
    if !tx.disable_endpoint(endpoint.id, because, now).await? {
        return Ok(false);
    }
    if matches!(endpoint.owner, Owner::Order(_)) {
        return Ok(true); // one customer's, of one order: nobody's notice
    }
    let data = json!({ "kind": endpoint.owner.kind(), "host": endpoint.url.host(), "because": because.name() });
    tx.record(app.new_id(), EventType::WebhookDisabled, Subject::Webhook(endpoint.id), &data, now).await?;
    Ok(true)
}

async fn lock(tx: &mut Tx, id: Uuid, whose: Whose) -> Result<Endpoint, Error> {
    let found = tx.lock_endpoint(id).await?.filter(|endpoint| whose.includes(endpoint));
    found.ok_or(Error::NotFound(NO_SUCH_WEBHOOK))
}

fn refuse_configured(endpoint: &Endpoint) -> Result<(), Error> {
    if endpoint.owner == Owner::Configuration {
        return Err(Error::Conflict("this webhook is in the configuration: change it there, and restart".into()));
    }
    Ok(())
}
