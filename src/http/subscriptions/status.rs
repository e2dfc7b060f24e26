//! `POST /subscription/status`: what anybody who knows a public key may know of its subscription.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields;
use crate::app::subscription_status::{Status, subscription_status};
use crate::domain::plan::BANDWIDTH_LIMIT_GB;
use crate::domain::time::Timestamp;
use crate::http::auth::{AnyScope, OptionalPermit};
use crate::http::error::{Error, ErrorBody};
use crate::http::failures::Failures;
use crate::http::{Shared, body};

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusRequest {
    #[serde(default, deserialize_with = "fields::text")]
    #[schema(required = true, value_type = String, example = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=")]
    wg_public_key: Option<String>,
}

/// In snake case, unlike the rest of the family: so it is documented, and so clients read it.
#[derive(Serialize, ToSchema)]
pub struct StatusResponse {
    /// When the subscription ends, or ended.
    #[schema(value_type = String, format = DateTime, example = "2026-12-22T12:00:00.000Z")]
    expiry: Timestamp,
    /// This month, less what resets took off; 0 until a server reports.
    bandwidth_used_gb: f64,
    /// `enabled` or `disabled`.
    #[schema(value_type = String, example = "enabled")]
    status: &'static str,
    #[schema(example = "de2.example.net")]
    server_domain: String,
    /// When a server last reported.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_synced_at: Option<Timestamp>,
    /// The public port that is forwarded to you.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 35825)]
    vpn_port: Option<u16>,
    #[schema(example = 100)]
    bandwidth_limit_gb: u32,
    /// Paid ones.
    bandwidth_resets_this_month: u32,
    max_resets_per_month: u32,
}

/// Tells how long a subscription lasts.
#[utoipa::path(
    post, path = "/api/public/v1/subscription/status", tag = "subscriptions", operation_id = "subscriptionStatus",
    security((), ("apiKey" = []), ("nostr" = [])),
    request_body = StatusRequest,
    responses(
        (status = 200, body = StatusResponse),
        (status = 400, description = "`ERR_INVALID_INPUT`: not a WireGuard public key", body = ErrorBody),
        (status = 401, description = "`ERR_UNAUTHORIZED`: a credential was sent and is not good", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: no subscription has this key", body = ErrorBody),
        (status = 503, description = "The database does not answer; see `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn status(
    shared: Data<Shared>,
    permit: OptionalPermit<AnyScope>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    if permit.is_anonymous() {
        shared.limits.status.admit(shared.client(&request))?;
    }
    let asked: StatusRequest = body::read(&request, payload).await?;
    let key = fields::required_public_key(asked.wg_public_key.as_deref())?;
    let status = subscription_status(&shared.app, key).await?;
    Ok(body::private(&StatusResponse::from(status)))
}

impl From<Status> for StatusResponse {
    fn from(status: Status) -> Self {
        let id = status.subscription.server_id;
        Self {
            expiry: status.subscription.ends_at,
            bandwidth_used_gb: gigabytes(status.used.bytes),
            status: if status.enabled { "enabled" } else { "disabled" },
            server_domain: status.server.map_or_else(|| id.to_string(), |server| server.domain),
            last_synced_at: status.used.reported_at,
            vpn_port: status.port,
            bandwidth_limit_gb: BANDWIDTH_LIMIT_GB,
            bandwidth_resets_this_month: status.used.resets,
            max_resets_per_month: status.resets_per_month,
        }
    }
}

/// 10^9 bytes each, to two places.
#[expect(clippy::cast_precision_loss, reason = "hundredths of a gigabyte are far from 52 bits")]
fn gigabytes(bytes: i64) -> f64 {
    (bytes / 10_000_000) as f64 / 100.0
}
