//! `/account/webhooks`: where an owner is told of their orders and subscriptions. A secret is in one answer only, that of
//! the request that made it.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::app::add_webhook::add_webhook;
use crate::app::change_webhook::{
    NO_SUCH_WEBHOOK, WebhookChange, Whose, change_webhook, find_webhook, remove_webhook, rotate_webhook,
};
use crate::app::operator::By;
use crate::domain::Invalid;
use crate::domain::time::Timestamp;
use crate::domain::webhook::{Endpoint, EventFilter, Owner, WebhookUrl};
use crate::domain::webhook_secret::WebhookSecret;
use crate::http::auth::{Permit, Webhooks};
use crate::http::error::{Error, ErrorBody};
use crate::http::failures::Failures;
use crate::http::{Shared, body};

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewWebhookRequest {
    /// `https://`, at most 1 KiB, at a public address.
    #[schema(example = "https://example.net/hooks")]
    url: String,
    /// Types such as `order.paid`, or all of a kind such as `order.*`, 50 at most; without it, everything.
    #[schema(example = json!(["order.*", "subscription.expiring"]))]
    events: Option<Vec<String>>,
}

/// What is not named stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeWebhookRequest {
    /// As for a new one. What waits is told there, too.
    #[schema(example = "https://example.net/hooks")]
    url: Option<String>,
    /// As for a new one; an empty list is everything.
    #[schema(example = json!(["order.*"]))]
    events: Option<Vec<String>>,
    /// `false` tells it nothing until it is `true` again; what waited has failed, and can be delivered again by hand.
    enabled: Option<bool>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhooksResponse {
    webhooks: Vec<WebhookItem>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookWithSecret {
    /// What signs its messages: it is shown here and never again.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: String,
    #[serde(flatten)]
    webhook: WebhookItem,
}

/// A webhook without its secret.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookItem {
    #[schema(example = "019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b1")]
    id: String,
    #[schema(example = "https://example.net/hooks")]
    url: String,
    #[schema(example = json!(["order.*", "subscription.expiring"]))]
    events: Vec<String>,
    enabled: bool,
    /// Why it is not: `gone` (it answered 410), `failing` (nothing but failures for five days) or `by_hand`.
    #[schema(value_type = Option<String>, example = "failing")]
    disabled_because: Option<&'static str>,
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T12:00:00.000Z")]
    disabled_at: Option<Timestamp>,
    /// The first of nothing but failures.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T12:00:00.000Z")]
    failing_since: Option<Timestamp>,
    /// During a rotation: until then the secret before signs, too.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-23T12:00:00.000Z")]
    rotating_until: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:00:00.000Z")]
    created_at: Timestamp,
}

/// Lists the account's webhooks, the oldest first.
#[utoipa::path(
    get, path = "/api/v1/account/webhooks", tag = "account", operation_id = "listWebhooks",
    security(("apiKey" = []), ("nostr" = [])),
    responses(
        (status = 200, body = WebhooksResponse),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `webhooks`", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn list(shared: Data<Shared>, permit: Permit<Webhooks>) -> Result<HttpResponse, Error> {
    let (app, now) = (&shared.app, shared.app.clock.now());
    let endpoints = app.store.endpoints(Some(Owner::Account(permit.owner.account))).await?;
    let webhooks = endpoints.iter().map(|endpoint| WebhookItem::new(endpoint, now)).collect();
    Ok(body::private(&WebhooksResponse { webhooks }))
}

/// Adds a webhook.
///
/// It is told of what happens to the account's orders and subscriptions from now on. Its secret is in this answer and
/// never shown again.
#[utoipa::path(
    post, path = "/api/v1/account/webhooks", tag = "account", operation_id = "createWebhook",
    security(("apiKey" = []), ("nostr" = [])),
    request_body = NewWebhookRequest,
    responses(
        (status = 200, body = WebhookWithSecret),
        (status = 400, description = "`ERR_INVALID_INPUT`: a URL that is never called, or no such event", body = ErrorBody),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `webhooks`", body = ErrorBody),
        (status = 409, description = "`ERR_CONFLICT`: the account has 10 webhooks already", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn create(
    shared: Data<Shared>,
    permit: Permit<Webhooks>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    let wanted: NewWebhookRequest = body::read(&request, payload).await?;
    let owner = Owner::Account(permit.owner.account);
    let url = WebhookUrl::parse(&wanted.url)?;
    let events = EventFilter::parse(&wanted.events.unwrap_or_default(), owner)?;
    let added = add_webhook(&shared.app, owner, url, events, By::Account(&permit.owner)).await?;
    Ok(body::private(&WebhookWithSecret::new(&shared, &added.secret, &added.endpoint)))
}

/// Shows a webhook.
#[utoipa::path(
    get, path = "/api/v1/account/webhooks/{id}", tag = "account", operation_id = "showWebhook",
    security(("apiKey" = []), ("nostr" = [])),
    params(("id" = String, Path, description = "The webhook's id")),
    responses(
        (status = 200, body = WebhookItem),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `webhooks`", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: the account has no such webhook", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn show(shared: Data<Shared>, permit: Permit<Webhooks>, id: Path<String>) -> Result<HttpResponse, Error> {
    let endpoint = find_webhook(&shared.app, parse_id(&id)?, whose(&permit)).await?;
    Ok(body::private(&WebhookItem::new(&endpoint, shared.app.clock.now())))
}

/// Changes a webhook.
///
/// What the body does not name stays as it is.
#[utoipa::path(
    patch, path = "/api/v1/account/webhooks/{id}", tag = "account", operation_id = "changeWebhook",
    security(("apiKey" = []), ("nostr" = [])),
    params(("id" = String, Path, description = "The webhook's id")),
    request_body = ChangeWebhookRequest,
    responses(
        (status = 200, body = WebhookItem),
        (status = 400, description = "`ERR_INVALID_INPUT`: a URL that is never called, or no such event", body = ErrorBody),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `webhooks`", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: the account has no such webhook", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn change(
    shared: Data<Shared>,
    permit: Permit<Webhooks>,
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    let id = parse_id(&id)?;
    let wanted: ChangeWebhookRequest = body::read(&request, payload).await?;
    let (change, by) = (wanted.into_change()?, By::Account(&permit.owner));
    let (endpoint, _) = change_webhook(&shared.app, id, whose(&permit), &change, by).await?;
    Ok(body::private(&WebhookItem::new(&endpoint, shared.app.clock.now())))
}

/// Removes a webhook with the log of what was told to it.
#[utoipa::path(
    delete, path = "/api/v1/account/webhooks/{id}", tag = "account", operation_id = "removeWebhook",
    security(("apiKey" = []), ("nostr" = [])),
    params(("id" = String, Path, description = "The webhook's id")),
    responses(
        (status = 204, description = "It is removed"),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `webhooks`", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: the account has no such webhook", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn remove(shared: Data<Shared>, permit: Permit<Webhooks>, id: Path<String>) -> Result<HttpResponse, Error> {
    remove_webhook(&shared.app, parse_id(&id)?, whose(&permit), By::Account(&permit.owner)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Gives a webhook another secret.
///
/// It is in this answer and never shown again. For a day each message is signed with both, so that the receiver can
/// change over; asked for twice, the one that leaked is gone at once.
#[utoipa::path(
    post, path = "/api/v1/account/webhooks/{id}/rotate", tag = "account", operation_id = "rotateWebhookSecret",
    security(("apiKey" = []), ("nostr" = [])),
    params(("id" = String, Path, description = "The webhook's id")),
    responses(
        (status = 200, body = WebhookWithSecret),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `webhooks`", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: the account has no such webhook", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn rotate(shared: Data<Shared>, permit: Permit<Webhooks>, id: Path<String>) -> Result<HttpResponse, Error> {
    let (app, by) = (&shared.app, By::Account(&permit.owner));
    let (endpoint, secret) = rotate_webhook(app, parse_id(&id)?, whose(&permit), by).await?;
    Ok(body::private(&WebhookWithSecret::new(&shared, &secret, &endpoint)))
}

/// An account sees and touches its own.
pub fn whose(permit: &Permit<Webhooks>) -> Whose {
    Whose::Accounts(permit.owner.account)
}

/// What is no id is nobody's.
pub fn parse_id(text: &str) -> Result<Uuid, Error> {
    Uuid::try_parse(text).map_err(|_| Error::not_found(NO_SUCH_WEBHOOK))
}

impl ChangeWebhookRequest {
    fn into_change(self) -> Result<WebhookChange, Invalid> {
        let url = self.url.map(|url| WebhookUrl::parse(&url)).transpose()?;
        Ok(WebhookChange { url, events: self.events, enabled: self.enabled })
    }
}

impl WebhookWithSecret {
    fn new(shared: &Shared, secret: &WebhookSecret, endpoint: &Endpoint) -> Self {
        Self { secret: secret.expose(), webhook: WebhookItem::new(endpoint, shared.app.clock.now()) }
    }
}

impl WebhookItem {
    fn new(endpoint: &Endpoint, now: Timestamp) -> Self {
        Self {
            id: endpoint.id.to_string(),
            url: endpoint.url.as_str().to_owned(),
            events: endpoint.events.patterns().to_vec(),
            enabled: endpoint.disabled.is_none(),
            disabled_because: endpoint.disabled.map(|(_, because)| because.name()),
            disabled_at: endpoint.disabled.map(|(at, _)| at),
            failing_since: endpoint.failing_since,
            rotating_until: endpoint.rotating_until.filter(|until| now < *until),
            created_at: endpoint.created_at,
        }
    }
}
