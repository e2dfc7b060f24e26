//! `/account/webhooks/{id}/deliveries`, `redeliver` and `test`: what was told to a webhook, and telling it again.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::webhooks::{parse_id, whose};
use crate::app::change_webhook::find_webhook;
use crate::app::operator::By;
use crate::app::redeliver::{NO_SUCH_DELIVERY, find_delivery, redeliver, redeliver_failed, test_webhook};
use crate::domain::time::Timestamp;
use crate::http::auth::{Permit, Webhooks};
use crate::http::error::{Error, ErrorBody};
use crate::http::failures::Failures;
use crate::http::{Shared, body};
use crate::store::{Delivery, DeliveryFilter};

const MOST: u32 = 100;
const STATES: [&str; 3] = ["pending", "delivered", "failed"];

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeliveriesQuery {
    /// Only those in this state: `pending`, `delivered` or `failed`.
    state: Option<String>,
    /// Only those of events of this type.
    #[serde(rename = "type")]
    #[param(example = "order.paid")]
    event_type: Option<String>,
    /// Only those about the order or the subscription of this id.
    about: Option<String>,
    /// The `next` of the page before.
    before: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveriesResponse {
    /// The newest first, 100 at most. They are kept for 30 days after they ended, unless the operator chose otherwise.
    deliveries: Vec<DeliveryItem>,
    /// For `?before=`, where there are more.
    next: Option<String>,
}

/// One event that is told to one webhook.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryItem {
    #[schema(example = "019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b1")]
    id: String,
    /// As it stands in `webhook-id`.
    #[schema(example = "019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b0")]
    event_id: String,
    #[serde(rename = "type")]
    #[schema(example = "order.paid")]
    event_type: String,
    /// What it happened to: `order`, `subscription`, ...
    #[schema(example = "order")]
    about: String,
    about_id: String,
    /// `pending`, `delivered` or `failed`.
    #[schema(example = "pending")]
    state: String,
    attempts: i64,
    /// What became of the last attempt: `delivered`, `refused` (another status), `gone` (410), `redirect`, `timed_out`,
    /// `unreachable`, `tls`, `broken`, `disabled`, or what kept it from being made: `address`, `port`, `plain_text`,
    /// `url`.
    #[schema(example = "refused")]
    outcome: Option<String>,
    /// The HTTP status of that attempt, where there was one.
    #[schema(example = 500)]
    status: Option<i64>,
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:00:00.000Z")]
    created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T12:00:00.000Z")]
    attempted_at: Option<Timestamp>,
    /// While it is pending.
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T12:00:05.000Z")]
    next_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T12:00:05.000Z")]
    finished_at: Option<Timestamp>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TestResponse {
    /// Look it up among the deliveries to see what came of it.
    #[schema(example = "019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b1")]
    delivery_id: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedeliverResponse {
    /// How many are told once more.
    #[schema(example = 1)]
    deliveries: u64,
}

/// Lists what was and is to be told to a webhook.
#[utoipa::path(
    get, path = "/api/v1/account/webhooks/{id}/deliveries", tag = "account", operation_id = "listWebhookDeliveries",
    security(("apiKey" = []), ("nostr" = [])),
    params(("id" = String, Path, description = "The webhook's id")),
    responses(
        (status = 200, body = DeliveriesResponse),
        (status = 400, description = "`ERR_INVALID_INPUT`: no such state, or before is not an id", body = ErrorBody),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `webhooks`", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: the account has no such webhook", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn list(
    shared: Data<Shared>,
    permit: Permit<Webhooks>,
    id: Path<String>,
    query: Query<DeliveriesQuery>,
) -> Result<HttpResponse, Error> {
    let endpoint = find_webhook(&shared.app, parse_id(&id)?, whose(&permit)).await?;
    let page = shared.app.store.deliveries(&query.into_inner().into_filter(endpoint.id)?).await?;
    let is_full = page.len() == usize::try_from(MOST).unwrap_or(usize::MAX);
    let next = page.last().filter(|_| is_full).map(|last| last.id.to_string());
    Ok(body::private(&DeliveriesResponse { deliveries: page.into_iter().map(DeliveryItem::from).collect(), next }))
}

/// Tells a webhook once more, whatever became of it.
///
/// The schedule begins anew. The message has the `webhook-id` that it had.
#[utoipa::path(
    post, path = "/api/v1/account/webhooks/{id}/deliveries/{deliveryId}/redeliver", tag = "account",
    operation_id = "redeliverWebhookDelivery",
    security(("apiKey" = []), ("nostr" = [])),
    params(
        ("id" = String, Path, description = "The webhook's id"),
        ("deliveryId" = String, Path, description = "The delivery's id"),
    ),
    responses(
        (status = 200, body = RedeliverResponse),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `webhooks`", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: the webhook has no such delivery", body = ErrorBody),
        (status = 409, description = "`ERR_CONFLICT`: the webhook is disabled", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn redeliver_one(
    shared: Data<Shared>,
    permit: Permit<Webhooks>,
    ids: Path<(String, String)>,
) -> Result<HttpResponse, Error> {
    shared.limits.webhook_calls.admit(permit.owner.account)?;
    let (webhook, id) = (parse_id(&ids.0)?, Uuid::try_parse(&ids.1).map_err(|_| Error::not_found(NO_SUCH_DELIVERY))?);
    let delivery = find_delivery(&shared.app, id, whose(&permit)).await?;
    if delivery.endpoint != webhook {
        return Err(Error::not_found(NO_SUCH_DELIVERY));
    }
    redeliver(&shared.app, id, whose(&permit), By::Account(&permit.owner)).await?;
    Ok(body::private(&RedeliverResponse { deliveries: 1 }))
}

/// Tells a webhook once more of all that failed.
#[utoipa::path(
    post, path = "/api/v1/account/webhooks/{id}/redeliver", tag = "account", operation_id = "redeliverFailed",
    security(("apiKey" = []), ("nostr" = [])),
    params(("id" = String, Path, description = "The webhook's id")),
    responses(
        (status = 200, body = RedeliverResponse),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `webhooks`", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: the account has no such webhook", body = ErrorBody),
        (status = 409, description = "`ERR_CONFLICT`: the webhook is disabled", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn redeliver_all(
    shared: Data<Shared>,
    permit: Permit<Webhooks>,
    id: Path<String>,
) -> Result<HttpResponse, Error> {
    shared.limits.webhook_calls.admit(permit.owner.account)?;
    let (id, by) = (parse_id(&id)?, By::Account(&permit.owner));
    let deliveries = redeliver_failed(&shared.app, id, whose(&permit), by).await?;
    Ok(body::private(&RedeliverResponse { deliveries }))
}

/// Sends a test to a webhook.
///
/// It is an event of type `webhook.test`, whatever events the webhook is for.
#[utoipa::path(
    post, path = "/api/v1/account/webhooks/{id}/test", tag = "account", operation_id = "testWebhook",
    security(("apiKey" = []), ("nostr" = [])),
    params(("id" = String, Path, description = "The webhook's id")),
    responses(
        (status = 200, body = TestResponse),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `webhooks`", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: the account has no such webhook", body = ErrorBody),
        (status = 409, description = "`ERR_CONFLICT`: the webhook is disabled", body = ErrorBody),
        (status = 503, description = "See `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn test(shared: Data<Shared>, permit: Permit<Webhooks>, id: Path<String>) -> Result<HttpResponse, Error> {
    shared.limits.webhook_calls.admit(permit.owner.account)?;
    let (id, by) = (parse_id(&id)?, By::Account(&permit.owner));
    let delivery = test_webhook(&shared.app, id, whose(&permit), by).await?;
    Ok(body::private(&TestResponse { delivery_id: delivery.to_string() }))
}

impl DeliveriesQuery {
    fn into_filter(self, endpoint: Uuid) -> Result<DeliveryFilter, Error> {
        if self.state.as_deref().is_some_and(|state| !STATES.contains(&state)) {
            return Err(Error::invalid(format!("state must be one of {}", STATES.join(", "))));
        }
        let not_an_id = |_| Error::invalid("before must be the next of the page before");
        let before = self.before.as_deref().map(Uuid::parse_str).transpose().map_err(not_an_id)?;
        Ok(DeliveryFilter {
            endpoint: Some(endpoint),
            state: self.state,
            event_type: self.event_type,
            subject: self.about,
            before,
            at_most: MOST,
        })
    }
}

impl From<Delivery> for DeliveryItem {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            event_id: delivery.event.id.to_string(),
            event_type: delivery.event.event_type,
            about: delivery.subject.kind,
            about_id: delivery.subject.id,
            state: delivery.state,
            attempts: delivery.attempts,
            outcome: delivery.outcome,
            status: delivery.status,
            created_at: delivery.created_at,
            attempted_at: delivery.attempted_at,
            next_at: delivery.next_at,
            finished_at: delivery.finished_at,
        }
    }
}
