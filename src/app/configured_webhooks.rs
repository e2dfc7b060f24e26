//! The operator's endpoints of the configuration, brought into the database at a start: by their URL they are the same.

use serde_json::{Value, json};
use uuid::Uuid;

use super::add_webhook::new_endpoint;
use super::operator::By;
use super::{App, Error, secrets};
use crate::domain::event::{EventType, Subject};
use crate::domain::webhook::{Endpoint, EventFilter, Owner, ROTATION, WebhookUrl};
use crate::domain::webhook_secret::WebhookSecret;
use crate::store::Tx;

/// An endpoint as the operator configured it.
#[derive(Debug, Clone)]
pub struct Configured {
    pub url: WebhookUrl,
    pub events: EventFilter,
    pub secret: WebhookSecret,
}

/// Adds those that are new, removes those that are gone, and changes those that are there; a new secret signs beside the
/// one before it for a day.
pub async fn sync_configured_webhooks(app: &App, configured: &[Configured]) -> Result<(), Error> {
    let known = app.store.endpoints(Some(Owner::Configuration)).await?;
    if known.is_empty() && configured.is_empty() {
        return Ok(());
    }
    let mut tx = app.store.begin().await?;
    for gone in known.iter().filter(|known| configured.iter().all(|one| one.url != known.url)) {
        tx.remove_endpoint(gone.id).await?;
        record(app, &mut tx, EventType::WebhookRemoved, gone.id, &json!({ "host": gone.url.host() })).await?;
    }
    for one in configured {
        match known.iter().find(|known| known.url == one.url) {
            Some(known) => change(app, &mut tx, known, one).await?,
            None => add(app, &mut tx, one).await?,
        }
    }
    tx.commit().await?;
    Ok(())
}

async fn add(app: &App, tx: &mut Tx, one: &Configured) -> Result<(), Error> {
    let endpoint = new_endpoint(app, Owner::Configuration, one.url.clone(), one.events.clone());
    let sealed = secrets::seal_webhook_secret(app, endpoint.id, &one.secret)?;
    tx.insert_endpoint(&endpoint, Some(&sealed)).await?;
    let facts = json!({ "host": one.url.host(), "events": one.events.patterns() });
    record(app, tx, EventType::WebhookAdded, endpoint.id, &facts).await
}

async fn change(app: &App, tx: &mut Tx, known: &Endpoint, one: &Configured) -> Result<(), Error> {
    tx.lock_endpoint(known.id).await?;
    if known.events != one.events {
        tx.set_endpoint_events(known.id, &one.events).await?;
        let facts = json!({ "events": one.events.patterns() });
        record(app, tx, EventType::WebhookChanged, known.id, &facts).await?;
    }
    let stored = tx.endpoint_secrets(known.id).await?.and_then(|secrets| secrets.current);
    let Some(stored) = stored else { return Ok(()) };
    if secrets::open_webhook_secret(app, known.id, &stored)? != one.secret {
        let sealed = secrets::seal_webhook_secret(app, known.id, &one.secret)?;
        let until = app.clock.now().plus_millis(ROTATION);
        tx.rotate_secret(known.id, &sealed, until).await?;
        record(app, tx, EventType::WebhookRotated, known.id, &json!({ "rotatingUntil": until })).await?;
    }
    Ok(())
}

/// Whoever wrote the configuration did it.
async fn record(app: &App, tx: &mut Tx, event: EventType, endpoint: Uuid, facts: &Value) -> Result<(), Error> {
    let (subject, data) = (Subject::Webhook(endpoint), By::Operator(None).tells(facts));
    Ok(tx.record(app.new_id(), event, subject, &data, app.clock.now()).await?)
}
