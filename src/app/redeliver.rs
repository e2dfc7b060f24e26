//! Deliveries by hand: again, whatever became of one, and a test of an endpoint.

use serde_json::{Value, json};
use uuid::Uuid;

use super::change_webhook::{Whose, lock};
use super::operator::By;
use super::{App, Error};
use crate::domain::event::{EventType, Subject};
use crate::domain::webhook::Endpoint;
use crate::store::{Delivery, Tx};

/// One text for a delivery that is not there and for one to an endpoint that is not yours.
pub const NO_SUCH_DELIVERY: &str = "no delivery has this id";

pub async fn find_delivery(app: &App, id: Uuid, whose: Whose) -> Result<Delivery, Error> {
    let delivery = app.store.delivery(id).await?.ok_or(Error::NotFound(NO_SUCH_DELIVERY))?;
    let endpoint = app.store.endpoint(delivery.endpoint).await?.filter(|endpoint| whose.includes(endpoint));
    endpoint.map(|_| delivery).ok_or(Error::NotFound(NO_SUCH_DELIVERY))
}

/// Delivers once more, beginning the schedule anew; the receiver knows the message by its id.
///
/// # Errors
/// [`Error::Conflict`] for an endpoint that is disabled.
pub async fn redeliver(app: &App, id: Uuid, whose: Whose, by: By<'_>) -> Result<(), Error> {
    let delivery = find_delivery(app, id, whose).await?;
    let mut tx = app.store.begin().await?;
    lock_enabled(&mut tx, delivery.endpoint, whose).await?;
    if !tx.redeliver(id, app.clock.now()).await? {
        return Err(Error::NotFound(NO_SUCH_DELIVERY));
    }
    record(app, &mut tx, delivery.endpoint, &by.tells(&json!({ "deliveryId": id }))).await?;
    tx.commit().await?;
    Ok(())
}

/// The same for all that failed of an endpoint; how many there were.
pub async fn redeliver_failed(app: &App, endpoint: Uuid, whose: Whose, by: By<'_>) -> Result<u64, Error> {
    let mut tx = app.store.begin().await?;
    lock_enabled(&mut tx, endpoint, whose).await?;
    let begun = tx.redeliver_failed(endpoint, app.clock.now()).await?;
    if begun > 0 {
        record(app, &mut tx, endpoint, &by.tells(&json!({ "deliveries": begun }))).await?;
    }
    tx.commit_if(begun > 0).await?;
    Ok(begun)
}

/// Enters an event of type `webhook.test` for one endpoint; its delivery's id.
///
/// # Errors
/// As [`redeliver`].
pub async fn test_webhook(app: &App, endpoint: Uuid, whose: Whose, by: By<'_>) -> Result<Uuid, Error> {
    let (now, event, delivery) = (app.clock.now(), app.new_id(), app.new_id());
    let mut tx = app.store.begin().await?;
    lock_enabled(&mut tx, endpoint, whose).await?;
    tx.record(event, EventType::WebhookTest, Subject::Webhook(endpoint), &by.tells(&json!({})), now).await?;
    tx.insert_delivery(delivery, endpoint, event, now).await?;
    tx.commit().await?;
    Ok(delivery)
}

async fn record(app: &App, tx: &mut Tx, endpoint: Uuid, data: &Value) -> Result<(), Error> {
    let (subject, now) = (Subject::Webhook(endpoint), app.clock.now());
    Ok(tx.record(app.new_id(), EventType::WebhookRedelivered, subject, data, now).await?)
}

async fn lock_enabled(tx: &mut Tx, id: Uuid, whose: Whose) -> Result<Endpoint, Error> {
    let endpoint = lock(tx, id, whose).await?;
    match endpoint.disabled {
        Some(_) => Err(Error::Conflict("this webhook is disabled: enable it first".into())),
        None => Ok(endpoint),
    }
}
