//! `GET /subscription/list`: an account's subscriptions, page by page.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::usage::{LIMIT_MB, megabytes};
use crate::app::bandwidth::month_of;
use crate::domain::server::Server;
use crate::domain::time::Timestamp;
use crate::http::auth::{Permit, Subscriptions};
use crate::http::error::{Error, ErrorBody};
use crate::http::{Shared, body};
use crate::store::OwnedSubscription;

const MOST: u32 = 100;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// The `next` of the page before.
    // Read as text, so that what is no id is refused in our own words.
    #[param(value_type = Option<String>)]
    before: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct ListResponse {
    success: bool,
    /// The newest first, 100 at most.
    subscriptions: Vec<ListItem>,
    /// For `?before=`, where there are more.
    next: Option<String>,
}

/// The same facts under the names of two generations.
#[derive(Serialize, ToSchema)]
pub struct ListItem {
    #[schema(example = "019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b1")]
    id: String,
    /// Of the order that founded it; null where that was paid by card, which is known by its id.
    payment_hash: Option<String>,
    #[serde(rename = "paymentHash")]
    payment_hash_camel: Option<String>,
    #[serde(rename = "orderId")]
    #[schema(example = "019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b0")]
    order_id: String,
    #[serde(rename = "serverId")]
    #[schema(example = "eu-de")]
    server_id: String,
    #[schema(example = "de2.example.net")]
    server_domain: String,
    #[schema(example = "Germany")]
    server_country: String,
    #[schema(value_type = String, format = DateTime, example = "2026-12-22T12:00:00.000Z")]
    subscription_end: Timestamp,
    #[serde(rename = "expiresAt")]
    #[schema(value_type = String, format = DateTime, example = "2026-12-22T12:00:00.000Z")]
    expires_at: Timestamp,
    /// `active`, `lapsed`, `held`, `suspended`, `released` or `revoked`.
    #[schema(value_type = String, example = "active")]
    status: &'static str,
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:00:00.000Z")]
    created_at: Timestamp,
    /// The WireGuard public key; empty until one is bound.
    key_id: String,
    /// Megabytes of this month, less what resets took off.
    bandwidth_used: i64,
    /// Megabytes.
    #[schema(example = 100_000)]
    bandwidth_limit: i64,
    /// The address in the tunnel, while it has one.
    #[schema(example = "10.9.0.7")]
    vpn_ip: Option<String>,
    /// Months that were bought first.
    #[schema(example = 1)]
    duration: u32,
}

/// Lists the account's subscriptions.
#[utoipa::path(
    get, path = "/api/public/v1/subscription/list", tag = "subscriptions", operation_id = "listSubscriptions",
    security(("apiKey" = []), ("nostr" = [])),
    responses(
        (status = 200, body = ListResponse),
        (status = 400, description = "`ERR_INVALID_INPUT`: before is not an id", body = ErrorBody),
        (status = 401, description = "`ERR_UNAUTHORIZED`", body = ErrorBody),
        (status = 403, description = "`ERR_FORBIDDEN`: the credential lacks the scope `subscriptions`", body = ErrorBody),
        (status = 429, description = "`ERR_RATE_LIMIT_EXCEEDED`; see `Retry-After`", body = ErrorBody),
        (status = 500, description = "`ERR_INTERNAL_ERROR`: our mistake", body = ErrorBody),
        (status = 503, description = "The database does not answer; see `Retry-After`", body = ErrorBody),
    ),
)]
pub async fn list(
    shared: Data<Shared>,
    permit: Permit<Subscriptions>,
    query: Query<ListQuery>,
) -> Result<HttpResponse, Error> {
    let not_an_id = |_| Error::invalid("before must be the next of the page before");
    let before = query.before.as_deref().map(Uuid::parse_str).transpose().map_err(not_an_id)?;
    let (app, month) = (&shared.app, month_of(shared.app.clock.now()));
    let page = app.store.owned_subscriptions(permit.owner.account, &month, before, MOST).await?;
    let is_full = page.len() == usize::try_from(MOST).unwrap_or(usize::MAX);
    let next = page.last().filter(|_| is_full).map(|last| last.subscription.id.to_string());
    let subscriptions = page.into_iter().map(|owned| ListItem::new(&shared, owned)).collect();
    Ok(body::private(&ListResponse { success: true, subscriptions, next }))
}

impl ListItem {
    fn new(shared: &Shared, owned: OwnedSubscription) -> Self {
        let (app, one) = (&shared.app, owned.subscription);
        let server = app.shop.server(&one.server_id);
        let hash = owned.payment_hash.map(|hash| hash.to_string());
        let address = |server: &Server| owned.slot.and_then(|slot| server.pool.address(slot).ok());
        Self {
            id: one.id.to_string(),
            payment_hash: hash.clone(),
            payment_hash_camel: hash,
            order_id: one.founded_by.to_string(),
            server_domain: server.map_or_else(|| one.server_id.to_string(), |server| server.domain.clone()),
            server_country: server.map(|server| server.country.clone()).unwrap_or_default(),
            subscription_end: one.ends_at,
            expires_at: one.ends_at,
            status: one.stage(app.clock.now(), app.shop.holds).name(),
            created_at: one.created_at,
            key_id: owned.public_key.unwrap_or_default(),
            bandwidth_used: megabytes(owned.bytes),
            bandwidth_limit: LIMIT_MB,
            vpn_ip: server.and_then(address).map(|address| address.to_string()),
            duration: owned.months,
            server_id: one.server_id.to_string(),
        }
    }
}
