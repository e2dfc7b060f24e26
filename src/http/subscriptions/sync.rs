//! `POST /subscription/{paymentHash}/sync`: what the owner's subscription has used, by a fresh report of its server.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

use super::usage::{LIMIT_MB, megabytes};
use crate::app::sync_subscription::{Synced, sync_subscription};
use crate::domain::order::PublicName;
use crate::domain::time::Timestamp;
use crate::http::auth::{Permit, Subscriptions};
use crate::http::error::{Error, ErrorBody};
use crate::http::{Shared, body};

#[derive(Serialize, ToSchema)]
pub struct SyncResponse {
    success: bool,
    subscription: SyncedSubscription,
}

#[derive(Serialize, ToSchema)]
pub struct SyncedSubscription {
    #[schema(example = "019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b1")]
    id: String,
    /// Megabytes of this month, less what resets took off.
    #[schema(example = 2_489)]
    bandwidth_used: i64,
    /// Megabytes.
    #[schema(example = 100_000)]
    bandwidth_limit: i64,
    #[schema(value_type = Option<String>, format = DateTime, example = "2026-11-22T12:00:00.000Z")]
    last_synced_at: Option<Timestamp>,
    #[serde(rename = "expiresAt")]
    #[schema(value_type = String, format = DateTime, example = "2026-12-22T12:00:00.000Z")]
    expires_at: Timestamp,
}

/// Tells what a subscription has used until a moment ago.
///
/// Servers report once a minute. Where the last report is older, this waits 2 seconds for the next one.
#[utoipa::path(
    post, path = "/api/public/v1/subscription/{paymentHash}/sync", tag = "subscriptions", operation_id = "syncSubscription",
    security(("apiKey" = []), ("nostr" = [])),
    params(("paymentHash" = String, Path, description = "Of an order that founded or extended it; of one by card, its id")),
    responses(
        (status = 200, body = SyncResponse),
        (status = 400, description = "`ERR_INVALID_INPUT`: neither a payment hash nor an order's id", body = ErrorBody),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `subscriptions`", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: no subscription of yours", body = ErrorBody),
        (status = 429, description = "`ERR_RATE_LIMIT_EXCEEDED`; see `Retry-After`", body = ErrorBody),
        (status = 500, description = "`ERR_INTERNAL_ERROR`: our mistake", body = ErrorBody),
        (status = 503, description = "The server has not reported; see `Retry-After`", body = ErrorBody),
    ),
)]
pub async fn sync(shared: Data<Shared>, permit: Permit<Subscriptions>, name: String) -> Result<HttpResponse, Error> {
    let synced = sync_subscription(&shared.app, &permit.owner, PublicName::parse(&name)?).await?;
    Ok(body::private(&SyncResponse { success: true, subscription: synced.into() }))
}

impl From<Synced> for SyncedSubscription {
    fn from(synced: Synced) -> Self {
        Self {
            id: synced.subscription.id.to_string(),
            bandwidth_used: megabytes(synced.used.bytes),
            bandwidth_limit: LIMIT_MB,
            last_synced_at: synced.used.reported_at,
            expires_at: synced.subscription.ends_at,
        }
    }
}
