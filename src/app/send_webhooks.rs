//! Sending what is due: claimed for an attempt, signed and sent, and entered with what became of it.
//!
//! A claim is a lease: whoever crashes between claim and answer leaves a delivery that is due again when it ends. So each
//! is made at least once, and its receiver tells a repeat by `webhook-id`, which is the event's.

use uuid::Uuid;

use super::add_webhook::purpose_of;
use super::change_webhook::disable;
use super::{App, Error, secrets};
use crate::crash::crash_point;
use crate::domain::Invalid;
use crate::domain::retry_after::retry_after_millis;
use crate::domain::time::{SECOND, Timestamp};
use crate::domain::webhook::{Disabled, Endpoint, GIVEN_UP_AFTER, Owner, wait_millis};
use crate::domain::webhook_body::body;
use crate::domain::webhook_secret::{WebhookSecret, seconds};
use crate::egress::{self, Method, Request, Response};
use crate::random;
use crate::store::{Attempted, Delivery, Next};

/// An attempt has a deadline far below.
const LEASE: i64 = 30 * SECOND;

/// What a receiver made of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    outcome: &'static str,
    status: Option<i64>,
    /// How long the receiver asks for patience.
    retry_after_millis: Option<i64>,
}

/// Takes deliveries for an attempt each: so many of each of these endpoints at most.
pub async fn claim_due(app: &App, wanted: &[(Uuid, usize)]) -> Result<Vec<(Uuid, Uuid)>, Error> {
    let now = app.clock.now();
    let mut claimed = Vec::new();
    let mut tx = app.store.begin().await?;
    for (endpoint, at_most) in wanted {
        let deliveries = tx.claim_deliveries(*endpoint, now, now.plus_millis(LEASE), *at_most).await?;
        claimed.extend(deliveries.into_iter().map(|delivery| (*endpoint, delivery)));
    }
    tx.commit_if(!claimed.is_empty()).await?;
    crash_point!("send_webhooks.claimed");
    Ok(claimed)
}

/// Takes one delivery that is due; false where somebody else has it, or it has ended.
pub async fn claim_one(app: &App, delivery: Uuid) -> Result<bool, Error> {
    let now = app.clock.now();
    let mut tx = app.store.begin().await?;
    let claimed = tx.claim_delivery(delivery, now, now.plus_millis(LEASE)).await?;
    tx.commit_if(claimed).await?;
    Ok(claimed)
}

/// Makes the attempt that a delivery was claimed for, and enters what became of it.
pub async fn send_claimed(app: &App, id: Uuid) -> Result<(), Error> {
    let Some(delivery) = app.store.delivery(id).await? else { return Ok(()) };
    let Some(endpoint) = app.store.endpoint(delivery.endpoint).await? else { return Ok(()) };
    let answer = attempt(app, &endpoint, &delivery).await?;
    crash_point!("send_webhooks.answered");
    app.metrics.webhook_attempt(answer.outcome);
    finish(app, &endpoint, &delivery, answer).await
}

async fn attempt(app: &App, endpoint: &Endpoint, delivery: &Delivery) -> Result<Answer, Error> {
    let now = app.clock.now();
    let id = delivery.event.id.to_string();
    let body = body(&delivery.event, &delivery.subject, endpoint.owner);
    let secrets = signing_secrets(app, endpoint, now).await?;
    let signatures: Vec<_> = secrets.iter().map(|secret| secret.sign(&id, now, &body)).collect();
    let request = Request {
        purpose: purpose_of(endpoint.owner),
        method: Method::Post,
        url: endpoint.url.as_str().to_owned(),
        headers: vec![
            ("content-type", "application/json".to_owned()),
            ("webhook-id", id),
            ("webhook-timestamp", seconds(now).to_string()),
            ("webhook-signature", signatures.join(" ")),
        ],
        body: body.into_bytes(),
    };
    Ok(match app.egress.send(request).await {
        Ok(response) => answer_of(&response, now),
        Err(error) => Answer { outcome: class(error), status: None, retry_after_millis: None },
    })
}

/// The present secret first; during a rotation the one before it, too.
async fn signing_secrets(app: &App, endpoint: &Endpoint, now: Timestamp) -> Result<Vec<WebhookSecret>, Error> {
    if let Owner::Order(order) = endpoint.owner {
        let order = app.store.order(order).await?.ok_or(Error::NotFound("no such order"))?;
        return Ok(vec![app.keyring.get(order.key_id)?.callback_secret(order.id)]);
    }
    let stored = app.store.endpoint_secrets(endpoint.id).await?;
    let stored = stored.ok_or_else(|| Error::Broken(Invalid::new("a webhook without a secret")))?;
    let old = stored.old.filter(|(_, until)| now < *until).map(|(secret, _)| secret);
    let open = |sealed| secrets::open_webhook_secret(app, endpoint.id, &sealed);
    stored.current.into_iter().chain(old).map(open).collect()
}

fn answer_of(response: &Response, now: Timestamp) -> Answer {
    let outcome = match response.status {
        200..=299 => "delivered",
        300..=399 => "redirect",
        410 => "gone",
        _ => "refused",
    };
    let retry_after_millis = response.header("retry-after").and_then(|text| retry_after_millis(text, now));
    Answer { outcome, status: Some(i64::from(response.status)), retry_after_millis }
}

/// A word for the log of deliveries, which its owner reads.
const fn class(error: egress::Error) -> &'static str {
    match error {
        egress::Error::Address | egress::Error::Unresolved => "address",
        egress::Error::Port => "port",
        egress::Error::PlainText => "plain_text",
        egress::Error::Url(_) | egress::Error::Header | egress::Error::Onion => "url",
        egress::Error::Unreachable => "unreachable",
        egress::Error::TimedOut => "timed_out",
        egress::Error::Tls => "tls",
        egress::Error::TooLarge | egress::Error::Broken => "broken",
    }
}

/// Enters an answer with what follows from it; each endpoint by itself, so none waits for another.
async fn finish(app: &App, endpoint: &Endpoint, delivery: &Delivery, answer: Answer) -> Result<(), Error> {
    let now = app.clock.now();
    let failed_at = if answer.outcome == "delivered" { None } else { Some(now) };
    let attempted = Attempted {
        delivery: delivery.id,
        attempt: delivery.attempts,
        outcome: answer.outcome,
        status: answer.status,
        at: now,
        next: next(delivery, answer, now),
    };
    let mut tx = app.store.begin().await?;
    tx.note_attempt(endpoint.id, failed_at).await?;
    tx.finish_attempt(&attempted).await?;
    let because = why_disabled(endpoint, answer, now);
    let disabled = match because {
        Some(because) => disable(app, &mut tx, endpoint, because, now).await?,
        None => false,
    };
    tx.commit().await?;
    report(endpoint, delivery, answer, because.filter(|_| disabled));
    Ok(())
}

fn next(delivery: &Delivery, answer: Answer, now: Timestamp) -> Next {
    if answer.outcome == "delivered" {
        return Next::Delivered;
    }
    let wait = wait_millis(delivery.attempts, answer.retry_after_millis, random::chance());
    wait.map_or(Next::Failed, |wait| Next::Again(now.plus_millis(wait)))
}

fn why_disabled(endpoint: &Endpoint, answer: Answer, now: Timestamp) -> Option<Disabled> {
    match (answer.outcome, endpoint.failing_since) {
        ("delivered", _) => None,
        ("gone", _) => Some(Disabled::Gone),
        (_, Some(since)) if now.since(since) >= GIVEN_UP_AFTER => Some(Disabled::Failing),
        _ => None,
    }
}

fn report(endpoint: &Endpoint, delivery: &Delivery, answer: Answer, disabled: Option<Disabled>) {
    let (id, kind, outcome) = (endpoint.id, endpoint.owner.kind(), answer.outcome);
    tracing::debug!(webhook.id = %id, delivery.id = %delivery.id, outcome, status = answer.status, "a webhook was called");
    match disabled {
        Some(because) if endpoint.owner.is_operator() => {
            tracing::error!(webhook.id = %id, kind, because = because.name(), "a webhook of yours was disabled");
        }
        Some(because) => tracing::warn!(webhook.id = %id, kind, because = because.name(), "a webhook was disabled"),
        None => {}
    }
}
