//! `POST /subscription/renew`: more months for the subscription of a public key.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::how_to_pay::HowToPay;
use super::{fields, purchase};
use crate::app::place_order::Customer;
use crate::app::renew::{self, Renewal};
use crate::domain::time::Timestamp;
use crate::domain::webhook_secret::WebhookSecret;
use crate::http::auth::{OptionalPermit, Orders};
use crate::http::error::{Error, ErrorBody};
use crate::http::failures::Failures;
use crate::http::{Shared, body};

/// `serverId` is not here: clients send labels, domains and `unknown` in it, so whatever they send is ignored.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RenewRequest {
    /// The public key of the subscription.
    #[serde(default, deserialize_with = "fields::text")]
    #[schema(required = true, value_type = String, example = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=")]
    wg_public_key: Option<String>,
    /// Months.
    #[serde(deserialize_with = "fields::months")]
    #[schema(example = 1)]
    duration: u32,
    /// `lightning`, which is the default, or `card` where the shop takes cards.
    // Left out as before, so that requests from before it was known are still the same.
    #[serde(default, deserialize_with = "fields::text", skip_serializing_if = "Option::is_none")]
    #[schema(example = "lightning")]
    payment_method: Option<String>,
    /// Called for the order's events once it is paid: `https://`, at most 1 KiB. See `callbackSecret`.
    #[serde(default, deserialize_with = "fields::text", skip_serializing_if = "Option::is_none")]
    #[schema(example = "https://example.com/hooks")]
    callback_url: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RenewResponse {
    success: bool,
    /// The order of this renewal.
    #[schema(example = "019aa9c4-5a3e-7c41-9a70-0d1c52a6f5b1")]
    renewal_id: String,
    #[serde(flatten)]
    pay: HowToPay,
    /// When the subscription ends now.
    #[schema(value_type = String, format = DateTime, example = "2026-12-22T12:00:00.000Z")]
    old_expiry: Timestamp,
    /// When it will end if this is paid now.
    #[schema(value_type = String, format = DateTime, example = "2027-01-22T12:00:00.000Z")]
    new_expiry: Timestamp,
    /// What calls of the `callbackUrl` are signed with (Standard Webhooks). Keep it: it is shown only until the order is
    /// paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_secret: Option<String>,
}

/// Creates a renewal.
///
/// Address, port and key stay as they are. Anybody who knows the public key may renew; a `serverId` is ignored.
#[utoipa::path(
    post, path = "/api/public/v1/subscription/renew", tag = "subscriptions", operation_id = "renewSubscription",
    security((), ("apiKey" = []), ("nostr" = [])),
    request_body = RenewRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "A UUID, made afresh for each purchase, or with a credential any text of 1 to 255 characters; kept for 24 hours")),
    responses(
        (status = 200, body = RenewResponse),
        (status = 400, description = "`ERR_INVALID_INPUT`: duration or key is not valid", body = ErrorBody),
        (status = 401, description = "`ERR_UNAUTHORIZED`: a credential was sent and is not good", body = ErrorBody),
        (status = 403, description = "`ERR_MIGRATION_REQUIRED`: move to the named server first; `ERR_FORBIDDEN`: revoked", body = ErrorBody),
        (status = 404, description = "`ERR_RESOURCE_NOT_FOUND`: no subscription has this key", body = ErrorBody),
        (status = 409, description = "`ERR_CONFLICT`: the Idempotency-Key was used with another body", body = ErrorBody),
        (status = 503, description = "No invoice can be made now; see `Retry-After`", body = ErrorBody),
        Failures,
    ),
)]
pub async fn renew(
    shared: Data<Shared>,
    permit: OptionalPermit<Orders>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    let (wanted, mut customer): (RenewRequest, Customer) =
        purchase::read(&shared, &permit, "renew", &request, payload).await?;
    customer.callback = fields::callback_url(wanted.callback_url.as_deref())?;
    let key = fields::required_public_key(wanted.wg_public_key.as_deref())?;
    let pay_by = fields::pay_by(wanted.payment_method.as_deref())?;
    let renewal = renew::renew(&shared.app, key, wanted.duration, pay_by, &customer).await?;
    Ok(body::private(&RenewResponse::new(&renewal)?))
}

impl RenewResponse {
    fn new(renewal: &Renewal) -> Result<Self, Error> {
        let order = &renewal.placed.order;
        Ok(Self {
            success: true,
            renewal_id: order.id.to_string(),
            pay: HowToPay::of(order)?,
            old_expiry: renewal.extension.old_end,
            new_expiry: renewal.extension.new_end,
            callback_secret: renewal.placed.callback_secret.as_ref().map(WebhookSecret::expose),
        })
    }
}
