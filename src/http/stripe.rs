//! `POST /v1/webhooks/stripe`: what Stripe tells of pages, refunds and disputes. Always answered, and soon.
//!
//! Stripe repeats an event for three days unless it is answered with 2xx, so only what is done or needs nothing is.

use std::time::Duration;

use actix_web::web::{Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::Shared;
use super::body;
use super::error::{Error, ErrorBody};
use super::failures::Failures;
use super::routing::post;
use crate::app::apply_stripe_event::{Applied, apply_stripe_event};
use crate::app::{self, Unavailable};
use crate::config::webhook_secrets;
use crate::stripe::{self, Event};

/// Less than Stripe waits.
const PATIENCE: Duration = Duration::from_secs(8);

#[derive(Debug, Serialize, ToSchema)]
pub struct Received {
    received: bool,
}

pub fn routes(config: &mut ServiceConfig) {
    config.service(post("/v1/webhooks/stripe", receive));
}

/// Takes an event of Stripe's.
///
/// Spoken by Stripe alone: `Stripe-Signature` proves that the body is from the operator's account. An event that was
/// taken before changes nothing.
#[utoipa::path(
    post, path = "/v1/webhooks/stripe", tag = "webhooks", operation_id = "receiveStripeEvent",
    params(("Stripe-Signature" = String, Header, description = "`t=...,v1=...`, made at most 300 s ago")),
    request_body(content = Object, description = "An event, as Stripe sends it"),
    responses(
        (status = 200, description = "Done, done before, or of a type that needs nothing", body = Received),
        (status = 400, description = "`ERR_INVALID_INPUT`: not signed by the operator's account, too old, or no event", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: this shop takes no cards", body = ErrorBody),
        (status = 503, description = "Cannot be done now; Stripe repeats it", body = ErrorBody),
        Failures,
    ),
)]
pub async fn receive(shared: Data<Shared>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, Error> {
    let metrics = &shared.app.metrics;
    let event = verified(&shared, &request, payload).await.inspect_err(|_| metrics.stripe_event("refused"))?;
    let applied = timeout(PATIENCE, apply_stripe_event(&shared.app, &event)).await;
    let applied = applied.unwrap_or_else(|_| Err(Unavailable::StripeDown.into()));
    metrics.stripe_event(match &applied {
        Ok(Applied::Now) => "applied",
        Ok(Applied::Before) => "repeated",
        Ok(Applied::Ignored) => "ignored",
        Err(_) => "failed",
    });
    match applied {
        Ok(_) => Ok(body::private(&Received { received: true })),
        Err(error) => {
            tracing::error!(
                event.id = event.id,
                event.kind = event.event_type,
                error = &error as &dyn std::error::Error,
                "an event of Stripe's was not applied; it comes again"
            );
            Err(error.into())
        }
    }
}

/// The event, once its signature proved whose it is: nothing of the body is read before.
async fn verified(shared: &Shared, request: &HttpRequest, payload: Payload) -> Result<Event, Error> {
    let Some(stripe) = &shared.app.stripe else { return Err(Error::not_found("this shop takes no cards")) };
    let raw = body::receive_within_bounds(request, payload).await?;
    let header = request.headers().get("stripe-signature").and_then(|header| header.to_str().ok());
    let text = stripe::read(&stripe.settings().webhook_secret).await.map_err(|error| unreadable(&error))?;
    let secrets = webhook_secrets(text.expose()).map_err(app::Error::Broken)?;
    if let Err(refusal) = stripe::verify(header.unwrap_or_default(), &raw, &secrets, shared.app.clock.now()) {
        tracing::warn!(reason = %refusal, "an event that claims to be Stripe's was refused");
        return Err(Error::invalid(refusal.to_string()));
    }
    Event::parse(&raw).map_err(|error| {
        tracing::error!(error = %error, "an event of Stripe's cannot be read");
        Error::invalid("the body is no event of Stripe's")
    })
}

fn unreadable(error: &stripe::Error) -> Error {
    tracing::error!(error = error as &dyn std::error::Error, "the webhook secret of Stripe cannot be read");
    Error::unavailable("the webhook secret cannot be read", PATIENCE)
}
