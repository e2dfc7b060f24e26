//! `GET /subscription/{paymentHash}`: whether an order is paid, and what it brought.

use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, ContentType, ETAG, IF_NONE_MATCH};
use actix_web::web::{Data, Path, Query};
use actix_web::{FromRequest as _, HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};

use super::watch::Watch;
use crate::app::check_order::{Checked, check_order};
use crate::domain::order::{Order, OrderKind, OrderState, PublicName};
use crate::domain::server::Server;
use crate::domain::time::Timestamp;
use crate::http::Shared;
use crate::http::auth::{AnyScope, OptionalPermit};
use crate::http::error::{Error, ErrorBody};

const LONGEST_WAIT_SECONDS: u64 = 30;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CheckQuery {
    /// Wait so many seconds for a change before answering.
    // Read as text, so that what is no number is refused in our own words.
    #[param(minimum = 1, maximum = 30, value_type = Option<u64>)]
    wait: Option<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckResponse {
    /// Null where it is paid by card.
    payment_hash: Option<String>,
    /// Where it is paid by card.
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<String>,
    /// `bandwidth_reset` of one; left out of others.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "bandwidth_reset")]
    kind: Option<&'static str>,
    pub status: PaidStatus,
    #[schema(example = "eu-de")]
    server_id: String,
    /// Months; left out of a bandwidth reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    duration: Option<u32>,
    is_provisioned: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<CheckedServer>,
    /// When the subscription ends, once the order is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    subscription_end: Option<Timestamp>,
    #[schema(value_type = String, example = "waiting for the payment")]
    message: &'static str,
    /// True once the invoice can no longer be paid; left out before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invoice_expired: bool,
    /// Of a renewal: the end before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    old_expiry: Option<Timestamp>,
    /// Of a renewal: the end after it; until it is paid, as if it were paid now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    new_expiry: Option<Timestamp>,
    /// Of a paid renewal.
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<RenewedSubscription>,
}

/// Clients stop at any other word than `unpaid` and `paid`, but for a bandwidth reset, which may be `expired`, or `failed`
/// where it was paid too late to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PaidStatus {
    Unpaid,
    Paid,
    Expired,
    Failed,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CheckedServer {
    #[schema(example = "de2.example.net")]
    domain: String,
    #[schema(example = "de2.example.net:51820")]
    endpoint: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RenewedSubscription {
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// Tells whether an order is paid.
///
/// The Lightning node is asked where it is due, so this also heals what an event missed. `wait` makes it a long poll:
/// it answers as soon as something changes, and at once where the order is paid or `If-None-Match` is out of date.
#[utoipa::path(
    get, path = "/api/public/v1/subscription/{paymentHash}", tag = "subscriptions", operation_id = "checkSubscription",
    security((), ("apiKey" = []), ("nostr" = [])),
    params(
        ("paymentHash" = String, Path, description = "64 lowercase hexadecimal digits; or the id of an order that is paid by card"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer"),
    ),
    responses(
        (status = 200, body = CheckResponse, headers(("ETag" = String, description = "Changes with the answer"))),
        (status = 304, description = "Nothing changed since the answer with this `ETag`"),
        (status = 400, description = "`ERR_INVALID_INPUT`: not a payment hash, or wait is not 1 to 30", body = ErrorBody),
        (status = 401, description = "`ERR_UNAUTHORIZED`: a credential was sent and is not good", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: no order has this hash", body = ErrorBody),
        (status = 429, description = "`ERR_RATE_LIMIT_EXCEEDED`; see `Retry-After`", body = ErrorBody),
        (status = 500, description = "`ERR_INTERNAL_ERROR`: our mistake", body = ErrorBody),
        (status = 503, description = "The database does not answer; see `Retry-After`", body = ErrorBody),
    ),
)]
pub async fn check(
    shared: Data<Shared>,
    request: HttpRequest,
    path: Path<String>,
    query: Query<CheckQuery>,
) -> Result<HttpResponse, Error> {
    let name = admitted_name(&shared, &request, &path).await?;
    let wait = query.wait.as_deref().map(checked_wait).transpose()?;
    let known = request.headers().get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    let first = check_order(&shared.app, name).await?;
    let seen = match wait {
        Some(wait) => after_change(shared.into_inner(), name, first, known, wait).await?,
        None => first.into(),
    };
    Ok(answer(&seen, known))
}

/// Waits for news: what differs from the answer that the client has is news already, and `paid` is the last there is
/// for a client that has none.
async fn after_change(
    shared: Arc<Shared>,
    name: PublicName,
    first: Checked,
    known: &str,
    wait: Duration,
) -> Result<CheckResponse, Error> {
    let paid = first.order.is_paid();
    let watch = Watch::begin(shared, name, first);
    let is_news = if known.is_empty() { paid } else { !matches(known, &watch.seen().tag()) };
    if is_news { Ok(watch.seen().clone()) } else { watch.change_within(wait).await }
}

/// Counts a check for who asks. A stranger's counts for their prefix, and for the prefix with the hash: somebody else who
/// saw the hash in an invoice must not be able to use up the customer's own.
pub async fn admitted_name(shared: &Shared, request: &HttpRequest, path: &str) -> Result<PublicName, Error> {
    // Hardly anybody who waits has a credential: without one nothing more is looked at.
    if request.headers().contains_key(AUTHORIZATION) {
        OptionalPermit::<AnyScope>::from_request(request, &mut Payload::None).await?;
        return Ok(PublicName::parse(path)?);
    }
    let client = shared.client(request);
    shared.limits.check.admit(client)?;
    let name = PublicName::parse(path)?;
    shared.limits.check_per_hash.admit((client, name))?;
    Ok(name)
}

fn checked_wait(text: &str) -> Result<Duration, Error> {
    let seconds = text.parse().ok().filter(|seconds| (1..=LONGEST_WAIT_SECONDS).contains(seconds));
    let wait = seconds.map(Duration::from_secs);
    wait.ok_or_else(|| Error::invalid(format!("wait must be 1 to {LONGEST_WAIT_SECONDS} seconds, such as ?wait=20")))
}

fn answer(seen: &CheckResponse, known: &str) -> HttpResponse {
    let body = serde_json::to_vec(seen).unwrap_or_default();
    let tag = if seen.moves_with_the_clock() { seen.tag() } else { tag_of(&body) };
    let is_known = matches(known, &tag);
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((ETAG, tag)).insert_header((CACHE_CONTROL, "private, no-cache"));
    if is_known { response.finish() } else { response.content_type(ContentType::json()).body(body) }
}

fn tag_of(body: &[u8]) -> String {
    let digest = Sha256::digest(body);
    format!("W/\"{}\"", hex::encode(digest.get(..12).unwrap_or_default()))
}

/// Weak comparison with a list of tags (RFC 9110, section 13.1.2).
fn matches(known: &str, tag: &str) -> bool {
    known.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == opaque(tag))
}

fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

impl CheckResponse {
    /// Weak, because the `newExpiry` of an unpaid renewal moves with the clock and is no change.
    pub fn tag(&self) -> String {
        let body = if self.moves_with_the_clock() {
            serde_json::to_vec(&Self { new_expiry: None, ..self.clone() })
        } else {
            serde_json::to_vec(self)
        };
        tag_of(&body.unwrap_or_default())
    }

    fn moves_with_the_clock(&self) -> bool {
        self.status == PaidStatus::Unpaid && self.new_expiry.is_some()
    }

    /// Whether nothing more is to be waited for.
    pub fn is_final(&self) -> bool {
        self.status != PaidStatus::Unpaid || self.invoice_expired
    }
}

impl From<Checked> for CheckResponse {
    fn from(checked: Checked) -> Self {
        let order = &checked.order;
        let paid = order.is_paid();
        let paid_end = checked.subscription.as_ref().filter(|_| paid).map(|subscription| subscription.ends_at);
        let renewed = paid_end.filter(|_| checked.extension.is_some());
        let server_id = checked.subscription.as_ref().map_or(&order.server_id, |subscription| &subscription.server_id);
        Self {
            payment_hash: order.payment_hash().map(|hash| hash.to_string()),
            order_id: order.payment_hash().is_none().then(|| order.id.to_string()),
            kind: matches!(order.kind, OrderKind::BandwidthReset(_)).then(|| order.kind.name()),
            status: status(order),
            server_id: server_id.to_string(),
            duration: order.kind.months(),
            is_provisioned: checked.provisioned,
            message: message(&checked),
            invoice_expired: matches!(order.state, OrderState::Expired { .. }),
            server: checked.server.as_ref().map(CheckedServer::from),
            subscription_end: paid_end,
            old_expiry: checked.extension.map(|extension| extension.old_end),
            new_expiry: checked.extension.map(|extension| extension.new_end),
            subscription: renewed.map(|expires_at| RenewedSubscription { expires_at }),
        }
    }
}

impl From<&Server> for CheckedServer {
    fn from(server: &Server) -> Self {
        Self { domain: server.domain.clone(), endpoint: server.endpoint() }
    }
}

fn status(order: &Order) -> PaidStatus {
    match (order.kind, &order.state) {
        (OrderKind::BandwidthReset(_), OrderState::Expired { .. }) => PaidStatus::Expired,
        (OrderKind::BandwidthReset(_), OrderState::Paid { .. }) if order.subscription_id.is_none() => {
            PaidStatus::Failed
        }
        (_, OrderState::Paid { .. }) => PaidStatus::Paid,
        _ => PaidStatus::Unpaid,
    }
}

fn message(checked: &Checked) -> &'static str {
    match (&checked.order.state, checked.order.subscription_id, checked.order.kind) {
        (OrderState::Paid { .. }, None, _) => {
            "paid, but it could not be delivered: a refund is due; write to the operator with your payment hash or order id"
        }
        (OrderState::Paid { .. }, Some(_), OrderKind::Renewal { .. }) => "paid: the subscription was renewed",
        (OrderState::Paid { .. }, Some(_), OrderKind::BandwidthReset(_)) => "paid: the month's bandwidth was reset",
        (OrderState::Paid { .. }, Some(_), OrderKind::New { .. }) => "paid: claim the config",
        (OrderState::Expired { .. }, ..) => "the invoice expired unpaid; create a new order",
        _ => "waiting for the payment",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly_and_as_a_list() {
        let tag = "W/\"a1\"";
        for known in ["W/\"a1\"", "\"a1\"", "\"b\", W/\"a1\"", "*"] {
            assert!(matches(known, tag), "{known}");
        }
        for known in ["", "\"b\"", "a1", "W/"] {
            assert!(!matches(known, tag), "{known}");
        }
    }

    #[test]
    fn a_wait_lasts_1_to_30_seconds() {
        assert!(checked_wait("1").is_ok() && checked_wait("30").is_ok());
        assert!(checked_wait("0").is_err() && checked_wait("31").is_err());
    }
}
