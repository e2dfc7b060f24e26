//! Adding an endpoint: its secret is made here, sealed, and told once.

use serde_json::json;
use uuid::Uuid;

use super::operator::By;
use super::{App, Error, secrets};
use crate::domain::Invalid;
use crate::domain::event::{EventType, Subject};
use crate::domain::webhook::{Endpoint, EventFilter, MOST_ENDPOINTS, Owner, WebhookUrl};
use crate::domain::webhook_secret::WebhookSecret;
use crate::egress::Purpose;

/// An endpoint, with the secret that nothing shows again.
#[derive(Debug)]
pub struct AddedWebhook {
    pub endpoint: Endpoint,
    pub secret: WebhookSecret,
}

/// Adds an endpoint of the operator's or of an account's; it is told of what happens from now on.
///
/// # Errors
/// [`Invalid`] for a URL that is never called; [`Error::Conflict`] where its owner has as many as one may have.
pub async fn add_webhook(
    app: &App,
    owner: Owner,
    url: WebhookUrl,
    events: EventFilter,
    by: By<'_>,
) -> Result<AddedWebhook, Error> {
    check_url(app, purpose_of(owner), &url)?;
    let secret = secrets::new_webhook_secret()?;
    let endpoint = new_endpoint(app, owner, url, events);
    let sealed = secrets::seal_webhook_secret(app, endpoint.id, &secret)?;
    let mut tx = app.store.begin().await?;
    if let Owner::Account(account) = owner {
        // Locked, so that no two count at the same moment.
        tx.lock_account(account).await?.ok_or(Error::NotFound("no account has this id"))?;
    }
    if tx.count_endpoints_of(owner).await? >= i64::from(MOST_ENDPOINTS) {
        return Err(Error::Conflict(format!("there are {MOST_ENDPOINTS} webhooks already: remove one first")));
    }
    tx.insert_endpoint(&endpoint, Some(&sealed)).await?;
    let data = by.tells(&json!({ "host": endpoint.url.host(), "events": endpoint.events.patterns() }));
    tx.record(app.new_id(), EventType::WebhookAdded, Subject::Webhook(endpoint.id), &data, app.clock.now()).await?;
    tx.commit().await?;
    Ok(AddedWebhook { endpoint, secret })
}

/// An endpoint that is not stored yet.
pub fn new_endpoint(app: &App, owner: Owner, url: WebhookUrl, events: EventFilter) -> Endpoint {
    let id: Uuid = app.new_id();
    Endpoint {
        id,
        owner,
        url,
        events,
        created_at: app.clock.now(),
        failing_since: None,
        rotating_until: None,
        disabled: None,
    }
}

/// Who chose the address decides where it may lead.
pub const fn purpose_of(owner: Owner) -> Purpose {
    if owner.is_operator() { Purpose::Webhook } else { Purpose::CustomersWebhook }
}

/// Refuses a URL that would never be called, without looking its name up: that is done, and judged, at each call.
pub fn check_url(app: &App, purpose: Purpose, url: &WebhookUrl) -> Result<(), Invalid> {
    app.egress
        .check(purpose, url.as_str())
        .map_err(|refused| Invalid::new(format!("this URL is not called: {refused}")))
}
